//! Quantizes trained nets, and evaluates quantized ones with floating-point numbers that equal the integers.

use burn::tensor::{Device, Int, Tensor, TensorData};
use secateur_proto::spec::{Calibration, ModelSpec, QuantizationSpec};

use super::{
    evaluate::observed_logits,
    forward::{Net, Observer, Values},
};
use crate::{
    net::{Parameters, flat::FlatLayout, fold::fold_norms, weight_tensors},
    quantize::{Levels, QuantizedNet, levels},
};

/// The minimum and maximum number of rows for calibration.
const ROWS: [usize; 2] = [64, 2048];

/// The number of values of a layer's inputs that suffices for its range.
const VALUES: usize = 1 << 20;

/// Quantizes a net of `model`, calibrated with some of the rows `[n, width]`.
#[must_use]
pub fn quantized(
    model: &ModelSpec,
    parameters: &Parameters,
    spec: QuantizationSpec,
    rows: &Tensor<2>,
    device: &Device,
) -> QuantizedNet {
    let folded = fold_norms(model, parameters);
    let levels = calibrated(model, &folded, spec.calibration, rows, device);
    QuantizedNet::of(model, folded, spec, levels)
}

/// The logits of every row of `inputs` by a quantized net.
#[must_use]
pub fn quantized_logits(
    quantized: &QuantizedNet,
    net: &Net,
    layout: &FlatLayout,
    inputs: &Tensor<2>,
    device: &Device,
) -> Vec<f32> {
    observed_logits(net, layout, &quantized.parameters, inputs, device, &mut Rounds { levels: quantized.levels() })
}

/// How the inputs of each layer are rounded.
fn calibrated(
    model: &ModelSpec,
    parameters: &Parameters,
    calibration: Calibration,
    rows: &Tensor<2>,
    device: &Device,
) -> Vec<Option<Levels>> {
    let layers = model.layers();
    if calibration == Calibration::None {
        return vec![None; layers.len()];
    }
    let widest = layers.iter().map(|layer| u64::from(layer.inputs()) * layer.positions).max().unwrap_or(1);
    let [fewest, most] = ROWS;
    let count = (VALUES / usize::try_from(widest).unwrap_or(usize::MAX).max(1)).clamp(fewest, most);
    let mut sample = Sample { of_layer: vec![Vec::new(); layers.len()] };
    let (net, layout) = (Net::of(model), FlatLayout::of(model));
    // The logits are not needed, only the inputs of layers.
    let _ = observed_logits(&net, &layout, parameters, &evenly_spaced(rows, count), device, &mut sample);
    let weighted = weight_tensors(model).into_iter().map(|tensor| tensor.is_some());
    let of_layer =
        |(values, is_weighted): (Vec<f32>, bool)| if is_weighted { levels(calibration, values) } else { None };
    sample.of_layer.into_iter().zip(weighted).map(of_layer).collect()
}

/// `count` of the rows, or all of them, evenly spaced from first to last.
fn evenly_spaced(rows: &Tensor<2>, count: usize) -> Tensor<2> {
    let all = rows.dims()[0];
    if all <= count {
        return rows.clone();
    }
    let chosen: Vec<i32> = (0..count).map(|place| i32::try_from(place * all / count).unwrap_or(i32::MAX)).collect();
    let chosen = Tensor::<1, Int>::from_data(TensorData::new(chosen, [count]), &rows.device());
    rows.clone().select(0, chosen)
}

/// Collects the inputs of each layer.
#[derive(Debug)]
struct Sample {
    of_layer: Vec<Vec<f32>>,
}

impl Observer for Sample {
    fn input(&mut self, layer: usize, values: &Values) {
        let values = match values {
            Values::Rows(rows) => rows.to_data(),
            Values::Images(images) => images.to_data(),
        };
        self.of_layer[layer].extend(values.iter::<f32>());
    }
}

/// Rounds the inputs of each layer to its levels.
#[derive(Debug)]
struct Rounds {
    /// By layer; `None` if inputs are not rounded.
    levels: Vec<Option<Levels>>,
}

impl Observer for Rounds {
    fn replace_input(&mut self, layer: usize, values: Values) -> Values {
        match (self.levels[layer], values) {
            (None, values) => values,
            (Some(levels), Values::Rows(rows)) => Values::Rows(rounded(rows, levels)),
            (Some(levels), Values::Images(images)) => Values::Images(rounded(images, levels)),
        }
    }
}

/// As [`Levels::round`].
fn rounded<const D: usize>(values: Tensor<D>, levels: Levels) -> Tensor<D> {
    let zero_point = f32::from(levels.zero_point);
    let level = values.div_scalar(levels.scale).round().add_scalar(zero_point).clamp(0.0, 255.0);
    level.sub_scalar(zero_point).mul_scalar(levels.scale)
}
