//! Against golden files, and the same sweep by inverses.

use proptest::prelude::*;
use secateur_proto::spec::ModelSpec;

use super::*;
use crate::prune::criteria::tests::given::{Given, Golden};

fn layer(weights: &[Vec<f64>]) -> (ModelSpec, Parameters) {
    let model = ModelSpec::mlp(weights[0].len() as u32, vec![weights.len() as u32]);
    let mut net = Parameters::initial(&model, 1);
    net.tensors[0] = weights.concat().iter().map(|weight| *weight as f32).collect();
    (model, net)
}

fn scores_of(weights: &[Vec<f64>], inputs: &[Vec<f64>]) -> Vec<f64> {
    let (model, net) = layer(weights);
    let found =
        Given::inputs(inputs).first_layer("sparsegpt", &[], (&model, &net, None), |definition, context, arguments| {
            (definition.scores)(context, arguments)
        });
    let Scores::Weights(mut scores) = found.expect("scores") else { panic!("scores of weights") };
    scores.remove(0)
}

fn swept(weights: &[Vec<f64>], inputs: &[Vec<f64>], kept: &[bool]) -> Vec<f64> {
    let (model, net) = layer(weights);
    let mut mask = Mask::full(&model, &[0]);
    mask.kept[0] = Some(kept.to_vec());
    let found =
        Given::inputs(inputs).first_layer("sparsegpt", &[], (&model, &net, None), |definition, context, arguments| {
            definition.compensate.expect("it compensates")(context, arguments, &mask)
        });
    let net = found.expect("a net");
    assert_eq!(mask.violations(&net), 0);
    net.tensors[0].iter().map(|weight| f64::from(*weight)).collect()
}

/// Removes the lowest `count` of these.
fn kept(scores: &[f64], count: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|one, two| scores[*one].total_cmp(&scores[*two]));
    let mut kept = vec![true; scores.len()];
    order.iter().take(count).for_each(|place| kept[*place] = false);
    kept
}

#[test]
fn masks_and_weights_are_those_of_the_golden_file() {
    let golden = Golden::open("second_order");
    let (weights, inputs) = (golden.matrix("sparsegpt.weights"), golden.matrix("sparsegpt.inputs"));
    let mask = |variant: &str| -> Vec<bool> {
        golden.numbers(&format!("sparsegpt.{variant}.mask")).iter().map(|kept| *kept == 1.0).collect()
    };
    let scores = scores_of(&weights, &inputs);
    let by_row: Vec<bool> = scores.chunks_exact(16).flat_map(|row| kept(row, 8)).collect();
    assert_eq!(by_row, mask("row_16"));
    assert_eq!(kept(&scores, 64), mask("block_16"));
    // The mask of the variant with two blocks is another one, but its compensation is the same sweep.
    for variant in ["row_16", "block_16", "block_8"] {
        let expected = golden.numbers(&format!("sparsegpt.{variant}.weights"));
        for (found, expected) in swept(&weights, &inputs, &mask(variant)).iter().zip(expected) {
            assert!((found - expected).abs() < 2e-6 * expected.abs().max(1.0), "{found} instead of {expected}");
        }
    }
}

fn hessian(inputs: &[Vec<f64>]) -> DMatrix<f64> {
    let rows = DMatrix::from_row_iterator(inputs.len(), inputs[0].len(), inputs.iter().flatten().copied());
    let hessian = rows.transpose() * &rows * (2.0 / inputs.len() as f64);
    let size = inputs[0].len();
    let damping = 0.01 * hessian.trace() / size as f64;
    hessian + DMatrix::identity(size, size) * damping
}

fn loss(weights: &[f64], start: &[f64], hessian: &DMatrix<f64>) -> f64 {
    let change: Vec<f64> = weights.iter().zip(start).map(|(weight, start)| weight - start).collect();
    let change = DMatrix::from_row_slice(1, start.len(), &change);
    (&change * hessian * change.transpose())[(0, 0)]
}

proptest! {
    /// If all removed columns precede all kept ones, the sweep ends in the minimum, so it loses nothing.
    #[test]
    fn the_sweep_is_that_of_inverses_and_makes_up_for_what_goes_first(
        inputs in proptest::collection::vec(proptest::collection::vec(-2.0..2.0_f64, 5), 3..30),
        weights in proptest::collection::vec(-2.0..2.0_f64, 5),
        kept in proptest::collection::vec(any::<bool>(), 5),
        first in 1..5_usize,
    ) {
        let weights: Vec<f64> = weights.into_iter().map(|weight| f64::from(weight as f32)).collect();
        let hessian = hessian(&inputs);
        let found = swept(std::slice::from_ref(&weights), &inputs, &kept);
        let mut expected = weights.clone();
        for column in 0..5 {
            let rest = hessian.view((column, column), (5 - column, 5 - column)).into_owned();
            let inverse = rest.try_inverse().expect("an inverse");
            if !kept[column] {
                let error = expected[column] / inverse[(0, 0)];
                (column..5).for_each(|later| expected[later] -= error * inverse[(0, later - column)]);
                expected[column] = 0.0;
            }
        }
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert!((found - expected).abs() < 1e-4 * expected.abs().max(1.0), "{} {}", found, expected);
        }
        let kept: Vec<bool> = (0..5).map(|column| column >= first).collect();
        let found = swept(std::slice::from_ref(&weights), &inputs, &kept);
        let masked: Vec<f64> = weights.iter().zip(&kept).map(|(weight, kept)| if *kept { *weight } else { 0.0 }).collect();
        let slack = 1e-5 * hessian.trace();
        prop_assert!(loss(&found, &weights, &hessian) <= loss(&masked, &weights, &hessian) + slack);
    }
}
