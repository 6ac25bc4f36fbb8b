//! A graph of ONNX while it is put together. It knows operators and tensors, and nothing of nets or tables.

use std::collections::HashSet;

use crate::onnx::{
    AttributeProto, DimensionProto, Element, GraphProto, NodeProto, TensorProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto,
};

/// The operators of ONNX for machine learning: here `LabelEncoder`, which gives texts their places.
pub(super) const ML: &str = "ai.onnx.ml";

/// The name of a value within the graph.
pub(super) type Name = String;

#[derive(Default)]
pub(super) struct Graph {
    proto: GraphProto,
    names: HashSet<Name>,
}

/// A parameter of an operator.
pub(super) enum Attribute {
    Float(f32),
    Int(i64),
    Ints(Vec<i64>),
    Strings(Vec<String>),
}

impl Graph {
    /// A value that comes from outside, `[rows, …]`.
    pub(super) fn input(&mut self, name: &str, element: Element, rest: &[i64], about: String) -> Name {
        self.names.insert(name.to_owned());
        self.proto.input.push(value(name, element, rest, about));
        name.to_owned()
    }

    /// The value that leaves the graph.
    pub(super) fn output(&mut self, of: &str, wanted: &str, rest: &[i64], about: String) {
        let name = self.unique(wanted);
        self.push("Identity", vec![of.to_owned()], name.clone(), Vec::new(), None);
        self.proto.output.push(value(&name, Element::Float, rest, about));
    }

    /// Applies an operator of ONNX.
    pub(super) fn apply<const N: usize>(&mut self, operator: &str, inputs: [&Name; N]) -> Name {
        self.apply_with(operator, &inputs, Vec::new())
    }

    /// The same with parameters.
    pub(super) fn apply_with(&mut self, operator: &str, inputs: &[&Name], attributes: Vec<(&str, Attribute)>) -> Name {
        self.apply_of(None, operator, inputs, attributes)
    }

    /// The same of an operator of [`ML`].
    pub(super) fn apply_ml(&mut self, operator: &str, inputs: &[&Name], attributes: Vec<(&str, Attribute)>) -> Name {
        self.apply_of(Some(ML), operator, inputs, attributes)
    }

    fn apply_of(
        &mut self,
        domain: Option<&str>,
        operator: &str,
        inputs: &[&Name],
        attributes: Vec<(&str, Attribute)>,
    ) -> Name {
        let name = self.unique(&format!("{operator}_{}", self.proto.node.len()));
        self.push(operator, inputs.iter().map(|name| (*name).clone()).collect(), name.clone(), attributes, domain);
        name
    }

    fn push(
        &mut self,
        operator: &str,
        input: Vec<Name>,
        output: Name,
        attributes: Vec<(&str, Attribute)>,
        domain: Option<&str>,
    ) {
        self.proto.node.push(NodeProto {
            input,
            name: Some(output.clone()),
            output: vec![output],
            op_type: Some(operator.to_owned()),
            attribute: attributes.into_iter().map(|(name, attribute)| attribute.named(name)).collect(),
            domain: domain.map(str::to_owned),
        });
    }

    pub(super) fn cast(&mut self, value: &Name, to: Element) -> Name {
        self.apply_with("Cast", &[value], vec![("to", Attribute::Int(to as i64))])
    }

    pub(super) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> Name {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, Element::Float, dims, bytes)
    }

    pub(super) fn double(&mut self, value: f64) -> Name {
        self.tensor("number", Element::Double, &[], value.to_le_bytes().to_vec())
    }

    pub(super) fn integers(&mut self, dims: &[usize], values: &[i64]) -> Name {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor("places", Element::Int64, dims, bytes)
    }

    pub(super) fn text(&mut self, text: &str) -> Name {
        let name = self.unique("text");
        self.proto.initializer.push(TensorProto {
            data_type: Some(Element::String as i32),
            string_data: vec![text.as_bytes().to_vec()],
            name: Some(name.clone()),
            ..TensorProto::default()
        });
        name
    }

    pub(super) fn tensor(&mut self, wanted: &str, element: Element, dims: &[usize], bytes: Vec<u8>) -> Name {
        let name = self.unique(wanted);
        self.proto.initializer.push(TensorProto {
            dims: dims.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect(),
            data_type: Some(element as i32),
            name: Some(name.clone()),
            raw_data: Some(bytes),
            ..TensorProto::default()
        });
        name
    }

    /// A name that no other value has. Columns of a table may be called anything.
    fn unique(&mut self, wanted: &str) -> Name {
        let mut name = wanted.to_owned();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}.{number}");
        }
        name
    }

    pub(super) fn finish(self, name: &str) -> GraphProto {
        GraphProto { name: Some(name.to_owned()), ..self.proto }
    }
}

impl Attribute {
    fn named(self, name: &str) -> AttributeProto {
        let attribute = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
        match self {
            Self::Float(f) => AttributeProto { f: Some(f), r#type: Some(1), ..attribute },
            Self::Int(i) => AttributeProto { i: Some(i), r#type: Some(2), ..attribute },
            Self::Ints(ints) => AttributeProto { ints, r#type: Some(7), ..attribute },
            Self::Strings(strings) => {
                let strings = strings.into_iter().map(String::into_bytes).collect();
                AttributeProto { strings, r#type: Some(8), ..attribute }
            }
        }
    }
}

fn value(name: &str, element: Element, rest: &[i64], about: String) -> ValueInfoProto {
    let rows = DimensionProto { dim_param: Some("rows".to_owned()), ..DimensionProto::default() };
    let rest = rest.iter().map(|size| DimensionProto { dim_value: Some(*size), ..DimensionProto::default() });
    let shape = TensorShapeProto { dim: std::iter::once(rows).chain(rest).collect() };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto { elem_type: Some(element as i32), shape: Some(shape) }),
        }),
        doc_string: Some(about),
    }
}
