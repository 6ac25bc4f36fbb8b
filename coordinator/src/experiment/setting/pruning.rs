//! The settings of `pruning`: what is removed, when, and how what is left is trained.

use secateur_proto::{spec::LearningRateSchedule, vocabulary};

use super::{
    AblationSetting, Grain, Names, Number, Row, Scope, Selection, Sets, Setting, Shown, Strategy, Timing, Unset,
    form::{GivenNumber, Integer},
    schedule, strategy,
    training::{LrSchedule, MAX_EPOCHS},
    value::vocabularies,
    values,
};

pub(super) static ROWS: &[Row] = &[
    Row::Setting(&STRATEGY),
    Row::Setting(&SCOPE),
    Row::Setting(&GRANULARITY),
    Row::Setting(&SCHEDULE),
    Row::Setting(&ABLATION),
    Row::Setting(&SPARSITY),
    Row::Setting(&LAYERS),
    Row::Setting(&MAX_LAYER_SPARSITY),
    Row::Setting(&PRUNE_FROM),
    Row::Setting(&RETRAIN_EPOCHS),
    Row::Setting(&RETRAIN_LR),
    Row::Setting(&RETRAIN_LR_SCHEDULE),
];

vocabulary! {
    /// Which net a training leaves to the pruning behind it. It becomes the [`SelectBy`](secateur_proto::spec::SelectBy) of that training.
    pub enum PruneFrom {
        /// That of the epoch that `training.select_by` selects.
        Best = "best",
        /// That of the last epoch.
        Last = "last",
    }
}

vocabularies!(PruneFrom);

pub(crate) static STRATEGY: Setting<Strategy> = Setting {
    path: "pruning.strategy",
    about: "How to score weights; the lowest scores are removed",
    form: &strategy::Strategies,
    unset: Unset::Required,
    only: &[],
    axis: true,
    shown: Shown::Always,
    sets: Sets::Planned,
};

pub(crate) static SCOPE: Setting<Scope> = Setting {
    path: "pruning.scope",
    about: "Which weights compete for removal: `global` all; `local` those of a layer, at the same sparsity in each; `erk` those of a \
            layer, denser in small layers (Evci et al. 2020); `lamp` all, by scores relative to their layer (Lee et al. 2021); \
            `sensitivity` those of a layer, so that each layer costs about the same validation loss; `per_layer` those of a layer, at \
            the sparsity times a factor",
    form: &values::Scopes,
    unset: Unset::Is(|| Scope::Global),
    only: &[],
    axis: true,
    shown: Shown::Always,
    sets: Sets::Planned,
};

pub(crate) static GRANULARITY: Setting<Grain> = Setting {
    path: "pruning.granularity",
    about: "What to remove: single weights (`unstructured`); units of linear layers (`neuron`), or filters of convolutions too (`filter` \
            or `channel`), with everything that depends on them; N:M patterns such as `\"2:4\"`, which keep N of every M weights along \
            the inputs, or along the input channels of a convolution",
    form: &values::Grains,
    unset: Unset::Is(|| Grain::Unstructured),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static SCHEDULE: Setting<Timing> = Setting {
    path: "pruning.schedule",
    about: "When to remove weights",
    form: &schedule::Schedules,
    unset: Unset::Is(|| Timing::OneShot),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static ABLATION: Setting<AblationSetting> = Setting {
    path: "pruning.ablation",
    about: "Change the mask to test what causes a result: `shuffle` the mask within each layer; `random_matched` removes as many \
            weights of each layer at random; `reinitialize` trains other initial weights. Never on the front; with the schedules \
            `one_shot` and `iterative`",
    form: &Names,
    unset: Unset::Is(|| AblationSetting::None),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static SPARSITY: Setting<f64> = Setting {
    path: "pruning.sparsity",
    about: "Share of the prunable weights to remove",
    form: &Number::from(0.0).below(1.0),
    unset: Unset::Required,
    only: &[],
    axis: true,
    shown: Shown::Always,
    sets: Sets::Planned,
};

pub(crate) static LAYERS: Setting<Selection> = Setting {
    path: "pruning.layers",
    about: "Layers to prune",
    form: &values::Layers,
    unset: Unset::Is(Selection::default),
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static MAX_LAYER_SPARSITY: Setting<Option<f64>> = Setting {
    path: "pruning.max_layer_sparsity",
    about: "Largest share that a layer may lose. Each layer keeps at least one weight",
    form: &GivenNumber(Number::above(0.0).up_to(1.0)),
    unset: Unset::Is(|| None),
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static PRUNE_FROM: Setting<PruneFrom> = Setting {
    path: "pruning.prune_from",
    about: "Net to score and prune: from the `best` epoch of the preceding training, by `training.select_by`, or from its `last` \
            epoch. The report always shows the best epoch of the retraining",
    form: &Names,
    unset: Unset::Is(|| PruneFrom::Best),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static RETRAIN_EPOCHS: Setting<u32> = Setting {
    path: "pruning.retrain.epochs",
    about: "Epochs of retraining",
    form: &Integer(1, MAX_EPOCHS),
    unset: Unset::Required,
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Retraining(|training, epochs| training.epochs = *epochs),
};

pub(crate) static RETRAIN_LR: Setting<Option<f64>> = Setting {
    path: "pruning.retrain.lr",
    about: "Learning rate of retraining",
    form: &GivenNumber(Number::above(0.0)),
    unset: Unset::Depends("that of the dense net", |_| Unset::Is(|| None)),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Retraining(|training, rate| {
        if let Some(rate) = rate {
            training.optimizer = training.optimizer.with_lr(*rate);
        }
    }),
};

pub(crate) static RETRAIN_LR_SCHEDULE: Setting<LearningRateSchedule> = Setting {
    path: "pruning.retrain.lr_schedule",
    about: "Learning-rate schedule of retraining, as `training.lr_schedule`",
    form: &LrSchedule,
    unset: Unset::Is(|| LearningRateSchedule::Constant),
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Retraining(|training, schedule| training.lr_schedule = *schedule),
};
