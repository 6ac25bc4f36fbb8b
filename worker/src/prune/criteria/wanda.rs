//! The size of a weight times that of its inputs.
//!
//! Weights compete within their output row, as in the paper: with `per_row` a score is the weight's rank in its row
//! divided by the length of the row, so that any selection takes the same share of every row. Whole units then have
//! equal scores, since each row has the same ranks. Set `per_row` to 0 to prune units, or to let rows compete.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{
    Arguments, Context, Definition, Needs, ParameterDefinition, Scores, When,
    calibration::{ROWS, each_input},
};
use crate::prune::probe::drawn_rows;

pub(super) const CRITERION: Definition = Definition {
    name: "wanda",
    formula: "|w_ij| · ‖x_j‖₂, x_j the layer's j-th input over train rows",
    source: "Sun et al. 2023, arXiv 2306.11695",
    parameters: &[ROWS, PER_ROW],
    needs: Needs::Activations,
    granularity: Granularity::Weight,
    grows_with_layer: false,
    signed: false,
    when: When::Trained,
    requires: None,
    scores,
    compensate: None,
};

const PER_ROW: ParameterDefinition = ParameterDefinition {
    name: "per_row",
    summary: "1 to compare weights within their output row, 0 to take scores as they are",
    default: 1.0,
    range: (0.0, 1.0),
    integer: true,
};

fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let rows = drawn_rows(context, "rows for wanda", arguments.count("rows"));
    let layers = context.prunable();
    let mut squares: Vec<Vec<f64>> = layers.iter().map(|(layer, _)| vec![0.0; layer.fan_in() as usize]).collect();
    each_input(context, &rows, &mut |place, inputs| {
        let squares = &mut squares[place];
        for row in inputs.chunks_exact(squares.len()) {
            squares.iter_mut().zip(row).for_each(|(sum, input)| *sum += input * input);
        }
    })?;
    let mut all = Vec::with_capacity(layers.len());
    for ((_, tensor), squares) in layers.into_iter().zip(squares) {
        let norms: Vec<f64> = squares.into_iter().map(f64::sqrt).collect();
        let mut scores = Vec::with_capacity(context.net.tensors[tensor].len());
        for row in context.net.tensors[tensor].chunks_exact(norms.len()) {
            let begin = scores.len();
            scores.extend(row.iter().zip(&norms).map(|(weight, norm)| f64::from(weight.abs()) * norm));
            if arguments.count("per_row") == 1 {
                let is_gone = |column: usize| context.removed.is_some_and(|mask| !mask.keeps(tensor, begin + column));
                rank(&mut scores[begin..], is_gone);
            }
        }
        all.push(scores);
    }
    Ok(Scores::Weights(all))
}

/// Replaces scores by their ranks, divided by their number. Removed places come first; ties are broken by place. A
/// score that is not finite does not change.
fn rank(scores: &mut [f64], is_gone: impl Fn(usize) -> bool) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|one, two| (!is_gone(*one)).cmp(&!is_gone(*two)).then_with(|| scores[*one].total_cmp(&scores[*two])));
    let count = scores.len() as f64;
    for (place, column) in order.into_iter().enumerate() {
        if scores[column].is_finite() {
            scores[column] = (place + 1) as f64 / count;
        }
    }
}

#[cfg(test)]
mod tests;
