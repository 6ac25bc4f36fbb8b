//! Decisions, groups and calibration, from the scores of rows and the levels of the groups.

use std::sync::Arc;

use secateur_proto::ids::SweepId;
use secateur_worker::data::GroupLevels;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{Queries, QueryError, answers::Answer, report::report_of, rows::read_scores_of};
use crate::report::{CreditReport, GroupColumn, RowVariances, credit, dataset_of_groups};

impl Answer for Option<CreditReport> {
    fn size(&self) -> usize {
        // Of a cell and of a group about this much.
        self.as_ref().map_or(0, |credit| credit.cells.iter().map(|cell| 16_384 + cell.groups.len() * 2_048).sum())
    }
}

impl Queries {
    /// Decisions, groups and calibration of the cells that conclusions with `rows` are about.
    pub(super) async fn credit(
        &self,
        sweep: &SweepId,
        rows: Arc<RowVariances>,
    ) -> Result<Arc<Option<CreditReport>>, QueryError> {
        let runtime = Handle::current();
        // As for the variances: a simulation computes nothing that has scores.
        if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Ok(Arc::default());
        }
        let store = self.store.clone();
        self.answer(sweep, "credit", move |results| {
            let report = report_of(results)?.with_rows(&rows);
            let levels = dataset_of_groups(&report).and_then(|hash| {
                let bytes = runtime.block_on(store.get(hash)).map_err(|error| error.to_string());
                let levels =
                    bytes.and_then(|bytes| GroupLevels::from_safetensors(&bytes).map_err(|error| error.to_string()));
                levels.map_err(|error| tracing::debug!(%hash, error, "cannot read the levels of the rows")).ok()
            });
            let mut read = |hash| read_scores_of(&runtime, &store, hash);
            Ok(credit(&report, &columns(levels.unwrap_or_default()), &mut read))
        })
        .await
    }
}

fn columns(levels: GroupLevels) -> Vec<GroupColumn> {
    let columns = levels.groups.into_iter().zip(levels.test);
    columns.map(|(group, of_rows)| GroupColumn { name: group.name, levels: group.levels, of_rows }).collect()
}
