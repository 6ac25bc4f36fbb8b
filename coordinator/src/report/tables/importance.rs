//! What explains the results: a row for each setting and objective. The row without a setting is that of interactions and noise.

use super::{DataTable, Kind, TableSpec, Value, columns};
use crate::report::model::Report;

pub(super) const TABLE: TableSpec = TableSpec { name: "importance", of };

fn of(report: &Report) -> DataTable<'_> {
    let columns =
        columns([("quantity", Kind::Text), ("setting", Kind::Text), ("share", Kind::Number), ("cells", Kind::Integer)]);
    let rows = report.evidence.iter().flat_map(|evidence| &evidence.importance).flat_map(move |found| {
        let settings = found.settings.iter().map(|share| (Some(share.settings.join(", ")), share.share));
        settings.chain([(None, found.rest)]).map(move |(setting, share)| {
            let values: [Value<'_>; 5] = [
                report.sweep.id.as_str().into(),
                found.quantity.to_string().into(),
                setting.into(),
                share.into(),
                found.cells.into(),
            ];
            values.into()
        })
    });
    DataTable { columns, rows: Box::new(rows) }
}
