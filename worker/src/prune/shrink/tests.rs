//! Against a naive forward pass in double precision, and the sizes of published nets.

use proptest::prelude::*;

use super::*;
use crate::{net::units::units, random};

/// Logits of one row, from the tensors as files hold them.
fn logits(model: &ModelSpec, net: &Parameters, row: &[f64]) -> Vec<f64> {
    let ModelSpec::Mlp { hidden, activation, batch_norm, .. } = model else { panic!("a perceptron") };
    let mut values = row.to_vec();
    let mut tensors = net.tensors.iter().map(|tensor| tensor.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>());
    let mut next = || tensors.next().expect("a tensor");
    for layer in 0..=hidden.len() {
        let (weight, bias) = (next(), next());
        let width = values.len();
        values = (0..bias.len())
            .map(|unit| bias[unit] + (0..width).map(|input| weight[unit * width + input] * values[input]).sum::<f64>())
            .collect();
        if layer == hidden.len() {
            break;
        }
        if *batch_norm {
            let (scale, shift, mean, variance) = (next(), next(), next(), next());
            for (unit, value) in values.iter_mut().enumerate() {
                *value = (*value - mean[unit]) / (variance[unit] + 1e-5).sqrt() * scale[unit] + shift[unit];
            }
        }
        for value in &mut values {
            *value = match activation {
                Activation::Relu => {
                    if *value > 0.0 {
                        *value
                    } else {
                        0.0
                    }
                }
                Activation::Gelu => *value * (1.0 + libm::erf(*value / 2.0_f64.sqrt())) / 2.0,
                Activation::Silu => *value * (1.0 / (1.0 + (-*value).exp())),
                Activation::Tanh => value.tanh(),
            };
        }
    }
    values
}

fn perceptron(inputs: u32, hidden: &[u32], activation: Activation, batch_norm: bool) -> ModelSpec {
    ModelSpec::Mlp { inputs, hidden: hidden.to_vec(), outputs: 2, activation, batch_norm }
}

/// A net with random running statistics. `share` of all weights, some whole units, and some columns are zero.
fn sparse(model: &ModelSpec, seed: u64, share: f64) -> Parameters {
    let mut net = Parameters::initial(model, seed);
    let mut generator = random::generator("test zeros", &[seed]);
    for (values, tensor) in net.tensors.iter_mut().zip(model.tensors()) {
        if tensor.name.starts_with("norms") {
            values.iter_mut().for_each(|value| *value = generator.random::<f32>() + 0.25);
        }
        if let [outputs, inputs] = tensor.shape[..] {
            let dead_rows: Vec<bool> = (0..outputs).map(|_| generator.random::<f64>() < share / 2.0).collect();
            let dead_columns: Vec<bool> = (0..inputs).map(|_| generator.random::<f64>() < share / 2.0).collect();
            for (place, value) in values.iter_mut().enumerate() {
                let gone = dead_rows[place / inputs] || dead_columns[place % inputs];
                if gone || generator.random::<f64>() < share {
                    *value = 0.0;
                }
            }
        }
    }
    for units in units(model).into_iter().flatten() {
        for unit in (0..units.count).filter(|_| generator.random::<f64>() < share / 4.0).collect::<Vec<_>>() {
            units.places(unit).for_each(|(tensor, place)| net.tensors[tensor][place] = 0.0);
        }
    }
    net
}

fn activation() -> impl Strategy<Value = Activation> {
    prop_oneof![Just(Activation::Relu), Just(Activation::Gelu), Just(Activation::Silu), Just(Activation::Tanh)]
}

proptest! {
    #[test]
    fn the_small_net_computes_what_the_large_one_does_and_shrinks_no_more(
        seed in any::<u64>(),
        hidden in proptest::collection::vec(1..12_u32, 0..4),
        activation in activation(),
        batch_norm in any::<bool>(),
        share in 0.0..1.0_f64,
        row in proptest::collection::vec(-2.0..2.0_f64, 7),
    ) {
        let model = perceptron(7, &hidden, activation, batch_norm);
        let net = sparse(&model, seed, share);
        let small = shrink(&model, &net);
        prop_assert!(small.model.check().is_ok() && small.parameters.fits(&small.model));
        prop_assert!(small.model.parameters() <= model.parameters());
        let taken: Vec<f64> = small.inputs.iter().map(|input| row[*input as usize]).collect();
        let (expected, found) = (logits(&model, &net, &row), logits(&small.model, &small.parameters, &taken));
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert!((found - expected).abs() < 1e-5, "{} instead of {}", found, expected);
        }
        let mut other = row;
        small.unused_inputs.iter().for_each(|input| other[*input as usize] += 1.0);
        prop_assert_eq!(logits(&model, &net, &other).len(), expected.len());
        for (other, expected) in logits(&model, &net, &other).iter().zip(&expected) {
            prop_assert!((other - expected).abs() < 1e-12);
        }
        let again = shrink(&small.model, &small.parameters);
        prop_assert_eq!(&again.model, &small.model);
        prop_assert_eq!(again.parameters, small.parameters);
    }
}

/// A unit of the second layer that nothing reads makes one of the first layer useless, and a constant unit of the first
/// makes one of the second constant.
#[test]
fn one_unit_makes_way_for_another() {
    let model = ModelSpec::mlp(1, vec![3, 3]);
    let tensors = [
        vec![1.0, 0.0, 2.0],
        vec![0.0, 0.5, 0.0],
        // By unit of the second layer: one reads the first unit, one the constant one, one the last.
        vec![1.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 1.0],
        vec![0.0, 1.0, 0.0],
        vec![0.0, 10.0, 1.0],
        vec![0.25],
    ];
    let small = shrink(&model, &Parameters { tensors: tensors.to_vec() });
    assert_eq!(small.model, ModelSpec::mlp(1, vec![1, 1]));
    // relu(4 · ½ + 1) · 10 + ¼.
    let expected = [vec![2.0], vec![0.0], vec![1.0], vec![0.0], vec![1.0], vec![30.25]];
    assert_eq!(small.parameters.tensors, expected);
}

#[test]
fn a_constant_goes_through_normalisation_and_a_scale_of_zero_makes_one() {
    let model = perceptron(1, &[3], Activation::Relu, true);
    let tensors = [
        vec![0.0, 5.0, 1.0],
        vec![3.0, 1.0, 0.0],
        // γ, β, μ, σ².
        vec![2.0, 0.0, 1.0],
        vec![0.5, 0.75, 0.0],
        vec![1.0, 0.0, 0.0],
        vec![4.0 - 1e-5, 1.0, 1.0],
        vec![1.0, 1.0, 1.0, 0.0, 10.0, 1.0],
        vec![0.0, 0.0],
    ];
    let small = shrink(&model, &Parameters { tensors: tensors.to_vec() });
    assert_eq!(small.model, perceptron(1, &[1], Activation::Relu, true));
    // relu(2 · (3 − 1) / 2 + ½) and relu(¾).
    let bias = &small.parameters.tensors[7];
    assert!((bias[0] - 3.25).abs() < 1e-6 && (bias[1] - 7.5).abs() < 1e-6, "{bias:?}");
}

#[test]
fn a_net_of_zeros_keeps_a_unit_of_each_layer_and_an_input() {
    let model = perceptron(4, &[3, 2], Activation::Relu, true);
    let net = Parameters { tensors: model.tensors().iter().map(|tensor| vec![0.0; tensor.numel()]).collect() };
    let small = shrink(&model, &net);
    assert_eq!(small.model, perceptron(1, &[1, 1], Activation::Relu, true));
    assert_eq!((small.inputs, small.unused_inputs), (vec![0], vec![0, 1, 2, 3]));
}

/// Evci et al. 2020, table of sizes of structured LeNet-300-100: 4 bytes for each weight and bias of what is kept.
#[test]
fn kept_units_of_lenet_300_100_take_the_published_bytes() {
    let model = ModelSpec::Mlp {
        inputs: 784,
        hidden: vec![300, 100],
        outputs: 10,
        activation: Activation::Relu,
        batch_norm: false,
    };
    for (kept, bytes) in [([245, 160, 55], 195_100), ([266, 88, 33], 107_092), ([97, 71, 33], 38_696)] {
        let mut net = Parameters::initial(&model, 1);
        for row in net.tensors[0].chunks_exact_mut(784) {
            row[kept[0]..].fill(0.0);
        }
        for (units, kept) in units(&model).into_iter().flatten().zip(&kept[1..]) {
            for (tensor, place) in (*kept..units.count).flat_map(|unit| units.places(unit).collect::<Vec<_>>()) {
                net.tensors[tensor][place] = 0.0;
            }
        }
        let small = shrink(&model, &net);
        assert_eq!(small.inputs.len() + small.unused_inputs.len(), 784);
        let numbers: usize = small.parameters.tensors.iter().map(Vec::len).sum();
        assert_eq!(4 * numbers, bytes);
        assert_eq!(4 * small.model.parameters(), bytes as u64);
    }
}

#[test]
fn a_net_of_fixed_shape_tells_what_it_does_not_read() {
    let image = [2, 16, 16];
    let lenet = ModelSpec::Lenet5 { image, outputs: 2 };
    let residual = ModelSpec::ResidualMlp { inputs: 3, width: 2, blocks: 1, outputs: 1, activation: Activation::Relu };
    let mut net = Parameters::initial(&residual, 1);
    (net.tensors[0][1], net.tensors[0][4]) = (0.0, 0.0);
    let found = shrink(&residual, &net);
    let smaller = ModelSpec::ResidualMlp { inputs: 2, width: 2, blocks: 1, outputs: 1, activation: Activation::Relu };
    assert_eq!(found.model, smaller);
    let weights = &net.tensors[0];
    assert_eq!(found.parameters.tensors[0], [weights[0], weights[2], weights[3], weights[5]]);
    assert_eq!(found.parameters.tensors[1..], net.tensors[1..]);
    assert_eq!((found.inputs, found.unused_inputs), (vec![0, 2], vec![1]));
    let mut net = Parameters::initial(&lenet, 1);
    net.tensors[0].chunks_exact_mut(50).for_each(|filter| filter[25..].fill(0.0));
    let found = shrink(&lenet, &net);
    assert_eq!(found.parameters, net);
    assert_eq!(found.unused_inputs, (256..512).collect::<Vec<_>>());
}
