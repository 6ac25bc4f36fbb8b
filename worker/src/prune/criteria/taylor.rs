//! The first-order change of the loss if a weight is removed. With one batch it is saliency (JaxPruner) or gradient
//! magnitude of one minibatch (`MagGrad` of Blalock et al. 2020), so these have no criterion of their own.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{Arguments, Context, Definition, Needs, ParameterDefinition, Scores, When};
use crate::prune::probe::{Loss, calibration_rows};

pub(super) const CRITERION: Definition = Definition {
    name: "taylor",
    formula: "|w · g|, g the mean gradient over train batches",
    source: "Molchanov et al. 2017, arXiv 1611.06440",
    parameters: &[BATCHES],
    needs: Needs::Gradients,
    granularity: Granularity::Weight,
    grows_with_layer: false,
    signed: false,
    when: When::Trained,
    requires: None,
    scores,
    compensate: None,
};

pub(super) const BATCHES: ParameterDefinition = ParameterDefinition {
    name: "batches",
    summary: "train batches that the gradient is averaged over",
    default: 8.0,
    range: (1.0, 1e6),
    integer: true,
};

fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let rows = calibration_rows(context, "rows for taylor", arguments.count("batches"));
    let gradient = context.probe.gradient(context.net, &rows, Loss::default())?;
    Ok(context.zip(&gradient, |weight, gradient| (weight * gradient).abs()))
}
