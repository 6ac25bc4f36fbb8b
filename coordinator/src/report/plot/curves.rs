//! Curves of a metric against sparsity: a line for each strategy and scope, a panel for each combination of the other settings.

use std::{collections::BTreeMap, fmt::Write as _};

use secateur_proto::metrics::Quantity;

use super::{
    colour, marker,
    scale::Scale,
    svg::{Anchor, GRID, INK, MUTED, Svg, legend, width},
};
use crate::{
    experiment::plan::Control,
    report::{
        glossary::title_of_any_split,
        label::Labels,
        model::{CellReport, Report},
        number,
        statistics::Summary,
    },
};

/// Panels that one plot shows at most.
const MOST_PANELS: usize = 12;
const WIDTH: f64 = 880.0;
const LEFT: f64 = 62.0;
const GAP: f64 = 22.0;
const PANEL_HEIGHT: f64 = 250.0;

/// By the bits of the sparsity.
type Curve = BTreeMap<u64, (f64, Summary)>;

#[derive(Default)]
struct Panel {
    title: String,
    curves: BTreeMap<usize, Curve>,
    dense: Option<Summary>,
}

/// `quantity` against the sparsity asked for, with 95 % intervals. Returns `None` if no cell has both.
pub(crate) fn curves(report: &Report, quantity: &Quantity) -> Option<String> {
    let labels = Labels::of(report);
    let (panels, left_out) = panels(report, quantity, &labels);
    if panels.is_empty() {
        return None;
    }
    let columns = panels.len().min(3);
    let rows = panels.len().div_ceil(columns);
    let legend_room =
        20.0 * (labels.series.iter().map(|label| width(label) + 38.0).sum::<f64>() / (WIDTH - 120.0)).ceil().max(1.0);
    let height = 44.0 + legend_room + rows as f64 * (PANEL_HEIGHT + 34.0) + 40.0;
    let mut svg = Svg::new(WIDTH, height);
    let mut keys = labels.series.clone();
    keys.push("best dense net (baseline)".to_owned());
    let legend_height = legend(&mut svg, [LEFT, 8.0, WIDTH - LEFT - 18.0], &keys, |svg, index, x, y| {
        if index < labels.series.len() {
            svg.line(&format!("M{:.1} {y:.1}h18", x - 9.0), "bars", colour(index), 1.5, "");
            svg.shape(&marker(index, x, y, 4.5), "mark", colour(index), 1.0);
        } else {
            svg.line(&format!("M{:.1} {y:.1}h18", x - 9.0), "dense", INK, 1.5, "5 3");
        }
    });

    let drawn = || panels.iter().flat_map(|panel| panel.curves.values().flat_map(BTreeMap::values));
    // Whole intervals: one that is cut at the edge of a panel would look narrower than it is.
    let summaries = drawn().map(|(_, summary)| *summary).chain(panels.iter().filter_map(|panel| panel.dense));
    let ends = |summary: Summary| summary.ci95.map_or([summary.mean; 2], |[low, high]| [low, high]);
    let values: Vec<f64> = summaries.flat_map(ends).collect();
    let mut sparsities: Vec<f64> = drawn().map(|(sparsity, _)| *sparsity).collect();
    sparsities.sort_by(f64::total_cmp);
    sparsities.dedup();
    let panel_width = (WIDTH - LEFT - 18.0 - GAP * (columns as f64 - 1.0)) / columns as f64;
    let top = 30.0 + legend_height;
    for (index, panel) in panels.iter().enumerate() {
        let x = LEFT + (index % columns) as f64 * (panel_width + GAP);
        let y = top + (index / columns) as f64 * (PANEL_HEIGHT + 34.0);
        let across = Scale::of(sparsities.iter().copied().map(spread), false, [x, x + panel_width]);
        let up = Scale::of(values.iter().copied(), false, [y + PANEL_HEIGHT, y]);
        draw_panel(&mut svg, panel, [x, y, panel_width], (&across, &up), &sparsities, index % columns == 0);
    }
    let bottom = top + rows as f64 * (PANEL_HEIGHT + 34.0);
    let mut caption = "sparsity asked for: share of the prunable weights removed (axis spread towards 1)".to_owned();
    if left_out > 0 {
        write!(caption, "; {} more in the table", number::count(left_out as u64, "panel")).expect("a string takes all");
    }
    svg.text((LEFT + WIDTH - 18.0) / 2.0, bottom + 14.0, Anchor::Middle, "ink", &caption);
    svg.upright(14.0, top + PANEL_HEIGHT / 2.0, &report.title(quantity));
    Some(svg.finish(&format!("{} against sparsity, by strategy", title_of_any_split(quantity))))
}

/// The axis of sparsities: equal steps for equal factors in what is kept.
fn spread(sparsity: f64) -> f64 {
    -(1.0 - sparsity).max(1e-9).ln()
}

fn panels(report: &Report, quantity: &Quantity, labels: &Labels) -> (Vec<Panel>, usize) {
    let summary = |cell: &CellReport| cell.summary(quantity);
    let mut panels: Vec<Panel> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for cell in report.cells.iter().filter(|cell| cell.control_kind != Some(Control::Dense)) {
        let (Some(summary), Some(sparsity)) = (summary(cell), cell.requested_sparsity) else { continue };
        let series = labels.series_of(cell);
        let Some(series) = labels.series.iter().position(|label| *label == series) else { continue };
        if !(0.0..1.0).contains(&sparsity) {
            continue;
        }
        let title = labels.panel_of(cell);
        let place = *places.entry(title.clone()).or_insert_with(|| {
            panels.push(Panel { title, ..Panel::default() });
            panels.len() - 1
        });
        // Sparsities are not negative, so their bits sort as they do.
        panels[place].curves.entry(series).or_default().insert(sparsity.to_bits(), (sparsity, summary));
    }
    let baseline = report.baseline_cell().and_then(summary);
    for panel in &mut panels {
        panel.dense = baseline;
    }
    let left_out = panels.len().saturating_sub(MOST_PANELS);
    panels.truncate(MOST_PANELS);
    (panels, left_out)
}

fn draw_panel(
    svg: &mut Svg,
    panel: &Panel,
    [x, y, panel_width]: [f64; 3],
    (across, up): (&Scale, &Scale),
    sparsities: &[f64],
    first_of_row: bool,
) {
    let bottom = y + PANEL_HEIGHT;
    svg.text(x, y - 8.0, Anchor::Start, "ink strong", &panel.title);
    for (value, text) in up.ticks(6) {
        let at = up.at(value);
        svg.line(&format!("M{x:.1} {at:.1}h{panel_width:.1}"), "grid", GRID, 1.0, "");
        if first_of_row {
            svg.text(x - 8.0, at + 4.0, Anchor::End, "muted", &text);
        }
    }
    let mut free = x - 20.0;
    for sparsity in sparsities {
        let (at, text) = (across.at(spread(*sparsity)), number::sparsity(*sparsity));
        svg.line(&format!("M{at:.1} {bottom:.1}v4"), "axis", MUTED, 1.0, "");
        if at - width(&text) / 2.0 > free {
            svg.text(at, bottom + 17.0, Anchor::Middle, "muted", &text);
            free = at + width(&text) / 2.0 + 2.0;
        }
    }
    svg.line(&format!("M{x:.1} {bottom:.1}h{panel_width:.1}"), "axis", MUTED, 1.0, "");
    if let Some(dense) = panel.dense {
        if let Some([low, high]) = dense.ci95 {
            svg.band([x, up.at(high), panel_width, up.at(low) - up.at(high)], "band", INK, 0.07);
        }
        let at = up.at(dense.mean);
        svg.line(&format!("M{x:.1} {at:.1}h{panel_width:.1}"), "dense", INK, 1.5, "5 3");
    }
    for (series, curve) in &panel.curves {
        let (mut line, mut bars, mut marks) = (String::new(), String::new(), String::new());
        // Curves that meet keep their error bars apart.
        let shift = (*series % 5) as f64 * 2.0 - 4.0;
        for (sparsity, summary) in curve.values() {
            let (at_x, at_y) = (across.at(spread(*sparsity)), up.at(summary.mean));
            let step = if line.is_empty() { 'M' } else { 'L' };
            write!(line, "{step}{at_x:.1} {at_y:.1}").expect("a string takes all");
            if let Some([low, high]) = summary.ci95 {
                write!(bars, "M{:.1} {:.1}V{:.1}", at_x + shift, up.at(low), up.at(high)).expect("a string takes all");
            }
            marks.push_str(&marker(*series, at_x, at_y, 3.8));
        }
        svg.line(&bars, "bars", colour(*series), 1.0, "");
        svg.line(&line, "curve", colour(*series), 1.6, "");
        svg.shape(&marks, "mark", colour(*series), 1.0);
    }
}
