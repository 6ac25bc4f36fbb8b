//! Plans of sweep files.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use secateur_proto::{ids::ContentHash, outcome::Artifact};
use secateur_worker::{store::StoreError, threads::on_a_thread};

use super::{Document, Queries, QueryError};
use crate::{
    admission::{self, GivenWeights, Input},
    artifacts::ArtifactError,
    experiment::plan::PackedPlan,
};

/// The longest notes on weights, in bytes.
const LONGEST_NOTES: usize = 1 << 16;

/// A sweep file and the artifacts that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepFile {
    /// Used in messages.
    pub name: String,
    /// Its content.
    pub text: String,
    /// The table, or the packed images.
    pub data: Artifact,
    /// The net that was trained elsewhere.
    pub weights: Option<Artifact>,
    /// Notes on the weights, shown in plan and report.
    pub weights_notes: Vec<String>,
}

/// The last plan that this process made, for as long as somebody holds it.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered(Arc<Mutex<Weak<PackedPlan>>>);

impl Remembered {
    /// Returns the plan if it is of that file.
    fn plan_of(&self, file: &SweepFile) -> Option<Arc<PackedPlan>> {
        let plan = self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade()?;
        let info = &plan.sweep;
        let is_it = info.file_hash == ContentHash::of(file.text.as_bytes())
            && info.data.hash == file.data.hash
            && info.weights.as_ref().map(|weights| weights.hash) == file.weights.map(|weights| weights.hash);
        is_it.then_some(plan)
    }
}

impl From<ArtifactError> for QueryError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::Store(StoreError::Missing(_)) => Self::NotUploaded,
            error => Self::Artifacts(error),
        }
    }
}

impl Queries {
    /// Remembers a plan that this process made within the same limits, so that submitting its file does not plan again.
    pub fn remember_plan(&self, plan: &Arc<PackedPlan>) {
        *self.remembered.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(plan);
    }

    /// Plans a sweep.
    ///
    /// # Errors
    /// If the file is invalid or too large, a file that it names is invalid or missing, or too many callers wait.
    pub async fn plan(&self, file: SweepFile) -> Result<Arc<PackedPlan>, QueryError> {
        if let Some(plan) = self.remembered.plan_of(&file) {
            return Ok(plan);
        }
        if file.text.len() > admission::LARGEST_SWEEP_FILE {
            return Err(QueryError::Refused(format!(
                "the sweep file has {} bytes; the limit is {}",
                file.text.len(),
                admission::LARGEST_SWEEP_FILE
            )));
        }
        let notes: usize = file.weights_notes.iter().map(String::len).sum();
        if notes > LONGEST_NOTES {
            return Err(QueryError::Refused(format!(
                "the notes on the weights have {notes} bytes (expected at most {LONGEST_NOTES})"
            )));
        }
        let _place = self.planning.ask()?;
        let room = self.planning.enter(1).await?;
        let limits = self.limits;
        let read = async |artifact: Artifact| {
            // The actual size, not the claimed one.
            let held = self.store.touch(artifact.hash).await?;
            if held.is_some_and(|held| held.size > limits.input) {
                return Err(QueryError::Refused(admission::too_large(limits.input)));
            }
            Ok(self.store.get(artifact.hash).await?)
        };
        let data = read(file.data).await?;
        let weights = match file.weights {
            Some(weights) => Some(read(weights).await?),
            None => None,
        };
        let planned = on_a_thread(move || {
            let _room = room;
            let notes = &file.weights_notes;
            let weights = weights.as_deref().map(|bytes| GivenWeights { file: Input::of(bytes), notes });
            admission::admit(&file.name, &file.text, Input::of(&data), weights, limits)
        });
        let plan = planned.await?.map_err(|problems| QueryError::Refused(problems.to_string()))?;
        Ok(Arc::new(plan))
    }

    /// `plan.json` of a sweep.
    ///
    /// # Errors
    /// As [`Queries::plan`].
    pub async fn plan_json(&self, file: SweepFile) -> Result<Document, QueryError> {
        let plan = self.plan(file).await?;
        let written = on_a_thread(move || {
            Document::write(|out| {
                serde_json::to_writer_pretty(out, plan.as_ref()).map_err(|error| QueryError::Failed(error.to_string()))
            })
        });
        written.await?
    }
}
