//! Explains why a sweep waits, how a trial ended, and what a worker does: sentences, the most general first.

mod lost;
pub(crate) mod sweep;
mod trial;
pub(crate) mod worker;

use secateur_proto::ids::SweepId;
use secateur_worker::{causes::with_causes, threads::on_a_thread};
use tracing::warn;

use super::{Queries, QueryError, report::report_of, shown};
use crate::scheduler::Core;

/// Failed stages that are examined in one batch, so that the scheduler continues in between.
const LOOKED_AT_TOGETHER: usize = 256;

/// The kind of subject that a name refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A sweep.
    Sweep,
    /// A trial.
    Trial,
    /// A worker.
    Worker,
}

impl Subject {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::Trial => "trial",
            Self::Worker => "worker",
        }
    }
}

/// An explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The kind of subject that the name refers to.
    pub subject: Subject,
    /// The full id.
    pub id: String,
    /// The sentences.
    pub lines: Vec<String>,
}

impl Queries {
    /// Explains the worker, trial or sweep of that name.
    ///
    /// # Errors
    /// If there is none, or several.
    pub async fn explain(&self, name: &str) -> Result<Explanation, QueryError> {
        let wanted = name.to_owned();
        let worker = self.driver.read(move |core| {
            let status = core.workers().find(|status| status.id.as_str() == wanted || status.name == wanted)?;
            Some((status.id.to_string(), worker::sentences(core, &status)))
        });
        if let Some((id, lines)) = worker.await? {
            return Ok(Explanation { subject: Subject::Worker, id, lines });
        }
        if let Some(explanation) = self.explain_trial(name).await? {
            return Ok(explanation);
        }
        let has_just_begun = self.driver.read(Core::waits_for_workers).await?;
        let id = self.find(name).await.map_err(|error| match error {
            QueryError::UnknownSweep(_) | QueryError::NoSweepNamed => {
                QueryError::UnknownSubject { subject: shown(name), has_just_begun }
            }
            error => error,
        })?;
        let wanted = id.clone();
        let standing = self.driver.read(move |core| sweep::Standing::of(core, &wanted)).await?;
        let standing = standing.ok_or_else(|| QueryError::UnknownSweep(id.to_string()))?;
        let mut lines = on_a_thread(move || standing.sentences()).await?;
        lines.extend(self.lost_files(&id).await?);
        Ok(Explanation { subject: Subject::Sweep, id: id.to_string(), lines })
    }

    /// Returns `None` if it is not the name of a trial.
    async fn explain_trial(&self, name: &str) -> Result<Option<Explanation>, QueryError> {
        let Some(found) = self.find_trial(name).await? else { return Ok(None) };
        let (sweep, trial) = (found.plan.sweep.id.clone(), found.plan.trial(found.position));
        let cells = self.answer(&sweep, "cells", |results| Ok(trial::Cells::of(&report_of(results)?))).await?;
        let cell = cells.get(&trial.cell);
        let id = trial.id.to_string();
        let label = cell.map(|cell| cell.label.as_str()).unwrap_or_default();
        let (name, seed) = (&found.plan.sweep.name, trial.seed);
        let mut lines = vec![format!("trial {id} of sweep {name} ({sweep}): {label}, seed {seed}")];
        lines.extend(self.driver.read(move |core| trial::stages(core, &trial)).await?);
        lines.extend(cell.map(|cell| cell.standing.clone()));
        lines.extend(self.lost_files(&sweep).await?);
        Ok(Some(Explanation { subject: Subject::Trial, id, lines }))
    }

    /// Sentences about missing files because of which stages of a sweep failed.
    ///
    /// # Errors
    /// If the coordinator is stopping.
    pub async fn lost_files(&self, sweep: &SweepId) -> Result<Vec<String>, QueryError> {
        let wanted = sweep.clone();
        let failed = self.driver.read(move |core| core.failures(&wanted)).await?.unwrap_or_default();
        let mut inputs = lost::Inputs::default();
        for stages in lost::failed_at_storage(&failed).chunks(LOOKED_AT_TOGETHER) {
            let stages = stages.to_vec();
            inputs = self.driver.read(move |core| inputs.with(core, &stages)).await?;
        }
        Ok(match lost::among(&self.store, inputs.into_list()).await {
            Ok(lost) => lost::sentences(sweep, &lost),
            Err(error) => {
                warn!(reason = with_causes(&error), "cannot check which files are missing");
                vec!["cannot check now whether the inputs of the failed stages still exist".to_owned()]
            }
        })
    }
}

fn clause(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
