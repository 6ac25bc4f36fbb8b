//! Smoothed labels: loss and gradient against the cross-entropy of soft labels, in double precision and without Burn.

use secateur_proto::spec::{Activation, ModelSpec};

use super::{dataset, device, lane, reference::Net, sgd, training, values};
use crate::{
    data::Part,
    train::{bundle::Bundle, data::DeviceData},
};

/// The probability of each class. One logit is that of the second of two classes.
fn probabilities(logits: &[f64]) -> Vec<f64> {
    let logits = if let [logit] = logits { vec![0.0, *logit] } else { logits.to_vec() };
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit.exp() / sum).collect()
}

/// The cross-entropy of labels of which `share` is spread evenly, averaged over all rows of the part.
fn loss(net: &Net, part: &Part, share: f64) -> f64 {
    let width = part.inputs.len() / part.targets.len();
    let losses = part.inputs.chunks_exact(width).zip(&part.targets).map(|(row, target)| {
        let probabilities = probabilities(&net.logits(row));
        let count = probabilities.len() as f64;
        let label = |class: usize| if class as f32 == *target { 1.0 - share + share / count } else { share / count };
        probabilities.iter().enumerate().map(|(class, probability)| -label(class) * probability.ln()).sum::<f64>()
    });
    losses.sum::<f64>() / part.targets.len() as f64
}

/// The central difference of the loss by one weight.
fn slope(net: &Net, part: &Part, share: f64, [layer, output, input]: [usize; 3]) -> f64 {
    const STEP: f64 = 1e-6;
    let at = |change: f64| {
        let mut net = net.clone();
        net.layers[layer].0[output][input] += change;
        loss(&net, part, share)
    };
    (at(STEP) - at(-STEP)) / (2.0 * STEP)
}

fn check(classes: u32) {
    let outputs = if classes == 2 { 1 } else { classes };
    let model = ModelSpec::Mlp { inputs: 4, hidden: vec![5], outputs, activation: Activation::Relu, batch_norm: false };
    let mut dataset = dataset(1, 4, 24);
    dataset.classes = classes;
    if classes > 2 {
        let targets = dataset.train.targets.iter_mut().enumerate();
        targets.for_each(|(row, target)| *target = (row % classes as usize) as f32);
    }
    let part = dataset.train.clone();
    let data = DeviceData::load(dataset, &device());
    let shares = [0.1, 0.4];
    let lanes = shares.map(|share| {
        let mut training = training(sgd(0.1), 24, 1);
        training.label_smoothing = share;
        let mut lane = lane(&model, 3, training);
        // A net with confident predictions, so that labels matter.
        lane.start.tensors.iter_mut().flatten().for_each(|weight| *weight *= 3.0);
        lane
    });
    let bundle = Bundle::new(&model, &lanes, &device());
    let rows: Vec<i32> = (0..24).chain(0..24).collect();
    let found = bundle.gradient(&data, rows.into());
    for (index, (lane, share)) in lanes.iter().zip(shares).enumerate() {
        let net = Net::of(&lane.start);
        let (found_loss, expected) = (f64::from(values(&found.loss)[index][0]), loss(&net, &part, share));
        assert!((found_loss - expected).abs() < 1e-5, "{classes} classes: {found_loss} instead of {expected}");
        assert!((expected - loss(&net, &part, 0.0)).abs() > 1e-3, "smoothing changes nothing here");
        let gradient = bundle.layout().unflatten(&values(&found.gradient)[index]);
        for (layer, (weight, _)) in net.layers.iter().enumerate() {
            for (output, row) in weight.iter().enumerate() {
                for input in 0..row.len() {
                    let found = f64::from(gradient.tensors[2 * layer][output * row.len() + input]);
                    let expected = slope(&net, &part, share, [layer, output, input]);
                    assert!((found - expected).abs() < 1e-5, "{classes} classes: {found} instead of {expected}");
                }
            }
        }
    }
}

#[test]
fn smoothed_labels_of_two_classes_are_soft_labels() {
    check(2);
}

#[test]
fn smoothed_labels_of_several_classes_are_soft_labels() {
    check(5);
}
