//! What the operator decides.

use std::num::NonZeroU32;

#[cfg(test)]
use crate::scheduler::fault_injection::Fault;
use crate::scheduler::fault_injection::Faults;

/// What the operator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// A stage that failed alone so many times with the same class of failure has failed, unless its sweep says otherwise.
    pub max_attempts: NonZeroU32,
    /// A worker that says nothing for longer is taken for dead.
    pub worker_silence_ms: u64,
    /// A lease that reports nothing for longer is taken back, and its attempts have failed; nothing: never.
    pub stuck_ms: Option<u64>,
    /// A worker that has not answered a calibration after so long gets single lanes of that class until it does.
    pub calibration_ms: u64,
    /// So long the work of a worker whose stream broke is kept for it; and so long a new life of the coordinator hands nothing out,
    /// so that workers can say what they hold. 0 where workers die with the coordinator.
    pub reattach_ms: u64,
    /// A worker that does not confirm a revocation after so long is taken for dead.
    pub unconfirmed_ms: u64,
    /// So many sweeps may run at the same time.
    pub max_running_sweeps: NonZeroU32,
    /// A worker on which so many bundles in a row failed gets nothing for a while; nothing: it always does.
    pub quarantine_after: Option<NonZeroU32>,
    /// How long that is.
    pub quarantine_ms: u64,
    /// What failed on a worker is tried there again after so long at the earliest, twice as long after each further failure in a row; 0:
    /// at once.
    pub pause_ms: u64,
    /// A bug that a test injects.
    #[cfg(test)]
    pub(crate) fault: Option<Fault>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_attempts: NonZeroU32::MIN.saturating_add(2),
            worker_silence_ms: 15_000,
            stuck_ms: None,
            calibration_ms: 60_000,
            reattach_ms: 0,
            unconfirmed_ms: 60_000,
            max_running_sweeps: NonZeroU32::MIN.saturating_add(999),
            quarantine_after: None,
            quarantine_ms: 600_000,
            pause_ms: 0,
            #[cfg(test)]
            fault: None,
        }
    }
}

impl Policy {
    #[cfg(test)]
    pub(in crate::scheduler) const fn faults(&self) -> Faults {
        Faults::new(self.fault)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "as in tests")]
    pub(in crate::scheduler) const fn faults(&self) -> Faults {
        Faults {}
    }
}
