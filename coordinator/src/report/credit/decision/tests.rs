use super::*;
use crate::report::credit::tests::{close, forty, nets, turned};

fn scores(rows: &[(f32, u8)]) -> SplitScores {
    let (logits, targets) = rows.iter().map(|(logit, target)| (*logit, f32::from(*target))).unzip();
    SplitScores { logits, targets }
}

#[test]
fn the_share_is_approved_and_ties_stay_together() {
    let rows = scores(&[(0.1, 0), (0.3, 0), (0.3, 1), (0.2, 0), (0.9, 1)]);
    assert_eq!(cut_off(&Decision::Approve(0.4), &rows), Some(0.2));
    assert_eq!(cut_off(&Decision::Approve(0.6), &rows), Some(0.3));
    assert_eq!(approved_at(0.3, &rows), [true, true, true, true, false]);
    assert_eq!(cut_off(&Decision::Approve(0.4), &SplitScores::default()), None);
}

#[test]
fn the_cut_off_of_a_cost_matrix_has_the_lowest_cost() {
    let rows = forty();
    for (bad_approved, good_declined) in [(5.0, 1.0), (1.0, 5.0), (1.0, 1.0), (1e6, 1.0)] {
        let decision = Decision::Cost { bad_approved, good_declined };
        let mean = |cut_off: f32| cost(&decision, &approved_at(cut_off, &rows), &rows.targets).expect("a cost").mean();
        let best = cut_off(&decision, &rows).expect("rows");
        let cut_offs = rows.logits.iter().copied().chain([f32::NEG_INFINITY]);
        let lowest = cut_offs.map(mean).fold(f64::INFINITY, f64::min);
        close(mean(best), lowest);
    }
    let never = Decision::Cost { bad_approved: 1.0, good_declined: 1e-9 };
    assert_eq!(cut_off(&never, &scores(&[(0.1, 1), (0.2, 1)])), Some(f32::NEG_INFINITY));
}

/// By hand: of six approved rows two are positive. NumPy: the variance of the ratio estimator, Σ a (y − R)² / (n (n − 1) ā²).
#[test]
fn the_bad_rate_is_a_ratio_with_the_variance_of_the_delta_method() {
    let approved = [true, true, false, true, true, false, true, true];
    let targets = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    let found = bad_rate(&approved, &targets).expect("some are approved");
    close(found.mean(), 1.0 / 3.0);
    close(found.variance().expect("rows"), (2.0 * 4.0 / 9.0 + 4.0 / 9.0) / (8.0 * 7.0 * 0.5625));
    assert_eq!(bad_rate(&[false], &[1.0]), None);
}

#[test]
fn the_swap_set_counts_rows_that_are_decided_differently() {
    let test = forty();
    let (own, baseline) = (nets(&[turned(&test, 1), turned(&test, 2)]), nets(&[test.clone(), turned(&test, 3)]));
    let decision = Decision::Approve(0.7);
    let found = measure(decision, &own, Some(&baseline)).expect("rows");
    let [one, two] = [decide(&own, &decision), decide(&baseline, &decision)];
    let differs =
        |one: &[bool], two: &[bool]| one.iter().zip(two).filter(|(one, two)| one != two).count() as f64 / 40.0;
    close(
        found.swapped.expect("a baseline").mean,
        f64::midpoint(differs(&one[&0], &two[&0]), differs(&one[&1], &two[&1])),
    );
    close(
        found.swapped_from_other_seeds.expect("two seeds"),
        f64::midpoint(differs(&one[&0], &two[&1]), differs(&one[&1], &two[&0])),
    );
    let (side_in, side_out) = (found.swapped_in.expect("rows"), found.swapped_out.expect("rows"));
    close(side_in.share + side_out.share, found.swapped.expect("a baseline").mean);
    let between = found.between_seeds.expect("two seeds");
    close(between.mean, differs(&one[&0], &one[&1]));
    assert_eq!((between.pairs, between.range), (1, [between.mean; 2]));
    // A cell beside itself changes nothing.
    let same = measure(decision, &own, Some(&own)).expect("rows");
    close(same.swapped.expect("rows").mean, 0.0);
    close(same.approved_at_bad_rate.and_then(|found| found.minus_baseline).expect("rows").mean, 0.0);
    assert_eq!(same.swapped_in.and_then(|side| side.bad_rate), None);
}

#[test]
fn the_bad_rate_of_the_baseline_is_not_exceeded_on_validation() {
    let rows = forty();
    for rate in [0.0, 0.2, 0.3, 0.425, 1.0] {
        let approved = approved_at(cut_off_at(rate, &rows), &rows);
        let count = approved.iter().filter(|approved| **approved).count();
        let bads =
            approved.iter().zip(&rows.targets).filter(|(approved, target)| **approved && **target == 1.0).count();
        assert!(bads as f64 <= rate * count as f64 + 1e-9, "{rate}: {bads} of {count}");
    }
    assert_eq!(approved_at(cut_off_at(1.0, &rows), &rows), [true; 40]);
}
