//! Nets on the host: their parameters tensor by tensor, their initial values, their files, and which units hang together.
//!
//! Files hold a weight matrix as PyTorch does, `[outputs, inputs]` in row-major order, and so does [`Parameters`]. A bundle on a
//! device holds all parameters of a lane in one row, weights as `[inputs, outputs]`: [`flat`] is the only place that knows.

pub mod checkpoint;
pub mod flat;
pub mod fold;
pub mod initial;
pub mod mask;
pub mod units;

use secateur_proto::spec::{Activation, ModelSpec, TensorKind};

pub use self::mask::Mask;

/// ε of a batch normalisation, PyTorch's.
pub const NORM_EPSILON: f64 = 1e-5;

/// The numbers of one net, tensor by tensor in the order of [`ModelSpec::tensors`], each as in files.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// Row-major.
    pub tensors: Vec<Vec<f32>>,
}

impl Parameters {
    /// Whether the shapes are those of `model`.
    #[must_use]
    pub fn fits(&self, model: &ModelSpec) -> bool {
        let tensors = model.tensors();
        self.tensors.len() == tensors.len()
            && self.tensors.iter().zip(&tensors).all(|(values, tensor)| values.len() == tensor.numel())
    }

    /// Whether every number is finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.tensors.iter().flatten().all(|value| value.is_finite())
    }

    /// The first layer of `model` whose weights are all zero.
    #[must_use]
    pub fn empty_layer(&self, model: &ModelSpec) -> Option<String> {
        let empty =
            |tensor: &Option<usize>| tensor.is_some_and(|tensor| self.tensors[tensor].iter().all(|w| *w == 0.0));
        let layer = weight_tensors(model).iter().position(empty)?;
        Some(model.layers()[layer].name.clone())
    }
}

/// For each layer of `model` the index of its weight among the tensors; nothing for a layer without weights.
#[must_use]
pub fn weight_tensors(model: &ModelSpec) -> Vec<Option<usize>> {
    tensors_of(model, TensorKind::Weight)
}

/// For each layer of `model` the index among the tensors of the one of that kind, if it has one.
#[must_use]
pub fn tensors_of(model: &ModelSpec, kind: TensorKind) -> Vec<Option<usize>> {
    let mut of_layer = vec![None; model.layers().len()];
    for (index, tensor) in model.tensors().iter().enumerate() {
        if tensor.kind == kind {
            of_layer[tensor.layer] = Some(index);
        }
    }
    of_layer
}

/// What an activation makes of a number.
#[must_use]
pub fn activate(activation: Activation, value: f64) -> f64 {
    match activation {
        Activation::Relu => value.max(0.0),
        Activation::Gelu => value * 0.5 * libm::erfc(-value / std::f64::consts::SQRT_2),
        Activation::Silu => value / (1.0 + (-value).exp()),
        Activation::Tanh => value.tanh(),
    }
}
