//! The square of the first-order change of the loss if a weight is removed. Unlike [`taylor`](super::taylor) it also
//! detects weights whose gradients cancel out over batches. The score of a unit is the sum over its weights.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{Arguments, Context, Definition, Needs, Scores, When, taylor::BATCHES};
use crate::prune::probe::{Loss, calibration_rows};

pub(super) const CRITERION: Definition = Definition {
    name: "taylor_fo",
    formula: "mean of (w · g)² over train batches, g the gradient of one batch",
    source: "Molchanov et al. 2019, arXiv 1906.10771, equation 8",
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

/// Every batch has equal weight, including a shorter last one.
fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let rows = calibration_rows(context, "rows for taylor", arguments.count("batches"));
    let batches = rows.chunks(context.training.batch_size as usize);
    let count = batches.len() as f64;
    let mut squares: Vec<Vec<f64>> = context.net.tensors.iter().map(|values| vec![0.0; values.len()]).collect();
    for batch in batches {
        let gradient = context.probe.gradient(context.net, batch, Loss::default())?;
        for (square, gradient) in squares.iter_mut().flatten().zip(gradient.iter().flatten()) {
            *square += gradient * gradient / count;
        }
    }
    Ok(context.zip(&squares, |weight, square| weight * weight * square))
}
