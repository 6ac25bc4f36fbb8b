//! Small nets and data for the tests of everything that trains.

mod activations;
mod alike;
mod architectures;
mod class_weights;
mod divergence;
mod dropout;
mod epochs;
mod golden;
mod gradients;
mod host;
mod lanes;
mod masks;
mod naive;
mod optimizers;
mod penalties;
mod probe;
mod pytorch;
mod quantization;
pub(crate) mod reference;
mod resume;
mod schedules;
mod scores;
mod smoothing;
mod spans;

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt as _, seq::SliceRandom as _};
use secateur_proto::{
    metrics::Metric,
    spec::{Activation, ModelSpec, OptimizerSpec, RegularizationKind, RegularizationSpec, TrainingSpec},
};

use super::{
    bundle::{Bundle, Lane, Phase},
    data::DeviceData,
    run::{LaneEnd, Trained, train},
};
use crate::{
    data::{Dataset, Part},
    device::DeviceName,
    net::{Mask, Parameters},
    random,
};

/// The variable that names the device to test on; the default is `cpu`.
const DEVICE_VARIABLE: &str = "SECATEUR_TEST_DEVICE";

fn device_name() -> DeviceName {
    let name = std::env::var(DEVICE_VARIABLE).unwrap_or_else(|_| "cpu".to_owned());
    name.parse().unwrap_or_else(|error| panic!("{DEVICE_VARIABLE}: {error}"))
}

/// The device for all tests of training.
pub(crate) fn device() -> Device {
    device_name().open().unwrap_or_else(|error| panic!("{DEVICE_VARIABLE}: {error}"))
}

pub(crate) fn mlp(inputs: u32, hidden: &[u32]) -> ModelSpec {
    ModelSpec::mlp(inputs, hidden.to_vec())
}

/// Inputs in [−1, 1]; the class is a noisy linear function of them, and every part has both classes.
pub(crate) fn dataset(seed: u64, width: usize, train_rows: usize) -> Dataset {
    let mut generator = random::generator("test data", &[seed]);
    let slope: Vec<f32> = (0..width).map(|_| generator.random::<f32>() * 4.0 - 2.0).collect();
    let mut next = 0;
    let mut part = |count: usize| {
        let inputs: Vec<f32> = (0..count * width).map(|_| generator.random::<f32>() * 2.0 - 1.0).collect();
        let mut targets: Vec<f32> = (inputs.chunks_exact(width))
            .map(|row| {
                let score: f32 = row.iter().zip(&slope).map(|(x, slope)| x * slope).sum();
                f32::from(u8::from(score + generator.random::<f32>() - 0.5 > 0.0))
            })
            .collect();
        (targets[0], targets[1]) = (0.0, 1.0);
        let rows = (next..).take(count).collect();
        next += count as u32;
        Part { rows, inputs, targets, groups: vec![] }
    };
    let (train, validation, test) = (part(train_rows), part(40), part(30));
    let features = (0..width).map(|index| format!("x{index}")).collect();
    Dataset { features, groups: vec![], classes: 2, image: None, pixel_scale: None, train, validation, test }
}

pub(crate) fn adam(lr: f64) -> OptimizerSpec {
    OptimizerSpec::Adam { lr, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 }
}

pub(crate) fn sgd(lr: f64) -> OptimizerSpec {
    OptimizerSpec::Sgd { lr, momentum: 0.0, weight_decay: 0.0, nesterov: false }
}

pub(crate) fn training(optimizer: OptimizerSpec, batch_size: u32, epochs: u32) -> TrainingSpec {
    TrainingSpec { optimizer, batch_size, epochs, ..TrainingSpec::default() }
}

pub(crate) fn lane(model: &ModelSpec, seed: u64, training: TrainingSpec) -> Lane {
    let start = Parameters::initial(model, seed);
    Lane {
        start,
        mask: None,
        training,
        regularization: None,
        seed,
        phase: Phase::Dense,
        skip_steps: 0,
        stop_after: None,
    }
}

/// Every kind of penalty.
const KINDS: [RegularizationKind; 8] = [
    RegularizationKind::L1,
    RegularizationKind::L1Subgradient,
    RegularizationKind::L2,
    RegularizationKind::L2Decoupled,
    RegularizationKind::GroupLasso,
    RegularizationKind::GroupNorm,
    RegularizationKind::Growing,
    RegularizationKind::BatchNormScale,
];

fn penalty(kind: RegularizationKind, strength: f64) -> Option<RegularizationSpec> {
    Some(RegularizationSpec { kind, strength, warm_up_epochs: 0, healing_epochs: 0 })
}

/// Nets with every kind of step, small enough to train many of: batch normalisations, dropout, convolutions of few and of many
/// channels, residual blocks with and without a projection. All for 16 × 16 images or as many inputs as given, with one logit.
fn zoo() -> Vec<ModelSpec> {
    let activation = Activation::Silu;
    vec![
        ModelSpec::Mlp { inputs: 7, hidden: vec![9, 5], outputs: 1, activation: Activation::Relu, batch_norm: true },
        ModelSpec::ResidualMlp { inputs: 6, width: 8, blocks: 2, outputs: 1, activation },
        ModelSpec::Lenet5 { image: [1, 16, 16], outputs: 1 },
        ModelSpec::ResidualCnn { image: [3, 6, 6], channels: vec![4, 18], blocks: 1, outputs: 1 },
    ]
}

/// Removes `share` of each prunable layer at random, rounded down.
fn mask(model: &ModelSpec, seed: u64, share: f64) -> Mask {
    let mut mask = Mask::full(model, &model.prunable());
    let mut generator = random::generator("test mask", &[seed]);
    for kept in mask.kept.iter_mut().flatten() {
        let removed = (kept.len() as f64 * share) as usize;
        kept[..removed].fill(false);
        kept.shuffle(&mut generator);
    }
    mask
}

/// Adds a mask to the lane.
fn masked(mut lane: Lane, mask: Mask) -> Lane {
    mask.apply(&mut lane.start);
    lane.mask = Some(mask);
    lane
}

fn run(model: &ModelSpec, lanes: &[Lane], data: &DeviceData) -> Vec<LaneEnd> {
    train(model, lanes, &[], &mut [], data, &device(), &mut ()).expect("no defect")
}

/// Whether a lane computes the same beside any other lanes, bit for bit. Only flex guarantees that: elsewhere the
/// number of lanes, and the place among them, may affect how sums of products round.
pub(crate) fn one_is_like_many() -> bool {
    device_name().is_built_in()
}

/// Trains a lane alone.
fn alone(model: &ModelSpec, lane: &Lane, data: &DeviceData) -> LaneEnd {
    run(model, std::slice::from_ref(lane), data).remove(0)
}

fn trained(end: &LaneEnd) -> &Trained {
    match end {
        LaneEnd::Trained(trained) => trained,
        other => panic!("the lane ended as {other:?}"),
    }
}

fn bits(parameters: &Parameters) -> Vec<u32> {
    parameters.tensors.iter().flatten().map(|x| x.to_bits()).collect()
}

/// The same bits on flex. On other devices equal except for rounding, which is smaller than any leak from another lane.
fn assert_same(found: &LaneEnd, expected: &LaneEnd) {
    match (found, expected) {
        (LaneEnd::Trained(found), LaneEnd::Trained(expected)) if !one_is_like_many() => {
            assert_eq!(found.epoch, expected.epoch);
            for (found, expected) in found.curve.iter().zip(&expected.curve) {
                let [found, expected] = [found, expected].map(|record| record.validation[&Metric::LogLoss]);
                assert!((found - expected).abs() < 1e-4 * (1.0 + expected), "{found} instead of {expected}");
            }
            let values = |trained: &Trained| -> Vec<f64> {
                trained.parameters.tensors.iter().flatten().map(|value| f64::from(*value)).collect()
            };
            let (found, expected) = (values(found), values(expected));
            let length = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
            let error = length(&mut found.iter().zip(&expected).map(|(found, expected)| found - expected));
            let error = error / length(&mut expected.iter().copied());
            assert!(error < 1e-3, "parameters are off by {error}");
        }
        (LaneEnd::Trained(found), LaneEnd::Trained(expected)) => {
            assert_eq!(found.epoch, expected.epoch);
            assert_eq!(found.curve, expected.curve);
            assert_eq!(bits(&found.parameters), bits(&expected.parameters));
        }
        (LaneEnd::Diverged { step: found }, LaneEnd::Diverged { step: expected }) => assert_eq!(found, expected),
        _ => panic!("{found:?} instead of {expected:?}"),
    }
}

fn tensor(rows: &[Vec<f32>]) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), &device())
}

fn values(tensor: &Tensor<2>) -> Vec<Vec<f32>> {
    let columns = tensor.dims()[1];
    let data = tensor.to_data();
    let values: &[f32] = data.as_slice().expect("f32");
    values.chunks_exact(columns).map(<[f32]>::to_vec).collect()
}

/// The nets of a bundle.
fn nets(bundle: &Bundle) -> Vec<Parameters> {
    values(bundle.parameters()).iter().map(|row| bundle.layout().unflatten(row)).collect()
}
