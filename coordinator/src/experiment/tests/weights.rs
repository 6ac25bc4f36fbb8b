//! Sweeps whose dense net was trained elsewhere.

use std::collections::BTreeMap;

use secateur_proto::{
    outcome::{Artifacts, Role},
    spec::{StageSpec, Start, Subject},
};

use super::*;
use crate::experiment::{PlanSummary, WeightsFacts};

const MODEL: &str = "model: {kind: mlp, hidden: [64, 32], weights: net.pt}";

fn file() -> Artifact {
    Artifact { hash: ContentHash::of(b"weights"), size: 7 }
}

/// The tensors of the net of [`SMALL`] over [`table`], with their layers called `names`.
fn tensors(names: [&str; 3]) -> Vec<(String, Vec<usize>)> {
    let sizes = [(64, 19), (32, 64), (1, 32)];
    let of_layer = |(name, (outputs, inputs)): (&str, (usize, usize))| {
        [(format!("{name}.bias"), vec![outputs]), (format!("{name}.weight"), vec![outputs, inputs])]
    };
    names.into_iter().zip(sizes).flat_map(of_layer).collect()
}

fn fitting() -> Vec<(String, Vec<usize>)> {
    tensors(["layers.0", "layers.1", "layers.2"])
}

fn planned_with(text: &str, tensors: Vec<(String, Vec<usize>)>) -> Result<Plan, Vec<String>> {
    planned_of(text, WeightsFacts { artifact: file(), tensors, removed: BTreeMap::new() })
}

fn planned_of(text: &str, weights: WeightsFacts) -> Result<Plan, Vec<String>> {
    let spec = SweepSpec::parse("sweep.yaml", text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    let inputs = InputFacts { weights: Some(weights), ..table() };
    plan(&spec, text, inputs).map(|plan| plan.unpack()).map_err(|problems| {
        let lines = problems.to_string();
        lines.lines().map(|line| line.trim_start_matches("sweep.yaml:").to_owned()).collect()
    })
}

#[test]
fn one_import_stands_for_the_dense_nets_of_all_seeds() {
    let plan = planned_with(&small_with(&[MODEL, "controls: [dense, random]"]), fitting()).expect("is planned");
    let imports: Vec<_> = plan.stages.iter().filter(|stage| matches!(stage.spec, StageSpec::Import(_))).collect();
    let [import] = imports.as_slice() else { panic!("{imports:?}") };
    assert_eq!(import.given, Artifacts::from([(Role::Weights, file())]));
    assert!(plan.stages.iter().all(|stage| !matches!(stage.spec, StageSpec::Dense(_))));
    let prunings = plan.stages.iter().filter_map(|stage| match &stage.spec {
        StageSpec::Prune(spec) => Some((spec.subject, spec.start)),
        _ => None,
    });
    assert!(prunings.clone().all(|pruning| pruning == (Subject::Dense { stage: import.key }, Start::Scored {})));
    // The cell, and dense and random controls, of two seeds.
    assert_eq!(prunings.count(), 6);
    let summary = PlanSummary::of(&plan).to_string();
    assert!(summary.contains("stages   8: 1 prepare, 1 import, 6 prune"), "{summary}");
    assert_eq!(plan.sweep.weights.as_ref().map(|weights| weights.hash), Some(file().hash));
}

#[test]
fn other_weights_are_another_sweep() {
    let text = small_with(&[MODEL]);
    let spec = SweepSpec::parse("sweep.yaml", &text).expect("is right");
    let id = |content: &[u8]| {
        let artifact = Artifact { hash: ContentHash::of(content), size: 1 };
        let inputs = InputFacts {
            weights: Some(WeightsFacts { artifact, tensors: fitting(), removed: BTreeMap::new() }),
            ..table()
        };
        plan(&spec, &text, inputs).expect("is planned").sweep.id
    };
    assert_ne!(id(b"one"), id(b"another"));
    assert_eq!(id(b"one"), id(b"one"));
}

/// Whoever sends the tensors has looked for those of the net. Any others are refused.
#[test]
fn tensors_of_another_net_are_refused() {
    type Change = fn(&mut Vec<(String, Vec<usize>)>);
    let changes: [Change; 3] = [
        |tensors| tensors[1].1 = vec![64, 20],
        |tensors| tensors[2].0 = "layers.1.bias_".to_owned(),
        |tensors| tensors.push(("zz".to_owned(), vec![1])),
    ];
    for change in changes {
        let mut found = fitting();
        change(&mut found);
        let lines = planned_with(&small_with(&[MODEL]), found).expect_err("does not fit");
        let [line, _] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.contains("model.weights"), "{line}");
    }
}

/// Half of the first layer is gone already.
fn pruned() -> WeightsFacts {
    WeightsFacts { artifact: file(), tensors: fitting(), removed: [("layers.0.weight".to_owned(), 608)].into() }
}

#[test]
fn a_net_that_was_pruned_stays_so_in_cells_and_controls() {
    let plan = planned_of(&small_with(&[MODEL]), pruned()).expect("is planned");
    let imports = plan.stages.iter().filter_map(|stage| match &stage.spec {
        StageSpec::Import(spec) => Some((stage.key, spec.masked)),
        _ => None,
    });
    let [(import, true)] = imports.collect::<Vec<_>>()[..] else { panic!("{:?}", plan.stages) };
    // Small dense nets begin anew.
    let subjects = plan.stages.iter().filter_map(|stage| match &stage.spec {
        StageSpec::Prune(spec) => Some(spec.subject).filter(|subject| *subject != Subject::Initial {}),
        _ => None,
    });
    let subjects: Vec<Subject> = subjects.collect();
    assert!(!subjects.is_empty());
    assert!(subjects.into_iter().all(|subject| subject == Subject::Pruned { stage: import }));
}

#[test]
fn less_than_is_gone_already_cannot_be_removed() {
    let refused = |pruning: &str| {
        let text = small_with(&[MODEL, "controls: none"]).replace("  sparsity: 0.5\n", pruning);
        match planned_of(&text, pruned()) {
            Ok(plan) => plan.refused.len(),
            Err(problems) => problems.len(),
        }
    };
    // Of 1,216 and 2,048 weights.
    assert_eq!(refused("  sparsity: [0.1, 0.2]\n"), 1);
    assert_eq!(refused("  sparsity: [0.3, 0.6]\n  scope: local\n"), 1);
    assert_eq!(refused("  sparsity: [0.3, 0.6]\n  max_layer_sparsity: 0.4\n"), 2);
    assert_eq!(refused("  sparsity: 0.5\n  granularity: ['2:4', unstructured]\n"), 1);
}

#[test]
fn weights_that_did_not_come_along_are_missed() {
    let text = small_with(&[MODEL]);
    let spec = SweepSpec::parse("sweep.yaml", &text).expect("is right");
    let problems = plan(&spec, &text, table()).expect_err("are missing");
    insta::assert_snapshot!(problems);
}

#[test]
fn what_needs_a_net_at_its_beginning_is_refused() {
    let cases = [
        ("magnitude", "{iterative: {rounds: 2, then: weight_rewind}}", "the earlier weights"),
        ("magnitude", "{rigl: {every: 5}}", "leave model.weights out"),
        ("snip", "one_shot", "snip prunes before training"),
    ];
    for (strategy, schedule, reason) in cases {
        let text = small_with(&[MODEL]).replace(
            "  strategy: magnitude\n",
            &format!("  strategy: [magnitude, {strategy}]\n  schedule: [one_shot, {schedule}]\n"),
        );
        let text = text.replace("[magnitude, magnitude]", "magnitude").replace("[one_shot, one_shot]", "one_shot");
        let plan = planned_with(&text, fitting()).expect("the others are planned");
        assert!(plan.refused.iter().any(|refused| refused.reason.contains(reason)), "{:#?}", plan.refused);
    }
}

#[test]
fn mistakes_in_weights_are_told() {
    let problem = |line: &str| problems(&small_with(&[line])).join("\n");
    let several = problem("model: {kind: mlp, hidden: [[64, 32], [8]], weights: net.pt}");
    assert!(several.contains("model.hidden: "), "{several}");
    for wrong in [
        "''",
        "3",
        "{rename: {a: b}}",
        "{path: net.pt, rename: [a]}",
        "{path: net.pt, rename: {a: 1}}",
        "{path: net.pt, key: [a]}",
    ] {
        let problem = problem(&format!("model: {{kind: mlp, hidden: [64, 32], weights: {wrong}}}"));
        assert!(problem.contains("model.weights"), "{wrong}: {problem}");
    }
    let text =
        small_with(&["model: {kind: mlp, hidden: [64, 32], weights: {path: a.pth, rename: {a.b: c, module: ''}}}"]);
    let weights = SweepSpec::parse("sweep.yaml", &text).expect("is right").weights.expect("is named");
    assert_eq!(weights.key, None);
    let keys = [("state_dict", "state_dict"), ("0", "0"), ("''", "")];
    for (written, meant) in keys {
        let text = small_with(&[&format!("model: {{kind: mlp, hidden: [8], weights: {{path: a, key: {written}}}}}")]);
        let weights = SweepSpec::parse("sweep.yaml", &text).expect("is right").weights.expect("is named");
        assert_eq!(weights.key.as_deref(), Some(meant));
    }
    let pair = |old: &str, new: &str| (old.to_owned(), new.to_owned());
    assert_eq!(weights.rename, [pair("a.b", "c"), pair("module", "")]);
}
