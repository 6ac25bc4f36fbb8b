//! Reports of slices and gaps, and of what could not be measured.

use secateur_proto::metrics::{Measured, NotMeasurable, Over, Quantity};

use super::*;

/// A region of test whose AUC one of two seeds could not measure, and a gap.
fn with_slices() -> (crate::report::example::Sweep, [Quantity; 3]) {
    let (plan, mut outcomes) = small();
    let [north, south, gap] = [
        Over::slice(Split::Test, "region", "north"),
        Over::slice(Split::Test, "region", "a, b"),
        Over::gap(Split::Test, "region"),
    ]
    .map(|over| Quantity::new(Metric::Auc, over).expect("of rows"));
    for (trial, value) in [("a-1", 0.6), ("a-2", 0.7), ("d-1", 0.8), ("d-2", 0.8)] {
        set(&mut outcomes, trial, north.clone(), Measured::Value(value));
        set(&mut outcomes, trial, gap.clone(), Measured::Value(1.0 - value));
    }
    set(&mut outcomes, "a-1", south.clone(), Measured::Value(0.5));
    set(&mut outcomes, "a-2", south.clone(), Measured::Not(NotMeasurable::MissingClass));
    set(&mut outcomes, "b-1", south.clone(), Measured::Not(NotMeasurable::FewRows));
    ((plan, outcomes), [north, south, gap])
}

#[test]
fn slices_and_gaps_stand_beside_the_metrics_with_differences_of_their_own() {
    let ((plan, outcomes), [north, south, gap]) = with_slices();
    let report = build(&plan, &outcomes);
    let cell = &report.cells[0];
    assert!((cell.mean(&north).expect("measured") - 0.65).abs() < 1e-12);
    let paired = cell.minus_dense(&north).expect("paired");
    assert!((paired.summary.mean + 0.15).abs() < 1e-12);
    assert_eq!((paired.n_better, paired.n_worse), (0, 2));
    // A wider gap is worse, although a higher AUC is better.
    assert_eq!(cell.minus_dense(&gap).map(|paired| paired.n_worse), Some(2));
    // The statistics have the seeds that there are, and say which are missing.
    let found = &cell.quantities[&south];
    assert_eq!((found.n, found.mean), (1, Some(0.5)));
    assert_eq!(found.not_measurable, BTreeMap::from([(NotMeasurable::MissingClass, 1)]));

    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("json");
    let trial = &json["trials"][1]["quantities"];
    assert_eq!(trial["auc@test[region=north]"], json!({"value": 0.7}));
    assert_eq!(trial["auc@test[region=\"a, b\"]"], json!({"value": null, "reason": "missing_class"}));
    let cells = &json["cells"];
    assert!(cells[0]["quantities"]["auc@test[gap region]"]["difference_to_dense"]["mean"].is_f64());
    let nothing = json!({"mean": null, "sd": null, "ci95": null, "n": 0, "not_measurable": {"few_rows": 1}});
    assert_eq!(cells[1]["quantities"]["auc@test[region=\"a, b\"]"], nothing);
    assert_eq!(serde_json::from_str::<Report>(&report.to_json()).expect("reads its own"), report);

    // Whoever knows nothing of slices finds what was there before, and as it was.
    let (_, before) = small();
    let mut stripped = json.clone();
    for list in ["cells", "trials"] {
        for entry in stripped[list].as_array_mut().expect("a list") {
            entry.as_object_mut().expect("a map").remove("quantities");
        }
    }
    let before: serde_json::Value = serde_json::from_str(&build(&plan, &before).to_json()).expect("json");
    assert_eq!(stripped, before);
}

#[test]
fn a_cell_is_held_to_a_quantity_that_is_missing_of_a_seed() {
    let ((mut plan, outcomes), [north, south, _]) = with_slices();
    let constraint = |quantity: &Quantity, min| Constraint { quantity: quantity.clone(), min: Some(min), max: None };
    plan.sweep.constraints = vec![constraint(&north, 0.7), constraint(&south, 0.4)];
    let report = build(&plan, &outcomes);
    let reason = report.cells[0].reason.as_deref().expect("it breaks both");
    for part in [
        "its auc on test where region is north is 0.650000, below the 0.7 asked for",
        "not every trial has a value of auc on test where region is a, b: not every class has a row there",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    let text = report.to_json();
    assert!(text.contains(r#""metric": "auc@test[region=\"a, b\"]""#), "{text}");
    assert_eq!(serde_json::from_str::<Report>(&text).expect("reads its own"), report);
}

#[test]
fn the_front_can_be_chosen_by_a_slice_and_every_page_says_so() {
    let (mut plan, mut outcomes) = realistic();
    let [quantity, gap] =
        [Over::slice(Split::Validation, "region", "<b>|@test"), Over::gap(Split::Validation, "region")]
            .map(|over| Quantity::new(Metric::Auc, over).expect("of rows"));
    for (trial, outcome) in &mut outcomes {
        let StageOutcome::Completed(result) = outcome else { continue };
        for split in Split::ALL {
            let auc = result.metrics.value(&Metric::Auc.on(split)).expect("measured");
            result.metrics.insert(quantity.with_split(split), auc - 0.01);
            let missing = trial.as_str().ends_with("-1");
            let measured = if missing { Measured::Not(NotMeasurable::FewLevels) } else { Measured::Value(0.02) };
            result.metrics.insert(gap.with_split(split), measured);
        }
    }
    plan.sweep.objectives[0].quantity = quantity.clone();
    let report = build(&plan, &outcomes);
    assert!(!report.front.is_empty());
    let page = crate::report::markdown(&report);
    assert_eq!(
        page.plots.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["pareto.svg", "curves-auc-1.svg", "heatmap-auc-1.svg"]
    );
    assert!(page.text.contains("AUC on validation where region is"), "{}", page.text);
    let html = crate::report::html(&report);
    assert!(html.contains("</html>") && !html.contains("<b>|@test"));
    let csv = crate::report::trials_csv(&report);
    assert!(csv.lines().next().is_some_and(|header| header.contains("auc@validation[region=")));
    // A gap that no cell has of every seed leaves nobody to choose from.
    plan.sweep.objectives[0].quantity = gap;
    assert!(build(&plan, &outcomes).front.is_empty());
}

#[test]
fn gaps_are_taken_trial_by_trial_between_the_levels_that_have_a_value() {
    let (plan, mut outcomes) = small();
    let slice = |level: &str| Quantity::new(Metric::Auc, Over::slice(Split::Test, "region", level)).expect("of rows");
    for (trial, values) in [("a-1", [Some(0.7), Some(0.6), Some(0.9)]), ("a-2", [Some(0.7), Some(0.5), None])] {
        for (level, value) in ["north", "south", "east"].into_iter().zip(values) {
            let measured = value.map_or(Measured::Not(NotMeasurable::FewRows), Measured::Value);
            set(&mut outcomes, trial, slice(level), measured);
        }
    }
    set(&mut outcomes, "b-1", slice("north"), Measured::Value(0.7));
    let report = build(&plan, &outcomes);
    let gap = Quantity::new(Metric::Auc, Over::gap(Split::Test, "region")).expect("of rows");
    let of = |trial: usize| report.trials[trial].value(&gap).expect("two levels have a value");
    assert!((of(0) - 0.3).abs() < 1e-12 && (of(1) - 0.2).abs() < 1e-12);
    // One level has no gap, and a trial without slices has none of anything.
    assert_eq!(report.trials[2].quantities[&gap].reason, Some(NotMeasurable::FewLevels));
    assert!(report.trials[3].quantities.is_empty());

    let page = crate::report::markdown(&report).text;
    assert!(page.contains("### By group") && page.contains("| region | gap | 0.2500"), "{page}");
    assert!(crate::report::html(&report).contains("<h3>By group</h3>"));
    let (plan, outcomes) = small();
    assert!(!crate::report::markdown(&build(&plan, &outcomes)).text.contains("### By group"));
}
