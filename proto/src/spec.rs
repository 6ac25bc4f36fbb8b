//! What stages are to do: everything that decides a result, and nothing else.
//!
//! A spec's canonical form is its JSON with the fields in the order of the structs here. Its hash, with the semantics version,
//! is the stage key, so renaming or reordering a field changes every key: raise
//! [`SEMANTICS_VERSION`] with it.

use serde::{Deserialize, Serialize};

use crate::{
    SEMANTICS_VERSION,
    ids::{ContentHash, StageKey},
    outcome::Role,
};

mod data;

pub use data::{PrepareSpec, SplitSpec, TableFormat, Task};

/// The work of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum StageSpec {
    /// From a table, or images, to tensors.
    Prepare(PrepareSpec),
    /// Train the unpruned net.
    Dense(DenseSpec),
    /// Score, plan, mask, retrain, evaluate.
    Prune(PruneSpec),
}

/// A stage spec that arrived from outside and cannot be what it says.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSpec {
    /// Not JSON of a known stage.
    #[error("the stage spec cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The key is not the hash of the spec: another semantics version, or a changed message.
    #[error(
        "the stage key {found} does not belong to its spec (expected {expected}); worker and coordinator are of different versions"
    )]
    KeyMismatch {
        /// The key that came with the spec.
        found: StageKey,
        /// The key of the spec.
        expected: StageKey,
    },
    /// A number is outside of what can be computed.
    #[error("impossible stage spec: {0}")]
    Impossible(&'static str),
}

impl StageSpec {
    /// The canonical JSON.
    ///
    /// # Panics
    /// Never: the structs have no map with keys other than strings.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("a stage spec is plain data")
    }

    /// The stage key: the hash of the semantics version and the canonical JSON.
    #[must_use]
    pub fn key(&self) -> StageKey {
        key_of(&self.canonical())
    }

    /// Reads a spec that came with `key`.
    ///
    /// # Errors
    /// If the text is not a spec, is not the one that `key` names, or asks for the impossible.
    pub fn parse(text: &str, key: StageKey) -> Result<Self, InvalidSpec> {
        let spec: Self = serde_json::from_str(text)?;
        let expected = spec.key();
        if expected != key {
            return Err(InvalidSpec::KeyMismatch { found: key, expected });
        }
        spec.check()?;
        Ok(spec)
    }

    /// The stages whose results this one reads.
    #[must_use]
    pub fn parents(&self) -> Vec<StageKey> {
        match self {
            Self::Prepare(_) => vec![],
            Self::Dense(spec) => vec![spec.prepare],
            Self::Prune(spec) => vec![spec.prepare, spec.dense],
        }
    }

    /// The files that the stage reads.
    #[must_use]
    pub const fn reads(&self) -> &'static [Role] {
        match self {
            Self::Prepare(_) => &[Role::Table],
            Self::Dense(_) => &[Role::Prepared],
            Self::Prune(_) => &[Role::Prepared, Role::Checkpoint],
        }
    }

    /// The net and how it is trained; nothing for a stage that trains nothing.
    #[must_use]
    pub const fn training(&self) -> Option<(&ModelSpec, &TrainingSpec)> {
        match self {
            Self::Prepare(_) => None,
            Self::Dense(spec) => Some((&spec.model, &spec.training)),
            Self::Prune(spec) => Some((&spec.model, &spec.training)),
        }
    }

    /// The penalty on the weights during this stage.
    #[must_use]
    pub const fn regularization(&self) -> Option<&RegularizationSpec> {
        match self {
            Self::Prepare(_) => None,
            Self::Dense(spec) => spec.regularization.as_ref(),
            Self::Prune(spec) => spec.regularization.as_ref(),
        }
    }

    fn check(&self) -> Result<(), InvalidSpec> {
        let impossible = |what| Err(InvalidSpec::Impossible(what));
        if let Some((model, training)) = self.training() {
            let layers = model.layers();
            let weights = layers.iter().try_fold(0_u64, |sum, layer| {
                sum.checked_add(u64::from(layer.inputs).checked_mul(u64::from(layer.outputs))?)
            });
            if layers.iter().any(|layer| layer.inputs == 0 || layer.outputs == 0) {
                return impossible("a layer without inputs or outputs");
            }
            if weights.is_none_or(|weights| weights > MAX_WEIGHTS) {
                return impossible("more than 2^31 weights");
            }
            if training.batch_size == 0 || training.epochs == 0 {
                return impossible("an empty batch or no epoch");
            }
        }
        if let Self::Prune(spec) = self {
            let sizes = spec.model.prunable_sizes();
            let fits = match &spec.removal {
                Removal::Global { count } => *count <= sizes.iter().sum(),
                Removal::PerLayer { counts } => {
                    counts.len() == sizes.len() && counts.iter().zip(&sizes).all(|(count, size)| count <= size)
                }
            };
            if !fits {
                return impossible("more weights to remove than there are");
            }
            if spec.criterion.is_none() && spec.removal.total() > 0 {
                return impossible("weights to remove and no criterion to choose them by");
            }
        }
        Ok(())
    }
}

/// The largest net, in weights, that a spec may ask for.
pub const MAX_WEIGHTS: u64 = 1 << 31;

fn key_of(canonical: &str) -> StageKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("secateur stage {SEMANTICS_VERSION}\n").as_bytes());
    hasher.update(canonical.as_bytes());
    StageKey(ContentHash::from(hasher.finalize()))
}

/// The architecture, with every size resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelSpec {
    /// Linear layers with ReLU between them and one logit at the end.
    Mlp {
        /// Width of the prepared rows.
        inputs: u32,
        /// Widths of the hidden layers.
        hidden: Vec<u32>,
    },
}

/// One linear layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The name in checkpoints and plans: `layers.<index>`.
    pub name: String,
    /// Columns of the weight matrix in files, which have the shape `[outputs, inputs]`.
    pub inputs: u32,
    /// Rows.
    pub outputs: u32,
    /// Whether pruning may take from it: true of all but the output layer. Biases are never pruned.
    pub prunable: bool,
}

impl Layer {
    /// Weights, without biases.
    #[must_use]
    pub fn weights(&self) -> u64 {
        u64::from(self.inputs) * u64::from(self.outputs)
    }
}

impl ModelSpec {
    /// The layers, from the inputs on.
    #[must_use]
    pub fn layers(&self) -> Vec<Layer> {
        let Self::Mlp { inputs, hidden } = self;
        let widths = [&[*inputs], hidden.as_slice(), &[1]].concat();
        let last = widths.len() - 2;
        (widths.windows(2).enumerate())
            .map(|(index, pair)| Layer {
                name: format!("layers.{index}"),
                inputs: pair[0],
                outputs: pair[1],
                prunable: index < last,
            })
            .collect()
    }

    /// Weights of each prunable layer.
    #[must_use]
    pub fn prunable_sizes(&self) -> Vec<u64> {
        self.layers().iter().filter(|layer| layer.prunable).map(Layer::weights).collect()
    }

    /// All weights and biases.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.layers().iter().map(|layer| layer.weights() + u64::from(layer.outputs)).sum()
    }

    /// Multiply-accumulates of one row through the dense net.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.layers().iter().map(Layer::weights).sum()
    }
}

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// The update rule.
    pub optimizer: OptimizerSpec,
    /// Rows a step; the last step of an epoch takes what is left.
    pub batch_size: u32,
    /// Passes over the train rows.
    pub epochs: u32,
    /// Scale a lane's gradient down to this 2-norm when it is longer.
    pub clip_gradient_norm: Option<f64>,
    /// The validation metric that decides which epoch's net is kept.
    pub select_by: SelectBy,
}

/// The validation metric that decides which epoch's net is kept. The earliest wins a tie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectBy {
    /// The highest area under the ROC curve.
    Auc,
    /// The lowest log loss.
    LogLoss,
    /// The highest accuracy.
    Accuracy,
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
        /// Look ahead along the velocity.
        nesterov: bool,
    },
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

/// A penalty on the weights (never on biases). A strength of zero is no penalty and is written as none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegularizationSpec {
    /// Its form.
    pub kind: RegularizationKind,
    /// λ > 0.
    pub strength: f64,
}

/// Forms of penalty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegularizationKind {
    /// Proximal: after each step w ← sign(w) · max(|w| − lr · λ, 0), which makes exact zeros.
    L1,
    /// Coupled: the gradient gets λ · w, the gradient of λ/2 · ‖w‖².
    L2,
}

/// Trains the unpruned net from its initialisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseSpec {
    /// Where the data come from.
    pub prepare: StageKey,
    /// The net.
    pub model: ModelSpec,
    /// How to train it.
    pub training: TrainingSpec,
    /// Its penalty.
    pub regularization: Option<RegularizationSpec>,
    /// Decides the initial weights and the order of rows.
    pub seed: u64,
}

/// Prunes a trained net and retrains what is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneSpec {
    /// Where the data come from.
    pub prepare: StageKey,
    /// The trained net to prune.
    pub dense: StageKey,
    /// Its architecture.
    pub model: ModelSpec,
    /// How weights are scored; nothing when nothing is removed.
    pub criterion: Option<CriterionSpec>,
    /// How many weights go, and among which they compete.
    pub removal: Removal,
    /// How to retrain. The mask holds at every step.
    pub training: TrainingSpec,
    /// The penalty while retraining.
    pub regularization: Option<RegularizationSpec>,
    /// Decides random scores and the order of rows.
    pub seed: u64,
}

/// The score by which weights are kept: the lowest go first, ties by flat index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum CriterionSpec {
    /// Uniform noise: the baseline every other criterion has to beat.
    Random {},
    /// |w|.
    Magnitude {},
    /// |w · g|, g the mean gradient of the loss over so many train batches (Molchanov et al. 2017, first order).
    Taylor {
        /// Batches averaged.
        batches: u32,
    },
}

/// The exact number of weights to remove. The planner works it out from the sparsity: two sparsities that come to the same
/// counts are the same stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "scope", rename_all = "snake_case", deny_unknown_fields)]
pub enum Removal {
    /// The lowest scores of all prunable layers together.
    Global {
        /// Weights to remove.
        count: u64,
    },
    /// The lowest scores of each layer.
    PerLayer {
        /// Weights to remove from each prunable layer.
        counts: Vec<u64>,
    },
}

impl Removal {
    /// Weights removed in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        match self {
            Self::Global { count } => *count,
            Self::PerLayer { counts } => counts.iter().sum(),
        }
    }
}
