use proptest::prelude::*;
use secateur_proto::{
    metrics::Split,
    spec::{Activation, ModelSpec},
};

use super::*;

mod classes;

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
}

fn of(metrics: &ScoreMetrics, metric: Metric) -> f64 {
    metrics.value(metric).unwrap_or_else(|| panic!("{metric} has no value"))
}

fn of_net_metric(metrics: &Metrics, metric: Metric) -> Option<f64> {
    metrics.value(&metric.on(Split::Test))
}

#[test]
fn textbook_scores() {
    // The example of scikit-learn's roc_auc_score; of its four pairs one is in the wrong order.
    let (logits, targets) = ([0.1, 0.4, 0.35, 0.8], [0.0, 0.0, 1.0, 1.0]);
    let metrics = of_scores(&logits, &targets).expect("scores");
    close(of(&metrics, Metric::Auc), 0.75);
    close(of(&metrics, Metric::Gini), 0.5);
    // Below 0.1: (0, 1/2); below 0.35: (1/2, 1/2); below 0.4: (1/2, 1).
    close(of(&metrics, Metric::Ks), 0.5);
}

/// Values of scikit-learn 1.x, `average_precision_score`.
#[test]
fn average_precision_is_that_of_scikit_learn() {
    let found =
        |logits: &[f32], targets: &[f32]| of(&of_scores(logits, targets).expect("scores"), Metric::AveragePrecision);
    // Its own example: 1/2 · 1 + 1/2 · 2/3.
    close(found(&[0.1, 0.4, 0.35, 0.8], &[0.0, 0.0, 1.0, 1.0]), 5.0 / 6.0);
    // Rows of one score are one step, whatever their order.
    let (logits, targets) =
        ([3.0, 3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 0.5, 0.5, -1.0], [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    close(found(&logits, &targets), 0.443_253_968_253_968_23);
    let reversed = |values: &[f32]| values.iter().rev().copied().collect::<Vec<f32>>();
    assert_eq!(found(&reversed(&logits), &reversed(&targets)), found(&logits, &targets));
    let rare: Vec<f32> = (0..40).map(|row| f32::from(u8::from([4, 17, 29].contains(&row)))).collect();
    let scores: Vec<f32> = (0..40_u8).map(|row| f32::from((u16::from(row) * 37 + 11) % 13)).collect();
    close(found(&scores, &rare), 0.077_849_462_365_591_41);
    // One score for all is chance: the share of positives.
    close(found(&[1.0; 40], &rare), 3.0 / 40.0);
    let logits = [
        2.0, 0.0, 1.0, 1.0, 1.5, 0.0, 0.0, 2.0, 1.0, 1.0, 0.0, 3.0, 2.0, 2.5, 0.0, 0.5, 0.0, 2.0, 1.0, 2.0, 1.5, 0.0,
        0.25, 0.75,
    ];
    let metrics = of_class_scores(&logits, &[0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 1.0, 2.0], 3).expect("scores");
    close(of(&metrics, Metric::AveragePrecision), 0.657_407_407_407_407_3);
}

#[test]
fn separated_reversed_and_tied_scores() {
    let targets = [0.0, 0.0, 1.0];
    let both =
        |logits: &[f32]| of_scores(logits, &targets).map(|found| (of(&found, Metric::Auc), of(&found, Metric::Ks)));
    assert_eq!(both(&[-3.0, -2.0, 5.0]), Ok((1.0, 1.0)));
    assert_eq!(both(&[3.0, 2.0, -5.0]), Ok((0.0, 1.0)));
    assert_eq!(both(&[1.0, 1.0, 1.0]), Ok((0.5, 0.0)));
    // The two zeros are one score.
    assert_eq!(both(&[0.0, -0.0, 0.0]), Ok((0.5, 0.0)));
    assert_eq!(both(&[-0.0, 0.0, -0.0]), Ok((0.5, 0.0)));
    // One pair tied, one in order.
    assert_eq!(both(&[f32::MIN, f32::MAX, f32::MAX]), Ok((0.75, 0.5)));
}

#[test]
fn probabilities_by_hand() {
    // Logits of exactly 3/4, 1/4 and 1/2.
    let logits = [3.0_f32.ln(), -(3.0_f32.ln()), 0.0, 0.0];
    let metrics = of_scores(&logits, &[1.0, 0.0, 0.0, 1.0]).expect("scores");
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-7, "{found} instead of {expected}");
    near(of(&metrics, Metric::Brier), (0.0625 + 0.0625 + 0.25 + 0.25) / 4.0);
    near(of(&metrics, Metric::LogLoss), (2.0 * (4.0_f64 / 3.0).ln() + 2.0 * 2.0_f64.ln()) / 4.0);
    // Bins [.2, .3), [.5, .6) and [.7, .8): |.25 − 0| · 1, |.5 − .5| · 2, |.75 − 1| · 1.
    near(of(&metrics, Metric::Ece), 0.5 / 4.0);
    // 0.5 counts as positive.
    assert_eq!((of(&metrics, Metric::Accuracy), of(&metrics, Metric::Error)), (0.75, 0.25));
}

#[test]
fn extreme_logits_stay_finite() {
    let metrics = of_scores(&[1000.0, -1000.0, 1000.0, -1000.0], &[1.0, 0.0, 0.0, 1.0]).expect("scores");
    close(of(&metrics, Metric::LogLoss), 500.0);
    close(of(&metrics, Metric::Brier), 0.5);
    // Probability 1 is in the last bin and 0 in the first, each half right.
    close(of(&metrics, Metric::Ece), 0.5);
    close(of(&metrics, Metric::Accuracy), 0.5);
}

#[test]
fn what_cannot_be_scored() {
    assert_eq!(of_scores(&[1.0], &[]), Err(MetricError::Lengths { logits: 1, targets: 0 }));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(of_scores(&[1.0, bad], &[1.0, 0.0]), Err(MetricError::NotFinite { row: 1 }));
    }
    for bad in [0.5, f32::NAN, -1.0] {
        assert_eq!(of_scores(&[1.0, 0.0], &[1.0, bad]), Err(MetricError::Target { row: 1 }));
    }
}

#[test]
fn rows_of_one_class_cannot_be_ranked_and_have_all_else() {
    let metrics = of_scores(&[3.0_f32.ln(), 0.0], &[1.0, 1.0]).expect("scores");
    for (metric, measured) in &metrics.0 {
        let ranks = RANKING.contains(metric);
        assert_eq!(*measured == Measured::Not(NotMeasurable::MissingClass), ranks, "{metric}");
    }
    close(of(&metrics, Metric::Accuracy), 1.0);
    // Without a row there is nothing at all.
    let nothing = of_scores(&[], &[]).expect("no mistake");
    assert!(nothing.values().is_empty() && nothing.0.len() == metrics.0.len());
}

#[test]
fn a_slice_is_measured_as_if_its_rows_were_all() {
    let rows = 8 * FEWEST_ROWS;
    let logits: Vec<f32> = (0..rows).map(|row| (row * 37 % 19) as f32 / 4.0 - 2.0).collect();
    let targets: Vec<f32> = (0..rows).map(|row| f32::from(u8::from(row * 11 % 5 < 2))).collect();
    let every = |step: usize| (0..rows).step_by(step).collect::<Vec<usize>>();
    let pick = |values: &[f32]| every(2).into_iter().map(|row| values[row]).collect::<Vec<f32>>();
    let slice = of_slice(&logits, &targets, 1, &every(2)).expect("scores");
    assert_eq!(slice, of_scores(&pick(&logits), &pick(&targets)).expect("scores"));
    assert_eq!(of_slice(&logits, &targets, 1, &every(1)), of_scores(&logits, &targets));
    // Of as many rows as are needed, and of too few of a class, there is all that does not rank.
    let few = of_slice(&logits, &targets, 1, &every(8)).expect("scores");
    for (metric, measured) in &few.0 {
        assert_eq!(*measured == Measured::Not(NotMeasurable::FewRows), RANKING.contains(metric), "{metric}");
    }
    let fewer = of_slice(&logits, &targets, 1, &every(8)[1..]).expect("scores");
    assert!(fewer.values().is_empty());
    assert!(of_slice(&logits, &targets, 1, &[]).expect("scores").values().is_empty());
}

#[test]
fn metrics_go_to_their_rows() {
    let scores = of_scores(&[0.1, 0.4, 0.35, 0.8], &[0.0, 0.0, 1.0, 1.0]).expect("scores");
    let metrics: Metrics = scores.over(&Over::Rows(Split::Validation)).collect();
    assert_eq!(metrics.value(&Metric::Auc.on(Split::Validation)), Some(0.75));
    assert_eq!(metrics.value(&Metric::Auc.on(Split::Test)), None);
    let of_rows = Metric::ALL.iter().filter(|metric| !metric.is_of_net());
    assert!(of_rows.copied().all(|metric| metrics.value(&metric.on(Split::Validation)).is_some()));
}

/// Scores with many ties, and both classes.
fn scores() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    proptest::collection::vec((-6_i8..6, any::<bool>()), 2..60)
        .prop_filter("both classes", |rows| rows.iter().any(|row| row.1) && rows.iter().any(|row| !row.1))
        .prop_map(|rows| rows.into_iter().map(|(z, y)| (f32::from(z) / 2.0, f32::from(u8::from(y)))).unzip())
}

proptest! {
    #[test]
    fn ranking_is_that_of_all_pairs((logits, targets) in scores()) {
        let (positives, negatives): (Vec<_>, Vec<_>) =
            logits.iter().zip(&targets).partition(|(_, target)| **target == 1.0);
        let mut wins = 0.0;
        for (positive, _) in &positives {
            for (negative, _) in &negatives {
                wins += if positive > negative { 1.0 } else if positive == negative { 0.5 } else { 0.0 };
            }
        }
        let metrics = of_scores(&logits, &targets).expect("scores");
        close(of(&metrics, Metric::Auc), wins / (positives.len() * negatives.len()) as f64);

        let share = |rows: &[(&f32, &f32)], cut: f32| {
            rows.iter().filter(|(logit, _)| **logit <= cut).count() as f64 / rows.len() as f64
        };
        let ks = logits.iter().map(|&cut| (share(&positives, cut) - share(&negatives, cut)).abs()).fold(0.0, f64::max);
        close(of(&metrics, Metric::Ks), ks);
    }

    #[test]
    fn scores_of_the_other_class_mirror((logits, targets) in scores()) {
        let negated: Vec<f32> = logits.iter().map(|logit| -logit).collect();
        let other: Vec<f32> = targets.iter().map(|target| 1.0 - target).collect();
        let (a, b) = (of_scores(&logits, &targets).expect("scores"), of_scores(&negated, &other).expect("scores"));
        close(of(&a, Metric::Auc), of(&b, Metric::Auc));
        close(of(&a, Metric::Ks), of(&b, Metric::Ks));
        close(of(&a, Metric::Brier), of(&b, Metric::Brier));
        close(of(&a, Metric::LogLoss), of(&b, Metric::LogLoss));
    }

    /// Murphy 1973: over groups of equal probability, Brier = reliability − resolution + uncertainty.
    #[test]
    fn brier_is_reliability_less_resolution_plus_uncertainty((logits, targets) in scores()) {
        let metrics = of_scores(&logits, &targets).expect("scores");
        let rows = logits.len() as f64;
        let base = targets.iter().map(|target| f64::from(*target)).sum::<f64>() / rows;
        let mut decomposed = base * (1.0 - base);
        let mut levels = logits.clone();
        levels.sort_by(f32::total_cmp);
        levels.dedup();
        for level in levels {
            let of_level = logits.iter().zip(&targets).filter(|(logit, _)| **logit == level);
            let outcomes: Vec<f64> = of_level.map(|(_, target)| f64::from(*target)).collect();
            let count = outcomes.len() as f64;
            let mean = outcomes.iter().sum::<f64>() / count;
            let probability = 1.0 / (1.0 + (-f64::from(level)).exp());
            decomposed += count / rows * ((probability - mean).powi(2) - (mean - base).powi(2));
        }
        close(of(&metrics, Metric::Brier), decomposed);
    }

    #[test]
    fn log_loss_is_the_logarithm_of_the_right_class((logits, targets) in scores()) {
        let direct: f64 = logits.iter().zip(&targets).map(|(&logit, &target)| {
            let probability = 1.0 / (1.0 + (-f64::from(logit)).exp());
            -(if target == 1.0 { probability } else { 1.0 - probability }).ln()
        }).sum::<f64>() / logits.len() as f64;
        close(of(&of_scores(&logits, &targets).expect("scores"), Metric::LogLoss), direct);
    }

    #[test]
    fn any_finite_scores_have_finite_metrics(
        rows in proptest::collection::vec((any::<f32>(), any::<bool>()), 0..40)
    ) {
        let (logits, targets): (Vec<f32>, Vec<f32>) =
            rows.into_iter().map(|(logit, positive)| (logit, f32::from(u8::from(positive)))).unzip();
        if let Ok(metrics) = of_scores(&logits, &targets) {
            let values = metrics.values();
            prop_assert!(values.values().all(|value| value.is_finite()));
            let shares = [Metric::Auc, Metric::Ks, Metric::AveragePrecision, Metric::Accuracy];
            prop_assert!(shares.iter().filter_map(|metric| values.get(metric)).all(|share| (0.0..=1.0).contains(share)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn many_scores_are_sorted_as_few_are(
        logits in proptest::collection::vec(prop_oneof![any::<f32>(), -2.0..2.0_f32, Just(0.0), Just(-0.0)], 1000..5000)
    ) {
        let mut keys: Vec<u64> =
            logits.iter().zip(0..).map(|(logit, row)| u64::from(ordered(*logit)) | (row % 2) << CLASS_BIT).collect();
        sort_by_score(&mut keys);
        let mut sorted = logits;
        sorted.sort_by(|a, b| a.partial_cmp(b).expect("finite"));
        prop_assert!(keys.iter().map(|key| score_of(*key)).eq(sorted.into_iter().map(ordered)));
        let positives = keys.iter().map(|key| key >> CLASS_BIT).sum::<u64>();
        prop_assert_eq!(positives, keys.len() as u64 / 2);
    }
}

/// LeNet-300-100: 784 inputs, 300 and 100 hidden units, 10 outputs (Han et al. 2015), with so many of a layer's weights.
fn lenet_300_100(kept: impl Fn(usize) -> usize) -> Metrics {
    let model = ModelSpec::Mlp {
        inputs: 784,
        hidden: vec![300, 100],
        outputs: 10,
        activation: Activation::Relu,
        batch_norm: false,
    };
    let tensors = model.tensors().into_iter().map(|tensor| {
        let ones = if tensor.kind == TensorKind::Weight { kept(tensor.numel()) } else { tensor.numel() };
        (0..tensor.numel()).map(|place| f32::from(u8::from(place < ones))).collect()
    });
    of_net(&model, &model.prunable(), &Parameters { tensors: tensors.collect() }).expect("shapes")
}

#[test]
fn lenet_300_100_has_its_published_sizes() {
    let dense = lenet_300_100(|weights| weights);
    assert_eq!(of_net_metric(&dense, Metric::Parameters), Some(266_610.0));
    assert_eq!(of_net_metric(&dense, Metric::NonzeroParameters), Some(266_610.0));
    assert_eq!(of_net_metric(&dense, Metric::Macs), Some(266_200.0));
    assert_eq!(of_net_metric(&dense, Metric::Sparsity), Some(0.0));
    assert_eq!(of_net_metric(&dense, Metric::CompressionRatio), Some(1.0));
    assert_eq!(of_net_metric(&dense, Metric::TheoreticalSpeedup), Some(1.0));

    let tenth = lenet_300_100(|weights| weights / 10);
    assert_eq!(of_net_metric(&tenth, Metric::NonzeroParameters), Some(27_030.0));
    assert_eq!(of_net_metric(&tenth, Metric::Sparsity), Some(0.9));
    assert_eq!(of_net_metric(&tenth, Metric::TheoreticalSpeedup), Some(10.0));
    // 139.8 kB of weights with their bit mask, and 410 biases.
    assert_eq!(of_net_metric(&tenth, Metric::SizeBytes), Some(139_755.0 + 1640.0));
}

#[test]
fn a_net_is_counted_by_its_zeros() {
    let model = ModelSpec::mlp(3, vec![2]);
    let weights = vec![0.0, 1.0, -0.0, 2.0, 0.0, f32::MIN_POSITIVE];
    let net = Parameters { tensors: vec![weights, vec![0.0, 1.0], vec![0.0, 3.0], vec![1.0]] };
    let metrics = of_net(&model, &[0], &net).expect("shapes");
    assert_eq!(of_net_metric(&metrics, Metric::Parameters), Some(11.0));
    assert_eq!(of_net_metric(&metrics, Metric::NonzeroParameters), Some(6.0));
    // The zero of the output layer is no sparsity.
    assert_eq!(of_net_metric(&metrics, Metric::Sparsity), Some(0.5));
    assert_eq!(of_net_metric(&metrics, Metric::Macs), Some(4.0));
    assert_eq!(of_net_metric(&metrics, Metric::TheoreticalSpeedup), Some(2.0));
    assert_eq!(of_net_metric(&metrics, Metric::SizeBytes), Some(16.0 + 1.0 + 12.0));
    let of_the_net = Metric::ALL.iter().filter(|metric| metric.is_of_net() && !metric.needs_measuring());
    assert!(of_the_net.copied().all(|metric| of_net_metric(&metrics, metric).is_some()));
}

#[test]
fn a_net_of_zeros_has_no_ratios() {
    let model = ModelSpec::mlp(3, vec![2]);
    let metrics = of_net(&model, &[0], &Parameters { tensors: [6, 2, 2, 1].map(|count| vec![0.0; count]).to_vec() })
        .expect("shapes");
    for metric in [Metric::CompressionRatio, Metric::TheoreticalSpeedup] {
        let measured = metrics.get(&metric.on(Split::Test));
        assert_eq!(measured, Some(&Measured::Not(NotMeasurable::ZeroDenominator)), "{metric}");
    }
    assert_eq!(of_net_metric(&metrics, Metric::Sparsity), Some(1.0));
    assert_eq!(of_net_metric(&metrics, Metric::SizeBytes), Some(13.0));
}

#[test]
fn a_net_without_hidden_layers_has_no_sparsity() {
    let model = ModelSpec::mlp(2, vec![]);
    let metrics = of_net(&model, &[], &Parameters { tensors: vec![vec![1.0; 2], vec![0.0]] }).expect("shapes");
    assert_eq!(of_net_metric(&metrics, Metric::Sparsity), None);
    assert_eq!(of_net_metric(&metrics, Metric::CompressionRatio), Some(1.5));
}

#[test]
fn parameters_of_another_net_are_refused() {
    let model = ModelSpec::mlp(3, vec![2]);
    for lengths in [vec![6, 2], vec![6, 2, 3, 1], vec![6, 3, 2, 1], vec![]] {
        let net = Parameters { tensors: lengths.into_iter().map(|count| vec![0.0; count]).collect() };
        assert_eq!(of_net(&model, &[0], &net), Err(MetricError::Shapes));
    }
}
