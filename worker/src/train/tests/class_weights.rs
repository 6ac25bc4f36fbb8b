//! Class weights: a row of weight 2 counts as that row twice.

use secateur_proto::spec::{Activation, ModelSpec};

use super::{adam, dataset, device, lane, sgd, training, values};
use crate::{
    data::Dataset,
    prune::probe::{Loss, Probe as _},
    train::{
        bundle::{Bundle, Lane},
        data::DeviceData,
        probe::NetProbe,
    },
};

const ROWS: usize = 24;

/// Two classes, or more of them in turns.
fn data(classes: u32) -> Dataset {
    let mut dataset = dataset(1, 4, ROWS);
    dataset.classes = classes;
    if classes > 2 {
        let targets = dataset.train.targets.iter_mut().enumerate();
        targets.for_each(|(row, target)| *target = (row * row % classes as usize) as f32);
    }
    dataset
}

fn model(classes: u32, activation: Activation) -> ModelSpec {
    let outputs = if classes == 2 { 1 } else { classes };
    ModelSpec::Mlp { inputs: 4, hidden: vec![5], outputs, activation, batch_norm: false }
}

/// Each row as often as its class says.
fn repeated(targets: &[f32], times: &[u32]) -> Vec<u32> {
    let rows = (0_u32..).zip(targets);
    rows.flat_map(|(row, target)| (0..times[*target as usize]).map(move |_| row)).collect()
}

/// Returns class weights under which rows count `times` times, scaled to mean 1 over the rows.
fn weights(targets: &[f32], times: &[u32]) -> Vec<f64> {
    let scale = ROWS as f64 / repeated(targets, times).len() as f64;
    times.iter().map(|times| f64::from(*times) * scale).collect()
}

fn check(classes: u32, activation: Activation, smoothing: f64) {
    let dataset = data(classes);
    let targets = dataset.train.targets.clone();
    let (model, data) = (model(classes, activation), DeviceData::load(dataset, &device()));
    let all_times: [Vec<u32>; 2] = [0, 1].map(|lane| (0..classes).map(|class| 1 + (class + lane) % 3).collect());
    let lane = |class_weights: Vec<f64>| {
        let mut training = training(sgd(0.1), ROWS as u32, 1);
        (training.class_weights, training.label_smoothing) = (class_weights, smoothing);
        lane(&model, 3, training)
    };
    let lanes: Vec<Lane> = all_times.iter().map(|times| lane(weights(&targets, times))).collect();
    let every = |_: &Lane| 0..ROWS as i32;
    let weighted =
        Bundle::new(&model, &lanes, &device()).gradient(&data, lanes.iter().flat_map(every).collect::<Vec<_>>().into());
    let plain = Bundle::new(&model, &[lane(Vec::new())], &device());
    let unweighted = values(&plain.gradient(&data, (0..ROWS as i32).collect::<Vec<_>>().into()).gradient);
    for (index, times) in all_times.iter().enumerate() {
        let rows: Vec<i32> = repeated(&targets, times).into_iter().map(|row| row as i32).collect();
        let expected = plain.gradient(&data, rows.into());
        let (found, wanted) = (values(&weighted.loss)[index][0], values(&expected.loss)[0][0]);
        assert!((found - wanted).abs() < 1e-5, "{classes} classes: a loss of {found} instead of {wanted}");
        let (found, wanted) = (&values(&weighted.gradient)[index], &values(&expected.gradient)[0]);
        let distance = |one: &[f32], two: &[f32]| one.iter().zip(two).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(distance(found, wanted) < 1e-6, "{classes} classes: {found:?} instead of {wanted:?}");
        assert!(distance(found, &unweighted[0]) > 1e-3, "weights change nothing here");
    }
}

/// On the processor a chain of linear layers and ReLUs takes a way of its own; SiLU takes the general one.
#[test]
fn a_row_of_weight_two_counts_as_two_rows() {
    for activation in [Activation::Relu, Activation::Silu] {
        for classes in [2, 5] {
            check(classes, activation, 0.0);
            check(classes, activation, 0.2);
        }
    }
}

/// A whole training: Adam, which sees sizes of gradients over time, ends at the same net.
#[test]
fn a_training_with_weights_is_that_of_a_table_with_repeated_rows() {
    let dataset = data(2);
    let targets = dataset.train.targets.clone();
    let model = model(2, Activation::Relu);
    let data = DeviceData::load(dataset, &device());
    let times = [1, 3];
    let rows: Vec<i32> = repeated(&targets, &times).into_iter().map(|row| row as i32).collect();
    let trained = |class_weights: Vec<f64>, rows: &[i32]| {
        let mut training = training(adam(1e-2), ROWS as u32, 1);
        training.class_weights = class_weights;
        let mut bundle = Bundle::new(&model, &[lane(&model, 3, training)], &device());
        for _ in 0..20 {
            let _ = bundle.step(&data, rows.to_vec().into());
        }
        values(bundle.parameters()).concat()
    };
    let weighted = trained(weights(&targets, &times), &(0..ROWS as i32).collect::<Vec<_>>());
    for (found, expected) in weighted.iter().zip(trained(Vec::new(), &rows)) {
        assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
    }
}

/// What criteria measure: mean gradients, products with the Hessian, and squares of the gradients of single rows.
#[test]
fn criteria_see_the_weighted_loss() {
    for classes in [2, 5] {
        let dataset = data(classes);
        let targets = dataset.train.targets.clone();
        let (model, device) = (model(classes, Activation::Relu), device());
        let data = DeviceData::load(dataset, &device);
        let net = lane(&model, 3, training(sgd(0.1), 8, 1)).start;
        let times: Vec<u32> = (0..classes).map(|class| 1 + class % 3).collect();
        let class_weights = weights(&targets, &times);
        let (every, repeated) = ((0..ROWS as u32).collect::<Vec<_>>(), repeated(&targets, &times));
        let measured = |weights: &[f64], rows: &[u32]| {
            let mut probe = NetProbe::new(&model, &data, &device).weighted(weights);
            let gradient = probe.gradient(&net, rows, Loss::default()).expect("a gradient");
            let product = probe.hessian_vector(&net, rows, &gradient, Loss::default()).expect("a product").concat();
            let mut squares = vec![0.0; product.len()];
            let mut add = |gradient: &[Vec<f64>]| {
                let gradient = gradient.concat();
                squares.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value * value / rows.len() as f64);
            };
            probe.sample_gradients(&net, rows, &mut add).expect("gradients");
            [gradient.concat(), squares, product]
        };
        let (found, expected) = (measured(&class_weights, &every), measured(&[], &repeated));
        for ((found, expected), tolerance) in found.into_iter().zip(expected).zip([1e-12, 1e-12, 1e-6]) {
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < tolerance, "{found} instead of {expected}");
            }
        }
    }
}
