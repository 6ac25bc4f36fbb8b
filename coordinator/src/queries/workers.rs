//! Attached workers and their status.

use super::{Queries, QueryError, shown};
use crate::scheduler::{Core, WorkerStatus};

/// The maximum number of workers that are listed if a name is ambiguous.
const SHOWN: usize = 8;

impl Queries {
    /// The status of the attached workers, in the order of attachment.
    ///
    /// # Errors
    /// If the coordinator is stopping.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>, QueryError> {
        Ok(self.driver.read(|core| core.workers().collect()).await?)
    }

    /// Finds the attached worker with that id; otherwise the only one of that name; otherwise the only one whose id or
    /// name starts with it.
    ///
    /// # Errors
    /// If there is none, or several.
    pub async fn worker(&self, wanted: &str) -> Result<WorkerStatus, QueryError> {
        let workers = self.workers().await?;
        let has_just_begun = self.driver.read(Core::waits_for_workers).await?;
        let mut found = matching(workers, wanted);
        match found.len() {
            0 => Err(QueryError::UnknownWorker { wanted: shown(wanted), has_just_begun }),
            1 => Ok(found.remove(0)),
            count => {
                let mut named: Vec<String> = (found.iter().take(SHOWN))
                    .map(|worker| format!("{} ({} on {})", worker.id, shown(&worker.name), worker.device))
                    .collect();
                named.extend((count > SHOWN).then(|| format!("{} more", count - SHOWN)));
                Err(QueryError::SeveralWorkers { wanted: shown(wanted), found: named })
            }
        }
    }
}

/// The workers that `wanted` may mean.
fn matching(workers: Vec<WorkerStatus>, wanted: &str) -> Vec<WorkerStatus> {
    let ways: [&dyn Fn(&WorkerStatus) -> bool; 3] =
        [&|worker| worker.id.as_str() == wanted, &|worker| worker.name == wanted, &|worker| {
            !wanted.is_empty() && (worker.id.as_str().starts_with(wanted) || worker.name.starts_with(wanted))
        }];
    let is_meant = ways.into_iter().find(|is_meant| workers.iter().any(is_meant));
    is_meant.map_or_else(Vec::new, |is_meant| workers.into_iter().filter(is_meant).collect())
}
