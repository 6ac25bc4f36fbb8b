//! The journal's vocabulary: what is durable, as data.
//!
//! A change of these types as JSON requires a new [version](crate::scheduler::JOURNAL_VERSION) and a way to read the
//! earlier versions.

use std::sync::Arc;

use secateur_proto::{
    ids::{StageKey, SweepId},
    outcome::{Checkpoint, Failure, StageOutcome},
};
use serde::{Deserialize, Serialize};

use super::{failures::AttemptId, part::Part, plan_text};
use crate::{
    experiment::plan::PackedPlan,
    scheduler::message::{Person, Share, is_false},
};

/// A durable fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A life of the coordinator began.
    Started,
    /// A new sweep.
    SweepSubmitted {
        /// Its plan, as frozen.
        #[serde(with = "plan_text")]
        plan: Arc<PackedPlan>,
        /// Whether more parts may follow. Absent before version 9.
        #[serde(default, skip_serializing_if = "is_false")]
        open: bool,
        /// Who submitted it. Absent before it was recorded, and if nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Person>,
    },
    /// A sweep got more stages and trials. Added in version 9, as is the next record.
    SweepExtended {
        /// The stages of this part and every stage that they need.
        #[serde(with = "plan_text")]
        part: Arc<PackedPlan>,
    },
    /// A sweep is complete: no part follows.
    SweepClosed {
        /// The sweep.
        sweep: SweepId,
    },
    /// A stopped or cancelled sweep was resumed.
    SweepResumed {
        /// The sweep.
        sweep: SweepId,
    },
    /// A sweep was cancelled.
    SweepCancelled {
        /// The sweep.
        sweep: SweepId,
        /// Who cancelled it. Absent for one that drained, and before it was recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Person>,
    },
    /// A sweep was stopped from outside.
    SweepStopped {
        /// The sweep.
        sweep: SweepId,
        /// For a person.
        reason: String,
    },
    /// A sweep's share of the workers changed, or it started or stopped draining.
    SweepShareChanged {
        /// The sweep.
        sweep: SweepId,
        /// The new share.
        share: Share,
        /// Who wants it to drain, if it starts to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drained_by: Option<Person>,
    },
    /// Failed stages were reopened, with the stages below them that failed for no other reason.
    StagesReopened {
        /// The stages that failed by themselves.
        stages: Vec<StageKey>,
    },
    /// A sweep that was not running was forgotten, with its stages that no other sweep lists.
    SweepForgotten {
        /// The sweep.
        sweep: SweepId,
    },
    /// A stage ended. Stages below that end with it have no record of their own.
    StageEnded {
        /// The stage.
        stage: StageKey,
        /// How it ended.
        outcome: StageOutcome,
    },
    /// An open stage got a checkpoint later than the one before.
    Checkpointed {
        /// The stage.
        stage: StageKey,
        /// The checkpoint.
        checkpoint: Checkpoint,
    },
    /// An attempt failed and will be retried.
    AttemptFailed {
        /// The stage.
        stage: StageKey,
        /// The width of the bundle that it was a lane of.
        lanes: u32,
        /// The failure.
        failure: Failure,
        /// The name of the worker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<String>,
        /// The attempt, so that it is not counted again if its worker repeats the report. Added in version 5.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<AttemptId>,
    },
    /// A part of a snapshot of the whole state. Records before a complete snapshot are not needed. Serialised in
    /// another form than the others.
    #[serde(skip)]
    Snapshot(Part),
}
