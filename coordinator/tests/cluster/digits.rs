//! The classical table on images that come along: what is known of pruning LeNet-300-100 holds on small digits too.

use std::process::Command;

use serde_json::Value;

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/digits.yaml");

/// Test errors of the one cell with this strategy and sparsity, by seed from 0.
fn errors(report: &Value, strategy: &str, sparsity: f64) -> Vec<f64> {
    let cells: Vec<&Value> = (report["cells"].as_array().expect("cells").iter())
        .filter(|cell| {
            let settings = &cell["settings"];
            settings["pruning.strategy"] == strategy && settings["pruning.sparsity"] == sparsity
        })
        .collect();
    assert_eq!(cells.len(), 1, "one cell of {strategy} at {sparsity}");
    let trials = report["trials"].as_array().expect("trials").iter().filter(|trial| trial["cell"] == cells[0]["id"]);
    let errors: Vec<f64> =
        trials.map(|trial| trial["metrics"]["error"]["test"].as_f64().expect("a completed trial")).collect();
    assert_eq!(errors.len(), 5, "five seeds");
    errors
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn the_classical_table_holds_on_small_digits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let run = Command::new(env!("CARGO_BIN_EXE_secateur")).args(["run", DIGITS, "--out"]).arg(&out).output();
    let run = run.expect("the program runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report = std::fs::read(out.join("report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");

    let dense = mean(&errors(&report, "none (trained 4 times)", 0.0));
    assert!(dense < 0.1, "the dense net errs on {dense}");
    // Twelve times fewer weights cost nothing (Han et al. 2015), fifty times fewer little.
    for (sparsity, cost) in [(0.9167, 0.01), (0.98, 0.03)] {
        let pruned = mean(&errors(&report, "magnitude", sparsity));
        assert!(pruned < dense + cost, "magnitude at {sparsity} errs on {pruned}, the dense net on {dense}");
    }
    // SNIP before training beats chance (Lee et al. 2019), seed by seed.
    let (snip, random) = (errors(&report, "snip", 0.98), errors(&report, "random", 0.98));
    assert!(snip.iter().zip(&random).all(|(snip, random)| snip < random), "{snip:?} and {random:?}");
    assert!(mean(&snip) < dense + 0.1, "SNIP at 0.98 errs on {}", mean(&snip));
}
