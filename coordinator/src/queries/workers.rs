//! Attached workers and their status.

use super::{Queries, QueryError};
use crate::scheduler::WorkerStatus;

impl Queries {
    /// The status of the attached workers, in the order of attachment.
    ///
    /// # Errors
    /// If the coordinator is stopping.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>, QueryError> {
        Ok(self.driver.read(|core| core.workers().collect()).await?)
    }
}
