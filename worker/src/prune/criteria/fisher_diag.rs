//! The second-order change of the loss if a weight is removed at a point of zero gradient, with the diagonal of the
//! empirical Fisher matrix instead of the Hessian's.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{Arguments, Context, Definition, Needs, ParameterDefinition, Scores, When};
use crate::prune::probe::drawn_rows;

pub(super) const CRITERION: Definition = Definition {
    name: "fisher_diag",
    formula: "½ w² · mean of g² over train rows, g the gradient of one row's loss (the diagonal of OBD, LeCun et al. 1990)",
    source: "LeCun et al. 1990; Theis et al. 2018, arXiv 1801.05787",
    parameters: &[SAMPLES],
    needs: Needs::Gradients,
    granularity: Granularity::Weight,
    grows_with_layer: false,
    signed: false,
    when: When::Trained,
    requires: None,
    scores,
    compensate: None,
};

const SAMPLES: ParameterDefinition = ParameterDefinition {
    name: "samples",
    summary: "train rows that squared gradients are averaged over",
    default: 1024.0,
    range: (1.0, 1e9),
    integer: true,
};

/// Uses gradients of single rows: the square of a batch's mean gradient is far smaller, and 0 for a fully trained net.
fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let rows = drawn_rows(context, "rows for fisher_diag", arguments.count("samples"));
    let count = rows.len() as f64;
    let mut squares: Vec<Vec<f64>> = context.net.tensors.iter().map(|values| vec![0.0; values.len()]).collect();
    let mut add = |gradient: &[Vec<f64>]| {
        for (square, gradient) in squares.iter_mut().flatten().zip(gradient.iter().flatten()) {
            *square += gradient * gradient / count;
        }
    };
    context.probe.sample_gradients(context.net, &rows, &mut add)?;
    Ok(context.zip(&squares, |weight, square| 0.5 * weight * weight * square))
}
