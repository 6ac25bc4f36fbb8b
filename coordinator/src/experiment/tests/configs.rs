use std::{fs, path::Path};

use secateur_proto::spec::TableFormat;

use super::*;
use crate::experiment::{ClassRows, PlanSummary};

fn mnist() -> InputFacts {
    let classes = (0..10).map(|class| ClassRows { name: class.to_string(), rows: [5400, 600, 1000] }).collect();
    InputFacts { rows: [54_000, 6_000, 10_000], classes, columns: 0, inputs: 784, image: Some([1, 28, 28]), ..table() }
}

#[test]
fn lottery_tickets_share_their_ladder() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/lottery-ticket.yaml");
    let text = fs::read_to_string(path).expect("a config can be read");
    let spec = SweepSpec::parse("lottery-ticket.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    let plan = plan(&spec, &text, mnist()).unwrap_or_else(|problems| panic!("{problems}")).unpack();
    let stages = |wanted: &str| {
        plan.trials.iter().find(|trial| {
            let cell = plan.cells.iter().find(|cell| cell.id == trial.cell).expect("a cell");
            cell.settings["pruning.sparsity"] == 0.9648 && cell.settings["pruning.ablation"] == wanted
        })
    };
    let (ticket, other) = (stages("none").expect("a trial"), stages("reinitialize").expect("a trial"));
    // Prepare, dense, fifteen levels, of which the last alone differs.
    assert_eq!((ticket.stages.len(), other.stages.len()), (17, 17));
    assert_eq!(ticket.stages[..16], other.stages[..16]);
    assert_ne!(ticket.stages[16], other.stages[16]);
}

#[test]
fn every_file_in_configs_is_parsed_and_planned() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).expect("configs/ is there") {
        let path = entry.expect("configs/ can be listed").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).expect("a config can be read");
            let spec =
                SweepSpec::parse(&path.display().to_string(), &text).unwrap_or_else(|problems| panic!("{problems}"));
            let images = spec.data.settings.format == TableFormat::Idx;
            let facts = if images { mnist() } else { table() };
            plan(&spec, &text, facts).unwrap_or_else(|problems| panic!("{problems}"));
            // MNIST does not come with the project.
            let comes = spec.data.path != "data/mnist";
            assert!(!comes || folder.join(&spec.data.path).exists(), "{} is missing", spec.data.path);
            names.push(spec.name);
        }
    }
    names.sort();
    assert_eq!(
        names,
        [
            "credit-180",
            "credit-strategies",
            "digits",
            "german-credit",
            "lenet-mnist",
            "lenet5-mnist",
            "lottery-ticket",
            "quantization",
            "sba-loans",
            "sba-loans-by-year"
        ]
    );
}

/// What credit_180.py does in PyTorch, and nothing else.
#[test]
fn the_timed_sweep_is_that_of_its_peer() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/credit-180.yaml");
    let summary = PlanSummary::of(&planned(&fs::read_to_string(path).expect("the sweep is there")));
    assert_eq!((summary.cells, summary.controls, summary.seeds, summary.trials), (60, 0, 3, 180));
    // The penalty is on in retraining alone, so all strengths share the dense nets.
    assert_eq!((summary.stages.of("dense"), summary.stages.of("prune")), (3, 180));
    assert!(summary.merged.is_empty() && summary.refused.is_empty());
}

#[test]
fn the_main_job_is_what_it_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/sba-loans.yaml");
    let plan = planned(&fs::read_to_string(path).expect("the main job is there"));
    let summary = PlanSummary::of(&plan);
    // 4 strategy and scope combinations × 5 sparsities × 3 strengths, and what they are compared with: 3 dense, 15 random local, 15
    // small from scratch, 2 reference models.
    assert_eq!((summary.cells, summary.controls, summary.seeds), (60, 35, 3));
    assert_eq!(summary.trials, 95 * 3);
    assert_eq!(summary.stages.of("reference"), 2);
    // The penalty is on in both phases, so there is a dense net for each strength and seed.
    assert_eq!((summary.stages.of("dense"), summary.stages.of("prune")), (9, 93 * 3));
    assert!(summary.merged.is_empty() && summary.refused.is_empty());
    // Retraining with a penalty and without, dense nets likewise, and small ones of five widths.
    let lanes: Vec<_> = summary.bundles.iter().map(|bundle| bundle.lanes).collect();
    assert_eq!(lanes, [156, 78, 6, 6, 6, 6, 6, 6, 3, 3, 3, 3, 3, 3]);
}

/// Keys of stages, and what cells are called, do not change by accident: results in old folders are found by them. A change on purpose
/// has a line in CHANGELOG.md that says why.
#[test]
fn every_config_plans_to_the_keys_it_always_had() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut found = String::new();
    let mut names: Vec<_> =
        fs::read_dir(&folder).expect("configs/ is there").flatten().map(|entry| entry.path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    names.sort();
    for path in names {
        let text = fs::read_to_string(&path).expect("a config can be read");
        let spec = SweepSpec::parse("sweep.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let facts = if spec.data.settings.format == TableFormat::Idx { mnist() } else { table() };
        let plan = plan(&spec, &text, facts).unwrap_or_else(|problems| panic!("{problems}")).unpack();
        let mut stages: Vec<String> = plan.stages.iter().map(|stage| stage.key.to_string()).collect();
        stages.sort();
        let cells: Vec<String> =
            plan.cells.iter().map(|cell| format!("{} {}", cell.id, serde_json::json!(cell.settings))).collect();
        let trials: Vec<String> = plan.trials.iter().map(|trial| format!("{} {:?}", trial.id, trial.stages)).collect();
        let digest = |lines: &[String]| ContentHash::of(lines.join("\n").as_bytes()).short(16);
        found += &format!(
            "{}: {} stages {}, {} cells {}, {} trials {}\n",
            spec.name,
            stages.len(),
            digest(&stages),
            cells.len(),
            digest(&cells),
            trials.len(),
            digest(&trials)
        );
    }
    assert_eq!(found, include_str!("golden/plans.txt"), "\n{found}");
}
