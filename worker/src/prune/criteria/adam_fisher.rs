//! The curvature of the loss as estimated by Adam.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{Arguments, Context, Definition, Needs, ParameterDefinition, Scores, When};
use crate::prune::probe::{Loss, calibration_rows};

pub(super) const CRITERION: Definition = Definition {
    name: "adam_fisher",
    formula: "w² · ν, ν Adam's second moment of the gradients of train batches, β₂ = 0.999",
    source: "JaxPruner, Lee et al. 2023, arXiv 2304.14082",
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

const BATCHES: ParameterDefinition = ParameterDefinition {
    name: "batches",
    summary: "train batches whose gradients are squared",
    default: 32.0,
    range: (1.0, 1e6),
    integer: true,
};

/// The weight of the previous estimate when a batch is added.
const BETA_2: f64 = 0.999;

/// ν ← β₂ · ν + (1 − β₂) · g² from 0, over 1 − β₂ⁿ in the end (Kingma & Ba 2015), at fixed weights.
fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let rows = calibration_rows(context, "rows for adam_fisher", arguments.count("batches"));
    let mut moment: Vec<Vec<f64>> = context.net.tensors.iter().map(|tensor| vec![0.0; tensor.len()]).collect();
    let mut remembered = 1.0;
    for batch in rows.chunks(context.training.batch_size as usize) {
        let gradient = context.probe.gradient(context.net, batch, Loss::default())?;
        for (moment, gradient) in moment.iter_mut().flatten().zip(gradient.iter().flatten()) {
            *moment = BETA_2 * *moment + (1.0 - BETA_2) * gradient * gradient;
        }
        remembered *= BETA_2;
    }
    Ok(context.zip(&moment, |weight, moment| weight * weight * moment / (1.0 - remembered)))
}
