//! The settings of `pruning`: what is removed, when, and how what is left is trained.

use secateur_proto::spec::LearningRateSchedule;

use super::{
    AblationSetting, Grain, Number, Scope, Selection, Sets, Setting, Shown, Strategy, Timing, Unset,
    form::{GivenNumber, Integer},
    schedule, strategy,
    training::{LrSchedule, MAX_EPOCHS},
    values,
};

pub(crate) static STRATEGY: Setting<Strategy> = Setting {
    path: "pruning.strategy",
    about: "How weights are scored; the lowest scores are removed",
    form: &strategy::Strategies,
    unset: Unset::Required,
    only: &[],
    axis: true,
    shown: Shown::Always,
    sets: Sets::Planned,
};

pub(crate) static SCOPE: Setting<Scope> = Setting {
    path: "pruning.scope",
    about: "Which weights compete: `global` all; `local` those of a layer, each layer with the same sparsity; `erk` those of a layer, \
            small layers denser (Evci et al. 2020); `lamp` all, by scores relative to their layer (Lee et al. 2021); `sensitivity` \
            those of a layer, so that each layer costs about the same validation loss; `per_layer` those of a layer, with the \
            sparsity times a factor",
    form: &values::Scopes,
    unset: Unset::Is(|| Scope::Global),
    only: &[],
    axis: true,
    shown: Shown::Always,
    sets: Sets::Planned,
};

pub(crate) static GRANULARITY: Setting<Grain> = Setting {
    path: "pruning.granularity",
    about: "What is removed as one: single weights; `neuron` units of linear layers, `filter` (or `channel`) filters of convolutions \
            too, each with all that depends on it; `\"2:4\"` and the like all but 2 of every 4 weights along the inputs, of a \
            convolution its input channels",
    form: &values::Grains,
    unset: Unset::Is(|| Grain::Unstructured),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static SCHEDULE: Setting<Timing> = Setting {
    path: "pruning.schedule",
    about: "When weights are removed",
    form: &schedule::Schedules,
    unset: Unset::Is(|| Timing::OneShot),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static ABLATION: Setting<AblationSetting> = Setting {
    path: "pruning.ablation",
    about: "A change that shows what a result is due to: `shuffle` the mask within each layer; `random_matched` removes as many \
            weights of each layer at random; `reinitialize` trains other initial weights. Never on the front; with the schedules \
            `one_shot` and `iterative`",
    form: &values::Ablations,
    unset: Unset::Is(|| AblationSetting::None),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static SPARSITY: Setting<f64> = Setting {
    path: "pruning.sparsity",
    about: "Share of the prunable weights that is removed",
    form: &Number::from(0.0).below(1.0),
    unset: Unset::Required,
    only: &[],
    axis: true,
    shown: Shown::Always,
    sets: Sets::Planned,
};

pub(crate) static LAYERS: Setting<Selection> = Setting {
    path: "pruning.layers",
    about: "Layers that pruning may take from",
    form: &values::Layers,
    unset: Unset::Is(Selection::default),
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static MAX_LAYER_SPARSITY: Setting<Option<f64>> = Setting {
    path: "pruning.max_layer_sparsity",
    about: "Largest share that a layer may lose; one weight of each layer is kept",
    form: &GivenNumber(Number::above(0.0).up_to(1.0)),
    unset: Unset::Is(|| None),
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static RETRAIN_EPOCHS: Setting<u32> = Setting {
    path: "pruning.retrain.epochs",
    about: "Epochs of the training of what is left",
    form: &Integer(1, MAX_EPOCHS),
    unset: Unset::Required,
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Retraining(|training, epochs| training.epochs = *epochs),
};

pub(crate) static RETRAIN_LR: Setting<Option<f64>> = Setting {
    path: "pruning.retrain.lr",
    about: "Learning rate of that training",
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
    about: "As `training.lr_schedule`, for that training",
    form: &LrSchedule,
    unset: Unset::Is(|| LearningRateSchedule::Constant),
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Retraining(|training, schedule| training.lr_schedule = *schedule),
};
