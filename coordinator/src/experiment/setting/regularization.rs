//! The settings of `regularization`: a penalty on the weights.

use secateur_proto::{spec::RegularizationKind, vocabulary};

use super::{
    Names, Number, Row, Sets, Setting, Shown, Unset,
    form::{Integer, NamesOrNone},
    training::MAX_EPOCHS,
    value::vocabularies,
};

pub(super) static ROWS: &[Row] = &[
    Row::Setting(&KIND),
    Row::Setting(&STRENGTH),
    Row::Setting(&PHASE),
    Row::Setting(&WARM_UP_EPOCHS),
    Row::Setting(&HEALING_EPOCHS),
];

vocabulary! {
    /// The trainings that have the penalty. A stage has a penalty or none, so only the sweep file has this choice.
    pub enum PenaltyPhase {
        /// That of the dense net.
        Dense = "dense",
        /// That of what is left.
        Retrain = "retrain",
        /// Both.
        Both = "both",
    }
}

vocabularies!(RegularizationKind, PenaltyPhase);

pub(crate) static KIND: Setting<Option<RegularizationKind>> = Setting {
    path: "regularization.kind",
    about: "Penalty",
    form: &NamesOrNone,
    unset: Unset::Depends("required", |around| if around.is_present { Unset::Required } else { Unset::Is(|| None) }),
    only: &[],
    axis: true,
    shown: Shown::Penalised,
    sets: Sets::Planned,
};

pub(crate) static STRENGTH: Setting<f64> = Setting {
    path: "regularization.strength",
    about: "Strength λ; 0 = no penalty",
    form: &Number::from(0.0),
    unset: Unset::Depends("required", |around| if around.is_present { Unset::Required } else { Unset::Is(|| 0.0) }),
    only: &[],
    axis: true,
    shown: Shown::Penalised,
    sets: Sets::Planned,
};

pub(crate) static PHASE: Setting<PenaltyPhase> = Setting {
    path: "regularization.phase",
    about: "Trainings with the penalty. With `retrain`, all strengths share the dense nets",
    form: &Names,
    unset: Unset::Is(|| PenaltyPhase::Both),
    only: &[],
    axis: true,
    shown: Shown::Penalised,
    sets: Sets::Planned,
};

pub(crate) static WARM_UP_EPOCHS: Setting<u32> = Setting {
    path: "regularization.warm_up_epochs",
    about: "Epochs at the start of each training without the penalty",
    form: &Integer(0, MAX_EPOCHS),
    unset: Unset::Is(|| 0),
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static HEALING_EPOCHS: Setting<u32> = Setting {
    path: "regularization.healing_epochs",
    about: "Epochs at the end of each training without the penalty; zeroed weights stay zero",
    form: &Integer(0, MAX_EPOCHS),
    unset: Unset::Is(|| 0),
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Planned,
};
