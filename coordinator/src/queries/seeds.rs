//! Whether a sweep that adds seeds while results come in needs more of them.

use std::sync::Arc;

use secateur_proto::ids::SweepId;
use secateur_worker::threads::on_a_thread;

use super::{Queries, QueryError, report::plan_of};
use crate::{
    experiment::{adaptive, plan::PackedPlan},
    report::due_round,
    scheduler::SweepResults,
};

/// What follows from the results of a sweep.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The [generation](SweepResults::generation) of the results.
    pub generation: u64,
    /// The next round, as a part of the sweep's plan. `None` if no seed is added.
    pub part: Option<Arc<PackedPlan>>,
}

impl Queries {
    /// Decides whether a sweep needs more seeds. Depends on the results of its trials alone: not on when they came, and not on files.
    ///
    /// # Errors
    /// If there is no such sweep, or by a defect.
    pub async fn decide_seeds(&self, sweep: &SweepId) -> Result<Decision, QueryError> {
        let unknown = || QueryError::UnknownSweep(sweep.to_string());
        let wanted = sweep.clone();
        let trials = self.driver.read(move |core| Some(core.plan_parts(&wanted)?.map(|part| part.trial_count()).sum()));
        let trials = trials.await?.ok_or_else(unknown)?;
        let room = self.reporting.enter(trials).await?;
        let wanted = sweep.clone();
        let results = self.driver.read(move |core| core.results(&wanted)).await?.ok_or_else(unknown)?;
        on_a_thread(move || {
            let _room = room;
            decide(&results)
        })
        .await?
    }
}

fn decide(results: &SweepResults) -> Result<Decision, QueryError> {
    let generation = results.generation;
    let plan = plan_of(results)?;
    let Some(round) = due_round(&plan, results.outcomes()) else { return Ok(Decision { generation, part: None }) };
    let part = adaptive::part(&plan, round);
    let part = part.map_err(|defect| QueryError::Failed(format!("the next round contradicts itself: {defect}")))?;
    Ok(Decision { generation, part: Some(Arc::new(part)) })
}
