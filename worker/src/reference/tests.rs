use std::fs;

use proptest::prelude::*;
use secateur_proto::{
    metrics::Split,
    spec::{BoostingSpec, LogisticSpec},
};
use serde::Deserialize;

use super::*;
use crate::metrics::of_scores;

/// What scikit-learn comes to (`tests/golden/references.py`).
#[derive(Deserialize)]
struct Golden {
    numbers: Vec<String>,
    levels: (String, Vec<String>),
    train: usize,
    logistic: Vec<GoldenLogistic>,
    boosting: Vec<GoldenBoosting>,
}

#[derive(Deserialize)]
struct GoldenLogistic {
    l2: f64,
    weights: [f64; 2],
    intercept: f64,
    coefficients: Vec<f64>,
    logits: Vec<f32>,
    auc: f64,
}

#[derive(Deserialize)]
struct GoldenBoosting {
    trees: u32,
    learning_rate: f64,
    leaves: u32,
    min_rows: u32,
    bins: u32,
    l2: f64,
    weights: [f64; 2],
    /// Of the first train rows.
    logits: Vec<f32>,
    auc: f64,
    log_loss: f64,
}

/// German credit: the inputs of `references.py`, row-major, and the targets.
struct Credit {
    golden: Golden,
    inputs: Vec<f32>,
    targets: Vec<f32>,
}

impl Credit {
    fn read() -> Self {
        let golden: Golden =
            serde_json::from_str(include_str!("../../tests/golden/references.json")).expect("the golden file");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/data/german_credit.csv");
        let text = fs::read_to_string(path).expect("the table");
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let header = lines.next().expect("a header");
        let place = |name: &str| header.iter().position(|other| *other == name).expect("a column");
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for row in lines {
            let number = |name: &str| row[place(name)].parse::<f32>().expect("a number");
            let divisor = |name: &str| if name == "credit_amount" { 100.0 } else { 1.0 };
            inputs.extend(golden.numbers.iter().map(|name| (number(name) / divisor(name)).floor()));
            let level = row[place(&golden.levels.0)];
            inputs.extend(golden.levels.1.iter().map(|other| f32::from(u8::from(other == level))));
            targets.push(number("default"));
        }
        Self { golden, inputs, targets }
    }

    fn width(&self) -> usize {
        self.golden.numbers.len() + self.golden.levels.1.len()
    }

    fn rows(&self, rows: std::ops::Range<usize>) -> Rows<'_> {
        let width = self.width();
        let inputs = &self.inputs[rows.start * width..rows.end * width];
        Rows { inputs, width, targets: &self.targets[rows] }
    }

    fn train(&self) -> Rows<'_> {
        self.rows(0..self.golden.train)
    }

    fn test(&self) -> Rows<'_> {
        self.rows(self.golden.train..self.targets.len())
    }
}

fn value(logits: &[f32], rows: Rows<'_>, metric: Metric) -> f64 {
    of_scores(logits, rows.targets).expect("scores").value(metric).expect("a value")
}

fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found} instead of {expected}");
}

#[test]
fn logistic_regression_is_that_of_scikit_learn() {
    let credit = Credit::read();
    for golden in &credit.golden.logistic {
        let model = Logistic::fit(LogisticSpec { l2: golden.l2 }, credit.train(), golden.weights).expect("converges");
        assert_close(model.intercept, golden.intercept, 1e-5, "intercept");
        assert_eq!(model.coefficients.len(), golden.coefficients.len());
        for (found, expected) in model.coefficients.iter().zip(&golden.coefficients) {
            assert_close(*found, *expected, 1e-5, "coefficient");
        }
        let logits = Fitted::Logistic(model).logits(credit.test());
        for (found, expected) in logits.iter().zip(&golden.logits) {
            assert_close((*found).into(), (*expected).into(), 1e-5, "logit");
        }
        assert_close(value(&logits, credit.test(), Metric::Auc), golden.auc, 1e-6, "AUC");
    }
}

#[test]
fn boosting_is_about_that_of_scikit_learn() {
    let credit = Credit::read();
    for golden in &credit.golden.boosting {
        let GoldenBoosting { trees, learning_rate, leaves, min_rows, bins, l2, .. } = *golden;
        let spec = BoostingSpec { trees, learning_rate, leaves, min_rows, bins, l2, patience: trees };
        // The loss of the train rows falls with every tree, so all are kept.
        let model = Boosting::fit(spec, credit.train(), credit.train(), golden.weights).expect("converges");
        assert_eq!(model.trees.len(), trees as usize);
        let logits = Fitted::Boosting(model.clone()).logits(credit.test());
        assert_close(value(&logits, credit.test(), Metric::Auc), golden.auc, 0.003, "AUC");
        assert_close(value(&logits, credit.test(), Metric::LogLoss), golden.log_loss, 0.005, "log loss");
        // Of train rows, since thresholds may be anywhere between two of them.
        let logits = Fitted::Boosting(model).logits(credit.train());
        for (found, expected) in logits.iter().zip(&golden.logits) {
            assert_close((*found).into(), (*expected).into(), 1e-5, "logit");
        }
    }
}

#[test]
fn boosting_keeps_the_trees_up_to_the_lowest_loss_on_validation() {
    let credit = Credit::read();
    let spec = BoostingSpec { trees: 200, learning_rate: 0.3, patience: 10, ..BoostingSpec::default() };
    let [train, validation] = [credit.train(), credit.test()];
    let model = Boosting::fit(spec, train, validation, [1.0; 2]).expect("converges");
    let kept = model.trees.len();
    assert!(0 < kept && kept < 200, "{kept}");
    let loss = |trees: usize| {
        let first = Boosting { initial: model.initial, trees: model.trees[..trees].to_vec() };
        value(&Fitted::Boosting(first).logits(validation), validation, Metric::LogLoss)
    };
    let lowest = (0..=kept).map(loss).fold(f64::INFINITY, f64::min);
    assert_close(loss(kept), lowest, 1e-9, "log loss");
    // What is computed further is the same, and is left out.
    let patient = Boosting::fit(BoostingSpec { patience: 30, ..spec }, train, validation, [1.0; 2]).expect("converges");
    assert!(patient.trees.starts_with(&model.trees));
}

#[test]
fn the_sizes_are_those_of_coefficients_and_of_nodes() {
    let of = |fitted: Fitted, metric: Metric| fitted.sizes().expect("sizes").value(&metric.on(Split::Test));
    let logistic = || Fitted::Logistic(Logistic { intercept: 0.5, coefficients: vec![1.0, 0.0, -2.0], iterations: 1 });
    assert_eq!(of(logistic(), Metric::Parameters), Some(4.0));
    assert_eq!(of(logistic(), Metric::NonzeroParameters), Some(3.0));
    assert_eq!(of(logistic(), Metric::Macs), Some(2.0));
    assert_eq!(of(logistic(), Metric::SizeBytes), Some(4.0 * 3.0 + 1.0));
    assert_eq!(of(logistic(), Metric::Sparsity), None);
    let split = Node::Split { feature: 0, threshold: 0.5, left: 1, right: 2 };
    let tree = Tree(vec![split, Node::Leaf(0.25), Node::Leaf(0.0)]);
    let boosting = || Fitted::Boosting(Boosting { initial: 0.0, trees: vec![tree.clone(); 2] });
    assert_eq!(of(boosting(), Metric::Parameters), Some(6.0));
    assert_eq!(of(boosting(), Metric::NonzeroParameters), Some(4.0));
    assert_eq!(of(boosting(), Metric::SizeBytes), Some(2.0 * (2.0 * 4.0 + 8.0)));
    assert_eq!(of(boosting(), Metric::Macs), None);
}

#[test]
fn separable_classes_and_constant_inputs_have_a_logistic_regression_too() {
    let inputs = [-2.0, 3.0, -1.0, 3.0, 1.0, 3.0, 2.0, 3.0];
    let rows = Rows { inputs: &inputs, width: 2, targets: &[0.0, 0.0, 1.0, 1.0] };
    let model = Logistic::fit(LogisticSpec { l2: 1e-6 }, rows, [1.0; 2]).expect("converges");
    assert!(model.logit(&[2.0, 3.0]) > 5.0 && model.logit(&[-2.0, 3.0]) < -5.0, "{model:?}");
}

#[test]
fn boosting_of_inputs_that_say_nothing_is_the_base_rate() {
    let inputs = [1.0; 40];
    let targets: Vec<f32> = (0..40_u8).map(|row| f32::from(u8::from(row % 4 == 0))).collect();
    let rows = Rows { inputs: &inputs, width: 1, targets: &targets };
    let model = Boosting::fit(BoostingSpec::default(), rows, rows, [1.0; 2]).expect("converges");
    assert_close(model.logit(&[1.0]), (1.0_f64 / 3.0).ln(), 1e-12, "log-odds");
}

proptest! {
    /// The gradient at the minimum is zero, whatever the rows.
    #[test]
    fn the_logistic_regression_is_at_the_minimum(
        rows in prop::collection::vec((prop::array::uniform3(-4_i8..=4), any::<bool>()), 4..60),
        l2 in 0.01..10.0_f64,
        weight in 0.2..5.0_f64,
    ) {
        let inputs: Vec<f32> = rows.iter().flat_map(|(inputs, _)| inputs.map(f32::from)).collect();
        let targets: Vec<f32> = rows.iter().map(|(_, target)| f32::from(u8::from(*target))).collect();
        prop_assume!(targets.contains(&0.0) && targets.contains(&1.0));
        let rows = Rows { inputs: &inputs, width: 3, targets: &targets };
        let model = Logistic::fit(LogisticSpec { l2 }, rows, [1.0, weight]).expect("converges");
        let mut gradient: Vec<f64> = model.coefficients.iter().map(|coefficient| l2 * coefficient).chain([0.0]).collect();
        for (inputs, target, weight) in rows.weighted([1.0, weight]) {
            let slope = weight * (1.0 / (1.0 + (-model.logit(inputs)).exp()) - target);
            for (sum, input) in gradient.iter_mut().zip(inputs.iter().map(|input| f64::from(*input)).chain([1.0])) {
                *sum += slope * input;
            }
        }
        prop_assert!(gradient.iter().all(|slope| slope.abs() < 1e-5), "{gradient:?}");
    }

    /// The tree's leaves hold the rows whose values it says.
    #[test]
    fn every_tree_lowers_the_loss_of_the_rows_that_it_is_fitted_on(seed in 0_u32..1000, leaves in 2_u32..6) {
        let number = |row: u32, salt: u32| {
            let mixed = (row.wrapping_mul(2_654_435_761) ^ salt.wrapping_mul(40_503) ^ seed).wrapping_mul(2_246_822_519);
            (mixed >> 20) as f32 / 4096.0
        };
        let inputs: Vec<f32> = (0..120).flat_map(|row| [number(row, 1), number(row, 2)]).collect();
        let targets: Vec<f32> = (0..120).map(|row| f32::from(u8::from(number(row, 1) + 0.3 * number(row, 3) > 0.6))).collect();
        prop_assume!(targets.contains(&0.0) && targets.contains(&1.0));
        let rows = Rows { inputs: &inputs, width: 2, targets: &targets };
        let spec = BoostingSpec { trees: 10, leaves, min_rows: 5, ..BoostingSpec::default() };
        let model = Boosting::fit(spec, rows, rows, [1.0; 2]).expect("converges");
        for tree in &model.trees {
            let leaf_count = tree.0.iter().filter(|node| matches!(node, Node::Leaf(_))).count();
            prop_assert!(leaf_count <= leaves as usize);
        }
        let loss = |trees: usize| {
            let first = Boosting { initial: model.initial, trees: model.trees[..trees].to_vec() };
            value(&Fitted::Boosting(first).logits(rows), rows, Metric::LogLoss)
        };
        for trees in 1..=model.trees.len() {
            prop_assert!(loss(trees) < loss(trees - 1));
        }
    }
}
