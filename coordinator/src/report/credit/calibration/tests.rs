use super::*;
use crate::report::credit::tests::{close, forty, nets};

/// NumPy with `array_split` of the sorted rows into ten; scikit-learn's `calibration_curve(strategy="quantile")` has the same ECE.
#[test]
fn the_error_and_the_parts_of_the_brier_score_are_those_of_ten_groups() {
    let found = predicted(&forty());
    close(found.ece().mean(), 0.320_109_888_963_503_1);
    close(found.ece_if_calibrated(), 0.161_730_170_695_514_93);
    let parts = found.brier();
    close(parts.reliability, 0.155_996_016_480_917_27);
    close(parts.resolution, 0.125_625);
    close(parts.uncertainty, 0.244_375);
    close(parts.brier, 0.275_523_371_015_323_65);
    close(parts.reliability - parts.resolution + parts.uncertainty + parts.within, parts.brier);
}

#[test]
fn equal_probabilities_are_in_one_group() {
    assert_eq!(groups(20, |_, _| false), [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
    assert_eq!(groups(20, |_, _| true), [20]);
    assert_eq!(groups(20, |one, _| one == 1), [3, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
    assert_eq!(groups(3, |_, _| false), [1, 2, 3]);
    assert!(groups(0, |_, _| false).is_empty());
}

#[test]
fn a_recalibrated_net_is_measured_on_test() {
    let own = nets(&[forty(), forty()]);
    let found = measure(&own, None);
    assert_eq!(found.recalibrated.iter().map(|after| after.method.as_str()).collect::<Vec<_>>(), ["platt", "isotonic"]);
    for after in &found.recalibrated {
        let before = found.brier.expect("rows").brier;
        close(after.brier - before, after.brier_change.mean);
        close(after.ece - found.ece.expect("rows").value.mean, after.ece_change.expect("seeds").mean);
    }
    assert_eq!(found.curve.len(), 10);
    close(found.slope.expect("a fit").value.mean, slope_and_intercept(&forty()).expect("a fit")[0].mean());
    // Ties leave nets of one cell different groups: then there is no mean curve.
    let tied = SplitScores { logits: vec![0.5; 40], targets: forty().targets };
    assert!(measure(&nets(&[forty(), tied]), None).curve.is_empty());
}
