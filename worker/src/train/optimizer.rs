//! Update rules over the parameters `[K, P]` of a bundle, with PyTorch's formulas and constants.
//!
//! Burn's own optimisers have one learning rate for all and other defaults; lanes need their own rate, decay and strength.

use burn::tensor::{Device, Tensor, TensorData};
use secateur_proto::spec::{OptimizerSpec, RegularizationKind};

use super::bundle::Lane;
use crate::net::flat::FlatLayout;

/// One update rule for all lanes of a bundle, with its state.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    /// `[K, 1]`.
    lr: Tensor<2>,
    /// `[K, P]`: what is added to the gradient, times the parameter.
    coupled_decay: Option<Tensor<2>>,
    /// `[K, P]`: what parameters are multiplied by first.
    shrinkage: Option<Tensor<2>>,
    /// `[K, P]`: lr · λ at weights, 0 at biases.
    proximal_threshold: Option<Tensor<2>>,
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
        let weight_decay = |lane: &Lane| match lane.training.optimizer {
            OptimizerSpec::Adam { weight_decay, .. } | OptimizerSpec::Sgd { weight_decay, .. } => (weight_decay, 0.0),
            OptimizerSpec::AdamW { weight_decay, .. } => (0.0, weight_decay),
        };
        let strength = |lane: &Lane, kind| match &lane.regularization {
            Some(penalty) if penalty.kind == kind => penalty.strength,
            _ => 0.0,
        };
        let coupled = |lane: &Lane| weight_decay(lane).0 + strength(lane, RegularizationKind::L2);
        let shrinkage = |lane: &Lane| lane.training.optimizer.lr() * weight_decay(lane).1;
        let threshold = |lane: &Lane| lane.training.optimizer.lr() * strength(lane, RegularizationKind::L1);
        let at_weights = |of: &dyn Fn(&Lane) -> f64| {
            let values: Vec<f64> = lanes.iter().map(of).collect();
            values.iter().any(|value| *value != 0.0).then(|| {
                let rows: Vec<f32> = values.iter().flat_map(|value| layout.at_weights(*value as f32)).collect();
                Tensor::<2>::from_data(TensorData::new(rows, [lanes.len(), layout.length()]), device)
            })
        };
        let rule = match lanes[0].training.optimizer {
            OptimizerSpec::Adam { betas, eps, .. } | OptimizerSpec::AdamW { betas, eps, .. } => {
                Rule::Adam { betas, eps, moments: None }
            }
            OptimizerSpec::Sgd { momentum, nesterov, .. } => Rule::Sgd { momentum, nesterov, velocity: None },
        };
        let lr: Vec<f32> = lanes.iter().map(|lane| lane.training.optimizer.lr() as f32).collect();
        Self {
            rule,
            lr: Tensor::from_data(TensorData::new(lr, [lanes.len(), 1]), device),
            coupled_decay: at_weights(&coupled),
            shrinkage: at_weights(&shrinkage).map(|decay| decay.neg().add_scalar(1.0)),
            proximal_threshold: at_weights(&threshold),
            steps: 0,
        }
    }

    /// The parameters after a step along `gradient`.
    #[must_use]
    pub fn step(&mut self, mut parameters: Tensor<2>, mut gradient: Tensor<2>) -> Tensor<2> {
        self.steps += 1;
        if let Some(decay) = &self.coupled_decay {
            gradient = gradient + parameters.clone() * decay.clone();
        }
        if let Some(shrinkage) = &self.shrinkage {
            parameters = parameters * shrinkage.clone();
        }
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
        match &self.proximal_threshold {
            // w − clamp(w, −t, t) is sign(w) · max(|w| − t, 0).
            Some(threshold) => {
                let clamped = parameters.clone().min_pair(threshold.clone()).max_pair(threshold.clone().neg());
                parameters - clamped
            }
            None => parameters,
        }
    }
}
