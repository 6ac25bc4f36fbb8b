//! A difference of two sweeps as text for people.

use std::{collections::BTreeSet, fmt::Write as _};

use secateur_proto::{
    ids::CellId,
    metrics::{Quantity, Split},
};
use serde_json::Value;

use super::{
    super::output::{counted, table, thousands},
    Difference, Kind, Side,
};
use crate::{
    experiment::difference::Counts,
    report::difference::{Cause, Conclusions, Facts, FrontChange, NamedCell, ResultDifference, shown_quantities},
};

/// Cells that are listed one by one; the rest is counted.
const SHOWN: usize = 10;

/// What a value is where there is none.
const NONE: &str = "–";

/// The whole difference.
pub(super) fn text(difference: &Difference, before: &Side, after: &Side) -> String {
    let mut text = format!("{}\n{}\n", title("a", before), title("b", after));
    if difference.is_none() {
        text.push_str(match (before.completed(), after.completed()) {
            (0, _) | (_, 0) => "\nThe sweeps do not differ.\n",
            _ => "\nThe sweeps do not differ, and neither do their results.\n",
        });
        return text;
    }
    section(&mut text, "settings", &settings(difference));
    section(&mut text, "work", &work(difference, before, after));
    section(&mut text, "results", &results(difference, before, after));
    if let Some(conclusions) = &difference.conclusions {
        section(&mut text, "conclusions", &self::conclusions(conclusions));
    }
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    write!(text, "\n{title}\n").expect("a string takes all");
    for line in body.trim_end().lines() {
        writeln!(text, "  {}", line.trim_end()).expect("a string takes all");
    }
}

fn title(letter: &str, side: &Side) -> String {
    let (name, id, source) = (&side.plan.sweep.name, &side.plan.sweep.id, &side.source);
    let trials = counted(side.report.totals.trials, "trial");
    match side.kind {
        Kind::File => format!("{letter}  {name} ({id}), {trials}: file {source}"),
        Kind::Folder => format!("{letter}  {name} ({id}), {trials}, {} completed: folder {source}", done(side)),
        Kind::Sweep => format!("{letter}  {name} ({id}), {trials}, {} completed: on the coordinator", done(side)),
    }
}

fn done(side: &Side) -> String {
    thousands(side.completed())
}

fn settings(difference: &Difference) -> String {
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| NONE.to_owned(), plain);
    let keys =
        difference.settings.iter().map(|found| vec![found.path.clone(), value(&found.before), value(&found.after)]);
    let hash = |hash: &Option<_>| hash.as_ref().map_or_else(|| NONE.to_owned(), |hash: &_| short(hash));
    let inputs = difference.inputs.iter();
    let inputs =
        inputs.map(|found| vec![format!("content of {}", found.input), hash(&found.before), hash(&found.after)]);
    let rows: Vec<Vec<String>> = keys.chain(inputs).collect();
    if rows.is_empty() { "no difference".to_owned() } else { table(&["key", "a", "b"], 3, rows) }
}

fn short(hash: &secateur_proto::ids::ContentHash) -> String {
    hash.short(12)
}

/// A value as a sweep file has it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => format!("[{}]", values.iter().map(plain).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {}", plain(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

fn work(difference: &Difference, before: &Side, after: &Side) -> String {
    let work = &difference.work;
    let row = |name: &str, counts: Counts| {
        let numbers = [counts.only_before, counts.shared, counts.only_after].map(thousands);
        [name.to_owned()].into_iter().chain(numbers).collect::<Vec<_>>()
    };
    let rows = [
        row("cells", work.cells),
        row("trials", work.trials),
        row("stages", work.stages),
        row("optimiser steps", work.lane_steps),
    ];
    let mut text = table(&["", "only in a", "in both", "only in b"], 1, rows);
    text.push('\n');
    match &difference.extension.reason {
        _ if work.is_same() => text.push_str("b computes what a computes\n"),
        None if difference.extension.new_trials == 0 => text.push_str("b extends a: there is nothing new to compute\n"),
        None => {
            let trials = counted(difference.extension.new_trials, "new trial");
            writeln!(text, "b extends a: `secateur extend` computes {trials}").expect("a string takes all");
        }
        Some(reason) => writeln!(text, "b does not extend a: {reason}").expect("a string takes all"),
    }
    let changed: Vec<CellId> =
        work.pairs.iter().filter(|pair| !pair.is_same_work).map(|pair| pair.after.clone()).collect();
    listed(&mut text, "only in a", &work.gone, before);
    listed(&mut text, "only in b", &work.new, after);
    listed(&mut text, "computed differently", &changed, after);
    text
}

/// The names of a few cells, and how many more there are.
fn listed(text: &mut String, title: &str, ids: &[CellId], side: &Side) {
    if ids.is_empty() {
        return;
    }
    let (cells, labels) = (side.cells(), side.report.cell_labels());
    writeln!(text, "{title}:").expect("a string takes all");
    for cell in ids.iter().take(SHOWN).filter_map(|id| cells.get(id)) {
        writeln!(text, "  {}", labels.of(cell)).expect("a string takes all");
    }
    more(text, ids.len(), "cell");
}

fn more(text: &mut String, all: usize, what: &str) {
    if all > SHOWN {
        writeln!(text, "  … and {}", counted((all - SHOWN) as u64, &format!("more {what}")))
            .expect("a string takes all");
    }
}

fn results(difference: &Difference, before: &Side, after: &Side) -> String {
    let Some(results) = &difference.results else {
        let without: Vec<&str> = [("a", before), ("b", after)]
            .into_iter()
            .filter(|(_, side)| side.completed() == 0)
            .map(|(name, _)| name)
            .collect();
        let verb = if without.len() == 1 { "has" } else { "have" };
        return format!("{} {verb} no results to compare", without.join(" and "));
    };
    let compared = counted(results.compared, "cell");
    if results.differing.is_empty() {
        return format!("no difference in {compared} with results in both");
    }
    let mut text = format!("the means of {} of {compared} differ\n", thousands(results.differing.len() as u64));
    let shown = shown_quantities(&before.report, &after.report);
    for found in results.differing.iter().take(SHOWN) {
        writeln!(text, "{}: {}", found.after.name, cause(found.cause)).expect("a string takes all");
        text.push_str(&means(found, &shown));
    }
    more(&mut text, results.differing.len(), "cell");
    text
}

const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::OtherWork => "computed differently",
        Cause::OtherSeeds => "other seeds; the trials in both sweeps agree",
        Cause::SameWork => "the same trials have other values: another device, backend or version computed them",
    }
}

fn means(found: &ResultDifference, shown: &[Quantity]) -> String {
    let mut text = String::new();
    let rows = shown.iter().filter_map(|quantity| Some((quantity, found.means.get(quantity)?)));
    for (quantity, [before, after]) in rows {
        let (mut one, mut two) = (value(quantity, *before), value(quantity, *after));
        if one == two {
            // They differ in later digits.
            (one, two) = (all_digits(*before), all_digits(*after));
        }
        writeln!(text, "  {}  {one} → {two}", quantity.text_or_on(Split::Validation)).expect("a string takes all");
    }
    let others = found.means.keys().collect::<BTreeSet<_>>().len() - text.lines().count();
    if others > 0 {
        writeln!(text, "  … and {}", counted(others as u64, "more metric")).expect("a string takes all");
    }
    text
}

fn value(quantity: &Quantity, value: Option<f64>) -> String {
    let Some(value) = value else { return NONE.to_owned() };
    match quantity.metric().decimals() {
        0 => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        decimals => format!("{value:.decimals$}"),
    }
}

fn all_digits(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

fn conclusions(conclusions: &Conclusions) -> String {
    let mut text = String::new();
    for fact in &conclusions.changed {
        let (name, [before, after]) =
            (fact_title(fact), [&conclusions.before, &conclusions.after].map(|facts| shown(fact, facts)));
        writeln!(text, "{name}: {before} → {after}").expect("a string takes all");
    }
    changes(&mut text, "on the front of b only", &conclusions.entered_front, "in a");
    changes(&mut text, "on the front of a only", &conclusions.left_front, "in b");
    if conclusions.is_same() {
        text.push_str(
            "no difference: the front, the smallest cell within the margin and the best dense net are the same\n",
        );
    }
    text
}

fn fact_title(fact: &str) -> &'static str {
    match fact {
        "is_feasible" => "a cell meets all constraints",
        "nearest" => "the cell nearest to the constraints",
        "front" => "cells on the front",
        "headline" => "the smallest cell within the margin",
        _ => "the best dense net",
    }
}

fn shown(fact: &str, facts: &Facts) -> String {
    let name = |cell: &Option<NamedCell>| cell.as_ref().map_or_else(|| "none".to_owned(), |cell| cell.name.clone());
    match fact {
        "is_feasible" => {
            facts.is_feasible.map_or("not known", |is_feasible| if is_feasible { "yes" } else { "no" }).to_owned()
        }
        "nearest" => name(&facts.nearest),
        "front" => thousands(facts.front),
        "headline" => name(&facts.headline),
        _ => name(&facts.best_dense),
    }
}

fn changes(text: &mut String, title: &str, changes: &[FrontChange], other: &str) {
    if changes.is_empty() {
        return;
    }
    writeln!(text, "{title}:").expect("a string takes all");
    for change in changes.iter().take(SHOWN) {
        writeln!(text, "  {}; {other}: {}", change.cell.name, change.other).expect("a string takes all");
    }
    more(text, changes.len(), "cell");
}
