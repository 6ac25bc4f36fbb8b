use secateur_proto::spec::{CriterionSpec, Removal, StageSpec};
use serde_json::json;

use super::*;
use crate::experiment::{PlanSummary, plan::Control};

fn prune_stage(plan: &Plan, trial: usize) -> &secateur_proto::spec::PruneSpec {
    let key = plan.trials[trial].stages[2];
    match &plan.stages.iter().find(|stage| stage.key == key).expect("every stage of a trial is planned").spec {
        StageSpec::Prune(spec) => spec,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cell_and_its_controls() {
    let plan = planned(SMALL);
    let controls: Vec<_> = plan.cells.iter().map(|cell| cell.control).collect();
    assert_eq!(controls, [None, Some(Control::Dense), Some(Control::Random), Some(Control::ScratchEpochs)]);
    // 19 · 64 + 64 · 32 weights; the output layer is not pruned.
    assert_eq!((plan.cells[0].prunable_weights, plan.cells[0].removed_weights), (3264, Some(1632)));
    let settings = json!({"model.hidden": [64, 32], "pruning.strategy": "magnitude", "pruning.scope": "global", "pruning.sparsity": 0.5});
    assert_eq!(json!(plan.cells[0].settings), settings);
    let settings =
        json!({"model.hidden": [64, 32], "pruning.strategy": "none", "pruning.scope": "none", "pruning.sparsity": 0.0});
    assert_eq!(json!(plan.cells[1].settings), settings);
    assert_eq!(plan.cells[2].settings["pruning.strategy"], "random");
    // One prepare, two dense (one a seed), eight prune: each cell retrains, or trains.
    assert_eq!(plan.stages.len(), 1 + 2 + 8);
    assert_eq!(plan.trials.len(), 8);
    assert_eq!(prune_stage(&plan, 0).criterion, Some(CriterionSpec::new("magnitude", &[])));
    assert_eq!(prune_stage(&plan, 0).removal, Removal::global(1632));
    assert_eq!(prune_stage(&plan, 2).criterion, None);
    assert_eq!(prune_stage(&plan, 4).criterion, Some(CriterionSpec::new("random", &[])));
    // ⌈600 / 256⌉ = 3 steps an epoch.
    assert_eq!(plan.stages.iter().map(|stage| stage.lane_steps).collect::<Vec<_>>()[..4], [0, 60, 60, 30]);
}

#[test]
fn ids_depend_on_the_file_and_the_table_alone() {
    let plan_one = planned(SMALL);
    assert_eq!(planned(SMALL), plan_one);
    // A comment, the order of keys and the spelling of a number are no difference; a value is one.
    let again = SMALL.replace("target: y\n  task: binary", "task: binary\n  target: y").replace("0.5", "5.0e-1");
    let plan_two = planned(&format!("# a comment\n{again}"));
    assert_eq!(plan_two.sweep.id, plan_one.sweep.id);
    assert_ne!(plan_two.sweep.file_hash, plan_one.sweep.file_hash);
    assert_eq!(plan_two.sweep.former_id(), planned(&format!("# a comment\n{again}")).sweep.former_id());
    assert_ne!(plan_two.sweep.former_id(), plan_one.sweep.former_id());
    let plan_two = planned(&format!("{SMALL}attempts: 2\n"));
    assert_ne!(plan_two.sweep.id, plan_one.sweep.id);
    assert_eq!(plan_two.stages, plan_one.stages);
    let spec = SweepSpec::parse("elsewhere.yaml", SMALL).expect("the file is right");
    let mut other = table();
    other.artifact.hash = ContentHash::of(b"another table");
    let plan_three = plan(&spec, SMALL, other).expect("the file is right").unpack();
    assert_ne!(plan_three.sweep.id, plan_one.sweep.id);
    assert_eq!(plan_three.cells, plan_one.cells);
    assert!(plan_three.stages.iter().all(|stage| !plan_one.stages.contains(stage)));
    assert!(plan_one.cells.iter().all(|cell| cell.id.as_str().len() == 12));
    assert_eq!(plan_one.trials[1].id.to_string(), format!("{}-1", plan_one.cells[0].id));
}

#[test]
fn sparsities_that_round_to_one_count_are_one_cell() {
    let plan = planned(&small_with(&["  sparsity: [0.5, 0.5001]", "controls: none"]));
    assert_eq!((plan.cells.len(), plan.merged.len()), (1, 1));
    assert_eq!(plan.merged[0].into, plan.cells[0].id);
    assert_eq!(plan.merged[0].reason, "sparsity 0.5 and 0.5001 both remove 1632 of 3264 weights");
    assert_eq!(plan.merged[0].settings["pruning.sparsity"], 0.5001);
}

#[test]
fn a_cell_that_removes_nothing_becomes_the_dense_control() {
    let plan = planned(&small_with(&["  strategy: [random, magnitude]", "  sparsity: [0, 0.5]"]));
    let controls: Vec<_> = plan.cells.iter().map(|cell| cell.control).collect();
    // Random pruning is in the grid already, and one small net stands for both strategies.
    assert_eq!(controls, [None, None, Some(Control::Dense), Some(Control::ScratchEpochs)]);
    assert_eq!(plan.merged.len(), 2);
    assert!(plan.merged.iter().all(|merged| merged.into == plan.cells[2].id));
    assert_eq!(plan.merged[0].reason, "sparsity 0 removes none of 3264 weights: this is the dense control");
    // Without controls it is a cell of its own, once.
    let plan = planned(&small_with(&["  strategy: [random, magnitude]", "  sparsity: [0, 0.5]", "controls: none"]));
    assert_eq!((plan.cells.len(), plan.merged.len()), (3, 1));
    assert_eq!(plan.merged[0].reason, "where nothing is removed, strategy and scope decide nothing");
}

#[test]
fn dense_nets_are_shared_by_all_that_can_share_them() {
    let dense = |phase: &str| {
        let penalty = format!("regularization: {{kind: l1, strength: [0, 1.0e-5, 1.0e-4], phase: {phase}}}");
        let plan = planned(&small_with(&["  sparsity: [0.5, 0.75, 0.9]", &penalty, "controls: none"]));
        assert_eq!(plan.trials.len(), 18);
        plan.stages.iter().filter(|stage| matches!(stage.spec, StageSpec::Dense(_))).count()
    };
    assert_eq!(dense("retrain"), 2);
    assert_eq!(dense("both"), 6);
    assert_eq!(dense("dense"), 6);
}

#[test]
fn the_penalty_is_on_in_its_phase_and_a_strength_of_zero_is_none() {
    let text = small_with(&[
        "regularization: {kind: l1, strength: [0, 0.1], phase: [dense, retrain, both]}",
        "controls: none",
    ]);
    let plan = planned(&text);
    let on = |trial: usize| {
        let dense = plan.stages.iter().find(|stage| stage.key == plan.trials[trial].stages[1]).expect("planned");
        (
            dense.spec.training().is_some_and(|training| training.penalty.is_some()),
            prune_stage(&plan, trial).regularization.is_some(),
        )
    };
    assert_eq!(plan.cells.len(), 4);
    assert_eq!([on(0), on(2), on(4), on(6)], [(false, false), (true, false), (false, true), (true, true)]);
    let reasons: Vec<_> = plan.merged.iter().map(|merged| merged.reason.as_str()).collect();
    assert_eq!(reasons, ["without a penalty, its kind, strength and phase decide nothing"; 2]);
}

#[test]
fn a_layer_that_would_be_emptied_is_refused() {
    let text = |sparsity: &str| {
        small_with(&["model: {kind: mlp, hidden: [64, 1]}", sparsity, "controls: none"])
            .replace("  sparsity", "  scope: [global, local]\n  sparsity")
    };
    let plan = planned(&text("  sparsity: [0.5, 0.995]"));
    assert_eq!(plan.cells.len(), 3);
    assert_eq!(plan.refused.len(), 1);
    assert_eq!(plan.refused[0].reason, "sparsity 0.995 would remove all 64 weights of layers.1");
    let spec = SweepSpec::parse("sweep.yaml", &text("  sparsity: 0.9999")).expect("the file is right");
    let error = plan_error(&spec);
    assert_eq!(
        error,
        "sweep.yaml:13:13: pruning.sparsity: none of the 2 cells can be done; of the first: sparsity 0.9999 would leave 0 of 1280 \
         weights, fewer than the 2 prunable layers: at least one would be emptied\n1 problem"
    );
}

fn plan_error(spec: &SweepSpec) -> String {
    plan(spec, "", table()).expect_err("there is nothing to do").to_string()
}

#[test]
fn a_plan_of_nothing_is_an_error() {
    let error =
        |lines: &[&str]| plan_error(&SweepSpec::parse("sweep.yaml", &small_with(lines)).expect("the file is right"));
    assert!(error(&["exclude: [{pruning.sparsity: 0.5}]"]).starts_with("sweep.yaml:15:11: exclude: "));
    assert!(error(&["  sparsity: 0"]).starts_with("sweep.yaml:12:13: pruning.sparsity: "));
    let spec = SweepSpec::parse("sweep.yaml", SMALL).expect("the file is right");
    let empty = InputFacts { rows: [0, 0, 0], ..table() };
    let error = plan(&spec, SMALL, empty).expect_err("there are no rows").to_string();
    assert!(error.starts_with("sweep.yaml:4:9: data.path: "), "{error}");
}

#[test]
fn strategy_parameters_are_part_of_a_cell() {
    let plan = planned(&small_with(&["  strategy: [taylor, {taylor: {batches: 4}}]", "controls: none"]));
    assert_eq!(plan.cells[0].settings.get("pruning.strategy.taylor.batches"), None);
    assert_eq!(plan.cells[1].settings["pruning.strategy.taylor.batches"], 4);
    assert_eq!(prune_stage(&plan, 0).criterion, Some(CriterionSpec::new("taylor", &[("batches", 8.0)])));
    assert_eq!(prune_stage(&plan, 2).criterion, Some(CriterionSpec::new("taylor", &[("batches", 4.0)])));
}

#[test]
fn lanes_differ_in_numbers_and_bundles_in_shapes() {
    let classes = |line: &str| {
        let plan = planned(&small_with(&[line, "controls: none", "seeds: 1"]));
        PlanSummary::of(&plan).bundles.len()
    };
    // One class of dense nets and one of retrained ones, whatever the lanes' own numbers.
    assert_eq!(classes("  sparsity: [0.5, 0.75]"), 2);
    assert_eq!(classes("  strategy: [random, magnitude, taylor]"), 2);
    assert_eq!(classes("training: {optimizer: {kind: adam, lr: [1e-3, 1e-2]}, epochs: 20}"), 2);
    assert_eq!(classes("training: {optimizer: {kind: adam, weight_decay: [1e-3, 1e-2]}, epochs: 20}"), 2);
    assert_eq!(classes("training: {optimizer: {kind: adam}, epochs: 20, clip_gradient_norm: [1, 2]}"), 2);
    assert_eq!(classes("regularization: {kind: l1, strength: [0.1, 0.2]}"), 2);
    // What decides a shape or a branch.
    assert_eq!(classes("model: {kind: mlp, hidden: [[8], [9]]}"), 4);
    assert_eq!(classes("training: {optimizer: {kind: adam}, epochs: 20, batch_size: [64, 128]}"), 4);
    assert_eq!(classes("training: {optimizer: {kind: adam}, epochs: [10, 20]}"), 3);
    assert_eq!(classes("training: {optimizer: {kind: adam, weight_decay: [0, 1e-2]}, epochs: 20}"), 4);
    assert_eq!(classes("training: {optimizer: {kind: adam}, epochs: 20, clip_gradient_norm: [none, 2]}"), 4);
    assert_eq!(classes("regularization: {kind: [l1, l2], strength: 0.1}"), 4);
}

#[test]
fn the_summary_says_what_sharing_saves() {
    let summary =
        PlanSummary::of(&planned(&small_with(&["  sparsity: [0.5, 0.5001, 0.9]", "controls: [dense, random]"])));
    // Per seed: 5 trials (2 cells, dense, 2 random) of 20 + 10 epochs of 3 steps; shared: 20 + 5 · 10 epochs.
    assert_eq!((summary.lane_steps_without_sharing, summary.lane_steps), (2 * 5 * 90, 2 * (60 + 5 * 30)));
    assert_eq!((summary.stages_without_sharing.total(), summary.stages.total()), (30, 13));
    // 2 seeds · 70 epochs · 600 rows · 3 · (19 · 64 + 64 · 32 + 32) multiply-accumulates.
    assert_eq!(summary.multiply_accumulates, 2.0 * 70.0 * 600.0 * 3.0 * 3296.0);
    let text = summary.to_string();
    for line in [
        "cells    2 asked for, 3 controls added",
        "trials   10 (5 cells × 2 seeds)",
        "stages   13: 1 prepare, 2 dense, 10 prune (30 without sharing)",
        "shared   1 prepare, 2 dense for 10 trials; sharing saves 53 % of the steps",
        "bundles  2 groups of nets that can be trained together: 10 prune, 2 dense",
        "merged   1 point of the grid",
        "         1 × sparsity 0.5 and 0.5001 both remove 1632 of 3264 weights",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
}
