//! Training settings: optimisers, learning-rate schedules, penalties.

use serde::{Deserialize, Serialize};

use super::{ModelSpec, Schedule};
use crate::{ids::StageKey, vocabulary};

/// How a stage trains its net: everything that decides its training loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training<'a> {
    /// The stage that prepared the data.
    pub prepare: StageKey,
    /// The net.
    pub model: &'a ModelSpec,
    /// How to train it.
    pub spec: &'a TrainingSpec,
    /// The penalty on its weights.
    pub penalty: Option<&'a RegularizationSpec>,
    /// When its mask changes, or `None` for a net without a mask.
    pub schedule: Option<Schedule>,
    /// Steps that are skipped at the beginning.
    pub skip_steps: u64,
    /// The step to end after, if not at the end of the last epoch.
    pub stop_after: Option<u64>,
}

impl Training<'_> {
    /// Returns the number of optimiser steps for this many train rows.
    #[must_use]
    pub fn steps(&self, rows: u64) -> u64 {
        let all = rows.div_ceil(self.spec.batch_size.into()).saturating_mul(self.spec.epochs.into());
        all.min(self.stop_after.unwrap_or(u64::MAX)).saturating_sub(self.skip_steps)
    }
}

/// How to train. The default trains nothing; settings fill it in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// The initial values of weights.
    pub initialization: Initialization,
    /// The update rule.
    pub optimizer: OptimizerSpec,
    /// How the learning rate changes during the training.
    pub lr_schedule: LearningRateSchedule,
    /// The maximum number of rows in a step. The rows of an epoch are divided evenly into the fewest steps that this
    /// allows.
    pub batch_size: u32,
    /// Passes over the train rows.
    pub epochs: u32,
    /// Share of the values that a dropout step sets to zero, from 0 up to but not including 1.
    pub dropout: f64,
    /// Scale a lane's gradient down to this 2-norm when it is longer.
    pub clip_gradient_norm: Option<f64>,
    /// The validation metric that decides which epoch's net is kept.
    pub select_by: SelectBy,
    /// Share of each label that the loss spreads evenly over all classes, from 0 up to but not including 1 (Szegedy et al. 2016). Left
    /// out of the JSON where it is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub label_smoothing: f64,
    /// What the loss of a row is multiplied by, by the index of its class. Their mean over the train rows is 1. Empty, and left out of
    /// the JSON, where all classes weigh the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_weights: Vec<f64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

impl TrainingSpec {
    /// Checks the settings.
    ///
    /// # Errors
    /// If a value is out of range, with the reason.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.batch_size == 0 || self.epochs == 0 {
            return Err("batch_size and epochs must be at least 1");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err("dropout is out of range (expected 0 ≤ dropout < 1)");
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err("label_smoothing is out of range (expected 0 ≤ label_smoothing < 1)");
        }
        if !self.class_weights.iter().all(|weight| weight.is_finite() && *weight > 0.0) {
            return Err("a class weight that is not a number above 0");
        }
        Ok(())
    }
}

vocabulary! {
    /// Initial values of weights. All are made on the host from the seed. Scales of batch normalisations are 1, shifts
    /// 0.
    #[derive(Default)]
    pub enum Initialization {
        /// PyTorch's default for its layers: weights and biases uniform in ±1/√fan-in.
        #[default]
        Pytorch = "pytorch",
        /// Weights normal with variance 2 / fan-in, biases 0 (He et al. 2015).
        KaimingNormal = "kaiming_normal",
        /// Weights normal with variance 2 / (fan-in + fan-out), biases 0 (Glorot & Bengio 2010).
        GlorotNormal = "glorot_normal",
        /// Weights normal with variance 1 / fan-in, truncated at two standard deviations, biases 0 (LeCun et al. 1998).
        LecunNormal = "lecun_normal",
    }
}

/// What the learning rate is multiplied by over a training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LearningRateSchedule {
    /// By 1.
    #[default]
    Constant,
    /// By `factor` after each `every` epochs of the training.
    Step {
        /// Epochs from one cut to the next.
        every: u32,
        /// Above 0, up to 1.
        factor: f64,
    },
    /// By `factor`, `times` times, at equal distances in steps.
    EqualSteps {
        /// Cuts.
        times: u32,
        /// Above 0, up to 1.
        factor: f64,
    },
    /// By (1 + cos(π · t / T)) / 2, t of T steps (Loshchilov & Hutter 2017, without restarts).
    Cosine,
}

vocabulary! {
    /// The validation metric that decides which epoch's net is kept. The earliest wins a tie.
    #[derive(Default)]
    pub enum SelectBy {
        /// The highest area under the ROC curve.
        #[default]
        Auc = "auc",
        /// The lowest log loss.
        LogLoss = "log_loss",
        /// The highest accuracy.
        Accuracy = "accuracy",
        /// The last epoch's net, whatever its metrics.
        Last = "last",
    }
}

/// An update rule with PyTorch's constants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// Kingma & Ba 2015, as `torch.optim.Adam`.
    Adam {
        /// Learning rate.
        lr: f64,
        /// Decay rates of the two moments.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        eps: f64,
        /// Coupled: added to the gradient, times the parameter. Of weights only.
        weight_decay: f64,
    },
    /// Loshchilov & Hutter 2019, as `torch.optim.AdamW`.
    #[serde(rename = "adamw")]
    AdamW {
        /// Learning rate.
        lr: f64,
        /// Decay rates of the two moments.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        eps: f64,
        /// Decoupled: weights shrink by lr · weight_decay a step. Of weights only.
        weight_decay: f64,
    },
    /// As `torch.optim.SGD`.
    Sgd {
        /// Learning rate.
        lr: f64,
        /// Of the velocity.
        momentum: f64,
        /// Coupled. Of weights only.
        weight_decay: f64,
        /// Whether momentum is Nesterov's.
        nesterov: bool,
    },
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        Self::Adam { lr: 0.0, betas: [0.0; 2], eps: 0.0, weight_decay: 0.0 }
    }
}

impl OptimizerSpec {
    /// The learning rate.
    #[must_use]
    pub const fn lr(&self) -> f64 {
        match self {
            Self::Adam { lr, .. } | Self::AdamW { lr, .. } | Self::Sgd { lr, .. } => *lr,
        }
    }

    /// The same rule at another learning rate.
    #[must_use]
    pub fn with_lr(&self, new: f64) -> Self {
        let mut rule = self.clone();
        match &mut rule {
            Self::Adam { lr, .. } | Self::AdamW { lr, .. } | Self::Sgd { lr, .. } => *lr = new,
        }
        rule
    }
}

/// A penalty on the weights, never on biases. A strength of zero is written as no penalty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegularizationSpec {
    /// Its form.
    pub kind: RegularizationKind,
    /// λ > 0.
    pub strength: f64,
    /// Epochs at the beginning without the penalty.
    pub warm_up_epochs: u32,
    /// Epochs at the end without the penalty, in which weights that it drove to zero remain zero.
    pub healing_epochs: u32,
}

vocabulary! {
    /// Forms of penalty. A group is all weights of one unit or filter.
    pub enum RegularizationKind {
        /// Proximal: after each step w ← sign(w) · max(|w| − lr · λ, 0), which makes exact zeros.
        L1 = "l1",
        /// The gradient gets λ · sign(w), which makes no exact zeros.
        L1Subgradient = "l1_subgradient",
        /// Coupled: the gradient gets λ · w, the gradient of λ/2 · ‖w‖².
        L2 = "l2",
        /// Decoupled: w ← w · (1 − lr · λ) before each step.
        L2Decoupled = "l2_decoupled",
        /// Proximal: after each step each group of d weights w ← w · max(1 − lr · λ · √d / ‖w‖, 0) (Yuan & Lin 2006).
        GroupLasso = "group_lasso",
        /// The gradient of each group gets λ · γ · w, γ = 2^(4 · (max − ‖w‖) / (max − min)) over the layer's groups: the weaker a
        /// group, the harder it is pushed (Fang et al. 2023).
        GroupNorm = "group_norm",
        /// The gradient gets λ · t · w for the weights that magnitude would prune, with t growing from epoch to epoch
        /// up to 1 (Wang et al. 2021). These are the smaller half of the remaining weights of each layer but the last,
        /// chosen again at the start of each epoch.
        Growing = "growing",
        /// The gradient of the scales of batch normalisations gets λ · sign(γ) (Liu et al. 2017).
        BatchNormScale = "batch_norm_scale",
    }
}
