//! The report as tables for spreadsheets and data frames: `trials.csv` and `front.csv`.

use std::collections::{BTreeSet, HashMap};

use secateur_proto::metrics::{Over, Quantity};
use serde_json::Value;

use super::{
    model::{CellReport, Report},
    ties,
};
use crate::experiment::plan::Settings;

/// One row for each trial: what it is, how it ended, its cell's settings, its metrics (`auc_validation`, `macs`,
/// `auc@test[region=north]`); and of a sweep that was extended, the part that it came with.
#[must_use]
pub fn trials_csv(report: &Report) -> String {
    let settings = setting_keys(&report.cells);
    let quantities = distinct(report.trials.iter().flat_map(|trial| trial.values().map(|(quantity, _)| quantity)));
    let mut table = Table::new();
    let fixed = ["id", "cell", "seed", "outcome", "reason", "control", "on_front"];
    let headers = fixed.into_iter().map(str::to_owned).chain(settings.iter().map(|key| key.to_string()));
    let part = (!report.parts.is_empty()).then(|| "part".to_owned());
    table.row(headers.map(text).chain(quantities.iter().map(|quantity| column(quantity))).chain(part));
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
        row.extend(quantities.iter().map(|quantity| optional(trial.value(quantity))));
        row.extend(trial.part.map(|part| part.to_string()));
        table.row(row);
    }
    table.finish()
}

/// One row for each cell of the front: its settings, how many cells have equal means of every objective (`ties`, itself among them), the
/// first of those (`tied_with`, empty for the first itself), and mean, sd, interval and n of each metric. `_ci95_of`
/// says what the interval is about: `seeds and rows`, or `seeds`. The sd is always that of seeds.
#[must_use]
pub fn front_csv(report: &Report) -> String {
    let settings = setting_keys(&report.cells);
    let quantities = distinct(report.cells.iter().flat_map(CellReport::measured));
    let mut table = Table::new();
    let mut headers = ["id", "ties", "tied_with"].map(str::to_owned).to_vec();
    headers.extend(settings.iter().map(|key| text(key.to_string())));
    for quantity in &quantities {
        let name = column(quantity);
        headers.extend(["mean", "sd", "ci95_low", "ci95_high", "ci95_of", "n"].map(|part| format!("{name}_{part}")));
    }
    table.row(headers);
    let points = ties::front_points(report);
    let standing = |cells: &[&CellReport]| (cells.len(), cells.first().map(|first| first.id.clone()));
    let ties: HashMap<_, _> =
        points.iter().flat_map(|cells| cells.iter().map(|cell| (&cell.id, standing(cells)))).collect();
    for cell in report.front_cells() {
        let (count, first) = ties.get(&cell.id).cloned().unwrap_or((1, None));
        let first = first.filter(|first| *first != cell.id).map_or_else(String::new, |first| text(first.to_string()));
        let mut row = vec![text(cell.id.to_string()), count.to_string(), first];
        row.extend(settings.iter().map(|key| setting(&cell.settings, key)));
        for quantity in &quantities {
            row.extend(summary_columns(cell, quantity));
        }
        table.row(row);
    }
    table.finish()
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn summary_columns(cell: &CellReport, quantity: &Quantity) -> [String; 6] {
    let (summary, total) = (cell.summary(quantity), cell.total(quantity));
    let ci95 = total.and_then(|total| total.ci95);
    let of = total.filter(|total| total.ci95.is_some()).map(|total| total.covers());
    [
        optional(summary.map(|summary| summary.mean)),
        optional(summary.and_then(|summary| summary.sd)),
        optional(ci95.map(|[low, _]| low)),
        optional(ci95.map(|[_, high]| high)),
        of.unwrap_or_default().to_owned(),
        summary.map_or_else(String::new, |summary| summary.n.to_string()),
    ]
}

/// Each of `quantities` once, in the order of reports.
pub(super) fn distinct<'a>(quantities: impl Iterator<Item = &'a Quantity>) -> BTreeSet<&'a Quantity> {
    quantities.collect()
}

/// The name of its column.
fn column(quantity: &Quantity) -> String {
    match quantity.over() {
        Over::Rows(split) => format!("{}_{split}", quantity.metric()),
        Over::Net | Over::Slice(..) | Over::Gap(..) => quantity.to_string(),
    }
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
    use secateur_proto::metrics::{Metric, Split};

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
            assert_eq!(number("auc_test"), trial.value(&Metric::Auc.on(Split::Test)));
            assert_eq!(number("macs"), trial.value(&Metric::Macs.on(Split::Test)));
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
        let summary = report.cell(&report.front[0]).and_then(|cell| cell.summary(&Metric::Auc.on(Split::Test)));
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
