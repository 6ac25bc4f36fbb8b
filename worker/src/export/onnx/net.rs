//! A net, step by step, in operators of ONNX.

use secateur_proto::spec::{Activation, LayerKind, Step, TensorKind};

use super::graph::{Attribute, Graph, Name};
use crate::{
    net::{NORM_EPSILON, tensors_of},
    onnx::Element,
    quantize::{Levels, QuantizedLayer, QuantizedNet},
    serve::NetFile,
};

/// What stands for 0 among weights without a sign.
const ZERO: u8 = 128;

/// The logits `[rows, outputs]` of prepared rows `[rows, width]`, or of images.
pub(super) fn logits(graph: &mut Graph, file: &NetFile, mut value: Name) -> Name {
    let net = Net::of(file);
    let mut saved = Vec::new();
    for step in &file.model.architecture().steps {
        value = match *step {
            Step::Layer(layer) => net.layer(graph, layer, &value),
            Step::Activation(activation) => activated(graph, activation, &value),
            Step::Dropout => value,
            Step::MaxPool => {
                let two = || Attribute::Ints(vec![2, 2]);
                graph.apply_with("MaxPool", &[&value], vec![("kernel_shape", two()), ("strides", two())])
            }
            Step::MeanPool => {
                let means = graph.apply("GlobalAveragePool", [&value]);
                flat(graph, &means)
            }
            Step::Flatten => flat(graph, &value),
            Step::Save => {
                saved.push(value.clone());
                value
            }
            Step::AddSaved(projection) => match (saved.pop(), projection) {
                (None, _) => value,
                (Some(other), None) => graph.apply("Add", [&value, &other]),
                (Some(other), Some(layer)) => {
                    let other = net.layer(graph, layer, &other);
                    graph.apply("Add", [&value, &other])
                }
            },
        };
    }
    value
}

/// Images as rows.
pub(super) fn flat(graph: &mut Graph, value: &Name) -> Name {
    graph.apply_with("Flatten", &[value], vec![("axis", Attribute::Int(1))])
}

/// The places of a net's tensors.
struct Net<'a> {
    file: &'a NetFile,
    layers: Vec<secateur_proto::spec::Layer>,
    quantized: Option<&'a [Option<QuantizedLayer>]>,
}

impl<'a> Net<'a> {
    fn of(file: &'a NetFile) -> Self {
        let quantized = file.quantized.as_ref().map(QuantizedNet::layers);
        Self { file, layers: file.model.layers(), quantized }
    }

    /// A tensor of a layer as a constant of the graph.
    fn tensor(&self, graph: &mut Graph, layer: usize, kind: TensorKind) -> Option<Name> {
        let at = tensors_of(&self.file.model, kind)[layer]?;
        let spec = &self.file.model.tensors()[at];
        Some(graph.floats(&spec.name, &spec.shape, &self.file.parameters.tensors[at]))
    }

    fn layer(&self, graph: &mut Graph, index: usize, value: &Name) -> Name {
        if let LayerKind::BatchNorm { .. } = self.layers[index].kind {
            return self.norm(graph, index, value);
        }
        let quantized = self.quantized.and_then(|layers| layers[index].as_ref());
        let value = match quantized.and_then(|layer| layer.inputs) {
            Some(levels) => rounded(graph, value, levels),
            None => value.clone(),
        };
        let weight = match quantized {
            Some(layer) => Some(self.steps(graph, index, layer)),
            None => self.tensor(graph, index, TensorKind::Weight),
        };
        let mut bias = self.tensor(graph, index, TensorKind::Bias);
        let is_convolution = matches!(self.layers[index].kind, LayerKind::Convolution { .. });
        // Engines round the bias of a quantized convolution to whole numbers. What is added behind it stays as it is.
        let added = if is_convolution && quantized.is_some() { bias.take() } else { None };
        let inputs: Vec<&Name> = [Some(&value), weight.as_ref(), bias.as_ref()].into_iter().flatten().collect();
        let sums = match self.layers[index].kind {
            LayerKind::Convolution { kernel, stride, padding, .. } => {
                let sides = |size: u32, count| Attribute::Ints(vec![size.into(); count]);
                let attributes = vec![
                    ("kernel_shape", sides(kernel, 2)),
                    ("strides", sides(stride, 2)),
                    ("pads", sides(padding, 4)),
                ];
                graph.apply_with("Conv", &inputs, attributes)
            }
            _ => graph.apply_with("Gemm", &inputs, vec![("transB", Attribute::Int(1))]),
        };
        let Some(added) = added else { return sums };
        let shape = graph.integers(&[4], &[1, -1, 1, 1]);
        let added = graph.apply("Reshape", [&added, &shape]);
        graph.apply("Add", [&sums, &added])
    }

    fn norm(&self, graph: &mut Graph, layer: usize, value: &Name) -> Name {
        let kinds = [TensorKind::Scale, TensorKind::Shift, TensorKind::RunningMean, TensorKind::RunningVariance];
        let tensors: Vec<Name> = kinds.into_iter().filter_map(|kind| self.tensor(graph, layer, kind)).collect();
        let inputs: Vec<&Name> = std::iter::once(value).chain(&tensors).collect();
        #[expect(clippy::cast_possible_truncation, reason = "1e-5")]
        let epsilon = Attribute::Float(NORM_EPSILON as f32);
        graph.apply_with("BatchNormalization", &inputs, vec![("epsilon", epsilon)])
    }

    /// The weights of a quantized layer: 8 bits in the file, and numbers again where they are used. They are written without a sign, 128 for
    /// 0: where a processor has no instructions for sums of such products (VNNI), onnxruntime cuts sums of signed weights off.
    fn steps(&self, graph: &mut Graph, index: usize, layer: &QuantizedLayer) -> Name {
        let name = &self.layers[index].name;
        let tensors = self.file.model.tensors();
        let shape = tensors.iter().find(|tensor| tensor.layer == index && tensor.kind == TensorKind::Weight);
        let shape = shape.map_or_else(Vec::new, |tensor| tensor.shape.clone());
        let units = layer.weights.scales.len();
        let bytes = layer.weights.steps.iter().map(|step| step.cast_unsigned().wrapping_add(ZERO)).collect();
        let steps = graph.tensor(&format!("{name}.weight"), Element::Uint8, &shape, bytes);
        let scales = graph.floats(&format!("{name}.weight_scale"), &[units], &layer.weights.scales);
        let zeros = graph.tensor(&format!("{name}.weight_zero_point"), Element::Uint8, &[units], vec![ZERO; units]);
        graph.apply_with("DequantizeLinear", &[&steps, &scales, &zeros], vec![("axis", Attribute::Int(0))])
    }
}

/// Values as whole numbers of 8 bits, and back.
fn rounded(graph: &mut Graph, value: &Name, levels: Levels) -> Name {
    let scale = graph.floats("input_scale", &[], &[levels.scale]);
    let zero_point = graph.tensor("input_zero_point", Element::Uint8, &[], vec![levels.zero_point]);
    let steps = graph.apply("QuantizeLinear", [value, &scale, &zero_point]);
    graph.apply("DequantizeLinear", [&steps, &scale, &zero_point])
}

fn activated(graph: &mut Graph, activation: Activation, value: &Name) -> Name {
    match activation {
        Activation::Relu => graph.apply("Relu", [value]),
        Activation::Tanh => graph.apply("Tanh", [value]),
        Activation::Silu => {
            let share = graph.apply("Sigmoid", [value]);
            graph.apply("Mul", [value, &share])
        }
        // ½ · x · (1 + erf(x / √2)): ONNX has an operator of its own from opset 20 on.
        Activation::Gelu => {
            let root = graph.floats("half_root", &[], &[std::f32::consts::FRAC_1_SQRT_2]);
            let inner = graph.apply("Mul", [value, &root]);
            let inner = graph.apply("Erf", [&inner]);
            let one = graph.floats("one", &[], &[1.0]);
            let inner = graph.apply("Add", [&inner, &one]);
            let product = graph.apply("Mul", [value, &inner]);
            let half = graph.floats("half", &[], &[0.5]);
            graph.apply("Mul", [&product, &half])
        }
    }
}
