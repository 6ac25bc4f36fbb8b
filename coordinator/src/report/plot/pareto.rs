//! The Pareto plot: every cell by size and quality, the front as a line of steps, the best dense net as a level to compare with.

use std::{collections::BTreeMap, fmt::Write as _};

use secateur_proto::metrics::{Direction, Metric, Quantity, Split};

use super::{
    colour, marker,
    scale::Scale,
    svg::{Anchor, GRID, INK, MUTED, Svg, legend, width},
};
use crate::report::{
    glossary::title_of_any_split,
    label::Labels,
    model::{CellReport, Report},
    number,
    statistics::Summary,
    ties,
};

/// What the plot shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Axes {
    /// Across.
    pub(crate) x: Quantity,
    /// Up. On validation, unless it is of the net.
    pub(crate) y: Quantity,
    /// Which way is better on each.
    pub(crate) better: [Direction; 2],
    /// Whether the front was chosen on these two alone, so that it is a line of steps.
    pub(crate) are_all_objectives: bool,
}

impl Axes {
    /// What goes up, on test.
    pub(crate) fn test(&self) -> Quantity {
        self.y.with_split(Split::Test)
    }
}

/// The first objective of the net across, the first of rows up; the usual ones where the sweep has none. Returns `None` if no cell
/// has two quantities to show.
pub(crate) fn axes(report: &Report) -> Option<Axes> {
    let measured = |quantity: &&Quantity| report.cells.iter().any(|cell| cell.summary(quantity).is_some());
    let objectives = || report.objectives.iter().map(|objective| &objective.quantity);
    let usual: Vec<Quantity> = Metric::ALL.iter().map(|metric| metric.on(Split::Validation)).collect();
    let is_of_net = |quantity: &&Quantity| quantity.split().is_none();
    let of_net = || objectives().chain(&usual).filter(is_of_net);
    let of_rows = || objectives().chain(&usual).filter(|quantity| !is_of_net(quantity));
    let nonzero = Metric::NonzeroParameters.on(Split::Validation);
    let x = objectives().filter(is_of_net).chain([&nonzero]).chain(of_net()).find(measured)?;
    let second = objectives().find(|quantity| is_of_net(quantity) && *quantity != x);
    let wanted = objectives().find(|quantity| !is_of_net(quantity)).or(second);
    let y = wanted.into_iter().chain(of_rows()).find(measured)?;
    let better = [x, y].map(|quantity| {
        let objective = report.objectives.iter().find(|objective| objective.quantity == *quantity);
        objective.map_or(quantity.better(), |objective| objective.direction)
    });
    let are_all_objectives = objectives().all(|quantity| quantity == x || quantity == y)
        && [x, y].iter().all(|axis| objectives().any(|quantity| quantity == *axis));
    Some(Axes { x: x.clone(), y: y.clone(), better, are_all_objectives })
}

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 500.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 18.0;
const BOTTOM: f64 = 58.0;
/// Cells from which marks are drawn small and plain.
const MANY: usize = 1_000;

struct Point<'a> {
    cell: &'a CellReport,
    x: Summary,
    y: Summary,
}

/// The plot on validation; hollow markers show the front's cells on test. Nothing if there is nothing to show.
pub(crate) fn pareto(report: &Report) -> Option<String> {
    drawn(report, &axes(report)?)
}

/// The same with a metric of the net across. Returns `None` if no cell has it, or if it is across in the plot of the objectives.
pub(crate) fn against(report: &Report, metric: Metric) -> Option<String> {
    let axes = axes(report)?;
    let x = metric.on(Split::Validation);
    if axes.x == x || !report.cells.iter().any(|cell| cell.summary(&x).is_some()) {
        return None;
    }
    drawn(report, &Axes { better: [metric.better(), axes.better[1]], x, are_all_objectives: false, ..axes })
}

fn drawn(report: &Report, axes: &Axes) -> Option<String> {
    let points: Vec<Point<'_>> = (report.cells.iter())
        .filter_map(|cell| Some(Point { cell, x: cell.summary(&axes.x)?, y: cell.total(&axes.y)?.summary() }))
        .collect();
    let (points, equal) = one_of_equal(report, points);
    let labels = Labels::of(report);
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let top = 18.0 + draw_legend(&mut svg, &labels, axes);
    let baseline = report.baseline.as_ref().and_then(|found| points.iter().find(|point| point.cell.id == found.cell));
    let on_test = axes.test();
    let test = |point: &Point<'_>| point.cell.mean(&on_test);
    let extremes = points.iter().flat_map(|point| {
        let [low, high] = point.y.ci95.filter(|_| points.len() < 40).unwrap_or([point.y.mean; 2]);
        [Some(low), Some(high), test(point).filter(|_| point.cell.on_front)]
    });
    let x = Scale::of(points.iter().map(|point| point.x.mean), true, [LEFT, WIDTH - RIGHT]);
    let y = Scale::of(extremes.flatten(), false, [HEIGHT - BOTTOM, top]);
    frame(&mut svg, &[&axes.x, &axes.y].map(|axis| report.title(axis)), axes.better, (&x, &y), top);
    if let Some(baseline) = baseline {
        reference(&mut svg, baseline, axes, &y);
    }
    if axes.are_all_objectives {
        svg.line(&steps(&points, |cell| cell.on_front, axes, &x, &y), "front", INK, 1.5, "");
        // Where small dense nets or reference models are better, their steps lie beyond those of the sweep's own front.
        if report.common_front != report.front {
            svg.line(&steps(&points, |cell| cell.on_common_front, axes, &x, &y), "front", MUTED, 1.2, "2 3");
        }
    }
    draw_points(&mut svg, &points, &labels, &x, &y);
    for (point, count) in equal {
        let (at_x, at_y) = (x.at(point.x), y.at(point.y));
        svg.text(at_x + 8.0, at_y - 8.0, Anchor::Start, "ink", &format!("×{}", number::grouped(count)));
    }
    if axes.y.split().is_some() && points.len() <= MANY {
        for point in points.iter().filter(|point| point.cell.on_front) {
            if let (Some(value), Some(series)) = (test(point), index(&labels, point.cell)) {
                svg.hollow(&marker(series, x.at(point.x.mean) + 9.0, y.at(value), 3.6), colour(series));
            }
        }
    }
    let name = format!(
        "{} against {} of every cell of {}",
        title_of_any_split(&axes.y),
        title_of_any_split(&axes.x),
        report.sweep.name
    );
    Some(svg.finish(&name))
}

/// What the bars of a plot of `quantity` are about.
pub(crate) fn intervals_caption(report: &Report, quantity: &Quantity) -> String {
    let totals = report.cells.iter().filter_map(|cell| cell.total(quantity)).filter(|total| total.ci95.is_some());
    let (with_rows, without): (Vec<_>, Vec<_>) = totals.partition(|total| total.se_rows.is_some());
    let cells = |count: usize| number::count(count as u64, "cell");
    match (with_rows.len(), without.len()) {
        (0, 0) => "There are no intervals: each cell has one seed.".to_owned(),
        (_, 0) => "Bars are 95 % intervals of seeds and rows.".to_owned(),
        (0, _) => "Bars are 95 % intervals of seeds.".to_owned(),
        (both, seeds) => {
            format!("Bars are 95 % intervals: of seeds and rows for {}, of seeds for {}.", cells(both), cells(seeds))
        }
    }
}

/// Where several cells are one mark.
struct Place {
    x: f64,
    y: f64,
}

/// Without all but one of the front's cells that are equal in every objective and in the same place; and where those are, with their number.
fn one_of_equal<'a>(report: &Report, points: Vec<Point<'a>>) -> (Vec<Point<'a>>, Vec<(Place, u64)>) {
    let shared = ties::shared_points(report);
    let mut places: BTreeMap<(usize, u64, u64), u64> = BTreeMap::new();
    let mut kept = Vec::with_capacity(points.len());
    for point in points {
        if let Some(number) = shared.get(&point.cell.id) {
            let count = places.entry((*number, point.x.mean.to_bits(), point.y.mean.to_bits())).or_default();
            *count += 1;
            if *count > 1 {
                continue;
            }
        }
        kept.push(point);
    }
    let place = |((_, x, y), count)| (Place { x: f64::from_bits(x), y: f64::from_bits(y) }, count);
    (kept, places.into_iter().filter(|(_, count)| *count > 1).map(place).collect())
}

fn index(labels: &Labels, cell: &CellReport) -> Option<usize> {
    let series = labels.series_of(cell);
    labels.series.iter().position(|label| *label == series)
}

fn draw_legend(svg: &mut Svg, labels: &Labels, axes: &Axes) -> f64 {
    let mut keys = labels.series.clone();
    let series = keys.len();
    keys.extend(["best dense net (baseline)", "on the front"].map(str::to_owned));
    keys.push("front with unpruned competitors".to_owned());
    if axes.y.split().is_some() {
        keys.push("front cell on test".to_owned());
    }
    legend(svg, [LEFT, 8.0, WIDTH - LEFT - RIGHT], &keys, |svg, index, x, y| match index.checked_sub(series) {
        None => svg.shape(&marker(index, x, y, 5.0), "mark", colour(index), 1.0),
        Some(0) => svg.line(&format!("M{:.1} {y:.1}h18", x - 9.0), "dense", INK, 1.5, "5 3"),
        Some(1) => svg.line(&marker(0, x, y, 7.0), "front", INK, 1.5, ""),
        Some(2) => svg.line(&format!("M{:.1} {y:.1}h18", x - 9.0), "front", MUTED, 1.2, "2 3"),
        Some(_) => svg.hollow(&marker(0, x, y, 4.0), MUTED),
    })
}

fn frame(svg: &mut Svg, titles: &[String; 2], directions: [Direction; 2], (x, y): (&Scale, &Scale), top: f64) {
    let bottom = HEIGHT - BOTTOM;
    for (value, text) in y.ticks(7) {
        let at = y.at(value);
        svg.line(&format!("M{LEFT} {at:.1}H{:.1}", WIDTH - RIGHT), "grid", GRID, 1.0, "");
        svg.text(LEFT - 8.0, at + 4.0, Anchor::End, "muted", &text);
    }
    let mut free = 0.0;
    for (value, text) in x.ticks(8) {
        let at = x.at(value);
        svg.line(&format!("M{at:.1} {top:.1}V{bottom:.1}"), "grid", GRID, 1.0, "");
        if at - width(&text) / 2.0 > free {
            svg.text(at, bottom + 18.0, Anchor::Middle, "muted", &text);
            free = at + width(&text) / 2.0 + 6.0;
        }
    }
    svg.line(&format!("M{LEFT} {top:.1}V{bottom:.1}H{:.1}", WIDTH - RIGHT), "axis", MUTED, 1.0, "");
    let better = |direction| match direction {
        Direction::Maximize => "higher is better",
        Direction::Minimize => "lower is better",
    };
    let [across, up] = [0, 1].map(|axis| format!("{} — {}", titles[axis], better(directions[axis])));
    svg.text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14.0, Anchor::Middle, "ink", &across);
    svg.upright(16.0, (top + bottom) / 2.0, &up);
}

fn reference(svg: &mut Svg, dense: &Point<'_>, axes: &Axes, y: &Scale) {
    let across = WIDTH - RIGHT - LEFT;
    if let Some([low, high]) = dense.y.ci95 {
        let (upper, lower) = (y.at(high), y.at(low));
        svg.band([LEFT, upper, across, lower - upper], "band", INK, 0.07);
    }
    let at = y.at(dense.y.mean);
    svg.line(&format!("M{LEFT} {at:.1}h{across:.1}"), "dense", INK, 1.5, "5 3");
    let label = format!("baseline: best dense net {}", number::of_metric(axes.y.metric(), dense.y.mean));
    svg.text(LEFT + 6.0, at - 5.0, Anchor::Start, "ink", &label);
}

/// The edge of what the front dominates, from its best value across to its worst.
fn steps(points: &[Point<'_>], is_on: impl Fn(&CellReport) -> bool, axes: &Axes, x: &Scale, y: &Scale) -> String {
    let mut front: Vec<&Point<'_>> = points.iter().filter(|point| is_on(point.cell)).collect();
    front.sort_by(|a, b| match axes.better[0] {
        Direction::Minimize => a.x.mean.total_cmp(&b.x.mean),
        Direction::Maximize => b.x.mean.total_cmp(&a.x.mean),
    });
    let mut path = String::new();
    for point in &front {
        let (at_x, at_y) = (x.at(point.x.mean), y.at(point.y.mean));
        let step =
            if path.is_empty() { write!(path, "M{at_x:.1} {at_y:.1}") } else { write!(path, "H{at_x:.1}V{at_y:.1}") };
        step.expect("a string takes all");
    }
    if !front.is_empty() {
        let end = if axes.better[0] == Direction::Minimize { WIDTH - RIGHT } else { LEFT };
        write!(path, "H{end:.1}").expect("a string takes all");
    }
    path
}

/// One path for each series and kind of mark, so that ten thousand cells stay a small file.
fn draw_points(svg: &mut Svg, points: &[Point<'_>], labels: &Labels, x: &Scale, y: &Scale) {
    let series = labels.series.len();
    // Outlines, rings and bars keep a few marks apart; of thousands they would leave nothing else to see.
    let many = points.len() > MANY;
    let class = if many { "mark many" } else { "mark" };
    let fronts = points.iter().filter(|point| point.cell.on_front).count();
    let mut bars = vec![String::new(); series];
    let mut faint = vec![String::new(); series];
    let mut solid = vec![String::new(); series];
    let (mut rings, mut dense) = (String::new(), String::new());
    for point in points {
        let (at_x, at_y) = (x.at(point.x.mean), y.at(point.y.mean));
        let Some(index) = index(labels, point.cell) else {
            dense.push_str(&marker(3, at_x, at_y, 4.5));
            continue;
        };
        if let Some([low, high]) = point.y.ci95.filter(|_| !many) {
            write!(bars[index], "M{at_x:.1} {:.1}V{:.1}", y.at(low), y.at(high)).expect("a string takes all");
        }
        let competes = point.cell.eligible || point.cell.control;
        let marks = if competes { &mut solid } else { &mut faint };
        marks[index].push_str(&marker(
            index,
            at_x,
            at_y,
            if point.cell.on_front {
                5.0
            } else if many {
                2.5
            } else {
                3.8
            },
        ));
        if point.cell.on_front && fronts <= 60 {
            rings.push_str(&marker(0, at_x, at_y, 8.0));
        }
    }
    for (index, path) in bars.iter().enumerate() {
        svg.line(path, "bars", colour(index), 1.0, "");
    }
    svg.shape(&dense, "mark dense-mark", INK, 1.0);
    for index in 0..series {
        svg.shape(&faint[index], class, colour(index), 0.35);
        svg.shape(&solid[index], class, colour(index), 1.0);
    }
    svg.line(&rings, "front", INK, 1.2, "");
}
