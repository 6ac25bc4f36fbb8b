use std::{collections::HashMap, fs};

use clap::Parser;
use secateur_proto::{metrics::Split, outcome::Role};
use secateur_worker::{
    scores::{SplitScores, write_scores},
    store::{Durability, Store},
};
use serde_json::Value as Json;
use tempfile::TempDir;

use super::*;
use crate::report::{build, example};

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    arguments: TablesArguments,
}

const LOGITS: [f32; 3] = [0.5, -1.0, 3.25];

/// The folder of a run in which one trial has files.
fn run_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path().join(".secateur/artifacts"), Durability::Cached).expect("a store");
    let part = |split, rows| SplitScores { split, rows, logits: &LOGITS, targets: &[0.0, 1.0, 1.0] };
    let scores = write_scores(&[part(Split::Validation, &[0, 4, 9]), part(Split::Test, &[2, 3, 70_000])]);
    let scores = store.put(&scores.expect("lists of equal length")).expect("writes").hash;
    let curve = r#"{"best_epoch":1,"epochs":[{"epoch":0,"train_loss":null,"validation":{"auc":0.5}},{"epoch":1,"train_loss":0.7,"validation":{"auc":0.75}}]}"#;
    let curve = store.put(curve.as_bytes()).expect("writes").hash;
    let (plan, outcomes) = example::realistic();
    let mut report = build(&plan, &outcomes);
    for trial in &mut report.trials {
        trial.artifacts.clear();
    }
    report.trials[1].artifacts.extend([(Role::Scores, scores), (Role::Curve, curve)]);
    fs::write(folder.path().join("report.json"), report.to_json()).expect("writes");
    fs::write(folder.path().join("plan.json"), serde_json::to_vec(&plan).expect("plain data")).expect("writes");
    folder
}

fn tables(folder: &TempDir, more: &[&str]) -> Result<(BTreeMap<&'static str, Written>, Vec<&'static str>), CliError> {
    let out = folder.path().join("tables");
    let words = ["tables", "--out", out.to_str().expect("text")].into_iter().chain(more.iter().copied());
    let arguments = Command::try_parse_from(words).expect("a command").arguments;
    write(&arguments, &SavedRun::open(folder.path())?)
}

fn rows(table: &Written) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(&table.path).expect("a table");
    reader.deserialize().collect::<Result<_, _>>().expect("rows of equal length")
}

/// The summaries of a cell by quantity: those of rows are by split.
fn summaries(metrics: &Json) -> Vec<(String, &Json)> {
    let metrics = metrics.as_object().expect("a map").iter();
    let by_split = metrics.flat_map(|(metric, found)| match found["mean"].is_number() {
        true => vec![(metric.clone(), found)],
        false => found
            .as_object()
            .expect("a map")
            .iter()
            .map(|(split, found)| (format!("{metric}@{split}"), found))
            .collect(),
    });
    by_split.collect()
}

#[test]
fn tables_have_the_numbers_of_report_json() {
    let folder = run_folder();
    let (written, left_out) = tables(&folder, &[]).expect("writes");
    assert!(left_out.is_empty());
    assert_eq!(written.len(), TABLES.len() + OF_FILES.len());
    assert!(written.values().all(|table| rows(table).len() as u64 == table.rows));
    let report: Json =
        serde_json::from_slice(&fs::read(folder.path().join("report.json")).expect("a file")).expect("JSON");
    let statistics: HashMap<(String, String), HashMap<String, String>> = rows(&written["statistics"])
        .into_iter()
        .map(|row| ((row["cell"].clone(), row["quantity"].clone()), row))
        .collect();
    let mut compared = 0;
    for cell in report["cells"].as_array().expect("a list") {
        for (quantity, summary) in summaries(&cell["metrics"]) {
            let row = &statistics[&(cell["id"].as_str().expect("an id").to_owned(), quantity)];
            let number = |name: &str| row[name].parse::<f64>().ok();
            assert_eq!(number("mean"), summary["mean"].as_f64());
            assert_eq!(number("sd"), summary["sd"].as_f64());
            assert_eq!(number("ci95_seeds_low"), summary["ci95"][0].as_f64());
            assert_eq!(number("n"), summary["n"].as_f64());
            compared += 1;
        }
    }
    assert_eq!(compared, statistics.len());
}

#[test]
fn scores_name_the_rows_of_the_table() {
    let folder = run_folder();
    let (written, _) = tables(&folder, &["--only", "scores,epochs"]).expect("writes");
    assert_eq!(written.keys().copied().collect::<Vec<_>>(), ["epochs", "scores"]);
    let scores = rows(&written["scores"]);
    let column = |name: &str| scores.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("row"), ["0", "4", "9", "2", "3", "70000"]);
    assert_eq!(column("split")[2..4], ["validation", "test"]);
    assert_eq!(column("logit")[..3], ["0.5", "-1", "3.25"]);
    // The positive class is the second.
    assert_eq!(column("class")[0], column("target")[1]);
    assert_ne!(column("target")[0], column("target")[1]);
    let epochs = rows(&written["epochs"]);
    let found: Vec<[&str; 4]> =
        epochs.iter().map(|row| ["epoch", "is_best", "metric", "value"].map(|name| row[name].as_str())).collect();
    assert_eq!(found, [["0", "false", "auc", "0.5"], ["1", "true", "train_loss", "0.7"], ["1", "true", "auc", "0.75"]]);
}

#[test]
fn a_report_has_no_scores_and_says_so() {
    let folder = run_folder();
    fs::remove_dir_all(folder.path().join(".secateur")).expect("removes");
    let (written, left_out) = tables(&folder, &[]).expect("writes the others");
    assert_eq!(left_out, ["epochs", "scores"]);
    assert!(!written.contains_key("scores") && !folder.path().join("tables/scores.csv").exists());
    let error = tables(&folder, &["--only", "scores"]).expect_err("it was asked for");
    assert!(matches!(&error, CliError::Input(message) if message.contains("--sweep")), "{error:?}");
}
