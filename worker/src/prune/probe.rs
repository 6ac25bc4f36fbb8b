//! Measurements of a net for pruning. Numbers in and out: it knows no device.

use rand::seq::SliceRandom as _;
use secateur_proto::{outcome::Failure, spec::TrainingSpec};

use super::criteria::Context;
use crate::{
    net::{Mask, Parameters},
    random,
};

/// Measures nets of one architecture on the train rows of one dataset. Gradients are in double precision, with the net
/// in evaluation mode: no dropout, running statistics. The loss of a row is that of its label without smoothing, times the
/// weight of its class. Tensors are in the order of the model, each in the order of its file.
pub trait Probe {
    /// The number of train rows.
    fn rows(&self) -> usize;

    /// The targets of train rows.
    fn targets(&self) -> Vec<f32>;

    /// The gradient of the mean loss over `rows`.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn gradient(&mut self, net: &Parameters, rows: &[u32], loss: Loss) -> Result<Vec<Vec<f64>>, Failure>;

    /// The Hessian of the mean loss over `rows`, times `direction`: central differences of [`Self::gradient`] in double precision.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn hessian_vector(
        &mut self,
        net: &Parameters,
        rows: &[u32],
        direction: &[Vec<f64>],
        loss: Loss,
    ) -> Result<Vec<Vec<f64>>, Failure>;

    /// Calls `each` with the gradient of the loss of each single row of `rows`, times the root of the weight of its class: squares
    /// and products of it then have the weight of the row.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn sample_gradients(
        &mut self,
        net: &Parameters,
        rows: &[u32],
        each: &mut dyn FnMut(&[Vec<f64>]),
    ) -> Result<(), Failure>;

    /// The gradient of the sum of all outputs for an input of ones, of the net with these `weights` and neutral values
    /// otherwise: biases and shifts 0, scales 1, means 0, variances 1.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn flow(&mut self, weights: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, Failure>;

    /// The inputs of each layer with weights for `rows`: for each layer a row-major matrix with fan-in columns; for a
    /// convolution one row for each position. Empty for a layer without weights.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn layer_inputs(&mut self, net: &Parameters, rows: &[u32]) -> Result<Vec<Vec<f64>>, Failure>;

    /// The outputs of the activation after each layer for `rows`: for each layer and unit or filter, its values over
    /// all rows and positions. Empty for a layer without an activation after it.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn activations(&mut self, net: &Parameters, rows: &[u32]) -> Result<Vec<Vec<Vec<f64>>>, Failure>;

    /// The mean loss over the validation rows.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn validation_loss(&mut self, net: &Parameters) -> Result<f64, Failure>;

    /// Trains from `net` for `epochs` of `training`, with `conditioning` in every step. Returns the trained net.
    ///
    /// # Errors
    /// If it cannot be computed. A diverged training returns a net that is not finite, and so are its scores.
    fn condition(
        &mut self,
        net: &Parameters,
        mask: Option<&Mask>,
        training: &TrainingSpec,
        seed: u64,
        conditioning: &mut dyn Conditioning,
    ) -> Result<Parameters, Failure>;
}

/// How a loss is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// The divisor of logits.
    pub temperature: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

/// A modification of every step of a training. Tensors are in the order of their files.
pub trait Conditioning {
    /// Returns the net whose loss and gradient are computed, for the weights `net`, before step `step` (from 0) of
    /// `steps`.
    fn effective(&mut self, step: u64, steps: u64, net: &Parameters) -> Parameters;

    /// Converts the gradient of the effective net to that of `net`.
    fn gradient(&mut self, step: u64, net: &Parameters, effective: Vec<Vec<f32>>) -> Vec<Vec<f32>>;

    /// Called with the net at the end of each epoch, from 1.
    fn end_epoch(&mut self, _epoch: u32, _net: &Parameters) {}
}

/// Returns the train rows of `batches` batches, drawn without replacement with the random numbers of `purpose`, or all
/// rows if there are fewer.
#[must_use]
pub fn calibration_rows(context: &Context<'_>, purpose: &str, batches: usize) -> Vec<u32> {
    drawn_rows(context, purpose, batches.saturating_mul(context.training.batch_size as usize))
}

/// Returns `count` train rows, drawn without replacement with the random numbers of `purpose`, or all rows if there are
/// fewer.
#[must_use]
pub fn drawn_rows(context: &Context<'_>, purpose: &str, count: usize) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..).take(context.probe.rows()).collect();
    rows.shuffle(&mut random::generator(purpose, &[context.seed]));
    rows.truncate(count);
    rows
}
