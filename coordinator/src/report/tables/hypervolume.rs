//! The hypervolume of the front: one row, or none.

use super::{DataTable, STATISTICS, TableSpec, columns, statistics};
use crate::report::model::Report;

pub(super) const TABLE: TableSpec = TableSpec { name: "hypervolume", of };

fn of(report: &Report) -> DataTable<'_> {
    let columns = columns(STATISTICS.into_iter().take(KEPT));
    let found = report.evidence.as_ref().and_then(|evidence| evidence.hypervolume.as_ref());
    let rows = found.into_iter().map(move |found| {
        let head = std::iter::once(report.sweep.id.as_str().into());
        head.chain(statistics(Some(found.share), None).into_iter().take(KEPT)).collect()
    });
    DataTable { columns, rows: Box::new(rows) }
}

/// Rows play no part in it.
const KEPT: usize = 5;
