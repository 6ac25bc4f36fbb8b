//! Nets in files of ONNX: the graph is followed step by step beside the net that the sweep declares, and each tensor gets the name that
//! the net has for it. Nothing is executed, and a node that the net has no step for is named.
//!
//! Operators as PyTorch's exporters, scikit-learn's and Keras' converters and Secateur write them are known: linear layers as `Gemm` or as
//! `MatMul` and `Add`, transposed or not; batch normalisations that were folded into the layers before them.

mod walk;

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use safetensors::Dtype;
use secateur_proto::spec::ModelSpec;

use self::walk::Walk;
use super::{pickle::Tensor, source::row_major};
use crate::{
    onnx::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto},
    tensors::f32_bytes,
};

/// `TensorProto.DataType`.
const FLOAT: i32 = 1;
const FLOAT16: i32 = 10;
const DOUBLE: i32 = 11;
const BFLOAT16: i32 = 16;

/// `TensorProto.DataLocation`: the numbers are in another file.
const EXTERNAL: i32 = 1;

/// Operators that change no number: shapes are those of the declared net.
const TRANSPARENT: &[&str] = &["Identity", "Dropout", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze"];

/// Operators behind the logits.
const BEHIND: &[&str] = &["Sigmoid", "Softmax", "LogSoftmax", "ArgMax", "Concat", "Sub", "ZipMap"];

/// How far ε and the constants of an activation may be from those of the net.
const CLOSE: f64 = 1e-4;

/// A graph that is not the declared net.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// A step of the net is another operator, or none, in the file.
    #[error("{place} of the ONNX file is {found}, expected {expected}; the operators of the file are {all}")]
    Step {
        /// Where.
        place: String,
        /// What is there.
        found: String,
        /// What the net has there.
        expected: String,
        /// All of them, in the order of the file.
        all: String,
    },
    /// A node has an attribute or an input that the net does not have.
    #[error("{place} of the ONNX file: {problem}")]
    Node {
        /// Which.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// The numbers are in another file.
    #[error(
        "the tensor {0} of the ONNX file is in another file; write one file: torch.onnx.export(…, external_data=False), or \
         onnx.save(onnx.load(PATH), NEW_PATH)"
    )]
    External(String),
    /// A tensor has a type or a shape that its numbers do not have.
    #[error("the tensor {0} of the ONNX file is damaged, or its numbers are no floating-point numbers")]
    Tensor(String),
}

/// A graph.
pub(super) struct Onnx {
    nodes: Vec<NodeProto>,
    /// Constant tensors by name.
    constants: HashMap<String, TensorProto>,
    /// Where each value comes from.
    makers: HashMap<String, usize>,
    /// Which nodes take a value, in the order of the file.
    takers: HashMap<String, Vec<usize>>,
    input: String,
}

/// The numbers of a tensor and how they lie, row by row unless it is transposed.
#[derive(Debug, Clone)]
struct Constant {
    numbers: Vec<f32>,
    shape: Vec<u64>,
    is_transposed: bool,
}

/// The tensors of a net: names, places in `bytes`, and the bytes.
pub(super) struct Tensors {
    pub(super) tensors: Vec<(String, Tensor)>,
    pub(super) places: HashMap<String, (u64, u64)>,
    pub(super) bytes: Vec<u8>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

impl Onnx {
    /// Reads the bytes of a file. `None` if it is none of ONNX.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let graph = ModelProto::decode(bytes).ok()?.graph?;
        let GraphProto { node: nodes, initializer, input, .. } = graph;
        if nodes.is_empty() {
            return None;
        }
        let mut constants: HashMap<String, TensorProto> =
            initializer.into_iter().map(|tensor| (tensor.name.clone().unwrap_or_default(), tensor)).collect();
        let (mut makers, mut takers) = (HashMap::new(), HashMap::<String, Vec<usize>>::new());
        for (index, node) in nodes.iter().enumerate() {
            if operator(node) == "Constant" {
                let value = node.attribute.iter().find_map(|attribute| attribute.t.clone());
                constants.extend(node.output.first().cloned().zip(value));
                continue;
            }
            makers.extend(node.output.iter().map(|name| (name.clone(), index)));
            for name in node.input.iter().collect::<HashSet<_>>() {
                takers.entry(name.clone()).or_default().push(index);
            }
        }
        takers.values_mut().for_each(|nodes| nodes.sort_unstable());
        // Old exporters list the constants among the inputs, too.
        let inputs: Vec<String> = input.into_iter().filter_map(|input| input.name).collect();
        let input = inputs.into_iter().find(|name| !constants.contains_key(name))?;
        Some(Self { nodes, constants, makers, takers, input })
    }

    /// The tensors of the declared net, under its names.
    ///
    /// # Errors
    /// If the graph is another net, or holds tensors that cannot be read.
    pub(super) fn tensors(&self, model: &ModelSpec) -> Result<Tensors, OnnxError> {
        let architecture = model.architecture();
        let mut walk = Walk {
            onnx: self,
            layers: &architecture.layers,
            value: self.input.clone(),
            saved: Vec::new(),
            found: Vec::new(),
            left_bias: None,
            notes: Vec::new(),
        };
        for step in &architecture.steps {
            walk.step(step)?;
        }
        walk.end()?;
        let (mut tensors, mut places, mut bytes) = (Vec::new(), HashMap::new(), Vec::new());
        for (name, constant) in walk.found {
            let (numbers, start) = (f32_bytes(&constant.numbers), bytes.len() as u64);
            places.insert(name.clone(), (start, numbers.len() as u64));
            bytes.extend(numbers);
            let (mut shape, mut stride) = (constant.shape.clone(), row_major(&constant.shape));
            if constant.is_transposed {
                shape.reverse();
                stride.reverse();
            }
            let tensor = Tensor { storage: name.clone(), numbers: Ok(Dtype::F32), offset: 0, shape, stride };
            tensors.push((name, tensor));
        }
        Ok(Tensors { tensors, places, bytes, notes: walk.notes })
    }

    /// A constant, also behind `Transpose`, `Identity` and `Cast`.
    fn constant(&self, name: &str) -> Result<Option<Constant>, OnnxError> {
        let (mut name, mut is_transposed) = (name, false);
        // A graph of ONNX has no circles, but a file may have anything.
        for _ in 0..self.nodes.len() {
            if let Some(tensor) = self.constants.get(name) {
                let constant = floats(tensor, name)?;
                return Ok(Some(Constant { is_transposed, ..constant }));
            }
            let Some(node) = self.makers.get(name).map(|index| &self.nodes[*index]) else { return Ok(None) };
            match operator(node) {
                "Identity" | "Cast" => {}
                "Transpose" if matches!(attribute(node, "perm").map(|perm| &perm.ints[..]), None | Some([1, 0])) => {
                    is_transposed = !is_transposed;
                }
                _ => return Ok(None),
            }
            let Some(first) = node.input.first() else { return Ok(None) };
            name = first;
        }
        Ok(None)
    }

    /// The constant that a node takes besides `value`, if it is a single number.
    fn scalar(&self, node: &NodeProto, value: &str) -> Option<f64> {
        let other = node.input.iter().find(|name| *name != value)?;
        match self.constant(other) {
            Ok(Some(constant)) if constant.numbers.len() == 1 => constant.numbers.first().map(|one| f64::from(*one)),
            _ => None,
        }
    }

    fn place(&self, index: usize) -> String {
        let node = &self.nodes[index];
        match node.name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => format!("node {} ({name})", index + 1),
            None => format!("node {}", index + 1),
        }
    }

    /// The operators, for a message.
    fn all(&self) -> String {
        const LISTED: usize = 40;
        let names: Vec<&str> = self.nodes.iter().map(operator).filter(|name| *name != "Constant").collect();
        let more = names.len().saturating_sub(LISTED);
        let shown = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    }
}

fn operator(node: &NodeProto) -> &str {
    node.op_type.as_deref().unwrap_or_default()
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

/// The numbers of a tensor as f32.
fn floats(tensor: &TensorProto, name: &str) -> Result<Constant, OnnxError> {
    let damaged = || OnnxError::Tensor(name.to_owned());
    if tensor.data_location == Some(EXTERNAL) {
        return Err(OnnxError::External(name.to_owned()));
    }
    let shape: Vec<u64> =
        tensor.dims.iter().map(|size| u64::try_from(*size)).collect::<Result<_, _>>().map_err(|_| damaged())?;
    let raw = |dtype| tensor.raw_data.as_deref().and_then(|bytes| super::source::floats(dtype, bytes));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is out of range becomes infinite, and is refused as such"
    )]
    let numbers = match tensor.data_type {
        Some(FLOAT) => raw(Dtype::F32).unwrap_or_else(|| tensor.float_data.clone()),
        Some(DOUBLE) => {
            raw(Dtype::F64).unwrap_or_else(|| tensor.double_data.iter().map(|number| *number as f32).collect())
        }
        Some(FLOAT16) => raw(Dtype::F16).ok_or_else(damaged)?,
        Some(BFLOAT16) => raw(Dtype::BF16).ok_or_else(damaged)?,
        _ => return Err(damaged()),
    };
    let count = shape.iter().try_fold(1_u64, |count, size| count.checked_mul(*size));
    if count != Some(numbers.len() as u64) {
        return Err(damaged());
    }
    Ok(Constant { numbers, shape, is_transposed: false })
}
