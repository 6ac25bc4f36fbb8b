//! Update rules over the parameters `[K, P]` of a bundle, with PyTorch's formulas and constants.
//!
//! Burn's own optimisers have one learning rate for all and other defaults; lanes need their own rate, decay and strength.

use burn::tensor::{Device, Tensor, TensorData};
use secateur_proto::spec::OptimizerSpec;

use super::{
    bundle::Lane,
    penalty::{Penalty, at_weights},
};
use crate::net::flat::FlatLayout;

/// One update rule for all lanes of a bundle, with its state.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    /// `[K, 1]`: as the lanes say.
    base_lr: Tensor<2>,
    /// `[K, 1]`: of the next step.
    lr: Tensor<2>,
    /// `[K, P]`: what is added to the gradient, times the parameter.
    coupled_decay: Option<Tensor<2>>,
    /// `[K, P]`: what parameters lose first, times the rate and themselves.
    decoupled_decay: Option<Tensor<2>>,
    penalty: Penalty,
    steps: i32,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one a bundle")]
enum Rule {
    Adam { betas: [f64; 2], eps: f64, moments: Option<(Tensor<2>, Tensor<2>)> },
    Sgd { momentum: f64, nesterov: bool, velocity: Option<Tensor<2>> },
}

impl Optimizer {
    /// The rule of the lanes, which agree in all but rate, decay and strength; moments start at zero.
    #[must_use]
    pub fn new(lanes: &[Lane], layout: &FlatLayout, device: &Device) -> Self {
        let decays = |of: &dyn Fn(&OptimizerSpec) -> f64| {
            let values: Vec<f64> = lanes.iter().map(|lane| of(&lane.training.optimizer)).collect();
            at_weights(&values, layout, device)
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
        let lr: Vec<f32> = lanes.iter().map(|lane| lane.training.optimizer.lr() as f32).collect();
        let lr = Tensor::from_data(TensorData::new(lr, [lanes.len(), 1]), device);
        Self {
            rule,
            base_lr: lr.clone(),
            lr,
            coupled_decay: decays(&coupled),
            decoupled_decay: decays(&decoupled),
            penalty: Penalty::new(lanes, layout, device),
            steps: 0,
        }
    }

    /// Multiplies the lanes' learning rates by `factor` from the next step on.
    pub fn scale_lr(&mut self, factor: f64) {
        self.lr = self.base_lr.clone().mul_scalar(factor);
    }

    /// The penalty.
    pub const fn penalty(&mut self) -> &mut Penalty {
        &mut self.penalty
    }

    /// The mean of the squared gradient as Adam has it, `[K, P]`; nothing of another rule or before the first step.
    #[must_use]
    pub const fn second_moment(&self) -> Option<&Tensor<2>> {
        match &self.rule {
            Rule::Adam { moments: Some((_, second)), .. } => Some(second),
            _ => None,
        }
    }

    /// Sets moments to zero where `kept` `[K, P]` is 0 and leaves them where it is 1.
    pub fn keep(&mut self, kept: &Tensor<2>) {
        match &mut self.rule {
            Rule::Adam { moments, .. } => {
                *moments = moments.take().map(|(first, second)| (first * kept.clone(), second * kept.clone()));
            }
            Rule::Sgd { velocity, .. } => *velocity = velocity.take().map(|velocity| velocity * kept.clone()),
        }
    }

    /// Begins anew: moments at zero.
    pub fn reset(&mut self) {
        self.steps = 0;
        match &mut self.rule {
            Rule::Adam { moments, .. } => *moments = None,
            Rule::Sgd { velocity, .. } => *velocity = None,
        }
    }

    /// The parameters after a step along `gradient`.
    #[must_use]
    pub fn step(&mut self, mut parameters: Tensor<2>, mut gradient: Tensor<2>) -> Tensor<2> {
        self.steps += 1;
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
