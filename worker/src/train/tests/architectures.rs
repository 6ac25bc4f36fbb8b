//! Every kind of step against a naive net in double precision: logits, losses, gradients, running statistics.

use rand::RngExt as _;
use secateur_proto::spec::{Activation, ModelSpec, TensorKind};

use super::{
    dataset, device, lane,
    naive::{Dropout, Naive},
    nets, sgd, training, values, zoo,
};
use crate::{
    net::Parameters,
    prune::probe::{Loss, Probe as _},
    random,
    train::{
        bundle::{Batch, Bundle, Lane},
        data::DeviceData,
        evaluate::logits,
        probe::NetProbe,
    },
};

const ROWS: usize = 16;

/// Nets of all kinds, some with several classes.
fn models() -> Vec<ModelSpec> {
    let of = |activation| ModelSpec::Mlp { inputs: 6, hidden: vec![7, 5], outputs: 3, activation, batch_norm: false };
    let mut models = zoo();
    models.extend([of(Activation::Gelu), of(Activation::Silu), of(Activation::Tanh)]);
    models.push(ModelSpec::ResidualCnn { image: [1, 6, 5], channels: vec![17, 4], blocks: 2, outputs: 4 });
    models.push(ModelSpec::Lenet5 { image: [2, 17, 16], outputs: 3 });
    models
}

/// A net in which all numbers matter, including scales, shifts and running statistics.
fn net(model: &ModelSpec, seed: u64) -> Parameters {
    let mut net = Parameters::initial(model, seed);
    let mut generator = random::generator("test net", &[seed]);
    for (tensor, values) in model.tensors().iter().zip(&mut net.tensors) {
        if !matches!(tensor.kind, TensorKind::Weight | TensorKind::Bias) {
            values.iter_mut().for_each(|value| *value += generator.random::<f32>() * 0.5);
        }
    }
    net
}

/// Data for the model, with every class among its train rows.
fn data(model: &ModelSpec) -> (Vec<Vec<f32>>, Vec<f32>, DeviceData) {
    let width = usize::try_from(model.inputs()).expect("a width");
    let mut dataset = dataset(1, width, ROWS);
    if model.outputs() > 1 {
        let targets = dataset.train.targets.iter_mut().enumerate();
        targets.for_each(|(row, target)| *target = (row % model.outputs() as usize) as f32);
    }
    let rows = dataset.train.inputs.chunks_exact(width).map(<[f32]>::to_vec).collect();
    (rows, dataset.train.targets.clone(), DeviceData::load(dataset, &device()))
}

/// Some places of every trained tensor.
fn places(model: &ModelSpec) -> Vec<(usize, usize)> {
    let mut generator = random::generator("test places", &[]);
    (model.tensors().iter().enumerate())
        .filter(|(_, tensor)| tensor.kind.is_trained())
        .flat_map(|(index, tensor)| {
            (0..3).map(|_| (index, generator.random_range(0..tensor.numel()))).collect::<Vec<_>>()
        })
        .collect()
}

/// Factors of a dropout of one half, for the bundle and for the naive net.
fn dropout(bundle: &Bundle, lane: u64, rows: usize) -> (Vec<Vec<f32>>, Dropout) {
    let mut generator = random::generator("test dropout", &[lane]);
    let flat: Vec<Vec<f32>> = (bundle.net().dropout_widths().iter())
        .map(|width| (0..rows * width).map(|_| if generator.random::<bool>() { 2.0 } else { 0.0 }).collect())
        .collect();
    let naive = (flat.iter().zip(bundle.net().dropout_widths()))
        .map(|(flat, width)| flat.chunks_exact(*width).map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect())
        .collect();
    (flat, naive)
}

/// Two lanes, each with rows and dropped values of its own.
#[test]
fn a_pass_in_training_is_that_of_the_naive_net() {
    const BATCH: usize = 7;
    for model in models() {
        let (inputs, targets, data) = data(&model);
        let lanes: Vec<Lane> = (0..2)
            .map(|seed| Lane { start: net(&model, seed), ..lane(&model, seed, training(sgd(0.0), 7, 1)) })
            .collect();
        let mut bundle = Bundle::new(&model, &lanes, &device());
        let rows: Vec<i32> = (0..7).chain(9..16).collect();
        let (mut factors, mut naive_factors) = (vec![Vec::new(); bundle.net().dropout_widths().len()], Vec::new());
        for lane in 0..2 {
            let (flat, naive) = dropout(&bundle, lane, BATCH);
            factors.iter_mut().zip(flat).for_each(|(all, flat)| all.extend(flat));
            naive_factors.push(naive);
        }
        let batch = Batch { rows: rows.clone(), dropout: factors };
        let found = bundle.gradient(&data, batch.clone());
        let _ = bundle.step(&data, batch);
        for (index, lane) in lanes.iter().enumerate() {
            let rows = &rows[index * BATCH..(index + 1) * BATCH];
            let inputs: Vec<Vec<f32>> = rows.iter().map(|row| inputs[*row as usize].clone()).collect();
            let targets: Vec<f32> = rows.iter().map(|row| targets[*row as usize]).collect();
            let (naive, factors) = (Naive::of(&model, &lane.start), Some(&naive_factors[index]));
            let expected = naive.loss(&inputs, &targets, factors);
            let loss = f64::from(values(&found.loss)[index][0]);
            assert!((loss - expected).abs() < 1e-5 * expected.abs(), "{model:?}: a loss of {loss}, not {expected}");
            let gradient = bundle.layout().unflatten(&values(&found.gradient)[index]);
            let largest = gradient.tensors.iter().flatten().fold(0.0, |largest: f32, value| largest.max(value.abs()));
            assert!(largest > 1e-3, "{model:?}: the test has no slope");
            for (tensor, place) in places(&model) {
                let expected = naive.slope((tensor, place), &inputs, &targets, factors);
                let found = f64::from(gradient.tensors[tensor][place]);
                let bound = 1e-4 * expected.abs() + 1e-5 * f64::from(largest);
                let name = &model.tensors()[tensor].name;
                assert!((found - expected).abs() < bound, "{model:?}, {name}[{place}]: {found}, not {expected}");
            }
            // A rate of zero changes nothing but the running statistics.
            let after = &nets(&bundle)[index];
            let pass = naive.pass(&inputs, factors);
            let mut measured = 0;
            for ((tensor, before), after) in model.tensors().iter().zip(&lane.start.tensors).zip(&after.tensors) {
                let batch = match (tensor.kind, pass.statistics.get(&tensor.layer)) {
                    (TensorKind::RunningMean, Some((means, _))) => means,
                    (TensorKind::RunningVariance, Some((_, variances))) => variances,
                    _ => {
                        assert_eq!(before, after, "{model:?}, {}", tensor.name);
                        continue;
                    }
                };
                for ((before, batch), after) in before.iter().zip(batch).zip(after) {
                    let expected = 0.9 * f64::from(*before) + 0.1 * batch;
                    assert!((f64::from(*after) - expected).abs() < 1e-5, "{}: {after}, not {expected}", tensor.name);
                }
                measured += 1;
            }
            assert_eq!(measured, 2 * pass.statistics.len());
        }
    }
}

/// Two nets on the same rows: running statistics are used, nothing is dropped.
#[test]
fn a_pass_in_evaluation_is_that_of_the_naive_net() {
    for model in models() {
        let (rows, _, data) = data(&model);
        let lanes: Vec<Lane> = (0..2)
            .map(|seed| Lane { start: net(&model, seed), ..lane(&model, seed, training(sgd(0.0), 7, 1)) })
            .collect();
        let bundle = Bundle::new(&model, &lanes, &device());
        let found = logits(bundle.net(), bundle.parameters(), bundle.layout(), &data.train_inputs);
        for (lane, found) in lanes.iter().zip(&found) {
            let expected = Naive::of(&model, &lane.start).pass(&rows, None).logits.concat();
            assert_eq!(found.len(), expected.len());
            let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            for (found, expected) in found.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-5 * largest, "{model:?}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn a_probe_takes_gradients_in_evaluation_and_double_precision() {
    for model in models() {
        let (inputs, targets, data) = data(&model);
        let (device, net) = (device(), net(&model, 3));
        let rows: Vec<u32> = (0..6).collect();
        let (inputs, targets) = (&inputs[..6], &targets[..6]);
        let found = NetProbe::new(&model, &data, &device).gradient(&net, &rows, Loss::default()).expect("a gradient");
        let naive = Naive::of(&model, &net);
        for (tensor, place) in places(&model) {
            let expected = naive.slope((tensor, place), inputs, targets, None);
            let found = found[tensor][place];
            let name = &model.tensors()[tensor].name;
            assert!((found - expected).abs() < 1e-7, "{model:?}, {name}[{place}]: {found}, not {expected}");
        }
    }
}

/// `torch.nn.BatchNorm1d(2)` on three rows, then on their doubles, PyTorch 2.9.0.
#[test]
fn running_statistics_are_those_of_pytorch() {
    let model =
        ModelSpec::Mlp { inputs: 2, hidden: vec![2], outputs: 1, activation: Activation::Relu, batch_norm: true };
    let mut start = Parameters::initial(&model, 1);
    (start.tensors[0], start.tensors[1]) = (vec![1.0, 0.0, 0.0, 1.0], vec![0.0, 0.0]);
    let mut dataset = dataset(1, 2, 6);
    let rows = [1.0, 2.0, 3.0, -1.0, -2.0, 0.5];
    dataset.train.inputs = rows.into_iter().chain(rows.map(|x| 2.0 * x)).collect();
    let data = DeviceData::load(dataset, &device());
    let lane = Lane { start, ..lane(&model, 1, training(sgd(0.0), 3, 1)) };
    let mut bundle = Bundle::new(&model, &[lane], &device());
    let tensors = model.tensors();
    let mut check = |rows: [i32; 3], means: [f64; 2], variances: [f64; 2]| {
        let _ = bundle.step(&data, rows.to_vec().into());
        let net = nets(&bundle).remove(0);
        for (kind, expected) in [(TensorKind::RunningMean, means), (TensorKind::RunningVariance, variances)] {
            let tensor = tensors.iter().position(|tensor| tensor.kind == kind).expect("a normalisation");
            for (found, expected) in net.tensors[tensor].iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} instead of {expected}");
            }
        }
    };
    check([0, 1, 2], [0.066_666_666_666_666_67, 0.05], [1.533_333_333_333_333_4, 1.125]);
    check([3, 4, 5], [0.193_333_333_333_333_33, 0.145], [3.913_333_333_333_334, 1.9125]);
}
