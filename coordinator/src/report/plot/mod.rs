//! Plots as SVG. Colours are the Okabe–Ito palette, which colour-blind readers can tell apart; every series has a marker of
//! its own too, for print in grey. Classes let a page restyle what a file of its own shows dark on white.

mod curves;
mod heatmap;
mod pareto;
mod points;
mod scale;
mod svg;

pub(super) use curves::curves;
pub(super) use heatmap::heatmap;
pub(super) use pareto::{Axes, against, axes, intervals_caption, pareto};
pub(super) use points::points;
pub(super) use svg::{clean, escape};

/// Okabe & Ito 2008 without black, which is the dense control's, and without yellow, which is lost on white.
pub(super) const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// The colour of the series of this index.
fn colour(series: usize) -> &'static str {
    COLOURS[series % COLOURS.len()]
}

/// The outline of the marker of the series of this index, centred at (x, y), about 2 · r across.
fn marker(series: usize, x: f64, y: f64, r: f64) -> String {
    let polygon = |points: &[(f64, f64)]| {
        let corners: Vec<String> =
            points.iter().map(|(dx, dy)| format!("{:.1} {:.1}", x + dx * r, y + dy * r)).collect();
        format!("M{}Z", corners.join("L"))
    };
    match series % 7 {
        0 => {
            format!("M{:.1} {y:.1}a{r:.1} {r:.1} 0 1 0 {:.1} 0a{r:.1} {r:.1} 0 1 0 {:.1} 0Z", x - r, 2.0 * r, -2.0 * r)
        }
        1 => polygon(&[(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]),
        2 => polygon(&[(0.0, -1.15), (1.05, 0.8), (-1.05, 0.8)]),
        3 => polygon(&[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)]),
        4 => polygon(&[(0.0, 1.15), (1.05, -0.8), (-1.05, -0.8)]),
        5 => polygon(&[
            (-0.4, -1.1),
            (0.4, -1.1),
            (0.4, -0.4),
            (1.1, -0.4),
            (1.1, 0.4),
            (0.4, 0.4),
            (0.4, 1.1),
            (-0.4, 1.1),
            (-0.4, 0.4),
            (-1.1, 0.4),
            (-1.1, -0.4),
            (-0.4, -0.4),
        ]),
        _ => polygon(&[(-0.6, -1.04), (0.6, -1.04), (1.2, 0.0), (0.6, 1.04), (-0.6, 1.04), (-1.2, 0.0)]),
    }
}
