//! How cells are called, grouped into series and put into panels, from the settings that differ between them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    glossary::control_title,
    model::{CellReport, Report},
    number,
};
use crate::experiment::plan::{CONTROL_WIDTHS, Control, REFERENCE, Settings};

const STRATEGY: &str = "pruning.strategy";
const SCOPE: &str = "pruning.scope";
/// Where scores that are given stand in the table.
const SCORES_COLUMN: &str = "reference.column";
pub(super) const SPARSITY: &str = "pruning.sparsity";
pub(super) const STRENGTH: &str = "regularization.strength";

/// Naming rules of one report.
pub(super) struct Labels {
    /// Parameters of strategies that have several values.
    parameters: Vec<String>,
    /// Every other setting that has several values, but how and how much is pruned.
    others: Vec<String>,
    /// The series of cells that are no dense control, in the order in which they first appear.
    pub(super) series: Vec<String>,
}

impl Labels {
    pub(super) fn of(report: &Report) -> Self {
        let mut values: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (key, value) in report.cells.iter().flat_map(|cell| &cell.settings) {
            values.entry(key).or_default().insert(value.to_string());
        }
        let several: Vec<String> =
            values.into_iter().filter(|(_, found)| found.len() > 1).map(|(key, _)| key.to_owned()).collect();
        let is_parameter = |key: &String| key.starts_with(STRATEGY) && key != STRATEGY;
        let (parameters, others): (Vec<_>, Vec<_>) = several
            .into_iter()
            .filter(|key| {
                !matches!(key.as_str(), STRATEGY | SCOPE | SPARSITY | CONTROL_WIDTHS | REFERENCE | SCORES_COLUMN)
            })
            .partition(is_parameter);
        let mut labels = Self { parameters, others, series: Vec::new() };
        let mut seen = BTreeSet::new();
        for cell in report.cells.iter().filter(|cell| cell.control_kind != Some(Control::Dense)) {
            let series = labels.series_of(cell);
            if seen.insert(series.clone()) {
                labels.series.push(series);
            }
        }
        labels
    }

    /// What a cell's points are drawn and filtered as: strategy, its parameters if they vary, scope.
    pub(super) fn series_of(&self, cell: &CellReport) -> String {
        if cell.control_kind == Some(Control::Dense) {
            // Its strategy is called `none`, and in brackets how it is trained where that is not as usual.
            let how = cell.settings.get(STRATEGY).and_then(Value::as_str).and_then(|name| name.strip_prefix("none"));
            return format!("dense control{}", how.unwrap_or_default());
        }
        if let Some(reference) = cell.control_kind.filter(|control| control.is_reference()) {
            let column = cell.settings.get(SCORES_COLUMN).map(text);
            return [Some(control_title(reference).to_owned()), column]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" · ");
        }
        let mut parts = vec![cell.settings.get(STRATEGY).map_or_else(|| "no pruning".to_owned(), text)];
        parts.extend(self.parameters.iter().filter_map(|key| named(&cell.settings, key)));
        parts.extend(cell.settings.get(SCOPE).map(text));
        let label = parts.join(" · ");
        if cell.control { format!("{label} (control)") } else { label }
    }

    /// What a cell shares with the others of its panel.
    pub(super) fn panel_of(&self, cell: &CellReport) -> String {
        let parts: Vec<String> = self.others.iter().filter_map(|key| named(&cell.settings, key)).collect();
        parts.join(" · ")
    }

    /// What a cell shares with the others of its heat map: everything but the strength of the penalty and the sparsity.
    pub(super) fn surface_of(&self, cell: &CellReport) -> String {
        let others = self.others.iter().filter(|key| *key != STRENGTH);
        let parts = others.filter_map(|key| named(&cell.settings, key));
        std::iter::once(self.series_of(cell)).chain(parts).collect::<Vec<_>>().join(" · ")
    }

    /// The whole name of a cell.
    pub(super) fn cell(&self, cell: &CellReport) -> String {
        let mut parts = vec![self.series_of(cell)];
        if cell.control_kind != Some(Control::Dense) {
            parts.extend(cell.requested_sparsity.map(|value| format!("sparsity {}", number::sparsity(value))));
        }
        let panel = self.panel_of(cell);
        if !panel.is_empty() {
            parts.push(panel);
        }
        parts.extend(named(&cell.settings, CONTROL_WIDTHS));
        parts.join(" · ")
    }
}

/// A setting by the last part of its key: `strength 1e-5`.
fn named(settings: &Settings, key: &str) -> Option<String> {
    let name = key.rsplit('.').next().unwrap_or(key);
    settings.get(key).map(|value| format!("{name} {}", text(value)))
}

/// All settings on one line, for points that are no cells.
pub(super) fn all_settings(settings: &Settings) -> String {
    settings.iter().map(|(key, value)| format!("{key}: {}", text(value))).collect::<Vec<_>>().join(", ")
}

/// A setting's value without quotes.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Array(values) => format!("[{}]", values.iter().map(text).collect::<Vec<_>>().join(", ")),
        Value::Number(value) => value.as_f64().map_or_else(|| value.to_string(), number::shortest),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        experiment::plan::Cell,
        report::{build, example, html, markdown},
    };

    #[test]
    fn cells_are_named_by_what_differs() {
        let (plan, outcomes) = example::realistic();
        let report = build(&plan, &outcomes);
        let labels = Labels::of(&report);
        assert_eq!(
            labels.series,
            [
                "random · global",
                "magnitude · global",
                "magnitude · local",
                "taylor · global",
                "random · local (control)"
            ]
        );
        assert_eq!(labels.cell(&report.cells[27]), "magnitude · global · sparsity 0.90 · strength 1e-5");
        assert_eq!(labels.cell(&report.cells[60]), "dense control · strength 0");
        assert_eq!(labels.panel_of(&report.cells[27]), "strength 1e-5");
    }

    #[test]
    fn a_reference_model_is_called_by_its_kind_and_changes_no_other_name() {
        let (mut plan, outcomes) = example::realistic();
        let before = build(&plan, &outcomes);
        for (kind, control) in [("logistic", Control::Logistic), ("boosting", Control::Boosting)] {
            let settings = Settings::from([(REFERENCE.to_owned(), kind.into())]);
            plan.cells.push(Cell::new(kind.parse().expect("safe"), settings, Some(control)));
        }
        let report = build(&plan, &outcomes);
        let names = |report: &Report| {
            let labels = Labels::of(report);
            report.cells.iter().map(|cell| labels.cell(cell)).collect::<Vec<_>>()
        };
        let (before, after) = (names(&before), names(&report));
        assert_eq!(after[..before.len()], before);
        assert_eq!(after[before.len()..], ["logistic regression", "gradient boosting"]);
        // What they do not have breaks no page.
        assert!(html(&report).contains("gradient boosting"));
        assert!(markdown(&report).text.contains("| gradient boosting |"));
    }
}
