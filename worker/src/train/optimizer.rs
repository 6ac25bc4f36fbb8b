//! Optimisers over the parameters `[K, P]` of a bundle, with PyTorch's formulas and constants.
//!
//! Burn's optimisers have a single learning rate and other defaults; lanes need their own rate, decay and strength.

use burn::tensor::{Device, Tensor, TensorData};
use secateur_proto::spec::OptimizerSpec;

use super::{
    bundle::Lane,
    penalty::{Penalty, at_weights},
};
use crate::{device, net::flat::FlatLayout};

mod pass;

/// One update rule for all lanes of a bundle, with its state.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    /// The lanes' learning rates as specified, and those of the next step.
    base_rates: Vec<f32>,
    rates: Vec<f32>,
    /// `[K, 1]`: `rates` on the device.
    lr: Tensor<2>,
    /// `[K, P]`: the decay added to the gradient, times the parameter.
    coupled_decay: Option<Tensor<2>>,
    /// `[K, P]`: the decay that parameters lose first, times the rate and the parameter.
    decoupled_decay: Option<Tensor<2>>,
    /// The same decays on the host, one number for each lane.
    coupled_rates: Option<Vec<f32>>,
    decoupled_rates: Option<Vec<f32>>,
    penalty: Penalty,
    steps: i32,
    layout: FlatLayout,
    device: Device,
    /// Whether a step is a single pass over memory.
    passes: bool,
}

/// The result of a step.
#[derive(Debug)]
pub struct Stepped {
    /// The parameters after it.
    pub parameters: Tensor<2>,
    /// The given gradient.
    pub gradient: Tensor<2>,
    /// The squared norm of the masked gradient of each lane, `[K, 1]`.
    pub squared_norm: Tensor<2>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one a bundle")]
enum Rule {
    Adam { betas: [f64; 2], eps: f64, moments: Option<(Tensor<2>, Tensor<2>)> },
    Sgd { momentum: f64, nesterov: bool, velocity: Option<Tensor<2>> },
}

/// The number of moments that an optimiser has after its first step.
#[must_use]
pub fn moments(rule: &OptimizerSpec) -> usize {
    match rule {
        OptimizerSpec::Adam { .. } | OptimizerSpec::AdamW { .. } => 2,
        OptimizerSpec::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
    }
}

impl Optimizer {
    /// The optimiser of the lanes, which only differ in rate, decay and strength. Moments start at zero.
    #[must_use]
    pub fn new(lanes: &[Lane], layout: &FlatLayout, device: &Device) -> Self {
        let decays = |of: &dyn Fn(&OptimizerSpec) -> f64| -> Vec<f64> {
            lanes.iter().map(|lane| of(&lane.training.optimizer)).collect()
        };
        let on_host = |decays: &[f64]| {
            let any = decays.iter().any(|decay| *decay != 0.0);
            any.then(|| decays.iter().map(|decay| *decay as f32).collect::<Vec<f32>>())
        };
        let coupled = |rule: &OptimizerSpec| match rule {
            OptimizerSpec::Adam { weight_decay, .. } | OptimizerSpec::Sgd { weight_decay, .. } => *weight_decay,
            OptimizerSpec::AdamW { .. } => 0.0,
        };
        let decoupled = |rule: &OptimizerSpec| match rule {
            OptimizerSpec::AdamW { weight_decay, .. } => *weight_decay,
            OptimizerSpec::Adam { .. } | OptimizerSpec::Sgd { .. } => 0.0,
        };
        let rule = match lanes[0].training.optimizer {
            OptimizerSpec::Adam { betas, eps, .. } | OptimizerSpec::AdamW { betas, eps, .. } => {
                Rule::Adam { betas, eps, moments: None }
            }
            OptimizerSpec::Sgd { momentum, nesterov, .. } => Rule::Sgd { momentum, nesterov, velocity: None },
        };
        let rates: Vec<f32> = lanes.iter().map(|lane| lane.training.optimizer.lr() as f32).collect();
        let lr = column(&rates, device);
        let (coupled, decoupled) = (decays(&coupled), decays(&decoupled));
        let penalty = Penalty::new(lanes, layout, device);
        Self {
            rule,
            lr,
            base_rates: rates.clone(),
            rates,
            coupled_decay: at_weights(&coupled, layout, device),
            decoupled_decay: at_weights(&decoupled, layout, device),
            coupled_rates: on_host(&coupled),
            decoupled_rates: on_host(&decoupled),
            passes: device::shares_memory(device) && penalty.is_of_single_numbers(),
            penalty,
            steps: 0,
            layout: layout.clone(),
            device: device.clone(),
        }
    }

    /// Uses only tensor operations from now on.
    #[cfg(test)]
    pub(super) const fn operate_on_tensors(&mut self) {
        self.passes = false;
    }

    /// Multiplies the lanes' learning rates by `factor` from the next step on.
    pub fn scale_lr(&mut self, factor: f64) {
        let rates: Vec<f32> = self.base_rates.iter().map(|rate| rate * factor as f32).collect();
        if rates != self.rates {
            self.lr = column(&rates, &self.device);
            self.rates = rates;
        }
    }

    /// The penalty.
    pub const fn penalty(&mut self) -> &mut Penalty {
        &mut self.penalty
    }

    /// Adam's mean of the squared gradient, `[K, P]`, or `None` for another optimiser or before the first step.
    #[must_use]
    pub const fn second_moment(&self) -> Option<&Tensor<2>> {
        match &self.rule {
            Rule::Adam { moments: Some((_, second)), .. } => Some(second),
            _ => None,
        }
    }

    /// Its state: the steps since moments began, and the moments, each `[K, P]`. Adam has the mean of the gradient and
    /// of its square; SGD with momentum has the velocity. Before the first step there are none.
    #[must_use]
    pub fn memory(&self) -> (i32, Vec<Tensor<2>>) {
        let moments = match &self.rule {
            Rule::Adam { moments, .. } => {
                moments.iter().flat_map(|(first, second)| [first.clone(), second.clone()]).collect()
            }
            Rule::Sgd { velocity, .. } => velocity.iter().cloned().collect(),
        };
        (self.steps, moments)
    }

    /// Restores the [`Self::memory`] of an optimiser of the same kind.
    pub fn remember(&mut self, steps: i32, moments: Vec<Tensor<2>>) {
        self.steps = steps;
        let mut remembered = moments.into_iter();
        match &mut self.rule {
            Rule::Adam { moments, .. } => *moments = remembered.next().zip(remembered.next()),
            Rule::Sgd { velocity, .. } => *velocity = remembered.next(),
        }
    }

    /// Sets moments to zero where `kept` `[K, P]` is 0; they do not change where it is 1.
    pub fn keep(&mut self, kept: &Tensor<2>) {
        match &mut self.rule {
            Rule::Adam { moments, .. } => {
                *moments = moments.take().map(|(first, second)| (first * kept.clone(), second * kept.clone()));
            }
            Rule::Sgd { velocity, .. } => *velocity = velocity.take().map(|velocity| velocity * kept.clone()),
        }
    }

    /// Resets the moments to zero.
    pub fn reset(&mut self) {
        self.steps = 0;
        match &mut self.rule {
            Rule::Adam { moments, .. } => *moments = None,
            Rule::Sgd { velocity, .. } => *velocity = None,
        }
    }

    /// The parameters after a step along `gradient`.
    #[must_use]
    pub fn step(&mut self, parameters: Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
        self.masked_step(parameters, gradient, None).parameters
    }

    /// A step along `gradient`, with an optional mask on gradient and parameters.
    ///
    /// The gradient is masked so that moments only depend on kept weights. The parameters are masked so that nothing
    /// else can revive a removed weight.
    pub fn masked_step(&mut self, parameters: Tensor<2>, gradient: Tensor<2>, mask: Option<&mut Tensor<2>>) -> Stepped {
        self.steps += 1;
        if self.passes {
            return self.pass(parameters, gradient, mask);
        }
        let left = match &mask {
            Some(mask) => gradient.clone() * (**mask).clone(),
            None => gradient.clone(),
        };
        let squared_norm = (left.clone() * left.clone()).sum_dim(1);
        let moved = self.operate(parameters, left);
        let parameters = match mask {
            Some(mask) => moved * mask.clone(),
            None => moved,
        };
        Stepped { parameters, gradient, squared_norm }
    }

    /// A step with tensor operations, on any device.
    fn operate(&mut self, mut parameters: Tensor<2>, mut gradient: Tensor<2>) -> Tensor<2> {
        gradient = self.penalty.add_gradient(&parameters, gradient);
        if let Some(decay) = &self.coupled_decay {
            gradient = gradient + parameters.clone() * decay.clone();
        }
        if let Some(decay) = &self.decoupled_decay {
            let shrinkage = (decay.clone() * self.lr.clone()).neg().add_scalar(1.0);
            parameters = parameters * shrinkage;
        }
        parameters = self.penalty.before_step(parameters, &self.lr);
        let update = match &mut self.rule {
            Rule::Adam { betas: [beta_1, beta_2], eps, moments } => {
                let squared = gradient.clone() * gradient.clone();
                let (first, second) = match moments.take() {
                    Some((first, second)) => (
                        first.mul_scalar(*beta_1) + gradient.mul_scalar(1.0 - *beta_1),
                        second.mul_scalar(*beta_2) + squared.mul_scalar(1.0 - *beta_2),
                    ),
                    None => (gradient.mul_scalar(1.0 - *beta_1), squared.mul_scalar(1.0 - *beta_2)),
                };
                let correction_1 = 1.0 - beta_1.powi(self.steps);
                let correction_2 = 1.0 - beta_2.powi(self.steps);
                let denominator = second.clone().sqrt().div_scalar(correction_2.sqrt()).add_scalar(*eps);
                let update = (first.clone() / denominator).mul_scalar(1.0 / correction_1);
                *moments = Some((first, second));
                update
            }
            Rule::Sgd { momentum, nesterov, velocity } if *momentum != 0.0 => {
                let moved = match velocity.take() {
                    Some(velocity) => velocity.mul_scalar(*momentum) + gradient.clone(),
                    None => gradient.clone(),
                };
                *velocity = Some(moved.clone());
                if *nesterov { gradient + moved.mul_scalar(*momentum) } else { moved }
            }
            Rule::Sgd { .. } => gradient,
        };
        parameters = parameters - update * self.lr.clone();
        self.penalty.after_step(parameters, &self.lr)
    }
}

fn column(values: &[f32], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1]), device)
}
