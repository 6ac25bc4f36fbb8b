//! How much the loss of an untrained net depends on each connection, as a share of all.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{Arguments, Context, Definition, Needs, ParameterDefinition, Scores, When};
use crate::prune::probe::{Loss, drawn_rows};

pub(super) const CRITERION: Definition = Definition {
    name: "snip",
    formula: "|w · g| / Σ |w · g|, g the gradient of one batch, the sum over all prunable weights",
    source: "Lee et al. 2019, arXiv 1810.02340, equation 6",
    parameters: &[BATCH_SIZE],
    needs: Needs::Gradients,
    granularity: Granularity::Weight,
    grows_with_layer: false,
    signed: false,
    when: When::Initial,
    requires: None,
    scores,
    compensate: None,
};

const BATCH_SIZE: ParameterDefinition = ParameterDefinition {
    name: "batch_size",
    summary: "train rows in the batch",
    default: 128.0,
    range: (1.0, 1e9),
    integer: true,
};

fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let rows = drawn_rows(context, "rows for snip", arguments.count("batch_size"));
    let gradient = context.probe.gradient(context.net, &rows, Loss::default())?;
    let saliency = |weight: f64, gradient: f64| (weight * gradient).abs();
    let all = context
        .prunable()
        .into_iter()
        .flat_map(|(_, tensor)| context.net.tensors[tensor].iter().zip(&gradient[tensor]));
    let sum: f64 = all.map(|(weight, gradient)| saliency(f64::from(*weight), *gradient)).sum();
    // If the loss depends on nothing, all shares are 0.
    let sum = sum.max(f64::MIN_POSITIVE);
    Ok(context.zip(&gradient, |weight, gradient| saliency(weight, gradient) / sum))
}
