//! Settings that can have several values. Knows which keys can, in which order the grid counts them, and how their values are
//! written; not what they do.

use secateur_proto::spec::RegularizationKind;
use serde_json::json;

use super::{
    diagnostic::Mark,
    yaml::{Node, Value},
};

/// A key that can be an axis. The order is that of the grid: the first is the slowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AxisKey {
    /// `model.hidden`
    Hidden,
    /// `training.optimizer.lr`
    LearningRate,
    /// `training.optimizer.weight_decay`
    WeightDecay,
    /// `training.batch_size`
    BatchSize,
    /// `training.epochs`
    Epochs,
    /// `training.clip_gradient_norm`
    ClipGradientNorm,
    /// `pruning.strategy`
    Strategy,
    /// `pruning.scope`
    Scope,
    /// `pruning.sparsity`
    Sparsity,
    /// `pruning.retrain.epochs`
    RetrainEpochs,
    /// `pruning.retrain.lr`
    RetrainLearningRate,
    /// `regularization.kind`
    RegularizationKind,
    /// `regularization.strength`
    Strength,
    /// `regularization.phase`
    Phase,
}

impl AxisKey {
    /// Every key, in the order of the grid.
    pub const ALL: [Self; 14] = [
        Self::Hidden,
        Self::LearningRate,
        Self::WeightDecay,
        Self::BatchSize,
        Self::Epochs,
        Self::ClipGradientNorm,
        Self::Strategy,
        Self::Scope,
        Self::Sparsity,
        Self::RetrainEpochs,
        Self::RetrainLearningRate,
        Self::RegularizationKind,
        Self::Strength,
        Self::Phase,
    ];

    /// The path in the sweep file.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Hidden => "model.hidden",
            Self::LearningRate => "training.optimizer.lr",
            Self::WeightDecay => "training.optimizer.weight_decay",
            Self::BatchSize => "training.batch_size",
            Self::Epochs => "training.epochs",
            Self::ClipGradientNorm => "training.clip_gradient_norm",
            Self::Strategy => "pruning.strategy",
            Self::Scope => "pruning.scope",
            Self::Sparsity => "pruning.sparsity",
            Self::RetrainEpochs => "pruning.retrain.epochs",
            Self::RetrainLearningRate => "pruning.retrain.lr",
            Self::RegularizationKind => "regularization.kind",
            Self::Strength => "regularization.strength",
            Self::Phase => "regularization.phase",
        }
    }

    /// Whether cells name the value even where it has only one.
    pub(super) const fn always_named(self) -> bool {
        use AxisKey as K;
        matches!(
            self,
            K::Hidden | K::Strategy | K::Scope | K::Sparsity | K::RegularizationKind | K::Strength | K::Phase
        )
    }
}

/// The values of one key: at least one, all different.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis<T> {
    /// Which key.
    pub key: AxisKey,
    /// Where its value begins; for a default, the map that lacks the key.
    pub mark: Mark,
    /// Whether the file gives a list.
    pub listed: bool,
    /// In the order of the file.
    pub values: Vec<T>,
}

impl<T> Axis<T> {
    /// A key that is not in the file.
    pub(super) fn default(key: AxisKey, mark: Mark, value: T) -> Self {
        Self { key, mark, listed: false, values: vec![value] }
    }
}

/// How a value of an axis is written.
pub trait Setting {
    /// In the settings of a cell.
    fn json(&self) -> serde_json::Value;
}

/// An axis, whatever its values are.
pub(crate) trait AnyAxis {
    fn key(&self) -> AxisKey;
    fn len(&self) -> usize;
    fn listed(&self) -> bool;
    fn json(&self, index: usize) -> serde_json::Value;
    /// Which values `node`, a value in `exclude`, names.
    fn named_by(&self, node: &Node) -> Vec<bool>;
}

impl<T: Setting + Named> AnyAxis for Axis<T> {
    fn key(&self) -> AxisKey {
        self.key
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn listed(&self) -> bool {
        self.listed
    }

    fn json(&self, index: usize) -> serde_json::Value {
        self.values[index].json()
    }

    fn named_by(&self, node: &Node) -> Vec<bool> {
        self.values.iter().map(|value| value.is_named_by(node)).collect()
    }
}

/// How a value is named in `exclude`.
pub(crate) trait Named: Setting {
    fn is_named_by(&self, node: &Node) -> bool {
        same(&node.value, &self.json())
    }
}

impl Named for f64 {}
impl Named for u32 {}
impl Named for Vec<u32> {}
impl Named for Option<f64> {}
impl Named for Scope {}
impl Named for Option<RegularizationKind> {}
impl Named for Phase {}

impl Named for Strategy {
    fn is_named_by(&self, node: &Node) -> bool {
        let names = |text: &str| text == self.name();
        match (&node.value, self) {
            (Value::Text(text), _) => names(text),
            (Value::Map(entries), Self::Taylor { batches, .. }) => {
                matches!(entries.as_slice(), [strategy] if names(&strategy.key)
                    && matches!(&strategy.value.value, Value::Map(parameters)
                        if matches!(parameters.as_slice(), [parameter] if parameter.key == "batches"
                            && same(&parameter.value.value, &json!(batches)))))
            }
            _ => false,
        }
    }
}

/// Numbers are equal when their values are: `0` and `0.0` name the same.
fn same(found: &Value, setting: &serde_json::Value) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "settings are f64 or small integers")]
    match (found, setting) {
        (Value::Text(text), serde_json::Value::String(name)) => text == name,
        (Value::Integer(found), serde_json::Value::Number(number)) => number.as_f64() == Some(*found as f64),
        (Value::Float(found), serde_json::Value::Number(number)) => number.as_f64() == Some(*found),
        (Value::List(items), serde_json::Value::Array(values)) => {
            items.len() == values.len() && items.iter().zip(values).all(|(item, value)| same(&item.value, value))
        }
        _ => false,
    }
}

/// How weights are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// At random.
    Random,
    /// By |w|.
    Magnitude,
    /// By |w · g|.
    Taylor {
        /// Train batches that the gradient is averaged over.
        batches: u32,
        /// Whether the file gives their number.
        given: bool,
    },
}

impl Strategy {
    /// The name in the sweep file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Magnitude => "magnitude",
            Self::Taylor { .. } => "taylor",
        }
    }

    /// Whether both do the same.
    pub(super) const fn same_work(self, other: Self) -> bool {
        match (self, other) {
            (Self::Random, Self::Random) | (Self::Magnitude, Self::Magnitude) => true,
            (Self::Taylor { batches: one, .. }, Self::Taylor { batches: two, .. }) => one == two,
            _ => false,
        }
    }
}

/// Which weights compete for staying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those of all prunable layers together.
    Global,
    /// Those of each layer: every layer gets the same sparsity.
    Local,
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
        json!(self.name())
    }
}

impl Setting for Scope {
    fn json(&self) -> serde_json::Value {
        json!(match self {
            Self::Global => "global",
            Self::Local => "local",
        })
    }
}

impl Setting for Option<RegularizationKind> {
    fn json(&self) -> serde_json::Value {
        json!(match self {
            None => "none",
            Some(RegularizationKind::L1) => "l1",
            Some(RegularizationKind::L2) => "l2",
        })
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
