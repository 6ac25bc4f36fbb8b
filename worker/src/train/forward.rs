//! The forward pass of a bundle, and its loss.

use burn::tensor::{Tensor, activation::relu};

use crate::net::{flat::FlatLayout, weights_of};

/// The parameters of a bundle, layer by layer: weights `[K, inputs, outputs]` and biases `[K, 1, outputs]` in turn.
#[must_use]
pub fn split(flat: &Tensor<2>, layout: &FlatLayout) -> Vec<Tensor<3>> {
    let lanes = flat.dims()[0];
    layout
        .layers()
        .flat_map(|(layer, offset)| {
            let (inputs, outputs) = (layer.inputs as usize, layer.outputs as usize);
            let bias = offset + weights_of(layer);
            [
                flat.clone().slice([0..lanes, offset..bias]).reshape([lanes, inputs, outputs]),
                flat.clone().slice([0..lanes, bias..bias + outputs]).reshape([lanes, 1, outputs]),
            ]
        })
        .collect()
}

/// Logits `[K, B, 1]` of inputs `[K, B, width]`, or of inputs `[1, B, width]` that all lanes share.
/// `watch` sees the values `[K, B, outputs]` of every layer before its activation.
pub fn forward(parameters: &[Tensor<3>], inputs: Tensor<3>, mut watch: impl FnMut(&Tensor<3>)) -> Tensor<3> {
    let last = parameters.len() / 2 - 1;
    (parameters.chunks_exact(2).enumerate()).fold(inputs, |values, (index, layer)| {
        let values = values.matmul(layer[0].clone()) + layer[1].clone();
        watch(&values);
        if index < last { relu(values) } else { values }
    })
}

/// Mean binary cross-entropy of each lane, `[K]`, from logits and targets of `[K, B, 1]`:
/// max(z, 0) − z·y + log(1 + exp(−|z|)), which never overflows.
#[must_use]
pub fn lane_losses(logits: Tensor<3>, targets: Tensor<3>) -> Tensor<1> {
    let lanes = logits.dims()[0];
    let losses = logits.clone().clamp_min(0.0) - logits.clone() * targets + logits.abs().neg().exp().log1p();
    losses.mean_dim(1).reshape([lanes])
}
