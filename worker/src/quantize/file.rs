//! The file of a quantized net: safetensors with `<layer>.weight` in steps (I8, also of 4 bits), `<layer>.weight_scale` by unit or filter
//! (F32), and `<layer>.input_scale` (F32) and `<layer>.input_zero_point` (U8) where inputs are rounded. All other tensors are those of
//! [`checkpoint`](crate::net::checkpoint), with batch normalisations folded.

use std::collections::HashMap;

use safetensors::{Dtype, tensor::TensorView};
use secateur_proto::spec::{ModelSpec, TensorKind};

use super::QuantizedNet;
use crate::tensors::{InvalidTensors, f32_bytes};

impl QuantizedNet {
    /// Writes the net. Equal nets give equal bytes.
    ///
    /// # Errors
    /// If the net is not one of `model`.
    pub fn to_safetensors(&self, model: &ModelSpec) -> Result<Vec<u8>, InvalidTensors> {
        let names: Vec<String> = model.layers().into_iter().map(|layer| layer.name).collect();
        let mut buffers: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for (tensor, values) in model.tensors().into_iter().zip(&self.parameters.tensors) {
            if tensor.kind != TensorKind::Weight {
                buffers.push((tensor.name, Dtype::F32, tensor.shape, f32_bytes(values)));
                continue;
            }
            let (Some(layer), name) = (&self.layers[tensor.layer], &names[tensor.layer]) else { continue };
            let steps = layer.weights.steps.iter().map(|step| step.cast_unsigned()).collect();
            buffers.push((tensor.name, Dtype::I8, tensor.shape, steps));
            let scales = &layer.weights.scales;
            buffers.push((format!("{name}.weight_scale"), Dtype::F32, vec![scales.len()], f32_bytes(scales)));
            if let Some(levels) = layer.inputs {
                buffers.push((format!("{name}.input_scale"), Dtype::F32, vec![1], f32_bytes(&[levels.scale])));
                buffers.push((format!("{name}.input_zero_point"), Dtype::U8, vec![1], vec![levels.zero_point]));
            }
        }
        // One entry: several have no order in a map, and equal nets are to have equal bytes.
        let about = serde_json::json!({"model": model, "quantization": self.spec}).to_string();
        let metadata = HashMap::from([("quantized".to_owned(), about)]);
        let views = (buffers.iter())
            .map(|(name, dtype, shape, bytes)| Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
        Ok(safetensors::serialize(views, Some(metadata))?)
    }
}
