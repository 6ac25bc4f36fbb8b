//! The report as one HTML file that needs nothing else: text, tables and plots are there without scripts; the script of the
//! page makes the plot and the table of cells interactive from the numbers embedded in it.

use std::fmt::Write as _;

use secateur_proto::metrics::{Direction, Quantity, Split};
use serde_json::{Value, json};

use super::{
    content::{Content, Grid, curve_quantities, status},
    credit::Part,
    glossary::title_of_any_split,
    label::{Labels, text as setting_text},
    measured,
    model::{CellReport, Report},
    number, parts,
    plot::{self, clean, escape},
    rows::Total,
    surface::{Surface, surface},
    table::{distinct, setting_keys},
    ties,
};
use crate::experiment::plan::Control;

const TEMPLATE: &str = include_str!("page/template.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/report.js");

/// Rows of the table of cells that are there without scripts.
const STATIC_ROWS: usize = 500;

/// Writes `report` as one HTML file.
#[must_use]
pub fn html(report: &Report) -> String {
    let content = Content::of(report, STATIC_ROWS);
    fill(TEMPLATE, |slot| match slot {
        "style" => STYLE.to_owned(),
        "script" => SCRIPT.to_owned(),
        "numbers" => script_json(&numbers(report)),
        "name" => escape(&report.sweep.name),
        "id" => escape(report.sweep.id.as_str()),
        "counts" => counts(report),
        "findings" => list(&content.findings) + &list(&content.cautions),
        "aims" => escape(&content.aims.join("; ")),
        "pareto" => {
            plot::pareto(report).map_or_else(|| note("There is nothing to plot yet."), |svg| figure(report, &svg))
        }
        "front" => grid(&content.front, "No cell is on the front."),
        "slices" if !content.slices.rows.is_empty() => format!("<h3>By group</h3>{}", grid(&content.slices, "")),
        "measured" => measured(report, &content),
        "unread" if !content.unread.rows.is_empty() => {
            format!("<h3>Inputs that nets of the front do not read</h3>{}", grid(&content.unread, ""))
        }
        "evidence" => evidence(&content),
        "seeds" => seeds(&content),
        "credit" => credit(&content),
        "curves" => curves(report),
        "surface" => surface(report).map_or_else(String::new, |surface| heatmap(&surface)),
        "cells" => grid(&content.cells, "The plan has no cells."),
        "cells_left_out" if content.cells_left_out > 0 => note(&format!(
            "{} more are in trials.csv and report.json, and here when scripts may run.",
            number::count(content.cells_left_out as u64, "cell")
        )),
        "controls" => grid(&content.controls, "The plan has no controls."),
        "merged" => grid(&content.merged, "No point of the grid was the same work as another."),
        "refused" => grid(&content.refused, "No point of the grid was refused."),
        "failed" => grid(&content.failed, "Every trial completed."),
        "data" => grid(&content.data, "") + &list(&content.notes),
        "facts" => grid(&content.facts, ""),
        "reading" => list(&content.reading),
        "definitions" => grid(&content.definitions, ""),
        "file_hash" => report.sweep.file_hash.to_string(),
        "file" => escape(&report.sweep.file_text),
        _ => String::new(),
    })
}

/// `template` with each `{{slot}}` replaced. What is put in is not looked at again, whatever it holds.
pub(super) fn fill(template: &str, content: impl Fn(&str) -> String) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (slot, after) = after.split_once("}}").expect("the template closes its slots");
        page.push_str(before);
        page.push_str(&content(slot));
        rest = after;
    }
    page + rest
}

/// The Pareto plot and its caption.
fn figure(report: &Report, svg: &str) -> String {
    let intervals = plot::axes(report).map(|axes| plot::intervals_caption(report, &axes.y)).unwrap_or_default();
    format!(
        r#"<figure><div id="plot" class="scroll">{svg}</div><figcaption>Each mark is a cell: the mean over its seeds. {intervals} Rings and the line of steps mark the front; pale marks did not compete.</figcaption></figure>"#
    )
}

fn note(text: &str) -> String {
    format!(r#"<p class="note">{}</p>"#, escape(text))
}

pub(super) fn list(items: &[impl AsRef<str>]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escape(item.as_ref()))).collect();
    format!("<ul>\n{items}</ul>")
}

fn counts(report: &Report) -> String {
    let totals = &report.totals;
    let completed = totals.outcomes.get("completed").copied().unwrap_or(0);
    let counts = [
        (number::grouped(totals.cells), "cells"),
        (number::grouped(totals.controls), "controls"),
        (format!("{} / {}", number::grouped(completed), number::grouped(totals.trials)), "trials completed"),
        (number::grouped(totals.front), "on the front"),
        (number::grouped(totals.merged), "merged"),
        (number::grouped(totals.refused), "refused"),
    ];
    counts.iter().map(|(number, name)| format!("<div><dt>{name}</dt><dd>{number}</dd></div>\n")).collect()
}

fn curves(report: &Report) -> String {
    let drawn =
        curve_quantities(report).into_iter().filter_map(|quantity| Some((plot::curves(report, &quantity)?, quantity)));
    let figures: Vec<String> = drawn
        .map(|(svg, quantity)| {
            let name = title_of_any_split(&quantity);
            let caption = escape(&format!("{name} against sparsity, mean and 95 % interval over seeds"));
            format!(r#"<figure><div class="scroll">{svg}</div><figcaption>{caption}</figcaption></figure>"#)
        })
        .collect();
    if figures.is_empty() { note("No pruned cell has a result yet.") } else { figures.concat() }
}

/// How fast measured nets are, how many bytes they take, and quality against both. Empty if none was measured.
fn measured(report: &Report, content: &Content) -> String {
    if content.times.rows.is_empty() {
        return String::new();
    }
    let plots: String = (measured::PLOTTED.into_iter())
        .filter_map(|metric| Some((plot::against(report, metric)?, metric)))
        .map(|(svg, metric)| {
            let caption = format!("Every measured cell by {}", escape(metric.title()));
            format!(r#"<figure><div class="scroll">{svg}</div><figcaption>{caption}</figcaption></figure>"#)
        })
        .collect();
    format!(
        "<h3>Speed, measured</h3>{}{}{plots}<h3>Bytes by format</h3>{}",
        list(&content.machines),
        grid(&content.times, ""),
        grid(&content.bytes, "")
    )
}

/// How sure the front is, and what explains the results.
fn evidence(content: &Content) -> String {
    if content.evidence_notes.is_empty() {
        return note("Nothing is known of that yet.");
    }
    let explained = grid(&content.importance, "");
    let explained =
        if explained.is_empty() { explained } else { format!("<h3>What explains the results</h3>{explained}") };
    list(&content.evidence_notes) + &grid(&content.front_evidence, "") + &explained
}

/// How seeds were added while results came in. Empty of a sweep with a fixed number of seeds.
fn seeds(content: &Content) -> String {
    if content.seeds_notes.is_empty() {
        return String::new();
    }
    let log = grid(&content.seeds, "No cell needed more seeds.");
    format!("<section id=\"seeds\"><h2>Seeds that were added</h2>{}{log}</section>\n\n", list(&content.seeds_notes))
}

/// Decisions, groups and calibration.
fn credit(content: &Content) -> String {
    if content.credit.is_empty() {
        return note("Nothing is known of that: it needs two classes, a baseline and the scores of its rows.");
    }
    let part = |part: &Part| {
        let plot = part.plot.as_ref().map_or_else(String::new, |plot| {
            let caption = escape(&plot.caption);
            format!(
                r#"<figure class="small"><div class="scroll">{}</div><figcaption>{caption}</figcaption></figure>"#,
                plot.svg
            )
        });
        format!("<h3>{}</h3>{}{plot}{}", escape(&part.title), list(&part.notes), grid(&part.grid, ""))
    };
    content.credit.iter().map(part).collect()
}

/// The heat maps, what they say, and their numbers.
fn heatmap(surface: &Surface<'_>) -> String {
    let svg = plot::heatmap(surface);
    let caption = escape(&surface.caption());
    let free = surface.free_sparsity();
    let free = if free.is_empty() { String::new() } else { list(&free) };
    let table = grid(&surface.grid(), "");
    format!(
        r#"<h3>Strength and sparsity</h3><figure><div class="scroll">{svg}</div><figcaption>{caption}</figcaption></figure>{free}<details><summary>The numbers of the heat map</summary>{table}</details>"#
    )
}

pub(super) fn grid(grid: &Grid, otherwise: &str) -> String {
    if grid.rows.is_empty() {
        return if otherwise.is_empty() { String::new() } else { note(otherwise) };
    }
    let class = |is_number: bool| if is_number { r#" class="number""# } else { "" };
    let mut table = String::from(r#"<div class="scroll"><table>"#);
    if grid.columns.iter().any(|(name, _)| !name.is_empty()) {
        table.push_str("<thead><tr>");
        for (name, is_number) in &grid.columns {
            write!(table, r#"<th scope="col"{}>{}</th>"#, class(*is_number), escape(name)).expect("a string takes all");
        }
        table.push_str("</tr></thead>");
    }
    table.push_str("<tbody>\n");
    for row in &grid.rows {
        table.push_str("<tr>");
        for (cell, (name, is_number)) in row.iter().zip(&grid.columns) {
            let class = match name.as_str() {
                "id" => r#" class="id""#,
                "status" | "because" => r#" class="long""#,
                _ => class(*is_number),
            };
            let content = match cell.split_once(" [").filter(|_| *is_number) {
                Some((mean, interval)) => format!("{} <small>[{}</small>", escape(mean), escape(interval)),
                None if name == "cell" => parts(cell),
                None => escape(cell),
            };
            write!(table, "<td{class}>{content}</td>").expect("a string takes all");
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</tbody></table></div>");
    table
}

/// A cell's name, which breaks between its parts and not inside `1e-5`.
fn parts(name: &str) -> String {
    let part = |part: &str| match part.chars().count() {
        0..=32 => format!(r#"<span class="part">{}</span>"#, escape(part)),
        _ => escape(part),
    };
    name.split(" · ").map(part).collect::<Vec<_>>().join(" · ")
}

/// JSON that no parser of HTML takes for markup.
fn script_json(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// What the page's script works on. Numbers are cut to seven digits: `report.json` has them all.
fn numbers(report: &Report) -> Value {
    let labels = Labels::of(report);
    let places = places(report);
    let parts = (!report.parts.is_empty()).then(|| parts::of_cells(report));
    let part = |cell: &CellReport| parts.as_ref().and_then(|parts| parts.get(&cell.id));
    let shared = ties::shared_points(report);
    let varying: Vec<&str> = setting_keys(&report.cells)
        .into_iter()
        .filter(|key| {
            let mut values = report.cells.iter().map(|cell| cell.settings.get(*key));
            let first = values.next();
            values.any(|value| Some(value) != first)
        })
        .collect();
    let place = |quantity: &Quantity| {
        let (family, split) = (family(quantity), quantity.split().map(Split::name));
        json!({
            "key": split.map_or_else(|| family.clone(), |split| format!("{family}/{split}")),
            "metric": family,
            "split": split,
            "title": clean(&report.title(quantity)),
            "short": clean(&title_of_any_split(quantity)),
            "net": split.is_none(),
            "decimals": quantity.metric().decimals(),
            "maximize": direction(report, quantity) == Direction::Maximize,
        })
    };
    let axes = plot::axes(report).map(|axes| json!({"x": family(&axes.x), "y": family(&axes.y)}));
    let objectives: Vec<String> = report.objectives.iter().map(|objective| family(&objective.quantity)).collect();
    json!({
        "axes": axes,
        "baseline": report.baseline.as_ref().map(|baseline| baseline.cell.as_str()),
        "objectives": objectives,
        "colours": plot::COLOURS,
        "series": labels.series.iter().map(|label| clean(label)).collect::<Vec<_>>(),
        "settings": varying.iter().map(|key| clean(key)).collect::<Vec<_>>(),
        "places": places.iter().map(place).collect::<Vec<_>>(),
        "cells": report.cells.iter().map(|cell| cell_numbers(cell, part(cell), shared.get(&cell.id), &labels, &places, &varying)).collect::<Vec<_>>(),
    })
}

/// What the page can show: everything over whole splits and of the net, and what the front is chosen by.
fn places(report: &Report) -> Vec<Quantity> {
    let whole = report.cells.iter().flat_map(|cell| cell.metrics.iter().map(|(quantity, _)| quantity));
    let mut places: Vec<Quantity> = distinct(whole).into_iter().cloned().collect();
    let goals = distinct(report.goals().filter(|quantity| !quantity.is_whole()));
    places.extend(goals.into_iter().flat_map(|quantity| Split::ALL.map(|split| quantity.with_split(split))));
    places.sort();
    places.dedup();
    places
}

/// A quantity without its split: `auc`, `auc[region=north]`. The page has a choice of splits beside it.
fn family(quantity: &Quantity) -> String {
    let text = quantity.to_string();
    quantity.split().map_or_else(|| text.clone(), |split| text.replacen(&format!("@{split}"), "", 1))
}

fn direction(report: &Report, quantity: &Quantity) -> Direction {
    let on = |quantity: &Quantity| quantity.with_split(Split::Validation);
    let objective = report.objectives.iter().find(|objective| on(&objective.quantity) == on(quantity));
    objective.map_or(quantity.better(), |objective| objective.direction)
}

fn cell_numbers(
    cell: &CellReport,
    part: Option<&String>,
    shared_point: Option<&usize>,
    labels: &Labels,
    places: &[Quantity],
    varying: &[&str],
) -> Value {
    // The last number says whether the interval is of seeds and rows.
    let summary = |total: Option<Total>| match total {
        None => json!(0),
        Some(Total { mean, ci95: None, n, .. }) => json!([short(mean), n]),
        Some(Total { mean, ci95: Some([low, high]), n, se_rows: None, .. }) => {
            json!([short(mean), n, short(low), short(high)])
        }
        Some(Total { mean, ci95: Some([low, high]), n, .. }) => json!([short(mean), n, short(low), short(high), 1]),
    };
    let series = labels.series_of(cell);
    json!({
        "id": cell.id.as_str(),
        "name": clean(&labels.cell(cell)),
        // Nothing stands for the dense control.
        "series": labels.series.iter().position(|label| *label == series),
        "dense": cell.control_kind == Some(Control::Dense),
        "control": cell.control,
        "front": cell.on_front,
        // Of equal cells on the front, which are drawn as one mark with their number.
        "point": shared_point,
        "eligible": cell.eligible,
        // The page lists no parts; it shows the status wherever it shows a cell.
        "status": clean(&part.map_or_else(|| status(cell), |part| format!("{}; part {part}", status(cell)))),
        "sparsity": cell.requested_sparsity,
        "settings": varying.iter().map(|key| cell.settings.get(*key).map(|value| clean(&setting_text(value)))).collect::<Vec<_>>(),
        "values": places.iter().map(|place| summary(cell.total(place))).collect::<Vec<_>>(),
        "differences": places.iter().map(|place| summary(cell.total_difference(place))).collect::<Vec<_>>(),
    })
}

fn short(value: f64) -> Value {
    let value = format!("{value:.6e}").parse().unwrap_or(value);
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use secateur_proto::metrics::Metric;

    use super::*;
    use crate::report::{build, example};

    /// The texts between `before` and `after`.
    fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
        text.split_once(before).and_then(|(_, rest)| rest.split_once(after)).expect("both marks").0
    }

    fn embedded(page: &str) -> Value {
        let text = between(page, r#"<script type="application/json" id="numbers">"#, "</script>");
        serde_json::from_str(text).expect("json")
    }

    #[test]
    fn the_page_needs_nothing_from_outside() {
        let (plan, outcomes) = example::realistic();
        let page = html(&build(&plan, &outcomes));
        let svg_namespace = "http://www.w3.org/2000/svg";
        let page = page.replace(svg_namespace, "");
        for outside in ["http:", "https:", "src=", "@import", "url(", "fetch(", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(!page.contains("{{") && page.trim_end().ends_with("</html>"));
    }

    #[test]
    fn hostile_names_are_text_everywhere() {
        let (plan, outcomes) = example::hostile();
        let report = build(&plan, &outcomes);
        let page = html(&report);
        let (harmless, _) = example::realistic();
        let harmless = html(&build(&harmless, &BTreeMap::new()));
        for tag in ["<script", "</script", "<img", "<b>", "<!--", "]]>"] {
            assert_eq!(page.matches(tag).count(), harmless.matches(tag).count(), "{tag}");
        }
        assert!(!page.contains(['\u{0}', '\u{7}', '\u{202e}']));
        let found = embedded(&page);
        assert_eq!(found["cells"][1]["settings"].as_array().map(Vec::len), found["settings"].as_array().map(Vec::len));
        assert!(found["series"].as_array().expect("a list").iter().any(|name| name == "</script><b> · </script><b>"));
    }

    #[test]
    fn slots_in_what_is_put_in_stay_as_they_are() {
        assert_eq!(fill("a {{x}} b", |_| "{{y}}".to_owned()), "a {{y}} b");
    }

    #[test]
    fn the_embedded_numbers_are_those_of_the_report() {
        let (plan, outcomes) = example::realistic();
        let report = build(&plan, &outcomes);
        let found = embedded(&html(&report));
        let places = found["places"].as_array().expect("a list");
        let place = places.iter().position(|place| place["key"] == "auc/test").expect("measured");
        for (cell, numbers) in report.cells.iter().zip(found["cells"].as_array().expect("a list")) {
            let summary = cell.summary(&Metric::Auc.on(Split::Test)).expect("measured");
            let mean = numbers["values"][place][0].as_f64().expect("a number");
            assert!((mean - summary.mean).abs() < 1e-6);
            assert_eq!(numbers["front"], cell.on_front);
        }
    }

    #[test]
    fn the_page_is_whole_when_there_is_little_to_say() {
        let (plan, _) = example::realistic();
        let page = html(&build(&plan, &BTreeMap::new()));
        assert!(page.contains("There is nothing to plot yet"));
        assert_eq!(embedded(&page)["axes"], Value::Null);
    }
}
