//! A net as an ONNX file, from raw columns or images to probabilities.
//!
//! Operators are those of opset 17 of ONNX and `LabelEncoder` of opset 2 of `ai.onnx.ml`. A quantized net is written as pairs of
//! `QuantizeLinear` and `DequantizeLinear`: what is computed does not depend on what an engine makes of them.

mod graph;
mod net;
mod preparation;

use prost::Message as _;

use self::graph::{Attribute, Graph, ML};
pub use self::preparation::RawInput;
use crate::{
    data::{DataError, Preparation},
    onnx::{Element, IR_VERSION, ModelProto, OperatorSetIdProto, StringStringEntryProto},
    serve::{NetFile, Scorer},
};

/// The version of the operators.
const OPSET: i64 = 17;

/// The version of the operators of [`ML`].
const ML_OPSET: i64 = 2;

/// The name of what comes out: `[rows, 1]`, the probability of the second of two classes, or `[rows, classes]`.
pub const OUTPUT: &str = "probability";

/// A file, and what goes into it.
#[derive(Debug, Clone)]
pub struct OnnxFile {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The columns that it takes.
    pub inputs: Vec<RawInput>,
}

/// Writes a net with its preparation, without the units and the inputs that it can do without. `inputs` are the features that a smaller net takes; `about` goes into the metadata.
///
/// # Errors
/// If the net and the preparation do not belong together.
pub fn write(
    preparation: &Preparation,
    file: &NetFile,
    inputs: Option<&[u32]>,
    about: &[(&str, String)],
) -> Result<OnnxFile, DataError> {
    let (file, inputs) = file.compacted(inputs);
    let scorer = Scorer::new(preparation, &file, Some(inputs.clone()))?;
    let mut graph = Graph::default();
    let mut raw = Vec::new();
    let value = match &preparation.image {
        None => {
            let features = preparation::table(&mut graph, preparation, scorer.reads(), &mut raw);
            taken(&mut graph, features, &features_of(preparation, scorer.reads()), &inputs)
        }
        Some(image) => {
            let image = preparation::image(&mut graph, image, &mut raw);
            if file.model.image().is_some() {
                image
            } else {
                let pixels: Vec<u32> = (0..).take(preparation.width()).collect();
                let image = net::flat(&mut graph, &image);
                taken(&mut graph, image, &pixels, &inputs)
            }
        }
    };
    let logits = net::logits(&mut graph, &file, value);
    let classes = &preparation.target.classes;
    let (value, about_output) = if file.model.outputs() == 1 {
        let positive = classes.last().map_or("", String::as_str);
        (graph.apply("Sigmoid", [&logits]), format!("the probability of {positive:?}"))
    } else {
        let softmax = graph.apply_with("Softmax", &[&logits], vec![("axis", Attribute::Int(1))]);
        (softmax, format!("the probabilities of {classes:?}, in this order"))
    };
    graph.output(&value, OUTPUT, &[file.model.outputs().into()], about_output);
    Ok(OnnxFile { bytes: encoded(graph, about), inputs: raw })
}

/// Writes a net alone: from prepared rows `[rows, width]`, or scaled images, to logits. Nothing is left out of it.
#[must_use]
pub fn write_net(file: &NetFile) -> Vec<u8> {
    let mut graph = Graph::default();
    let shape = match file.model.image() {
        Some(image) => image.map(i64::from).to_vec(),
        None => vec![i64::try_from(file.model.inputs()).unwrap_or(i64::MAX)],
    };
    let rows = graph.input("rows", Element::Float, &shape, "prepared rows".to_owned());
    let logits = net::logits(&mut graph, file, rows);
    graph.output(&logits, "logits", &[file.model.outputs().into()], "one of each row, or one of each class".to_owned());
    encoded(graph, &[])
}

/// The bytes of a file with this graph.
fn encoded(graph: Graph, about: &[(&str, String)]) -> Vec<u8> {
    let opset = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) };
    let entry = |(key, value): &(&str, String)| StringStringEntryProto {
        key: Some((*key).to_owned()),
        value: Some(value.clone()),
    };
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("secateur".to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        doc_string: None,
        graph: Some(graph.finish("net")),
        opset_import: vec![opset("", OPSET), opset(ML, ML_OPSET)],
        metadata_props: about.iter().map(entry).collect(),
    };
    model.encode_to_vec()
}

/// The features of the columns that are read, by their places in a prepared row.
fn features_of(preparation: &Preparation, reads: &[bool]) -> Vec<u32> {
    let mut places = 0..;
    let columns = preparation.columns.iter().zip(reads);
    let features = columns.flat_map(|(column, reads)| {
        let own: Vec<u32> = places.by_ref().take(column.features.len()).collect();
        if *reads { own } else { Vec::new() }
    });
    features.collect()
}

/// Those of the features `[rows, made]` that the net takes.
fn taken(graph: &mut Graph, features: graph::Name, made: &[u32], inputs: &[u32]) -> graph::Name {
    if inputs == made {
        return features;
    }
    let place = |input: &u32| made.binary_search(input).ok().and_then(|at| i64::try_from(at).ok());
    let places: Vec<i64> = inputs.iter().filter_map(place).collect();
    let places = graph.integers(&[places.len()], &places);
    graph.apply_with("Gather", &[&features, &places], vec![("axis", Attribute::Int(1))])
}

#[cfg(test)]
mod tests;
