//! Sweeps and their status.

use secateur_proto::ids::SweepId;

use super::{Queries, QueryError, shown};
use crate::scheduler::SweepStatus;

impl Queries {
    /// Finds the sweep with that id, or the only one whose id starts with it.
    ///
    /// # Errors
    /// If there is none, or several.
    pub async fn find(&self, wanted: &str) -> Result<SweepId, QueryError> {
        if wanted.is_empty() {
            return Err(QueryError::NoSweepNamed);
        }
        let prefix = wanted.to_owned();
        let found = self.driver.read(move |core| {
            core.sweep_ids().filter(|id| id.as_str().starts_with(&prefix)).cloned().collect::<Vec<_>>()
        });
        let mut found = found.await?;
        match found.len() {
            0 => Err(QueryError::UnknownSweep(shown(wanted))),
            1 => Ok(found.remove(0)),
            _ => {
                let found = found.iter().map(SweepId::to_string).collect();
                Err(QueryError::SeveralSweeps { wanted: shown(wanted), found })
            }
        }
    }

    /// The status of a sweep.
    ///
    /// # Errors
    /// If there is no such sweep.
    pub async fn sweep(&self, id: &SweepId) -> Result<SweepStatus, QueryError> {
        let wanted = id.clone();
        let status = self.driver.read(move |core| core.sweep(&wanted)).await?;
        status.ok_or_else(|| QueryError::UnknownSweep(id.to_string()))
    }

    /// The status of all sweeps, in the order of submission.
    ///
    /// # Errors
    /// If the coordinator is stopping.
    pub async fn sweeps(&self) -> Result<Vec<SweepStatus>, QueryError> {
        Ok(self.driver.read(|core| core.sweeps().collect()).await?)
    }
}
