//! Failed attempts and the history of failures.

use std::collections::BTreeMap;

use secateur_proto::{
    ids::LeaseId,
    outcome::{Failure, FailureClass},
};
use serde::{Deserialize, Serialize};

/// The number of failed attempts that are kept.
const MAX_KEPT: usize = 8;

/// An attempt at a stage that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedAttempt {
    /// The name of the worker, or `None` if it is unknown.
    pub worker: Option<String>,
    /// The width of the bundle that it was a lane of.
    pub lanes: u32,
    /// The failure.
    pub failure: Failure,
}

/// The failures of a stage so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::scheduler) struct FailureHistory {
    /// All failed attempts, alone in a bundle or not.
    pub(in crate::scheduler) failed: u32,
    /// Failed attempts alone in a bundle, by failure class.
    pub(in crate::scheduler) alone: BTreeMap<FailureClass, u32>,
    /// The latest failed attempts, the oldest first.
    pub(in crate::scheduler) attempts: Vec<FailedAttempt>,
    /// The ids of all failed attempts, at most as many as a stage may have. Empty once the stage has ended, because
    /// failures no longer count.
    pub(in crate::scheduler) counted: Vec<AttemptId>,
}

impl FailureHistory {
    pub(in crate::scheduler) fn add(&mut self, attempt: FailedAttempt, id: Option<AttemptId>) {
        self.counted.extend(id);
        self.failed = self.failed.saturating_add(1);
        if attempt.lanes <= 1 {
            *self.alone.entry(attempt.failure.class).or_default() += 1;
        }
        if self.attempts.len() == MAX_KEPT {
            self.attempts.remove(0);
        }
        self.attempts.push(attempt);
    }
}

/// An attempt at a stage, unique over all lives of a coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptId {
    /// The lease of the attempt.
    pub lease: LeaseId,
    /// The number of the attempt in the lease.
    pub number: u32,
}
