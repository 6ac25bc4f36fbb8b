//! How an attempt at a stage, and so a trial, can end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ids::ContentHash, metrics::Metrics, vocabulary};

/// One file's content: its hash and its size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Artifact {
    /// Names the content.
    pub hash: ContentHash,
    /// In bytes.
    pub size: u64,
}

vocabulary! {
    /// The role that a file has for a stage.
    #[derive(PartialOrd, Ord)]
    pub enum Role {
        /// The table, or the packed images, that the sweep file names.
        Table = "table",
        /// A net that was trained elsewhere, as safetensors.
        Weights = "weights",
        /// Inputs and targets of every split, as safetensors.
        Prepared = "prepared",
        /// How the data became tensors, as JSON: enough to prepare new rows for serving.
        Preparation = "preparation",
        /// The net of the best validation epoch, as safetensors.
        Checkpoint = "checkpoint",
        /// The net of an early step of the dense training, as safetensors: the point that rewinding returns to.
        EarlyCheckpoint = "early_checkpoint",
        /// The weights to remove, and why, as safetensors. Made before it is executed.
        Plan = "plan",
        /// 1 where a weight is kept, as safetensors.
        Mask = "mask",
        /// The score of every validation and test row, as safetensors.
        Scores = "scores",
        /// Metrics by epoch, as JSON.
        Curve = "curve",
        /// The quantized net: integers of few bits with their scales, as safetensors.
        Quantized = "quantized",
        /// A fitted reference model, as JSON: coefficients or trees.
        Reference = "reference",
        /// Sizes and times of a net, with the machine that they were taken on, as JSON.
        Measurement = "measurement",
    }
}

/// Files by role.
pub type Artifacts = BTreeMap<Role, Artifact>;

/// The result of a completed stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageResult {
    /// Empty for a stage that does not train.
    pub metrics: Metrics,
    /// The files that it made.
    pub artifacts: Artifacts,
}

impl StageResult {
    /// Adds the metrics and files of a later stage of the same net. Where both have one, the later one is kept.
    pub fn extend(&mut self, later: Self) {
        self.metrics.extend(later.metrics);
        self.artifacts.extend(later.artifacts);
    }
}

/// The training state of a stage at the end of an epoch, which another attempt can resume from. Not to be confused with
/// the net that a stage leaves, [`Role::Checkpoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// From 1.
    pub epoch: u32,
    /// The file of the state.
    pub state: Artifact,
}

/// How an attempt at a stage ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum StageOutcome {
    /// The stage completed.
    Completed(StageResult),
    /// A non-finite input, activation, loss or gradient was met. Final: the same stage would diverge again.
    Diverged {
        /// The first optimiser step that met it, from 1; 0 if it was there before the first step, or in a score.
        step: u64,
    },
    /// A layer would lose all of its weights to pruning or to a penalty. Final.
    Collapsed {
        /// The name of that layer.
        layer: String,
    },
    /// Something other than the mathematics failed.
    Failed(Failure),
    /// The result is no longer needed.
    Cancelled,
}

impl StageOutcome {
    /// The name in reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Completed(_) => "completed",
            Self::Diverged { .. } => "diverged",
            Self::Collapsed { .. } => "collapsed",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The cause of a failure. The coordinator decides by its class, never by its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Decides whether to retry.
    pub class: FailureClass,
    /// For a person.
    pub message: String,
}

impl Failure {
    /// A failure of `class`.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }
}

vocabulary! {
    /// Kinds of failure, by how the coordinator reacts.
    #[derive(PartialOrd, Ord)]
    pub enum FailureClass {
        /// The executor process died. Retried in a narrower bundle.
        Executor = "executor",
        /// Reading or writing files or artifacts failed. Retried.
        Storage = "storage",
        /// The inputs do not fit the spec. Final.
        Input = "input",
        /// An invariant of Secateur was broken. Final, and a bug to report.
        Internal = "internal",
        /// A stage whose result this one reads did not complete. Final.
        Upstream = "upstream",
        /// The worker's disk is full. Another worker runs the stage, or the sweep stops until there is space. No
        /// attempt is lost.
        NoSpace = "no_space",
        /// Out of memory. Retried in a narrower bundle and on another device.
        OutOfMemory = "out_of_memory",
        /// The stage, alone in its bundle, crashed executors on several workers. Final.
        Poison = "poison",
        /// The worker lacks something the stage needs, such as space for its inputs. Another worker runs the stage.
        Unfit = "unfit",
    }
}

impl FailureClass {
    /// Whether another attempt could end differently.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Executor | Self::Storage | Self::NoSpace | Self::OutOfMemory | Self::Unfit => true,
            Self::Input | Self::Internal | Self::Upstream | Self::Poison => false,
        }
    }
}
