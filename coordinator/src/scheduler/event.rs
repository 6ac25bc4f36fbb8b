//! What goes into the core and what comes out of it.

use std::{num::NonZeroU32, sync::Arc};

use secateur_proto::{
    ids::{BundleClass, InstanceId, LeaseId, StageKey, SweepId, TrialId, WorkerId},
    outcome::{Checkpoint, Failure, StageOutcome},
};
use serde::{Deserialize, Serialize};

use super::{record::Record, share::ShareChange};
use crate::experiment::plan::PackedPlan;

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Milliseconds from `earlier` to here; 0 if the clock went backwards.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What the operator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// A stage that failed alone so many times with the same class of failure has failed, unless its sweep says otherwise.
    pub max_attempts: NonZeroU32,
    /// A worker that says nothing for longer is taken for dead.
    pub worker_silence_ms: u64,
    /// A lease that reports nothing for longer is taken back, and its attempts have failed; nothing: never.
    pub stuck_ms: Option<u64>,
    /// A worker that has not answered a calibration after so long gets single lanes of that class until it does.
    pub calibration_ms: u64,
    /// So long the work of a worker whose stream broke is kept for it; and so long a new life of the coordinator hands nothing out,
    /// so that workers can say what they hold. 0 where workers die with the coordinator.
    pub reattach_ms: u64,
    /// A worker that does not confirm a revocation after so long is taken for dead.
    pub unconfirmed_ms: u64,
    /// So many sweeps may run at the same time.
    pub max_running_sweeps: NonZeroU32,
    /// A worker on which so many bundles in a row failed gets nothing for a while; nothing: it always does.
    pub quarantine_after: Option<NonZeroU32>,
    /// How long that is.
    pub quarantine_ms: u64,
    /// What failed on a worker is tried there again after so long at the earliest, twice as long after each further failure in a row; 0:
    /// at once.
    pub pause_ms: u64,
    /// A bug that a test plants.
    #[cfg(test)]
    pub(crate) planted: Option<super::planted::Planted>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_attempts: NonZeroU32::MIN.saturating_add(2),
            worker_silence_ms: 15_000,
            stuck_ms: None,
            calibration_ms: 60_000,
            reattach_ms: 0,
            unconfirmed_ms: 60_000,
            max_running_sweeps: NonZeroU32::MIN.saturating_add(999),
            quarantine_after: None,
            quarantine_ms: 600_000,
            pause_ms: 0,
            #[cfg(test)]
            planted: None,
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The coordinator begins: the first event after [`Core::new`](super::Core::new) or
    /// [`Core::restore`](super::Core::restore), and rejected by none. Every worker is gone, every lease is back, no attempt counts.
    Started,
    /// A plan was submitted. A running or completed sweep stays as it is; one that drains, was stopped or was cancelled goes on with what is
    /// missing.
    SweepSubmitted {
        /// The plan. A known sweep must come with the stages and trials that it has.
        plan: Arc<PackedPlan>,
        /// What part of the workers it may have.
        share: ShareChange,
    },
    /// A person gives a sweep another part of the workers, from the next lease on.
    SweepShareChanged {
        /// Which.
        sweep: SweepId,
        /// What is to be different.
        share: ShareChange,
    },
    /// A person gave the sweep up. Trials that have not ended end as cancelled.
    SweepCancelled {
        /// Which.
        sweep: SweepId,
    },
    /// A person wants a sweep given up once what is under way for it has ended: it gets nothing more. Submitted again or retried before,
    /// it goes on.
    SweepDrainAsked {
        /// Which.
        sweep: SweepId,
    },
    /// A person says that what made stages of the sweep fail is over: they are open again, for every sweep that has them. A stopped or
    /// cancelled sweep goes on with it.
    SweepRetried {
        /// Which.
        sweep: SweepId,
    },
    /// A person needs a sweep no more that does not run. What it computed is forgotten, unless another sweep lists it too.
    SweepForgotten {
        /// Which.
        sweep: SweepId,
    },
    /// A worker attached. One that comes back has a new id, and is known by its instance: it takes over what it held before, and what
    /// it held in an earlier life of the coordinator, as far as nobody else has begun it.
    WorkerJoined {
        /// Never used before.
        worker: WorkerId,
        /// The same at each of its attachments.
        instance: InstanceId,
        /// For people.
        name: String,
        /// For people.
        device: String,
        /// Bundles and calibrations that it runs at the same time.
        slots: NonZeroU32,
        /// What it holds from before.
        held: Vec<HeldLease>,
    },
    /// A worker wants to end: it gets no more work.
    WorkerDraining {
        /// Which.
        worker: WorkerId,
    },
    /// A worker's stream ended. Of a worker that is not there (any more) this says nothing new.
    WorkerLeft {
        /// Which.
        worker: WorkerId,
        /// Decides whether its attempts have failed.
        departure: Departure,
    },
    /// The worker lives.
    Heartbeat {
        /// Which.
        worker: WorkerId,
    },
    /// The worker works on a stage.
    Progressed {
        /// Which worker.
        worker: WorkerId,
        /// Which stage.
        stage: StageKey,
    },
    /// A stage can be gone on with from there. Good whatever attempt it is of, since equal keys have equal results, if nothing later is
    /// known.
    Checkpointed {
        /// Which worker.
        worker: WorkerId,
        /// Which stage.
        stage: StageKey,
        /// From where.
        checkpoint: Checkpoint,
    },
    /// A worker has the result of a stage and keeps it, since the coordinator has no room for its files. It says so again until there is
    /// some.
    ResultWaits {
        /// Which worker.
        worker: WorkerId,
        /// Of which stage.
        stage: StageKey,
        /// How large a file there is no room for.
        bytes: u64,
    },
    /// The coordinator looked at its disk. It says so again within seconds while there is too little room.
    RoomChecked {
        /// Whether there is more than is to be kept free, with what is waited for: [`Core::room_wanted`](super::Core::room_wanted).
        is_enough: bool,
    },
    /// The answer to [`Effect::Calibrate`].
    Calibrated {
        /// Who.
        worker: WorkerId,
        /// Of which class.
        class: BundleClass,
        /// The widest bundle worth running.
        lanes: NonZeroU32,
        /// Finite and not negative.
        lane_steps_per_second: f64,
    },
    /// An attempt at a stage ended. The slot stays taken until [`Event::LeaseEnded`].
    StageReported {
        /// Who.
        worker: WorkerId,
        /// Under which lease.
        lease: LeaseId,
        /// Which stage.
        stage: StageKey,
        /// The attempt that the lease carried for it.
        attempt: u32,
        /// How it ended. `Cancelled` hands the stage back.
        outcome: StageOutcome,
    },
    /// The slot is free again.
    LeaseEnded {
        /// Who.
        worker: WorkerId,
        /// Which lease.
        lease: LeaseId,
        /// Why the stages that were not reported failed; nothing: they go back, and their attempts do not count.
        failure: Option<Failure>,
    },
    /// Time has passed: silent workers, stuck leases and unanswered calibrations are looked for.
    Tick,
}

/// A lease that a worker holds from an earlier attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// As it was given out, by this life or an earlier one.
    pub lease: LeaseId,
    /// Lanes at the beginning.
    pub lanes: NonZeroU32,
    /// Stages whose end it does not know to be recorded, and their attempts.
    pub stages: Vec<(StageKey, u32)>,
}

/// How a worker left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// On its own wish: no attempt counts.
    Drained,
    /// Its stream broke. It may work on and come back; if it does not, it was lost.
    Disconnected,
    /// It will not come back: its attempts have failed, for a stage that kills workers must end.
    Lost,
}

/// What has to happen now.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask a worker how many lanes of a class to run at once. It takes a slot until it is answered; asked once.
    Calibrate {
        /// Whom.
        worker: WorkerId,
        /// Which class.
        class: BundleClass,
        /// A stage of that class; only its shape matters.
        stage: StageKey,
    },
    /// Hand a bundle to a worker, each stage with its [checkpoint](super::Core::checkpoint).
    Lease {
        /// To whom.
        worker: WorkerId,
        /// Never used before, in this life or another.
        lease: LeaseId,
        /// Stages and their attempt numbers.
        stages: Vec<(StageKey, u32)>,
    },
    /// Nobody needs the rest of this lease.
    Revoke {
        /// Whose.
        worker: WorkerId,
        /// Which.
        lease: LeaseId,
    },
    /// Close the stream of a worker that fell silent. To the core it has left.
    Detach {
        /// Whose.
        worker: WorkerId,
        /// For a person.
        reason: String,
    },
    /// A worker gets nothing for a while. For a person: nothing has to be done.
    Quarantined {
        /// Which.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// The coordinator has no room for results, and nothing is handed out; or it has some again. For a person: nothing has to be done.
    Full(bool),
    /// A trial ended: once for each time that its sweep was submitted afresh, resumed or retried with the trial open.
    TrialEnded {
        /// Of which sweep.
        sweep: SweepId,
        /// Which.
        trial: TrialId,
        /// How: as its last stage, or cancelled with its sweep.
        outcome: StageOutcome,
    },
    /// A sweep no longer runs. Comes after the [`Effect::TrialEnded`] of its trials.
    SweepEnded {
        /// Which.
        sweep: SweepId,
        /// Anything but running.
        state: SweepState,
    },
}

/// Where a sweep is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SweepState {
    /// Some trial is open and being worked for.
    Running,
    /// All trials have ended, each in its own way.
    Completed,
    /// Given up by a person; submit it again to go on.
    Cancelled,
    /// Stopped from outside; submit it again to go on.
    Stopped {
        /// For a person.
        reason: String,
    },
}

impl SweepState {
    /// The name in messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Stopped { .. } => "stopped",
        }
    }
}

/// What an event comes to.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use = "the records must be written and the effects carried out"]
pub struct Decision {
    /// To be made durable before any effect happens. Empty for most events.
    pub records: Vec<Record>,
    /// To be carried out in order.
    pub effects: Vec<Effect>,
}

/// An event that makes no sense. It changed nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// The core has not been told that a life began.
    #[error("the scheduler has not been started: the first event must be `Started`")]
    NotStarted,
    /// No worker of that id is attached.
    #[error("worker {0} is not attached")]
    UnknownWorker(WorkerId),
    /// A worker id was used twice.
    #[error("worker {0} is attached already: every attachment needs an id of its own")]
    DuplicateWorker(WorkerId),
    /// No such sweep.
    #[error("there is no sweep {0}")]
    UnknownSweep(SweepId),
    /// No sweep has such a stage.
    #[error("there is no stage {0}")]
    UnknownStage(StageKey),
    /// The lease has ended, or never was.
    #[error("lease {0} is not out")]
    UnknownLease(LeaseId),
    /// A worker spoke of a lease that another one holds.
    #[error("worker {worker} does not hold lease {lease}")]
    NotTheOwner {
        /// Who spoke.
        worker: WorkerId,
        /// Of what.
        lease: LeaseId,
    },
    /// A result for a stage that cannot have been leased yet.
    #[error("stage {0} cannot have a result: its parents have not completed")]
    ParentsMissing(StageKey),
    /// An answer to a calibration that was not asked for, or that is no number.
    #[error("worker {worker} answered a calibration of {class} that was not asked for or is no number")]
    InvalidCalibration {
        /// Who.
        worker: WorkerId,
        /// Of what.
        class: BundleClass,
    },
    /// The sweep has completed, or cannot go from where it is to what was asked.
    #[error("sweep {sweep} is {state}, not running")]
    NotRunning {
        /// Which.
        sweep: SweepId,
        /// Where it is.
        state: &'static str,
    },
    /// As many sweeps run as may.
    #[error(
        "as many sweeps are running as may ({limit}): wait for one, cancel one, or start the coordinator with a higher --max-sweeps"
    )]
    TooManySweeps {
        /// The limit.
        limit: u32,
    },
    /// A sweep that is to be forgotten still runs.
    #[error("sweep {0} is running: cancel it before it is forgotten")]
    StillRunning(SweepId),
    /// A plan that contradicts itself.
    #[error("the plan of sweep {sweep} is not a plan: {reason}")]
    InvalidPlan {
        /// Which.
        sweep: SweepId,
        /// What is wrong.
        reason: String,
    },
    /// Lines that are no snapshot.
    #[error("the snapshot cannot be read: {reason}")]
    InvalidSnapshot {
        /// What is wrong.
        reason: String,
    },
    /// A known sweep came with other stages or trials.
    #[error(
        "sweep {0} is known with other stages: it was planned by another version of secateur; give it a new folder, or run it with the version that began it"
    )]
    PlanDiffers(SweepId),
    /// A record that cannot follow the ones before it.
    #[error("stage {0} has ended already")]
    EndedAlready(StageKey),
    /// The same.
    #[error("stage {0} has not failed by itself, and cannot be opened again")]
    NotFailed(StageKey),
}
