//! The least second-order cost of removing a weight, and the update of the other weights that compensates for it.
//!
//! The Hessian is the empirical Fisher F = mean over rows of g gᵀ, g the gradient of one row, in blocks of consecutive
//! weights of a layer, F + λ I of each. It is summed and factored, which gives the same inverse as the rank-one
//! recursion of WoodFisher, without that recursion's rounding and at half its cost. It also allows λ to be relative to
//! F. Kurtic et al. use λ = 10⁻⁷ whatever the gradients are; here it is a share of the layer's mean diagonal, 1 % by
//! default as in SparseGPT. Gradients are small after training, so an absolute λ would be all of the curvature in one
//! net and negligible in another. Directions to which 1024 rows contribute nothing would get unbounded updates.
//!
//! Scores assume that a single weight is removed; the compensation is for all removed weights together. The blocks of a
//! net take 8 bytes times their size for each of its weights.

use nalgebra::{DMatrix, DVector};
use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{
    Arguments, Context, Definition, Needs, ParameterDefinition, Scores, When,
    curvature::{add_square, cholesky, damping},
};
use crate::{
    net::{Mask, Parameters},
    prune::probe::drawn_rows,
};

pub(super) const CRITERION: Definition = Definition {
    name: "obs",
    formula: "w² / (2 [H⁻¹]_qq), H the empirical Fisher in blocks; the kept weights are updated to compensate",
    source: "Hassibi & Stork 1993; Singh & Alistarh 2020, arXiv 2004.14340; Kurtic et al. 2022, arXiv 2203.07259",
    parameters: &[SAMPLES, BLOCK, DAMP],
    needs: Needs::Gradients,
    granularity: Granularity::Weight,
    grows_with_layer: false,
    signed: false,
    when: When::Trained,
    requires: None,
    scores,
    compensate: Some(compensate),
};

const SAMPLES: ParameterDefinition = ParameterDefinition {
    name: "samples",
    summary: "train rows whose gradients make the Fisher",
    default: 1024.0,
    range: (1.0, 1e7),
    integer: true,
};

const BLOCK: ParameterDefinition = ParameterDefinition {
    name: "block",
    summary: "consecutive weights of a layer that know of each other",
    default: 50.0,
    range: (1.0, 512.0),
    integer: true,
};

const DAMP: ParameterDefinition = ParameterDefinition {
    name: "damp",
    summary: "what is added to the diagonal, as a share of the layer's mean diagonal",
    default: 0.01,
    range: (1e-9, 1e3),
    integer: false,
};

/// The number of gradients that are added at once, so that each block is read once for all of them.
const PENDING: usize = 32;

fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let fisher = fisher(context, arguments)?;
    let mut layers = Vec::with_capacity(fisher.len());
    for ((_, tensor), blocks) in context.prunable().into_iter().zip(&fisher) {
        let weights = &context.net.tensors[tensor];
        let mut scores = vec![0.0; weights.len()];
        for block in blocks {
            let left: Vec<usize> = (0..block.size())
                .filter(|place| context.removed.is_none_or(|mask| mask.keeps(tensor, block.begin + place)))
                .collect();
            let inverse = cholesky(block.of(&left))?.inverse();
            for (index, place) in left.into_iter().enumerate() {
                let place = block.begin + place;
                scores[place] = f64::from(weights[place]).powi(2) / (2.0 * inverse[(index, index)]);
            }
        }
        layers.push(scores);
    }
    Ok(Scores::Weights(layers))
}

/// Moves the kept weights K of each block to the minimum of ½ δᵀ H δ with the weights Q removed: by [H_KK]⁻¹ H_KQ w_Q,
/// which is −H⁻¹[:,Q] (H⁻¹[Q,Q])⁻¹ w_Q without an inverse.
fn compensate(context: &mut Context<'_>, arguments: &Arguments, mask: &Mask) -> Result<Parameters, Failure> {
    let fisher = fisher(context, arguments)?;
    let mut net = context.net.clone();
    for ((_, tensor), blocks) in context.prunable().into_iter().zip(&fisher) {
        let weights = &mut net.tensors[tensor];
        for block in blocks {
            let keeps = |place: &usize| mask.keeps(tensor, block.begin + place);
            let (kept, gone): (Vec<usize>, Vec<usize>) = (0..block.size()).partition(keeps);
            let pull = |kept: &usize| -> f64 {
                let parts = gone.iter().map(|gone| block.entry(*kept, *gone) * f64::from(weights[block.begin + gone]));
                parts.sum()
            };
            let pull = DVector::from_iterator(kept.len(), kept.iter().map(pull));
            let moves = cholesky(block.of(&kept))?.solve(&pull);
            for (place, by) in kept.iter().zip(moves.iter()) {
                let weight = &mut weights[block.begin + place];
                *weight = (f64::from(*weight) + by) as f32;
            }
        }
    }
    mask.apply(&mut net);
    Ok(net)
}

/// The Fisher matrix of consecutive weights of a layer: its lower triangle, and the damping.
struct Block {
    begin: usize,
    matrix: DMatrix<f64>,
    damping: f64,
}

impl Block {
    fn size(&self) -> usize {
        self.matrix.nrows()
    }

    fn entry(&self, one: usize, two: usize) -> f64 {
        self.matrix[(one.max(two), one.min(two))]
    }

    /// The damped rows and columns of these places.
    fn of(&self, places: &[usize]) -> DMatrix<f64> {
        DMatrix::from_fn(places.len(), places.len(), |row, column| {
            let damping = if row == column { self.damping } else { 0.0 };
            self.entry(places[row], places[column]) + damping
        })
    }
}

/// The blocks of each prunable layer.
fn fisher(context: &mut Context<'_>, arguments: &Arguments) -> Result<Vec<Vec<Block>>, Failure> {
    let size = arguments.count("block");
    let tensors: Vec<usize> = context.prunable().into_iter().map(|(_, tensor)| tensor).collect();
    let mut layers: Vec<Vec<Block>> = (tensors.iter())
        .map(|tensor| {
            let length = context.net.tensors[*tensor].len();
            let block = |begin: usize| {
                let size = size.min(length - begin);
                Block { begin, matrix: DMatrix::zeros(size, size), damping: 0.0 }
            };
            (0..length).step_by(size).map(block).collect()
        })
        .collect();
    let rows = drawn_rows(context, "rows for obs", arguments.count("samples"));
    let mut pending: Vec<Vec<Vec<f64>>> = vec![Vec::new(); tensors.len()];
    let mut flush = |pending: &mut [Vec<Vec<f64>>]| {
        for (blocks, gradients) in layers.iter_mut().zip(pending) {
            for block in blocks {
                let part = block.begin..block.begin + block.size();
                gradients.iter().for_each(|gradient| add_square(&mut block.matrix, &gradient[part.clone()]));
            }
            gradients.clear();
        }
    };
    context.probe.sample_gradients(context.net, &rows, &mut |gradient| {
        pending.iter_mut().zip(&tensors).for_each(|(pending, tensor)| pending.push(gradient[*tensor].clone()));
        if pending.first().is_some_and(|pending| pending.len() == PENDING) {
            flush(&mut pending);
        }
    })?;
    flush(&mut pending);
    let count = rows.len().max(1) as f64;
    for blocks in &mut layers {
        blocks.iter_mut().for_each(|block| block.matrix /= count);
        let diagonal = blocks.iter().flat_map(|block| (0..block.size()).map(|place| block.entry(place, place)));
        let damping = damping(diagonal, arguments.number("damp"));
        blocks.iter_mut().for_each(|block| block.damping = damping);
    }
    Ok(layers)
}

#[cfg(test)]
mod tests;
