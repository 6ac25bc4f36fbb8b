//! How many bytes a net takes in several formats. Counted, not measured: a function of the net alone.

use secateur_proto::{
    metrics::{Metric, Metrics, Split},
    spec::{LayerKind, TensorKind},
};
use serde::Serialize;

use crate::{
    net::{tensors_of, weight_tensors},
    serve::NetFile,
};

/// Bytes by format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The ONNX file with the preparation inside.
    pub onnx_file: u64,
    /// Every number in 4 bytes.
    pub dense: u64,
    /// Weights as compressed sparse rows.
    pub csr: u64,
    /// Weights that are not 0, and a bit for each weight.
    pub bitmask: u64,
    /// Weights in 1 byte each.
    pub int8: u64,
    /// Weights that are not 0 in 1 byte each, and a bit for each weight.
    pub int8_bitmask: u64,
}

impl Sizes {
    /// The sizes of a net whose ONNX file has so many bytes.
    #[must_use]
    pub fn of(file: &NetFile, onnx_file: u64) -> Self {
        let numbers: u64 = file.parameters.tensors.iter().map(|tensor| tensor.len() as u64).sum();
        let quantized = file.quantized.as_ref().map(crate::quantize::QuantizedNet::layers);
        let biases = tensors_of(&file.model, TensorKind::Bias);
        let (mut weights, mut nonzero, mut begins, mut columns) = (0, 0, 0, 0);
        // Numbers of 4 bytes of a quantized net: scales, what is added, and levels of inputs.
        let mut beside = 0;
        let layers = file.model.layers();
        for (index, (layer, tensor)) in layers.iter().zip(weight_tensors(&file.model)).enumerate() {
            let units = u64::from(layer.outputs());
            let is_norm = matches!(layer.kind, LayerKind::BatchNorm { .. });
            beside += units * u64::from(biases[index].is_some() || is_norm);
            let Some(tensor) = tensor else { continue };
            let values = &file.parameters.tensors[tensor];
            let kept = values.iter().filter(|weight| **weight != 0.0).count() as u64;
            weights += values.len() as u64;
            nonzero += kept;
            begins += units + 1;
            columns += kept * if layer.fan_in() > 1 << 16 { 4 } else { 2 };
            let levels = quantized.is_none_or(|layers| layers[index].as_ref().is_some_and(|one| one.inputs.is_some()));
            beside += units + 2 * u64::from(levels);
        }
        let (others, bits) = (4 * (numbers - weights), weights.div_ceil(8));
        Self {
            onnx_file,
            dense: 4 * numbers,
            csr: 4 * nonzero + columns + 4 * begins + others,
            bitmask: 4 * nonzero + bits + others,
            int8: weights + 4 * beside,
            int8_bitmask: nonzero + bits + 4 * beside,
        }
    }

    /// The metrics of these sizes.
    #[expect(clippy::cast_precision_loss, reason = "sizes")]
    pub(super) fn metrics(&self) -> Metrics {
        let Self { onnx_file, dense, csr, bitmask, int8, int8_bitmask } = *self;
        let sizes = [
            (Metric::FileBytes, onnx_file),
            (Metric::DenseBytes, dense),
            (Metric::CsrBytes, csr),
            (Metric::BitmaskBytes, bitmask),
            (Metric::Int8Bytes, int8),
            (Metric::Int8BitmaskBytes, int8_bitmask),
        ];
        let sizes = sizes.map(|(metric, bytes)| (metric.on(Split::Validation), (bytes as f64).into()));
        sizes.into_iter().collect()
    }
}
