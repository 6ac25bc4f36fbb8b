//! What stages are to do: everything that decides a result, and nothing else.
//!
//! A spec's canonical form is its JSON with the fields in the order of the structs here. Its hash, with the semantics version,
//! is the stage key, so renaming or reordering a field changes every key: raise
//! [`SEMANTICS_VERSION`] with it.

mod architecture;
mod data;
mod model;
mod pruning;
mod training;

pub use architecture::{Architecture, Layer, LayerKind, Step, TensorKind, TensorSpec};
pub use data::{PrepareSpec, SplitSpec, TableFormat, Task};
pub use model::{Activation, MAX_DEPTH, MAX_WIDTH, ModelSpec};
pub use pruning::{
    Ablation, CriterionSpec, DenseSpec, Granularity, Growth, ImportSpec, PruneSpec, Ramp, Ranking, Removal, Schedule,
    Start, Subject,
};
use serde::{Deserialize, Serialize};
pub use training::{
    Initialization, LearningRateSchedule, OptimizerSpec, RegularizationKind, RegularizationSpec, SelectBy, TrainingSpec,
};

use crate::{
    SEMANTICS_VERSION,
    ids::{ContentHash, StageKey},
    outcome::Role,
};

/// The work of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum StageSpec {
    /// From a table, or images, to tensors.
    Prepare(PrepareSpec),
    /// Train the unpruned net.
    Dense(DenseSpec),
    /// Evaluate an unpruned net that was trained elsewhere.
    Import(ImportSpec),
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
            Self::Import(spec) => vec![spec.prepare],
            Self::Prune(spec) => {
                let rewound = match spec.start {
                    Start::Rewound { stage } => Some(stage),
                    Start::Scored {} | Start::Initial {} | Start::Reinitialized {} => None,
                };
                [Some(spec.prepare), spec.subject.stage(), rewound].into_iter().flatten().collect()
            }
        }
    }

    /// The files that the stage reads.
    #[must_use]
    pub fn reads(&self) -> Vec<Role> {
        match self {
            Self::Prepare(_) => vec![Role::Table],
            Self::Dense(_) => vec![Role::Prepared],
            Self::Import(_) => vec![Role::Prepared, Role::Weights],
            Self::Prune(spec) => {
                let subject: &[Role] = match spec.subject {
                    Subject::Dense { .. } => &[Role::Checkpoint],
                    Subject::Pruned { .. } => &[Role::Checkpoint, Role::Mask],
                    Subject::Initial {} => &[],
                };
                let rewound: &[Role] = match spec.start {
                    Start::Rewound { .. } => &[Role::EarlyCheckpoint],
                    Start::Scored {} | Start::Initial {} | Start::Reinitialized {} => &[],
                };
                [&[Role::Prepared], subject, rewound].concat()
            }
        }
    }

    /// The net; nothing for a stage that has none.
    #[must_use]
    pub const fn model(&self) -> Option<&ModelSpec> {
        match self {
            Self::Prepare(_) => None,
            Self::Dense(spec) => Some(&spec.model),
            Self::Import(spec) => Some(&spec.model),
            Self::Prune(spec) => Some(&spec.model),
        }
    }

    /// The net and how it is trained; nothing for a stage that trains nothing.
    #[must_use]
    pub const fn training(&self) -> Option<(&ModelSpec, &TrainingSpec)> {
        match self {
            Self::Prepare(_) | Self::Import(_) => None,
            Self::Dense(spec) => Some((&spec.model, &spec.training)),
            Self::Prune(spec) => Some((&spec.model, &spec.training)),
        }
    }

    /// The penalty on the weights during this stage.
    #[must_use]
    pub const fn regularization(&self) -> Option<&RegularizationSpec> {
        match self {
            Self::Prepare(_) | Self::Import(_) => None,
            Self::Dense(spec) => spec.regularization.as_ref(),
            Self::Prune(spec) => spec.regularization.as_ref(),
        }
    }

    fn check(&self) -> Result<(), InvalidSpec> {
        let impossible = |what| Err(InvalidSpec::Impossible(what));
        if let Some(model) = self.model() {
            if let Err(reason) = model.check() {
                return impossible(reason);
            }
            if model.weights() > MAX_WEIGHTS {
                return impossible("more than 2^31 weights");
            }
        }
        if let Some((_, training)) = self.training() {
            if training.batch_size == 0 || training.epochs == 0 {
                return impossible("an empty batch or no epoch");
            }
            if !(0.0..1.0).contains(&training.dropout) {
                return impossible("a dropout that leaves nothing");
            }
        }
        match self {
            Self::Prune(spec) => spec.check().map_err(InvalidSpec::Impossible),
            Self::Prepare(_) | Self::Dense(_) | Self::Import(_) => Ok(()),
        }
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
