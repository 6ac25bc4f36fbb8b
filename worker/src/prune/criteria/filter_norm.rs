//! The size of a unit's own weights.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{Arguments, Context, Definition, Needs, ParameterDefinition, Scores, When, groups::units_of};

pub(super) const CRITERION: Definition = Definition {
    name: "filter_norm",
    formula: "Σ |w|ᵖ over the unit's own weights / how many they are",
    source: "Li et al. 2017, arXiv 1608.08710",
    parameters: &[P],
    needs: Needs::Weights,
    granularity: Granularity::Unit,
    grows_with_layer: false,
    signed: false,
    when: When::Trained,
    requires: None,
    scores,
    compensate: None,
};

const P: ParameterDefinition = ParameterDefinition {
    name: "p",
    summary: "the power of each weight",
    default: 1.0,
    range: (0.1, 16.0),
    integer: false,
};

/// Divided by the fan-in, so that units of wide and narrow layers can compete.
fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    units_of(context)?;
    let power = arguments.number("p");
    let size = |weights: &[f32]| {
        weights.iter().map(|weight| f64::from(weight.abs()).powf(power)).sum::<f64>() / weights.len() as f64
    };
    let layers = context
        .prunable()
        .into_iter()
        .map(|(layer, tensor)| context.net.tensors[tensor].chunks_exact(layer.fan_in() as usize).map(size).collect());
    Ok(Scores::Units(layers.collect()))
}
