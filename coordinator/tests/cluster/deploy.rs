//! From a finished run to scores: by the program itself, and by what it exports, in the engines of others.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::common::Lab;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/deploy.py");
const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs");

/// What running exported files lacks here, if anything.
fn missing() -> Option<String> {
    match Command::new("python3").args(["-c", "import numpy, onnx, onnxruntime"]).output() {
        Err(error) => Some(format!("there is no python3: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Runs the script, unless it cannot be run here.
fn check(folder: &Path, arguments: &[String]) {
    if let Some(missing) = missing() {
        // Whoever must test everything, as .ci/run must, says so.
        assert!(std::env::var_os("SECATEUR_TEST_EVERYTHING").is_none(), "{missing}");
        eprintln!("not checked: {missing}");
        return;
    }
    let checked = Command::new("python3").arg(SCRIPT).arg(folder).args(arguments).output().expect("python3 runs");
    let said = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success(), "{said}");
    eprintln!("{said}");
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("{key} is a list, not {}", value[key]))
}

/// German credit in which some cells are empty.
fn german_with_holes() -> String {
    let table = fs::read_to_string(Path::new(CONFIGS).join("data/german_credit.csv")).expect("the table");
    let holed = |(number, line): (usize, &str)| {
        let mut cells: Vec<&str> = line.split(',').collect();
        if number > 0 && number % 5 == 0 {
            cells[4] = "";
        }
        if number > 0 && number % 7 == 0 {
            cells[5] = "";
        }
        cells.join(",")
    };
    table.lines().enumerate().map(holed).collect::<Vec<_>>().join("\n")
}

const SWEEP: &str = "\
version: 1
name: german
data:
  path: table.csv
  target: default
  task: binary
  split: {kind: stratified, train: 0.6, validation: 0.2, test: 0.2, seed: 42}
model: {kind: mlp, hidden: [16, 8], batch_norm: true}
training: {optimizer: {kind: adam, lr: 1.0e-2}, batch_size: 64, epochs: 4}
pruning:
  strategy: filter_norm
  granularity: neuron
  scope: local
  sparsity: [0.25, 0.5]
  retrain: {epochs: 2}
quantization: [none, int8]
seeds: 2
objectives: [{maximize: auc}, {minimize: nonzero_parameters}]
controls: [dense]
";

/// A tensor of a safetensors file of four-byte numbers.
fn tensor(bytes: &[u8], name: &str) -> Vec<[u8; 4]> {
    let (length, rest) = bytes.split_first_chunk().expect("eight bytes");
    let length = usize::try_from(u64::from_le_bytes(*length)).expect("a length");
    let header: Value = serde_json::from_slice(&rest[..length]).expect("a header");
    let offset = |index: usize| {
        usize::try_from(header[name]["data_offsets"][index].as_u64().expect("an offset")).expect("a place in memory")
    };
    rest[length..][offset(0)..offset(1)].as_chunks().0.to_vec()
}

/// The probabilities that the worker's own evaluation gave the test rows, by the row's number in the table.
fn evaluated(out: &Path, trial: &Value) -> BTreeMap<u32, f64> {
    let hash = trial["artifacts"]["scores"].as_str().expect("a hash");
    let bytes = fs::read(out.join(".secateur/artifacts").join(&hash[..2]).join(hash)).expect("an artifact");
    let logits = tensor(&bytes, "test.logits").into_iter().map(f32::from_le_bytes);
    let probabilities = logits.map(|logit| 1.0 / (1.0 + (-f64::from(logit)).exp()));
    tensor(&bytes, "test.rows").into_iter().map(u32::from_le_bytes).zip(probabilities).collect()
}

/// The probabilities of a file of scores.
fn scored(path: &Path) -> Vec<f64> {
    let mut reader = csv::Reader::from_path(path).expect("a table");
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("rows");
    rows.iter().map(|row| row[1].parse().expect("a probability")).collect()
}

/// The share of pairs of a positive and a negative of which the positive has the higher score, ties by half.
fn auc(scores: &[(f64, bool)]) -> f64 {
    let (mut pairs, mut won) = (0.0, 0.0);
    for (one, _) in scores.iter().filter(|(_, positive)| *positive) {
        for (other, _) in scores.iter().filter(|(_, positive)| !*positive) {
            pairs += 1.0;
            won += if one > other {
                1.0
            } else if one == other {
                0.5
            } else {
                0.0
            };
        }
    }
    won / pairs
}

fn models(out: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(out.join("models")).expect("models").map(|entry| entry.expect("a file").path()).collect();
    found.retain(|path| {
        let name = path.to_string_lossy();
        name.ends_with(".safetensors") && !name.ends_with(".plan.safetensors")
    });
    found.sort();
    found
}

/// Scores the table with each net of a run, and counts the quantized, the other and the small nets.
fn models_give_the_scores_of_the_evaluation(lab: &Lab, table: &str, out: &str) -> [usize; 3] {
    let out = lab.path(out);
    let report = json(&out.join("report.json"));
    let positives: Vec<bool> = table.lines().skip(1).map(|line| line.ends_with(",1")).collect();
    let mut kinds = [0; 3];
    let trials = list(&report, "trials");
    for model in models(&out) {
        let name = model.file_name().and_then(|name| name.to_str()).expect("a name");
        let id = name.split('.').next().expect("an id");
        let trial = trials.iter().find(|trial| trial["id"] == id).expect("a trial");
        let is_quantized = trial["artifacts"].get("quantized").is_some();
        // The other files of a quantized trial are of its net before the inputs of layers are rounded.
        if is_quantized && !name.ends_with(".quantized.safetensors") {
            continue;
        }
        kinds[if is_quantized { 0 } else { 1 + usize::from(name.contains(".small.")) }] += 1;
        let model = model.to_str().expect("a path");
        let summary =
            lab.run(&["score", model, "table.csv", "--out", "scores.csv", "--output", "json"]).expect(0).json();
        assert_eq!((&summary["rows"], &summary["unscored"]), (&1000.into(), &0.into()));
        let (found, expected) = (scored(&lab.path("scores.csv")), evaluated(&out, trial));
        assert_eq!(found.len(), 1000);
        let off: Vec<f64> = expected.iter().map(|(row, expected)| (found[*row as usize] - expected).abs()).collect();
        let near = off.iter().filter(|off| **off <= 1e-6).count();
        if is_quantized {
            // Sums in another order may be rounded to the next level.
            assert!(near * 20 >= off.len() * 19 && off.iter().all(|off| *off <= 1e-2), "{name}: {near} {off:?}");
        } else {
            assert_eq!(near, off.len(), "{name}: {off:?}");
            let rows = expected.keys().map(|row| (found[*row as usize], positives[*row as usize]));
            let expected = trial["metrics"]["auc"]["test"].as_f64().expect("a number");
            assert!((auc(&rows.collect::<Vec<_>>()) - expected).abs() < 1e-9, "{name}");
        }
    }
    kinds
}

#[test]
fn new_rows_get_the_scores_of_the_evaluation() {
    let lab = Lab::empty();
    let table = german_with_holes();
    lab.write("table.csv", &table);
    // With both in one sweep, it depends on rounding which of them is on the front.
    for (quantization, expected) in [("none", [false, true, true]), ("int8", [true, false, false])] {
        let sweep = SWEEP.replace("quantization: [none, int8]", &format!("quantization: {quantization}"));
        lab.write(&format!("{quantization}.yaml"), &sweep);
        lab.run(&["run", &format!("{quantization}.yaml"), "--out", quantization]).expect(0);
        let kinds = models_give_the_scores_of_the_evaluation(&lab, &table, quantization);
        assert_eq!(kinds.map(|files| files > 0), expected, "{quantization}: {kinds:?}");
    }

    let report = json(&lab.path("none/report.json"));
    let trials = list(&report, "trials");
    // A trial that is not on the front is in the run's own state. Columns may come in any order.
    let front = list(&report, "front");
    let other = trials.iter().find(|trial| !front.contains(&trial["cell"])).expect("a control");
    let id = other["id"].as_str().expect("an id");
    let text = fs::read_to_string(lab.path("table.csv")).expect("a table");
    let turned: Vec<String> = text.lines().map(|line| line.split(',').rev().collect::<Vec<_>>().join(";")).collect();
    lab.write("turned.csv", turned.join("\r\n"));
    lab.run(&["score", id, "turned.csv", "--run", "none", "--out", "other.csv"]).expect(0);
    lab.run(&["score", id, "table.csv", "--run", "none", "--out", "same.csv"]).expect(0);
    assert_eq!(fs::read(lab.path("other.csv")).expect("scores"), fs::read(lab.path("same.csv")).expect("scores"));
}

#[test]
fn unusual_rows_are_named_and_wrong_tables_are_refused() {
    let lab = Lab::empty();
    let table = german_with_holes();
    lab.write("sweep.yaml", SWEEP);
    lab.write("table.csv", &table);
    lab.run(&["run", "sweep.yaml", "--out", "out"]).expect(0);
    let report = json(&lab.path("out/report.json"));
    let id = list(&report, "trials")[0]["id"].as_str().expect("an id");
    let header = table.lines().next().expect("a header");
    let row = |changes: &[(usize, &str)]| {
        let mut cells: Vec<&str> = table.lines().nth(1).expect("a row").split(',').collect();
        changes.iter().for_each(|(at, cell)| cells[*at] = cell);
        cells.join(",")
    };
    let columns: Vec<&str> = header.split(',').collect();
    let rows = [row(&[]), row(&[(3, "A499")]), row(&[(1, "9999")]), row(&[(1, "")]), row(&[(4, ""), (5, "")])];
    lab.write("new.csv", format!("{header}\n{}\n", rows.join("\n")));
    let scored = lab.run(&["score", id, "new.csv", "--run", "out", "--out", "new.scores.csv", "--output", "json"]);
    let summary = scored.expect(0).json();
    let unusual: Vec<(&str, &str, u64)> = list(&summary, "unusual")
        .iter()
        .map(|found| {
            let text = |key: &str| found[key].as_str().expect("a text");
            (text("column"), text("kind"), found["first_row"].as_u64().expect("a row"))
        })
        .collect();
    assert_eq!(unusual.len(), 3, "{unusual:?}");
    assert!(unusual.contains(&(columns[1], "missing", 4)), "{unusual:?}");
    assert!(unusual.contains(&(columns[1], "above train", 3)), "{unusual:?}");
    assert!(unusual.iter().any(|(column, kind, row)| *column == columns[3] && kind.ends_with("level") && *row == 2));
    assert_eq!(summary["columns_ignored"], Value::Array(vec![]));

    // A row without a number where there has to be one has no score, and the others have.
    lab.write("bad.csv", format!("{header},customer\n{},a\n{},b\n", row(&[(1, "long")]), row(&[])));
    let bad = lab.run(&["score", id, "bad.csv", "--run", "out", "--id", "customer"]).expect(1);
    let lines: Vec<&str> = bad.stdout.lines().collect();
    assert!(lines[1].starts_with("a,,") && lines[2].starts_with("b,0."), "{lines:?}");
    // The net reads this column, or it does not, and then may do without it.
    lab.write("short.csv", table.replace(columns[1], "elsewhere"));
    lab.run(&["score", id, "short.csv", "--run", "out"]).expect(2);
    for arguments in [
        &["score", id, "new.csv"][..],
        &["score", "nobody", "new.csv", "--run", "out"],
        &["score", id, "out", "--run", "out"],
        &["score", id, "new.csv", "--run", "out", "--id", "nobody"],
        &["score", id, "new.csv", "--run", "elsewhere"],
        &["score", id, "new.csv", "--run", "out", "--out", "new.csv"],
        &["score", id, "new.csv", "--run", "out", "--output", "json"],
        &["export", "nobody", "--run", "out", "--out", "deploy"],
    ] {
        lab.run(arguments).expect(2);
    }
    assert!(!lab.path("deploy").exists());
}

#[test]
fn exported_nets_of_a_table_give_the_scores_of_the_program() {
    let lab = Lab::empty();
    let table = german_with_holes();
    lab.write("sweep.yaml", SWEEP);
    lab.write("table.csv", &table);
    lab.run(&["run", "sweep.yaml", "--out", "runs/german"]).expect(0);
    // Rows with unseen levels among them.
    let mut lines = table.lines();
    let header = lines.next().expect("a header");
    let unseen =
        |(number, line): (usize, &str)| if number % 3 == 0 { line.replace("A4", "B4") } else { line.to_owned() };
    let rows: Vec<String> = lines.enumerate().map(unseen).collect();
    lab.write("new.csv", format!("{header}\n{}\n", rows.join("\n")));
    let exported = lab.run(&["export", "--front", "--out", "deploy", "--output", "json"]).expect(0).json();
    let trials: Vec<&String> = exported.as_object().expect("trials").keys().collect();
    let mut arguments = vec![lab.path("new.csv").display().to_string()];
    for trial in &trials {
        let file = format!("{trial}.scores.csv");
        lab.run(&["score", trial, "new.csv", "--run", "runs/german", "--out", &file]).expect(0);
        arguments.push(format!("{trial}={}", lab.path(&file).display()));
    }
    assert!(!trials.is_empty());
    check(&lab.path("deploy"), &arguments);
    // What a card says is there: its files by their hashes, and a sweep file that computes this trial.
    let report = json(&lab.path("runs/german/report.json"));
    for files in exported.as_object().expect("trials").values() {
        let files: Vec<&str> =
            files.as_array().expect("files").iter().map(|file| file.as_str().expect("a path")).collect();
        let card = files.iter().find(|file| file.ends_with(".md")).expect("a card");
        let card = fs::read_to_string(lab.path(card)).expect("a card");
        for file in files.iter().filter(|file| !file.ends_with(".md")) {
            let bytes = fs::read(lab.path(file)).expect("a file");
            assert!(card.contains(&blake3::hash(&bytes).to_hex().to_string()), "{file}");
        }
        let recipe =
            files.iter().find(|file| file.ends_with(".sweep.yaml")).expect("no cell of the front is a control");
        lab.write("recipe.yaml", fs::read(lab.path(recipe)).expect("a recipe"));
        let plan = lab.run(&["plan", "recipe.yaml", "--output", "json"]).expect(0).json();
        let trial = list(&report, "trials").iter().find(|trial| card.contains(trial["id"].as_str().expect("an id")));
        let stages = list(trial.expect("a trial"), "stages");
        let planned = plan.to_string();
        assert!(stages.iter().all(|key| planned.contains(key.as_str().expect("a key"))), "{recipe}");
    }
}

#[test]
fn exported_nets_of_images_give_the_scores_of_the_program() {
    let lab = Lab::empty();
    let sweep = "\
version: 1
name: digits
data: {path: DATA, task: multiclass, split: {kind: files, validation: 0.2, seed: 1}}
model: {kind: mlp, hidden: [24]}
training: {optimizer: {kind: adam, lr: 1.0e-2}, epochs: 2}
pruning: {strategy: magnitude, sparsity: 0.8, retrain: {epochs: 1}}
quantization: [none, int8]
seeds: 1
controls: none
";
    lab.write("sweep.yaml", sweep.replace("DATA", &format!("{CONFIGS}/data/digits")));
    lab.run(&["run", "sweep.yaml", "--out", "out"]).expect(0);
    let report = json(&lab.path("out/report.json"));
    let trials: Vec<&str> = list(&report, "trials").iter().map(|trial| trial["id"].as_str().expect("an id")).collect();
    let export = [&["export"][..], &trials, &["--run", "out", "--out", "deploy"]].concat();
    lab.run(&export).expect(0);
    check(&lab.path("deploy"), &[]);
    // The ten images again, by their idx file.
    let images = fs::read_dir(lab.path("deploy")).expect("files").map(|entry| entry.expect("a file").path());
    for path in images.filter(|path| path.to_string_lossy().ends_with("idx3-ubyte")) {
        let trial = trials.iter().find(|trial| path.to_string_lossy().contains(**trial)).expect("a trial");
        let images = path.to_str().expect("a path");
        lab.run(&["score", trial, images, "--run", "out", "--out", "scores.csv"]).expect(0);
        assert_eq!(scored(&lab.path("scores.csv")).len(), 10);
    }
}
