//! Quantized nets against floating-point ones, and against integer arithmetic.

use burn::tensor::{Tensor, TensorData};
use rand::RngExt as _;
use secateur_proto::spec::{Calibration, ModelSpec, QuantizationSpec, TensorKind};

use super::{device, mlp, zoo};
use crate::{
    net::{Mask, Parameters, flat::FlatLayout, fold::fold_norms, tensors_of},
    quantize::QuantizedNet,
    random,
    train::{
        evaluate::logits_of,
        forward::Net,
        quantization::{quantized, quantized_logits},
    },
};

pub(super) const EIGHT: QuantizationSpec = QuantizationSpec { weight_bits: 8, calibration: Calibration::MinMax };

/// A net in which all numbers matter, including scales, shifts and running statistics.
pub(super) fn trained(model: &ModelSpec, seed: u64) -> Parameters {
    let mut net = Parameters::initial(model, seed);
    let mut generator = random::generator("test net", &[seed]);
    for (tensor, values) in model.tensors().iter().zip(&mut net.tensors) {
        if tensor.kind != TensorKind::Weight {
            values.iter_mut().for_each(|value| *value += generator.random::<f32>() * 0.5);
        }
    }
    net
}

/// Rows of numbers from −1 to 1.
pub(super) fn rows(model: &ModelSpec, count: usize, seed: u64) -> Tensor<2> {
    let width = usize::try_from(model.inputs()).expect("a width");
    let mut generator = random::generator("test rows", &[seed]);
    let values: Vec<f32> = (0..count * width).map(|_| generator.random::<f32>() * 2.0 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, [count, width]), &device())
}

pub(super) fn float(model: &ModelSpec, parameters: &Parameters, rows: &Tensor<2>) -> Vec<f32> {
    logits_of(&Net::of(model), &FlatLayout::of(model), parameters, rows, &device())
}

pub(super) fn answers(model: &ModelSpec, net: &QuantizedNet, rows: &Tensor<2>) -> Vec<f32> {
    quantized_logits(net, &Net::of(model), &FlatLayout::of(model), rows, &device())
}

pub(super) fn furthest(one: &[f32], two: &[f32]) -> f32 {
    assert_eq!(one.len(), two.len());
    one.iter().zip(two).map(|(one, two)| (one - two).abs()).fold(0.0, f32::max)
}

pub(super) fn spread(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::MIN, f32::max) - values.iter().copied().fold(f32::MAX, f32::min)
}

#[test]
fn folding_a_normalisation_changes_no_answer() {
    for model in zoo() {
        for seed in 0..3 {
            let net = trained(&model, seed);
            let folded = fold_norms(&model, &net);
            let rows = rows(&model, 20, seed);
            let before = float(&model, &net, &rows);
            let moved = furthest(&before, &float(&model, &folded, &rows));
            assert!(moved <= 2e-5 * (1.0 + spread(&before)), "{model:?} moved by {moved}");
        }
    }
}

#[test]
fn eight_bits_are_close_and_four_are_further_off() {
    for model in zoo() {
        let (net, rows) = (trained(&model, 1), rows(&model, 200, 1));
        let before = float(&model, &net, &rows);
        let distance = |spec| {
            let net = quantized(&model, &net, spec, &rows, &device());
            furthest(&before, &answers(&model, &net, &rows)) / spread(&before)
        };
        let (eight, four) = (distance(EIGHT), distance(QuantizationSpec { weight_bits: 4, ..EIGHT }));
        assert!(eight < 0.06, "{model:?}: {eight}");
        assert!(eight < four, "{model:?}: {eight} and {four}");
        let weights_alone = distance(QuantizationSpec { calibration: Calibration::None, ..EIGHT });
        assert!(weights_alone < 0.04, "{model:?}: {weights_alone}");
    }
}

/// Computes the same numbers with integer arithmetic, as an integer device does.
#[test]
fn a_perceptron_is_what_arithmetic_with_whole_numbers_makes_of_it() {
    let model = mlp(7, &[9, 5]);
    let (net, rows) = (trained(&model, 3), rows(&model, 50, 3));
    for calibration in Calibration::ALL.iter().copied().filter(|calibration| *calibration != Calibration::None) {
        for weight_bits in QuantizationSpec::WEIGHT_BITS {
            let net = quantized(&model, &net, QuantizationSpec { weight_bits, calibration }, &rows, &device());
            let biases = tensors_of(&model, TensorKind::Bias);
            let mut values: Vec<Vec<f32>> =
                rows.to_data().iter::<f32>().collect::<Vec<f32>>().chunks_exact(7).map(<[f32]>::to_vec).collect();
            for (place, layer) in net.layers().iter().enumerate() {
                let layer = layer.as_ref().expect("all have weights");
                let levels = layer.inputs.expect("levels");
                let bias = &net.parameters.tensors[biases[place].expect("a bias")];
                let is_last = place + 1 == net.layers().len();
                for row in &mut values {
                    let steps: Vec<i32> = row
                        .iter()
                        .map(|value| (value / levels.scale).round_ties_even() as i32 + i32::from(levels.zero_point))
                        .map(|level| level.clamp(0, 255) - i32::from(levels.zero_point))
                        .collect();
                    *row = (layer.weights.steps.chunks_exact(steps.len()).zip(&layer.weights.scales).zip(bias))
                        .map(|((weights, scale), bias)| {
                            let sum: i32 =
                                weights.iter().zip(&steps).map(|(weight, step)| i32::from(*weight) * step).sum();
                            let value = sum as f32 * (scale * levels.scale) + bias;
                            if is_last { value } else { value.max(0.0) }
                        })
                        .collect();
                }
            }
            let found = answers(&model, &net, &rows);
            let expected: Vec<f32> = values.into_iter().flatten().collect();
            // A value halfway between two levels may round to either.
            let near = found.iter().zip(&expected).filter(|(one, two)| (*one - *two).abs() < 1e-4).count();
            assert!(near >= 48, "{calibration}, {weight_bits} bits: {near} of 50 are near");
        }
    }
}

#[test]
fn what_was_removed_stays_removed() {
    for model in zoo() {
        let mut net = trained(&model, 5);
        let mut mask = Mask::full(&model, &model.prunable());
        for (tensor, values) in net.tensors.iter_mut().enumerate() {
            let Some(kept) = &mut mask.kept[tensor] else { continue };
            for (place, (value, kept)) in values.iter_mut().zip(kept).enumerate() {
                if place % 3 != 0 {
                    (*value, *kept) = (0.0, false);
                }
            }
        }
        let net = quantized(&model, &net, EIGHT, &rows(&model, 80, 5), &device());
        assert_eq!(mask.violations(&net.parameters), 0, "{model:?}");
    }
}

#[test]
fn bytes_of_a_net_by_hand() {
    let model = mlp(2, &[3]);
    let mut net = Parameters::initial(&model, 1);
    net.tensors = vec![vec![1.0, 0.0, 0.5, -0.5, 0.0, 0.0], vec![0.1; 3], vec![1.0, 0.0, -1.0], vec![0.2]];
    let of = |weight_bits, calibration| {
        let spec = QuantizationSpec { weight_bits, calibration };
        quantized(&model, &net, spec, &rows(&model, 64, 1), &device()).size_bytes(&model)
    };
    // 5 of 9 weights; 9 bits; 4 scales, 4 biases, and two numbers for the inputs of each of the two layers.
    assert_eq!(of(8, Calibration::MinMax), (5 * 8 + 9_u64).div_ceil(8) + 4 * (4 + 4 + 4));
    assert_eq!(of(4, Calibration::None), (5 * 4 + 9_u64).div_ceil(8) + 4 * (4 + 4));
}

#[test]
fn equal_nets_are_equal_files() {
    let model = mlp(4, &[3]);
    let file = |seed| {
        let net = quantized(&model, &trained(&model, seed), EIGHT, &rows(&model, 64, 1), &device());
        net.to_safetensors(&model).expect("writes")
    };
    assert_eq!(file(1), file(1));
    assert_ne!(file(1), file(2));
    let bytes = file(1);
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("reads");
    let names: std::collections::BTreeSet<&str> = file.names().into_iter().collect();
    let of = |layer: &str| {
        ["weight", "weight_scale", "bias", "input_scale", "input_zero_point"].map(|kind| format!("{layer}.{kind}"))
    };
    let expected: Vec<String> = ["layers.0", "layers.1"].into_iter().flat_map(of).collect();
    assert_eq!(names, expected.iter().map(String::as_str).collect());
}
