//! The report as Markdown, with its plots as files beside it.

use std::fmt::Write as _;

use secateur_proto::metrics::Quantity;

use super::{
    content::{Content, Grid, curve_quantities},
    glossary::title_of_any_split,
    measured,
    model::Report,
    plot,
    surface::surface,
};

/// A page and the plots that it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkdownReport {
    /// `report.md`.
    pub text: String,
    /// File names, to be put beside the page, and their SVG.
    pub plots: Vec<(String, String)>,
}

/// Writes `report` as Markdown.
#[must_use]
pub fn markdown(report: &Report) -> MarkdownReport {
    let content = Content::of(report, usize::MAX);
    let mut page = Page::new(&format!("Pruning report: {}", report.sweep.name));
    page.list(&content.findings);
    page.list(&content.cautions);
    page.heading("The front");
    page.line(&format!("Chosen on: {}.", escape(&content.aims.join("; "))));
    page.plot("pareto", "every cell, with the front as a line", plot::pareto(report));
    page.grid(&content.front, "No cell is on the front.");
    if !content.slices.rows.is_empty() {
        page.line("### By group");
        page.grid(&content.slices, "");
    }
    if !content.times.rows.is_empty() {
        page.line("### Speed, measured");
        page.list(&content.machines);
        page.grid(&content.times, "");
        for metric in measured::PLOTTED {
            if let Some(plot) = plot::against(report, metric) {
                page.plot(
                    &format!("pareto-{metric}"),
                    &format!("every measured cell by {}", metric.title()),
                    Some(plot),
                );
            }
        }
        page.line("### Bytes by format");
        page.grid(&content.bytes, "");
    }
    if !content.unread.rows.is_empty() {
        page.line("### Inputs that nets of the front do not read");
        page.grid(&content.unread, "");
    }
    if !content.evidence_notes.is_empty() {
        page.heading("How sure is the front");
        page.list(&content.evidence_notes);
        if !content.front_evidence.rows.is_empty() {
            page.grid(&content.front_evidence, "");
        }
        if !content.importance.rows.is_empty() {
            page.line("### What explains the results");
            page.grid(&content.importance, "");
        }
    }
    if !content.seeds_notes.is_empty() {
        page.heading("Seeds that were added");
        page.list(&content.seeds_notes);
        page.grid(&content.seeds, "No cell needed more seeds.");
    }
    if !content.credit.is_empty() {
        page.heading("Decisions, groups and calibration");
        for part in &content.credit {
            page.line(&format!("### {}", escape(&part.title)));
            page.list(&part.notes);
            if let Some(plot) = &part.plot {
                page.plot(plot.name, &plot.caption, Some(plot.svg.clone()));
            }
            page.grid(&part.grid, "");
        }
    }
    page.heading("Against sparsity");
    for (index, quantity) in curve_quantities(report).iter().enumerate() {
        let name = format!("{} against sparsity", title_of_any_split(quantity));
        page.plot(&file_name("curves", index, quantity), &name, plot::curves(report, quantity));
    }
    if let Some(surface) = surface(report) {
        page.line("### Strength and sparsity");
        page.plot(&file_name("heatmap", 0, &surface.quantity), &surface.title(), Some(plot::heatmap(&surface)));
        page.line(&escape(&surface.caption()));
        let free = surface.free_sparsity();
        if !free.is_empty() {
            page.list(&free);
        }
        page.grid(&surface.grid(), "");
    }
    page.heading("Controls");
    page.grid(&content.controls, "The plan has none.");
    page.heading("All cells");
    page.grid(&content.cells, "The plan has none.");
    page.heading("Merged, refused, not completed");
    page.line("### Merged");
    page.grid(&content.merged, "No point of the grid was the same work as another.");
    page.line("### Refused");
    page.grid(&content.refused, "No point of the grid was refused.");
    page.line("### Not completed");
    page.grid(&content.failed, "Every trial completed.");
    page.heading("The data");
    page.grid(&content.data, "");
    page.list(&content.notes);
    page.grid(&content.facts, "");
    page.heading("How to read this");
    page.list(&content.reading);
    page.grid(&content.definitions, "");
    page.heading("The sweep file");
    page.code(&report.sweep.file_text);
    let (text, plots) = page.finish();
    MarkdownReport { text, plots }
}

/// The name of a plot's file. Names of columns and levels are no part of it: there may be anything in them.
fn file_name(kind: &str, index: usize, quantity: &Quantity) -> String {
    let metric = quantity.metric();
    if quantity.is_whole() { format!("{kind}-{metric}") } else { format!("{kind}-{metric}-{}", index + 1) }
}

/// A page that is being written.
pub(super) struct Page {
    text: String,
    plots: Vec<(String, String)>,
}

impl Page {
    pub(super) fn new(title: &str) -> Self {
        let mut page = Self { text: String::new(), plots: Vec::new() };
        page.line(&format!("# {}", escape(title)));
        page
    }

    /// The page, and its plots by file name.
    pub(super) fn finish(self) -> (String, Vec<(String, String)>) {
        (self.text, self.plots)
    }

    /// A paragraph that is Markdown already.
    pub(super) fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push_str("\n\n");
    }

    pub(super) fn text(&mut self, text: &str) {
        self.line(&escape(text));
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.line(&format!("## {text}"));
    }

    pub(super) fn subheading(&mut self, text: &str) {
        self.line(&format!("### {text}"));
    }

    pub(super) fn list(&mut self, items: &[impl AsRef<str>]) {
        if items.is_empty() {
            return;
        }
        for item in items {
            writeln!(self.text, "- {}", escape(item.as_ref())).expect("a string takes all");
        }
        self.text.push('\n');
    }

    pub(super) fn plot(&mut self, name: &str, caption: &str, svg: Option<String>) {
        match svg {
            Some(svg) => {
                let file = format!("{name}.svg");
                self.line(&format!("![{}]({file})", escape(caption)));
                self.plots.push((file, svg));
            }
            None => self.line("There is nothing to plot yet."),
        }
    }

    pub(super) fn grid(&mut self, grid: &Grid, otherwise: &str) {
        if grid.rows.is_empty() {
            self.line(otherwise);
            return;
        }
        let row = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
        let rule = |(_, is_number): &(String, bool)| if *is_number { "---:" } else { "---" }.to_owned();
        self.text.push_str(&row(&mut grid.columns.iter().map(|(name, _)| escape(name))));
        self.text.push_str(&row(&mut grid.columns.iter().map(rule)));
        for cells in &grid.rows {
            self.text.push_str(&row(&mut cells.iter().map(|cell| escape(cell))));
        }
        self.text.push('\n');
    }

    /// A fence longer than any in the text.
    pub(super) fn code(&mut self, text: &str) {
        let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        self.line(&format!("{fence}yaml\n{}\n{fence}", plot::clean(text).trim_end()));
    }
}

/// `text` without a meaning to Markdown or HTML, on one line.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in plot::clean(text).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\n' | '\r' | '\t' => escaped.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '$' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::{build, example};

    #[test]
    fn the_page_names_each_of_its_plots() {
        let (plan, outcomes) = example::realistic();
        let page = markdown(&build(&plan, &outcomes));
        let names: Vec<&str> = page.plots.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["pareto.svg", "curves-auc.svg", "heatmap-auc.svg"]);
        assert!(names.iter().all(|name| page.text.contains(&format!("]({name})"))));
        insta::assert_snapshot!(page.text);
        assert!(page.plots.iter().all(|(_, svg)| svg.starts_with("<svg") && svg.ends_with("</svg>\n")));
    }

    #[test]
    fn names_are_text_and_tables_keep_their_columns() {
        let (plan, outcomes) = example::hostile();
        let report = build(&plan, &outcomes);
        let page = markdown(&report);
        let (before, _) = page.text.split_once("## The sweep file").expect("a section");
        assert!(!before.contains('<') && !before.replace("\\]", "").contains("](javascript"), "{before}");
        let mut columns = None;
        for line in before.lines() {
            let bars = line.replace("\\\\", "").replace("\\|", "").matches('|').count();
            if line.starts_with('|') {
                assert_eq!(*columns.get_or_insert(bars), bars, "{line}");
            } else {
                columns = None;
            }
        }
    }

    #[test]
    fn nothing_done_is_a_page_all_the_same() {
        let (plan, _) = example::realistic();
        let page = markdown(&build(&plan, &BTreeMap::new()));
        assert!(page.plots.is_empty());
        let (beginning, _) = page.text.split_once("## Controls").expect("a section");
        insta::assert_snapshot!(beginning);
    }
}
