//! A row for each cell of the sweep's front, and for each of the front with unpruned competitors.

use std::collections::HashMap;

use secateur_proto::ids::CellId;

use super::{DataTable, Kind, TableSpec, Value, columns};
use crate::report::{evidence::FrontEvidence, model::Report, ties::front_points};

pub(super) const TABLE: TableSpec = TableSpec { name: "front", of };

fn of(report: &Report) -> DataTable<'_> {
    let columns = columns([
        ("front", Kind::Text),
        ("rank", Kind::Integer),
        ("cell", Kind::Text),
        ("ties", Kind::Integer),
        ("tied_with", Kind::Text),
        ("probability", Kind::Number),
        ("rival", Kind::Text),
        ("rival_probability", Kind::Number),
        ("evidence_seeds", Kind::Integer),
    ]);
    let points = front_points(report);
    let ties: HashMap<&CellId, (usize, &CellId)> = points
        .iter()
        .flat_map(|cells| {
            cells.first().into_iter().flat_map(|first| cells.iter().map(|cell| (&cell.id, (cells.len(), &first.id))))
        })
        .collect();
    let evidence = report.evidence.iter().flat_map(|evidence| &evidence.front);
    let evidence: HashMap<&CellId, &FrontEvidence> = evidence.map(|found| (&found.cell, found)).collect();
    let own = report.front.iter().map(|id| ("sweep", id));
    let common = report.common_front.iter().map(|id| ("common", id));
    let ranked = (1_u64..).zip(own).chain((1_u64..).zip(common));
    let rows = ranked.map(move |(rank, (front, id))| {
        let is_own = front == "sweep";
        let tie = ties.get(id).filter(|_| is_own);
        let found = evidence.get(id).filter(|_| is_own);
        let first = tie.map(|(_, first)| *first).filter(|first| *first != id);
        let values: [Value<'_>; 10] = [
            report.sweep.id.as_str().into(),
            front.into(),
            rank.into(),
            id.as_str().into(),
            tie.map(|(count, _)| *count as u64).into(),
            first.map(|first| first.as_str()).into(),
            found.map(|found| found.probability).into(),
            found.and_then(|found| found.rival.as_ref()).map(|id| id.as_str()).into(),
            found.map(|found| found.rival_probability).into(),
            found.map(|found| found.seeds).into(),
        ];
        values.into()
    });
    DataTable { columns, rows: Box::new(rows) }
}
