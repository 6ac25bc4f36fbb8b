//! Sweeps and their status.

use secateur_proto::ids::SweepId;

use super::{Queries, QueryError, shown};
use crate::scheduler::SweepStatus;

/// The maximum number of sweeps that are listed if a name is ambiguous.
const SHOWN: usize = 8;

/// The sweeps that `wanted` may mean.
fn matching<'a>(sweeps: Vec<(&'a SweepId, &'a str)>, wanted: &str) -> Vec<(&'a SweepId, &'a str)> {
    let of = |is_meant: &dyn Fn(&str, &str) -> bool| -> Vec<_> {
        sweeps.iter().filter(|(id, name)| is_meant(id.as_str(), name)).copied().collect()
    };
    let ways: [&Way<'_>; 3] = [&|id, _| id == wanted, &|_, name| name == wanted, &|id, name| {
        id.starts_with(wanted) || name.starts_with(wanted)
    }];
    ways.into_iter().map(of).find(|found| !found.is_empty()).unwrap_or_default()
}

/// Whether a sweep with this id and name is meant.
type Way<'a> = dyn Fn(&str, &str) -> bool + 'a;

impl Queries {
    /// Finds the sweep with that id; otherwise the only one of that name; otherwise the only one whose id or name starts
    /// with it.
    ///
    /// # Errors
    /// If there is none, or several.
    pub async fn find(&self, wanted: &str) -> Result<SweepId, QueryError> {
        if wanted.is_empty() {
            return Err(QueryError::NoSweepNamed);
        }
        let prefix = wanted.to_owned();
        let found = self.driver.read(move |core| {
            let found = matching(core.sweep_names().collect(), &prefix);
            found.into_iter().map(|(id, name)| (id.clone(), name.to_owned())).collect::<Vec<_>>()
        });
        let mut found = found.await?;
        match found.len() {
            0 => Err(QueryError::UnknownSweep(shown(wanted))),
            1 => Ok(found.remove(0).0),
            count => {
                let mut named: Vec<String> =
                    found.iter().take(SHOWN).map(|(id, name)| format!("{id} ({})", shown(name))).collect();
                named.extend((count > SHOWN).then(|| format!("{} more", count - SHOWN)));
                Err(QueryError::SeveralSweeps { wanted: shown(wanted), found: named })
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
