//! What must always hold between events. Each part checks what it keeps in two places; the [core](crate::scheduler::Core::check_invariants) what two
//! parts keep.

/// What must always hold between events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvariantId {
    /// Every stage is found by its key, and every sweep lists what its plan lists.
    StagesFound,
    /// A stage waits for exactly those of its parents that have not completed.
    ParentsCounted,
    /// A stage below one that ended otherwise than completed has ended the same way, or as failed upstream.
    EndsInherited,
    /// A stage is wanted by exactly the running sweeps that list it.
    WantsCounted,
    /// Exactly the ready stages are queued, in the queue of their class and width limit; parked ones are wanted by nobody.
    QueuesAgree,
    /// Exactly the leased stages are open in a lease, each in one.
    LeasesAgree,
    /// A lease with nothing open that was taken from is revoked; a revoked one has nothing open.
    Revoked,
    /// A worker's slots hold its leases and unanswered calibrations, and no more.
    SlotsCounted,
    /// The leases and workers of a sweep are those that hold stages for it.
    SharesCounted,
    /// The set of free workers is what their slots say.
    FreeWorkers,
    /// The counts of a sweep are what its stages and trials say.
    SweepCounted,
    /// In a running sweep a trial has ended exactly if its last stage has.
    TrialsAgree,
    /// A sweep runs only while a trial of it is open, and has completed only when none is.
    SweepRuns,
    /// A stage of forgotten sweeps alone is known to nobody.
    Forgotten,
    /// No slot idles while a stage is ready that it could and may take, once the coordinator has waited for workers to come back.
    NothingIdles,
}

/// An invariant that does not hold: a defect of the scheduler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant {id:?} does not hold: {detail}")]
pub struct InvariantViolation {
    /// Which.
    pub id: InvariantId,
    /// Of what.
    pub detail: String,
}

pub(super) fn check(id: InvariantId, holds: bool, detail: impl FnOnce() -> String) -> Result<(), InvariantViolation> {
    if holds { Ok(()) } else { Err(InvariantViolation { id, detail: detail() }) }
}
