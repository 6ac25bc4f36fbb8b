//! The scale of a unit's batch normalisation: Network Slimming. Most useful after a training that penalised it.

use secateur_proto::{
    outcome::Failure,
    spec::{Granularity, TensorKind},
};

use super::{
    Arguments, Context, Definition, Needs, Requires, Scores, When,
    groups::{refused, units_of},
};
use crate::net::tensors_of;

pub(super) const CRITERION: Definition = Definition {
    name: "bn_scale",
    formula: "|γ| of the batch normalisation on the unit",
    source: "Liu et al. 2017, arXiv 1708.06519",
    parameters: &[],
    needs: Needs::Weights,
    granularity: Granularity::Unit,
    grows_with_layer: false,
    signed: false,
    when: When::Trained,
    requires: Some(Requires::Norms),
    scores,
    compensate: None,
};

fn scores(context: &mut Context<'_>, _: &Arguments) -> Result<Scores, Failure> {
    let scales = tensors_of(context.model, TensorKind::Scale);
    let mut layers = Vec::with_capacity(context.layers.len());
    for (layer, units) in context.layers.iter().zip(units_of(context)?) {
        let scale = units.norm.and_then(|norm| scales[norm]);
        let scale = scale.ok_or_else(|| refused(context, *layer, "have a batch normalisation on its units"))?;
        layers.push(context.net.tensors[scale].iter().map(|scale| f64::from(scale.abs())).collect());
    }
    Ok(Scores::Units(layers))
}
