//! `pruning.prune_from`: which net of a training is pruned.

use secateur_proto::spec::SelectBy;

use super::*;

fn from(value: &str, others: &[&str]) -> Plan {
    let line = format!("  sparsity: [0.5, 0.9]\n  prune_from: {value}");
    let mut lines = vec![line.as_str()];
    lines.extend(others);
    planned(&small_with(&lines))
}

/// How the epochs of each training are selected, along the chain of the first trial of the last cell of the file.
fn selections(plan: &Plan) -> Vec<SelectBy> {
    let cell = plan.cells.iter().rfind(|cell| cell.control.is_none()).expect("a cell");
    let trial = plan.trials.iter().find(|trial| trial.cell == cell.id).expect("a trial");
    let stages = trial.stages.iter().filter_map(|key| plan.stages.iter().find(|stage| stage.key == *key));
    stages.filter_map(|stage| Some(stage.spec.training()?.spec.select_by)).collect()
}

#[test]
fn the_net_that_is_pruned_is_of_the_last_epoch_and_the_one_that_is_reported_of_the_best() {
    use SelectBy::{Auc, Last};
    assert_eq!(selections(&from("best", &[])), [Auc, Auc]);
    assert_eq!(selections(&from("last", &[])), [Last, Auc]);
    // Every level but the last is pruned again.
    let levels = "  schedule: {iterative: {levels: [0.3, 0.6]}}";
    let ladder = |value: &str| {
        let text = small_with(&[&format!("  sparsity: 0.9\n{levels}\n  prune_from: {value}")]);
        selections(&planned(&text))
    };
    assert_eq!(ladder("last"), [Last, Last, Last, Auc]);
    assert_eq!(ladder("best"), [Auc; 4]);
}

#[test]
fn the_default_is_what_sweeps_have_always_done() {
    assert_eq!(from("best", &[]).stages, planned(&small_with(&["  sparsity: [0.5, 0.9]"])).stages);
    assert_eq!(from("best", &[]).cells, planned(&small_with(&["  sparsity: [0.5, 0.9]"])).cells);
}

#[test]
fn as_an_axis_it_has_cells_and_dense_controls_of_its_own() {
    let plan = from("[best, last]", &[]);
    let asked = plan.cells.iter().filter(|cell| cell.control.is_none());
    let dense: std::collections::BTreeSet<_> = asked.map(|cell| cell.dense_control.clone()).collect();
    assert_eq!(dense.len(), 2);
    assert!(plan.merged.is_empty());
    assert_eq!(plan.methods().len(), 2, "{:?}", plan.methods());
}

/// Nothing that was trained is pruned, so the two are one.
#[test]
fn where_it_decides_nothing_points_are_merged() {
    let plan = from("[best, last]", &["  strategy: snip"]);
    assert_eq!(plan.merged.len(), 2);
    insta::assert_snapshot!(format!("{}\n{}", plan.merged[0].reason, plan.methods().join("\n")));
}
