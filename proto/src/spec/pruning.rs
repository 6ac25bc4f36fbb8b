//! Pruning settings: scores, counts, granularity, schedule, and the weights that retraining starts from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Layer;
use crate::{ids::StageKey, vocabulary};

/// The net that is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Subject {
    /// A trained net that has not been pruned.
    Dense {
        /// The stage that trained it.
        stage: StageKey,
    },
    /// The result of another pruning. Its mask is part of this one's.
    Pruned {
        /// That stage.
        stage: StageKey,
    },
    /// The net before any training.
    Initial {},
}

impl Subject {
    /// The stage that left the net.
    #[must_use]
    pub const fn stage(&self) -> Option<StageKey> {
        match self {
            Self::Dense { stage } | Self::Pruned { stage } => Some(*stage),
            Self::Initial {} => None,
        }
    }

    /// The net of the stage that `renamed` returns for its stage.
    pub(super) fn renamed(self, renamed: impl Fn(StageKey) -> StageKey) -> Self {
        match self {
            Self::Dense { stage } => Self::Dense { stage: renamed(stage) },
            Self::Pruned { stage } => Self::Pruned { stage: renamed(stage) },
            Self::Initial {} => Self::Initial {},
        }
    }
}

/// The weights that retraining starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Start {
    /// The weights that were scored.
    Scored {},
    /// The initial weights of the seed (Frankle & Carbin 2019).
    Initial {},
    /// The weights of an early point of the dense training (Frankle et al. 2020).
    Rewound {
        /// The dense stage that ended there.
        stage: StageKey,
    },
    /// Other initial weights.
    Reinitialized {},
}

impl Start {
    /// The stage that made those weights, or `None` if they are the scored ones or made from the seed.
    #[must_use]
    pub const fn stage(&self) -> Option<StageKey> {
        match self {
            Self::Rewound { stage } => Some(*stage),
            Self::Scored {} | Self::Initial {} | Self::Reinitialized {} => None,
        }
    }

    /// The weights of the stage that `renamed` returns for its stage.
    pub(super) fn renamed(self, renamed: impl Fn(StageKey) -> StageKey) -> Self {
        match self {
            Self::Rewound { stage } => Self::Rewound { stage: renamed(stage) },
            other @ (Self::Scored {} | Self::Initial {} | Self::Reinitialized {}) => other,
        }
    }
}

/// The name of a criterion and its parameters. The lowest scores are pruned first, ties by flat index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriterionSpec {
    /// As in the sweep file.
    pub name: String,
    /// All parameters of the criterion.
    pub parameters: BTreeMap<String, f64>,
}

impl CriterionSpec {
    /// Returns a criterion with these parameters.
    #[must_use]
    pub fn new(name: &str, parameters: &[(&str, f64)]) -> Self {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Self { name: name.to_owned(), parameters }
    }
}

/// The unit of pruning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// A single weight.
    #[default]
    Weight,
    /// A unit of a linear layer or a filter of a convolution, with everything that depends on it: its weights, bias and
    /// normalisation, and the weights that read it (Fang et al. 2023).
    Unit,
}

/// How scores of different layers are made comparable before they compete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ranking {
    /// As they are.
    #[default]
    Raw,
    /// Divided by the 2-norm of their layer's scores.
    LayerNorm,
    /// s² over the sum of the squares of the layer's scores that are at least as large (Lee et al. 2021).
    Lamp,
    /// Divided by the mean of their layer's scores (Fang et al. 2023).
    LayerMean,
}

/// How many weights or units are pruned, as the granularity says. The planner computes the counts from the sparsity, so
/// two sparsities with equal counts are the same stage. Counts include what earlier levels removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "scope", rename_all = "snake_case", deny_unknown_fields)]
pub enum Removal {
    /// The lowest scores of all prunable layers together.
    Global {
        /// How many.
        count: u64,
        /// The maximum that each prunable layer may lose. `None` means all but one.
        caps: Option<Vec<u64>>,
    },
    /// The lowest scores of each layer.
    PerLayer {
        /// How many of each prunable layer.
        counts: Vec<u64>,
    },
    /// A count in total, divided so that each layer alone would cost about the same validation loss.
    Sensitivity {
        /// How many.
        count: u64,
    },
    /// Of each `group` consecutive weights along the inputs, all but the `keep` with the highest scores.
    Grouped {
        /// N.
        keep: u32,
        /// M.
        group: u32,
        /// The direction in which weights of a filter are consecutive. Left out of the JSON if no filter has several
        /// weights for an input channel.
        #[serde(default, skip_serializing_if = "Along::is_flat")]
        along: Along,
    },
    /// Exactly the weights that are zero because of a proximal penalty.
    Zeros {},
}

/// The direction in which the weights of a filter form groups. For a linear layer both are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Along {
    /// The order in files: `[channels, height, width]`, flattened. For convolutions only in plans of earlier versions.
    #[default]
    Flat,
    /// Along the input channels, at each position of the kernel, as sparse matrix hardware requires (Mishra et al.
    /// 2021).
    Channels,
}

impl Along {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_flat(&self) -> bool {
        *self == Self::Flat
    }

    /// The number of interleaved rows that a filter or unit of that layer consists of.
    #[must_use]
    pub fn rows(self, layer: &Layer) -> u64 {
        match self {
            Self::Flat => 1,
            Self::Channels => layer.kernel_area(),
        }
    }
}

impl Removal {
    /// No pruning.
    pub const NONE: Self = Self::Global { count: 0, caps: None };

    /// Prunes the `count` lowest scores of all layers together.
    #[must_use]
    pub const fn global(count: u64) -> Self {
        Self::Global { count, caps: None }
    }

    /// Whether nothing is pruned.
    #[must_use]
    pub fn is_none(&self) -> bool {
        match self {
            Self::Global { count, .. } | Self::Sensitivity { count } => *count == 0,
            Self::PerLayer { counts } => counts.iter().all(|count| *count == 0),
            Self::Grouped { keep, group, .. } => keep == group,
            Self::Zeros {} => false,
        }
    }

    /// The number that is pruned of these layers in total, or `None` if it depends on the net.
    #[must_use]
    pub fn total(&self, layers: &[Layer]) -> Option<u64> {
        match self {
            Self::Global { count, .. } | Self::Sensitivity { count } => Some(*count),
            Self::PerLayer { counts } => Some(counts.iter().sum()),
            Self::Grouped { keep, group, along } => Some(
                (layers.iter())
                    .map(|layer| {
                        let rows = along.rows(layer);
                        let (length, keep, group) = (layer.fan_in() / rows, u64::from(*keep), u64::from(*group));
                        let kept = length / group * keep + (length % group).min(keep);
                        (length - kept) * rows * u64::from(layer.outputs())
                    })
                    .sum(),
            ),
            Self::Zeros {} => None,
        }
    }
}

/// A control that shows what a method's success is due to (Frankle et al. 2021).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ablation {
    /// The mask of each layer is shuffled.
    ShuffleMask,
    /// As many are pruned in each layer, but at random.
    RandomMatched,
}

/// When weights are pruned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// All before retraining.
    #[default]
    OneShot,
    /// More and more during retraining (Zhu & Gupta 2017 for the cubic form).
    Gradual {
        /// How the sparsity rises.
        shape: Ramp,
        /// The step of the first removal.
        begin: u64,
        /// Steps from one removal to the next.
        every: u64,
        /// Removals.
        times: u64,
    },
    /// The count is constant, but the weakest weights are replaced at regular steps (Mocanu et al. 2018; Evci et al.
    /// 2020).
    Dynamic {
        /// Which weights grow.
        growth: Growth,
        /// The share of the kept weights that the first update replaces.
        fraction: f64,
        /// Steps from one update to the next.
        every: u64,
        /// The last step with an update.
        end: u64,
    },
    /// Alternating dense and sparse training (Peste et al. 2021).
    Alternating {
        /// Steps of each phase.
        every: u64,
        /// The step from which the net remains sparse.
        end: u64,
    },
}

vocabulary! {
    /// How the sparsity rises from 0 to its final value, for t from 0 to 1.
    #[derive(Default)]
    pub enum Ramp {
        /// 1 − (1 − t)³.
        #[default]
        Cubic = "cubic",
        /// t.
        Linear = "linear",
        /// The density falls by the same factor each time.
        Exponential = "exponential",
        /// (1 − cos(π · t)) / 2.
        Cosine = "cosine",
    }
}

/// Which removed weights grow again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// Any (SET).
    Random,
    /// Those with the largest gradient (RigL).
    Gradient,
}
