//! How nets are pruned: by which scores, how many, in which units, when, and where what is left begins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Layer;
use crate::{ids::StageKey, vocabulary};

/// The net that is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Subject {
    /// A trained net that nothing has been removed from.
    Dense {
        /// The stage that left it.
        stage: StageKey,
    },
    /// The net that another pruning left: its mask is part of this one's.
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
}

/// What the training of what is left begins from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Start {
    /// The weights that were scored.
    Scored {},
    /// The initial weights of the seed (Frankle & Carbin 2019).
    Initial {},
    /// Those of an early point of the dense training (Frankle et al. 2020).
    Rewound {
        /// The dense stage that ended there.
        stage: StageKey,
    },
    /// Other initial weights.
    Reinitialized {},
}

impl Start {
    /// The stage that left those weights. `None` if they are those that were scored, or made from the seed.
    #[must_use]
    pub const fn stage(&self) -> Option<StageKey> {
        match self {
            Self::Rewound { stage } => Some(*stage),
            Self::Scored {} | Self::Initial {} | Self::Reinitialized {} => None,
        }
    }
}

/// The name of a criterion and its parameters. The lowest scores go first, ties by flat index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriterionSpec {
    /// As in the sweep file.
    pub name: String,
    /// Every parameter that the criterion has.
    pub parameters: BTreeMap<String, f64>,
}

impl CriterionSpec {
    /// A criterion with these parameters.
    #[must_use]
    pub fn new(name: &str, parameters: &[(&str, f64)]) -> Self {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Self { name: name.to_owned(), parameters }
    }
}

/// What is removed as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// A weight.
    #[default]
    Weight,
    /// A unit of a linear layer or a filter of a convolution, with all that hangs on it: its weights, bias and normalisation, and the
    /// weights that read it (Fang et al. 2023).
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
    /// s² over the sum of the squares of the layer's scores that are no smaller (Lee et al. 2021).
    Lamp,
    /// Divided by the mean of their layer's scores (Fang et al. 2023).
    LayerMean,
}

/// How many go. The planner works the numbers out from the sparsity: two sparsities that come to the same counts are the same stage.
/// Counts are of weights or units, as the granularity says, and hold what earlier levels removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "scope", rename_all = "snake_case", deny_unknown_fields)]
pub enum Removal {
    /// The lowest scores of all prunable layers together.
    Global {
        /// How many.
        count: u64,
        /// The most that each prunable layer may lose; nothing for all but one.
        caps: Option<Vec<u64>>,
    },
    /// The lowest scores of each layer.
    PerLayer {
        /// How many of each prunable layer.
        counts: Vec<u64>,
    },
    /// As many in all, shared out so that every layer alone would cost about the same validation loss.
    Sensitivity {
        /// How many.
        count: u64,
    },
    /// Of every `group` weights in a row along the inputs, all but the `keep` with the highest scores.
    Grouped {
        /// N.
        keep: u32,
        /// M.
        group: u32,
        /// Which weights of a filter are in a row. Left out of the JSON where no filter has several weights for an input channel.
        #[serde(default, skip_serializing_if = "Along::is_flat")]
        along: Along,
    },
    /// Exactly the weights that are zero: what a proximal penalty has driven there.
    Zeros {},
}

/// Along what the weights of a filter form groups. Of a linear layer both are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Along {
    /// As they lie in files: `[channels, height, width]`, flattened. Of convolutions only in plans of earlier versions.
    #[default]
    Flat,
    /// The input channels, at each place of the kernel: what processors with sparse products want (Mishra et al. 2021).
    Channels,
}

impl Along {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_flat(&self) -> bool {
        *self == Self::Flat
    }

    /// How many interleaved rows a filter or unit of that layer consists of.
    #[must_use]
    pub fn rows(self, layer: &Layer) -> u64 {
        match self {
            Self::Flat => 1,
            Self::Channels => layer.kernel_area(),
        }
    }
}

impl Removal {
    /// Nothing.
    pub const NONE: Self = Self::Global { count: 0, caps: None };

    /// The lowest scores of all.
    #[must_use]
    pub const fn global(count: u64) -> Self {
        Self::Global { count, caps: None }
    }

    /// Whether nothing is to go.
    #[must_use]
    pub fn is_none(&self) -> bool {
        match self {
            Self::Global { count, .. } | Self::Sensitivity { count } => *count == 0,
            Self::PerLayer { counts } => counts.iter().all(|count| *count == 0),
            Self::Grouped { keep, group, .. } => keep == group,
            Self::Zeros {} => false,
        }
    }

    /// How many go of these layers in all; nothing if that is known only when the net is.
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

/// A change that tells what a method's success is due to (Frankle et al. 2021).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ablation {
    /// The mask of each layer is shuffled.
    ShuffleMask,
    /// As many of each layer go, but at random.
    RandomMatched,
}

/// When weights go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// All before the training of what is left.
    #[default]
    OneShot,
    /// More and more during that training (Zhu & Gupta 2017 for the cubic form).
    Gradual {
        /// How the sparsity rises.
        shape: Ramp,
        /// The step at which the first go.
        begin: u64,
        /// Steps from one removal to the next.
        every: u64,
        /// Removals.
        times: u64,
    },
    /// As many as before, but others: every so many steps the weakest are replaced (Mocanu et al. 2018; Evci et al. 2020).
    Dynamic {
        /// What grows.
        growth: Growth,
        /// The share of what is kept that is replaced at the first update.
        fraction: f64,
        /// Steps from one update to the next.
        every: u64,
        /// The step after which nothing changes.
        end: u64,
    },
    /// Dense and sparse training in turns (Peste et al. 2021).
    Alternating {
        /// Steps of each phase.
        every: u64,
        /// The step from which the net stays sparse.
        end: u64,
    },
}

vocabulary! {
    /// How a sparsity rises from 0 to its end, t from 0 to 1.
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

/// Which removed weights come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// Any (SET).
    Random,
    /// Those with the largest gradient (RigL).
    Gradient,
}
