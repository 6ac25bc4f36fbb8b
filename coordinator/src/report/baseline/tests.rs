use std::cell::Cell as Count;

use super::*;
use crate::{
    experiment::plan::Constraint,
    report::{
        build, example,
        simulated::{Population, Sweeps},
    },
};

/// With one part alone: SciPy's stats.t.sf(2.5, 4) and stats.norm.sf(2.5).
#[test]
fn a_part_alone_is_the_usual_test() {
    let total = |se_seeds, se_rows| Total {
        mean: 0.0,
        n: 5,
        se_seeds: Some(se_seeds),
        se_rows,
        degrees: Some(4.0),
        ci95: None,
    };
    let p = |total: &Total, margin| p_value(total, margin, Direction::Maximize).expect("several seeds");
    assert!((p(&total(1.0, None), 2.5) - 0.033_383_3).abs() < 1e-6, "{}", p(&total(1.0, None), 2.5));
    assert!((p(&total(1e-12, Some(1.0)), 2.5) - 0.006_209_7).abs() < 1e-6, "{}", p(&total(1e-12, Some(1.0)), 2.5));
    // A loss of more than the margin, and no variance at all.
    let lost = Total { mean: -5.0, ..total(1.0, None) };
    assert!((p(&lost, 2.5) - (1.0 - 0.033_383_3)).abs() < 1e-6);
    assert_eq!([p(&total(0.0, None), 0.1), p(&Total { mean: -0.1, ..total(0.0, None) }, 0.1)], [0.0, 1.0]);
    let both = p(&total(1.0, Some(1.0)), 2.5);
    assert!(both > 0.033_383_3 && both < 0.5, "{both}");
}

/// Ten cells that all lose exactly the margin: a sweep may name one of them as not inferior in at most 2.5 % of all cases. Tested one by
/// one it would be far more.
#[test]
fn a_sweep_of_inferior_cells_rarely_names_one() {
    let population = Population::default();
    let (margin, base) = (0.02, 0.3);
    let inferior = population.direction_that_loses(base, margin);
    for seeds in [3, 5] {
        let (mut named, mut one_by_one) = (0, 0);
        for sweep in Sweeps::new(population, 2_000, 7) {
            let dense = sweep.nets(base, seeds);
            let p_values: Vec<f64> = (0..10)
                .map(|_| {
                    let difference = sweep.difference(&sweep.nets(inferior, seeds), &dense);
                    p_value(&difference, margin, Direction::Maximize).expect("several seeds")
                })
                .collect();
            named += u32::from(holm(&p_values, 10).expect("probabilities").iter().any(|p| *p < ALPHA));
            one_by_one += u32::from(p_values.iter().any(|p| *p < ALPHA));
        }
        let [named, one_by_one] = [named, one_by_one].map(|count| f64::from(count) / 2_000.0);
        // 0.025 and twice the standard error of 2,000 draws.
        assert!(named <= 0.032, "{named} with {seeds} seeds");
        assert!(one_by_one > 0.05, "the simulation tells the rules apart: {one_by_one}");
    }
}

#[test]
fn everything_is_compared_with_the_dense_net_that_is_best_on_validation() {
    let (plan, outcomes) = example::realistic();
    let report = build(&plan, &outcomes);
    let baseline = report.baseline.clone().expect("dense controls have completed");
    let auc = Metric::Auc.on(Split::Validation);
    let dense = report.cells.iter().filter(|cell| cell.control_kind == Some(Control::Dense));
    let best = dense.max_by(|one, two| one.mean(&auc).expect("measured").total_cmp(&two.mean(&auc).expect("measured")));
    assert_eq!(Some(&baseline.cell), best.map(|cell| &cell.id));
    assert_eq!((baseline.of, baseline.margin), (3, Some(0.01)));
    let value = |cell: &CellId, seed: u64| {
        let trial = report.trials.iter().find(|trial| trial.cell == *cell && trial.seed == seed).expect("a trial");
        trial.value(&auc)
    };
    for cell in &report.cells {
        let Some(difference) = cell.minus_baseline(&auc) else {
            assert_eq!(cell.id, baseline.cell);
            continue;
        };
        let differences: Vec<f64> =
            (1..=3).filter_map(|seed| Some(value(&cell.id, seed)? - value(&baseline.cell, seed)?)).collect();
        let mean = differences.iter().sum::<f64>() / differences.len() as f64;
        assert!((difference.summary.mean - mean).abs() < 1e-12);
    }
}

/// Scores of a few rows: what they say is not what the trials reported, unless they are those of the trials.
#[test]
fn scores_that_do_not_give_the_metrics_of_a_trial_are_not_used() {
    let (plan, outcomes) = example::realistic();
    let report = build(&plan, &outcomes);
    let asked = Count::new(0);
    let mut read = |_| {
        asked.set(asked.get() + 1);
        let split = SplitScores { logits: vec![0.4, -1.0, 2.0, 0.1], targets: vec![1.0, 0.0, 1.0, 0.0] };
        Some(TrialScores { validation: split.clone(), test: split })
    };
    assert!(row_variances(&report, &mut read).is_empty());
    assert!(asked.get() > 0);
    assert!(row_variances(&report, &mut |_| None).is_empty(), "scores that are gone are no error");
    assert_eq!(report.clone().with_rows(&RowVariances::default()), report);
}

#[test]
fn a_margin_is_that_of_the_file() {
    let (mut plan, outcomes) = example::realistic();
    plan.sweep.objectives[0].margin = Some(1e-6);
    let report = build(&plan, &outcomes);
    let baseline = report.baseline.as_ref().expect("there is one");
    assert_eq!((baseline.margin, &baseline.smallest), (Some(1e-6), &None));
    let nearest = baseline.nearest.as_ref().expect("one comes nearest");
    assert!(report.findings().iter().any(|sentence| sentence.starts_with("None of")), "{nearest}");
}

#[test]
fn cells_that_break_a_constraint_count_among_the_comparisons() {
    let (mut plan, outcomes) = example::realistic();
    let before = build(&plan, &outcomes);
    let quantity = plan.sweep.objectives[1].quantity.clone();
    let mut sizes: Vec<f64> =
        before.cells.iter().filter(|cell| cell.eligible).filter_map(|cell| cell.mean(&quantity)).collect();
    sizes.sort_by(f64::total_cmp);
    plan.sweep.constraints.push(Constraint { quantity, min: None, max: Some(sizes[sizes.len() / 2]) });
    let after = build(&plan, &outcomes);
    let eligible = |report: &Report| report.cells.iter().filter(|cell| cell.eligible).count();
    let tested = |report: &Report| report.baseline.as_ref().map(|baseline| baseline.tested);
    assert!(eligible(&after) < eligible(&before));
    assert_eq!(tested(&after), tested(&before));
}
