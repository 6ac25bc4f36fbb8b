//! Effects: what the shell must do.

use secateur_proto::ids::{BundleClass, LeaseId, StageKey, SweepId, TrialId, WorkerId};

use super::{packed::TrialOutcome, sweep_state::SweepState};

/// Something that the shell must do now.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask a worker how many lanes of a class to run at once. Asked once; takes a slot until it is answered.
    Calibrate {
        /// The worker.
        worker: WorkerId,
        /// The class.
        class: BundleClass,
        /// A stage of that class; only its shape matters.
        stage: StageKey,
    },
    /// Lease a bundle to a worker, each stage with its [checkpoint](crate::scheduler::Core::checkpoint).
    Lease {
        /// The worker.
        worker: WorkerId,
        /// Never used before, in any life.
        lease: LeaseId,
        /// Stages and their attempt numbers.
        stages: Vec<(StageKey, u32)>,
    },
    /// Revoke a lease: the rest of it is not needed.
    Revoke {
        /// The worker.
        worker: WorkerId,
        /// The lease.
        lease: LeaseId,
    },
    /// Close the stream of a silent worker. The core has removed it already.
    Detach {
        /// The worker.
        worker: WorkerId,
        /// For a person.
        reason: String,
    },
    /// Tell a worker that it was cordoned or uncordoned, so that it can tell the next life of the coordinator.
    Cordon {
        /// The worker.
        worker: WorkerId,
        /// Who cordoned it. `None`: it was uncordoned.
        by: Option<String>,
    },
    /// Ask a worker to shut down.
    Drain {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker was quarantined. For people: the shell need not do anything.
    Quarantined {
        /// The worker.
        worker: WorkerId,
        /// The reason.
        reason: String,
    },
    /// The coordinator has no space for results and leases nothing, or it has space again. For people: the shell need
    /// not do anything.
    Full(bool),
    /// A trial ended. Sent once for each time that its sweep was submitted, resumed or retried with the trial open.
    TrialEnded {
        /// The sweep.
        sweep: SweepId,
        /// The trial.
        trial: TrialId,
        /// How it ended: as its last stage, or cancelled with its sweep.
        outcome: TrialOutcome,
    },
    /// A sweep no longer runs. Follows the [`Effect::TrialEnded`] of its trials.
    SweepEnded {
        /// The sweep.
        sweep: SweepId,
        /// Any state except running.
        state: SweepState,
    },
}
