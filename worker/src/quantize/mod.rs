//! Quantization of trained nets: weights and inputs of layers become whole numbers of few bits. They are computed with as the floating-point
//! numbers that these stand for, so that every device can, and each trial's metrics are those of its rounded net.
//!
//! The order is that of whatever serves a net: batch normalisations are folded into the layers before them, ranges are calibrated on a
//! sample of train rows, and then weights are rounded. A weight that was removed stays 0.

mod calibration;
mod file;
mod weights;

use secateur_proto::spec::{Layer, LayerKind, ModelSpec, QuantizationSpec, TensorKind};

pub use self::{
    calibration::{Levels, Range, levels},
    weights::QuantizedWeights,
};
use crate::net::{Parameters, tensors_of, weight_tensors};

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
    /// Quantizes a net of `model` whose batch normalisations are [folded](crate::net::fold). `levels` says by layer how its inputs are
    /// rounded.
    #[must_use]
    pub fn of(
        model: &ModelSpec,
        mut parameters: Parameters,
        spec: QuantizationSpec,
        levels: Vec<Option<Levels>>,
    ) -> Self {
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

    /// By layer, how its inputs are rounded; `None` where they are not.
    #[must_use]
    pub fn levels(&self) -> Vec<Option<Levels>> {
        self.layers.iter().map(|layer| layer.as_ref()?.inputs).collect()
    }

    /// Its layers; `None` for one without weights.
    #[must_use]
    pub fn layers(&self) -> &[Option<QuantizedLayer>] {
        &self.layers
    }

    /// Keeps these columns of the first layer, which is linear and has `width` of them.
    pub(crate) fn keep_inputs(&mut self, width: usize, columns: &[u32]) {
        let Some(Some(layer)) = self.layers.first_mut() else { return };
        let rows = layer.weights.steps.chunks_exact(width.max(1));
        let kept = rows.flat_map(|row| columns.iter().map(|column| row[*column as usize])).collect();
        layer.weights.steps = kept;
        self.parameters.tensors[0] = layer.weights.weights();
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
