//! Update rules against PyTorch's formulas in double precision.

use secateur_proto::spec::{OptimizerSpec, RegularizationKind, RegularizationSpec};

use super::{lane, mlp, penalty, reference::Parameter, tensor, training, values};
use crate::{net::flat::FlatLayout, train::optimizer::Optimizer};

/// Weights 0 to 5 and bias 6 of a net of one linear layer.
const INPUTS: u32 = 6;

fn optimizer(rules: &[(OptimizerSpec, Option<RegularizationSpec>)]) -> Optimizer {
    let model = mlp(INPUTS, &[]);
    let lanes: Vec<_> = (rules.iter())
        .map(|(rule, penalty)| {
            let mut lane = lane(&model, 0, training(rule.clone(), 1, 1));
            lane.regularization = penalty.clone();
            lane
        })
        .collect();
    Optimizer::new(&lanes, &FlatLayout::of(&model), &super::device())
}

fn start(lane: usize) -> Vec<f32> {
    (0..7).map(|index| ((lane * 7 + index) as f32 * 1.3).sin() * 2.0).collect()
}

/// The slope of ½ Σ aᵢ (θᵢ − cᵢ)², a quadratic with another curvature in every direction.
fn slope(index: usize, value: f64) -> f64 {
    let (curvature, centre) = (0.3 + 0.4 * index as f64, 1.5 - 0.7 * index as f64);
    curvature * (value - centre)
}

/// 100 steps of all lanes at once, each lane against the naive rule.
fn follows_pytorch(rules: &[OptimizerSpec]) {
    let mut optimizer = optimizer(&rules.iter().map(|rule| (rule.clone(), None)).collect::<Vec<_>>());
    let starts: Vec<Vec<f32>> = (0..rules.len()).map(start).collect();
    let mut parameters = tensor(&starts);
    let mut expected: Vec<Vec<Parameter>> =
        starts.iter().map(|row| row.iter().map(|value| Parameter::at(f64::from(*value))).collect()).collect();
    for _ in 0..100 {
        let gradient: Vec<Vec<f32>> = (values(&parameters).iter())
            .map(|row| row.iter().enumerate().map(|(index, value)| slope(index, f64::from(*value)) as f32).collect())
            .collect();
        parameters = optimizer.step(parameters, tensor(&gradient));
        for (row, rule) in expected.iter_mut().zip(rules) {
            for (index, parameter) in row.iter_mut().enumerate() {
                parameter.step(rule, slope(index, parameter.value), index < INPUTS as usize);
            }
        }
    }
    for ((found, expected), rule) in values(&parameters).iter().zip(&expected).zip(rules) {
        let length = expected.iter().map(|parameter| parameter.value.powi(2)).sum::<f64>().sqrt();
        let error = found.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected.value).powi(2));
        let error = error.sum::<f64>().sqrt() / length;
        assert!(error < 1e-5, "{rule:?} is off by {error}: {found:?} instead of {expected:?}");
        let moved = starts[0].iter().zip(found).any(|(start, found)| (start - found).abs() > 0.1);
        assert!(moved, "the test moves nothing");
    }
}

#[test]
fn adam_follows_pytorch() {
    let rule =
        |lr, beta_1, beta_2, eps, weight_decay| OptimizerSpec::Adam { lr, betas: [beta_1, beta_2], eps, weight_decay };
    follows_pytorch(&[rule(1e-2, 0.9, 0.999, 1e-8, 0.0), rule(3e-2, 0.9, 0.999, 1e-8, 0.0)]);
    follows_pytorch(&[
        rule(1e-2, 0.9, 0.999, 1e-8, 0.1),
        rule(3e-2, 0.9, 0.999, 1e-8, 0.0),
        rule(0.1, 0.9, 0.999, 1e-8, 1e-3),
    ]);
    follows_pytorch(&[rule(2e-2, 0.5, 0.9, 1e-3, 0.01)]);
}

#[test]
fn adamw_follows_pytorch() {
    let rule = |lr, weight_decay| OptimizerSpec::AdamW { lr, betas: [0.9, 0.999], eps: 1e-8, weight_decay };
    follows_pytorch(&[rule(1e-2, 0.01), rule(3e-2, 0.3), rule(0.1, 0.0)]);
}

#[test]
fn sgd_follows_pytorch() {
    let rule = |lr, momentum, weight_decay, nesterov| OptimizerSpec::Sgd { lr, momentum, weight_decay, nesterov };
    follows_pytorch(&[rule(1e-2, 0.0, 0.0, false), rule(0.1, 0.0, 0.2, false)]);
    follows_pytorch(&[rule(1e-2, 0.9, 0.0, false), rule(0.03, 0.9, 0.2, false)]);
    follows_pytorch(&[rule(1e-2, 0.9, 0.0, true), rule(0.03, 0.9, 0.2, true)]);
}

/// One weight, starting at 1, with the gradients 1, −2 and ½.
fn three_steps(rule: OptimizerSpec) -> Vec<f32> {
    let mut optimizer = optimizer(&[(rule, None)]);
    let mut parameters = tensor(&[vec![1.0; 7]]);
    let steps = [1.0, -2.0, 0.5].map(|gradient| {
        parameters = optimizer.step(parameters.clone(), tensor(&[vec![gradient; 7]]));
        values(&parameters)[0][0]
    });
    steps.to_vec()
}

#[test]
fn three_steps_by_hand() {
    let (lr, betas, eps) = (0.1, [0.9, 0.999], 1e-8);
    let close = |found: Vec<f32>, expected: [f64; 3]| {
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
    };
    // Second step of Adam: m = −0.11, m̂ = −0.11 / 0.19; v = 0.004999, v̂ = 0.004999 / 0.001999; 0.9 + 0.1 · 0.578947 / 1.581376.
    close(
        three_steps(OptimizerSpec::Adam { lr, betas, eps, weight_decay: 0.0 }),
        [0.900000001, 0.9366103534720749, 0.9502794196738216],
    );
    close(
        three_steps(OptimizerSpec::Adam { lr, betas, eps, weight_decay: 0.5 }),
        [0.9000000006666666, 0.9069015188655994, 0.8859373445042629],
    );
    close(
        three_steps(OptimizerSpec::AdamW { lr, betas, eps, weight_decay: 0.5 }),
        [0.850000001, 0.8441103534220749, 0.8155739019527178],
    );
    // Velocities 1, −1.1, −0.49; with Nesterov the steps are 1.9, −2.99, 0.059.
    close(
        three_steps(OptimizerSpec::Sgd { lr, momentum: 0.9, weight_decay: 0.0, nesterov: false }),
        [0.9, 1.01, 1.059],
    );
    close(
        three_steps(OptimizerSpec::Sgd { lr, momentum: 0.9, weight_decay: 0.0, nesterov: true }),
        [0.81, 1.109, 1.1031],
    );
}

#[test]
fn the_l1_penalty_is_proximal_and_leaves_biases_alone() {
    let rule = OptimizerSpec::Sgd { lr: 0.5, momentum: 0.0, weight_decay: 0.0, nesterov: false };
    let mut optimizer = optimizer(&[(rule, penalty(RegularizationKind::L1, 0.25))]);
    let row = vec![1.0, -1.0, 0.125, -0.125, 0.1, 0.0, 0.1];
    // Without a gradient nothing but the penalty moves: lr · λ = 0.125, exact in binary.
    let found = values(&optimizer.step(tensor(&[row]), tensor(&[vec![0.0; 7]])));
    assert_eq!(found[0], [0.875, -0.875, 0.0, 0.0, 0.0, 0.0, 0.1]);
    // With one, it follows the step: 1 − 0.5 · 1 = 0.5, less 0.125.
    let found = values(&optimizer.step(tensor(&[vec![1.0; 7]]), tensor(&[vec![1.0; 7]])));
    assert_eq!(found[0], [0.375, 0.375, 0.375, 0.375, 0.375, 0.375, 0.5]);
}

#[test]
fn the_l1_threshold_is_that_of_the_formula_for_any_weight() {
    let (lr, strength) = (0.03, 0.7);
    let mut optimizer = optimizer(&[(super::adam(lr), penalty(RegularizationKind::L1, strength))]);
    let threshold = (lr * strength) as f32;
    for serial in 0..50 {
        // Adam with no gradient does not move.
        let row: Vec<f32> = start(serial).iter().map(|value| value * 0.03).collect();
        let found = values(&optimizer.step(tensor(std::slice::from_ref(&row)), tensor(&[vec![0.0; 7]]))).remove(0);
        for (found, value) in found[..6].iter().zip(&row) {
            assert_eq!(*found, value.signum() * (value.abs() - threshold).max(0.0), "from {value}");
        }
        assert_eq!(found[6], row[6]);
    }
}

#[test]
fn the_l2_penalty_is_coupled_and_adds_to_weight_decay() {
    let decaying = |weight_decay| OptimizerSpec::Adam { lr: 0.02, betas: [0.9, 0.999], eps: 1e-8, weight_decay };
    let mut optimizer = optimizer(&[
        (decaying(0.0), penalty(RegularizationKind::L2, 0.25)),
        (decaying(0.125), penalty(RegularizationKind::L2, 0.125)),
        (decaying(0.25), None),
    ]);
    let mut parameters = tensor(&vec![start(1); 3]);
    for step in 0..20 {
        parameters = optimizer.step(parameters, tensor(&vec![start(step); 3]));
    }
    let found = values(&parameters);
    assert_eq!(found[0], found[2]);
    assert_eq!(found[1], found[2]);
}

#[test]
fn a_lane_without_penalty_or_decay_does_not_feel_those_of_others() {
    for decaying in [
        (|lr, weight_decay| OptimizerSpec::Adam { lr, betas: [0.9, 0.999], eps: 1e-8, weight_decay })
            as fn(f64, f64) -> _,
        |lr, weight_decay| OptimizerSpec::AdamW { lr, betas: [0.9, 0.999], eps: 1e-8, weight_decay },
        |lr, weight_decay| OptimizerSpec::Sgd { lr, momentum: 0.9, weight_decay, nesterov: true },
    ] {
        let free = (decaying(0.01, 0.0), None);
        let mut alone = optimizer(std::slice::from_ref(&free));
        let mut together = optimizer(&[
            (decaying(0.5, 0.1), penalty(RegularizationKind::L1, 0.1)),
            free,
            (decaying(0.02, 0.0), penalty(RegularizationKind::L2, 0.3)),
        ]);
        let (mut one, mut three) = (tensor(&[start(1)]), tensor(&vec![start(1); 3]));
        for step in 0..30 {
            one = alone.step(one, tensor(&[start(step)]));
            three = together.step(three, tensor(&vec![start(step); 3]));
        }
        let (one, three) = (values(&one), values(&three));
        let bits = |row: &[f32]| row.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&one[0]), bits(&three[1]));
        assert_ne!(bits(&one[0]), bits(&three[0]));
        assert_ne!(bits(&one[0]), bits(&three[2]));
    }
}
