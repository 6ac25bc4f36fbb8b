//! A row for each quantity of each cell, over its seeds.

use super::{DataTable, Kind, QUANTITY, STATISTICS, TableSpec, Value, columns, quantity, statistics};
use crate::report::model::Report;

pub(super) const TABLE: TableSpec = TableSpec { name: "statistics", of };

fn of(report: &Report) -> DataTable<'_> {
    let tail = [("not_measurable", Kind::Integer)];
    let columns = columns([("cell", Kind::Text)].into_iter().chain(QUANTITY).chain(STATISTICS).chain(tail));
    let rows = report.cells.iter().flat_map(move |cell| {
        let whole = cell.metrics.iter().map(|(name, _)| name);
        whole.chain(cell.quantities.keys()).map(move |name| {
            let head: [Value<'_>; 2] = [report.sweep.id.as_str().into(), cell.id.as_str().into()];
            let found = statistics(cell.summary(name), cell.total(name));
            let missing = cell.quantities.get(name).map_or(0, |found| found.not_measurable.values().sum::<u64>());
            head.into_iter().chain(quantity(name)).chain(found).chain([missing.into()]).collect()
        })
    });
    DataTable { columns, rows: Box::new(rows) }
}
