//! The absolute weight in standard deviations of its layer: one threshold as a quality parameter for all layers. The
//! number of removed weights determines the threshold.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{Arguments, Context, Definition, Needs, Scores, When};

pub(super) const CRITERION: Definition = Definition {
    name: "han_threshold",
    formula: "|w| / σ, σ the standard deviation of all weights of the layer",
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

/// Weights that earlier levels removed count as zeros.
#[expect(clippy::unnecessary_wraps, reason = "the form of every criterion")]
fn scores(context: &mut Context<'_>, _: &Arguments) -> Result<Scores, Failure> {
    let layers = context.prunable().into_iter().map(|(_, tensor)| {
        let weights: Vec<f64> = context.net.tensors[tensor].iter().map(|weight| f64::from(*weight)).collect();
        let count = weights.len() as f64;
        let mean = weights.iter().sum::<f64>() / count;
        let deviation = (weights.iter().map(|weight| (weight - mean).powi(2)).sum::<f64>() / count).sqrt();
        // A layer of equal weights has equal scores.
        let scale = if deviation > 0.0 { deviation } else { f64::INFINITY };
        weights.into_iter().map(|weight| weight.abs() / scale).collect()
    });
    Ok(Scores::Weights(layers.collect()))
}
