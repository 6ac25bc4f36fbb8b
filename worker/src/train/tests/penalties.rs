//! Penalties against their formulas in double precision, their periods, and healing.

use secateur_proto::spec::{
    Activation, ModelSpec, RegularizationKind as Kind, RegularizationSpec, SelectBy, TensorKind,
};

use super::{
    KINDS, adam, assert_same, dataset, device, lane, mask, masked, mlp, nets, penalty, run, sgd, tensor, trained,
    training, values,
};
use crate::{
    net::{Mask, Parameters, flat::FlatLayout},
    train::{
        bundle::{Bundle, Lane},
        data::DeviceData,
        optimizer::Optimizer,
        penalty::Period,
    },
};

const LR: f64 = 0.25;

/// Linear layers, convolutions and normalisations.
fn model() -> ModelSpec {
    ModelSpec::ResidualCnn { image: [2, 4, 4], channels: vec![3, 5], blocks: 1, outputs: 2 }
}

/// A net without zeros, except that the first unit of each layer is zero.
fn net(model: &ModelSpec, seed: u64) -> Parameters {
    let mut net = Parameters::initial(model, seed);
    for (tensor, values) in model.tensors().iter().zip(&mut net.tensors) {
        for (place, value) in values.iter_mut().enumerate() {
            *value += (place as f32 + seed as f32).sin() * 0.3;
        }
        if tensor.kind == TensorKind::Weight {
            let of_unit = values.len() / tensor.shape[0];
            values[..of_unit].fill(0.0);
        }
    }
    net
}

/// The gradient of a step before the penalty, and the net after a step of plain SGD with it: by the formulas.
fn expected(model: &ModelSpec, kind: Kind, strength: f64, net: &Parameters, gradient: f64) -> Vec<Vec<f64>> {
    let tensors = model.tensors();
    let last = tensors.iter().rposition(|tensor| tensor.kind == TensorKind::Weight);
    (tensors.iter().zip(&net.tensors).enumerate())
        .map(|(index, (tensor, values))| {
            let values: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
            let step = |push: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
                let moved = values.iter().enumerate();
                moved.map(|(place, value)| value - LR * (gradient + push(place, *value))).collect()
            };
            let sign = |value: f64| if value == 0.0 { 0.0 } else { value.signum() };
            if kind == Kind::BatchNormScale && tensor.kind == TensorKind::Scale {
                return step(&|_, value| strength * sign(value));
            }
            if kind == Kind::BatchNormScale || tensor.kind != TensorKind::Weight {
                return step(&|_, _| 0.0);
            }
            let units = tensor.shape[0];
            let size = values.len() / units;
            let lengths = |values: &[f64]| -> Vec<f64> {
                values.chunks_exact(size).map(|unit| unit.iter().map(|x| x * x).sum::<f64>().sqrt()).collect()
            };
            match kind {
                Kind::L1 => {
                    let moved = step(&|_, _| 0.0).into_iter();
                    moved.map(|value| sign(value) * (value.abs() - LR * strength).max(0.0)).collect()
                }
                Kind::L1Subgradient => step(&|_, value| strength * sign(value)),
                Kind::L2 => step(&|_, value| strength * value),
                Kind::L2Decoupled => values.iter().map(|value| value * (1.0 - LR * strength) - LR * gradient).collect(),
                Kind::GroupLasso => {
                    let moved = step(&|_, _| 0.0);
                    let lengths = lengths(&moved);
                    let shrink = |unit: usize| {
                        if lengths[unit] == 0.0 {
                            return 0.0;
                        }
                        (1.0 - LR * strength * (size as f64).sqrt() / lengths[unit]).max(0.0)
                    };
                    moved.iter().enumerate().map(|(place, value)| value * shrink(place / size)).collect()
                }
                Kind::GroupNorm => {
                    let lengths = lengths(&values);
                    let longest = lengths.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let shortest = lengths.iter().copied().fold(f64::INFINITY, f64::min);
                    let ramp = |unit: usize| {
                        if longest == shortest {
                            1.0
                        } else {
                            2_f64.powf(4.0 * (longest - lengths[unit]) / (longest - shortest))
                        }
                    };
                    step(&|place, value| strength * ramp(place / size) * value)
                }
                Kind::Growing => {
                    let mut rest: Vec<f64> = values.iter().map(|x| x.abs()).filter(|x| *x > 0.0).collect();
                    rest.sort_by(f64::total_cmp);
                    // No two weights of the test are equally large.
                    let bound = rest.get((rest.len() / 2).wrapping_sub(1)).copied().unwrap_or(0.0);
                    let pushed = |value: f64| Some(index) != last && value.abs() <= bound;
                    step(&|_, value| if pushed(value) { strength * value } else { 0.0 })
                }
                Kind::BatchNormScale => values,
            }
        })
        .collect()
}

fn assert_step(model: &ModelSpec, kind: Kind, gradient: f64) {
    let strengths = [Some(0.125), Some(1.5), None, Some(40.0)];
    let lanes: Vec<Lane> = (strengths.iter().zip(0..))
        .map(|(strength, seed)| Lane {
            start: net(model, seed),
            regularization: strength.and_then(|strength| penalty(kind, strength)),
            ..lane(model, seed, training(sgd(LR), 1, 1))
        })
        .collect();
    let layout = FlatLayout::of(model);
    let mut optimizer = Optimizer::new(&lanes, &layout, &device());
    let rows: Vec<Vec<f32>> = lanes.iter().map(|lane| layout.flatten(&lane.start)).collect();
    let gradients = vec![vec![gradient as f32; layout.length()]; lanes.len()];
    let found = values(&optimizer.step(tensor(&rows), tensor(&gradients)));
    for ((lane, strength), found) in lanes.iter().zip(strengths).zip(&found) {
        let expected = expected(model, kind, strength.unwrap_or(0.0), &lane.start, gradient);
        let found = layout.unflatten(found);
        for ((found, expected), tensor) in found.tensors.iter().zip(&expected).zip(model.tensors()) {
            for (found, expected) in found.iter().zip(expected) {
                let close = (f64::from(*found) - expected).abs() < 2e-6 * (1.0 + expected.abs());
                assert!(close, "{kind:?} {strength:?}, {}: {found} instead of {expected}", tensor.name);
                // Weights driven to zero are exactly zero.
                assert!(*expected != 0.0 || *found == 0.0, "{kind:?} {strength:?}, {}: {found}", tensor.name);
            }
        }
    }
}

#[test]
fn every_penalty_follows_its_formula() {
    let norms =
        ModelSpec::Mlp { inputs: 4, hidden: vec![5, 3], outputs: 1, activation: Activation::Relu, batch_norm: true };
    for kind in KINDS {
        for model in [model(), norms.clone(), mlp(6, &[])] {
            for gradient in [0.0, 0.375] {
                assert_step(&model, kind, gradient);
            }
        }
    }
}

#[test]
fn a_group_is_the_weights_of_one_unit_and_goes_as_a_whole() {
    // Rows of files are units: (3, 4) has length 5, and at √2 · λ · lr = 2.5 half of it is left; (0.6, 0.8) becomes
    // zero.
    let model = mlp(2, &[2]);
    let mut lane = lane(&model, 1, training(sgd(1.0), 1, 1));
    lane.start.tensors[0] = vec![3.0, 4.0, 0.6, 0.8];
    lane.regularization = penalty(Kind::GroupLasso, 2.5 / 2_f64.sqrt());
    let layout = FlatLayout::of(&model);
    let row = layout.flatten(&lane.start);
    let mut optimizer = Optimizer::new(std::slice::from_ref(&lane), &layout, &device());
    let found = values(&optimizer.step(tensor(&[row]), tensor(&[vec![0.0; layout.length()]]))).remove(0);
    let found = layout.unflatten(&found);
    for (found, expected) in found.tensors[0].iter().zip([1.5, 2.0, 0.0, 0.0]) {
        assert!((found - expected).abs() < 1e-6 && (expected != 0.0 || *found == 0.0), "{found}, not {expected}");
    }
    assert_eq!(found.tensors[1], lane.start.tensors[1]);
}

#[test]
fn a_penalty_warms_up_is_on_and_heals() {
    let spec = |warm_up_epochs, healing_epochs| RegularizationSpec {
        kind: Kind::Growing,
        strength: 1.0,
        warm_up_epochs,
        healing_epochs,
    };
    let of = |spec: RegularizationSpec, epochs: u32| -> Vec<Period> {
        (1..=epochs).map(|epoch| Period::of(&spec, epoch, epochs)).collect()
    };
    let on = |progress| Period::On { progress };
    use Period::{Healing, WarmUp};
    assert_eq!(of(spec(0, 0), 4), [on(0.25), on(0.5), on(0.75), on(1.0)]);
    assert_eq!(of(spec(1, 2), 5), [WarmUp, on(0.5), on(1.0), Healing, Healing]);
    // More epochs than there are.
    assert_eq!(of(spec(2, 2), 3), [WarmUp, Healing, Healing]);
    assert_eq!(of(spec(0, u32::MAX), 2), [Healing, Healing]);
    assert_eq!(of(spec(u32::MAX, 0), 2), [WarmUp, WarmUp]);
}

/// A bundle whose lanes warm up for 0, 1 and 9 epochs: during warm-up they train like lanes without a penalty.
#[test]
fn before_its_time_a_penalty_does_nothing_and_a_growing_one_grows() {
    let model = model();
    let layout = FlatLayout::of(&model);
    for kind in KINDS {
        let lanes: Vec<Lane> = [0, 1, 9]
            .map(|warm_up_epochs| Lane {
                start: net(&model, 1),
                regularization: Some(RegularizationSpec { kind, strength: 0.5, warm_up_epochs, healing_epochs: 1 }),
                ..lane(&model, 1, training(sgd(LR), 1, 1))
            })
            .to_vec();
        let mut optimizer = Optimizer::new(&lanes, &layout, &device());
        let rows = tensor(&vec![layout.flatten(&lanes[0].start); 3]);
        let zeros = tensor(&vec![vec![0.0; layout.length()]; 3]);
        let mut at = |epoch: u32| -> Vec<f64> {
            optimizer.penalty().begin_epoch(epoch, 5, &rows);
            let found = values(&optimizer.step(rows.clone(), zeros.clone()));
            let way = |(before, after): (&Vec<f32>, &Vec<f32>)| {
                before.iter().zip(after).map(|(before, after)| f64::from(before - after).abs()).sum()
            };
            values(&rows).iter().zip(&found).map(way).collect()
        };
        let ways: Vec<Vec<f64>> = (1..=5).map(&mut at).collect();
        assert!(ways[0][0] > 0.0 && ways[0][1..] == [0.0, 0.0], "{kind:?}: {:?}", ways[0]);
        assert!(ways[1][1] > 0.0 && ways[1][2] == 0.0, "{kind:?}: {:?}", ways[1]);
        assert_eq!(ways[4], [0.0, 0.0, 0.0], "{kind:?} in healing");
        let grown = ways[3][0] / ways[0][0];
        let expected = if kind == Kind::Growing { 4.0 } else { 1.0 };
        assert!((grown - expected).abs() < 1e-3, "{kind:?} grew to {grown}");
    }
}

/// Which weights are zero.
fn zeros(net: &Parameters) -> Vec<bool> {
    net.tensors.iter().step_by(2).flatten().map(|value| *value == 0.0).collect()
}

#[test]
fn in_healing_zeros_stay_and_the_rest_is_free() {
    const HEALING: [u32; 3] = [0, 2, 3];
    let model = mlp(5, &[8, 6]);
    let data = DeviceData::load(dataset(1, 5, 40), &device());
    for (kind, rule) in [Kind::L1, Kind::GroupLasso].into_iter().flat_map(|kind| [(kind, adam(0.02)), (kind, sgd(0.3))])
    {
        let mut telling = 0;
        for strength in [0.01, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0] {
            let lanes = HEALING.map(|healing_epochs| {
                let mut lane = lane(&model, 3, training(rule.clone(), 8, 6));
                lane.training.select_by = SelectBy::Last;
                lane.regularization = Some(RegularizationSpec { kind, strength, warm_up_epochs: 0, healing_epochs });
                lane
            });
            let ends = run(&model, &lanes, &data);
            assert_eq!(trained(&ends[0]).frozen, None);
            for (end, healing) in ends.iter().zip(HEALING).skip(1) {
                // Before its healing a lane trains like one that never heals.
                let stop_after = Some(5 * u64::from(6 - healing));
                let before = run(&model, &[Lane { stop_after, ..lanes[0].clone() }], &data).remove(0);
                let (healed, before) = (trained(end), &trained(&before).parameters);
                assert_eq!(zeros(&healed.parameters), zeros(before), "{kind:?} {strength}");
                let gone = zeros(before).iter().filter(|zero| **zero).count();
                assert_eq!(healed.frozen.as_ref().map(Mask::removed), Some(gone as u64));
                assert_eq!(healed.mask, None, "zeros of a penalty are no pruning");
                assert_ne!(healed.parameters, *before);
                telling += usize::from(gone > 0 && gone < 5 * 8 + 8 * 6 + 6);
            }
        }
        assert!(telling > 1, "{kind:?} drove nothing to zero, or all");
    }
}

#[test]
fn the_mask_of_a_pruned_net_and_that_of_healing_combine() {
    let model = mlp(5, &[8, 6]);
    let data = DeviceData::load(dataset(1, 5, 40), &device());
    let removed = mask(&model, 1, 0.3);
    let mut lane = masked(lane(&model, 3, training(adam(0.02), 8, 6)), removed.clone());
    lane.regularization =
        Some(RegularizationSpec { kind: Kind::L1, strength: 0.1, warm_up_epochs: 1, healing_epochs: 2 });
    let end = run(&model, &[lane], &data).remove(0);
    let healed = trained(&end);
    assert_eq!(healed.mask.as_ref(), Some(&removed));
    let mask = healed.frozen.as_ref().expect("zeros");
    assert!(mask.removed() > removed.removed());
    assert_eq!((mask.violations(&healed.parameters), removed.violations(&healed.parameters)), (0, 0));
    // Only epochs of the healing have its zeros.
    assert!(healed.epoch > 4, "epoch {}", healed.epoch);
}

/// If the moments of a frozen weight were kept, or its gradient were applied, it would move.
#[test]
fn a_frozen_weight_has_no_moments() {
    let model = mlp(4, &[6]);
    let data = DeviceData::load(dataset(1, 4, 40), &device());
    let mut bundle = Bundle::new(&model, &[lane(&model, 1, training(adam(0.1), 8, 1))], &device());
    let batch = |step: i32| (0..8).map(|row| (row + step * 8) % 40).collect::<Vec<i32>>();
    (0..3).for_each(|step| drop(bundle.step(&data, batch(step).into())));
    let mut row = vec![1.0; bundle.layout().length()];
    row[..5].fill(0.0);
    bundle.set_masks(row);
    for step in 3..6 {
        let _ = bundle.step(&data, batch(step).into());
        let second = values(bundle.optimizer().second_moment().expect("of Adam")).remove(0);
        assert!(second[..5].iter().all(|value| *value == 0.0) && second[5..].iter().all(|value| *value >= 0.0));
        assert_eq!(values(bundle.parameters())[0][..5], [0.0; 5]);
    }
    assert!(nets(&bundle)[0].is_finite());
}

#[test]
fn a_penalty_without_anything_to_be_on_is_none() {
    let model = mlp(4, &[6]);
    let data = DeviceData::load(dataset(1, 4, 40), &device());
    let free = lane(&model, 1, training(adam(0.1), 8, 2));
    let mut with = free.clone();
    with.regularization = penalty(Kind::BatchNormScale, 1.0);
    assert_same(&run(&model, &[with], &data)[0], &run(&model, &[free], &data)[0]);
}
