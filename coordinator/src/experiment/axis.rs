//! Settings that can have several values. Knows which keys can, in which order the grid counts them, and how their values are
//! written; not what they do.

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
    /// `pruning.granularity`
    Granularity,
    /// `pruning.schedule`
    Schedule,
    /// `pruning.ablation`
    Ablation,
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
    pub const ALL: [Self; 17] = [
        Self::Hidden,
        Self::LearningRate,
        Self::WeightDecay,
        Self::BatchSize,
        Self::Epochs,
        Self::ClipGradientNorm,
        Self::Strategy,
        Self::Scope,
        Self::Granularity,
        Self::Schedule,
        Self::Ablation,
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
            Self::Granularity => "pruning.granularity",
            Self::Schedule => "pruning.schedule",
            Self::Ablation => "pruning.ablation",
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

/// Numbers are equal when their values are: `0` and `0.0` name the same.
pub(super) fn same(found: &Value, setting: &serde_json::Value) -> bool {
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
