//! Why an event, or a line of a journal, is refused.

use secateur_proto::ids::{BundleClass, LeaseId, StageKey, SweepId, TrialId, WorkerId};

use super::sweep_state::SweepState;

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
    /// A part has trials that are new and trials that are known.
    #[error("sweep {sweep} cannot be extended: it has trial {trial} already, but not all of the others")]
    PartOverlaps {
        /// Which.
        sweep: SweepId,
        /// A trial that is known.
        trial: TrialId,
    },
    /// A record that cannot follow the ones before it.
    #[error("sweep {0} is closed already")]
    ClosedAlready(SweepId),
    /// The same.
    #[error("stage {0} has ended already")]
    EndedAlready(StageKey),
    /// The same.
    #[error("stage {0} has not failed by itself, and cannot be opened again")]
    NotFailed(StageKey),
}

impl Rejection {
    /// The sweep is not where it would have to be.
    pub(in crate::scheduler) fn not_running(sweep: &SweepId, state: &SweepState) -> Self {
        Self::NotRunning { sweep: sweep.clone(), state: state.name() }
    }
}
