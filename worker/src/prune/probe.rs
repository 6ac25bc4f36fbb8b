//! What can be measured of a net for pruning. Numbers in and out: knows no device.

use rand::seq::SliceRandom as _;
use secateur_proto::{outcome::Failure, spec::TrainingSpec};

use super::criteria::Context;
use crate::{
    net::{Mask, Parameters},
    random,
};

/// Measures nets of one architecture on the train rows of one dataset. Every gradient is in double precision, with the net as in
/// evaluation: nothing dropped, running statistics. The loss of a row is that of its label as it is, times the weight of its class. Tensors are in the order of the model's, each in files' order.
pub trait Probe {
    /// Train rows.
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

    /// Shows the gradient of the loss of each of `rows` alone to `each`, times the root of the weight of its class: squares and products
    /// of it then count as often as the row does.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn sample_gradients(
        &mut self,
        net: &Parameters,
        rows: &[u32],
        each: &mut dyn FnMut(&[Vec<f64>]),
    ) -> Result<(), Failure>;

    /// The gradient of the sum of all outputs, for one input of ones, of the net whose weights are `weights` and whose other numbers
    /// change nothing: biases and shifts 0, scales 1, means 0, variances 1.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn flow(&mut self, weights: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, Failure>;

    /// What each layer with weights is given for `rows`: by layer a matrix of fan-in columns, row-major; of a convolution one row for
    /// each position. Empty for a layer without weights.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn layer_inputs(&mut self, net: &Parameters, rows: &[u32]) -> Result<Vec<Vec<f64>>, Failure>;

    /// What leaves the activation after each layer for `rows`: by layer, for each unit or filter its values over all rows and
    /// positions. Empty for a layer that no activation follows.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn activations(&mut self, net: &Parameters, rows: &[u32]) -> Result<Vec<Vec<Vec<f64>>>, Failure>;

    /// The mean loss over the validation rows.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn validation_loss(&mut self, net: &Parameters) -> Result<f64, Failure>;

    /// Trains from `net` for `epochs` of `training` with a say of `conditioning` in every step; the net afterwards.
    ///
    /// # Errors
    /// If it cannot be computed. A training that diverges gives a net that is not finite, of which no score is.
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
    /// What logits are divided by first.
    pub temperature: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

/// Has a say in every step of a training. Tensors are in files' order.
pub trait Conditioning {
    /// The net whose loss and gradient are taken, at the weights `net`, before step `step` from 0 of `steps`.
    fn effective(&mut self, step: u64, steps: u64, net: &Parameters) -> Parameters;

    /// The gradient with respect to `net`, from that with respect to the effective net.
    fn gradient(&mut self, step: u64, net: &Parameters, effective: Vec<Vec<f32>>) -> Vec<Vec<f32>>;

    /// Is shown the net at the end of each epoch, from 1.
    fn end_epoch(&mut self, _epoch: u32, _net: &Parameters) {}
}

/// Train rows of `batches` batches, drawn without replacement from the random numbers of `purpose`; all if there are fewer.
#[must_use]
pub fn calibration_rows(context: &Context<'_>, purpose: &str, batches: usize) -> Vec<u32> {
    drawn_rows(context, purpose, batches.saturating_mul(context.training.batch_size as usize))
}

/// `count` train rows, drawn without replacement from the random numbers of `purpose`; all if there are fewer.
#[must_use]
pub fn drawn_rows(context: &Context<'_>, purpose: &str, count: usize) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..).take(context.probe.rows()).collect();
    rows.shuffle(&mut random::generator(purpose, &[context.seed]));
    rows.truncate(count);
    rows
}
