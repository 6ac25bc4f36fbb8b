//! Scores of many rows.

use burn::tensor::Tensor;

use super::forward::{forward, split};
use crate::net::flat::FlatLayout;

/// Rows a pass: what all lanes compute for them stays in cache.
const ROWS: usize = 1024;

/// The logits of every row of `inputs` `[n, width]` by each of the nets `[K, P]`: K vectors of n.
#[must_use]
pub fn logits(parameters: &Tensor<2>, layout: &FlatLayout, inputs: &Tensor<2>) -> Vec<Vec<f32>> {
    let lanes = parameters.dims()[0];
    let [rows, width] = inputs.dims();
    let layers = split(parameters, layout);
    let mut logits = vec![Vec::with_capacity(rows); lanes];
    for start in (0..rows).step_by(ROWS) {
        let end = (start + ROWS).min(rows);
        let chunk = inputs.clone().slice([start..end, 0..width]).reshape([1, end - start, width]);
        let values = forward(&layers, chunk, |_| ()).into_data();
        let values: &[f32] = values.as_slice().expect("logits are f32");
        for (lane, values) in logits.iter_mut().zip(values.chunks_exact(end - start)) {
            lane.extend_from_slice(values);
        }
    }
    logits
}
