//! The settings of `training`: how the dense net is trained, and what is left where `pruning.retrain` does not say otherwise.

use secateur_proto::{
    spec::{Initialization, LearningRateSchedule, OptimizerSpec, SelectBy, Task},
    vocabulary,
};
use serde_json::{Value as Json, json};

use super::{
    super::{
        read::{Field, Reader},
        yaml,
    },
    ClassWeight, Form, Names, Number, Row, Sets, Setting, SettingValue, Shown, Unset,
    class_weight::ClassWeights,
    form::{Boolean, Integer, NumberOrNone},
    value::vocabularies,
};

pub(super) static ROWS: &[Row] = &[
    Row::Setting(&OPTIMIZER),
    Row::Setting(&LR),
    Row::Setting(&BETAS),
    Row::Setting(&EPS),
    Row::Setting(&WEIGHT_DECAY),
    Row::Setting(&MOMENTUM),
    Row::Setting(&NESTEROV),
    Row::Setting(&BATCH_SIZE),
    Row::Setting(&EPOCHS),
    Row::Setting(&LR_SCHEDULE),
    Row::Setting(&INITIALIZATION),
    Row::Setting(&CLIP_GRADIENT_NORM),
    Row::Setting(&SELECT_BY),
    Row::Setting(&LABEL_SMOOTHING),
    Row::Setting(&CLASS_WEIGHT),
];

vocabulary! {
    /// Update rules in the sweep file, with PyTorch's formulas. In a spec each has its constants as well.
    pub enum OptimizerKind {
        /// Kingma & Ba 2015.
        Adam = "adam",
        /// Loshchilov & Hutter 2019.
        AdamW = "adamw",
        /// Stochastic gradient descent.
        Sgd = "sgd",
    }
}

vocabularies!(Initialization, OptimizerKind, SelectBy);

pub(crate) const MAX_EPOCHS: u32 = 1_000_000;
const MAX_BATCH_SIZE: u32 = 1 << 24;

pub(crate) static OPTIMIZER: Setting<OptimizerKind> = Setting {
    path: "training.optimizer.kind",
    about: "Update rule, with PyTorch's formulas and constants",
    form: &Names,
    unset: Unset::Required,
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Training(|training, kind| {
        let (lr, betas, eps, weight_decay) = (0.0, [0.0; 2], 0.0, 0.0);
        training.optimizer = match kind {
            OptimizerKind::Adam => OptimizerSpec::Adam { lr, betas, eps, weight_decay },
            OptimizerKind::AdamW => OptimizerSpec::AdamW { lr, betas, eps, weight_decay },
            OptimizerKind::Sgd => OptimizerSpec::Sgd { lr, momentum: 0.0, weight_decay, nesterov: false },
        };
    }),
};

pub(crate) static LR: Setting<f64> = Setting {
    path: "training.optimizer.lr",
    about: "Learning rate of the dense net",
    form: &Number::above(0.0),
    unset: Unset::Depends("0.001; required for `sgd`", |around| match around.kind {
        Some("adam" | "adamw") => Unset::Is(|| 1e-3),
        _ => Unset::Required,
    }),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Training(|training, rate| training.optimizer = training.optimizer.with_lr(*rate)),
};

pub(crate) static BETAS: Setting<[f64; 2]> = Setting {
    path: "training.optimizer.betas",
    about: "Decay rates of the two moments",
    form: &Betas,
    unset: Unset::Is(|| [0.9, 0.999]),
    only: &["adam", "adamw"],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Training(|training, new| {
        if let OptimizerSpec::Adam { betas, .. } | OptimizerSpec::AdamW { betas, .. } = &mut training.optimizer {
            *betas = *new;
        }
    }),
};

pub(crate) static EPS: Setting<f64> = Setting {
    path: "training.optimizer.eps",
    about: "Constant added to the root of the second moment",
    form: &Number::above(0.0),
    unset: Unset::Is(|| 1e-8),
    only: &["adam", "adamw"],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Training(|training, new| {
        if let OptimizerSpec::Adam { eps, .. } | OptimizerSpec::AdamW { eps, .. } = &mut training.optimizer {
            *eps = *new;
        }
    }),
};

pub(crate) static WEIGHT_DECAY: Setting<f64> = Setting {
    path: "training.optimizer.weight_decay",
    about: "Weight decay (weights only; decoupled for `adamw`)",
    form: &Number::from(0.0),
    unset: Unset::Depends("0; 0.01 for `adamw`", |around| match around.kind {
        Some("adamw") => Unset::Is(|| 0.01),
        _ => Unset::Is(|| 0.0),
    }),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Training(|training, decay| match &mut training.optimizer {
        OptimizerSpec::Adam { weight_decay, .. }
        | OptimizerSpec::AdamW { weight_decay, .. }
        | OptimizerSpec::Sgd { weight_decay, .. } => *weight_decay = *decay,
    }),
};

pub(crate) static MOMENTUM: Setting<f64> = Setting {
    path: "training.optimizer.momentum",
    about: "Momentum",
    form: &Number::from(0.0).below(1.0),
    unset: Unset::Is(|| 0.0),
    only: &["sgd"],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Training(|training, new| {
        if let OptimizerSpec::Sgd { momentum, .. } = &mut training.optimizer {
            *momentum = *new;
        }
    }),
};

pub(crate) static NESTEROV: Setting<bool> = Setting {
    path: "training.optimizer.nesterov",
    about: "Use Nesterov momentum; needs a momentum > 0",
    form: &Boolean,
    unset: Unset::Is(|| false),
    only: &["sgd"],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Training(|training, new| {
        if let OptimizerSpec::Sgd { nesterov, .. } = &mut training.optimizer {
            *nesterov = *new;
        }
    }),
};

pub(crate) static BATCH_SIZE: Setting<u32> = Setting {
    path: "training.batch_size",
    about: "At most N rows per step; the rows of an epoch are spread evenly over its steps",
    form: &Integer(1, MAX_BATCH_SIZE),
    unset: Unset::Is(|| 256),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Training(|training, rows| training.batch_size = *rows),
};

pub(crate) static EPOCHS: Setting<u32> = Setting {
    path: "training.epochs",
    about: "Epochs of the dense nets",
    form: &Integer(1, MAX_EPOCHS),
    unset: Unset::Required,
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Training(|training, epochs| training.epochs = *epochs),
};

pub(crate) static LR_SCHEDULE: Setting<LearningRateSchedule> = Setting {
    path: "training.lr_schedule",
    about: "Learning-rate schedule: steps every N epochs, steps at N equal parts of the training, or a cosine",
    form: &LrSchedule,
    unset: Unset::Is(|| LearningRateSchedule::Constant),
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Training(|training, schedule| training.lr_schedule = *schedule),
};

pub(crate) static INITIALIZATION: Setting<Initialization> = Setting {
    path: "training.initialization",
    about: "Initial weights",
    form: &Names,
    unset: Unset::Is(|| Initialization::Pytorch),
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Training(|training, initialization| training.initialization = *initialization),
};

pub(crate) static CLIP_GRADIENT_NORM: Setting<Option<f64>> = Setting {
    path: "training.clip_gradient_norm",
    about: "Scale longer gradients down to this 2-norm",
    form: &NumberOrNone(Number::above(0.0)),
    unset: Unset::Is(|| None),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Training(|training, norm| training.clip_gradient_norm = *norm),
};

pub(crate) static SELECT_BY: Setting<SelectBy> = Setting {
    path: "training.select_by",
    about: "Validation metric that selects the epoch to keep; `last` keeps the last epoch",
    form: &Names,
    unset: Unset::Depends("auc; accuracy for `multiclass`", |around| match around.task {
        Some(Task::Multiclass) => Unset::Is(|| SelectBy::Accuracy),
        _ => Unset::Is(|| SelectBy::Auc),
    }),
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Training(|training, metric| training.select_by = *metric),
};

pub(crate) static LABEL_SMOOTHING: Setting<f64> = Setting {
    path: "training.label_smoothing",
    about: "Share of each label that the training loss spreads evenly over all classes (Szegedy et al. 2016); metrics and the gradients \
            of criteria use the labels as they are",
    form: &Number::from(0.0).below(1.0),
    unset: Unset::Is(|| 0.0),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Training(|training, share| training.label_smoothing = *share),
};

pub(crate) static CLASS_WEIGHT: Setting<ClassWeight> = Setting {
    path: "training.class_weight",
    about: "Weights of the classes in the training loss. `balanced`: every class has the same total weight; a row weighs \
            n / (k · rows of its class), as in scikit-learn. A map sets weights by class, spelled as in the target; other classes have \
            weight 1. Weights are scaled to mean 1 over the train rows. Criteria use gradients of the weighted loss; metrics are never \
            weighted. With weights, predicted probabilities are not calibrated",
    form: &ClassWeights,
    unset: Unset::Is(|| ClassWeight::None),
    only: &[],
    axis: true,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

struct Betas;

impl Form<[f64; 2]> for Betas {
    fn allowed(&self) -> String {
        "two numbers ≥ 0 and < 1, such as [0.9, 0.999]".to_owned()
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<[f64; 2]> {
        let Some([first, second]) = field.items().and_then(|items| <[_; 2]>::try_from(items).ok()) else {
            reader.wrong(field, &self.allowed());
            return None;
        };
        let mut beta = |field| reader.number(&field, &self.allowed(), |beta| (0.0..1.0).contains(&beta));
        let (first, second) = (beta(first), beta(second));
        first.zip(second).map(|(first, second)| [first, second])
    }

    fn schema(&self) -> Json {
        let beta = Number::from(0.0).below(1.0).schema();
        json!({"type": "array", "items": beta, "minItems": 2, "maxItems": 2})
    }
}

/// `constant`, `cosine`, `{step: {every: 10, factor: 0.1}}` or `{step: {times: 2, factor: 0.1}}`.
pub(super) struct LrSchedule;

impl SettingValue for LearningRateSchedule {
    fn json(&self) -> Json {
        match self {
            Self::Constant => json!("constant"),
            Self::Cosine => json!("cosine"),
            Self::Step { every, factor } => json!(format!("step ({factor} every {every} epochs)")),
            Self::EqualSteps { times, factor } => json!(format!("step ({factor}, {times} times)")),
        }
    }
}

impl Form<LearningRateSchedule> for LrSchedule {
    fn allowed(&self) -> String {
        "constant, cosine, {step: {every: 10, factor: 0.1}} or {step: {times: 2, factor: 0.1}}".to_owned()
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<LearningRateSchedule> {
        if !matches!(field.node.value, yaml::Value::Map(_)) {
            let names = [("constant", LearningRateSchedule::Constant), ("cosine", LearningRateSchedule::Cosine)];
            return reader.choice_or_map(field, &names, &["step"], &self.allowed());
        }
        let fields = reader.fields(field, &["step"])?;
        let step = reader.required(&fields, "step", "a map of every or times, and factor")?;
        let fields = reader.fields(&step, &["every", "times", "factor"])?;
        let factor = fields.get("factor").map_or(Some(0.1), |field| Number::above(0.0).up_to(1.0).read(reader, &field));
        let mut number = |field: &Field<'_>| Integer(1, MAX_EPOCHS).read(reader, field);
        match (fields.get("every"), fields.get("times")) {
            (Some(field), None) => Some(LearningRateSchedule::Step { every: number(&field)?, factor: factor? }),
            (None, Some(field)) => Some(LearningRateSchedule::EqualSteps { times: number(&field)?, factor: factor? }),
            (Some(_), Some(field)) => {
                reader.wrong(&field, "only one of every and times");
                None
            }
            (None, None) => {
                reader.wrong(&step, "every, a number of epochs, or times, a number of cuts");
                None
            }
        }
    }

    fn schema(&self) -> Json {
        let count = Integer(1, MAX_EPOCHS).schema();
        let factor = Number::above(0.0).up_to(1.0).schema();
        let properties = json!({"every": count, "times": count, "factor": factor});
        let step = json!({
            "type": "object", "properties": properties, "additionalProperties": false,
            "oneOf": [{"required": ["every"]}, {"required": ["times"]}],
        });
        let map = json!({"type": "object", "properties": {"step": step}, "required": ["step"], "additionalProperties": false});
        json!({"anyOf": [{"enum": ["constant", "cosine"]}, map]})
    }
}
