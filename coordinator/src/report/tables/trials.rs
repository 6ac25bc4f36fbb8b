//! A row for each trial.

use super::{DataTable, Kind, TableSpec, Value, columns};
use crate::report::model::Report;

pub(super) const TABLE: TableSpec = TableSpec { name: "trials", of };

fn of(report: &Report) -> DataTable<'_> {
    let columns = columns([
        ("trial", Kind::Text),
        ("cell", Kind::Text),
        ("seed", Kind::Integer),
        ("outcome", Kind::Text),
        ("reason", Kind::Text),
        ("part", Kind::Integer),
    ]);
    let rows = report.trials.iter().map(move |trial| {
        let values: [Value<'_>; 7] = [
            report.sweep.id.as_str().into(),
            trial.id.as_str().into(),
            trial.cell.as_str().into(),
            trial.seed.into(),
            trial.outcome.as_str().into(),
            trial.reason.as_deref().into(),
            trial.part.map(u64::from).into(),
        ];
        values.into()
    });
    DataTable { columns, rows: Box::new(rows) }
}
