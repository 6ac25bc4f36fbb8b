//! Losses and gradients against central differences of a naive net, and clipping against PyTorch's formula.

use burn::tensor::{Tensor, TensorData, activation::relu};

use super::{dataset, device, lane, mlp, nets, reference::Net, sgd, training, values};
use crate::train::{
    bundle::{Bundle, Gradient},
    data::DeviceData,
    evaluate::logits,
};

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    let model = mlp(5, &[7, 4]);
    let dataset = dataset(1, 5, 60);
    let train = dataset.train.clone();
    let data = DeviceData::load(dataset, &device());
    // Three nets, each with rows of its own, one of them twice.
    let lanes: Vec<_> = (0..3).map(|seed| lane(&model, seed, training(sgd(0.1), 13, 1))).collect();
    let rows: Vec<Vec<i32>> = vec![(0..13).collect(), (20..33).collect(), (0..12).chain([0]).collect()];
    let bundle = Bundle::new(&model, &lanes, &device());
    let Gradient { loss: losses, gradient: gradients, .. } = bundle.gradient(&data, rows.concat().into());
    for (index, (lane, rows)) in lanes.iter().zip(&rows).enumerate() {
        let net = Net::of(&lane.start);
        let loss = f64::from(values(&losses)[index][0]);
        assert!((loss - net.loss(&train, rows)).abs() < 1e-6, "{loss} instead of {}", net.loss(&train, rows));
        let gradient = bundle.layout().unflatten(&values(&gradients)[index]);
        let mut steepest = 0.0_f64;
        for (layer, (weight, bias)) in net.layers.iter().enumerate() {
            assert_eq!(weight.len(), bias.len());
            for (output, row) in weight.iter().enumerate() {
                let inputs = row.len();
                for input in (0..inputs).map(Some).chain([None]) {
                    let expected = net.slope(&train, rows, layer, output, input);
                    let found = f64::from(match input {
                        Some(input) => gradient.tensors[2 * layer][output * inputs + input],
                        None => gradient.tensors[2 * layer + 1][output],
                    });
                    let place = format!("lane {index}, layer {layer}, output {output}, input {input:?}");
                    assert!((found - expected).abs() < 1e-6, "{place}: {found} instead of {expected}");
                    steepest = steepest.max(expected.abs());
                }
            }
        }
        assert!(steepest > 1e-2, "the test has no slope");
    }
}

#[test]
fn logits_are_those_of_the_naive_net_over_many_chunks() {
    let model = mlp(3, &[6, 5]);
    let inputs: Vec<f32> = (0..2500 * 3).map(|index| (index as f32 * 0.7).sin() * 3.0).collect();
    let lanes: Vec<_> = (0..3).map(|seed| lane(&model, seed, training(sgd(0.1), 8, 1))).collect();
    let bundle = Bundle::new(&model, &lanes, &device());
    let rows = Tensor::<2>::from_data(TensorData::new(inputs.clone(), [2500, 3]), &device());
    let found = logits(bundle.net(), bundle.parameters(), bundle.layout(), &rows);
    for (found, lane) in found.iter().zip(&lanes) {
        let net = Net::of(&lane.start);
        assert_eq!(found.len(), 2500);
        for (found, row) in found.iter().zip(inputs.chunks_exact(3)) {
            assert!((f64::from(*found) - net.logit(row)).abs() < 1e-6);
        }
    }
}

#[test]
fn a_long_gradient_is_clipped_to_the_bound_of_its_lane_and_a_short_one_not_touched() {
    let model = mlp(4, &[5]);
    let data = DeviceData::load(dataset(2, 4, 16), &device());
    let bounds = [0.05, 1e6, 0.01];
    let lanes = |clips: bool| -> Vec<_> {
        (bounds.iter())
            .map(|bound| {
                let mut training = training(sgd(1.0), 16, 1);
                training.clip_gradient_norm = clips.then_some(*bound);
                lane(&model, 7, training)
            })
            .collect()
    };
    let rows: Vec<i32> = (0..3).flat_map(|_| 0..16).collect();
    let stepped = |clips| {
        let mut bundle = Bundle::new(&model, &lanes(clips), &device());
        let before = values(bundle.parameters());
        let guard = values(&bundle.step(&data, rows.clone().into()).0);
        (before, guard, values(bundle.parameters()))
    };
    let (before, guard, clipped) = stepped(true);
    let (_, _, free) = stepped(false);
    for (lane, bound) in bounds.iter().enumerate() {
        // With SGD at a rate of one, the change is the gradient.
        let way = |after: &[f32]| -> Vec<f64> {
            before[lane].iter().zip(after).map(|(before, after)| f64::from(*before) - f64::from(*after)).collect()
        };
        let (clipped, free) = (way(&clipped[lane]), way(&free[lane]));
        let norm = |way: &[f64]| way.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!(norm(&free) > 0.1, "the gradient is too short to be clipped");
        // The guard sees the length before clipping.
        assert!((f64::from(guard[lane][1]).sqrt() - norm(&free)).abs() < 1e-5);
        // torch.nn.utils.clip_grad_norm_
        let scale = (bound / (norm(&free) + 1e-6)).min(1.0);
        for (clipped, free) in clipped.iter().zip(&free) {
            assert!((clipped - free * scale).abs() < 1e-6);
        }
    }
    assert_eq!(clipped[1], free[1]);
    assert!(nets(&Bundle::new(&model, &lanes(true), &device())).iter().all(|net| net.fits(&model)));
}

#[test]
fn an_activation_does_not_hide_a_nan() {
    let values = Tensor::<1>::from_data([f32::NAN, -1.0, 2.0, f32::NAN], &device());
    let through = relu(values).into_data();
    let through: &[f32] = through.as_slice().expect("f32");
    assert!(through[0].is_nan() && through[3].is_nan());
    assert_eq!(through[1..3], [0.0, 2.0]);
}
