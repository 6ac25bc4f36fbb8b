//! How results change with one setting at a time.

use std::{cmp::Ordering, collections::BTreeMap};

use serde_json::Value;

use super::{Block, Chapter, DossierSource, shown, shown_difference, table};
use crate::{
    experiment::plan::Settings,
    report::{evidence, glossary::title, label, model::CellReport, number},
};

/// Neighbours that are shown of each setting.
const MOST: usize = 24;

pub(super) fn chapter(source: &DossierSource<'_>) -> Option<Chapter> {
    let DossierSource { report, cell, .. } = source;
    let axes = source.axes()?;
    let mut neighbours: BTreeMap<&str, Vec<&CellReport>> = BTreeMap::new();
    for other in report.cells.iter().filter(|other| !other.control) {
        if let Some(key) = only_difference(&cell.settings, &other.settings) {
            neighbours.entry(key).or_default().push(other);
        }
    }
    let mut blocks = Vec::new();
    if neighbours.is_empty() {
        blocks.push(Block::Text("No cell of the sweep differs from this one in a single setting.".to_owned()));
    } else {
        let text = "Cells that differ from this one in one setting alone. The row of this cell is marked.";
        blocks.push(Block::Text(text.to_owned()));
    }
    let test = axes.test();
    let columns = [
        "setting".to_owned(),
        "value".to_owned(),
        format!("#{}", title(&axes.x)),
        format!("#{}", report.title(&axes.y)),
        format!("#{}", report.title(&test)),
        format!("#{}, minus baseline", title(&test)),
    ];
    let mut grid = table(&columns.each_ref().map(String::as_str));
    let mut left_out = 0;
    for (key, mut cells) in neighbours {
        left_out += cells.len().saturating_sub(MOST);
        cells.truncate(MOST);
        cells.push(cell);
        cells.sort_by(|one, two| order(one.settings.get(key), two.settings.get(key)));
        for other in cells {
            let value = other.settings.get(key).map_or_else(|| "–".to_owned(), label::text);
            let mark = if other.id == cell.id { " (this cell)" } else { "" };
            let size = other.mean(&axes.x);
            grid.rows.push(vec![
                key.to_owned(),
                format!("{value}{mark}"),
                size.map_or_else(|| "–".to_owned(), |size| number::of_metric(axes.x.metric(), size)),
                shown(&axes.y, other.total(&axes.y)),
                shown(&test, other.total(&test)),
                shown_difference(&test, other.total_difference(&test)),
            ]);
        }
    }
    if !grid.rows.is_empty() {
        blocks.push(Block::Table(grid));
    }
    if left_out > 0 {
        blocks.push(Block::Text(format!("{} more are in trials.csv.", number::count(left_out as u64, "cell"))));
    }
    let importance = evidence::importance_grid(report);
    if !importance.rows.is_empty() {
        blocks.push(Block::Heading("What explains the results of the sweep"));
        blocks.push(Block::Table(importance));
    }
    Some(Chapter::new("Sensitivity", blocks))
}

/// The setting that alone differs, without those below it. `None` if there is none or another one.
fn only_difference<'a>(one: &'a Settings, two: &'a Settings) -> Option<&'a str> {
    let mut keys: Vec<&str> =
        one.keys().chain(two.keys()).filter(|key| one.get(*key) != two.get(*key)).map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    let (first, rest) = keys.split_first()?;
    let is_below = |key: &&str| key.strip_prefix(first).is_some_and(|rest| rest.starts_with('.'));
    rest.iter().all(is_below).then_some(*first)
}

/// Numbers by size, before texts by name.
fn order(one: Option<&Value>, two: Option<&Value>) -> Ordering {
    let key = |value: Option<&Value>| (value.and_then(Value::as_f64), value.map(label::text));
    let ((number, text), (other, other_text)) = (key(one), key(two));
    let by_number = number.unwrap_or(f64::INFINITY).total_cmp(&other.unwrap_or(f64::INFINITY));
    by_number.then_with(|| text.cmp(&other_text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(pairs: &[(&str, Value)]) -> Settings {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    #[test]
    fn cells_that_differ_in_one_setting_are_neighbours() {
        let own = settings(&[("a", json!(1)), ("strategy", json!("taylor")), ("strategy.power", json!(2))]);
        let other = |pairs: &[(&str, Value)]| only_difference(&own, &settings(pairs)).map(str::to_owned);
        let strategy = ("strategy", json!("taylor"));
        let power = ("strategy.power", json!(2));
        assert_eq!(other(&[("a", json!(2)), strategy.clone(), power.clone()]).as_deref(), Some("a"));
        assert_eq!(other(&[("a", json!(1)), ("strategy", json!("magnitude"))]).as_deref(), Some("strategy"));
        assert_eq!(
            other(&[("a", json!(1)), strategy.clone(), ("strategy.power", json!(3))]).as_deref(),
            Some("strategy.power")
        );
        assert_eq!(other(&[("a", json!(2)), ("strategy", json!("magnitude"))]), None);
        assert_eq!(other(&[("a", json!(1)), strategy, power]), None);
    }
}
