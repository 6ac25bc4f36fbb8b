//! Tables of measured nets: how fast they are, and how many bytes they take.

use secateur_proto::metrics::{Metric, Quantity, Split};

use super::{
    content::Grid,
    label::Labels,
    model::{CellReport, Report},
    nets::measured_cells,
    number,
    plot::axes,
};

/// What goes across in plots of measured nets.
pub(super) const PLOTTED: [Metric; 2] = [Metric::LatencyP50Us, Metric::FileBytes];

/// Times stand beside what multiply-accumulates promise, in columns of their own.
const TIMES: [Metric; 8] = [
    Metric::TheoreticalSpeedup,
    Metric::LatencyRatio,
    Metric::ThroughputRatio,
    Metric::LatencyP50Us,
    Metric::LatencyP99Us,
    Metric::BatchLatencyP50Us,
    Metric::BatchLatencyP99Us,
    Metric::Throughput,
];

const BYTES: [Metric; 6] = [
    Metric::FileBytes,
    Metric::DenseBytes,
    Metric::CsrBytes,
    Metric::BitmaskBytes,
    Metric::Int8Bytes,
    Metric::Int8BitmaskBytes,
];

/// How fast the measured nets are. Empty if there are none.
pub(super) fn times(report: &Report, labels: &Labels) -> Grid {
    grid(report, labels, &TIMES)
}

/// How many bytes they take.
pub(super) fn bytes(report: &Report, labels: &Labels) -> Grid {
    grid(report, labels, &BYTES)
}

fn grid(report: &Report, labels: &Labels, metrics: &[Metric]) -> Grid {
    let quality = axes(report).map(|axes| axes.test());
    let of_net = metrics.iter().map(|metric| metric.on(Split::Validation));
    let shown: Vec<Quantity> = quality.into_iter().chain(of_net).collect();
    let titles: Vec<String> = shown.iter().map(|quantity| report.title(quantity)).collect();
    let mut columns = vec![("cell", false)];
    columns.extend(titles.iter().map(|title| (title.as_str(), true)));
    columns.push(("id", false));
    let mut grid = Grid::of(&columns);
    let row = |cell: &CellReport| {
        let mut row = vec![labels.cell(cell)];
        row.extend(shown.iter().map(|quantity| {
            let found = cell.summary(quantity);
            found.map_or_else(|| "–".to_owned(), |found| number::summary(quantity.metric(), &found))
        }));
        row.push(cell.id.to_string());
        row
    };
    grid.rows = measured_cells(report).into_iter().map(row).collect();
    grid
}
