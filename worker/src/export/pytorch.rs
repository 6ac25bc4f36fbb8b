//! A net for PyTorch: the tensors of its `state_dict` as safetensors, and the code that makes the module they belong to.
//!
//! A net that is a chain is an `nn.Sequential`, whose tensors are called by the places of its modules. Any other net is a class with the
//! lists `layers` and `norms`.

use std::fmt::Write as _;

use safetensors::{Dtype, tensor::TensorView};
use secateur_proto::spec::{Activation, Architecture, Layer, LayerKind, ModelSpec, Step};

use crate::{
    net::Parameters,
    tensors::{InvalidTensors, f32_bytes},
};

/// A net for PyTorch.
#[derive(Debug, Clone)]
pub struct StateDict {
    /// The file.
    pub bytes: Vec<u8>,
    /// Python: a module `net`.
    pub code: String,
    /// Names and shapes of the tensors, in the order of the module.
    pub tensors: Vec<(String, Vec<usize>)>,
}

/// Writes a net. It takes prepared rows, or images, and gives logits.
///
/// # Errors
/// If the parameters are not those of the model.
pub fn write(model: &ModelSpec, parameters: &Parameters) -> Result<StateDict, InvalidTensors> {
    let architecture = model.architecture();
    let is_chain = !architecture.steps.iter().any(|step| matches!(step, Step::Save | Step::AddSaved(_)));
    let mut code = String::from("import torch\nfrom torch import nn\n\n");
    let prefixes = if is_chain { sequential(&architecture, &mut code) } else { class(&architecture, &mut code) };
    let mut buffers = Vec::new();
    for (tensor, values) in model.tensors().iter().zip(&parameters.tensors) {
        let name = format!("{}.{}", prefixes[tensor.layer], tensor.kind.suffix());
        buffers.push((name, tensor.shape.clone(), Dtype::F32, f32_bytes(values)));
    }
    for (layer, prefix) in architecture.layers.iter().zip(&prefixes) {
        if matches!(layer.kind, LayerKind::BatchNorm { .. }) {
            // PyTorch counts the batches that the running statistics have met, and a strict load wants the count.
            buffers.push((format!("{prefix}.num_batches_tracked"), Vec::new(), Dtype::I64, vec![0; 8]));
        }
    }
    let tensors = buffers.iter().map(|(name, shape, ..)| (name.clone(), shape.clone())).collect();
    let views = (buffers.iter())
        .map(|(name, shape, dtype, bytes)| Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(StateDict { bytes: safetensors::serialize(views, None)?, code, tensors })
}

/// A chain, and by layer the prefix of its tensors.
fn sequential(architecture: &Architecture, code: &mut String) -> Vec<String> {
    let mut prefixes = vec![String::new(); architecture.layers.len()];
    code.push_str("net = nn.Sequential(\n");
    let mut place = 0;
    let mut is_image = false;
    for step in &architecture.steps {
        let module = match *step {
            Step::Layer(layer) => {
                prefixes[layer] = place.to_string();
                let layer = &architecture.layers[layer];
                is_image |= matches!(layer.kind, LayerKind::Convolution { .. });
                module(layer, is_image)
            }
            Step::Activation(activation) => module_of(activation).to_owned(),
            Step::MaxPool => "nn.MaxPool2d(2)".to_owned(),
            Step::Flatten => {
                is_image = false;
                "nn.Flatten()".to_owned()
            }
            Step::MeanPool => {
                is_image = false;
                code.push_str("    nn.AdaptiveAvgPool2d(1),\n");
                place += 1;
                "nn.Flatten()".to_owned()
            }
            // In evaluation nothing is dropped, and what was dropped in training is the recipe's.
            Step::Dropout | Step::Save | Step::AddSaved(_) => continue,
        };
        // Writing to a string cannot fail.
        let _ = writeln!(code, "    {module},");
        place += 1;
    }
    code.push_str(")\n");
    prefixes
}

/// Any net, and by layer the prefix of its tensors.
fn class(architecture: &Architecture, code: &mut String) -> Vec<String> {
    let is_norm = |layer: &Layer| matches!(layer.kind, LayerKind::BatchNorm { .. });
    let is_image = architecture.layers.iter().any(|layer| matches!(layer.kind, LayerKind::Convolution { .. }));
    let modules = |norms: bool| {
        let modules = architecture.layers.iter().filter(|layer| is_norm(layer) == norms);
        modules.map(|layer| format!("            {},\n", module(layer, is_image))).collect::<String>()
    };
    code.push_str("class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n");
    let _ = write!(code, "        self.layers = nn.ModuleList([\n{}        ])\n", modules(false));
    if architecture.layers.iter().any(is_norm) {
        let _ = write!(code, "        self.norms = nn.ModuleList([\n{}        ])\n", modules(true));
    }
    code.push_str("\n    def forward(self, x):\n");
    let call = |layer: usize, value: &str| {
        let name = &architecture.layers[layer].name;
        let (list, number) = name.split_once('.').unwrap_or((name, "0"));
        format!("self.{list}[{number}]({value})")
    };
    for step in &architecture.steps {
        let line = match *step {
            Step::Layer(layer) => format!("x = {}", call(layer, "x")),
            Step::Activation(activation) => format!("x = {}(x)", function_of(activation)),
            Step::MaxPool => "x = nn.functional.max_pool2d(x, 2)".to_owned(),
            Step::MeanPool => "x = x.mean(dim=(2, 3))".to_owned(),
            Step::Flatten => "x = x.flatten(1)".to_owned(),
            Step::Save => "saved = x".to_owned(),
            Step::AddSaved(None) => "x = x + saved".to_owned(),
            Step::AddSaved(Some(layer)) => format!("x = x + {}", call(layer, "saved")),
            Step::Dropout => continue,
        };
        let _ = writeln!(code, "        {line}");
    }
    code.push_str("        return x\n\nnet = Net()\n");
    architecture.layers.iter().map(|layer| layer.name.clone()).collect()
}

fn module(layer: &Layer, is_image: bool) -> String {
    let bias = if layer.bias { "" } else { ", bias=False" };
    match layer.kind {
        LayerKind::Linear { inputs, outputs } => format!("nn.Linear({inputs}, {outputs}{bias})"),
        LayerKind::Convolution { inputs, outputs, kernel, stride, padding } => {
            format!("nn.Conv2d({inputs}, {outputs}, {kernel}, stride={stride}, padding={padding}{bias})")
        }
        LayerKind::BatchNorm { features } => format!("nn.BatchNorm{}d({features})", if is_image { 2 } else { 1 }),
    }
}

const fn module_of(activation: Activation) -> &'static str {
    match activation {
        Activation::Relu => "nn.ReLU()",
        Activation::Gelu => "nn.GELU()",
        Activation::Silu => "nn.SiLU()",
        Activation::Tanh => "nn.Tanh()",
    }
}

const fn function_of(activation: Activation) -> &'static str {
    match activation {
        Activation::Relu => "nn.functional.relu",
        Activation::Gelu => "nn.functional.gelu",
        Activation::Silu => "nn.functional.silu",
        Activation::Tanh => "torch.tanh",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mlp(activation: Activation, batch_norm: bool) -> ModelSpec {
        ModelSpec::Mlp { inputs: 3, hidden: vec![4, 2], outputs: 1, activation, batch_norm }
    }

    fn written(model: &ModelSpec) -> StateDict {
        write(model, &Parameters::initial(model, 1)).expect("writes")
    }

    /// The names that PyTorch documents: of `nn.Sequential` the place of the module, of `nn.BatchNorm1d` its buffers too.
    #[test]
    fn names_and_shapes_are_those_of_a_sequential() {
        let shapes = |model: &ModelSpec| {
            let mut tensors = written(model).tensors;
            tensors.sort();
            tensors.into_iter().map(|(name, shape)| format!("{name} {shape:?}")).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(
            shapes(&mlp(Activation::Gelu, false)),
            "0.bias [4]; 0.weight [4, 3]; 2.bias [2]; 2.weight [2, 4]; 4.bias [1]; 4.weight [1, 2]"
        );
        assert_eq!(
            shapes(&mlp(Activation::Relu, true)),
            "0.bias [4]; 0.weight [4, 3]; 1.bias [4]; 1.num_batches_tracked []; 1.running_mean [4]; 1.running_var [4]; \
             1.weight [4]; 3.bias [2]; 3.weight [2, 4]; 4.bias [2]; 4.num_batches_tracked []; 4.running_mean [2]; \
             4.running_var [2]; 4.weight [2]; 6.bias [1]; 6.weight [1, 2]"
        );
        assert_eq!(
            shapes(&ModelSpec::Lenet5 { image: [1, 28, 28], outputs: 10 }),
            "0.bias [20]; 0.weight [20, 1, 5, 5]; 2.bias [50]; 2.weight [50, 20, 5, 5]; 5.bias [500]; \
             5.weight [500, 800]; 7.bias [10]; 7.weight [10, 500]"
        );
    }

    #[test]
    fn the_code_of_each_architecture() {
        let codes = [
            mlp(Activation::Silu, true),
            ModelSpec::Lenet5 { image: [1, 28, 28], outputs: 10 },
            ModelSpec::ResidualMlp { inputs: 3, width: 4, blocks: 1, outputs: 1, activation: Activation::Tanh },
            ModelSpec::ResidualCnn { image: [1, 8, 8], channels: vec![2, 3], blocks: 1, outputs: 10 },
        ]
        .map(|model| written(&model).code);
        insta::assert_snapshot!(codes.join("\n"));
    }
}
