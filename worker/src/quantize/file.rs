//! The file of a quantized net: safetensors with `<layer>.weight` in steps (I8, also of 4 bits), `<layer>.weight_scale` by unit or filter
//! (F32), and `<layer>.input_scale` (F32) and `<layer>.input_zero_point` (U8) where inputs are rounded. All other tensors are those of
//! [`checkpoint`](crate::net::checkpoint), with batch normalisations folded.

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use secateur_proto::spec::{ModelSpec, QuantizationSpec, TensorKind};
use serde::Deserialize;

use super::{Levels, QuantizedLayer, QuantizedNet, QuantizedWeights};
use crate::{
    net::Parameters,
    tensors::{self, InvalidTensors, f32_bytes},
};

/// The metadata `quantized`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    model: ModelSpec,
    quantization: QuantizationSpec,
}

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

    /// Which net a file holds, by its metadata `quantized`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn about(text: &str) -> Result<(ModelSpec, QuantizationSpec), InvalidTensors> {
        let about: About = serde_json::from_str(text).map_err(|error| {
            InvalidTensors::Inconsistent(format!("the metadata `quantized` cannot be read: {error}"))
        })?;
        Ok((about.model, about.quantization))
    }

    /// Reads a net of the given architecture.
    ///
    /// # Errors
    /// If a tensor is missing, has another shape or type, or holds a number that cannot be used.
    pub fn from_safetensors(model: &ModelSpec, spec: QuantizationSpec, bytes: &[u8]) -> Result<Self, InvalidTensors> {
        let file = SafeTensors::deserialize(bytes)?;
        let model_layers = model.layers();
        let mut layers: Vec<Option<QuantizedLayer>> = vec![None; model_layers.len()];
        let mut parameters = Parameters { tensors: Vec::new() };
        for tensor in model.tensors() {
            if tensor.kind != TensorKind::Weight {
                parameters.tensors.push(tensors::finite_f32(&file, &tensor.name, &tensor.shape)?);
                continue;
            }
            let name = &model_layers[tensor.layer].name;
            let steps = tensors::i8_list(&file, &tensor.name, &tensor.shape)?;
            let scales = tensors::finite_f32(&file, &format!("{name}.weight_scale"), &[tensor.shape[0]])?;
            let weights = QuantizedWeights { steps, scales };
            let zero_point = tensors::optional_bytes(&file, &format!("{name}.input_zero_point"))?;
            let inputs = match zero_point {
                None => None,
                Some(&[zero_point]) => {
                    let scale = tensors::finite_f32(&file, &format!("{name}.input_scale"), &[1])?[0];
                    Some(Levels { scale, zero_point })
                }
                Some(_) => {
                    return Err(InvalidTensors::Inconsistent(format!("{name}.input_zero_point is not one number")));
                }
            };
            if weights.scales.iter().chain(inputs.iter().map(|levels| &levels.scale)).any(|scale| *scale <= 0.0) {
                return Err(InvalidTensors::Inconsistent(format!("a scale of {name} is not above 0")));
            }
            parameters.tensors.push(weights.weights());
            layers[tensor.layer] = Some(QuantizedLayer { weights, inputs });
        }
        Ok(Self { spec, parameters, layers })
    }
}
