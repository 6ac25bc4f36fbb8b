//! The size of everything that is removed with a unit.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{Arguments, Context, Definition, Needs, Scores, When, groups::units_of};

pub(super) const CRITERION: Definition = Definition {
    name: "neuron_grouped",
    formula: "Σ w² over the unit's own weights, bias and normalisation, and the weights that read it",
    source: "Fang et al. 2023, arXiv 2301.12900",
    parameters: &[],
    needs: Needs::Weights,
    granularity: Granularity::Unit,
    grows_with_layer: true,
    signed: false,
    when: When::Trained,
    requires: None,
    scores,
    compensate: None,
};

fn scores(context: &mut Context<'_>, _: &Arguments) -> Result<Scores, Failure> {
    let square = |(tensor, place): (usize, usize)| f64::from(context.net.tensors[tensor][place]).powi(2);
    let layers = units_of(context)?.into_iter().map(|units| {
        let group = |unit: usize| units.places(unit).map(square).sum();
        (0..units.count).map(group).collect()
    });
    Ok(Scores::Units(layers.collect()))
}
