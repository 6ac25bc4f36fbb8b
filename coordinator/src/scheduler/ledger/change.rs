//! What a record changed. Dispatch and notifications depend on these changes only.

use crate::scheduler::numbers::{StageNumber, SweepNumber};

/// A change. The ledger has the new state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scheduler) enum Change {
    /// A stage may now be runnable or not, or run for another sweep or in other bundles.
    Stage(StageNumber),
    /// A trial has ended: the sweep, and the position in its plan.
    TrialEnded(SweepNumber, u32),
    /// A sweep no longer runs.
    SweepEnded(SweepNumber),
}
