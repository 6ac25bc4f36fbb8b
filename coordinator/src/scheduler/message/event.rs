//! What the shell tells the core.

use std::{num::NonZeroU32, sync::Arc};

use secateur_proto::{
    ids::{BundleClass, InstanceId, LeaseId, StageKey, SweepId, WorkerId},
    outcome::{Checkpoint, Failure, StageOutcome},
};

use super::share::ShareChange;
use crate::experiment::plan::PackedPlan;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The coordinator begins: the first event after [`Core::new`](crate::scheduler::Core::new) or
    /// [`Core::restore`](crate::scheduler::Core::restore), and rejected by none. Every worker is gone, every lease is back, no attempt counts.
    Started,
    /// A plan was submitted. A running or completed sweep stays as it is; one that drains, was stopped or was cancelled goes on with what is
    /// missing.
    SweepSubmitted {
        /// The plan. A known sweep must come with the stages and trials that it has.
        plan: Arc<PackedPlan>,
        /// What part of the workers it may have.
        share: ShareChange,
        /// Whether parts are to follow: it does not complete before it is closed. Of a known sweep this says nothing new.
        open: bool,
    },
    /// More trials for a sweep, with all stages that they need. They are taken in once: those of a part that is known already are no news.
    /// A sweep that had completed runs again; one that drains, was stopped or was cancelled goes on.
    SweepExtended {
        /// A plan of the same sweep, with none of its trials but new ones.
        part: Arc<PackedPlan>,
    },
    /// No part follows: the sweep completes with the last of its trials.
    SweepClosed {
        /// Which.
        sweep: SweepId,
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
        /// Whether there is more than is to be kept free, with what is waited for: [`Core::room_wanted`](crate::scheduler::Core::room_wanted).
        is_enough: bool,
    },
    /// The answer to [`Effect::Calibrate`](super::Effect::Calibrate).
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
