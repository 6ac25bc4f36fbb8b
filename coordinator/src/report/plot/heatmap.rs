//! Heat maps of a [`Surface`]: a panel for each series and combination of the other settings, strengths down, sparsities across.

use std::fmt::Write as _;

use secateur_proto::metrics::Direction;

use super::svg::{Anchor, INK, MUTED, Svg, shortened, width};
use crate::report::{
    number,
    surface::{Panel, Slot, Surface},
};

/// The smallest width of a drawing; more columns make it wider.
const WIDTH: f64 = 880.0;
const MARGIN: f64 = 18.0;
const GAP: f64 = 28.0;
const CELL_HEIGHT: f64 = 30.0;
/// Above a panel for its title, below it for its axis.
const ABOVE: f64 = 26.0;
const BELOW: f64 = 30.0;
const LEGEND_TOP: f64 = 46.0;
const LEGEND_BAR: f64 = 220.0;

/// Cividis (Nuñez, Anderton & Renslow 2018), equally spaced: its lightness rises steadily, and colour-blind readers see it alike.
const CIVIDIS: [[u8; 3]; 10] = [
    [0x00, 0x22, 0x4e],
    [0x12, 0x35, 0x70],
    [0x3b, 0x49, 0x6c],
    [0x57, 0x5d, 0x6d],
    [0x70, 0x71, 0x73],
    [0x8a, 0x86, 0x78],
    [0xa5, 0x9c, 0x74],
    [0xc3, 0xb3, 0x69],
    [0xe1, 0xcc, 0x55],
    [0xfe, 0xe8, 0x38],
];

/// The worst and the best of what is shown, onto 0 and 1.
struct Shades {
    worst: f64,
    best: f64,
}

impl Shades {
    fn of(surface: &Surface<'_>) -> Option<Self> {
        let values = surface.panels.iter().flat_map(|panel| panel.slots.iter().filter_map(|slot| slot.value));
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        (low <= high).then_some(match surface.direction {
            Direction::Maximize => Self { worst: low, best: high },
            Direction::Minimize => Self { worst: high, best: low },
        })
    }

    /// Halves, so that not even the largest numbers are too far apart. One value alone is in the middle.
    fn share(&self, value: f64) -> f64 {
        let share = (value / 2.0 - self.worst / 2.0) / (self.best / 2.0 - self.worst / 2.0);
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 }
    }
}

fn shade(share: f64) -> [u8; 3] {
    let at = share * (CIVIDIS.len() - 1) as f64;
    let below = (at as usize).min(CIVIDIS.len() - 2);
    let part = at - below as f64;
    let (from, to) = (CIVIDIS[below], CIVIDIS[below + 1]);
    std::array::from_fn(|channel| {
        (f64::from(from[channel]) * (1.0 - part) + f64::from(to[channel]) * part).round() as u8
    })
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Relative luminance of sRGB (WCAG 2.2).
fn luminance(colour: [u8; 3]) -> f64 {
    let linear = colour.map(|channel| {
        let channel = f64::from(channel) / 255.0;
        if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

/// Black or white, whichever stands out more from `ground`.
fn ink_on(ground: [u8; 3]) -> &'static str {
    let ground = luminance(ground) + 0.05;
    if ground / 0.05 >= 1.05 / ground { "#000000" } else { "#ffffff" }
}

/// Where everything goes.
struct Layout {
    /// Of the texts of rows.
    label: f64,
    cell: f64,
    panel: f64,
    columns: usize,
    width: f64,
    /// Height of each row of panels.
    rows: Vec<f64>,
}

impl Layout {
    fn of(surface: &Surface<'_>, texts: &[Vec<String>]) -> Self {
        let widest = |texts: &mut dyn Iterator<Item = f64>| texts.fold(0.0, f64::max);
        let panels = || surface.panels.iter();
        let numbers = texts.iter().flatten().map(|text| width(text));
        let sparsities = panels().flat_map(|panel| &panel.sparsities).map(|value| width(&number::sparsity(*value)));
        let cell = widest(&mut numbers.chain(sparsities).chain([44.0])) + 12.0;
        let strengths = panels().flat_map(|panel| &panel.strengths).map(|value| width(&number::shortest(*value)));
        let label = widest(&mut strengths.chain([width("λ")])) + 10.0;
        let longest = panels().map(|panel| panel.sparsities.len()).max().unwrap_or(0);
        let title = widest(&mut panels().map(|panel| width(&panel.title) * 1.1));
        let room = WIDTH - 2.0 * MARGIN;
        let panel = (label + longest as f64 * cell).max(title.min(room / 2.0 - GAP));
        let columns = (((room + GAP) / (panel + GAP)) as usize).clamp(1, surface.panels.len());
        let height = |panels: &[Panel<'_>]| {
            let strengths = panels.iter().map(|panel| panel.strengths.len()).max().unwrap_or(0);
            ABOVE + strengths as f64 * CELL_HEIGHT + BELOW
        };
        Self {
            label,
            cell,
            panel,
            columns,
            width: WIDTH.max(panel + 2.0 * MARGIN),
            rows: surface.panels.chunks(columns).map(height).collect(),
        }
    }
}

/// Draws `surface`. The brighter a place, the better.
pub(crate) fn heatmap(surface: &Surface<'_>) -> String {
    let shades = Shades::of(surface);
    let text = |slot: &Slot<'_>| match slot.value {
        Some(value) if slot.note.is_empty() => surface.text(value),
        Some(value) => format!("{}*", surface.text(value)),
        None => slot.note.clone(),
    };
    let texts: Vec<Vec<String>> = surface.panels.iter().map(|panel| panel.slots.iter().map(text).collect()).collect();
    let layout = Layout::of(surface, &texts);
    let top = LEGEND_TOP + 44.0;
    let height = top + layout.rows.iter().sum::<f64>() + 26.0;
    let mut svg = Svg::new(layout.width, height);
    let title = shortened(&surface.title(), (layout.width - 2.0 * MARGIN) / 1.1);
    svg.text(MARGIN, 18.0, Anchor::Start, "ink strong", &title);
    draw_legend(&mut svg, surface, shades.as_ref());
    let mut y = top;
    let rows = surface.panels.chunks(layout.columns).zip(texts.chunks(layout.columns));
    for ((panels, texts), height) in rows.zip(&layout.rows) {
        for (index, (panel, texts)) in panels.iter().zip(texts).enumerate() {
            let x = MARGIN + index as f64 * (layout.panel + GAP);
            draw_panel(&mut svg, panel, texts, [x, y], &layout, shades.as_ref());
        }
        y += height;
    }
    let axes = "down: strength λ of the penalty; across: sparsity asked for";
    svg.text(MARGIN, height - 12.0, Anchor::Start, "ink", axes);
    svg.finish(&surface.title())
}

fn draw_legend(svg: &mut Svg, surface: &Surface<'_>, shades: Option<&Shades>) {
    let Some(shades) = shades else { return };
    let (worst, best) =
        (format!("worse  {}", surface.text(shades.worst)), format!("{}  better", surface.text(shades.best)));
    let x = MARGIN + width(&worst) + 8.0;
    svg.text(x - 8.0, LEGEND_TOP + 12.0, Anchor::End, "ink", &worst);
    let steps = 55;
    for step in 0..steps {
        let share = f64::from(step) / f64::from(steps - 1);
        let wide = LEGEND_BAR / f64::from(steps);
        // A little wider than a step, so that no seam shows.
        let overlap = if step + 1 < steps { 0.5 } else { 0.0 };
        svg.band([x + f64::from(step) * wide, LEGEND_TOP, wide + overlap, 16.0], "", &hex(shade(share)), 1.0);
    }
    svg.text(x + LEGEND_BAR + 8.0, LEGEND_TOP + 12.0, Anchor::Start, "ink", &best);
    let (low, high) = (shades.worst.min(shades.best), shades.worst.max(shades.best));
    if surface.is_relative && low < 0.0 && high > 0.0 {
        let at = x + shades.share(0.0) * LEGEND_BAR;
        svg.line(&format!("M{at:.1} {:.1}v24", LEGEND_TOP - 4.0), "dense", INK, 1.5, "");
        svg.text(at, LEGEND_TOP - 7.0, Anchor::Middle, "muted", "baseline");
    }
    if surface.panels.iter().any(|panel| panel.slots.iter().any(|slot| slot.value.is_none())) {
        let x = x + LEGEND_BAR + width(&best) + 40.0;
        svg.line(&hatching([x, LEGEND_TOP, 24.0, 16.0]), "axis", MUTED, 0.75, "");
        svg.text(x + 32.0, LEGEND_TOP + 12.0, Anchor::Start, "ink", "no value");
    }
}

fn draw_panel(
    svg: &mut Svg,
    panel: &Panel<'_>,
    texts: &[String],
    [x, y]: [f64; 2],
    layout: &Layout,
    shades: Option<&Shades>,
) {
    let (left, top) = (x + layout.label, y + ABOVE);
    svg.text(x, y + 12.0, Anchor::Start, "ink strong", &shortened(&panel.title, layout.panel / 1.1));
    let columns = panel.sparsities.len();
    let bottom = top + panel.strengths.len() as f64 * CELL_HEIGHT;
    for (row, strength) in panel.strengths.iter().enumerate() {
        let middle = top + (row as f64 + 0.5) * CELL_HEIGHT;
        svg.text(left - 8.0, middle + 4.0, Anchor::End, "muted", &number::shortest(*strength));
    }
    for (column, sparsity) in panel.sparsities.iter().enumerate() {
        let middle = left + (column as f64 + 0.5) * layout.cell;
        svg.text(middle, bottom + 16.0, Anchor::Middle, "muted", &number::sparsity(*sparsity));
    }
    svg.text(left - 8.0, bottom + 16.0, Anchor::End, "muted", "λ");
    let mut hatched = String::new();
    let mut reasons = Vec::new();
    for (index, (slot, text)) in panel.slots.iter().zip(texts).enumerate() {
        let at = [left + (index % columns) as f64 * layout.cell, top + (index / columns) as f64 * CELL_HEIGHT];
        // One pixel of paper keeps places apart.
        let inside = [at[0] + 0.5, at[1] + 0.5, layout.cell - 1.0, CELL_HEIGHT - 1.0];
        let middle = [at[0] + layout.cell / 2.0, at[1] + CELL_HEIGHT / 2.0 + 4.0];
        match (slot.value, shades) {
            (Some(value), Some(shades)) => {
                let colour = shade(shades.share(value));
                svg.band(inside, "", &hex(colour), 1.0);
                svg.text_on_colour(middle[0], middle[1], ink_on(colour), text);
            }
            _ => {
                hatched.push_str(&hatching(inside));
                reasons.push((middle, text));
            }
        }
    }
    svg.line(&hatched, "axis", MUTED, 0.75, "");
    for ([x, y], text) in reasons {
        let wide = width(text) + 4.0;
        svg.band([x - wide / 2.0, y - 13.0, wide, 18.0], "paper", "#ffffff", 1.0);
        svg.text(x, y, Anchor::Middle, "muted", text);
    }
}

/// Diagonals of a rectangle and its outline. No pattern: those have names, which two drawings on one page could share.
fn hatching([x, y, wide, high]: [f64; 4]) -> String {
    let mut path = format!("M{x:.1} {y:.1}h{wide:.1}v{high:.1}h{:.1}Z", -wide);
    let mut along = 7.0;
    while along < wide + high {
        let [right, down] = [(along - high).max(0.0), along.min(high)];
        let [to_right, to_down] = [along.min(wide), (along - wide).max(0.0)];
        write!(path, "M{:.1} {:.1}L{:.1} {:.1}", x + right, y + down, x + to_right, y + to_down)
            .expect("a string takes all");
        along += 7.0;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_run_from_the_worst_to_the_best() {
        let (high, low) = (Shades { worst: 0.7, best: 0.8 }, Shades { worst: 0.3, best: 0.1 });
        assert_eq!([0.7, 0.75, 0.8].map(|value| (high.share(value) * 100.0).round()), [0.0, 50.0, 100.0]);
        assert_eq!([0.3, 0.2, 0.1].map(|value| (low.share(value) * 100.0).round()), [0.0, 50.0, 100.0]);
        assert_eq!(hex(shade(0.0)), "#00224e");
        assert_eq!(hex(shade(1.0)), "#fee838");
        // Halfway between the fifth and the sixth colour.
        assert_eq!(hex(shade(0.5)), "#7d7c76");
        let all = Shades { worst: -f64::MAX, best: f64::MAX };
        assert!((all.share(0.0) - 0.5).abs() < 1e-12);
        assert_eq!(Shades { worst: 0.7, best: 0.7 }.share(0.7).to_bits(), 0.5_f64.to_bits());
    }

    #[test]
    fn lightness_rises_and_numbers_can_be_read_on_every_shade() {
        let shades: Vec<f64> = (0..=100).map(|step| luminance(shade(f64::from(step) / 100.0))).collect();
        assert!(shades.is_sorted(), "{shades:?}");
        for step in 0..=100 {
            let colour = shade(f64::from(step) / 100.0);
            let ground = luminance(colour) + 0.05;
            let contrast = if ink_on(colour) == "#000000" { ground / 0.05 } else { 1.05 / ground };
            // What WCAG 2.2 asks of text (1.4.3).
            assert!(contrast >= 4.5, "{step}: {contrast}");
        }
    }

    #[test]
    fn hatching_stays_inside() {
        for [wide, high] in [[60.0, 30.0], [5.0, 30.0], [24.0, 16.0]] {
            let path = hatching([100.0, 200.0, wide, high]);
            for segment in path.split('M').skip(2) {
                for point in segment.split('L') {
                    let (x, y) = point.split_once(' ').expect("two numbers");
                    let [x, y]: [f64; 2] = [x, y].map(|text| text.parse().expect("a number"));
                    assert!((100.0..=100.0 + wide).contains(&x) && (200.0..=200.0 + high).contains(&y), "{segment}");
                }
            }
        }
    }
}
