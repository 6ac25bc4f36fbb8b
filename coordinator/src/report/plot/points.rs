//! Lines through points on a square of shares, such as a reliability curve, with the diagonal.

use super::{
    colour, marker,
    scale::Scale,
    svg::{Anchor, GRID, INK, MUTED, Svg, legend},
};

const SIDE: f64 = 340.0;
const LEFT: f64 = 58.0;
const TOP: f64 = 64.0;
const WIDTH: f64 = 560.0;

/// A line with its name.
pub(crate) type Line = (String, Vec<(f64, f64)>);

/// `lines` of points, with names for both axes and the diagonal called `diagonal`. `None` without points.
pub(crate) fn points(title: &str, [across, up]: [&str; 2], diagonal: &str, lines: &[Line]) -> Option<String> {
    let values = || lines.iter().flat_map(|(_, points)| points.iter().flat_map(|(x, y)| [*x, *y]));
    values().next()?;
    let mut svg = Svg::new(WIDTH, TOP + SIDE + 46.0);
    let names: Vec<String> = lines.iter().map(|(name, _)| name.clone()).chain([diagonal.to_owned()]).collect();
    legend(&mut svg, [LEFT, 6.0, WIDTH - LEFT], &names, |svg, index, x, y| {
        if index < lines.len() {
            svg.line(&format!("M{:.1} {y:.1}h18", x - 9.0), "bars", colour(index), 1.5, "");
            svg.shape(&marker(index, x, y, 4.5), "mark", colour(index), 1.0);
        } else {
            svg.line(&format!("M{:.1} {y:.1}h18", x - 9.0), "dense", INK, 1.5, "5 3");
        }
    });
    // One scale for both axes, so that the diagonal is one.
    let scale = |range| Scale::of(values().chain([0.0]), false, range);
    let (x, y) = (scale([LEFT, LEFT + SIDE]), scale([TOP + SIDE, TOP]));
    for (value, text) in x.ticks(5) {
        svg.line(&format!("M{:.1} {TOP:.1}V{:.1}", x.at(value), TOP + SIDE), "grid", GRID, 1.0, "");
        svg.line(&format!("M{LEFT:.1} {:.1}H{:.1}", y.at(value), LEFT + SIDE), "grid", GRID, 1.0, "");
        svg.text(x.at(value), TOP + SIDE + 16.0, Anchor::Middle, "muted", &text);
        svg.text(LEFT - 6.0, y.at(value) + 4.0, Anchor::End, "muted", &text);
    }
    svg.line(&format!("M{LEFT:.1} {TOP:.1}V{:.1}H{:.1}", TOP + SIDE, LEFT + SIDE), "axis", MUTED, 1.0, "");
    svg.line(&format!("M{LEFT:.1} {:.1}L{:.1} {TOP:.1}", TOP + SIDE, LEFT + SIDE), "dense", INK, 1.0, "5 3");
    for (index, (_, points)) in lines.iter().enumerate() {
        let path: Vec<String> = points.iter().map(|(a, b)| format!("{:.1} {:.1}", x.at(*a), y.at(*b))).collect();
        if path.len() > 1 {
            svg.line(&format!("M{}", path.join("L")), "curve", colour(index), 1.5, "");
        }
        for (a, b) in points {
            svg.shape(&marker(index, x.at(*a), y.at(*b), 4.0), "mark", colour(index), 1.0);
        }
    }
    svg.text(LEFT + SIDE / 2.0, TOP + SIDE + 36.0, Anchor::Middle, "ink", across);
    svg.upright(14.0, TOP + SIDE / 2.0, up);
    Some(svg.finish(title))
}
