//! Nets and masks as safetensors: each tensor under its name and in its shape, `layers.0.weight` `[outputs, inputs]` and so on.

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use secateur_proto::spec::ModelSpec;

use super::{Mask, Parameters};
use crate::{
    import::MASK,
    tensors::{self, InvalidTensors, f32_bytes},
};

/// Writes a net. Equal nets give equal bytes.
///
/// # Errors
/// If the parameters are not those of `model`.
pub fn write_parameters(model: &ModelSpec, parameters: &Parameters) -> Result<Vec<u8>, InvalidTensors> {
    let buffers: Vec<(String, Vec<usize>, Vec<u8>)> = (model.tensors().into_iter().zip(&parameters.tensors))
        .map(|(tensor, values)| (tensor.name, tensor.shape, f32_bytes(values)))
        .collect();
    let architecture = serde_json::to_string(model).expect("a model spec is plain data");
    serialize(&buffers, Dtype::F32, Some(HashMap::from([("model".to_owned(), architecture)])))
}

/// Reads a net of the given architecture.
///
/// # Errors
/// If a tensor is missing, has another shape or type, or holds a number that is not finite.
pub fn read_parameters(model: &ModelSpec, bytes: &[u8]) -> Result<Parameters, InvalidTensors> {
    let file = SafeTensors::deserialize(bytes)?;
    let specs = model.tensors();
    let tensors = specs.iter().map(|tensor| tensors::finite_f32(&file, &tensor.name, &tensor.shape));
    Ok(Parameters { tensors: tensors.collect::<Result<_, InvalidTensors>>()? })
}

/// Writes a mask: every tensor that something can be taken from, as bytes, 1 where a number is kept.
///
/// # Errors
/// If the mask is not one of `model`.
pub fn write_mask(model: &ModelSpec, mask: &Mask) -> Result<Vec<u8>, InvalidTensors> {
    let buffers: Vec<(String, Vec<usize>, Vec<u8>)> = (model.tensors().into_iter().zip(&mask.kept))
        .filter_map(|(tensor, kept)| {
            let bytes = kept.as_ref()?.iter().map(|kept| u8::from(*kept)).collect();
            Some((tensor.name, tensor.shape, bytes))
        })
        .collect();
    serialize(&buffers, Dtype::U8, None)
}

/// Reads a mask of the given architecture. A tensor that is not in the file is kept whole.
///
/// # Errors
/// If a tensor is not one of the net, has another shape or type, or holds anything but 0 and 1.
pub fn read_mask(model: &ModelSpec, bytes: &[u8]) -> Result<Mask, InvalidTensors> {
    mask_of(model, SafeTensors::deserialize(bytes)?.tensors())
}

fn mask_of(model: &ModelSpec, tensors: Vec<(String, TensorView<'_>)>) -> Result<Mask, InvalidTensors> {
    let specs = model.tensors();
    let mut mask = Mask::none(specs.len());
    for (name, view) in tensors {
        let unknown =
            || InvalidTensors::Inconsistent(format!("the mask has a tensor {name:?} that the net does not have"));
        let index = specs.iter().position(|tensor| tensor.name == name).ok_or_else(unknown)?;
        let fits =
            view.dtype() == Dtype::U8 && view.shape() == specs[index].shape && view.data().iter().all(|kept| *kept < 2);
        if !fits {
            return Err(InvalidTensors::Inconsistent(format!(
                "the mask's {name:?} is not one of the net's, of 0 and 1"
            )));
        }
        mask.kept[index] = Some(view.data().iter().map(|kept| *kept == 1).collect());
    }
    Ok(mask)
}

/// Reads the masks that stand beside the parameters of a net that was trained elsewhere. `None` if there are none.
///
/// # Errors
/// As [`read_mask`].
pub fn read_given_mask(model: &ModelSpec, bytes: &[u8]) -> Result<Option<Mask>, InvalidTensors> {
    let file = SafeTensors::deserialize(bytes)?;
    let masks = file.tensors().into_iter().filter_map(|(name, view)| Some((name.strip_suffix(MASK)?.to_owned(), view)));
    let masks: Vec<_> = masks.collect();
    if masks.is_empty() { Ok(None) } else { mask_of(model, masks).map(Some) }
}

fn serialize(
    buffers: &[(String, Vec<usize>, Vec<u8>)],
    dtype: Dtype,
    metadata: Option<HashMap<String, String>>,
) -> Result<Vec<u8>, InvalidTensors> {
    let views = (buffers.iter())
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(dtype, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize(views, metadata)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelSpec {
        ModelSpec::mlp(5, vec![4, 3])
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
        assert!(matches!(read_parameters(&ModelSpec::mlp(4, vec![5, 3]), &bytes), Err(InvalidTensors::Shape { .. })));
        assert!(read_parameters(&ModelSpec::mlp(5, vec![4, 3, 2]), &bytes).is_err());
        assert!(read_parameters(&model(), &bytes[..bytes.len() - 1]).is_err());
        parameters.tensors[2][2] = f32::NAN;
        let bytes = write_parameters(&model(), &parameters).expect("writes");
        assert!(matches!(read_parameters(&model(), &bytes), Err(InvalidTensors::NotFinite { .. })));
    }

    #[test]
    fn a_mask_survives_its_file_and_that_of_another_net_is_refused() {
        let mut mask = Mask::full(&model(), &model().prunable());
        mask.remove(0, 7, 20);
        mask.remove(1, 2, 4);
        let bytes = write_mask(&model(), &mask).expect("writes");
        assert_eq!(read_mask(&model(), &bytes).expect("reads"), mask);
        assert!(read_mask(&ModelSpec::mlp(4, vec![5, 3]), &bytes).is_err());
        assert!(read_mask(&ModelSpec::mlp(5, vec![]), &bytes).is_err());
    }
}
