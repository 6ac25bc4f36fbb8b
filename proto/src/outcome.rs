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
    /// What a file is to a stage.
    #[derive(PartialOrd, Ord)]
    pub enum Role {
        /// The table, or the packed images, that the sweep file names.
        Table = "table",
        /// A net that was trained elsewhere, as safetensors.
        Weights = "weights",
        /// Inputs and targets of every split, as safetensors.
        Prepared = "prepared",
        /// How they became tensors, as JSON: enough to prepare new rows for serving.
        Preparation = "preparation",
        /// The net of the best validation epoch, as safetensors.
        Checkpoint = "checkpoint",
        /// The net of an early step of the dense training, as safetensors: what a rewinding goes back to.
        EarlyCheckpoint = "early_checkpoint",
        /// What was removed and why, as safetensors; made before it is executed.
        Plan = "plan",
        /// 1 where a weight is kept, as safetensors.
        Mask = "mask",
        /// The score of every validation and test row, as safetensors.
        Scores = "scores",
        /// Metrics by epoch, as JSON.
        Curve = "curve",
        /// The net in whole numbers of few bits, with their scales, as safetensors.
        Quantized = "quantized",
    }
}

/// Files by role.
pub type Artifacts = BTreeMap<Role, Artifact>;

/// What a completed stage leaves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageResult {
    /// Empty for a stage that trains nothing.
    pub metrics: Metrics,
    /// The files it made.
    pub artifacts: Artifacts,
}

impl StageResult {
    /// Adds what a later stage measured and made of the same net. Where both have a quantity or a file, the later one is kept.
    pub fn extend(&mut self, later: Self) {
        self.metrics.extend(later.metrics);
        self.artifacts.extend(later.artifacts);
    }
}

/// The state of a stage's training at the end of an epoch, which another attempt can go on from. Not the net that a stage leaves, which
/// is [`Role::Checkpoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// From 1.
    pub epoch: u32,
    /// The file of it.
    pub state: Artifact,
}

/// How an attempt at a stage ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum StageOutcome {
    /// It left its result.
    Completed(StageResult),
    /// A non-finite input, activation, loss or gradient was met. Final: the same stage would diverge again.
    Diverged {
        /// The first optimiser step, from 1, that met it; 0 when it was there before the first, or only in a score.
        step: u64,
    },
    /// A layer would be left without a weight: by the removal, or by a penalty that drove all of it to zero. Final.
    Collapsed {
        /// The name of that layer.
        layer: String,
    },
    /// Something outside the mathematics went wrong.
    Failed(Failure),
    /// Nobody wants it any more.
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

/// What went wrong, as data: the coordinator decides by class, never by text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Decides whether another attempt is worth it.
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
    /// Kinds of failure, by what the coordinator should do about them.
    #[derive(PartialOrd, Ord)]
    pub enum FailureClass {
        /// The executor process died. Tried again, in a narrower bundle.
        Executor = "executor",
        /// Reading or writing files or artifacts failed. Tried again.
        Storage = "storage",
        /// The inputs do not fit the spec. Final.
        Input = "input",
        /// An invariant of Secateur was broken. Final, and a defect to report.
        Internal = "internal",
        /// A stage that this one reads did not complete. Final.
        Upstream = "upstream",
        /// The worker's disk is full. Another one does its work, or the sweep stops until there is room; no attempt is lost.
        NoSpace = "no_space",
        /// Memory was not enough. Tried again, in a narrower bundle and on another device.
        OutOfMemory = "out_of_memory",
        /// It ended the executors of several workers, alone. Final.
        Poison = "poison",
        /// The worker has not got what the stage needs, such as room for its inputs. The worker's fault, for which another one makes up.
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
