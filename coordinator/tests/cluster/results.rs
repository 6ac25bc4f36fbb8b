//! What a finished sweep leaves, and that it does not depend on how the work was shared out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::common::{Lab, SWEEP, Server, files, report};
use serde_json::Value;

fn parse(lab: &Lab, file: &str) -> Value {
    serde_json::from_slice(&fs::read(lab.path(file)).expect("the file is there")).expect("the file is JSON")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("{key} is a list, not {}", value[key]))
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str)).collect()
}

#[test]
fn the_report_is_the_same_bytes_whoever_computed_what_with_whom() {
    let lab = Lab::new(SWEEP, 300);
    lab.run(&["run", "sweep.yaml", "--out", "first"]).expect(0);
    let expected = report(&lab.path("first"));
    for (name, options) in [
        ("again", &[][..]),
        ("one-worker", &["--workers", "1", "--lanes", "4"]),
        ("three-workers", &["--workers", "3", "--lanes", "4"]),
        ("one-lane", &["--lanes", "1"]),
        ("sixteen-lanes", &["--lanes", "16", "--workers", "2"]),
    ] {
        lab.run(&[&["run", "sweep.yaml", "--out", name], options].concat()).expect(0);
        assert_eq!(report(&lab.path(name)), expected, "{name}");
    }
}

#[test]
fn a_coordinator_with_two_workers_gives_the_files_of_a_run() {
    let lab = Lab::new(SWEEP, 300);
    lab.run(&["run", "sweep.yaml", "--out", "run", "--lanes", "4"]).expect(0);
    let server = Server::start(&lab);
    let submit = ["submit", "sweep.yaml", "--coordinator", &server.address, "--wait", "--out", "submit"];
    let submitted = lab.start(&submit);
    let workers = [server.worker(&lab, "one"), server.worker(&lab, "two")];
    submitted.end().expect(0);
    let mut run = files(&lab.path("run"));
    run.retain(|path, _| !path.starts_with(".secateur"));
    assert_eq!(files(&lab.path("submit")), run);
    // Known and finished: nobody has anything to do.
    drop(workers);
    let again = lab.run(&[&submit[..], &["--output", "json"]].concat()).expect(0).json();
    assert_eq!((&again["state"], &again["stages_ended"]), (&"completed".into(), &again["stages"]));
    assert_eq!(files(&lab.path("submit")), run);
}

/// Units that went leave a net without them, with the parameters that are counted.
#[test]
fn pruned_units_leave_a_smaller_net() {
    let sweep = SWEEP
        .replace("strategy: [magnitude, taylor]", "strategy: filter_norm\n  granularity: neuron\n  scope: local")
        .replace("strength: [0, 1.0e-3]", "strength: 0");
    let lab = Lab::new(&sweep, 300);
    lab.run(&["run", "sweep.yaml", "--out", "out", "--lanes", "4"]).expect(0);
    let report = parse(&lab, "out/report.json");
    let mut small = 0;
    for trial in list(&report, "trials") {
        let file = format!("out/models/{}.small.safetensors", trial["id"].as_str().expect("an id"));
        let Ok(bytes) = fs::read(lab.path(&file)) else { continue };
        let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"))).expect("it is short");
        let numbers = ((bytes.len() - 8 - header) / 4) as f64;
        let nonzero = trial["metrics"]["nonzero_parameters"].as_f64().expect("a count");
        // What is left is dense, but for biases that happen to be zero.
        assert!((nonzero..=nonzero + 8.0).contains(&numbers), "{numbers} and {nonzero}");
        let inputs = parse(&lab, &file.replace("safetensors", "inputs.json"));
        assert!(!list(&inputs, "inputs").is_empty());
        small += 1;
    }
    assert!(small > 0, "no net of the front has lost a unit");
}

/// A net that one sweep has left begins another, here and at a coordinator, and is measured as it was.
#[test]
fn a_net_of_one_sweep_begins_another() {
    let lab = Lab::new(SWEEP, 300);
    lab.run(&["run", "sweep.yaml", "--out", "first"]).expect(0);
    let first = parse(&lab, "first/report.json");
    let trial = list(&first, "trials").iter().find(|trial| {
        lab.path(&format!("first/models/{}.safetensors", trial["id"].as_str().expect("an id"))).is_file()
    });
    let trial = trial.expect("a trial with a model");
    let model = format!("first/models/{}.safetensors", trial["id"].as_str().expect("an id"));
    let from_file = SWEEP
        .replace("hidden: [8, 4]}", &format!("hidden: [8, 4], weights: {model}}}"))
        .replace("name: small", "name: second")
        .replace("strategy: [magnitude, taylor]", "strategy: magnitude")
        .replace("strength: [0, 1.0e-3]", "strength: 0");
    lab.write("second.yaml", from_file);
    lab.run(&["run", "second.yaml", "--out", "second", "--lanes", "4"]).expect(0);
    let plan = parse(&lab, "second/plan.json");
    let stages = |plan: &Value, kind: &str| {
        list(plan, "stages").iter().filter(|stage| stage["spec"]["stage"] == kind).cloned().collect::<Vec<_>>()
    };
    assert_eq!((stages(&plan, "import").len(), stages(&plan, "dense").len()), (1, 0));
    let report_of_second = parse(&lab, "second/report.json");
    assert_eq!(report_of_second["sweep"]["weights"]["path"], model.as_str());
    let server = Server::start(&lab);
    let submit = ["submit", "second.yaml", "--coordinator", &server.address, "--wait", "--out", "submitted"];
    let submitted = lab.start(&submit);
    let _worker = server.worker(&lab, "one");
    submitted.end().expect(0);
    assert_eq!(report(&lab.path("submitted")), report(&lab.path("second")));
}

#[test]
fn a_finished_sweep_run_again_computes_nothing_and_leaves_the_same_files() {
    let lab = Lab::new(SWEEP, 300);
    let run = ["run", "sweep.yaml", "--out", "out", "--lanes", "4", "--output", "json"];
    let first = lab.run(&run).expect(0).json();
    let trials = first["trials"].as_u64().expect("a number");
    assert!(trials > 0);
    assert_eq!(first["state"], "completed");
    assert_eq!((&first["trials_completed"], &first["trials_failed"]), (&trials.into(), &0.into()));
    assert_eq!((&first["stages_computed"], &first["stages_ended"]), (&first["stages"], &first["stages"]));
    assert_eq!(first["lane_steps_ended"], first["lane_steps"]);
    let mut before = files(&lab.path("out"));
    let second = lab.run(&run).expect(0).json();
    assert_eq!(second["stages_computed"], 0);
    assert_eq!(second["trials_completed"], trials);
    let mut after = files(&lab.path("out"));
    for files in [&mut before, &mut after] {
        // The journal notes that a new life began.
        let notes = [".secateur/journal.db", ".secateur/manifest.json"];
        files.retain(|path, _| !notes.iter().any(|note| path.starts_with(note)));
    }
    assert_eq!(after, before);
}

#[test]
fn the_default_folder_is_found_again() {
    let lab = Lab::new(SWEEP, 200);
    let plan = lab.run(&["plan", "sweep.yaml", "--output", "json"]).expect(0).json();
    let id = plan["sweep"]["id"].as_str().expect("an id").to_owned();
    let run = ["run", "sweep.yaml", "--lanes", "4", "--output", "json"];
    assert_eq!(lab.run(&run).expect(0).json()["sweep_id"], *id);
    assert!(lab.path(&format!("runs/small-{id}/report.html")).is_file());
    assert_eq!(lab.run(&run).expect(0).json()["stages_computed"], 0);
}

#[test]
fn a_plan_writes_nothing_and_is_what_the_run_does() {
    let lab = Lab::new(SWEEP, 200);
    let before = lab.files();
    let text = lab.run(&["plan", "sweep.yaml"]).expect(0).stdout;
    assert!(text.contains("small"), "{text}");
    let plan = lab.run(&["plan", "sweep.yaml", "--output", "json"]).expect(0).json();
    assert_eq!(lab.files(), before);
    lab.run(&["run", "sweep.yaml", "--out", "out", "--lanes", "4"]).expect(0);
    assert_eq!(parse(&lab, "out/plan.json"), plan);
}

/// Two strategies, two sparsities and two strengths: 8 cells. Sparsities that come to the same counts are added, and one that
/// empties a layer.
#[test]
fn the_files_have_the_shape_that_is_promised() {
    let lab = Lab::new(&SWEEP.replace("[0.5, 0.8]", "[0.5, 0.5001, 0.8]"), 300);
    let status = lab.run(&["run", "sweep.yaml", "--out", "out", "--lanes", "4", "--output", "json"]).expect(0).json();
    for file in ["report.html", "report.md", "report.json", "trials.csv", "front.csv", "plan.json"] {
        assert!(fs::metadata(lab.path(&format!("out/{file}"))).is_ok_and(|file| file.len() > 0), "{file}");
    }
    let page = fs::read_to_string(lab.path("out/report.html")).expect("text");
    for elsewhere in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!page.contains(elsewhere), "the page works offline, so it has no {elsewhere}");
    }
    let report = parse(&lab, "out/report.json");
    assert_eq!(report["schema"], 2);
    assert!(keys(&report["sweep"]).is_superset(&BTreeSet::from(["name", "id", "file_hash"])));
    assert_eq!((&report["sweep"]["name"], &report["sweep"]["id"]), (&"small".into(), &status["sweep_id"]));
    let file = fs::read(lab.path("sweep.yaml")).expect("the file is there");
    assert_eq!(report["sweep"]["file_hash"], secateur_proto::ids::ContentHash::of(&file).to_string());
    assert_eq!(list(&report, "objectives").len(), 2);

    let cells = list(&report, "cells");
    let (controls, asked): (Vec<&Value>, Vec<&Value>) = cells.iter().partition(|cell| cell["control"] == true);
    assert_eq!(asked.len(), 8);
    assert_eq!(list(&report, "merged").len(), 4, "0.5001 removes as many weights as 0.5");
    assert!(!controls.is_empty());
    for cell in cells {
        assert!(cell["id"].is_string() && cell["settings"]["pruning.sparsity"].is_number(), "{cell}");
        let auc = &cell["metrics"]["auc"];
        assert_eq!(keys(auc), BTreeSet::from(["test", "validation"]));
        for summary in [&auc["validation"], &auc["test"], &cell["metrics"]["nonzero_parameters"]] {
            assert_eq!(keys(summary), BTreeSet::from(["ci95", "mean", "n", "sd"]));
            assert_eq!((&summary["n"], list(summary, "ci95").len()), (&2.into(), 2));
        }
    }
    let metrics = "auc average_precision gini ks log_loss brier ece accuracy error parameters nonzero_parameters compression_ratio sparsity macs \
                   theoretical_speedup size_bytes";
    let metrics: BTreeSet<&str> = metrics.split(' ').collect();
    let trials = list(&report, "trials");
    assert_eq!((trials.len() as u64, cells.len() * 2), (status["trials"].as_u64().expect("a number"), trials.len()));
    for trial in trials {
        assert_eq!(trial["outcome"], "completed");
        assert_eq!(trial["id"], format!("{}-{}", trial["cell"].as_str().expect("an id"), trial["seed"]));
        assert_eq!(keys(&trial["metrics"]), metrics);
        assert!(trial["metrics"]["auc"]["validation"].is_f64() && trial["metrics"]["macs"].is_f64());
        assert!(list(trial, "stages").len() >= 2);
    }
    let models: BTreeSet<_> = files(&lab.path("out/models")).into_keys().collect();
    for trial in trials.iter().filter(|trial| list(&report, "front").contains(&trial["cell"])) {
        let id = trial["id"].as_str().expect("an id");
        assert!(models.contains(std::path::Path::new(&format!("{id}.safetensors"))), "{id}: {models:?}");
    }
    let rows = |file: &str| fs::read_to_string(lab.path(file)).expect("text").lines().count() - 1;
    assert_eq!(rows("out/trials.csv"), trials.len());
    assert_eq!(rows("out/front.csv"), list(&report, "front").len());
}

/// The mean of a metric over the trials of a cell, from the trials alone.
fn mean(report: &Value, cell: &Value, metric: &str) -> f64 {
    let trials = list(report, "trials").iter().filter(|trial| trial["cell"] == cell["id"]);
    let values = trials.map(|trial| match &trial["metrics"][metric] {
        Value::Object(splits) => splits["validation"].as_f64().expect("a number"),
        value => value.as_f64().expect("a number"),
    });
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn the_devices_are_listed_with_their_speed() {
    let lab = Lab::new(SWEEP, 10);
    let ended = lab.run(&["worker", "--list-devices", "--output", "json"]).expect(0);
    // It takes more than a second.
    assert!(ended.stderr.contains("measuring cpu"), "{}", ended.stderr);
    let listed = ended.json();
    let cpu = &list(&listed, "devices")[0];
    assert_eq!(cpu["name"], "cpu");
    assert!(cpu["lane_steps_per_second"].as_f64().is_some_and(|rate| rate > 1.0), "{cpu}");
    assert!(cpu["memory_bytes"].as_u64().is_none_or(|bytes| bytes > 1 << 26), "{cpu}");
}

#[test]
fn the_front_is_what_the_validation_means_of_the_trials_say() {
    let lab = Lab::new(&SWEEP.replace("[0.5, 0.8]", "[0.3, 0.5, 0.7, 0.85]"), 300);
    lab.run(&["run", "sweep.yaml", "--out", "out", "--lanes", "4"]).expect(0);
    let report = parse(&lab, "out/report.json");
    let points: Vec<(&Value, f64, f64)> = list(&report, "cells")
        .iter()
        .filter(|cell| cell["control"] == false)
        .map(|cell| (cell, mean(&report, cell, "auc"), mean(&report, cell, "nonzero_parameters")))
        .collect();
    for (cell, auc, _) in &points {
        let told = cell["metrics"]["auc"]["validation"]["mean"].as_f64().expect("a number");
        assert!((told - auc).abs() < 1e-12, "{told} {auc}");
    }
    let dominated =
        |auc: f64, size: f64| points.iter().any(|(_, a, s)| *a >= auc && *s <= size && (*a > auc || *s < size));
    let front: BTreeSet<&str> = points
        .iter()
        .filter(|(_, auc, size)| !dominated(*auc, *size))
        .map(|(cell, ..)| cell["id"].as_str().expect("an id"))
        .collect();
    assert!(!front.is_empty() && front.len() < points.len());
    let told: BTreeSet<&str> = list(&report, "front").iter().filter_map(Value::as_str).collect();
    assert_eq!(told, front);
    for cell in list(&report, "cells") {
        let on_front = cell["id"].as_str().is_some_and(|id| front.contains(id));
        assert_eq!(cell["on_front"], on_front, "{}", cell["id"]);
        assert!(!(on_front && cell["control"] == true));
    }
}

/// The metrics of the completed trials, by what decides them.
fn completed(report: &Value, lr: &str) -> BTreeMap<String, Value> {
    let cells: BTreeMap<&str, &Value> =
        list(report, "cells").iter().map(|cell| (cell["id"].as_str().expect("an id"), &cell["settings"])).collect();
    let trials = list(report, "trials").iter().filter(|trial| trial["outcome"] == "completed");
    trials
        .map(|trial| {
            let mut settings = cells[trial["cell"].as_str().expect("an id")].clone();
            settings.as_object_mut().expect("a map").remove(lr);
            (format!("{settings} {}", trial["seed"]), trial["metrics"].clone())
        })
        .collect()
}

#[test]
fn trials_that_diverge_are_reported_and_touch_no_neighbour() {
    let lab = Lab::new(SWEEP, 200);
    lab.run(&["run", "sweep.yaml", "--out", "alone", "--lanes", "16"]).expect(0);
    lab.write("sweep.yaml", SWEEP.replace("lr: 1.0e-2", "lr: [1.0e-2, 1.0e+30]"));
    let ended = lab.run(&["run", "sweep.yaml", "--out", "out", "--lanes", "16", "--output", "json"]).expect(1);
    let status = ended.json();
    assert_eq!((&status["state"], &status["trials_failed"]), (&"completed".into(), &status["trials_completed"]));
    assert!(ended.stderr.contains("diverged at step"), "{}", ended.stderr);
    let [alone, report] = ["alone", "out"].map(|folder| parse(&lab, &format!("{folder}/report.json")));
    let [expected, found] = [&alone, &report].map(|report| completed(report, "training.optimizer.lr"));
    assert_eq!(expected.len(), list(&alone, "trials").len());
    assert_eq!(found, expected);
    assert_eq!(list(&report, "failed").len(), expected.len());
    assert!(list(&report, "failed").iter().all(|failed| failed["outcome"] == "diverged"));
    assert!(lab.path("out/report.html").is_file());
}

#[test]
fn a_reader_that_has_had_enough_does_not_stop_the_sweep() {
    use std::process::Stdio;
    let lab = Lab::new(SWEEP, 200);
    let mut command = lab.secateur(&["run", "sweep.yaml", "--out", "out", "--lanes", "4"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    // As `2>&1 | head -0` does: whatever is logged from now on goes nowhere.
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("waits").code(), Some(0));
    assert!(lab.path("out/report.html").is_file());
}
