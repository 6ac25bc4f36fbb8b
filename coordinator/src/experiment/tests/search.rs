//! Searches: points drawn from ranges and lists, the same ones each time; and plans that grow by parts.

use std::collections::HashSet;

use super::{mistakes::of_files, *};
use crate::experiment::{
    PlanBuilder,
    expand::Point,
    plan::Control,
    propose::{DIMENSIONS, proposer},
    setting::{self, pruning, training},
};

fn search(sampler: &str, lines: &[&str]) -> String {
    let mut all = vec![
        "training: {optimizer: {kind: adam, lr: {low: 1.0e-4, high: 1.0e-1, log: true}}, epochs: {low: 2, high: 5}}",
        "  strategy: [magnitude, random]",
        "  sparsity: {low: 0.5, high: 0.95}",
    ];
    all.extend(lines);
    format!("{}search: {{sampler: {sampler}, trials: 64, seed: 3}}\n", small_with(&all))
}

fn parsed(text: &str) -> SweepSpec {
    SweepSpec::parse("sweep.yaml", text).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

#[test]
fn the_same_points_are_proposed_again_and_from_any_of_them_on() {
    for sampler in ["random", "sobol"] {
        let spec = parsed(&search(sampler, &[]));
        let points: Vec<_> = spec.points().collect();
        assert_eq!(points.len(), 64);
        assert_eq!(points.iter().collect::<HashSet<_>>().len(), 64, "{sampler}");
        for after in [0, 1, 37, 64] {
            let next: Vec<_> = proposer(&spec).propose(&parsed(&search(sampler, &[])), &points[..after]).collect();
            assert_eq!(next, points[after..], "{sampler} after {after}");
        }
        let other: Vec<_> = parsed(&search(sampler, &[]).replace("seed: 3", "seed: 4")).points().collect();
        assert!(points.iter().all(|point| !other.contains(point)), "{sampler}");
    }
}

#[test]
fn points_are_within_their_ranges_and_spread_over_them() {
    for sampler in ["random", "sobol"] {
        let points: Vec<_> = parsed(&search(sampler, &[])).points().collect();
        let below = |holds: &dyn Fn(&Point) -> bool| points.iter().filter(|point| holds(point)).count();
        for point in &points {
            assert!((1e-4..=1e-1).contains(point.get(&training::LR)), "{point:?}");
            assert!((2..=5).contains(point.get(&training::EPOCHS)), "{point:?}");
            assert!((0.5..=0.95).contains(point.get(&pruning::SPARSITY)), "{point:?}");
        }
        // Half of the draws are below the middle, which of a logarithmic range is the geometric mean.
        let halves = [
            below(&|point| *point.get(&training::LR) < 10_f64.powf(-2.5)),
            below(&|point| *point.get(&training::EPOCHS) < 4),
            below(&|point| *point.get(&pruning::SPARSITY) < 0.725),
            below(&|point| point.get(&pruning::STRATEGY).name == "random"),
        ];
        for half in halves {
            // Sobol's points are even; of 64 fair draws 14 to 50 are within 4.5 standard deviations.
            let allowed = if sampler == "sobol" { 32..=32 } else { 14..=50 };
            assert!(allowed.contains(&half), "{sampler}: {halves:?}");
        }
    }
}

#[test]
fn every_axis_can_be_a_dimension() {
    assert!(setting::settings().filter(|setting| setting.is_axis()).count() <= DIMENSIONS);
}

#[test]
fn a_search_is_planned_as_a_grid_is() {
    let plan = planned(&search("sobol", &["controls: [dense]", "seeds: 1"]));
    let asked = plan.cells.iter().filter(|cell| cell.control.is_none()).count();
    assert_eq!(asked + plan.merged.len() + plan.refused.len(), 64);
    let cell = &plan.cells[0];
    for key in ["training.optimizer.lr", "training.epochs", "pruning.sparsity", "pruning.strategy"] {
        assert!(cell.settings.contains_key(key), "{:?}", cell.settings);
    }
}

#[test]
fn exclusions_take_draws_away_and_others_take_their_place() {
    let text = search("random", &["exclude: [{pruning.strategy: random}]"]);
    let points: Vec<_> = parsed(&text).points().collect();
    assert_eq!(points.len(), 64);
    assert!(points.iter().all(|point| point.get(&pruning::STRATEGY).name == "magnitude"));
    let everything = search("random", &["exclude: [{model.hidden: [64, 32]}]"]);
    assert_eq!(parsed(&everything).points().count(), 0);
}

#[test]
fn mistakes_in_searches_have_their_places() {
    let ranges = [
        "{low: 0.5, high: 1}",
        "{low: 0.9, high: 0.5}",
        "{low: 0, high: 0.5, log: true}",
        "{low: 0.5}",
        "{low: 0.5, hihg: 0.9, high: 0.9}",
    ];
    let ranges = ranges.map(|range| (range, search("random", &[]).replace("{low: 0.5, high: 0.95}", range)));
    let others = [
        ("sampler: sobel", search("sobel", &[])),
        ("a range without a search", small_with(&["  sparsity: {low: 0.5, high: 0.9}"])),
        ("a search without a range", format!("{SMALL}search: {{sampler: random, trials: 4}}\n")),
        ("an exclusion of a range", search("random", &["exclude: [{pruning.sparsity: 0.5}]"])),
    ];
    let mistakes: Vec<_> = ranges.into_iter().chain(others).collect();
    for (mistake, text) in &mistakes {
        assert_eq!(problems(text).len(), 1, "{mistake}");
    }
    insta::assert_snapshot!(of_files(mistakes));
}

#[test]
fn parts_have_what_is_new_and_all_that_it_needs() {
    let text = small_with(&["  strategy: [magnitude, random, taylor]", "  sparsity: [0.5, 0.9]"]);
    let spec = parsed(&text);
    let whole = planned(&text);
    let points: Vec<_> = spec.points().collect();
    let mut builder = PlanBuilder::new(&spec, &text, table());
    let parts = points.chunks(2).map(|points| builder.extend(points.iter().cloned()).expect("cells").unpack());
    let parts: Vec<_> = parts.collect();
    let mut trials: Vec<_> = parts.iter().flat_map(|part| part.trials.iter().map(|trial| trial.id.clone())).collect();
    let mut expected: Vec<_> = whole.trials.iter().map(|trial| trial.id.clone()).collect();
    trials.sort();
    expected.sort();
    assert_eq!(trials, expected);
    for part in &parts {
        assert_eq!(part.sweep, whole.sweep);
        let keys: HashSet<_> = part.stages.iter().map(|stage| stage.key).collect();
        assert!(part.trials.iter().flat_map(|trial| &trial.stages).all(|stage| keys.contains(stage)));
        // Controls that an earlier part has are named, and not planned again.
        assert!(part.cells.iter().filter(|cell| cell.control.is_none()).all(|cell| cell.dense_control.is_some()));
    }
    // Of one sparsity each, all dense controls are one.
    let dense = |part: &Plan| part.cells.iter().filter(|cell| cell.control == Some(Control::Dense)).count();
    assert_eq!(parts.iter().map(dense).collect::<Vec<_>>(), [1, 0, 0]);
}
