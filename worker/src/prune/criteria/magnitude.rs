//! The size of a weight.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{Arguments, Context, Definition, Needs, Scores, When};

pub(super) const CRITERION: Definition = Definition {
    name: "magnitude",
    formula: "|w|",
    source: "Han et al. 2015, arXiv 1506.02626",
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

#[expect(clippy::unnecessary_wraps, reason = "the form of every criterion")]
fn scores(context: &mut Context<'_>, _: &Arguments) -> Result<Scores, Failure> {
    let layers = context.weights().map(|weights| weights.iter().map(|weight| f64::from(weight.abs())).collect());
    Ok(Scores::Weights(layers.collect()))
}
