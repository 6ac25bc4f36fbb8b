//! Against golden files, the recursion of WoodFisher, and the minimum of small quadratics.

use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;
use secateur_proto::spec::ModelSpec;

use super::*;
use crate::prune::criteria::tests::given::{Given, Golden};

/// A net whose first layer is one unit with these weights.
fn unit(weights: &[f64]) -> (ModelSpec, Parameters) {
    let model = ModelSpec::mlp(weights.len() as u32, vec![1]);
    let mut net = Parameters::initial(&model, 1);
    net.tensors[0] = weights.iter().map(|weight| *weight as f32).collect();
    (model, net)
}

fn without(model: &ModelSpec, places: &[usize]) -> Mask {
    let mut mask = Mask::full(model, &[0]);
    places.iter().for_each(|place| mask.remove(0, *place, model.inputs() as usize));
    mask
}

fn scores_of(weights: &[f64], removed: &[usize], gradients: &[Vec<f64>], given: &[(&str, f64)]) -> Vec<f64> {
    let (model, net) = unit(weights);
    let removed = without(&model, removed);
    let found = Given::gradients(gradients).first_layer(
        "obs",
        given,
        (&model, &net, Some(&removed)),
        |definition, context, arguments| (definition.scores)(context, arguments),
    );
    let Scores::Weights(mut scores) = found.expect("scores") else { panic!("scores of weights") };
    scores.remove(0)
}

fn compensated(weights: &[f64], removed: &[usize], gradients: &[Vec<f64>], given: &[(&str, f64)]) -> Vec<f64> {
    let (model, net) = unit(weights);
    let mask = without(&model, removed);
    let found = Given::gradients(gradients).first_layer(
        "obs",
        given,
        (&model, &net, None),
        |definition, context, arguments| definition.compensate.expect("it compensates")(context, arguments, &mask),
    );
    let net = found.expect("a net");
    assert_eq!(mask.violations(&net), 0);
    net.tensors[0].iter().map(|weight| f64::from(*weight)).collect()
}

/// The complete damped Fisher matrix.
fn hessian(gradients: &[Vec<f64>], damp: f64) -> DMatrix<f64> {
    let size = gradients[0].len();
    let mut sum = DMatrix::zeros(size, size);
    for gradient in gradients {
        let gradient = DVector::from_column_slice(gradient);
        sum += &gradient * gradient.transpose() / gradients.len() as f64;
    }
    let damping = damp * sum.trace() / size as f64;
    sum + DMatrix::identity(size, size) * damping
}

fn loss(weights: &[f64], start: &[f64], hessian: &DMatrix<f64>) -> f64 {
    let change = DVector::from_iterator(start.len(), weights.iter().zip(start).map(|(weight, start)| weight - start));
    0.5 * (change.transpose() * hessian * &change)[(0, 0)]
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{found} instead of {expected}");
    }
}

/// The Fisher of gradients that are the inputs of a least-squares problem is its Hessian.
#[test]
fn weights_go_and_others_move_as_in_the_golden_file() {
    let golden = Golden::open("second_order");
    let inputs = golden.matrix("obs.inputs");
    let start = golden.numbers("obs.weights");
    let order: Vec<usize> = golden.numbers("obs.order").iter().map(|place| *place as usize).collect();
    let (saliency, steps) = (golden.numbers("obs.saliency"), golden.matrix("obs.steps"));
    let mean_square = inputs.iter().flatten().map(|input| input * input).sum::<f64>() / inputs.len() as f64 / 10.0;
    let given = [("damp", 1e-3 / mean_square)];
    let mut weights = start.clone();
    for (count, (lowest, saliency)) in order.iter().zip(&saliency).enumerate() {
        let gone = &order[..count];
        let scores = scores_of(&weights, gone, &inputs, &given);
        let left = (0..10).filter(|place| !gone.contains(place));
        assert_eq!(left.min_by(|one, two| scores[*one].total_cmp(&scores[*two])), Some(*lowest));
        assert_close(&[scores[*lowest]], &[*saliency], 1e-6);
        weights = steps[count].clone();
        assert_close(&compensated(&start, &order[..=count], &inputs, &given), &weights, 1e-5);
    }
}

fn rows(width: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    proptest::collection::vec(proptest::collection::vec(-2.0..2.0_f64, width), 1..40)
}

proptest! {
    /// Singh & Alistarh 2020, equation 5: F⁻¹ − F⁻¹ g gᵀ F⁻¹ / (N + gᵀ F⁻¹ g), row after row, from I / λ.
    #[test]
    fn scores_are_those_of_the_recursion_of_woodfisher(gradients in rows(7), damp in 0.01..2.0_f64) {
        let weights = [1.0, -2.0, 0.5, 0.25, 3.0, -1.0, 0.75];
        let count = gradients.len() as f64;
        let mean_square = gradients.iter().flatten().map(|value| value * value).sum::<f64>() / count / 7.0;
        let found = scores_of(&weights, &[], &gradients, &[("block", 4.0), ("damp", damp)]);
        for (begin, size) in [(0, 4), (4, 3)] {
            let mut inverse = DMatrix::<f64>::identity(size, size) / (damp * mean_square);
            for gradient in &gradients {
                let gradient = DVector::from_column_slice(&gradient[begin..begin + size]);
                let along = &inverse * &gradient;
                let length = count + gradient.dot(&along);
                inverse -= &along * along.transpose() / length;
            }
            for place in 0..size {
                let expected = weights[begin + place].powi(2) / (2.0 * inverse[(place, place)]);
                prop_assert!((found[begin + place] - expected).abs() <= 1e-6 * expected.max(1e-3));
            }
        }
    }

    /// None of many tried changes of the kept weights gives a lower loss, and neither does omitting the compensation.
    /// The score of a single weight equals the cost of its removal.
    #[test]
    fn kept_weights_are_at_the_minimum(
        gradients in rows(6),
        weights in proptest::collection::vec(-2.0..2.0_f64, 6),
        removed in proptest::sample::subsequence((0..6_usize).collect::<Vec<_>>(), 1..6),
        tries in proptest::collection::vec(proptest::collection::vec(-1.0..1.0_f64, 6), 20),
    ) {
        prop_assume!(gradients.iter().flatten().any(|value| value.abs() > 0.1));
        let weights: Vec<f64> = weights.into_iter().map(|weight| f64::from(weight as f32)).collect();
        let given = [("damp", 0.05)];
        let hessian = hessian(&gradients, 0.05);
        let found = compensated(&weights, &removed, &gradients, &given);
        let least = loss(&found, &weights, &hessian);
        let masked = |values: &[f64]| -> Vec<f64> {
            (0..6).map(|place| if removed.contains(&place) { 0.0 } else { values[place] }).collect()
        };
        let slack = 1e-5 * hessian.trace();
        prop_assert!(least <= loss(&masked(&weights), &weights, &hessian) + slack);
        for tried in &tries {
            for scale in [1.0, 0.1, 0.01] {
                let moved: Vec<f64> = found.iter().zip(tried).map(|(weight, by)| weight + scale * by).collect();
                prop_assert!(least <= loss(&masked(&moved), &weights, &hessian) + slack);
            }
        }
        let scores = scores_of(&weights, &[], &gradients, &given);
        for (place, score) in scores.iter().enumerate() {
            let cost = loss(&compensated(&weights, &[place], &gradients, &given), &weights, &hessian);
            prop_assert!((score - cost).abs() <= slack, "{score} instead of {cost}");
        }
    }
}

#[test]
fn without_any_gradient_nothing_moves_and_nothing_costs() {
    let zeros = vec![vec![0.0; 3]; 5];
    assert!(scores_of(&[1.0, 2.0, 3.0], &[], &zeros, &[]).iter().all(|score| *score < 1e-20));
    assert_eq!(compensated(&[1.0, 2.0, 3.0], &[1], &zeros, &[]), [1.0, 0.0, 3.0]);
}

#[test]
fn a_block_that_goes_as_a_whole_is_zero_and_moves_no_other() {
    let gradients = vec![vec![1.0, 0.5, 0.5, 0.25], vec![0.5, -0.5, 1.0, 1.0]];
    assert_eq!(compensated(&[1.0, 2.0, 3.0, 4.0], &[0, 1], &gradients, &[("block", 2.0)]), [0.0, 0.0, 3.0, 4.0]);
}

#[test]
fn gradients_that_are_not_numbers_are_refused() {
    let (model, net) = unit(&[1.0, 2.0]);
    let found = Given::gradients(&[vec![f64::NAN, 1.0]]).first_layer(
        "obs",
        &[],
        (&model, &net, None),
        |definition, context, arguments| (definition.scores)(context, arguments),
    );
    assert!(found.expect_err("a failure").message.contains("not positive definite"));
}
