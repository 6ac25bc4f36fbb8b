//! Removed weights are exactly zero after every step and do not affect the remaining net.

use secateur_proto::{
    outcome::FailureClass,
    spec::{OptimizerSpec, RegularizationKind},
};

use super::{
    adam, assert_same, bits, dataset, device, lane, mask, masked, mlp, nets, penalty, run, sgd, trained, training,
};
use crate::{
    net::{Mask, Parameters},
    train::{
        bundle::{Bundle, Lane},
        data::DeviceData,
        run::train,
    },
};

fn rules(lr: f64, weight_decay: f64) -> [OptimizerSpec; 5] {
    let (betas, eps) = ([0.9, 0.999], 1e-8);
    [
        OptimizerSpec::Adam { lr, betas, eps, weight_decay },
        OptimizerSpec::AdamW { lr, betas, eps, weight_decay },
        OptimizerSpec::Sgd { lr, momentum: 0.0, weight_decay, nesterov: false },
        OptimizerSpec::Sgd { lr, momentum: 0.9, weight_decay, nesterov: false },
        OptimizerSpec::Sgd { lr, momentum: 0.9, weight_decay, nesterov: true },
    ]
}

#[test]
fn removed_weights_are_zero_after_every_step_whatever_the_rule() {
    let model = mlp(5, &[8, 6]);
    let data = DeviceData::load(dataset(1, 5, 40), &device());
    for (decay, penalty) in [
        (0.0, None),
        (0.1, None),
        (0.0, penalty(RegularizationKind::L1, 1e-3)),
        (0.1, penalty(RegularizationKind::L2, 0.05)),
    ] {
        for rule in rules(0.05, decay) {
            let lanes: Vec<Lane> = (0..3)
                .map(|seed| {
                    let mask = mask(&model, seed, 0.3 * seed as f64);
                    let mut lane = masked(lane(&model, seed, training(rule.clone(), 10, 1)), mask);
                    lane.regularization = penalty.clone();
                    lane
                })
                .collect();
            let mut bundle = Bundle::new(&model, &lanes, &device());
            for step in 0..12 {
                let rows = (0..3).flat_map(|_| (0..10).map(|row| (row + step * 10) % 40)).collect();
                let _ = bundle.step(&data, Vec::into(rows));
                for (lane, net) in lanes.iter().zip(nets(&bundle)) {
                    let mask = lane.mask.as_ref().expect("masked");
                    let removed = (mask.kept.iter().zip(&net.tensors))
                        .flat_map(|(kept, values)| kept.iter().flatten().zip(values));
                    let (mut gone, mut stay) = (0, 0);
                    for (kept, weight) in removed {
                        if *kept {
                            stay += u64::from(*weight != 0.0);
                        } else {
                            assert_eq!(weight.to_bits(), 0, "{rule:?}, step {step}");
                            gone += 1;
                        }
                    }
                    assert_eq!(gone, mask.removed());
                    // Only the proximal step makes further zeros.
                    if penalty.as_ref().is_none_or(|penalty| penalty.kind == RegularizationKind::L2) {
                        assert_eq!(stay + gone, 5 * 8 + 8 * 6);
                    }
                }
            }
        }
    }
}

/// The net without hidden unit `unit` of the first layer, all of whose weights are removed.
fn without(parameters: &Parameters, unit: usize) -> Parameters {
    let [weight, bias, reading, rest @ ..] = parameters.tensors.as_slice() else { panic!("three layers") };
    let (inputs, units) = (weight.len() / bias.len(), bias.len());
    let cut = |values: &[f32], width: usize| -> Vec<f32> {
        values
            .chunks_exact(width)
            .enumerate()
            .filter(|(index, _)| *index != unit)
            .flat_map(|(_, row)| row.to_vec())
            .collect()
    };
    let reading = reading.chunks_exact(units).flat_map(|row| cut(row, 1)).collect();
    Parameters { tensors: [vec![cut(weight, inputs), cut(bias, 1), reading], rest.to_vec()].concat() }
}

/// If a removed weight affected clipping, moments or decay, the smaller net would train differently.
#[test]
fn a_net_with_a_unit_masked_away_trains_as_the_net_without_that_unit() {
    let (model, smaller) = (mlp(4, &[6, 5]), mlp(4, &[5, 5]));
    let unit = 2;
    let data = DeviceData::load(dataset(4, 4, 48), &device());
    let mut mask = Mask::full(&model, &model.prunable());
    (unit * 4..(unit + 1) * 4).for_each(|place| mask.remove(0, place, 24));
    (0..5).for_each(|output| mask.remove(2, output * 6 + unit, 30));
    for rule in rules(0.03, 0.05) {
        let mut training = training(rule, 16, 5);
        training.clip_gradient_norm = Some(0.2);
        let mut large = masked(lane(&model, 1, training), mask.clone());
        large.regularization = penalty(RegularizationKind::L1, 1e-3);
        let small = Lane { start: without(&large.start, unit), mask: None, ..large.clone() };
        let large = trained(&run(&model, &[large], &data)[0]).clone();
        let small = trained(&run(&smaller, &[small], &data)[0]).clone();
        assert_eq!(large.epoch, small.epoch);
        let found = without(&large.parameters, unit);
        for (found, expected) in found.tensors.iter().flatten().zip(small.parameters.tensors.iter().flatten()) {
            assert!((found - expected).abs() < 2e-5, "{found} instead of {expected}");
        }
    }
}

#[test]
fn a_mask_that_keeps_all_is_no_mask_bit_for_bit() {
    let model = mlp(5, &[8, 6]);
    let data = DeviceData::load(dataset(1, 5, 40), &device());
    for rule in rules(0.02, 0.01) {
        for clip in [None, Some(0.1)] {
            let mut free = lane(&model, 3, training(rule.clone(), 16, 3));
            free.training.clip_gradient_norm = clip;
            let full = masked(free.clone(), Mask::full(&model, &model.prunable()));
            assert_eq!(bits(&full.start), bits(&free.start));
            assert_same(&run(&model, &[full], &data)[0], &run(&model, &[free], &data)[0]);
        }
    }
}

#[test]
fn the_audit_finds_a_removed_weight_that_is_not_zero() {
    let model = mlp(4, &[5]);
    let data = DeviceData::load(dataset(1, 4, 20), &device());
    let mut bad = lane(&model, 1, training(adam(1e-2), 8, 1));
    bad.mask = Some(mask(&model, 1, 0.5));
    let failure = train(&model, &[bad], &[], &mut [], &data, &device(), &mut ()).expect_err("a defect");
    assert_eq!(failure.class, FailureClass::Internal);
    assert!(failure.message.starts_with("10 removed weights"), "{}", failure.message);
}

#[test]
#[should_panic(expected = "of one class")]
fn lanes_with_and_without_a_mask_are_no_bundle() {
    let model = mlp(4, &[5]);
    let free = lane(&model, 1, training(sgd(1e-2), 8, 1));
    let masked = masked(free.clone(), mask(&model, 1, 0.5));
    let _ = Bundle::new(&model, &[free, masked], &device());
}
