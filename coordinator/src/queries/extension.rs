//! What an extended file adds to a sweep.

use std::{collections::HashSet, sync::Arc};

use secateur_proto::ids::{StageKey, SweepId};
use secateur_worker::threads::on_a_thread;

use super::{Queries, QueryError, SweepFile};
use crate::experiment::{
    extension::{NotAnExtension, extension},
    plan::{PackedPlan, Plan},
};

/// What a file adds to a sweep.
#[derive(Debug, Clone)]
pub struct Extension {
    /// The plan of the whole file, as of a sweep of its own.
    pub file: Arc<PackedPlan>,
    /// The part that the sweep was submitted with.
    pub first: Arc<PackedPlan>,
    /// The new part, or `None` if there is nothing new.
    pub part: Option<Arc<PackedPlan>>,
    /// Stages that the sweep does not list yet.
    pub new_stages: u64,
}

impl Extension {
    /// The number of trials that the sweep does not have yet.
    #[must_use]
    pub fn new_trials(&self) -> u64 {
        self.part.as_ref().map_or(0, |part| part.trial_count() as u64)
    }
}

impl Queries {
    /// Computes what `file` adds to a sweep.
    ///
    /// # Errors
    /// If the file does not extend the sweep, there is no such sweep, or as [`Queries::plan`].
    pub async fn extension(&self, sweep: &SweepId, file: SweepFile) -> Result<Extension, QueryError> {
        let file = self.plan(file).await?;
        let wanted = sweep.clone();
        let parts = self.driver.read(move |core| Some(core.plan_parts(&wanted)?.cloned().collect::<Vec<_>>()));
        let parts = parts.await?.ok_or_else(|| QueryError::UnknownSweep(sweep.to_string()))?;
        let found = on_a_thread(move || compare(file, &parts)).await?;
        found.map_err(|problem| QueryError::NotAnExtension(sweep.clone(), problem))
    }
}

fn compare(file: Arc<PackedPlan>, parts: &[Arc<PackedPlan>]) -> Result<Extension, NotAnExtension> {
    let first = Arc::clone(parts.first().ok_or(NotAnExtension::NoSweep)?);
    // The same file again.
    if (parts.len() == 1 || first.sweep.adaptive.is_some()) && first.sweep == file.sweep && first.has_the_work_of(&file)
    {
        return Ok(Extension { file, first, part: None, new_stages: 0 });
    }
    let known: HashSet<StageKey> = parts.iter().flat_map(|part| part.keys()).collect();
    let earlier: Vec<Plan> = parts.iter().map(|part| part.unpack()).collect();
    let part = extension(&file.unpack(), &earlier.iter().collect::<Vec<_>>())?.map(Arc::new);
    let keys = part.iter().flat_map(|part| part.keys());
    let new_stages = keys.filter(|key| !known.contains(key)).count() as u64;
    Ok(Extension { file, first, part, new_stages })
}
