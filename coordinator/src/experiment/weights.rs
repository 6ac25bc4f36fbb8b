//! Whether the tensors of a net that was trained elsewhere are those of the sweep's, and what can be pruned of it.

use secateur_proto::spec::{Layer, ModelSpec, Removal};

use super::{
    diagnostic::Diagnostics,
    facts::{InputFacts, WeightsFacts},
    parts::model,
    setting::Grain,
    spec::SweepSpec,
};

const PATH: &str = "model.weights";

/// The net that the file of `model.weights` has to hold: all points have one. `None` if there can be no such net, which is said of the
/// points.
#[must_use]
pub fn wanted(spec: &SweepSpec, inputs: &InputFacts) -> Option<ModelSpec> {
    spec.points().next().and_then(|point| model(spec, &point, inputs).ok())
}

/// Checks that the file sent for `model.weights` holds exactly the tensors of the net. The client has picked them out of the
/// file that `spec` names.
///
/// # Errors
/// If the tensors differ, or no file was sent.
pub(super) fn check(spec: &SweepSpec, inputs: &InputFacts) -> Result<(), Diagnostics> {
    let (Some(named), Some(model)) = (&spec.weights, wanted(spec, inputs)) else { return Ok(()) };
    let fail = |message: String| Err(Diagnostics::one(&spec.file, named.mark, PATH, message));
    let Some(file) = &inputs.weights else { return fail(format!("the file {} was not uploaded", named.path)) };
    let mut tensors: Vec<_> = model.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
    tensors.sort_unstable();
    if tensors == file.tensors && file.removed.keys().all(|name| tensors.iter().any(|(other, _)| other == name)) {
        return Ok(());
    }
    let differs = |(name, shape): &&(String, Vec<usize>)| {
        !file.tensors.iter().any(|(other, size)| (name, shape) == (other, size))
    };
    let first = tensors.iter().find(differs).map_or_else(
        || "it holds tensors that the net does not have".to_owned(),
        |(name, shape)| format!("it lacks {name} {shape:?}"),
    );
    fail(format!(
        "the tensors that came for {} are not those of the net: {first}; submit it with this version of secateur",
        named.path
    ))
}

/// Whether a pruning can begin at a net that was pruned already: what is gone stays gone, and counts.
///
/// # Errors
/// If `first`, the first that is removed of `layers`, is less than that.
pub(super) fn goes_on_from(
    given: &WeightsFacts,
    layers: &[Layer],
    first: &Removal,
    grain: Grain,
) -> Result<(), String> {
    let gone = |layer: &Layer| given.removed.get(&format!("{}.weight", layer.name)).copied().unwrap_or(0);
    let all: u64 = layers.iter().map(gone).sum();
    if all == 0 || matches!(grain, Grain::Neuron | Grain::Filter) {
        return Ok(());
    }
    let few = |layer: &str, gone: u64, of: u64, asked: u64| {
        Err(format!(
            "the net of model.weights has lost {gone} of {of} weights{layer} already, and this removes {asked}: take a higher sparsity"
        ))
    };
    match first {
        Removal::Grouped { .. } => {
            Err("the net of model.weights was pruned already, without regard to a pattern: take the granularity unstructured".to_owned())
        }
        Removal::PerLayer { counts } => {
            match layers.iter().zip(counts).find(|(layer, count)| gone(layer) > **count) {
                Some((layer, count)) => few(&format!(" of {}", layer.name), gone(layer), layer.weights(), *count),
                None => Ok(()),
            }
        }
        Removal::Global { caps: Some(caps), .. } if layers.iter().zip(caps).any(|(layer, cap)| gone(layer) > *cap) => {
            Err("a layer of the net of model.weights has lost more than pruning.max_layer_sparsity allows: take a higher one".to_owned())
        }
        removal => match removal.total(layers) {
            Some(asked) if asked < all => few("", all, layers.iter().map(Layer::weights).sum(), asked),
            _ => Ok(()),
        },
    }
}
