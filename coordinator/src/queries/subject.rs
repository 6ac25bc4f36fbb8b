//! Finds a trial by name: `TRIAL`, or `SWEEP/TRIAL` with a unique prefix of the sweep's id. A trial is named after its
//! settings and its seed. So sweeps that differ only in something all of their trials share have trials of the same
//! name.

use std::sync::Arc;

use secateur_proto::ids::TrialId;
use secateur_worker::threads::on_a_thread;

use super::{Queries, QueryError};
use crate::experiment::plan::PackedPlan;

/// The maximum number of sweeps that are listed if a name is ambiguous.
const SHOWN: usize = 4;

/// A trial of a plan.
#[derive(Debug)]
pub(super) struct FoundTrial {
    pub(super) plan: Arc<PackedPlan>,
    pub(super) position: usize,
}

impl Queries {
    /// The plans of all sweeps, to be searched on a thread of its own.
    pub(super) async fn plans(&self) -> Result<Vec<Arc<PackedPlan>>, QueryError> {
        Ok(self.driver.read(|core| core.plans().cloned().collect()).await?)
    }

    /// Finds a trial, or returns `None` if there is none of that name.
    ///
    /// # Errors
    /// If several sweeps have one of that name.
    pub(super) async fn find_trial(&self, subject: &str) -> Result<Option<FoundTrial>, QueryError> {
        let plans = self.plans().await?;
        let subject = subject.to_owned();
        on_a_thread(move || trial(&plans, &subject)).await?
    }
}

fn trial(plans: &[Arc<PackedPlan>], subject: &str) -> Result<Option<FoundTrial>, QueryError> {
    let (sweep, name) = subject.split_once('/').unwrap_or(("", subject));
    let Ok(trial) = name.parse::<TrialId>() else { return Ok(None) };
    let among = plans.iter().filter(|plan| plan.sweep.id.as_str().starts_with(sweep));
    let found = among
        .filter_map(|plan| plan.find_trial(&trial).map(|position| FoundTrial { plan: Arc::clone(plan), position }));
    let mut found: Vec<FoundTrial> = found.collect();
    if found.len() > 1 {
        let names = found.iter().take(SHOWN).map(|found| format!("{}/{trial}", found.plan.sweep.id)).collect();
        return Err(QueryError::SeveralTrials { count: found.len(), names });
    }
    Ok(found.pop())
}
