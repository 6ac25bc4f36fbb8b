//! Nets on the host: their parameters layer by layer, their initial values, and their files.
//!
//! Files hold a weight matrix as PyTorch does, `[outputs, inputs]` in row-major order, and so does [`Parameters`]. A bundle on a
//! device holds all parameters of a lane in one row, weights as `[inputs, outputs]`: [`flat`] is the only place that knows.

pub mod checkpoint;
pub mod flat;

use rand::RngExt as _;
use secateur_proto::spec::{Layer, ModelSpec};

use crate::random;

/// One linear layer's numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerParameters {
    /// `[outputs, inputs]`, row-major.
    pub weight: Vec<f32>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
}

/// The numbers of one net, in the order of [`ModelSpec::layers`].
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// From the inputs on.
    pub layers: Vec<LayerParameters>,
}

impl Parameters {
    /// The initial values that PyTorch gives a `Linear`: weights and biases uniform in ±1/√inputs.
    #[must_use]
    pub fn initial(model: &ModelSpec, seed: u64) -> Self {
        let mut generator = random::generator("initial parameters", &[seed]);
        let layers = model.layers().into_iter().map(|layer| {
            let bound = 1.0 / f64::from(layer.inputs).sqrt();
            let mut draw = |count: usize| -> Vec<f32> {
                (0..count).map(|_| (generator.random::<f64>().mul_add(2.0, -1.0) * bound) as f32).collect()
            };
            LayerParameters { weight: draw(weights_of(&layer)), bias: draw(layer.outputs as usize) }
        });
        Self { layers: layers.collect() }
    }

    /// Whether the shapes are those of `model`.
    #[must_use]
    pub fn fits(&self, model: &ModelSpec) -> bool {
        let layers = model.layers();
        self.layers.len() == layers.len()
            && (self.layers.iter().zip(&layers)).all(|(parameters, layer)| {
                parameters.weight.len() == weights_of(layer) && parameters.bias.len() == layer.outputs as usize
            })
    }

    /// Whether every number is finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.layers.iter().all(|layer| layer.weight.iter().chain(&layer.bias).all(|value| value.is_finite()))
    }
}

/// Weights of a layer as a length.
#[must_use]
pub fn weights_of(layer: &Layer) -> usize {
    layer.inputs as usize * layer.outputs as usize
}

/// Which weights of the prunable layers are kept: one vector a prunable layer, in the order of the weights in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// `true` where a weight is kept.
    pub kept: Vec<Vec<bool>>,
}

impl Mask {
    /// Keeps everything.
    #[must_use]
    pub fn full(model: &ModelSpec) -> Self {
        let layers = model.layers();
        let kept = layers.iter().filter(|layer| layer.prunable).map(|layer| vec![true; weights_of(layer)]);
        Self { kept: kept.collect() }
    }

    /// Weights removed.
    #[must_use]
    pub fn removed(&self) -> u64 {
        self.kept.iter().flatten().filter(|kept| !**kept).count() as u64
    }

    /// Sets removed weights to exactly zero.
    pub fn apply(&self, parameters: &mut Parameters) {
        for (layer, kept) in parameters.layers.iter_mut().zip(&self.kept) {
            for (weight, kept) in layer.weight.iter_mut().zip(kept) {
                if !kept {
                    *weight = 0.0;
                }
            }
        }
    }

    /// Removed weights that are not exactly zero. Anything but 0 is a defect.
    #[must_use]
    pub fn violations(&self, parameters: &Parameters) -> usize {
        (parameters.layers.iter().zip(&self.kept))
            .flat_map(|(layer, kept)| layer.weight.iter().zip(kept))
            .filter(|(weight, kept)| !**kept && **weight != 0.0)
            .count()
    }
}
