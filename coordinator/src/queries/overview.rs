//! The whole in numbers, for monitoring.

use super::{Queries, QueryError};
use crate::scheduler::{Core, Overview};

/// Numbers that are read from time to time.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// Sweeps, workers and leases.
    pub overview: Overview,
    /// Free space on the disk of the artifacts, or of the uploads to a bucket. `None` if the system does not say.
    pub free_bytes: Option<u64>,
}

impl Queries {
    /// Reads everything. Cheap: it looks at no stage and at no trial.
    ///
    /// # Errors
    /// If the coordinator is stopping.
    pub async fn readings(&self) -> Result<Readings, QueryError> {
        let overview = self.driver.read(Core::overview).await?;
        Ok(Readings { overview, free_bytes: self.store.incoming().free().ok() })
    }
}
