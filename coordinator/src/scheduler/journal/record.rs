//! The journal's vocabulary: what is durable, as data.
//!
//! Any change to what these types look like as JSON raises the [version](crate::scheduler::JOURNAL_VERSION) and needs a way to read those before.

use std::sync::Arc;

use secateur_proto::{
    ids::{StageKey, SweepId},
    outcome::{Checkpoint, Failure, StageOutcome},
};
use serde::{Deserialize, Serialize};

use super::{failures::AttemptId, part::Part, plan_text};
use crate::{
    experiment::plan::PackedPlan,
    scheduler::message::{Share, is_false},
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
        /// Whether parts are to follow. Unknown of versions before 9.
        #[serde(default, skip_serializing_if = "is_false")]
        open: bool,
    },
    /// A sweep has more stages and trials. Unknown of versions before 9, as is the next.
    SweepExtended {
        /// Those of this part, and every stage that they need.
        #[serde(with = "plan_text")]
        part: Arc<PackedPlan>,
    },
    /// No part of a sweep follows.
    SweepClosed {
        /// Which.
        sweep: SweepId,
    },
    /// A stopped or cancelled sweep goes on.
    SweepResumed {
        /// Which.
        sweep: SweepId,
    },
    /// A sweep was given up.
    SweepCancelled {
        /// Which.
        sweep: SweepId,
    },
    /// A sweep was stopped from outside.
    SweepStopped {
        /// Which.
        sweep: SweepId,
        /// For a person.
        reason: String,
    },
    /// A sweep has another part of the workers, or drains from now on, or does not any more.
    SweepShareChanged {
        /// Which.
        sweep: SweepId,
        /// What it is now.
        share: Share,
    },
    /// Stages that had failed are open again, and with them those below that had failed for no other reason.
    StagesReopened {
        /// Those that had failed by themselves.
        stages: Vec<StageKey>,
    },
    /// A sweep that did not run was forgotten: its stages that no other sweep lists are no longer known.
    SweepForgotten {
        /// Which.
        sweep: SweepId,
    },
    /// A stage ended. Stages below it that end with it have no record of their own: they follow.
    StageEnded {
        /// Which.
        stage: StageKey,
        /// How.
        outcome: StageOutcome,
    },
    /// An open stage can be gone on with from there, which is later than from where it could before.
    Checkpointed {
        /// Which.
        stage: StageKey,
        /// From where.
        checkpoint: Checkpoint,
    },
    /// An attempt failed, and another one is worth it.
    AttemptFailed {
        /// At which stage.
        stage: StageKey,
        /// The width of the bundle that it was a lane of.
        lanes: u32,
        /// Why.
        failure: Failure,
        /// The name of the worker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<String>,
        /// Which attempt it was, so that it is not counted again when its worker says it again. Unknown of versions before 5.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<AttemptId>,
    },
    /// A part of all that the records before come to: from a whole snapshot on they are not needed. Written in another way than the others.
    #[serde(skip)]
    Snapshot(Part),
}
