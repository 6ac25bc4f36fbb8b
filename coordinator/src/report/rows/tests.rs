use proptest::prelude::*;

use super::*;
use crate::report::simulated::{Population, Sweeps};

fn scores(positives: &[f32], negatives: &[f32]) -> SplitScores {
    let targets = positives.iter().map(|_| 1.0).chain(negatives.iter().map(|_| 0.0)).collect();
    SplitScores { logits: [positives, negatives].concat(), targets }
}

const ONE: [&[f32]; 2] = [&[0.9, 0.4, 0.4, 1.7, -0.2], &[0.4, -1.0, 0.1, 1.2, -0.2, 0.3]];
const OTHER: [&[f32]; 2] = [&[1.1, 0.6, -0.3, 1.0, 0.2], &[0.5, -0.7, 0.2, 0.2, -0.1, 0.9]];

fn close(found: Option<f64>, expected: f64) {
    let found = found.expect("there is one");
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

/// NumPy, from the matrix of all pairs (1 for a win, ½ for a tie): the variances of its row and column means.
#[test]
fn variances_of_the_auc_are_those_of_all_pairs() {
    let [one, other] = [ONE, OTHER].map(|[positives, negatives]| scores(positives, negatives));
    let [one, other] = [one, other].map(|scores| RowValues::of(Metric::Auc, &scores).expect("both classes"));
    close(Some(one.mean()), 0.716_666_666_666_666_7);
    close(Some(other.mean()), 0.7);
    close(one.variance(), 0.029_305_555_555_555_557);
    close(other.variance(), 0.032_777_777_777_777_78);
    let mut difference = RowValues::none();
    assert!(difference.add(1.0, &one) && difference.add(-1.0, &other));
    close(difference.variance(), 0.036_083_333_333_333_33);
}

#[test]
fn the_gini_varies_twice_as_much() {
    let scores = scores(ONE[0], ONE[1]);
    let [auc, gini] = [Metric::Auc, Metric::Gini].map(|metric| RowValues::of(metric, &scores).expect("both classes"));
    close(Some(gini.mean()), 2.0 * auc.mean() - 1.0);
    close(gini.variance(), 4.0 * auc.variance().expect("rows"));
}

#[test]
fn what_cannot_be_had_is_none() {
    let one_class = scores(&[0.5, 0.7], &[]);
    assert_eq!(RowValues::of(Metric::Auc, &one_class), None);
    assert_eq!(RowValues::of(Metric::Ks, &scores(ONE[0], ONE[1])), None);
    let lost = SplitScores { logits: vec![0.1, 0.2, 0.3], targets: vec![1.0, 0.0] };
    assert_eq!(RowValues::of(Metric::Error, &lost), None);
    assert_eq!(RowValues::of(Metric::Error, &SplitScores::default()), None);
    let one_row = RowValues::of(Metric::Error, &scores(&[0.5], &[])).expect("a row");
    assert_eq!((one_row.mean(), one_row.variance()), (0.0, None));
    let mut sum = RowValues::none();
    assert!(sum.add(1.0, &one_row) && !sum.add(1.0, &RowValues::of(Metric::Error, &one_class).expect("rows")));
}

/// Seeds: sd 0.02 of four, so 0.01 and 3 degrees. Rows: standard error 0.01 of 101. Both: √0.0002; degrees 4 / (1/3 + 1/100).
#[test]
fn two_parts_make_one_interval() {
    let seeds = Summary { mean: 0.5, sd: Some(0.02), ci95: None, n: 4 };
    let total = Total::of(&seeds, Some((1e-4, 101)), [0.0, 1.0]);
    close(total.se_seeds, 0.01);
    close(total.se_rows, 0.01);
    close(total.degrees, 4.0 / (1.0 / 3.0 + 0.01));
    let [low, high] = total.ci95.expect("four seeds");
    // SciPy: stats.t.ppf(.975, 11.650485) = 2.186084.
    assert!((high - 0.5 - 2.186_084_5 * 2e-4_f64.sqrt()).abs() < 1e-7, "{high}");
    assert!((high + low - 1.0).abs() < 1e-12);
    let one = Total::of(&Summary { mean: 0.5, sd: None, ci95: None, n: 1 }, Some((1e-4, 101)), [0.0, 1.0]);
    assert_eq!((one.ci95, one.se_seeds), (None, None));
    let wide = Total::of(&Summary { mean: 0.99, ..seeds }, Some((1e-4, 101)), [0.0, 1.0]);
    assert_eq!(wide.ci95.expect("four seeds")[1], 1.0);
}

/// 2,000 sweeps of nets with noise of their own on rows that all of them share: how often the interval holds the truth.
#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    let population = Population { of_net: 0.25, of_seed: 0.15, ..Population::default() };
    let [base, cell] = [0.3, 0.5];
    let truths = [population.auc(cell), population.auc(cell) - population.auc(base)];
    for seeds in [3, 5, 10] {
        let mut held = [0; 2];
        let sweeps = Sweeps::new(population, 2_000, u64::from(seeds));
        for sweep in sweeps {
            let nets = [base, cell].map(|direction| sweep.nets(direction, seeds));
            let totals = [sweep.value(&nets[1]), sweep.difference(&nets[1], &nets[0])];
            for ((held, total), truth) in held.iter_mut().zip(totals).zip(truths) {
                let [low, high] = total.ci95.expect("several seeds");
                *held += u32::from(low <= truth && truth <= high);
            }
        }
        for (what, held) in ["value", "difference"].into_iter().zip(held) {
            let share = f64::from(held) / 2_000.0;
            assert!((0.93..=0.97).contains(&share), "{what} with {seeds} seeds: {share}");
        }
    }
}

proptest! {
    #[test]
    fn placements_are_the_shares_of_pairs(
        positives in proptest::collection::vec((-6..6_i8).prop_map(|value| f32::from(value) / 2.0), 1..30),
        negatives in proptest::collection::vec((-6..6_i8).prop_map(|value| f32::from(value) / 2.0), 1..30),
    ) {
        let found = placements(&scores(&positives, &negatives).logits, &scores(&positives, &negatives).targets);
        let found = found.expect("both classes");
        let wins = |one: f32, other: f32| if one > other { 1.0 } else if one == other { 0.5 } else { 0.0 };
        for (row, found) in positives.iter().zip(&found[0]) {
            let share = negatives.iter().map(|other| wins(*row, *other)).sum::<f64>() / negatives.len() as f64;
            prop_assert!((share - found).abs() < 1e-12);
        }
        for (row, found) in negatives.iter().zip(&found[1]) {
            let share = positives.iter().map(|other| wins(*other, *row)).sum::<f64>() / positives.len() as f64;
            prop_assert!((share - found).abs() < 1e-12);
        }
    }
}
