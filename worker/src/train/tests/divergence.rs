//! A number that is not finite ends its own lane at the right step, and affects no other lane.

use secateur_proto::spec::{OptimizerSpec, SelectBy};

use super::{adam, alone, assert_same, dataset, device, lane, mask, masked, mlp, run, sgd, trained, training, zoo};
use crate::{
    data::{Dataset, Part},
    net::Parameters,
    random,
    train::{
        bundle::{Lane, Phase},
        data::DeviceData,
        run::LaneEnd,
    },
};

fn step(end: &LaneEnd) -> Option<u64> {
    match end {
        LaneEnd::Diverged { step } => Some(*step),
        _ => None,
    }
}

#[test]
fn a_lane_that_diverges_leaves_its_neighbours_as_they_are() {
    let model = mlp(4, &[6, 5]);
    let data = DeviceData::load(dataset(1, 4, 50), &device());
    let lanes = |wild: f64| -> Vec<Lane> {
        (0..8).map(|seed| lane(&model, seed, training(adam(if seed == 3 { wild } else { 1e-2 }), 8, 3))).collect()
    };
    let tame = run(&model, &lanes(1e-2), &data);
    let wild = run(&model, &lanes(1e30), &data);
    for (index, (wild, tame)) in wild.iter().zip(&tame).enumerate() {
        if index == 3 {
            // Weights of 1e30 after the first step: two layers of them overflow in the second.
            assert_eq!(step(wild), Some(2));
        } else {
            assert_same(wild, tame);
        }
    }
    assert_eq!(step(&run(&model, &lanes(1e30)[3..4], &data)[0]), Some(2));
}

/// A plausible rate, in a bundle of sixteen: the results of the others do not depend on this lane.
#[test]
fn fifteen_lanes_do_not_see_that_the_sixteenth_diverges() {
    let model = mlp(4, &[6, 5]);
    let data = DeviceData::load(dataset(1, 4, 50), &device());
    let rule = |lr| OptimizerSpec::Sgd { lr, momentum: 0.0, weight_decay: 0.3, nesterov: false };
    let lanes: Vec<Lane> =
        (0..16).map(|seed| lane(&model, seed, training(rule(if seed == 5 { 1e3 } else { 0.05 }), 8, 3))).collect();
    let mut together = run(&model, &lanes, &data);
    assert!(step(&together.remove(5)).is_some(), "a rate of 1000 does not diverge");
    let others: Vec<Lane> =
        (lanes.iter().enumerate()).filter(|(index, _)| *index != 5).map(|(_, lane)| lane.clone()).collect();
    for (found, expected) in together.iter().zip(run(&model, &others, &data)) {
        assert_same(found, &expected);
    }
}

/// A rate of 1e300 is infinite in single precision, and infinity times zero is NaN, even where a weight is removed.
#[test]
fn an_infinite_rate_is_a_divergence_and_not_a_defect() {
    let model = mlp(4, &[6, 5]);
    let data = DeviceData::load(dataset(1, 4, 16), &device());
    for batch_size in [4, 16] {
        let lanes: Vec<Lane> = [1e-2, 1e300]
            .map(|lr| masked(lane(&model, 1, training(adam(lr), batch_size, 2)), mask(&model, 1, 0.5)))
            .to_vec();
        let ends = run(&model, &lanes, &data);
        assert_same(&ends[0], &alone(&model, &lanes[0], &data));
        // With one step in each epoch it is detected when the epoch is recorded, otherwise in the next step.
        assert_eq!(step(&ends[1]), Some(if batch_size == 4 { 2 } else { 1 }));
    }
}

#[test]
fn a_row_that_overflows_is_met_at_its_place_in_the_order() {
    let model = mlp(3, &[4]);
    let mut dataset = dataset(5, 3, 20);
    // Finite itself, but too large for a sum of products with weights that are not small.
    dataset.train.inputs[13 * 3..14 * 3].fill(f32::MAX);
    let data = DeviceData::load(dataset, &device());
    for seed in 0..4 {
        let mut lane = lane(&model, seed, training(sgd(1e-3), 1, 1));
        lane.start.tensors[0].fill(2.0);
        let mut order: Vec<u64> = (0..20).collect();
        rand::seq::SliceRandom::shuffle(&mut order[..], &mut random::generator(Phase::Dense.purpose(), &[seed, 1]));
        let place = order.iter().position(|row| *row == 13).expect("every row is in the order") as u64;
        assert_eq!(step(&run(&model, &[lane], &data)[0]), Some(place + 1));
    }
}

#[test]
fn a_start_that_is_not_finite_is_found_before_the_first_step() {
    let model = mlp(3, &[4, 4]);
    let data = DeviceData::load(dataset(1, 3, 20), &device());
    let good = alone(&model, &lane(&model, 0, training(adam(1e-2), 8, 2)), &data);
    for layer in 0..3 {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at_bias in [false, true] {
                let mut bad = lane(&model, 1, training(adam(1e-2), 8, 2));
                if at_bias {
                    bad.start.tensors[2 * layer + 1][0] = value;
                } else {
                    bad.start.tensors[2 * layer][1] = value;
                }
                let ends = run(&model, &[bad, lane(&model, 0, training(adam(1e-2), 8, 2))], &data);
                assert_eq!(step(&ends[0]), Some(0), "{value} at bias: {at_bias}");
                assert_same(&ends[1], &good);
            }
        }
    }
}

#[test]
fn a_net_with_an_infinite_number_behind_a_relu_is_not_handed_out() {
    // One hidden unit. The only step moves its weight and bias to −∞, where the ReLU returns exactly zero. Output
    // weight and bias remain finite, and so does every logit.
    let model = mlp(1, &[1]);
    let part = |first: u32| Part {
        rows: (first..first + 8).collect(),
        inputs: (0..8).map(|index| 1.0 + index as f32 / 8.0).collect(),
        targets: (0..8).map(|index| f32::from(u8::from(index == 0))).collect(),
        groups: vec![],
    };
    let dataset = Dataset {
        features: vec!["x".into()],
        groups: vec![],
        classes: 2,
        image: None,
        pixel_scale: None,
        train: part(0),
        validation: part(8),
        test: part(16),
    };
    let data = DeviceData::load(dataset, &device());
    let mut lane = lane(&model, 0, training(sgd(3e38), 8, 1));
    lane.start = Parameters { tensors: vec![vec![5e-4], vec![0.0], vec![100.0], vec![0.0]] };
    lane.training.select_by = SelectBy::LogLoss;
    assert_eq!(step(&run(&model, &[lane], &data)[0]), Some(1));
}

#[test]
fn a_large_rate_that_stays_finite_is_no_divergence() {
    let model = mlp(3, &[4]);
    let data = DeviceData::load(dataset(1, 3, 20), &device());
    let ends = run(&model, &[lane(&model, 0, training(adam(10.0), 8, 3))], &data);
    assert!(trained(&ends[0]).parameters.is_finite());
}

/// Sixteen lanes of every kind of net, one with a far too large rate, against the same without it.
#[test]
fn a_wild_lane_among_sixteen_leaves_the_others_as_they_are_without_it() {
    const WILD: usize = 5;
    for model in zoo() {
        let width = usize::try_from(model.inputs()).expect("a width");
        let data = DeviceData::load(dataset(1, width, 12), &device());
        for lr in [1e3, 1e30] {
            let lanes: Vec<Lane> = (0..16)
                .map(|seed| lane(&model, seed, training(sgd(if seed == WILD as u64 { lr } else { 1e-2 }), 4, 1)))
                .collect();
            let others = [&lanes[..WILD], &lanes[WILD + 1..]].concat();
            let mut found = run(&model, &lanes, &data);
            let wild = found.remove(WILD);
            assert!(lr < 1e30 || step(&wild).is_some(), "{model:?}: {wild:?}");
            for (found, expected) in found.iter().zip(&run(&model, &others, &data)) {
                assert!(step(found).is_none());
                assert_same(found, expected);
            }
        }
    }
}
