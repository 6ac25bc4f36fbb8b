//! Of [`build`]: what is compared with what, who is on the front, and what the JSON looks like.

mod data;
mod evidence;
mod nets;
mod objectives;
mod quantities;

use std::collections::BTreeMap;

use proptest::prelude::*;
use secateur_proto::{
    ids::{ContentHash, TrialId},
    metrics::{Direction, Measured, Metric, Quantity, Split},
    outcome::StageOutcome,
};
use serde_json::json;

use super::{
    PartInfo, Report, build, build_in_order,
    example::{hostile, images, outcome, penalties, realistic, sweep, with_small_net},
};
use crate::experiment::plan::{Cell, Constraint, Control, Objective, Settings};

fn cell(name: &str, strategy: Option<&str>, sparsity: f64, control: Option<Control>) -> Cell {
    let mut settings = Settings::from([
        ("regularization.strength".to_owned(), json!(0.0)),
        ("pruning.sparsity".to_owned(), json!(sparsity)),
    ]);
    if let Some(strategy) = strategy {
        settings.insert("pruning.strategy".to_owned(), json!(strategy));
    }
    let removed_weights = Some((sparsity * 10_112.0) as u64);
    let id = name.parse().expect("an id");
    Cell { prunable_weights: 10_112, removed_weights, ..Cell::new(id, settings, control) }
}

fn change(outcomes: &mut BTreeMap<TrialId, StageOutcome>, trial: &str, metric: Metric, split: Split, value: f64) {
    set(outcomes, trial, metric.on(split), Measured::Value(value));
}

fn set(outcomes: &mut BTreeMap<TrialId, StageOutcome>, trial: &str, quantity: Quantity, measured: Measured) {
    let Some(StageOutcome::Completed(result)) = outcomes.get_mut(&trial.parse::<TrialId>().expect("an id")) else {
        panic!("{trial} has no result");
    };
    result.metrics.insert(quantity, measured);
}

fn front(report: &Report) -> Vec<&str> {
    report.front.iter().map(|id| id.as_str()).collect()
}

/// Two cells and a dense control with round numbers: `a` is small and weak, `b` large and strong.
fn small() -> super::example::Sweep {
    let cells = vec![
        cell("a", Some("magnitude"), 0.9, None),
        cell("b", Some("magnitude"), 0.5, None),
        cell("d", None, 0.0, Some(Control::Dense)),
    ];
    let (plan, mut outcomes) = sweep(cells, 2);
    for (trial, auc, size) in [
        ("a-1", 0.70, 10.0),
        ("a-2", 0.72, 10.0),
        ("b-1", 0.80, 50.0),
        ("b-2", 0.82, 50.0),
        ("d-1", 0.81, 5.0),
        ("d-2", 0.85, 5.0),
    ] {
        change(&mut outcomes, trial, Metric::Auc, Split::Validation, auc);
        change(&mut outcomes, trial, Metric::NonzeroParameters, Split::Validation, size);
    }
    (plan, outcomes)
}

#[test]
fn differences_are_taken_seed_by_seed_to_the_dense_control() {
    let (plan, outcomes) = small();
    let report = build(&plan, &outcomes);
    let [a, _, dense] = &report.cells[..] else { panic!("three cells") };
    let difference = a.minus_dense(&Metric::Auc.on(Split::Validation)).expect("both have values");
    // −0.11 and −0.13: mean −0.12, sd 0.02/√2, half-width t(1) · 0.01 = 0.127062.
    assert!((difference.summary.mean + 0.12).abs() < 1e-12);
    assert!((difference.summary.sd.expect("two seeds") - 0.02 / 2_f64.sqrt()).abs() < 1e-12);
    assert!((difference.summary.ci95.expect("two seeds")[1] - (0.127_062 - 0.12)).abs() < 1e-6);
    assert_eq!((difference.n_better, difference.n_worse), (0, 2));
    assert_eq!(a.dense_control, Some(dense.id.clone()));
    assert!(dense.difference_to_dense.is_none());
}

#[test]
fn a_report_says_which_trials_a_sweep_was_extended_by() {
    let (plan, outcomes) = small();
    let of_parts = |parts: &[PartInfo]| {
        build_in_order(&plan, parts, plan.trials.iter().map(|trial| outcomes.get(&trial.id).cloned()))
    };
    let part = |trials, added_at_ms| PartInfo { file_hash: ContentHash::of(b"file"), added_at_ms, trials };
    assert_eq!(of_parts(&[part(6, Some(0))]), build(&plan, &outcomes), "of one part nothing is said");
    // The second seed of the second cell, and the control, came later; then nothing but other goals.
    let report = of_parts(&[part(3, Some(0)), part(3, Some(1_764_460_800_000)), part(0, None)]);
    let sentences = report.findings();
    insta::assert_snapshot!(sentences[sentences.len() - 2..].join("\n"));
    let cells: Vec<_> = report.parts.iter().map(|part| (part.number, part.cells, part.trials)).collect();
    assert_eq!(cells, [(1, 2, 3), (2, 1, 3), (3, 0, 0)]);
    assert_eq!(report.cells.iter().map(|cell| cell.part).collect::<Vec<_>>(), [1, 1, 2].map(Some));
    assert_eq!(report.trials.iter().map(|trial| trial.part).collect::<Vec<_>>(), [1, 1, 1, 2, 2, 2].map(Some));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("json");
    assert_eq!(json["parts"][1]["added_at_ms"], 1_764_460_800_000_u64);
    // Every table of cells and trials says it.
    let csv = super::trials_csv(&report);
    let last = csv.lines().map(|line| line.rsplit(',').next().unwrap_or_default()).collect::<Vec<_>>();
    assert_eq!(last, ["part", "1", "1", "1", "2", "2", "2"]);
    let markdown = super::markdown(&report).text;
    let marked =
        |page: &str, cell: &str, parts: &str| page.lines().any(|line| line.ends_with(&format!("| {parts} | {cell} |")));
    assert!(marked(&markdown, "a", "1") && marked(&markdown, "b", "1, 2") && marked(&markdown, "d", "2"), "{markdown}");
    let page = super::html(&report);
    assert!(page.contains("part 1, 2\"") && page.contains(r#"<th scope="col">part</th>"#));
}

#[test]
fn differences_to_random_are_to_the_cell_that_the_plan_names() {
    let (mut plan, outcomes) = small();
    plan.cells[0].random_control = Some(plan.cells[1].id.clone());
    let report = build(&plan, &outcomes);
    let of = |place: usize| {
        report.cells[place].minus_random(&Metric::Auc.on(Split::Validation)).map(|paired| paired.summary.mean)
    };
    let [a, b] =
        [0, 1].map(|place| report.cells[place].mean(&Metric::Auc.on(Split::Validation)).expect("both seeds completed"));
    assert!((of(0).expect("paired") - (a - b)).abs() < 1e-12);
    assert_eq!((of(1), of(2)), (None, None));
    // A column of its own in the table.
    let page = super::markdown::markdown(&report).text;
    assert!(page.contains("minus random"), "{page}");
    assert!(!page.contains("minus small net"), "{page}");
    // And so it is with small nets.
    let (plan, outcomes) = with_small_net();
    let report = build(&plan, &outcomes);
    let [a, b] =
        [1, 4].map(|place| report.cells[place].mean(&Metric::Auc.on(Split::Test)).expect("all seeds completed"));
    let found = report.cells[1].minus_scratch(&Metric::Auc.on(Split::Test));
    assert!((found.expect("paired").summary.mean - (a - b)).abs() < 1e-12);
    insta::assert_snapshot!(super::markdown::markdown(&report).text);
}

/// A control of any kind that is trained is compared, too.
#[test]
fn every_control_that_a_cell_names_is_compared_with_it() {
    for kind in [Control::ScratchCompute, Control::RandomMatched, Control::Shuffle, Control::Reinitialize] {
        let (mut plan, outcomes) = with_small_net();
        let id = plan.cells[4].id.clone();
        plan.cells[1].other_controls = BTreeMap::from([(kind, id.clone())]);
        let report = build(&plan, &outcomes);
        let auc = Metric::Auc.on(Split::Test);
        let [a, b] = [1, 4].map(|place| report.cells[place].mean(&auc).expect("all seeds completed"));
        assert_eq!(report.cells[1].other_controls[&kind].cell, id);
        let difference = report.cells[1].minus_other(kind, &auc).expect("paired").summary.mean;
        assert!((difference - (a - b)).abs() < 1e-12);
        let page = super::markdown::markdown(&report).text;
        assert!(page.contains(&format!("minus {}", super::glossary::control_title(kind))), "{page}");
        let told = super::findings::findings(&report).iter().any(|sentence| sentence.contains("for as much compute"));
        assert_eq!(told, kind == Control::ScratchCompute);
    }
}

/// Chance itself, of all seeds and on both parts; a single one that is better by anything is a net, and so is one that parts the
/// classes somewhere.
#[test]
fn nets_that_answer_every_row_alike_do_not_compete() {
    let (plan, mut outcomes) = small();
    for (trial, split) in [("a-1", Split::Validation), ("a-1", Split::Test), ("a-2", Split::Validation)] {
        change(&mut outcomes, trial, Metric::Auc, split, 0.5);
    }
    change(&mut outcomes, "a-2", Metric::Auc, Split::Test, 0.5 + 1e-9);
    assert!(build(&plan, &outcomes).cells[0].eligible);
    change(&mut outcomes, "a-2", Metric::Auc, Split::Test, 0.5);
    for (trial, split) in
        [("a-1", Split::Validation), ("a-1", Split::Test), ("a-2", Split::Validation), ("a-2", Split::Test)]
    {
        assert!(build(&plan, &outcomes).cells[0].eligible);
        change(&mut outcomes, trial, Metric::Ks, split, 0.0);
    }
    let report = build(&plan, &outcomes);
    insta::assert_snapshot!(report.cells[0].reason.as_deref().expect("is not eligible"));
    assert!(!report.cells[0].on_front);
}

#[test]
fn a_control_is_never_on_the_front_even_when_it_beats_all() {
    let (plan, outcomes) = small();
    let report = build(&plan, &outcomes);
    assert_eq!(front(&report), ["a", "b"]);
    assert!(report.cells.iter().all(|cell| !(cell.control && (cell.on_front || cell.eligible))));
}

#[test]
fn a_dominated_cell_names_its_dominator() {
    let (plan, mut outcomes) = small();
    change(&mut outcomes, "a-1", Metric::Auc, Split::Validation, 0.89);
    let report = build(&plan, &outcomes);
    assert_eq!(front(&report), ["a", "b"]);
    change(&mut outcomes, "a-2", Metric::Auc, Split::Validation, 0.90);
    let report = build(&plan, &outcomes);
    assert_eq!(front(&report), ["a"]);
    assert_eq!(report.cells[1].dominated_by, vec![report.cells[0].id.clone()]);
}

#[test]
fn test_values_never_select() {
    let (plan, mut outcomes) = small();
    let before = build(&plan, &outcomes);
    for trial in ["a-1", "a-2"] {
        change(&mut outcomes, trial, Metric::Auc, Split::Test, 1.0);
        change(&mut outcomes, trial, Metric::Brier, Split::Test, 1.0);
    }
    let after = build(&plan, &outcomes);
    assert_eq!(before.front, after.front);
    assert_ne!(before, after);
}

#[test]
fn a_cell_with_a_trial_that_did_not_complete_is_out_and_says_why() {
    let (plan, mut outcomes) = small();
    let id = |text: &str| text.parse::<TrialId>().expect("an id");
    outcomes.insert(id("b-1"), StageOutcome::Diverged { step: 7 });
    outcomes.remove(&id("b-2"));
    let report = build(&plan, &outcomes);
    assert_eq!(front(&report), ["a"]);
    insta::assert_snapshot!(report.cells[1].reason.as_deref().expect("is out"));
    let ends: Vec<&str> = report.failed.iter().map(|trial| trial.outcome.as_str()).collect();
    assert_eq!(ends, ["diverged", "pending"]);
    assert_eq!(
        report.totals.outcomes,
        BTreeMap::from([("completed".into(), 4), ("diverged".into(), 1), ("pending".into(), 1)])
    );
}

#[test]
fn constraints_bind_on_validation_means() {
    let (mut plan, outcomes) = small();
    plan.sweep.constraints =
        vec![Constraint { quantity: Metric::Auc.on(Split::Validation), min: Some(0.75), max: None }];
    let report = build(&plan, &outcomes);
    assert_eq!(front(&report), ["b"]);
    insta::assert_snapshot!(report.cells[0].reason.as_deref().expect("is out"));
}

#[test]
fn constraints_that_no_cell_meets_are_a_finding() {
    let (mut plan, outcomes) = small();
    let bound = |metric: Metric, min, max| Constraint { quantity: metric.on(Split::Validation), min, max };
    let mut said = |constraints: Vec<Constraint>| {
        plan.sweep.constraints = constraints;
        let report = build(&plan, &outcomes);
        let json = serde_json::to_value(&report).expect("plain data");
        assert_eq!(json["unmet"].is_null(), report.unmet_constraints().is_empty());
        assert_eq!(serde_json::from_str::<Report>(&report.to_json()).expect("reads"), report);
        assert!(report.unmet_constraints().iter().all(|sentence| report.findings().contains(sentence)));
        report.unmet_constraints().join("\n")
    };
    // a: AUC .71 with 10 weights; b: .81 with 50.
    let told = [
        said(vec![bound(Metric::Auc, Some(0.9), None)]),
        // Each holds for one of the cells, and both together for none.
        said(vec![bound(Metric::Auc, Some(0.8), None), bound(Metric::NonzeroParameters, None, Some(20.0))]),
        said(vec![bound(Metric::Auc, Some(0.9), None), bound(Metric::NonzeroParameters, Some(5.0), Some(20.0))]),
    ];
    assert_eq!(said(vec![bound(Metric::Auc, Some(0.8), None)]), "", "one cell meets it");
    insta::assert_snapshot!(told.join("\n\n"));
    // What never finished cannot fail a constraint.
    let unfinished = build(&plan, &BTreeMap::new());
    assert!(unfinished.unmet.is_none());
}

#[test]
fn few_rows_of_a_class_are_a_caution_in_every_form() {
    let (mut plan, outcomes) = small();
    // Its two seeds are a caution of their own.
    assert_eq!(build(&plan, &outcomes).cautions.len(), 1);
    let classes = &mut plan.sweep.data.classes;
    (classes[0].rows, classes[1].rows) = ([35_997, 11_999, 11_960], [3, 1, 40]);
    let report = build(&plan, &outcomes);
    insta::assert_snapshot!(report.cautions.join("\n"));
    let (markdown, html) = (super::markdown(&report).text, super::html(&report));
    for part in ["train has 3 of 36000 rows", "validation has 1 of 12000 rows", "test has 40 of 12000 rows"] {
        assert!(markdown.contains(part) && html.contains(part), "{part}");
    }
}

#[test]
fn a_value_that_is_no_number_is_left_out_and_keeps_its_cell_off_the_front() {
    let (plan, mut outcomes) = small();
    change(&mut outcomes, "b-1", Metric::Auc, Split::Validation, f64::NAN);
    let report = build(&plan, &outcomes);
    assert_eq!(front(&report), ["a"]);
    insta::assert_snapshot!(report.cells[1].reason.as_deref().expect("is out"));
    assert_eq!(serde_json::from_str::<Report>(&report.to_json()).expect("no NaN in it"), report);
}

#[test]
fn without_a_dense_control_there_is_no_difference_and_one_seed_has_no_spread() {
    let (plan, outcomes) = sweep(vec![cell("a", Some("magnitude"), 0.9, None)], 1);
    let report: serde_json::Value = serde_json::from_str(&build(&plan, &outcomes).to_json()).expect("json");
    let cell = &report["cells"][0];
    assert_eq!(cell["difference_to_dense"], json!(null));
    let auc = &cell["metrics"]["auc"]["validation"];
    assert_eq!((&auc["sd"], &auc["ci95"], &auc["n"]), (&json!(null), &json!(null), &json!(1)));
    assert_eq!(report["front"], json!(["a"]));
}

#[test]
fn an_ablation_is_never_on_the_front() {
    let (mut plan, outcomes) = small();
    assert_eq!(front(&build(&plan, &outcomes)), ["a", "b"]);
    plan.cells[0].settings.insert("pruning.ablation".to_owned(), json!("shuffle"));
    let report = build(&plan, &outcomes);
    assert_eq!(front(&report), ["b"]);
    insta::assert_snapshot!(report.cells[0].reason.as_deref().expect("is out"));
}

#[test]
fn a_dense_control_of_other_training_is_not_the_one_to_compare_with() {
    let mut other = cell("e", None, 0.0, Some(Control::Dense));
    other.settings.insert("regularization.strength".to_owned(), json!(0.1));
    let mut local = cell("a", Some("magnitude"), 0.9, None);
    local.settings.insert("pruning.scope".to_owned(), json!("local"));
    local.settings.insert("pruning.strategy.batches".to_owned(), json!(8));
    let (plan, outcomes) = sweep(vec![local, other, cell("d", None, 0.0, Some(Control::Dense))], 2);
    let report = build(&plan, &outcomes);
    assert_eq!(report.cells[0].dense_control.as_ref().map(|id| id.as_str()), Some("d"));
}

#[test]
fn the_json_has_the_shape_that_users_rely_on() {
    let (plan, outcomes) = realistic();
    let report = build(&plan, &outcomes);
    let text = report.to_json();
    let value: serde_json::Value = serde_json::from_str(&text).expect("json");
    assert_eq!(value["schema"], 2);
    assert_eq!(value["objectives"][0], json!({"metric": "auc", "direction": "maximize"}));
    assert_eq!(value["cells"][0]["settings"]["pruning.strategy"], "random");
    assert_eq!(value["cells"][0]["control"], false);
    assert_eq!(value["cells"][60]["control_kind"], "dense");
    assert!(value["cells"][0]["metrics"]["auc"]["test"]["ci95"][1].is_f64());
    assert!(value["cells"][0]["metrics"]["nonzero_parameters"]["mean"].is_f64());
    assert!(value["cells"][0]["difference_to_dense"]["auc"]["validation"]["n_better"].is_u64());
    assert!(value["trials"][0]["metrics"]["auc"]["validation"].is_f64());
    assert!(value["trials"][0]["metrics"]["macs"].is_f64());
    assert!(value["trials"][0]["artifacts"]["checkpoint"].is_string());
    assert_eq!(value["trials"][0]["stages"].as_array().map(Vec::len), Some(3));
    assert_eq!(serde_json::from_str::<Report>(&text).expect("reads its own"), report);
}

#[test]
fn a_sweep_of_which_nothing_ran_is_a_report_all_the_same() {
    let (plan, _) = realistic();
    let report = build(&plan, &BTreeMap::new());
    assert!(report.front.is_empty());
    assert_eq!(report.totals.failed, report.totals.trials);
    assert_eq!(serde_json::from_str::<Report>(&report.to_json()).expect("reads its own"), report);
}

#[test]
fn hostile_names_survive_the_json() {
    let (plan, outcomes) = hostile();
    let report = build(&plan, &outcomes);
    assert_eq!(serde_json::from_str::<Report>(&report.to_json()).expect("reads its own"), report);
}

#[test]
fn one_objective_has_a_front_of_the_best() {
    let (mut plan, outcomes) = small();
    plan.sweep.objectives = vec![Objective {
        quantity: Metric::NonzeroParameters.on(Split::Validation),
        direction: Direction::Minimize,
        margin: None,
    }];
    assert_eq!(front(&build(&plan, &outcomes)), ["a"]);
}

#[test]
fn every_combination_of_objectives_has_pages() {
    let objective =
        |metric: Metric| Objective { quantity: metric.on(Split::Validation), direction: metric.better(), margin: None };
    for metrics in [
        &[Metric::Auc][..],
        &[Metric::Macs],
        &[Metric::Macs, Metric::SizeBytes],
        &[Metric::Auc, Metric::Ece],
        &[Metric::Auc, Metric::Auc],
        &[Metric::Auc, Metric::Ece, Metric::Macs, Metric::Sparsity],
    ] {
        let (mut plan, outcomes) = realistic();
        plan.sweep.objectives = metrics.iter().copied().map(objective).collect();
        let report = build(&plan, &outcomes);
        assert!(!report.front.is_empty(), "{metrics:?}");
        let is_line = super::plot::axes(&report).expect("all is measured").are_all_objectives;
        assert_eq!(is_line, metrics == [Metric::Macs, Metric::SizeBytes], "{metrics:?}");
        let page = super::markdown(&report);
        assert!(page.plots.iter().all(|(_, svg)| !svg.contains("NaN") && !svg.contains("inf")), "{metrics:?}");
        assert!(super::html(&report).contains("</html>"));
    }
}

#[test]
fn one_seed_and_values_at_the_edge_of_numbers_still_have_pages() {
    let (plan, mut outcomes) =
        sweep(vec![cell("a", Some("magnitude"), 0.9, None), cell("b", Some("random"), 1.0, None)], 1);
    change(&mut outcomes, "a-1", Metric::Auc, Split::Validation, -f64::MAX);
    change(&mut outcomes, "b-1", Metric::Auc, Split::Validation, f64::MAX);
    change(&mut outcomes, "b-1", Metric::NonzeroParameters, Split::Validation, 0.0);
    let report = build(&plan, &outcomes);
    assert_eq!(front(&report), ["b"]);
    let page = super::markdown(&report);
    assert!(page.plots.iter().all(|(_, svg)| !svg.contains("NaN") && !svg.contains("inf")), "{:?}", page.plots);
    assert_eq!(super::html(&report), super::html(&report.clone()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_order_of_trials_changes_no_bit_of_a_cell(shuffled in Just(realistic().0.trials).prop_shuffle()) {
        let (mut plan, outcomes) = realistic();
        let expected = build(&plan, &outcomes);
        plan.trials = shuffled;
        let found = build(&plan, &outcomes);
        prop_assert_eq!(
            serde_json::to_string(&found.cells).expect("json"), serde_json::to_string(&expected.cells).expect("json")
        );
        prop_assert_eq!(found.front, expected.front);
    }
}

#[test]
fn outcomes_of_made_up_trials_have_every_metric() {
    let StageOutcome::Completed(result) = outcome(&cell("a", Some("magnitude"), 0.9, None), 1) else {
        panic!("the example completes");
    };
    let mut trained = Metric::ALL.iter().filter(|metric| !metric.needs_measuring());
    assert!(trained.all(|metric| result.metrics.value(&metric.on(Split::Test)).is_some()));
}

/// Writes the pages of the made-up sweeps, to look at: `SECATEUR_LOOK=<folder> cargo test -- --ignored look`.
#[test]
#[ignore = "for people: writes files into the folder that SECATEUR_LOOK names"]
fn look() {
    let folder = std::path::PathBuf::from(std::env::var_os("SECATEUR_LOOK").expect("SECATEUR_LOOK names a folder"));
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("written");
    let (plan, outcomes) = realistic();
    let report = build(&plan, &outcomes);
    write("report.html", super::html(&report));
    write("empty.html", super::html(&build(&plan, &BTreeMap::new())));
    let page = super::markdown(&report);
    write("report.md", page.text);
    for (name, svg) in page.plots {
        write(&name, svg);
    }
    let (plan, mut outcomes) = penalties();
    outcomes.remove(&plan.trials[0].id);
    outcomes.insert(plan.trials[2].id.clone(), StageOutcome::Diverged { step: 3 });
    outcomes.insert(plan.trials[3].id.clone(), StageOutcome::Diverged { step: 3 });
    write("penalties.html", super::html(&build(&plan, &outcomes)));
    let (plan, outcomes) = hostile();
    write("hostile.html", super::html(&build(&plan, &outcomes)));
    let cells = (0..10_000).map(|index| {
        let strategy = ["random", "magnitude", "taylor"][index % 3];
        cell(&format!("c{index}"), Some(strategy), 0.5 + 0.49 * index as f64 / 10_000.0, None)
    });
    let (plan, outcomes) = sweep(cells.collect(), 2);
    write("large.html", super::html(&build(&plan, &outcomes)));
}

#[test]
fn several_classes_are_judged_by_their_errors() {
    let (plan, outcomes) = images();
    let report = build(&plan, &outcomes);
    assert!(report.cells.iter().filter(|cell| !cell.control).all(|cell| cell.eligible), "{:?}", report.cells[0].reason);
    // Every number of the cell and of its control, from the trials themselves.
    let error = |cell: usize| report.cells[cell].mean(&Metric::Error.on(Split::Validation)).expect("measured");
    // Half of the weights by magnitude cost next to nothing; of those that lose less than the margin it is the smallest.
    assert!(error(2) - error(4) < 0.0025 && error(3) - error(4) > 0.0025);
    for page in [super::html(&report), super::markdown(&report).text, super::trials_csv(&report), report.to_json()] {
        assert!(!page.contains("NaN") && !page.contains("\"ks\"") && !page.contains("Kolmogorov"));
    }
    // An error is lost, and not kept; and there are classes and pixels in place of columns.
    insta::assert_snapshot!(super::markdown(&report).text);
    let plots = super::markdown(&report).plots;
    assert!(plots[0].1.contains("error rate, validation — lower is better"));
    assert_eq!(plots[1].0, "curves-error.svg");
}
