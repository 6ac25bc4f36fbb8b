//! What a record changed: whoever hands work out, and whoever tells people, looks at these and at nothing else.

use crate::scheduler::numbers::{StageNumber, SweepNumber};

/// Something that is different now. How, the ledger says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scheduler) enum Change {
    /// Whether a stage may run, or for which sweep, or in what company, may be another than before.
    Stage(StageNumber),
    /// A trial has ended: the sweep, and the position in its plan.
    TrialEnded(SweepNumber, u32),
    /// A sweep no longer runs.
    SweepEnded(SweepNumber),
}
