//! The values of axes: what they are called and how they are written; not what they do.

use std::{collections::BTreeMap, fmt};

use secateur_proto::spec::{Ablation, CriterionSpec, Granularity, Growth, Ramp, Ranking, RegularizationKind};
use secateur_worker::prune::criteria::{self, Definition, When};
use serde_json::json;

use super::{
    axis::{Named, Setting, same},
    yaml::{Node, Value},
};

/// How weights are scored.
#[derive(Debug, Clone)]
pub struct Strategy {
    /// The name in the sweep file.
    pub name: &'static str,
    /// The criterion; nothing for the weights that a penalty drove to zero.
    pub criterion: Option<&'static Definition>,
    /// How scores of layers are made comparable, if the strategy says so.
    pub ranking: Ranking,
    /// What the strategy changes about the mask.
    pub ablation: Option<Ablation>,
    /// The parameters that the file gives.
    pub given: BTreeMap<String, f64>,
}

/// The strategy that removes exactly what a penalty drove to zero.
pub const REGULARIZED: &str = "regularized";

impl Strategy {
    /// Every strategy without parameters: the criteria, and what is made of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let plain =
            |name, criterion| Self { name, criterion, ranking: Ranking::Raw, ablation: None, given: BTreeMap::new() };
        let magnitude = Definition::named("magnitude");
        let mut all: Vec<Self> =
            criteria::ALL.iter().map(|criterion| plain(criterion.name, Some(*criterion))).collect();
        all.push(Self { ranking: Ranking::LayerNorm, ..plain("magnitude_global_l2", magnitude) });
        all.push(Self { ranking: Ranking::Lamp, ..plain("lamp", magnitude) });
        all.push(Self { ablation: Some(Ablation::RandomMatched), ..plain("random_layerwise_matched", magnitude) });
        all.push(plain(REGULARIZED, None));
        all
    }

    /// The strategy of that name, or of another one that the literature has for it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name = Self::own_name(name);
        Self::all().into_iter().find(|strategy| strategy.name == name)
    }

    /// The name that a strategy has here.
    #[must_use]
    pub fn own_name(name: &str) -> &str {
        Self::OTHER_NAMES.iter().find(|(other, _)| *other == name).map_or(name, |(_, own)| own)
    }

    /// Names that the literature has for strategies, and those that they have here.
    pub const OTHER_NAMES: [(&str, &str); 2] = [("obd", "fisher_diag"), ("mean_act", "mean_activation")];

    /// What is to be computed.
    #[must_use]
    pub fn spec(&self) -> Option<CriterionSpec> {
        self.criterion.map(|criterion| criterion.spec(&self.given))
    }

    /// Whether it scores the net before its training.
    #[must_use]
    pub fn is_initial(&self) -> bool {
        self.criterion.is_some_and(|criterion| criterion.when == When::Initial)
    }

    /// Whether it scores units.
    #[must_use]
    pub fn is_of_units(&self) -> bool {
        self.criterion.is_some_and(|criterion| criterion.granularity == Granularity::Unit)
    }

    /// Whether its scores compare the weights of a row and nothing else.
    #[must_use]
    pub fn ranks_within_rows(&self) -> bool {
        self.spec().is_some_and(|spec| spec.parameters.get("per_row") == Some(&1.0))
    }

    /// Whether both do the same.
    pub(super) fn same_work(&self, other: &Self) -> bool {
        self.name == other.name && self.spec() == other.spec()
    }
}

impl PartialEq for Strategy {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.given == other.given
    }
}

/// Which weights compete for staying.
#[derive(Debug, Clone, PartialEq)]
pub enum Scope {
    /// Those of all prunable layers together.
    Global,
    /// Those of each layer: every layer gets the same sparsity.
    Local,
    /// Those of each layer: densities by Erdős & Rényi, of small layers higher (Mocanu et al. 2018, Evci et al. 2020).
    Erk,
    /// Those of all layers, by scores over what is no smaller in their layer (Lee et al. 2021).
    Lamp,
    /// Those of each layer, so many that each would cost about the same.
    Sensitivity,
    /// Those of each layer: the sparsity times a factor of the layer, 1 where none is given.
    Factors(BTreeMap<String, f64>),
}

/// What is removed as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// Single weights.
    Unstructured,
    /// Units of linear layers.
    Neuron,
    /// Filters of convolutions, and units of linear layers.
    Filter,
    /// Of every `group` weights along the inputs all but `keep`.
    Grouped {
        /// N.
        keep: u32,
        /// M.
        group: u32,
    },
}

/// When weights go, as the file has it: in shares of the training where a number of steps would depend on the data.
#[derive(Debug, Clone, PartialEq)]
pub enum Timing {
    /// All at once.
    OneShot,
    /// In levels, each trained before the next.
    Iterative {
        /// The levels.
        ladder: Ladder,
        /// What each level's training begins from.
        then: Then,
    },
    /// More and more while what is left is trained.
    Gradual {
        /// How the sparsity rises.
        shape: Ramp,
        /// The share of the training before the first removal.
        begin: f64,
        /// The share of the training before the last.
        end: f64,
        /// How often.
        pace: Pace,
    },
    /// The same sparsity with weights that change while the net is trained from its beginning.
    Dynamic {
        /// What grows.
        growth: Growth,
        /// What is replaced at first.
        fraction: f64,
        /// Steps from one change to the next.
        every: u64,
        /// The share of the training after which nothing changes.
        end: f64,
    },
    /// Dense and sparse phases in turns while the net is trained from its beginning.
    Alternating {
        /// Steps of a phase.
        every: u64,
        /// The share of the training from which the net stays sparse.
        end: f64,
    },
}

/// The sparsities on the way to that of a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Ladder {
    /// Each level removes this share of what is left.
    Fraction(f64),
    /// So many levels, each of which removes the same share of what is left.
    Rounds(u32),
    /// These and the cell's own.
    Levels(Vec<f64>),
}

/// What a level's training begins from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The weights there are, retrained as `retrain` says (Han et al. 2015).
    Finetune,
    /// The weights there are, trained as the dense net was (Renda et al. 2020).
    RewindLearningRate,
    /// The weights of a step of the dense training, trained on from there (Frankle et al. 2020; step 0: Frankle & Carbin 2019).
    RewindWeights {
        /// The step.
        step: u64,
    },
    /// Other initial weights, trained as the dense net was.
    Reinitialize,
}

/// How often weights go in a gradual schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// So many times.
    Times(u64),
    /// Every so many steps.
    Every(u64),
}

/// What is changed about a pruned net to see whether it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AblationSetting {
    /// Nothing.
    None,
    /// The mask of each layer is shuffled.
    Shuffle,
    /// As many of each layer go, at random.
    RandomMatched,
    /// What is left begins from other initial weights.
    Reinitialize,
}

/// When the penalty is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// While the dense net is trained.
    Dense,
    /// While the pruned net is retrained.
    Retrain,
    /// Always.
    Both,
}

/// Names of penalties in the sweep file.
pub const PENALTIES: [(&str, Option<RegularizationKind>); 9] = [
    ("none", None),
    ("l1", Some(RegularizationKind::L1)),
    ("l1_subgradient", Some(RegularizationKind::L1Subgradient)),
    ("l2", Some(RegularizationKind::L2)),
    ("l2_decoupled", Some(RegularizationKind::L2Decoupled)),
    ("group_lasso", Some(RegularizationKind::GroupLasso)),
    ("group_norm", Some(RegularizationKind::GroupNorm)),
    ("growing", Some(RegularizationKind::Growing)),
    ("batch_norm_scale", Some(RegularizationKind::BatchNormScale)),
];

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Local => f.write_str("local"),
            Self::Erk => f.write_str("erk"),
            Self::Lamp => f.write_str("lamp"),
            Self::Sensitivity => f.write_str("sensitivity"),
            Self::Factors(factors) => {
                let factors: Vec<String> = factors.iter().map(|(layer, factor)| format!("{layer} {factor}")).collect();
                write!(f, "per_layer ({})", factors.join(", "))
            }
        }
    }
}

impl fmt::Display for Grain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstructured => f.write_str("unstructured"),
            Self::Neuron => f.write_str("neuron"),
            Self::Filter => f.write_str("filter"),
            Self::Grouped { keep, group } => write!(f, "{keep}:{group}"),
        }
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneShot => f.write_str("one_shot"),
            Self::Iterative { ladder, then } => write!(f, "iterative ({ladder}, {then})"),
            Self::Gradual { shape, begin, end, pace } => {
                let shape = match shape {
                    Ramp::Cubic => "cubic",
                    Ramp::Linear => "linear",
                    Ramp::Exponential => "exponential",
                    Ramp::Cosine => "cosine",
                };
                write!(f, "gradual ({shape}, {begin} to {end}, {pace})")
            }
            Self::Dynamic { growth, fraction, every, end } => {
                let name = match growth {
                    Growth::Random => "set",
                    Growth::Gradient => "rigl",
                };
                write!(f, "{name} ({fraction} every {every} steps to {end})")
            }
            Self::Alternating { every, end } => write!(f, "ac_dc (every {every} steps to {end})"),
        }
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fraction(fraction) => write!(f, "fraction {fraction}"),
            Self::Rounds(rounds) => write!(f, "{rounds} rounds"),
            Self::Levels(levels) => {
                let levels: Vec<String> = levels.iter().map(f64::to_string).collect();
                write!(f, "levels {}", levels.join(" "))
            }
        }
    }
}

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finetune => f.write_str("finetune"),
            Self::RewindLearningRate => f.write_str("lr_rewind"),
            Self::RewindWeights { step } => write!(f, "weight_rewind to step {step}"),
            Self::Reinitialize => f.write_str("reinitialize"),
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => write!(f, "{times} times"),
            Self::Every(steps) => write!(f, "every {steps} steps"),
        }
    }
}

impl AblationSetting {
    /// Every one with its name.
    pub const ALL: [(&str, Self); 4] = [
        ("none", Self::None),
        ("shuffle", Self::Shuffle),
        ("random_matched", Self::RandomMatched),
        ("reinitialize", Self::Reinitialize),
    ];

    /// The name in the sweep file.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, ablation)| *ablation == self).map_or("none", |(name, _)| name)
    }
}

impl Setting for f64 {
    fn json(&self) -> serde_json::Value {
        json!(self)
    }
}

impl Setting for u32 {
    fn json(&self) -> serde_json::Value {
        json!(self)
    }
}

impl Setting for Vec<u32> {
    fn json(&self) -> serde_json::Value {
        json!(self)
    }
}

impl Setting for Option<f64> {
    fn json(&self) -> serde_json::Value {
        self.map_or(json!("none"), |value| json!(value))
    }
}

impl Setting for Strategy {
    fn json(&self) -> serde_json::Value {
        json!(self.name)
    }
}

impl Setting for Scope {
    fn json(&self) -> serde_json::Value {
        json!(self.to_string())
    }
}

impl Setting for Grain {
    fn json(&self) -> serde_json::Value {
        json!(self.to_string())
    }
}

impl Setting for Timing {
    fn json(&self) -> serde_json::Value {
        json!(self.to_string())
    }
}

impl Setting for AblationSetting {
    fn json(&self) -> serde_json::Value {
        json!(self.name())
    }
}

impl Setting for Option<RegularizationKind> {
    fn json(&self) -> serde_json::Value {
        json!(PENALTIES.into_iter().find(|(_, kind)| kind == self).map_or("none", |(name, _)| name))
    }
}

impl Setting for Phase {
    fn json(&self) -> serde_json::Value {
        json!(match self {
            Self::Dense => "dense",
            Self::Retrain => "retrain",
            Self::Both => "both",
        })
    }
}

impl Named for f64 {}
impl Named for u32 {}
impl Named for Vec<u32> {}
impl Named for Option<f64> {}
impl Named for Scope {}
impl Named for Grain {}
impl Named for AblationSetting {}
impl Named for Option<RegularizationKind> {}
impl Named for Phase {}

impl Named for Timing {
    /// By its whole text, or by its kind: the text up to the parenthesis.
    fn is_named_by(&self, node: &Node) -> bool {
        let whole = self.to_string();
        match &node.value {
            Value::Text(text) => *text == whole || whole.split(" (").next() == Some(text),
            _ => false,
        }
    }
}

impl Named for Strategy {
    fn is_named_by(&self, node: &Node) -> bool {
        match &node.value {
            Value::Text(text) => Self::own_name(text) == self.name,
            Value::Map(entries) => {
                let [strategy] = entries.as_slice() else { return false };
                let Value::Map(parameters) = &strategy.value.value else { return false };
                let is_own = |name: &str, value: &Value| {
                    let own = self.spec().and_then(|spec| spec.parameters.get(name).copied());
                    own.is_some_and(|own| same(value, &json!(own)))
                };
                Self::own_name(&strategy.key) == self.name
                    && parameters.iter().all(|parameter| is_own(&parameter.key, &parameter.value.value))
            }
            _ => false,
        }
    }
}
