//! Attempts that failed, and what is remembered of them.

use std::collections::BTreeMap;

use secateur_proto::{
    ids::LeaseId,
    outcome::{Failure, FailureClass},
};
use serde::{Deserialize, Serialize};

/// Attempts of which the failure is kept.
const MAX_KEPT: usize = 8;

/// An attempt at a stage that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedAttempt {
    /// The name of the worker; nothing where that is not known.
    pub worker: Option<String>,
    /// The width of the bundle that it was a lane of.
    pub lanes: u32,
    /// Why.
    pub failure: Failure,
}

/// What went wrong with a stage so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::scheduler) struct FailureHistory {
    /// Attempts that failed, in whatever company.
    pub(in crate::scheduler) failed: u32,
    /// Of them alone, by what they failed with.
    pub(in crate::scheduler) alone: BTreeMap<FailureClass, u32>,
    /// The latest of them, the oldest first.
    pub(in crate::scheduler) attempts: Vec<FailedAttempt>,
    /// Which they were, all of them: no more than a stage is allowed. Nothing once it has ended, when no failure counts.
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

/// An attempt at a stage, unlike any other in all lives of a coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptId {
    /// The lease that it was a part of.
    pub lease: LeaseId,
    /// The number that the lease gave it.
    pub number: u32,
}
