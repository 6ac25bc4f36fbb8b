//! Sweep files that grow, and searches: what is computed, and what is not computed again.

use std::{
    collections::BTreeMap,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::common::{Ended, Lab, Process, SWEEP, is_alive, report, until};
use serde_json::Value;

const RUN: [&str; 6] = ["run", "sweep.yaml", "--lanes", "4", "--output", "json"];

/// A report's numbers: cells are called by their settings, trials are in the order of their names, and nothing is said of parts.
fn numbers(folder: &Path) -> Value {
    let text = String::from_utf8(report(folder)).expect("text");
    let parsed: Value = serde_json::from_str(&text).expect("json");
    let mut names = BTreeMap::new();
    for cell in parsed["cells"].as_array().expect("cells") {
        let name = format!("{} {}", cell["settings"], cell["control_kind"]).replace('"', "'");
        assert!(names.insert(name, cell["id"].as_str().expect("an id").to_owned()).is_none());
    }
    let text = names.iter().fold(text, |text, (name, id)| text.replace(id, name));
    let mut numbers: Value = serde_json::from_str(&text).expect("json");
    numbers.as_object_mut().expect("a report").remove("parts");
    numbers["sweep"]["id"] = Value::Null;
    for list in ["trials", "cells"] {
        for entry in numbers[list].as_array_mut().expect("a list") {
            entry.as_object_mut().expect("an object").remove("part");
        }
    }
    numbers["trials"].as_array_mut().expect("trials").sort_by_key(|trial| trial["id"].to_string());
    numbers
}

fn count(status: &Value, what: &str) -> u64 {
    status[what].as_u64().unwrap_or_else(|| panic!("{what} of {status}"))
}

fn folder(lab: &Lab, status: &Value) -> PathBuf {
    lab.path(status["folder"].as_str().expect("a folder"))
}

#[test]
fn a_run_of_a_grown_file_computes_only_the_difference() {
    let lab = Lab::new(SWEEP, 300);
    let first = lab.run(&RUN).expect(0).json();
    // Another strategy, which was a control, another sparsity and another seed; and a setting that begins to vary.
    let grown = SWEEP
        .replace("[magnitude, taylor]", "[magnitude, taylor, random]")
        .replace("  sparsity: [0.5, 0.8]", "  scope: [global, local]\n  sparsity: [0.5, 0.8, 0.9]")
        .replace("seeds: 2", "seeds: 3");
    lab.write("sweep.yaml", &grown);
    let ended = lab.run(&RUN).expect(0);
    let second = ended.json();
    assert_eq!((&second["sweep_id"], &second["folder"]), (&first["sweep_id"], &first["folder"]));
    for said in ["the file extends the sweep in runs/small-", "is extended by"] {
        assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
    }
    assert_eq!(count(&first, "stages_computed"), count(&first, "stages"));
    assert_eq!(count(&second, "stages_computed"), count(&second, "stages") - count(&first, "stages"));

    let fresh = lab.run(&[&RUN[..], &["--out", "fresh"]].concat()).expect(0).json();
    assert_eq!(
        (count(&fresh, "stages"), count(&fresh, "trials")),
        (count(&second, "stages"), count(&second, "trials"))
    );
    let place = folder(&lab, &second);
    assert_eq!(numbers(&place), numbers(&lab.path("fresh")));
    let parts = serde_json::from_slice::<Value>(&report(&place)).expect("json")["parts"].clone();
    let trials: Vec<u64> = parts.as_array().expect("parts").iter().map(|part| count(part, "trials")).collect();
    assert_eq!(trials, [count(&first, "trials"), count(&second, "trials") - count(&first, "trials")]);
    let page = std::fs::read_to_string(place.join("report.md")).expect("a report");
    assert!(page.contains(" were in the sweep before it was extended on "), "{page}");
    let mut models: Vec<_> =
        std::fs::read_dir(place.join("models")).expect("nets").map(|net| net.expect("reads").file_name()).collect();
    models.sort();
    assert!(models.len() > 1, "{models:?}");

    // The same file again, and that of the beginning: there is nothing to do.
    let bytes = report(&place);
    for text in [grown.as_str(), SWEEP] {
        lab.write("sweep.yaml", text);
        let again = lab.run(&RUN).expect(0).json();
        assert_eq!((&again["folder"], count(&again, "stages_computed")), (&first["folder"], 0));
        assert!(report(&place) == bytes, "the report differs");
    }
    // A file that does not ask for all of it gets a folder of its own.
    lab.write("sweep.yaml", grown.replace("seeds: 3", "seeds: 1"));
    let fewer = lab.run(&RUN).expect(0).json();
    assert_ne!(fewer["folder"], first["folder"]);
    // Where it would not be certain which sweep is meant, neither is taken.
    lab.write("sweep.yaml", grown.replace("seeds: 3", "seeds: 4"));
    let either = lab.run(&RUN).expect(0);
    assert!(either.stderr.contains("the file extends several sweeps"), "{}", either.stderr);
    assert_eq!(count(&either.json(), "stages_computed"), count(&either.json(), "stages"));
    // It is, where a person says so.
    let named = lab.run(&[&RUN[..], &["--out", fewer["folder"].as_str().expect("a folder")]].concat()).expect(0).json();
    assert_eq!((&named["sweep_id"], &named["trials"]), (&fewer["sweep_id"], &either.json()["trials"]));
    assert_eq!(count(&named, "stages_computed"), count(&named, "stages") - count(&fewer, "stages"));
    assert_eq!(numbers(&folder(&lab, &named)), numbers(&folder(&lab, &either.json())));
}

/// Each of its 64 cells has a dense net of its own.
const SEARCH: &str = "\
version: 1
name: search
data:
  path: table.csv
  target: y
  task: binary
  split: {kind: stratified, train: 0.6, validation: 0.2, test: 0.2, seed: 1}
model: {kind: mlp, hidden: [6]}
training: {optimizer: {kind: adam, lr: {low: 1.0e-3, high: 1.0e-1, log: true}}, batch_size: 32, epochs: 3}
pruning: {strategy: [magnitude, random], sparsity: {low: 0.3, high: 0.9}, retrain: {epochs: 2}}
seeds: 1
controls: none
search: {sampler: sobol, trials: 64, seed: 2}
";

/// Kills a run and all that it has started, at once.
pub(crate) fn kill_group(process: Process) -> Ended {
    let group = process.id();
    let executors = process.executors();
    let sent = Command::new("sh").args(["-c", &format!("kill -s KILL -- -{group}")]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    let ended = process.end();
    until("executors are gone", || executors.iter().all(|id| !is_alive(*id)).then_some(()));
    ended
}

#[test]
fn a_search_that_is_killed_again_and_again_computes_the_same_cells() {
    let lab = Lab::new(SEARCH, 200);
    let run = |out| ["run", "sweep.yaml", "--out", out, "--lanes", "2", "--workers", "2", "--output", "json"];
    let whole = lab.run(&run("undisturbed")).expect(0).json();
    assert_eq!(count(&whole, "trials"), 64);
    let mut seed = 5_u64;
    for _ in 0..10 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut command = lab.secateur(&run("killed"));
        let mut process = Process::start({
            command.process_group(0);
            command
        });
        for _ in 0..1 + (seed >> 33) % 4 {
            process.wait_for(&["a stage ended", "completed"]);
        }
        let killed = kill_group(process);
        assert_eq!(killed.code, None, "the kill came too late: {}", killed.stderr);
    }
    let ended = lab.run(&run("killed")).expect(0).json();
    let computed = count(&ended, "stages_computed");
    assert!(0 < computed && computed < count(&whole, "stages"), "{computed} of {} stages", count(&whole, "stages"));
    assert!(report(&lab.path("killed")) == report(&lab.path("undisturbed")), "the report differs");

    // More of them keep those that there are.
    lab.write("sweep.yaml", SEARCH.replace("trials: 64", "trials: 80"));
    let more = lab.run(&run("killed")).expect(0).json();
    assert_eq!((count(&more, "trials"), &more["sweep_id"]), (80, &ended["sweep_id"]));
    assert_eq!(count(&more, "stages_computed"), count(&more, "stages") - count(&whole, "stages"));
}
