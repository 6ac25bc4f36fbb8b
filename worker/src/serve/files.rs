//! The files of nets in `models/`.

use safetensors::SafeTensors;
use secateur_proto::spec::ModelSpec;

use crate::{
    net::{Parameters, checkpoint},
    prune::shrink::shrink,
    quantize::QuantizedNet,
    tensors::InvalidTensors,
};

/// A net as its file has it.
#[derive(Debug, Clone)]
pub struct NetFile {
    /// Its architecture.
    pub model: ModelSpec,
    /// Its numbers; of a quantized net what its steps stand for.
    pub parameters: Parameters,
    /// How it is rounded, if it is quantized.
    pub quantized: Option<QuantizedNet>,
}

impl NetFile {
    /// Reads `<trial>.safetensors`, `<trial>.small.safetensors` or `<trial>.quantized.safetensors`.
    ///
    /// # Errors
    /// If the bytes are none of them.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidTensors> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let about = |key: &str| header.metadata().as_ref().and_then(|about| about.get(key)).map(String::as_str);
        if let Some(about) = about("model") {
            let model = serde_json::from_str(about).map_err(|error| {
                InvalidTensors::Inconsistent(format!("the description of the net cannot be read: {error}"))
            })?;
            let model = checked(model)?;
            let parameters = checkpoint::read_parameters(&model, bytes)?;
            return Ok(Self { model, parameters, quantized: None });
        }
        if let Some(about) = about("quantized") {
            let (model, quantization) = QuantizedNet::about(about)?;
            let model = checked(model)?;
            let quantized = QuantizedNet::from_safetensors(&model, quantization, bytes)?;
            return Ok(Self { model, parameters: quantized.parameters.clone(), quantized: Some(quantized) });
        }
        let message = "the file does not say which net it holds; a net of models/ is <trial>.safetensors, \
                       <trial>.small.safetensors or <trial>.quantized.safetensors";
        Err(InvalidTensors::Inconsistent(message.to_owned()))
    }
}

impl NetFile {
    /// The smaller net that computes the same, and the features that it takes, by their places in a prepared row. `inputs` are those that
    /// this net takes. A quantized net loses the inputs that it does not read and nothing else: its units meet the rounding of the layer
    /// behind them.
    #[must_use]
    pub fn compacted(&self, inputs: Option<&[u32]>) -> (Self, Vec<u32>) {
        let all = || (0..).take(usize::try_from(self.model.inputs()).unwrap_or(usize::MAX)).collect();
        let taken: Vec<u32> = inputs.map_or_else(all, <[u32]>::to_vec);
        let places = match &self.quantized {
            None => {
                let compact = shrink(&self.model, &self.parameters);
                let places = compact.inputs;
                let file = Self { model: compact.model, parameters: compact.parameters, quantized: None };
                return (file, places.iter().map(|place| taken[*place as usize]).collect());
            }
            Some(_) => shrink(&self.model, &self.parameters).inputs,
        };
        let mut file = self.clone();
        // Only a first layer of linear units can lose inputs.
        if let ModelSpec::Mlp { inputs, .. } | ModelSpec::ResidualMlp { inputs, .. } = &mut file.model {
            let width = *inputs as usize;
            *inputs = u32::try_from(places.len()).unwrap_or(u32::MAX);
            if let Some(quantized) = &mut file.quantized {
                quantized.keep_inputs(width, &places);
                file.parameters = quantized.parameters.clone();
            }
        }
        (file, places.iter().map(|place| taken[*place as usize]).collect())
    }
}

fn checked(model: ModelSpec) -> Result<ModelSpec, InvalidTensors> {
    match model.check() {
        Ok(()) => Ok(model),
        Err(problem) => Err(InvalidTensors::Inconsistent(format!("the file describes {problem}"))),
    }
}
