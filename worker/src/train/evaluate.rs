//! Scores of many rows.

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    chain::Chain,
    forward::{Mode, Net, Nobody, Observer, forward, split},
};
use crate::net::{Parameters, flat::FlatLayout};

/// Rows in one pass: the values of all lanes remain in cache.
const ROWS: usize = 1024;

/// Rows in one pass of an image net, whose values between layers are many times larger than its inputs.
const IMAGES: usize = 250;

/// The logits of every row of `inputs` `[n, width]` by each of the nets `[K, P]`: K vectors of n · outputs, row by row.
#[must_use]
pub fn logits(net: &Net, parameters: &Tensor<2>, layout: &FlatLayout, inputs: &Tensor<2>) -> Vec<Vec<f32>> {
    let lanes = parameters.dims()[0];
    let [rows, width] = inputs.dims();
    let chain = Chain::of(net, layout, &parameters.device());
    let tensors = split(parameters, layout);
    let most = if net.takes_images() { IMAGES } else { ROWS };
    let mut logits = vec![Vec::with_capacity(rows * net.outputs()); lanes];
    for start in (0..rows).step_by(most) {
        let end = (start + most).min(rows);
        let chunk = inputs.clone().slice([start..end, 0..width]);
        if let Some(chain) = &chain {
            for (lane, values) in logits.iter_mut().zip(chain.logits(parameters, &chunk)) {
                lane.extend_from_slice(values.values());
            }
            continue;
        }
        let chunk = chunk.reshape([1, end - start, width]);
        let values = forward(net, &tensors, chunk, &Mode::Evaluation, &mut Nobody).into_data();
        let values: &[f32] = values.as_slice().expect("logits are f32");
        for (lane, values) in logits.iter_mut().zip(values.chunks_exact((end - start) * net.outputs())) {
            lane.extend_from_slice(values);
        }
    }
    logits
}

/// The logits of every row of `inputs` by one net.
#[must_use]
pub fn logits_of(
    net: &Net,
    layout: &FlatLayout,
    parameters: &Parameters,
    inputs: &Tensor<2>,
    device: &Device,
) -> Vec<f32> {
    let row = TensorData::new(layout.flatten(parameters), [1, layout.length()]);
    logits(net, &Tensor::from_data(row, device), layout, inputs).remove(0)
}

/// The logits of every row of `inputs` by one net. `observer` sees the values of each layer.
///
/// # Panics
/// Never: nets compute with f32.
#[must_use]
pub fn observed_logits(
    net: &Net,
    layout: &FlatLayout,
    parameters: &Parameters,
    inputs: &Tensor<2>,
    device: &Device,
    observer: &mut dyn Observer,
) -> Vec<f32> {
    let row = TensorData::new(layout.flatten(parameters), [1, layout.length()]);
    let tensors = split(&Tensor::from_data(row, device), layout);
    let [rows, width] = inputs.dims();
    let most = if net.takes_images() { IMAGES } else { ROWS };
    let mut logits = Vec::with_capacity(rows * net.outputs());
    for start in (0..rows).step_by(most) {
        let end = (start + most).min(rows);
        let chunk = inputs.clone().slice([start..end, 0..width]).reshape([1, end - start, width]);
        let values = forward(net, &tensors, chunk, &Mode::Evaluation, observer).into_data();
        logits.extend_from_slice(values.as_slice().expect("logits are f32"));
    }
    logits
}
