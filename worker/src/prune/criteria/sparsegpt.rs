//! The cost of a weight in its layer's outputs, and a sweep over columns in which later ones compensate for earlier
//! ones.
//!
//! H = 2 XᵀX / n of the layer's inputs plus λ I, where λ is a share of its mean diagonal. U is upper triangular with
//! H⁻¹ = Uᵀ U, and U_jj² = [(H_j…)⁻¹]_jj of the columns from j on, which the paper writes [H⁻¹]_jj. Of the paper's
//! variants this is the one with one block: the mask of the whole layer is chosen first, then the sweep follows. Inputs
//! of every layer are those of the net that was scored. Columns are swept in order, and only those after a removed one
//! compensate for it.

use nalgebra::DMatrix;
use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{
    Arguments, Context, Definition, Needs, ParameterDefinition, Scores, When,
    calibration::{ROWS, each_input},
    curvature::{add_square, cholesky, damping},
};
use crate::{
    net::{Mask, Parameters},
    prune::probe::drawn_rows,
};

pub(super) const CRITERION: Definition = Definition {
    name: "sparsegpt",
    formula: "w_ij² / U_jj², Uᵀ U = (2 XᵀX / n + λ I)⁻¹, X the layer's inputs; later columns are updated to compensate",
    source: "Frantar & Alistarh 2023, arXiv 2301.00774",
    parameters: &[ROWS, DAMP],
    needs: Needs::Activations,
    granularity: Granularity::Weight,
    grows_with_layer: false,
    signed: false,
    when: When::Trained,
    requires: None,
    scores,
    compensate: Some(compensate),
};

const DAMP: ParameterDefinition = ParameterDefinition {
    name: "damp",
    summary: "what is added to the diagonal, as a share of its mean",
    default: 0.01,
    range: (1e-9, 1e3),
    integer: false,
};

fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let factors = factors(context, arguments)?;
    let score = |(weights, factor): (&[f32], &DMatrix<f64>)| {
        let diagonal = factor.diagonal();
        let columns = (0..diagonal.len()).cycle();
        weights.iter().zip(columns).map(|(weight, column)| (f64::from(*weight) / diagonal[column]).powi(2)).collect()
    };
    Ok(Scores::Weights(context.weights().zip(&factors).map(score).collect()))
}

/// For each column j in order: e = w_j / U_jj if it is removed, and the columns from j on lose e · U_j,j….
fn compensate(context: &mut Context<'_>, arguments: &Arguments, mask: &Mask) -> Result<Parameters, Failure> {
    let factors = factors(context, arguments)?;
    let mut net = context.net.clone();
    for ((_, tensor), factor) in context.prunable().into_iter().zip(&factors) {
        // Columns of the transpose are rows of U, contiguous in memory.
        let rows_of_factor = factor.transpose();
        let fan_in = factor.nrows();
        for (row, weights) in net.tensors[tensor].chunks_exact_mut(fan_in).enumerate() {
            let mut swept: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
            for column in (0..fan_in).filter(|column| !mask.keeps(tensor, row * fan_in + column)) {
                let error = swept[column] / factor[(column, column)];
                let of_row = &rows_of_factor.as_slice()[column * fan_in..][..fan_in];
                let later = swept.iter_mut().zip(of_row).skip(column);
                later.for_each(|(weight, factor)| *weight -= error * factor);
            }
            weights.iter_mut().zip(swept).for_each(|(weight, swept)| *weight = swept as f32);
        }
    }
    mask.apply(&mut net);
    Ok(net)
}

/// U of each prunable layer.
fn factors(context: &mut Context<'_>, arguments: &Arguments) -> Result<Vec<DMatrix<f64>>, Failure> {
    let rows = drawn_rows(context, "rows for sparsegpt", arguments.count("rows"));
    let sizes: Vec<usize> = context.prunable().iter().map(|(layer, _)| layer.fan_in() as usize).collect();
    let mut hessians: Vec<(DMatrix<f64>, usize)> = sizes.iter().map(|size| (DMatrix::zeros(*size, *size), 0)).collect();
    each_input(context, &rows, &mut |place, inputs| {
        let (sums, count) = &mut hessians[place];
        for row in inputs.chunks_exact(sums.nrows()) {
            add_square(sums, row);
            *count += 1;
        }
    })?;
    let factor = |(sums, count): (DMatrix<f64>, usize)| {
        let mut hessian = sums * (2.0 / count.max(1) as f64);
        let damping = damping(hessian.diagonal().iter().copied(), arguments.number("damp"));
        (0..hessian.nrows()).for_each(|place| hessian[(place, place)] += damping);
        Ok(cholesky(cholesky(hessian)?.inverse())?.l().transpose())
    };
    hessians.into_iter().map(factor).collect()
}

#[cfg(test)]
mod tests;
