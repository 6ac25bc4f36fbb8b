//! Events: what the shell reports to the core.

use std::{num::NonZeroU32, sync::Arc};

use secateur_proto::{
    ids::{BundleClass, InstanceId, LeaseId, StageKey, SweepId, WorkerId},
    outcome::{Checkpoint, Failure, StageOutcome},
};

use super::{person::Person, share::ShareChange};
use crate::experiment::plan::PackedPlan;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The coordinator starts: the first event after [`Core::new`](crate::scheduler::Core::new) or
    /// [`Core::restore`](crate::scheduler::Core::restore). It is never rejected. All workers and leases are gone, and
    /// their attempts do not count.
    Started,
    /// A plan was submitted. A running or completed sweep does not change. A draining, stopped or cancelled one
    /// resumes.
    SweepSubmitted {
        /// The plan. For a known sweep it must have the same stages and trials.
        plan: Arc<PackedPlan>,
        /// The sweep's share of the workers.
        share: ShareChange,
        /// Whether more parts may follow: the sweep does not complete before it is closed. Ignored for a known sweep.
        open: bool,
        /// Who submits it. Ignored for a known sweep.
        by: Option<Person>,
    },
    /// A sweep gets more trials, with all stages that they need. A part that is known already is ignored. A completed
    /// sweep runs again; a draining, stopped or cancelled one resumes.
    SweepExtended {
        /// A plan of the same sweep with new trials only.
        part: Arc<PackedPlan>,
    },
    /// It was decided from the results of an open sweep, all of whose trials have ended, how it continues. Rejected if the results have changed
    /// since, or the sweep no longer waits for a decision.
    SweepDecided {
        /// The sweep.
        sweep: SweepId,
        /// The [generation](crate::scheduler::SweepResults::generation) of the results.
        generation: u64,
        /// New trials, with all stages that they need. `None` closes the sweep.
        part: Option<Arc<PackedPlan>>,
    },
    /// No part follows: the sweep completes with the last of its trials.
    SweepClosed {
        /// The sweep.
        sweep: SweepId,
    },
    /// A person changes a sweep's share of the workers, from the next lease on.
    SweepShareChanged {
        /// The sweep.
        sweep: SweepId,
        /// What changes.
        share: ShareChange,
    },
    /// A person cancelled a sweep. Its open trials end as cancelled.
    SweepCancelled {
        /// The sweep.
        sweep: SweepId,
        /// Who cancelled it.
        by: Option<Person>,
    },
    /// A person wants a sweep cancelled once its leased stages have ended; no more are leased. If it is submitted again
    /// or retried before that, it resumes.
    SweepDrainAsked {
        /// The sweep.
        sweep: SweepId,
        /// Who wants that.
        by: Option<Person>,
    },
    /// A person says that the cause of failures in a sweep is fixed. Its failed stages are reopened, for every sweep
    /// that has them. A stopped or cancelled sweep resumes.
    SweepRetried {
        /// The sweep.
        sweep: SweepId,
    },
    /// A person no longer needs a sweep that is not running. Its results are forgotten, unless another sweep lists them
    /// too.
    SweepForgotten {
        /// The sweep.
        sweep: SweepId,
    },
    /// A worker attached. A worker that comes back has a new id and the same instance. It takes over its earlier
    /// leases, including those of an earlier life, as far as nobody else has begun their stages.
    WorkerJoined {
        /// Never used before.
        worker: WorkerId,
        /// The same at each attachment of the worker.
        instance: InstanceId,
        /// For people.
        name: String,
        /// For people.
        device: String,
        /// The number of bundles and calibrations that it runs at the same time.
        slots: NonZeroU32,
        /// The leases that it holds from before.
        held: Vec<HeldLease>,
        /// Who cordoned it in an earlier attachment, as the worker says. What this life knows of the worker goes before.
        cordoned_by: Option<String>,
    },
    /// A person manages a worker.
    WorkerManaged {
        /// The worker.
        worker: WorkerId,
        /// What the person wants.
        action: WorkerAction,
    },
    /// A worker is shutting down and gets no more leases.
    WorkerDraining {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker's stream ended. Ignored if the worker is not attached.
    WorkerLeft {
        /// The worker.
        worker: WorkerId,
        /// Decides whether its attempts have failed.
        departure: Departure,
    },
    /// A sign of life of a worker.
    Heartbeat {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker made progress on a stage.
    Progressed {
        /// The worker.
        worker: WorkerId,
        /// The stage.
        stage: StageKey,
    },
    /// A stage has a checkpoint. Checkpoints of all attempts are valid, because equal keys have equal results. An
    /// earlier one than the known one is ignored.
    Checkpointed {
        /// The worker.
        worker: WorkerId,
        /// The stage.
        stage: StageKey,
        /// The checkpoint.
        checkpoint: Checkpoint,
    },
    /// A worker keeps the result of a stage, because the coordinator has no space for its files. The worker repeats
    /// this until there is space.
    ResultWaits {
        /// The worker.
        worker: WorkerId,
        /// The stage.
        stage: StageKey,
        /// The size of the file that did not fit.
        bytes: u64,
    },
    /// The coordinator checked its disk. It repeats this within seconds while there is too little space.
    RoomChecked {
        /// Whether there is enough free space, including what waiting results need:
        /// [`Core::room_wanted`](crate::scheduler::Core::room_wanted).
        is_enough: bool,
    },
    /// The answer to [`Effect::Calibrate`](super::Effect::Calibrate).
    Calibrated {
        /// The worker.
        worker: WorkerId,
        /// The class.
        class: BundleClass,
        /// The widest bundle worth running.
        lanes: NonZeroU32,
        /// Finite and at least 0.
        lane_steps_per_second: f64,
    },
    /// An attempt at a stage ended. The slot remains taken until [`Event::LeaseEnded`].
    StageReported {
        /// The worker.
        worker: WorkerId,
        /// The lease.
        lease: LeaseId,
        /// The stage.
        stage: StageKey,
        /// The attempt number in the lease.
        attempt: u32,
        /// How it ended. `Cancelled` returns the stage.
        outcome: StageOutcome,
    },
    /// The slot is free again.
    LeaseEnded {
        /// The worker.
        worker: WorkerId,
        /// The lease.
        lease: LeaseId,
        /// Why the stages that were not reported failed. `None` returns them, and their attempts do not count.
        failure: Option<Failure>,
    },
    /// Time has passed: silent workers, stuck leases and unanswered calibrations are detected.
    Tick,
}

/// What a person wants of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerAction {
    /// It gets no new leases until it is uncordoned.
    Cordon {
        /// Who wants that. Not empty.
        by: String,
    },
    /// It may get leases again. Also ends its quarantine.
    Uncordon,
    /// It shuts down: it gets no new leases, finishes what it can, and returns the rest.
    Drain,
}

/// A lease that a worker holds from an earlier attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// As given out by this life or an earlier one.
    pub lease: LeaseId,
    /// The number of lanes at the beginning.
    pub lanes: NonZeroU32,
    /// The stages whose end may not be recorded yet, and their attempts.
    pub stages: Vec<(StageKey, u32)>,
}

/// How a worker left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The worker shut down by itself: its attempts do not count.
    Drained,
    /// Its stream broke. It may continue and come back; otherwise it was lost.
    Disconnected,
    /// It will not come back. Its attempts have failed: otherwise a stage that kills workers would run for ever.
    Lost,
}
