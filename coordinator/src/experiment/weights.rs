//! Whether the tensors of a net that was trained elsewhere are those of the sweep's.

use std::collections::BTreeMap;

use super::{
    diagnostic::{Diagnostic, Diagnostics},
    facts::InputFacts,
    parts::model,
    spec::SweepSpec,
};

const PATH: &str = "model.weights";

/// Compares the file that `spec` names with the net.
///
/// # Errors
/// Every tensor that is missing, that the net does not have, or that has another shape; or that the file did not come.
pub(super) fn check(spec: &SweepSpec, inputs: &InputFacts) -> Result<(), Diagnostics> {
    let Some(named) = &spec.weights else { return Ok(()) };
    let fail = |messages: Vec<String>| {
        let at = |message| Diagnostic { mark: named.mark, path: PATH.to_owned(), message };
        Err(Diagnostics::new(&spec.file, messages.into_iter().map(at).collect()))
    };
    let Some(file) = &inputs.weights else { return fail(vec![format!("the file {} was not uploaded", named.path)]) };
    // All points have one net; what there is to say of one that cannot be is said of the points.
    let Some(Ok(model)) = spec.points().next().map(|point| model(spec, &point, inputs)) else { return Ok(()) };
    let tensors: Vec<_> = model.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
    let mut messages = mismatches(&tensors, &file.tensors);
    if messages.is_empty() {
        return Ok(());
    }
    if let Some(names) = renaming(&tensors, &file.tensors) {
        messages.push(format!(
            "the shapes match under other names: use weights: {{path: {}, rename: {{{names}}}}}",
            named.path
        ));
    }
    fail(messages)
}

type Tensors = [(String, Vec<usize>)];

/// What is wrong with the tensors `found` in a file for a net of the tensors `wanted`.
fn mismatches(wanted: &Tensors, found: &Tensors) -> Vec<String> {
    let by_name: BTreeMap<&str, &[usize]> =
        found.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    let of_net = wanted.iter().filter_map(|(name, shape)| match by_name.get(name.as_str()) {
        None => Some(format!("missing tensor: {name} {shape:?}")),
        Some(other) if other != shape => {
            Some(format!("wrong shape: {name} is {other:?} in the file (expected {shape:?})"))
        }
        Some(_) => None,
    });
    let of_file = (found.iter())
        .filter(|(name, _)| wanted.iter().all(|(other, _)| other != name))
        .map(|(name, shape)| format!("unknown tensor: {name} {shape:?}; the net has no tensor of that name"));
    of_net.chain(of_file).collect()
}

/// How the layers of the file would have to be called, where each layer of the net has exactly one of the same tensors.
fn renaming(wanted: &Tensors, found: &Tensors) -> Option<String> {
    let (wanted, found) = (by_layer(wanted), by_layer(found));
    if wanted.len() != found.len() {
        return None;
    }
    let pairs: Option<Vec<_>> = (wanted.iter())
        .map(|(layer, tensors)| {
            let mut same = found.iter().filter(|(_, others)| *others == tensors);
            let (other, _) = same.next()?;
            (same.next().is_none()).then(|| format!("{other}: {layer}"))
        })
        .collect();
    pairs.map(|pairs| pairs.join(", "))
}

/// The part of a tensor's name before the last dot, with the rest of the names and the shapes.
fn by_layer(tensors: &Tensors) -> BTreeMap<&str, BTreeMap<&str, &[usize]>> {
    let mut layers: BTreeMap<&str, BTreeMap<&str, &[usize]>> = BTreeMap::new();
    for (name, shape) in tensors {
        let (layer, part) = name.rsplit_once('.').unwrap_or(("", name));
        layers.entry(layer).or_default().insert(part, shape);
    }
    layers
}
