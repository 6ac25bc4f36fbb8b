//! Train rows that criteria look at, and what flows through a net for them, a few rows at a time: the inputs of a convolution, one
//! row for each position, are many times as large as its images.

use secateur_proto::outcome::Failure;

use super::{Context, ParameterDefinition, groups::refused};
use crate::prune::probe::drawn_rows;

/// Rows of one look.
const CHUNK: usize = 32;

pub(super) const ROWS: ParameterDefinition = ParameterDefinition {
    name: "rows",
    summary: "train rows that the net is looked at with",
    default: 1024.0,
    range: (1.0, 1e7),
    integer: true,
};

/// Shows `each` what the prunable layers are given for `rows`: the place among them and a row-major matrix of fan-in columns.
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

/// For every unit of each prunable layer the mean of `measure` over what leaves the activation after it, over `count` rows drawn from
/// the random numbers of `purpose` and all positions.
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
