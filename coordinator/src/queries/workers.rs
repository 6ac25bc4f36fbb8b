//! Which workers are attached, and what they do.

use super::{Queries, QueryError};
use crate::scheduler::WorkerStatus;

impl Queries {
    /// The workers that are attached, in the order of joining.
    ///
    /// # Errors
    /// If the coordinator is stopping.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>, QueryError> {
        Ok(self.driver.read(|core| core.workers().collect()).await?)
    }
}
