//! Reference models as cells: what they share, what they are called, and what they leave as it is.

use std::collections::BTreeSet;

use secateur_proto::{
    outcome::Role,
    spec::{BoostingSpec, LogisticSpec, ReferenceModel, ReferenceSpec, StageSpec},
};
use serde_json::json;

use super::*;
use crate::experiment::{
    plan::{Cell, Control, PackedPlan},
    recipe::recipe,
};

fn references(plan: &Plan) -> Vec<(&Cell, &ReferenceSpec)> {
    let of_cell = |cell| {
        let mut trials = plan.trials.iter().filter(|trial| trial.cell == cell);
        let stage = *trials.next().expect("a trial").stages.last().expect("a stage");
        assert!(trials.all(|trial| trial.stages.last() == Some(&stage)), "all seeds share the stage");
        plan.stages.iter().find(|planned| planned.key == stage).expect("it is planned")
    };
    let is_reference = |cell: &&Cell| cell.control.is_some_and(Control::is_reference);
    (plan.cells.iter().filter(is_reference))
        .map(|cell| match &of_cell(cell.id.clone()).spec {
            StageSpec::Reference(spec) => (cell, spec),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_reference_model_is_a_control_with_one_stage_for_all_seeds() {
    let without = planned(&small_with(&["seeds: 3"]));
    let plan = planned(&small_with(&["seeds: 3", "references: [logistic, boosting]"]));
    let found = references(&plan);
    let controls: Vec<_> = found.iter().map(|(cell, _)| cell.control).collect();
    assert_eq!(controls, [Some(Control::Logistic), Some(Control::Boosting)]);
    assert_eq!(json!(found[0].0.settings), json!({"reference": "logistic"}));
    assert_eq!(found[0].1.model, ReferenceModel::Logistic(LogisticSpec::default()));
    assert_eq!(found[1].1.model, ReferenceModel::Boosting(BoostingSpec::default()));
    assert!(found.iter().all(|(cell, _)| cell.removed_weights.is_none() && cell.prunable_weights == 0));
    // A trial of each seed, so that it is paired like any other cell.
    let seeds = |cell: &Cell| {
        let trials = plan.trials.iter().filter(|trial| trial.cell == cell.id);
        trials.map(|trial| trial.seed).collect::<Vec<_>>()
    };
    assert!(found.iter().all(|(cell, _)| seeds(cell) == [0, 1, 2]));
    // The report explains them.
    assert_eq!(plan.methods().len(), without.methods().len() + 1);
    // Everything else is as it was.
    assert_eq!(plan.cells[..without.cells.len()], without.cells);
    let keys = |plan: &Plan| plan.stages.iter().map(|stage| stage.key).collect::<BTreeSet<_>>();
    assert!(keys(&plan).is_superset(&keys(&without)));
    assert_eq!(plan.stages.len(), without.stages.len() + 2);
    assert_eq!(PackedPlan::of(&plan).expect("no contradiction").unpack(), plan);
}

#[test]
fn parameters_that_are_not_the_default_are_settings() {
    let plan = planned(&small_with(&[
        "references: [{logistic: {l2: 1}}, {boosting: {trees: 50, learning_rate: 0.2, l2: 0}}]",
    ]));
    let found = references(&plan);
    assert_eq!(json!(found[0].0.settings), json!({"reference": "logistic"}));
    assert_eq!(
        json!(found[1].0.settings),
        json!({"reference": "boosting", "reference.trees": 50, "reference.learning_rate": 0.2})
    );
    let expected = BoostingSpec { trees: 50, learning_rate: 0.2, ..BoostingSpec::default() };
    assert_eq!(found[1].1.model, ReferenceModel::Boosting(expected));
}

#[test]
fn reference_models_weigh_classes_as_nets_do() {
    let training = |weight: &str| {
        let line = format!("training: {{optimizer: {{kind: adam}}, epochs: 20, class_weight: {weight}}}");
        planned(&small_with(&[&line, "references: [logistic]"]))
    };
    let plan = training("balanced");
    let [(cell, spec)] = references(&plan)[..] else { panic!("one cell") };
    assert_eq!(json!(cell.settings), json!({"reference": "logistic", "training.class_weight": "balanced"}));
    // 480 and 120 of 600 train rows: n / (2 · rows of the class).
    assert_eq!(spec.class_weights, [0.625, 2.5]);
    // Weights of 1 and 4 are the same as balanced ones here, so they are one cell.
    let plan = training("[none, balanced, {0: 1, 1: 4}]");
    let weights: Vec<_> = references(&plan).into_iter().map(|(_, spec)| spec.class_weights.clone()).collect();
    assert_eq!(weights, [vec![], vec![0.625, 2.5]]);
}

#[test]
fn the_key_controls_does_not_add_or_name_them() {
    for controls in ["controls: all", "controls: none", "controls: auto"] {
        assert!(references(&planned(&small_with(&[controls]))).is_empty(), "{controls}");
    }
    assert_eq!(references(&planned(&small_with(&["controls: none", "references: [boosting]"]))).len(), 1);
    assert!(references(&planned(&small_with(&["references: none"]))).is_empty());
    let listed = crate::experiment::setting::rows().find(|row| row.path() == "controls").expect("a key").allowed();
    assert_eq!(listed, Control::of_nets().map(Control::name).collect::<Vec<_>>().join(", "));
}

#[test]
fn scores_in_columns_of_the_table_are_reference_models() {
    let text = small_with(&["references: [{scores: {column: champion}}, logistic, {scores: {column: vendor}}]"])
        .replace("seed: 42}", "seed: 42}\n  drop: [champion, vendor]");
    let plan = planned(&text);
    let found = references(&plan);
    let controls: Vec<_> = found.iter().map(|(cell, _)| cell.control).collect();
    assert_eq!(controls, [Some(Control::Scores), Some(Control::Logistic), Some(Control::Scores)]);
    assert_eq!(json!(found[0].0.settings), json!({"reference": "scores", "reference.column": "champion"}));
    // Its stage is given the table.
    let stage = plan.stages.iter().find(|stage| stage.spec == StageSpec::from(found[0].1.clone())).expect("a stage");
    assert_eq!(stage.given.get(&Role::Table), Some(&table().artifact));
    assert_eq!(PackedPlan::of(&plan).expect("no contradiction").unpack(), plan);
}

#[test]
fn a_reference_model_has_no_recipe() {
    let text = small_with(&["references: [logistic]"]);
    let plan = planned(&text);
    let [(cell, _)] = references(&plan)[..] else { panic!("one cell") };
    assert_eq!(recipe("sweep.yaml", &text, &cell.settings, 0).expect("a sweep file"), None);
    let net = recipe("sweep.yaml", &text, &plan.cells[0].settings, 0).expect("a sweep file").expect("a recipe");
    assert!(references(&planned(&net)).is_empty(), "{net}");
}

#[test]
fn rows_that_are_too_wide_are_refused_at_the_key() {
    let text = small_with(&["references: [logistic]"]);
    let spec = SweepSpec::parse("sweep.yaml", &text).expect("a sweep file");
    let problems = plan(&spec, &text, InputFacts { inputs: 2_049, ..table() }).expect_err("too wide");
    assert!(problems.list.iter().any(|problem| problem.path == "references"), "{problems}");
    plan(&spec, &text, InputFacts { inputs: 2_048, ..table() }).expect("wide enough");
}

#[test]
fn a_search_adds_them_once() {
    let text = small_with(&[
        "  sparsity: {low: 0.5, high: 0.95}",
        "search: {sampler: random, trials: 8, seed: 1}",
        "references: [logistic]",
    ]);
    let spec = SweepSpec::parse("sweep.yaml", &text).expect("a sweep file");
    let mut builder = crate::experiment::PlanBuilder::new(&spec, &text, table());
    let points: Vec<_> = spec.points().collect();
    let parts = points.chunks(4).map(|points| builder.extend(points.to_vec()).expect("a part").unpack());
    let counts: Vec<_> = parts.map(|part| references(&part).len()).collect();
    assert_eq!(counts, [1, 0]);
}
