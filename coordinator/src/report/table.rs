//! The report as tables for spreadsheets and data frames: `trials.csv` and `front.csv`.

use std::collections::{BTreeSet, HashMap};

use secateur_proto::metrics::{Metric, Metrics, Split};
use serde_json::Value;

use super::{
    build::entries,
    model::{CellReport, Report},
    statistics::Summary,
};
use crate::experiment::plan::Settings;

/// One row for each trial: what it is, how it ended, its cell's settings, its metrics (`auc_validation`, `macs`).
#[must_use]
pub fn trials_csv(report: &Report) -> String {
    let settings = setting_keys(&report.cells);
    let places = places(report.trials.iter().map(|trial| &trial.metrics));
    let mut table = Table::new();
    let fixed = ["id", "cell", "seed", "outcome", "reason", "control", "on_front"];
    let headers = fixed.into_iter().map(str::to_owned).chain(settings.iter().map(|key| key.to_string()));
    table.row(headers.map(text).chain(places.iter().map(|place| place_name(*place))));
    let cells: HashMap<_, _> = report.cells.iter().map(|cell| (&cell.id, cell)).collect();
    for trial in &report.trials {
        let cell = cells.get(&trial.cell);
        let mut row = vec![
            text(trial.id.to_string()),
            text(trial.cell.to_string()),
            trial.seed.to_string(),
            text(trial.outcome.clone()),
            text(trial.reason.clone().unwrap_or_default()),
            cell.is_some_and(|cell| cell.control).to_string(),
            cell.is_some_and(|cell| cell.on_front).to_string(),
        ];
        row.extend(settings.iter().map(|key| cell.map_or_else(String::new, |cell| setting(&cell.settings, key))));
        row.extend(places.iter().map(|place| at(&trial.metrics, *place).map_or_else(String::new, f64::to_string)));
        table.row(row);
    }
    table.finish()
}

/// One row for each cell of the front: its settings, and mean, sd, interval and n of each metric.
#[must_use]
pub fn front_csv(report: &Report) -> String {
    let settings = setting_keys(&report.cells);
    let places = places(report.cells.iter().map(|cell| &cell.metrics));
    let mut table = Table::new();
    let mut headers = vec!["id".to_owned()];
    headers.extend(settings.iter().map(|key| text(key.to_string())));
    for place in &places {
        let name = place_name(*place);
        headers.extend(["mean", "sd", "ci95_low", "ci95_high", "n"].map(|part| format!("{name}_{part}")));
    }
    table.row(headers);
    for cell in report.front_cells() {
        let mut row = vec![text(cell.id.to_string())];
        row.extend(settings.iter().map(|key| setting(&cell.settings, key)));
        for place in &places {
            row.extend(summary_columns(at(&cell.metrics, *place)));
        }
        table.row(row);
    }
    table.finish()
}

fn summary_columns(summary: Option<&Summary>) -> [String; 5] {
    let optional = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    [
        optional(summary.map(|summary| summary.mean)),
        optional(summary.and_then(|summary| summary.sd)),
        optional(summary.and_then(|summary| summary.ci95).map(|[low, _]| low)),
        optional(summary.and_then(|summary| summary.ci95).map(|[_, high]| high)),
        summary.map_or_else(String::new, |summary| summary.n.to_string()),
    ]
}

/// A metric on a split, or of the net alone.
pub(super) type Place = (Metric, Option<Split>);

/// Where any of `metrics` has a value, in the order of reports.
pub(super) fn places<'a, V: 'a>(metrics: impl Iterator<Item = &'a Metrics<V>>) -> Vec<Place> {
    let places: BTreeSet<Place> = metrics
        .flat_map(|metrics| entries(metrics).map(|(metric, split, _)| (metric, split)).collect::<Vec<_>>())
        .collect();
    places.into_iter().collect()
}

/// The value at `place`.
pub(super) fn at<V>(metrics: &Metrics<V>, (metric, split): Place) -> Option<&V> {
    metrics.get(metric, split.unwrap_or(Split::Validation))
}

fn place_name((metric, split): Place) -> String {
    split.map_or_else(|| metric.name().to_owned(), |split| format!("{metric}_{split}"))
}

/// Every key that a cell has, sorted.
pub(super) fn setting_keys(cells: &[CellReport]) -> Vec<&str> {
    let keys: BTreeSet<&str> = cells.iter().flat_map(|cell| cell.settings.keys().map(String::as_str)).collect();
    keys.into_iter().collect()
}

fn setting(settings: &Settings, key: &str) -> String {
    match settings.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(value)) => text(value.clone()),
        Some(value) => value.to_string(),
    }
}

/// A text that a spreadsheet will not run as a formula: what begins like one gets an apostrophe before it.
fn text(value: String) -> String {
    if value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{value}") } else { value }
}

struct Table(csv::Writer<Vec<u8>>);

impl Table {
    fn new() -> Self {
        Self(csv::Writer::from_writer(Vec::new()))
    }

    fn row(&mut self, fields: impl IntoIterator<Item = String>) {
        self.0.write_record(fields).expect("rows of equal length, written to memory");
    }

    fn finish(self) -> String {
        let bytes = self.0.into_inner().expect("memory takes all");
        String::from_utf8(bytes).expect("made of strings")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{build, example};

    fn read(text: &str) -> Vec<HashMap<String, String>> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader.deserialize().collect::<Result<_, _>>().expect("a table with a header")
    }

    #[test]
    fn each_trial_has_a_row_with_its_settings_and_numbers() {
        let (plan, outcomes) = example::realistic();
        let report = build(&plan, &outcomes);
        let rows = read(&trials_csv(&report));
        assert_eq!(rows.len(), plan.trials.len());
        for (row, trial) in rows.iter().zip(&report.trials) {
            assert_eq!(row["id"], trial.id.to_string());
            assert_eq!(row["outcome"], trial.outcome);
            let number = |name: &str| row[name].parse::<f64>().ok();
            assert_eq!(number("auc_test"), trial.metrics.get(Metric::Auc, Split::Test).copied());
            assert_eq!(number("macs"), trial.metrics.get(Metric::Macs, Split::Test).copied());
            let cell = report.cell(&trial.cell).expect("the trial's cell");
            assert_eq!(number("pruning.sparsity"), cell.requested_sparsity);
        }
    }

    #[test]
    fn the_front_has_a_row_each_in_its_order() {
        let (plan, outcomes) = example::realistic();
        let report = build(&plan, &outcomes);
        let rows = read(&front_csv(&report));
        let ids: Vec<String> = report.front.iter().map(ToString::to_string).collect();
        assert_eq!(rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>(), ids);
        let summary = report.cell(&report.front[0]).and_then(|cell| cell.metrics.get(Metric::Auc, Split::Test));
        let summary = summary.expect("completed");
        assert_eq!(rows[0]["auc_test_mean"].parse(), Ok(summary.mean));
        assert_eq!(rows[0]["auc_test_ci95_high"].parse().ok(), summary.ci95.map(|[_, high]| high));
    }

    #[test]
    fn hostile_settings_neither_break_rows_nor_run_as_formulas() {
        let (plan, outcomes) = example::hostile();
        let report = build(&plan, &outcomes);
        let rows = read(&trials_csv(&report));
        assert_eq!(rows.len(), plan.trials.len());
        let mut reader = csv::Reader::from_reader(trials_csv(&report).into_bytes().leak() as &[u8]);
        let headers = reader.headers().expect("a header").clone();
        let fields = rows.iter().flat_map(|row| row.values().map(String::as_str));
        for field in fields.chain(&headers) {
            let harmless = field.parse::<f64>().is_ok() || !field.starts_with(['=', '+', '-', '@', '\t', '\r']);
            assert!(harmless, "{field:?} would run");
        }
    }
}
