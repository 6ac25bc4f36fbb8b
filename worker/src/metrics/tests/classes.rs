//! Metrics of several classes, against numbers worked out by hand and against those of two classes.

use super::*;

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
}

#[test]
fn three_classes_by_hand() {
    let probabilities: [[f32; 3]; 4] = [[0.72, 0.18, 0.10], [0.06, 0.65, 0.29], [0.28, 0.44, 0.28], [0.25, 0.30, 0.45]];
    // Softmax takes no notice of what all logits of a row have in common.
    let logits: Vec<f32> =
        (probabilities.iter().zip([0.0, 3.0, -2.0, 1.0])).flat_map(|(row, c)| row.map(|p| p.ln() + c)).collect();
    let metrics = of_class_scores(&logits, &[0.0, 1.0, 2.0, 2.0], 3).expect("scores");
    near(of(&metrics, Metric::LogLoss), -(0.72_f64.ln() + 0.65_f64.ln() + 0.28_f64.ln() + 0.45_f64.ln()) / 4.0);
    // .1208 + .2102 + .7904 + .4550
    near(of(&metrics, Metric::Brier), 1.5764 / 4.0);
    // The third row is taken for class 1. Confidences: .72 right, .65 right, and in one bin .44 wrong and .45 right.
    assert_eq!((of(&metrics, Metric::Accuracy), of(&metrics, Metric::Error)), (0.75, 0.25));
    near(of(&metrics, Metric::Ece), (0.28 + 0.35 + 0.11) / 4.0);
    // Classes 0 and 1 are above all the rest; of class 2, .28 is above .10 and below .29, and .45 above both.
    near(of(&metrics, Metric::Auc), (1.0 + 1.0 + 0.75) / 3.0);
    near(of(&metrics, Metric::Gini), 2.0 * 2.75 / 3.0 - 1.0);
    assert_eq!(metrics.0[&Metric::Ks], Measured::Not(NotMeasurable::SeveralClasses));
}

#[test]
fn a_tie_goes_to_the_first_class() {
    let metrics = of_class_scores(&[1.0, 1.0, 0.0, 0.0, 2.0, 2.0, 0.0, 0.0, 1.0], &[0.0, 1.0, 2.0], 3).expect("scores");
    assert_eq!(of(&metrics, Metric::Accuracy), 1.0);
    let metrics = of_class_scores(&[1.0, 1.0, 0.0, 0.0, 2.0, 2.0, 0.0, 0.0, 1.0], &[1.0, 2.0, 0.0], 3).expect("scores");
    assert_eq!(of(&metrics, Metric::Accuracy), 0.0);
}

#[test]
fn certainty_stays_finite_and_is_still_ranked() {
    // Probabilities are 1 and 0 in double precision, and the order of the rows is known all the same.
    let logits = [3000.0, 0.0, -3000.0, 2000.0, 0.0, -3000.0, 0.0, 1000.0, 0.0, 0.0, 0.0, 2000.0];
    let metrics = of_class_scores(&logits, &[0.0, 1.0, 1.0, 2.0], 3).expect("scores");
    close(of(&metrics, Metric::LogLoss), 500.0);
    close(of(&metrics, Metric::Accuracy), 0.75);
    close(of(&metrics, Metric::Brier), 0.5);
    close(of(&metrics, Metric::Ece), 0.25);
    // Class 0: 3000 is above 2000. Class 1: log-odds −3000, −2000, 1000, −2000 with rows 1 and 2 positive: 3.5 of 4 pairs.
    close(of(&metrics, Metric::Auc), (1.0 + 3.5 / 4.0 + 1.0) / 3.0);
    let huge = [f32::MAX, f32::MIN, 0.0, f32::MIN, f32::MAX, 0.0, 0.0, f32::MIN, f32::MAX];
    let metrics = of_class_scores(&huge, &[0.0, 1.0, 2.0], 3).expect("scores");
    assert_eq!(
        (of(&metrics, Metric::Auc), of(&metrics, Metric::LogLoss), of(&metrics, Metric::Accuracy)),
        (1.0, 0.0, 1.0)
    );
}

#[test]
fn what_cannot_be_scored() {
    let scores = |logits: &[f32], targets: &[f32]| of_class_scores(logits, targets, 3);
    assert_eq!(scores(&[0.0; 6], &[0.0]), Err(MetricError::Lengths { logits: 6, targets: 1 }));
    assert_eq!(of_class_scores(&[0.0; 2], &[0.0, 0.0], 1), Err(MetricError::Classes { classes: 1 }));
    for bad in [3.0, -1.0, 0.5, f32::NAN, f32::INFINITY] {
        assert_eq!(scores(&[0.0; 6], &[0.0, bad]), Err(MetricError::Target { row: 1 }));
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(scores(&[0.0, 0.0, 0.0, 0.0, bad, 0.0], &[0.0, 1.0]), Err(MetricError::NotFinite { row: 1 }));
    }
}

#[test]
fn a_class_without_rows_is_not_ranked_and_the_rest_is_measured() {
    let scores = |logits: &[f32], targets: &[f32]| of_class_scores(logits, targets, 3).expect("scores");
    for targets in [[0.0, 1.0], [2.0, 2.0]] {
        let metrics = scores(&[0.0; 6], &targets);
        assert_eq!(metrics.0[&Metric::Auc], Measured::Not(NotMeasurable::MissingClass));
        close(of(&metrics, Metric::LogLoss), 3.0_f64.ln());
    }
    assert!(scores(&[], &[]).values().is_empty());
}

#[test]
fn of_several_classes_there_is_no_ks() {
    let scores = of_outputs(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], &[0.0, 1.0, 2.0], 3).expect("scores");
    assert_eq!(scores.values().len(), 8);
    let metrics: Metrics = scores.over(&Over::Rows(Split::Test)).collect();
    let measured = metrics.get(&Metric::Ks.on(Split::Test));
    assert_eq!(measured, Some(&Measured::Not(NotMeasurable::SeveralClasses)));
    assert_eq!(metrics.value(&Metric::Auc.on(Split::Test)), Some(1.0));
    assert_eq!(of_outputs(&[0.0, 1.0], &[0.0, 1.0], 1), of_scores(&[0.0, 1.0], &[0.0, 1.0]));
}

/// Rows of two logits with many ties between rows and none within one, and both classes.
fn pairs() -> impl Strategy<Value = Vec<(f32, f32, bool)>> {
    let row = (-8_i8..8, -8_i8..8, any::<bool>()).prop_filter("no tie", |(a, b, _)| a != b);
    proptest::collection::vec(row, 2..60)
        .prop_filter("both classes", |rows| rows.iter().any(|row| row.2) && rows.iter().any(|row| !row.2))
        .prop_map(|rows| rows.into_iter().map(|(a, b, y)| (f32::from(a) / 4.0, f32::from(b) / 4.0, y)).collect())
}

proptest! {
    #[test]
    fn two_classes_are_the_binary_task(rows in pairs()) {
        let targets: Vec<f32> = rows.iter().map(|row| f32::from(u8::from(row.2))).collect();
        let both: Vec<f32> = rows.iter().flat_map(|row| [row.0, row.1]).collect();
        let difference: Vec<f32> = rows.iter().map(|row| row.1 - row.0).collect();
        let classes = of_class_scores(&both, &targets, 2).expect("scores");
        let binary = of_scores(&difference, &targets).expect("scores");
        close(of(&classes, Metric::Auc), of(&binary, Metric::Auc));
        close(of(&classes, Metric::Gini), of(&binary, Metric::Gini));
        close(of(&classes, Metric::LogLoss), of(&binary, Metric::LogLoss));
        close(of(&classes, Metric::Accuracy), of(&binary, Metric::Accuracy));
        close(of(&classes, Metric::Error), of(&binary, Metric::Error));
        // Each class has a term of its own.
        close(of(&classes, Metric::Brier), 2.0 * of(&binary, Metric::Brier));
    }

    #[test]
    fn names_and_shifts_of_classes_change_nothing(
        rows in proptest::collection::vec((-8_i8..8, -8_i8..8, -8_i8..8, 0_u8..3, -8_i8..8), 3..40)
    ) {
        let targets: Vec<f32> = rows.iter().map(|row| row.3.into()).collect();
        let logits: Vec<f32> = rows.iter().flat_map(|row| [row.0, row.1, row.2].map(f32::from)).collect();
        let metrics = of_class_scores(&logits, &targets, 3).expect("scores");
        prop_assume!(metrics.value(Metric::Auc).is_some());
        let turned: Vec<f32> = targets.iter().map(|target| (target + 1.0) % 3.0).collect();
        let moved: Vec<f32> =
            rows.iter().flat_map(|row| [row.2, row.0, row.1].map(|z| f32::from(z) + f32::from(row.4))).collect();
        let other = of_class_scores(&moved, &turned, 3).expect("scores");
        close(of(&metrics, Metric::Auc), of(&other, Metric::Auc));
        prop_assert!((of(&metrics, Metric::LogLoss) - of(&other, Metric::LogLoss)).abs() < 1e-9);
        prop_assert!((of(&metrics, Metric::Brier) - of(&other, Metric::Brier)).abs() < 1e-9);
    }

    #[test]
    fn any_finite_scores_of_classes_have_finite_metrics(
        rows in proptest::collection::vec((any::<[f32; 3]>(), 0_u8..3), 0..40)
    ) {
        let logits: Vec<f32> = rows.iter().flat_map(|row| row.0).collect();
        let targets: Vec<f32> = rows.iter().map(|row| row.1.into()).collect();
        if let Ok(metrics) = of_class_scores(&logits, &targets, 3) {
            let values = metrics.values();
            prop_assert!(values.values().all(|value| value.is_finite()));
            let share = |metric| values.get(&metric).is_none_or(|share| (0.0..=1.0 + 1e-12).contains(share));
            prop_assert!(share(Metric::Auc) && share(Metric::Ece));
        }
    }
}
