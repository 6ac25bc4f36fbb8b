//! Invariants that hold between events. Each part checks its own redundant state; the
//! [core](crate::scheduler::Core::check_invariants) checks state that spans two parts.

/// An invariant that holds between events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvariantId {
    /// Every stage is found by its key, and every sweep lists what its plan lists.
    StagesFound,
    /// A stage waits for exactly those of its parents that have not completed.
    ParentsCounted,
    /// A stage below one that did not complete has ended the same way, or as failed upstream.
    EndsInherited,
    /// A stage is wanted by exactly the running sweeps that list it.
    WantsCounted,
    /// Exactly the ready stages are queued, in the queue of their class and width limit; no running sweep wants a
    /// parked one.
    QueuesAgree,
    /// Exactly the leased stages are open in a lease, each in one lease.
    LeasesAgree,
    /// A lease without open stages that lost a stage is revoked; a revoked lease has no open stages.
    Revoked,
    /// A worker's slots hold its leases and unanswered calibrations, and are not exceeded.
    SlotsCounted,
    /// The leases and workers of a sweep are those that hold stages for it.
    SharesCounted,
    /// The set of free workers agrees with their slots.
    FreeWorkers,
    /// The counts of a sweep agree with its stages and trials.
    SweepCounted,
    /// In a running sweep a trial has ended exactly if its last stage has.
    TrialsAgree,
    /// A sweep runs only while a trial of it is open, and has completed only when none is.
    SweepRuns,
    /// A stage listed only by forgotten sweeps is not known.
    Forgotten,
    /// No slot is idle while a ready stage could run on it, once the coordinator has waited for workers to come back.
    NothingIdles,
}

/// An invariant that does not hold: a bug in the scheduler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant {id:?} does not hold: {detail}")]
pub struct InvariantViolation {
    /// Which invariant.
    pub id: InvariantId,
    /// Details.
    pub detail: String,
}

pub(super) fn check(id: InvariantId, holds: bool, detail: impl FnOnce() -> String) -> Result<(), InvariantViolation> {
    if holds { Ok(()) } else { Err(InvariantViolation { id, detail: detail() }) }
}
