//! A row for each quantity of each trial.

use super::{DataTable, Kind, QUANTITY, TableSpec, Value, columns, quantity};
use crate::report::model::{QuantityValue, Report};

pub(super) const TABLE: TableSpec = TableSpec { name: "metrics", of };

fn of(report: &Report) -> DataTable<'_> {
    let head = [("trial", Kind::Text), ("cell", Kind::Text), ("seed", Kind::Integer)];
    let columns = columns(head.into_iter().chain(QUANTITY).chain([("value", Kind::Number), ("reason", Kind::Text)]));
    let rows = report.trials.iter().flat_map(move |trial| {
        let whole =
            trial.metrics.iter().map(|(name, value)| (name, QuantityValue { value: Some(*value), reason: None }));
        let others = trial.quantities.iter().map(|(name, value)| (name, *value));
        whole.chain(others).map(move |(name, found)| {
            let head: [Value<'_>; 4] = [
                report.sweep.id.as_str().into(),
                trial.id.as_str().into(),
                trial.cell.as_str().into(),
                trial.seed.into(),
            ];
            let tail: [Value<'_>; 2] = [found.value.into(), found.reason.map(|reason| reason.to_string()).into()];
            head.into_iter().chain(quantity(name)).chain(tail).collect()
        })
    });
    DataTable { columns, rows: Box::new(rows) }
}
