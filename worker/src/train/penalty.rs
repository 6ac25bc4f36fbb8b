//! Penalties on the parameters `[K, P]` of a bundle: what they add to the gradient, and what they do after a step.

use burn::tensor::{Device, Tensor, TensorData};
use secateur_proto::spec::{RegularizationKind, TensorKind};

use super::bundle::Lane;
use crate::net::flat::FlatLayout;

/// The penalties of the lanes of a bundle, which agree on the kind.
#[derive(Debug)]
pub struct Penalty {
    kind: Option<RegularizationKind>,
    /// `[K, P]`: λ at weights, 0 elsewhere.
    strength: Option<Tensor<2>>,
}

impl Penalty {
    /// Those of `lanes`.
    #[must_use]
    pub fn new(lanes: &[Lane], layout: &FlatLayout, device: &Device) -> Self {
        let kind = lanes.iter().find_map(|lane| lane.regularization.as_ref().map(|penalty| penalty.kind));
        let strengths: Vec<f64> =
            lanes.iter().map(|lane| lane.regularization.as_ref().map_or(0.0, |penalty| penalty.strength)).collect();
        Self { kind, strength: at_weights(&strengths, layout, device) }
    }

    /// Is told of the epoch that begins, from 1, of so many.
    pub const fn begin_epoch(&mut self, _epoch: u32, _epochs: u32) {}

    /// The gradient with that of the penalty.
    #[must_use]
    pub fn add_gradient(&self, parameters: &Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
        match (self.kind, &self.strength) {
            (Some(RegularizationKind::L2), Some(strength)) => gradient + parameters.clone() * strength.clone(),
            _ => gradient,
        }
    }

    /// The parameters after a step of rate `lr` `[K, 1]` and the penalty's own part of it.
    #[must_use]
    pub fn after_step(&self, parameters: Tensor<2>, lr: &Tensor<2>) -> Tensor<2> {
        match (self.kind, &self.strength) {
            (Some(RegularizationKind::L1), Some(strength)) => {
                // w − clamp(w, −t, t) is sign(w) · max(|w| − t, 0).
                let threshold = strength.clone() * lr.clone();
                let clamped = parameters.clone().min_pair(threshold.clone()).max_pair(threshold.neg());
                parameters - clamped
            }
            _ => parameters,
        }
    }
}

/// `[K, P]`: each lane's value at its weights, 0 elsewhere; nothing if all are 0.
#[must_use]
pub fn at_weights(values: &[f64], layout: &FlatLayout, device: &Device) -> Option<Tensor<2>> {
    values.iter().any(|value| *value != 0.0).then(|| {
        let rows: Vec<f32> = values.iter().flat_map(|value| layout.at(TensorKind::Weight, *value as f32)).collect();
        Tensor::from_data(TensorData::new(rows, [values.len(), layout.length()]), device)
    })
}
