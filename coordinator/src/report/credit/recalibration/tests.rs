use super::*;
use crate::report::credit::tests::{close, loans};

fn targets() -> Vec<f64> {
    loans().targets.iter().copied().map(f64::from).collect()
}

/// NumPy, by Newton's method; scikit-learn's `LogisticRegression` without a penalty agrees to seven digits. The variances are those of the
/// sandwich estimator, times n / (n − 1).
#[test]
fn slope_and_intercept_are_those_of_logistic_regression() {
    let (scores, targets) = (loans(), targets());
    let fit = Platt::fit(&scores.logits, &targets).expect("the classes overlap");
    close(fit.intercept, -0.248_924_624_938_920_45);
    close(fit.slope, 1.617_849_955_534_552_3);
    let influences = fit.influences(&scores.logits, &targets).expect("scores differ");
    for (values, [value, variance]) in
        influences.iter().zip([[fit.intercept, 0.253_564_670_966_851_3], [fit.slope, 0.462_888_158_941_115_96]])
    {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        close(mean, value);
        close(values.iter().map(|found| (found - mean).powi(2)).sum::<f64>() / (n - 1.0) / n, variance);
    }
}

/// scikit-learn 1.9, `_sigmoid_calibration`, whose optimiser stops at about four digits.
#[test]
fn the_fit_with_smoothed_targets_is_platts() {
    let scores = loans();
    let fit = Platt::fit(&scores.logits, &Platt::smoothed(&scores.targets)).expect("a fit");
    assert!((fit.intercept - -0.283_474_66).abs() < 1e-4 && (fit.slope - 1.184_027_78).abs() < 1e-4, "{fit:?}");
}

#[test]
fn what_has_no_fit_is_none() {
    assert_eq!(Platt::fit(&[-1.0, 1.0], &[0.0, 1.0]), None);
    assert_eq!(Platt::fit(&[1.0, 1.0], &[0.0, 1.0]), None);
    assert_eq!(Isotonic::fit(&[], &[]), None);
}

/// scikit-learn 1.9, `IsotonicRegression(out_of_bounds="clip")`.
#[test]
fn isotonic_regression_is_that_of_scikit_learn() {
    let scores = loans();
    let fit = Isotonic::fit(&scores.logits, &scores.targets).expect("rows");
    let found = [-3.0, -1.0, -0.4, 0.0, 0.1, 0.33, 0.8, 1.5, 4.0].map(|logit| fit.probability(logit));
    let expected = [0.0, 2.0 / 9.0, 2.0 / 9.0, 0.25, 0.25, 0.25, 1.0, 1.0, 1.0];
    for (found, expected) in found.into_iter().zip(expected) {
        close(found, expected);
    }
}

proptest::proptest! {
    #[test]
    fn isotonic_probabilities_increase_and_keep_the_mean(rows in proptest::collection::vec((-3_i8..3, 0_u8..2), 1..40)) {
        let (logits, targets): (Vec<f32>, Vec<f32>) =
            rows.iter().map(|(logit, target)| (f32::from(*logit), f32::from(*target))).unzip();
        let fit = Isotonic::fit(&logits, &targets).expect("rows");
        let found: Vec<f64> = logits.iter().map(|logit| fit.probability(*logit)).collect();
        let mean = targets.iter().copied().map(f64::from).sum::<f64>();
        assert!((found.iter().sum::<f64>() - mean).abs() < 1e-9);
        let mut sorted: Vec<(f32, f64)> = logits.into_iter().zip(found).collect();
        sorted.sort_by(|one, two| one.0.total_cmp(&two.0));
        assert!(sorted.is_sorted_by(|one, two| one.1 <= two.1 + 1e-12));
    }
}
