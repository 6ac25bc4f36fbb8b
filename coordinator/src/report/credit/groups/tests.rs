use super::*;
use crate::report::credit::tests::{close, forty, nets, turned};

/// Row by row in turn: the first 30 of `a`, 9 of `b` and 1 of `c`, a level without rows.
fn columns() -> Vec<GroupColumn> {
    let of_rows = (0..40).map(|row| if row < 30 { 0 } else { 1 + u32::from(row == 39) }).collect();
    let levels = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    vec![GroupColumn { name: "region".to_owned(), levels, of_rows }]
}

#[test]
fn each_level_has_its_rows() {
    let test = forty();
    let (own, baseline) = (nets(&[turned(&test, 1), turned(&test, 2)]), nets(&[test.clone(), test.clone()]));
    let found = measure(&columns(), Some(&Decision::Approve(0.5)), &own, Some(&baseline));
    let counts: Vec<_> = found.iter().map(|group| (group.level.as_str(), group.rows)).collect();
    assert_eq!(counts, [("a", 30), ("b", 9), ("c", 1), ("d", 0)]);
    let [a, b, c, d] = &found[..] else { panic!("{found:?}") };
    let part = |scores: &SplitScores| SplitScores {
        logits: scores.logits[..30].to_vec(),
        targets: scores.targets[..30].to_vec(),
    };
    let auc = |scores: &SplitScores| RowValues::of(Metric::Auc, &part(scores)).expect("both classes").mean();
    let expected = f64::midpoint(auc(&turned(&test, 1)), auc(&turned(&test, 2)));
    let of_a = a.auc.expect("rows of both classes");
    close(of_a.value.mean, expected);
    close(of_a.minus_baseline.expect("a baseline").mean, expected - auc(&test));
    // With fewer than ten rows nothing is measured.
    for group in [b, c, d] {
        assert_eq!((group.auc, group.calibration, group.approved, group.approval_ratio), (None, None, None, None));
    }
    // Nothing has the rows that a reference needs.
    assert_eq!(a.approval_ratio, None);
    let [approved, tpr, fpr] =
        [a.approved, a.positives_declined, a.negatives_declined].map(|found| found.expect("rows").value.mean);
    let share = a.positives as f64 / a.rows as f64;
    close(1.0 - approved, share * tpr + (1.0 - share) * fpr);
}

/// Levels of 5 rows with everything approved, of missing values, of few among many rows, and two that can be the reference.
#[test]
fn ratios_are_of_a_level_with_enough_rows() {
    let level = |name: &str, rows: u64, rate: f64| {
        let approved: BySeed = (0..3).map(|seed| (seed, RowValues::of_values(vec![rate; 4]))).collect();
        GroupReport {
            column: "region".to_owned(),
            level: name.to_owned(),
            rows,
            positives: 0,
            auc: None,
            calibration: None,
            approved: estimate(&approved, None, SHARE),
            approval_ratio: None,
            positives_declined: None,
            negatives_declined: None,
        }
    };
    let levels = [
        level("a", 5, 1.0),
        level(MISSING, 5_000, 0.95),
        level("b", 199, 0.9),
        level("c", 4_000, 0.7),
        level("d", 796, 0.8),
    ];
    let all: Vec<&GroupReport> = levels.iter().collect();
    assert_eq!(reference(&all), Some(4));
    assert_eq!(reference(&all[2..3]), Some(0), "all rows are enough of a share");
    assert_eq!(reference(&all[..1]), None);
}

#[test]
fn a_ratio_is_below_if_its_interval_is() {
    let ratio = |mean, ci95| Ratio { mean, ci95 };
    let verdict = |ratio: Ratio| (ratio.is_below(), ratio.is_undecided());
    assert_eq!(verdict(ratio(0.7, Some([0.6, 0.79]))), (true, false));
    assert_eq!(verdict(ratio(0.7, Some([0.6, 0.81]))), (false, true));
    assert_eq!(verdict(ratio(0.9, Some([0.7, 1.1]))), (false, true));
    assert_eq!(verdict(ratio(0.9, Some([0.85, 1.0]))), (false, false));
    assert_eq!(verdict(ratio(0.7, None)), (false, true));
    assert_eq!(verdict(ratio(1.0, None)), (false, false));
}

#[test]
fn levels_of_other_rows_are_no_groups() {
    let mut columns = columns();
    columns[0].of_rows.pop();
    assert!(measure(&columns, None, &nets(&[forty()]), None).is_empty());
}

/// Katz et al. 1978: the logarithm of 30/40 over 45/50 has the variance (1 − p₁)/(n₁ p₁) + (1 − p₂)/(n₂ p₂), here with n − 1.
#[test]
fn the_ratio_has_the_variance_of_its_logarithm() {
    let approved: Vec<bool> = (0..90).map(|row| (10..85).contains(&row)).collect();
    let [one, other]: [Vec<usize>; 2] = [(0..40).collect(), (40..90).collect()];
    let found = log_ratio(&approved, &one, &other).expect("some are approved");
    close(found.mean(), -0.182_321_556_793_954_7);
    close(found.variance().expect("rows"), 0.25 / (39.0 * 0.75) + 0.1 / (49.0 * 0.9));
    assert_eq!(log_ratio(&[false, true], &[0], &[1]), None);
}
