//! What the shell has to do.

use secateur_proto::ids::{BundleClass, LeaseId, StageKey, SweepId, TrialId, WorkerId};

use super::{packed::TrialOutcome, sweep_state::SweepState};

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
    /// Hand a bundle to a worker, each stage with its [checkpoint](crate::scheduler::Core::checkpoint).
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
    /// A worker is quarantined. For a person: nothing has to be done.
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
        outcome: TrialOutcome,
    },
    /// A sweep no longer runs. Comes after the [`Effect::TrialEnded`] of its trials.
    SweepEnded {
        /// Which.
        sweep: SweepId,
        /// Anything but running.
        state: SweepState,
    },
}
