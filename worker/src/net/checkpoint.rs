//! Nets and masks as safetensors: `layers.<i>.weight` `[outputs, inputs]` and `layers.<i>.bias` `[outputs]`.

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use secateur_proto::spec::{Layer, ModelSpec};

use super::{LayerParameters, Mask, Parameters, weights_of};
use crate::tensors::{self, InvalidTensors, f32_bytes};

/// Writes a net. Equal nets give equal bytes.
///
/// # Errors
/// If the parameters are not those of `model`.
pub fn write_parameters(model: &ModelSpec, parameters: &Parameters) -> Result<Vec<u8>, InvalidTensors> {
    let layers = model.layers();
    let mut buffers = Vec::new();
    for (layer, values) in layers.iter().zip(&parameters.layers) {
        buffers.push((format!("{}.weight", layer.name), shape(layer), f32_bytes(&values.weight)));
        buffers.push((format!("{}.bias", layer.name), vec![layer.outputs as usize], f32_bytes(&values.bias)));
    }
    let views = (buffers.iter())
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    let architecture = serde_json::to_string(model).expect("a model spec is plain data");
    Ok(safetensors::serialize(views, Some(HashMap::from([("model".to_owned(), architecture)])))?)
}

/// Reads a net of the given architecture.
///
/// # Errors
/// If a tensor is missing, has another shape or type, or holds a number that is not finite.
pub fn read_parameters(model: &ModelSpec, bytes: &[u8]) -> Result<Parameters, InvalidTensors> {
    let file = SafeTensors::deserialize(bytes)?;
    let layers = model.layers().into_iter().map(|layer| {
        Ok(LayerParameters {
            weight: tensors::finite_f32(&file, &format!("{}.weight", layer.name), &shape(&layer))?,
            bias: tensors::finite_f32(&file, &format!("{}.bias", layer.name), &[layer.outputs as usize])?,
        })
    });
    Ok(Parameters { layers: layers.collect::<Result<_, InvalidTensors>>()? })
}

/// Writes a mask: `layers.<i>.weight` as bytes, 1 where a weight is kept.
///
/// # Errors
/// If the mask is not one of `model`.
pub fn write_mask(model: &ModelSpec, mask: &Mask) -> Result<Vec<u8>, InvalidTensors> {
    let layers: Vec<Layer> = model.layers().into_iter().filter(|layer| layer.prunable).collect();
    let buffers: Vec<(String, Vec<usize>, Vec<u8>)> = (layers.iter().zip(&mask.kept))
        .map(|(layer, kept)| {
            (format!("{}.weight", layer.name), shape(layer), kept.iter().map(|kept| u8::from(*kept)).collect())
        })
        .collect();
    let views = (buffers.iter())
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::U8, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize(views, None)?)
}

fn shape(layer: &Layer) -> Vec<usize> {
    debug_assert_eq!(weights_of(layer), layer.outputs as usize * layer.inputs as usize);
    vec![layer.outputs as usize, layer.inputs as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelSpec {
        ModelSpec::Mlp { inputs: 5, hidden: vec![4, 3] }
    }

    #[test]
    fn a_net_survives_its_file() {
        let parameters = Parameters::initial(&model(), 3);
        let bytes = write_parameters(&model(), &parameters).expect("writes");
        assert_eq!(read_parameters(&model(), &bytes).expect("reads"), parameters);
        assert_eq!(write_parameters(&model(), &parameters).expect("writes"), bytes);
    }

    #[test]
    fn a_file_of_another_net_or_with_a_number_that_is_not_finite_is_refused() {
        let mut parameters = Parameters::initial(&model(), 3);
        let bytes = write_parameters(&model(), &parameters).expect("writes");
        let other = ModelSpec::Mlp { inputs: 4, hidden: vec![5, 3] };
        assert!(matches!(read_parameters(&other, &bytes), Err(InvalidTensors::Shape { .. })));
        let deeper = ModelSpec::Mlp { inputs: 5, hidden: vec![4, 3, 2] };
        assert!(read_parameters(&deeper, &bytes).is_err());
        assert!(read_parameters(&model(), &bytes[..bytes.len() - 1]).is_err());
        parameters.layers[1].weight[2] = f32::NAN;
        let bytes = write_parameters(&model(), &parameters).expect("writes");
        assert!(matches!(read_parameters(&model(), &bytes), Err(InvalidTensors::NotFinite { .. })));
    }
}
