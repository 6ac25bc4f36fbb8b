//! What quantization sees of a forward pass, and does to it.

use burn::tensor::Tensor;

use super::Levels;
use crate::train::forward::{Observer, Values};

/// Collects the inputs of each layer.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) of_layer: Vec<Vec<f32>>,
}

impl Observer for Sample {
    fn input(&mut self, layer: usize, values: &Values) {
        let values = match values {
            Values::Rows(rows) => rows.to_data(),
            Values::Images(images) => images.to_data(),
        };
        self.of_layer[layer].extend(values.iter::<f32>());
    }
}

/// Rounds the inputs of each layer to its levels.
#[derive(Debug)]
pub(super) struct Rounds {
    /// By layer; `None` where inputs stay as they are.
    pub(super) levels: Vec<Option<Levels>>,
}

impl Observer for Rounds {
    fn replace_input(&mut self, layer: usize, values: Values) -> Values {
        match (self.levels[layer], values) {
            (None, values) => values,
            (Some(levels), Values::Rows(rows)) => Values::Rows(rounded(rows, levels)),
            (Some(levels), Values::Images(images)) => Values::Images(rounded(images, levels)),
        }
    }
}

/// As [`Levels::round`].
fn rounded<const D: usize>(values: Tensor<D>, levels: Levels) -> Tensor<D> {
    let zero_point = f32::from(levels.zero_point);
    let level = values.div_scalar(levels.scale).round().add_scalar(zero_point).clamp(0.0, 255.0);
    level.sub_scalar(zero_point).mul_scalar(levels.scale)
}
