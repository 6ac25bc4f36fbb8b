//! The operator's policy.

use std::num::NonZeroU32;

#[cfg(test)]
use crate::scheduler::fault_injection::Fault;
use crate::scheduler::fault_injection::Faults;

/// The operator's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// A stage fails permanently after this many failures of one class alone in a bundle, unless its sweep sets another
    /// limit.
    pub max_attempts: NonZeroU32,
    /// A worker that is silent for longer is considered dead.
    pub worker_silence_ms: u64,
    /// A lease without progress for longer is revoked, and its attempts have failed. `None`: never.
    pub stuck_ms: Option<u64>,
    /// A worker that has not answered a calibration after this time gets single lanes of that class until it does.
    pub calibration_ms: u64,
    /// How long the leases of a worker whose stream broke are kept for it. A new life of the coordinator also waits
    /// this long before it leases, so that workers can report the leases they hold. 0 if workers die with the
    /// coordinator.
    pub reattach_ms: u64,
    /// A worker that does not confirm a revocation within this time is considered dead.
    pub unconfirmed_ms: u64,
    /// The maximum number of sweeps that run at the same time.
    pub max_running_sweeps: NonZeroU32,
    /// A worker is quarantined after this many consecutive failed bundles. `None`: never.
    pub quarantine_after: Option<NonZeroU32>,
    /// The duration of a quarantine.
    pub quarantine_ms: u64,
    /// The minimum time before a stage that failed on a worker is retried there. It doubles with each consecutive
    /// failure. 0: at once.
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
