//! Ties on the front: cells with equal means of every objective are one point of it.

use std::collections::{BTreeMap, HashMap};

use secateur_proto::ids::CellId;

use super::{
    content::Grid,
    front,
    model::{CellReport, Report},
    number,
};

/// The cells of the front by its points: equal ones together, in the order of the front. There is at least one cell in each.
pub(super) fn front_points(report: &Report) -> Vec<Vec<&CellReport>> {
    let cells = report.front_cells();
    let mean = |cell: &CellReport, quantity| cell.mean(quantity).unwrap_or(f64::NAN);
    let means: Vec<f64> = (cells.iter())
        .flat_map(|cell| report.objectives.iter().map(move |objective| mean(cell, &objective.quantity)))
        .collect();
    let mut points: BTreeMap<usize, Vec<&CellReport>> = BTreeMap::new();
    for (cell, point) in cells.into_iter().zip(front::groups(&means, report.objectives.len())) {
        points.entry(point).or_default().push(cell);
    }
    points.into_values().collect()
}

/// The number of the point of each cell that shares one, from 0.
pub(super) fn shared_points(report: &Report) -> HashMap<&CellId, usize> {
    let points = front_points(report).into_iter().enumerate().filter(|(_, cells)| cells.len() > 1);
    points.flat_map(|(point, cells)| cells.into_iter().map(move |cell| (&cell.id, point))).collect()
}

/// The cells that stand for the points of the front: of equal ones the first.
pub(super) fn first_cells<'a>(points: &[Vec<&'a CellReport>]) -> Vec<&'a CellReport> {
    points.iter().filter_map(|cells| cells.first().copied()).collect()
}

/// The table of these points, which has a row for each, with a column that says how many cells are equal. There is none if no two cells
/// are.
pub(super) fn with_counts(mut grid: Grid, points: &[Vec<&CellReport>]) -> Grid {
    if points.iter().all(|cells| cells.len() == 1) {
        return grid;
    }
    grid.columns.insert(1, ("equal cells".to_owned(), true));
    for (row, cells) in grid.rows.iter_mut().zip(points) {
        row.insert(1, number::grouped(cells.len() as u64));
    }
    grid
}

/// Says that there are fewer points than cells on the front. `None` if no two cells are equal.
pub(super) fn sentence(report: &Report) -> Option<String> {
    let points = front_points(report);
    let cells: usize = points.iter().map(Vec::len).sum();
    (points.len() < cells).then(|| {
        format!(
            "The {} on the front are {}: cells with equal means of every objective count as one.",
            number::count(cells as u64, "cell"),
            number::count(points.len() as u64, "point"),
        )
    })
}
