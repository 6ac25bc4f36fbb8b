//! Quantization of trained nets: weights and inputs of layers become whole numbers of few bits. They are computed with as the floating-point
//! numbers that these stand for, so that every device can, and each trial's metrics are those of its rounded net.
//!
//! The order is that of whatever serves a net: batch normalisations are folded into the layers before them, ranges are calibrated on a
//! sample of train rows, and then weights are rounded. A weight that was removed stays 0.

mod calibration;
mod file;
mod observer;
mod weights;

use burn::tensor::{Device, Int, Tensor, TensorData};
use secateur_proto::spec::{Calibration, Layer, LayerKind, ModelSpec, QuantizationSpec, TensorKind};

use self::observer::{Rounds, Sample};
pub use self::{
    calibration::{Levels, Range},
    weights::QuantizedWeights,
};
use crate::{
    net::{Parameters, flat::FlatLayout, fold::fold_norms, tensors_of, weight_tensors},
    train::{evaluate::observed_logits, forward::Net},
};

/// The fewest and the most rows to calibrate with.
const ROWS: [usize; 2] = [64, 2048];

/// Values of a layer's inputs that are enough for its range.
const VALUES: usize = 1 << 20;

/// A quantized net.
#[derive(Debug, Clone)]
pub struct QuantizedNet {
    spec: QuantizationSpec,
    /// What the whole numbers stand for, tensor by tensor. Batch normalisations are folded.
    pub parameters: Parameters,
    /// By layer; `None` for one without weights.
    layers: Vec<Option<QuantizedLayer>>,
}

/// A layer with weights.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedLayer {
    /// Its weights.
    pub weights: QuantizedWeights,
    /// How its inputs are rounded; `None` where they are not.
    pub inputs: Option<Levels>,
}

impl QuantizedNet {
    /// Quantizes a net of `model`, calibrated with some of the rows `[n, width]`.
    #[must_use]
    pub fn of(
        model: &ModelSpec,
        parameters: &Parameters,
        spec: QuantizationSpec,
        rows: &Tensor<2>,
        device: &Device,
    ) -> Self {
        let mut parameters = fold_norms(model, parameters);
        let levels = levels(model, &parameters, spec.calibration, rows, device);
        let layers: Vec<Option<QuantizedLayer>> = (model.layers().iter().zip(weight_tensors(model)).zip(levels))
            .map(|((layer, tensor), inputs)| {
                let tensor = &mut parameters.tensors[tensor?];
                let weights = QuantizedWeights::of(tensor, layer.outputs() as usize, spec.greatest_weight());
                *tensor = weights.weights();
                Some(QuantizedLayer { weights, inputs })
            })
            .collect();
        Self { spec, parameters, layers }
    }

    /// The logits of every row of `inputs`.
    #[must_use]
    pub fn logits(&self, net: &Net, layout: &FlatLayout, inputs: &Tensor<2>, device: &Device) -> Vec<f32> {
        let levels = self.layers.iter().map(|layer| layer.as_ref()?.inputs).collect();
        observed_logits(net, layout, &self.parameters, inputs, device, &mut Rounds { levels })
    }

    /// Bytes of the net in its file without the names: for each weight that is not 0 its bits, for each weight one bit that says which
    /// ones these are, and 4 bytes for each scale, for each number that is added, and for the levels of a layer's inputs.
    #[must_use]
    pub fn size_bytes(&self, model: &ModelSpec) -> u64 {
        let biases = tensors_of(model, TensorKind::Bias);
        let (mut weights, mut nonzero, mut others) = (0_u64, 0_u64, 0_u64);
        for ((layer, quantized), bias) in model.layers().iter().zip(&self.layers).zip(biases) {
            others += u64::from(layer.outputs()) * u64::from(bias.is_some() || is_norm(layer));
            if let Some(quantized) = quantized {
                weights += quantized.weights.steps.len() as u64;
                nonzero += quantized.weights.nonzero();
                others += quantized.weights.scales.len() as u64 + 2 * u64::from(quantized.inputs.is_some());
            }
        }
        (nonzero * u64::from(self.spec.weight_bits) + weights).div_ceil(8) + 4 * others
    }
}

const fn is_norm(layer: &Layer) -> bool {
    matches!(layer.kind, LayerKind::BatchNorm { .. })
}

/// By layer, how its inputs are rounded.
fn levels(
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
    // What the net answers is of no interest, only what goes into its layers.
    let _ = observed_logits(&net, &layout, parameters, &evenly_spaced(rows, count), device, &mut sample);
    let weighted = weight_tensors(model).into_iter().map(|tensor| tensor.is_some());
    let of_layer = |(values, is_weighted): (Vec<f32>, bool)| {
        if is_weighted { calibration::levels(calibration, values) } else { None }
    };
    sample.of_layer.into_iter().zip(weighted).map(of_layer).collect()
}

/// So many of the rows, or all of them, from the first to the last.
fn evenly_spaced(rows: &Tensor<2>, count: usize) -> Tensor<2> {
    let all = rows.dims()[0];
    if all <= count {
        return rows.clone();
    }
    let chosen: Vec<i32> = (0..count).map(|place| i32::try_from(place * all / count).unwrap_or(i32::MAX)).collect();
    let chosen = Tensor::<1, Int>::from_data(TensorData::new(chosen, [count]), &rows.device());
    rows.clone().select(0, chosen)
}

#[cfg(test)]
mod tests;
