//! The scores of rows that conclusions need, read from the artifacts, and how metrics vary with the rows.

use secateur_proto::{
    ids::{ContentHash, SweepId},
    metrics::Split,
};
use secateur_worker::{scores::read_scores, tensors::InvalidTensors};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{Queries, QueryError, answers::Answer, report::report_of};
use crate::{
    artifacts::ArtifactStore,
    report::{RowVariances, SplitScores, TrialScores, row_variances},
};

impl Answer for RowVariances {
    fn size(&self) -> usize {
        // Of an entry: a cell's id, a quantity, two pairs of numbers.
        size_of::<Self>() + self.len() * 256
    }
}

impl Queries {
    /// How the metrics of the cells that conclusions are about vary with the rows.
    pub(super) async fn row_variances(&self, sweep: &SweepId) -> Result<std::sync::Arc<RowVariances>, QueryError> {
        let runtime = Handle::current();
        // A simulation computes nothing that has scores, and its only thread cannot wait here.
        if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Ok(std::sync::Arc::default());
        }
        let store = self.store.clone();
        self.answer(sweep, "rows", move |results| {
            let mut read = |hash| read_scores_of(&runtime, &store, hash);
            Ok(row_variances(&report_of(results)?, &mut read))
        })
        .await
    }
}

/// The scores of a trial. `None` if they are gone or damaged: the report then says that rows are not accounted for.
pub(super) fn read_scores_of(runtime: &Handle, store: &ArtifactStore, hash: ContentHash) -> Option<TrialScores> {
    let read = runtime.block_on(store.get(hash)).map_err(|error| error.to_string());
    let scores = read.and_then(|bytes| scores(&bytes).map_err(|error| error.to_string()));
    scores.map_err(|error| tracing::debug!(%hash, error, "cannot read the scores of a trial")).ok()
}

fn scores(bytes: &[u8]) -> Result<TrialScores, InvalidTensors> {
    let of = |split| read_scores(bytes, split).map(|(logits, targets)| SplitScores { logits, targets });
    Ok(TrialScores { validation: of(Split::Validation)?, test: of(Split::Test)? })
}
