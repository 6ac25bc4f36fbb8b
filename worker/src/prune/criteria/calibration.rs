//! Train rows for criteria, and the values that flow through a net for them. Rows are processed in small chunks,
//! because the inputs of a convolution, one row for each position, are many times larger than its images.

use secateur_proto::outcome::Failure;

use super::{Context, ParameterDefinition, groups::refused};
use crate::prune::probe::drawn_rows;

/// The number of rows in a chunk.
const CHUNK: usize = 32;

pub(super) const ROWS: ParameterDefinition = ParameterDefinition {
    name: "rows",
    summary: "train rows that the net is looked at with",
    default: 1024.0,
    range: (1.0, 1e7),
    integer: true,
};

/// Calls `each` with the inputs of each prunable layer for `rows`: the place of the layer among them, and a row-major
/// matrix with fan-in columns.
pub(super) fn each_input(
    context: &mut Context<'_>,
    rows: &[u32],
    each: &mut dyn FnMut(usize, &[f64]),
) -> Result<(), Failure> {
    for chunk in rows.chunks(CHUNK) {
        let inputs = context.probe.layer_inputs(context.net, chunk)?;
        for (place, layer) in context.layers.iter().enumerate() {
            each(place, &inputs[*layer as usize]);
        }
    }
    Ok(())
}

/// Returns, for every unit of each prunable layer, the mean of `measure` over the outputs of its activation, over all
/// positions of `count` rows. The rows are drawn with the random numbers of `purpose`.
///
/// # Errors
/// If no activation follows a layer.
pub(super) fn mean_of_activations(
    context: &mut Context<'_>,
    purpose: &str,
    count: usize,
    measure: impl Fn(f64) -> f64,
) -> Result<Vec<Vec<f64>>, Failure> {
    let rows = drawn_rows(context, purpose, count);
    let mut sums: Vec<Vec<(f64, usize)>> = vec![Vec::new(); context.layers.len()];
    for chunk in rows.chunks(CHUNK) {
        let activations = context.probe.activations(context.net, chunk)?;
        for (sums, layer) in sums.iter_mut().zip(context.layers) {
            let units = &activations[*layer as usize];
            sums.resize(units.len(), (0.0, 0));
            for ((sum, seen), values) in sums.iter_mut().zip(units) {
                *sum += values.iter().map(|value| measure(*value)).sum::<f64>();
                *seen += values.len();
            }
        }
    }
    let mean = |(layer, sums): (&u32, Vec<(f64, usize)>)| match sums.is_empty() {
        true => Err(refused(context, *layer, "have an activation of its own after it")),
        false => Ok(sums.into_iter().map(|(sum, seen)| sum / seen.max(1) as f64).collect()),
    };
    context.layers.iter().zip(sums).map(mean).collect()
}
