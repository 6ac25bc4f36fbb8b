//! Uniform noise: the baseline that every other criterion must beat.

use rand::RngExt as _;
use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{Arguments, Context, Definition, Needs, Scores, When};
use crate::random;

pub(super) const CRITERION: Definition = Definition {
    name: "random",
    formula: "uniform in [0, 1), of each weight or of each unit",
    source: "baseline of Blalock et al. 2020",
    parameters: &[],
    needs: Needs::Weights,
    granularity: Granularity::Weight,
    grows_with_layer: false,
    signed: false,
    when: When::Trained,
    requires: None,
    scores,
    compensate: None,
};

/// One stream for each seed: the masks of a seed are nested over sparsities.
#[expect(clippy::unnecessary_wraps, reason = "the form of every criterion")]
fn scores(context: &mut Context<'_>, _: &Arguments) -> Result<Scores, Failure> {
    let mut generator = random::generator("random scores", &[context.seed]);
    let mut scores = |count: usize| (0..count).map(|_| generator.random::<f64>()).collect::<Vec<f64>>();
    // A sum over weights would depend on their number in a unit.
    if context.granularity == Granularity::Unit {
        let layers = context.model.layers();
        let units = context.layers.iter().filter_map(|index| layers.get(*index as usize));
        return Ok(Scores::Units(units.map(|layer| scores(layer.outputs() as usize)).collect()));
    }
    Ok(Scores::Weights(context.weights().map(|weights| scores(weights.len())).collect()))
}
