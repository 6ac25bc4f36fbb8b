//! The lines of a snapshot, as data. The ledger makes them and restores itself from them.

use std::sync::Arc;

use secateur_proto::{
    ids::SweepId,
    outcome::{Checkpoint, StageOutcome},
};
use serde::{Deserialize, Serialize};

use super::{failures::FailureHistory, plan_text};
use crate::{
    experiment::plan::PackedPlan,
    scheduler::message::{Person, Share, SweepState, Timestamp, is_false},
};

/// One line of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// The first line.
    Begin(Counts),
    /// The state of a sweep.
    Sweep(SweepPart),
    /// A part that the sweep before it was extended by.
    Extension(ExtensionPart),
    /// The state of some stages.
    Stages(Vec<StagePart>),
    /// The last line: the snapshot is complete.
    End {},
}

/// Global counts, and how many sweeps and stages follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Lives of the coordinator so far.
    pub(in crate::scheduler) life: u32,
    /// Sweeps that were forgotten.
    pub(in crate::scheduler) forgotten: u64,
    /// Sweeps that follow.
    pub(in crate::scheduler) sweeps: usize,
    /// Stages that follow.
    pub(in crate::scheduler) stages: usize,
}

/// A part of a sweep's plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtensionPart {
    #[serde(with = "plan_text")]
    pub(in crate::scheduler) part: Arc<PackedPlan>,
    /// When the sweep was extended by it. Missing in the first snapshots of version 9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::scheduler) added_at: Option<Timestamp>,
}

/// A sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepPart {
    #[serde(with = "plan_text")]
    pub(in crate::scheduler) plan: Arc<PackedPlan>,
    /// Whether more parts may follow.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(in crate::scheduler) open: bool,
    pub(in crate::scheduler) state: SweepState,
    pub(in crate::scheduler) submitted_at: Timestamp,
    pub(in crate::scheduler) ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::scheduler) submitted_by: Option<Person>,
    /// Who cancelled it, or asked for it to drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::scheduler) cancelled_by: Option<Person>,
    pub(in crate::scheduler) share: Share,
    /// The state of each trial of all parts, one letter each.
    pub(in crate::scheduler) trials: String,
    /// The numbers of its stages, in the order of the plan, part by part, as ranges: first number and length.
    pub(in crate::scheduler) stages: Vec<(u32, u32)>,
}

/// A stage that has ended, has a failed attempt, or has a checkpoint. Other stages are not written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagePart {
    pub(in crate::scheduler) stage: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::scheduler) outcome: Option<StageOutcome>,
    /// The maximum width of its bundles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::scheduler) width_limit: Option<u32>,
    #[serde(default, rename = "trouble", skip_serializing_if = "Option::is_none")]
    pub(in crate::scheduler) failures: Option<Box<FailureHistory>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::scheduler) checkpoint: Option<Box<Checkpoint>>,
}

impl Part {
    /// The sweep that it belongs to, if any.
    #[must_use]
    pub fn sweep(&self) -> Option<&SweepId> {
        match self {
            Self::Sweep(SweepPart { plan, .. }) | Self::Extension(ExtensionPart { part: plan, .. }) => {
                Some(&plan.sweep.id)
            }
            Self::Begin(_) | Self::Stages(_) | Self::End {} => None,
        }
    }
}
