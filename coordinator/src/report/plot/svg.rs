//! Just enough SVG: shapes with a class for pages and plain attributes for files.

use std::fmt::Write as _;

/// Ink of axes and text, its lighter kind, and grid lines.
pub(super) const INK: &str = "#1f2328";
pub(super) const MUTED: &str = "#59636e";
pub(super) const GRID: &str = "#e4e7eb";

/// `text` without what no document may hold or a reader could be misled by: control characters and changes of direction.
pub(crate) fn clean(text: &str) -> String {
    let bad = |c: char| {
        (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if bad(c) { '\u{fffd}' } else { c }).collect()
}

/// `text` as the content of an element or of a quoted attribute, in HTML and in XML.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Which end of a text its position is.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing in the making.
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    fn add(&mut self, arguments: std::fmt::Arguments<'_>) {
        self.body.write_fmt(arguments).expect("a string takes all");
        self.body.push('\n');
    }

    /// A line of text of 12 pixels.
    pub(super) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let fill = if class.contains("muted") { MUTED } else { INK };
        let weight = if class.contains("strong") { r#" font-weight="600""# } else { "" };
        let text = escape(text);
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}" fill="{fill}"{weight}>{text}</text>"#
        ));
    }

    /// A line of text on a ground of its own, whose colour does not change with the page's.
    pub(super) fn text_on_colour(&mut self, x: f64, y: f64, fill: &str, text: &str) {
        let text = escape(text);
        self.add(format_args!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle" fill="{fill}">{text}</text>"#));
    }

    /// The title of a vertical axis, read from below.
    pub(super) fn upright(&mut self, x: f64, y: f64, text: &str) {
        let text = escape(text);
        self.add(format_args!(
            r#"<text transform="translate({x:.1} {y:.1}) rotate(-90)" text-anchor="middle" class="ink" fill="{INK}">{text}</text>"#
        ));
    }

    /// A line along a path.
    pub(super) fn line(&mut self, path: &str, class: &str, colour: &str, width: f64, dashes: &str) {
        if !path.is_empty() {
            let dashes = if dashes.is_empty() { String::new() } else { format!(r#" stroke-dasharray="{dashes}""#) };
            self.add(format_args!(
                r#"<path d="{path}" class="{class}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>"#
            ));
        }
    }

    /// A filled shape with an outline of paper, so that shapes that touch stay apart; without one where there are `many`.
    pub(super) fn shape(&mut self, path: &str, class: &str, colour: &str, opacity: f64) {
        if !path.is_empty() {
            let outline = if class.contains("many") { "none" } else { "#ffffff" };
            self.add(format_args!(
                r#"<path d="{path}" class="{class}" fill="{colour}" fill-opacity="{opacity}" stroke="{outline}"/>"#
            ));
        }
    }

    /// An outline filled with paper.
    pub(super) fn hollow(&mut self, path: &str, colour: &str) {
        if !path.is_empty() {
            self.add(format_args!(
                r##"<path d="{path}" class="hollow" fill="#ffffff" stroke="{colour}" stroke-width="1.5"/>"##
            ));
        }
    }

    /// A rectangle without outline.
    pub(super) fn band(&mut self, [x, y, width, height]: [f64; 4], class: &str, colour: &str, opacity: f64) {
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" class="{class}" fill="{colour}" fill-opacity="{opacity}"/>"#
        ));
    }

    /// The document. `title` is for those who do not see it.
    pub(super) fn finish(self, title: &str) -> String {
        let Self { width, height, body } = self;
        let title = escape(title);
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif" font-size="12">
<title>{title}</title>
<rect class="paper" width="{width}" height="{height}" fill="#ffffff"/>
{body}</svg>
"##
        )
    }
}

/// About how wide `text` is at 12 pixels.
pub(super) fn width(text: &str) -> f64 {
    text.chars().count() as f64 * 6.5
}

/// `text`, cut so that it takes about so much `room` at 12 pixels.
pub(super) fn shortened(text: &str, room: f64) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let kept = (room / width("…") - 1.0).max(0.0) as usize;
    text.chars().take(kept).chain(['…']).collect()
}

/// A legend in rows from (x, y) on, no wider than `room`; `draw` gets the index and the centre of each key. Returns its height.
pub(super) fn legend(
    svg: &mut Svg,
    [x, y, room]: [f64; 3],
    labels: &[String],
    mut draw: impl FnMut(&mut Svg, usize, f64, f64),
) -> f64 {
    let (mut at, mut row) = (x, 0.0);
    for (index, label) in labels.iter().enumerate() {
        let short: String =
            if label.chars().count() > 48 { label.chars().take(47).chain(['…']).collect() } else { label.clone() };
        let needed = 26.0 + width(&short) + 12.0;
        if at > x && at + needed > x + room {
            (at, row) = (x, row + 20.0);
        }
        draw(svg, index, at + 9.0, y + row + 8.0);
        svg.text(at + 22.0, y + row + 12.0, Anchor::Start, "ink", &short);
        at += needed;
    }
    row + 20.0
}
