//! Reference models in a sweep: what is computed of them, where they are told, and what does not take them.

use serde_json::Value;

use crate::common::{Lab, SWEEP, report};

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_else(|| panic!("{key} is a list, not {}", value[key]))
}

#[test]
fn reference_models_are_computed_once_and_reported_beside_the_nets() {
    let lab = Lab::new(&format!("{SWEEP}references: [logistic]\n"), 300);
    let run = ["run", "sweep.yaml", "--out", "out", "--lanes", "4", "--output", "json"];
    let first = lab.run(&run).expect(0).json();
    // Another model and another seed: the seed adds no stage of a reference model.
    let grown = SWEEP.replace("seeds: 2", "seeds: 3");
    lab.write("sweep.yaml", format!("{grown}references: [logistic, boosting]\n"));
    let second = lab.run(&run).expect(0).json();
    assert_eq!(second["sweep_id"], first["sweep_id"]);

    let parsed: Value = serde_json::from_slice(&report(&lab.path("out"))).expect("json");
    let trials = list(&parsed, "trials");
    let mut stages = Vec::new();
    for kind in ["logistic", "boosting"] {
        let cells = list(&parsed, "cells").iter().filter(|cell| cell["settings"]["reference"] == kind);
        let [cell] = cells.collect::<Vec<_>>()[..] else { panic!("one cell of {kind}") };
        assert_eq!((&cell["control_kind"], &cell["on_front"]), (&kind.into(), &false.into()));
        let own: Vec<_> = trials.iter().filter(|trial| trial["cell"] == cell["id"]).collect();
        let seeds: Vec<_> = own.iter().filter_map(|trial| trial["seed"].as_u64()).collect();
        assert!(own.iter().all(|trial| trial["outcome"] == "completed"), "{own:?}");
        assert_eq!(seeds.len(), 3, "{seeds:?}");
        // One stage, so the same numbers.
        assert!(
            own.iter().all(|trial| (&trial["metrics"], &trial["stages"]) == (&own[0]["metrics"], &own[0]["stages"]))
        );
        stages.push(own[0]["stages"].clone());
        for metric in ["auc", "log_loss", "ks", "ece"] {
            assert!(own[0]["metrics"][metric]["test"].is_f64(), "{metric}: {}", own[0]["metrics"]);
        }
        assert!(own[0]["metrics"]["nonzero_parameters"].is_number());
        assert!(own[0]["metrics"]["sparsity"].is_null());
        assert!(own[0]["artifacts"]["scores"].is_string() && own[0]["artifacts"]["reference"].is_string());

        let id = own[0]["id"].as_str().expect("an id");
        let cell_id = cell["id"].as_str().expect("an id");
        let new = lab.path("table.csv").display().to_string();
        for refused in [
            &["export", id, "--run", "out", "--out", "deploy"][..],
            &["export", cell_id, "--run", "out", "--out", "deploy"],
            &["score", id, &new, "--run", "out"],
        ] {
            let ended = lab.run(refused).expect(2);
            assert!(ended.stderr.contains("has no net: it is a reference model"), "{}", ended.stderr);
        }
        assert!(!lab.path(&format!("out/models/{id}.safetensors")).exists());
    }
    assert_ne!(stages[0], stages[1]);
    let plan = lab.run(&["plan", "sweep.yaml", "--output", "json"]).expect(0).json();
    let references = list(&plan, "stages").iter().filter(|stage| stage["spec"]["stage"] == "reference");
    assert_eq!(references.count(), 2);
    let page = std::fs::read_to_string(lab.path("out/report.md")).expect("a report");
    assert!(page.contains("| logistic regression |") && page.contains("| gradient boosting |"), "{page}");
}
