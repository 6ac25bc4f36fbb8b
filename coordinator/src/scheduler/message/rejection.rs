//! Why an event, or a line of a journal, is rejected.

use secateur_proto::ids::{BundleClass, LeaseId, StageKey, SweepId, TrialId, WorkerId};

use super::sweep_state::SweepState;

/// Why an event was rejected. It changed nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// The first event was not [`Event::Started`](super::Event::Started).
    #[error("the scheduler has not been started: the first event must be `Started`")]
    NotStarted,
    /// No worker of that id is attached.
    #[error("worker {0} is not attached")]
    UnknownWorker(WorkerId),
    /// A worker id was used twice.
    #[error("worker {0} is already attached: every attachment needs its own id")]
    DuplicateWorker(WorkerId),
    /// The worker cannot be told anything now.
    #[error("worker {0} is disconnected: wait until it is back, or cordon it")]
    WorkerAway(WorkerId),
    /// No such sweep.
    #[error("there is no sweep {0}")]
    UnknownSweep(SweepId),
    /// No sweep has such a stage.
    #[error("there is no stage {0}")]
    UnknownStage(StageKey),
    /// The lease has ended, or never was.
    #[error("lease {0} does not exist or has ended")]
    UnknownLease(LeaseId),
    /// A worker reported on a lease that another worker holds.
    #[error("worker {worker} does not hold lease {lease}")]
    NotTheOwner {
        /// Who reported.
        worker: WorkerId,
        /// On which lease.
        lease: LeaseId,
    },
    /// A result for a stage that cannot have been leased yet.
    #[error("stage {0} cannot have a result yet: its parents have not completed")]
    ParentsMissing(StageKey),
    /// A calibration result that was not requested, or that is not a number.
    #[error("worker {worker} sent a calibration of {class} that was not requested or is not a number")]
    InvalidCalibration {
        /// Who.
        worker: WorkerId,
        /// Of what.
        class: BundleClass,
    },
    /// The sweep is in a state that does not allow the request.
    #[error("sweep {sweep} is {state}, not running")]
    NotRunning {
        /// Which.
        sweep: SweepId,
        /// Its state.
        state: &'static str,
    },
    /// The limit of running sweeps is reached.
    #[error("sweep limit reached ({limit} running): wait for one to end, cancel one, or raise `serve --max-sweeps`")]
    TooManySweeps {
        /// The limit.
        limit: u32,
    },
    /// Only a sweep that does not run can be forgotten.
    #[error("sweep {0} is running: cancel it first, then forget it")]
    StillRunning(SweepId),
    /// A plan that contradicts itself.
    #[error("the plan of sweep {sweep} is invalid: {reason}")]
    InvalidPlan {
        /// Which.
        sweep: SweepId,
        /// What is wrong.
        reason: String,
    },
    /// Lines that are not a valid snapshot.
    #[error("the snapshot cannot be read: {reason}")]
    InvalidSnapshot {
        /// What is wrong.
        reason: String,
    },
    /// A known sweep was submitted with different stages or trials.
    #[error(
        "sweep {0} already exists with different stages, because another version of secateur planned it: use a new folder, or run it with the version that began it"
    )]
    PlanDiffers(SweepId),
    /// A part mixes new trials with known ones.
    #[error("sweep {sweep} cannot be extended: it already has trial {trial}, but not the others of that part")]
    PartOverlaps {
        /// Which.
        sweep: SweepId,
        /// A trial that is known.
        trial: TrialId,
    },
    /// A decision about results that have changed since.
    #[error("sweep {0} no longer waits for this decision")]
    DecisionOutdated(SweepId),
    /// A record that cannot follow the ones before it.
    #[error("sweep {0} is already closed")]
    ClosedAlready(SweepId),
    /// The same.
    #[error("stage {0} has already ended")]
    EndedAlready(StageKey),
    /// The same.
    #[error("stage {0} did not fail by itself, so it cannot be reopened")]
    NotFailed(StageKey),
}

impl Rejection {
    /// The sweep's state does not allow the request.
    pub(in crate::scheduler) fn not_running(sweep: &SweepId, state: &SweepState) -> Self {
        Self::NotRunning { sweep: sweep.clone(), state: state.name() }
    }
}
