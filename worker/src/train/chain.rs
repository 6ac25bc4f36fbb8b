//! Loss and gradient of nets that are chains of linear layers and ReLUs, on a device whose tensors are in the
//! processor's memory. Lanes are processed one by one, so that their values remain in the processor's cache. Lanes with
//! the same rows share them.
//!
//! Sums and roundings are those of automatic differentiation of [`forward`](super::forward), so the results are equal
//! bit for bit. It saves memory accesses: biases and activations modify products in place.

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    bundle::Gradient,
    data::DeviceData,
    forward::{Link, Net, indices, lane_losses, row_weights},
    numbers::Numbers,
    vectors::widest,
};
use crate::{
    device,
    net::flat::{FlatLayout, FlatTensor},
};

/// Such a net, and the position of its parameters in a lane's row.
#[derive(Debug)]
pub struct Chain {
    layers: Vec<Layer>,
    /// P.
    length: usize,
    device: Device,
}

#[derive(Debug)]
struct Layer {
    weight: FlatTensor,
    bias: Option<FlatTensor>,
    inputs: usize,
    outputs: usize,
    activated: bool,
}

/// The rows that some lanes see in a step.
struct Batch<'a> {
    rows: &'a [i32],
    /// `[B, width]`.
    inputs: Tensor<2>,
    /// `[B]`.
    targets: Tensor<1>,
}

/// The loss of a lane's logits on a batch.
struct Judgement {
    loss: f32,
    /// The gradient of the loss with respect to the logits, `[B, outputs]`.
    slopes: Tensor<2>,
}

impl Chain {
    /// Returns `None` if the net is not such a chain, or `device` has memory of its own.
    #[must_use]
    pub fn of(net: &Net, layout: &FlatLayout, device: &Device) -> Option<Self> {
        if !device::shares_memory(device) {
            return None;
        }
        let tensor = |index: usize| layout.tensors()[index];
        let layers = net.chain()?.into_iter().map(|Link { weight, bias, inputs, outputs, activated }| Layer {
            weight: tensor(weight),
            bias: bias.map(tensor),
            inputs,
            outputs,
            activated,
        });
        Some(Self { layers: layers.collect(), length: layout.length(), device: device.clone() })
    }

    /// Loss and gradient of the lanes `parameters` `[K, P]`, each on its own batch. `rows` are row numbers of the train
    /// part, lane after lane. The loss of a row is multiplied by the weight of its class, from `class_weights` `[K, classes]`.
    #[must_use]
    pub fn gradient(
        &self,
        parameters: &Tensor<2>,
        class_weights: Option<&Tensor<2>>,
        data: &DeviceData,
        rows: &[i32],
    ) -> Gradient {
        let lanes = parameters.dims()[0];
        let mut batches: Vec<Batch<'_>> = Vec::new();
        let mut gradient = vec![0.0; lanes * self.length];
        let (mut losses, mut activations) = (Vec::with_capacity(lanes), Vec::with_capacity(lanes));
        let of_lanes = rows.chunks_exact(rows.len() / lanes).zip(gradient.chunks_exact_mut(self.length));
        for (lane, (rows, gradient)) in of_lanes.enumerate() {
            let known = batches.iter().position(|batch| batch.rows == rows);
            let batch = known.unwrap_or_else(|| {
                batches.push(self.gather(data, rows));
                batches.len() - 1
            });
            let weights = self.weights(parameters, lane);
            let (values, sum) = self.forward(&weights, &self.biases(parameters, lane), batches[batch].inputs.clone());
            let class_weights = class_weights.map(|weights| weights.clone().narrow(0, lane, 1));
            let loss = self.backward(&weights, values, (batches[batch].targets.clone(), class_weights), gradient);
            losses.push(loss);
            activations.push(sum);
        }
        let column = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, [lanes, 1]), &self.device);
        Gradient {
            loss: column(losses),
            gradient: Tensor::from_data(TensorData::new(gradient, [lanes, self.length]), &self.device),
            activations: column(activations),
            statistics: Vec::new(),
        }
    }

    fn gather<'a>(&self, data: &DeviceData, rows: &'a [i32]) -> Batch<'a> {
        let numbers = indices(rows.to_vec(), &self.device);
        Batch {
            rows,
            inputs: data.train_inputs.clone().select(0, numbers.clone()),
            targets: data.train_targets.clone().select(0, numbers),
        }
    }

    fn weights(&self, parameters: &Tensor<2>, lane: usize) -> Vec<Tensor<2>> {
        let weight = |layer: &Layer| part(parameters, lane, &layer.weight).reshape([layer.inputs, layer.outputs]);
        self.layers.iter().map(weight).collect()
    }

    fn biases(&self, parameters: &Tensor<2>, lane: usize) -> Vec<Option<Numbers>> {
        let bias = |layer: &Layer| Some(Numbers::take(part(parameters, lane, layer.bias.as_ref()?)));
        self.layers.iter().map(bias).collect()
    }

    /// The inputs of each layer and finally the logits, `[B, features]`, and the sum of all values before activations.
    fn forward(&self, weights: &[Tensor<2>], biases: &[Option<Numbers>], inputs: Tensor<2>) -> (Vec<Tensor<2>>, f32) {
        let mut sum = 0.0;
        let mut values = vec![inputs];
        for ((layer, weight), bias) in self.layers.iter().zip(weights).zip(biases) {
            let inputs = values[values.len() - 1].clone();
            let (outputs, of_layer) = self.apply(layer, weight, bias.as_ref(), inputs);
            values.push(outputs);
            sum += of_layer;
        }
        (values, sum)
    }

    /// The outputs of a layer, and the sum of its values before activation.
    fn apply(&self, layer: &Layer, weight: &Tensor<2>, bias: Option<&Numbers>, inputs: Tensor<2>) -> (Tensor<2>, f32) {
        let mut outputs = Numbers::take(inputs.matmul(weight.clone()));
        let sum = widest(
            #[inline(always)]
            || finish(outputs.values_mut(), bias.map(Numbers::values), layer),
        );
        (outputs.give(&self.device), sum)
    }

    /// The logits of each lane, row by row, of `inputs` `[B, width]`.
    #[must_use]
    pub(super) fn logits(&self, parameters: &Tensor<2>, inputs: &Tensor<2>) -> Vec<Numbers> {
        let of_lane = |lane| {
            let (weights, biases) = (self.weights(parameters, lane), self.biases(parameters, lane));
            let layers = self.layers.iter().zip(&weights).zip(&biases);
            let logits = layers.fold(inputs.clone(), |values, ((layer, weight), bias)| {
                self.apply(layer, weight, bias.as_ref(), values).0
            });
            Numbers::take(logits)
        };
        (0..parameters.dims()[0]).map(of_lane).collect()
    }

    /// Writes the gradient `[P]` of a lane and returns its loss.
    fn backward(
        &self,
        weights: &[Tensor<2>],
        mut values: Vec<Tensor<2>>,
        (targets, class_weights): (Tensor<1>, Option<Tensor<2>>),
        gradient: &mut [f32],
    ) -> f32 {
        let logits = values.pop().expect("a chain has logits");
        let Judgement { loss, mut slopes } = self.judge(logits, targets, class_weights);
        for (index, (layer, weight)) in self.layers.iter().zip(weights).enumerate().rev() {
            let inputs = values.pop().expect("every layer has inputs");
            let mut write = |tensor: &FlatTensor, values: Tensor<2>| {
                gradient[tensor.offset..tensor.offset + tensor.length].copy_from_slice(Numbers::take(values).values());
            };
            if let Some(bias) = &layer.bias {
                // In three dimensions, as for a whole bundle: in two, flex sums in another order.
                let [rows, outputs] = slopes.dims();
                write(bias, slopes.clone().reshape([1, rows, outputs]).sum_dim(1).reshape([1, outputs]));
            }
            write(&layer.weight, inputs.clone().transpose().matmul(slopes.clone()));
            if index == 0 {
                break;
            }
            slopes = slopes.matmul(weight.clone().transpose());
            if self.layers[index - 1].activated {
                let (mut numbers, outputs) = (Numbers::take(slopes), Numbers::take(inputs));
                widest(
                    #[inline(always)]
                    || {
                        for (slope, output) in numbers.values_mut().iter_mut().zip(outputs.values()) {
                            *slope = relu(*output, *slope);
                        }
                    },
                );
                slopes = numbers.give(&self.device);
            }
        }
        loss
    }

    fn judge(&self, logits: Tensor<2>, targets: Tensor<1>, class_weights: Option<Tensor<2>>) -> Judgement {
        let [rows, outputs] = logits.dims();
        if outputs > 1 {
            let leaf: Tensor<3> = Tensor::from_inner(logits.reshape([1, rows, outputs])).require_grad();
            let targets = targets.reshape([1, rows]);
            let weights = class_weights.map(|weights| Tensor::from_inner(row_weights(&weights, &targets)));
            let loss = lane_losses(leaf.clone(), Tensor::from_inner(targets), weights.as_ref());
            let slopes = leaf.grad(&loss.clone().sum().backward()).expect("the loss depends on the logits");
            let loss = Numbers::take(loss.inner()).values()[0];
            return Judgement { loss, slopes: slopes.reshape([rows, outputs]) };
        }
        let (mut logits, targets) = (Numbers::take(logits), Numbers::take(targets));
        let class_weights = class_weights.map(Numbers::take);
        // A factor of 1 changes no number.
        let [negative, positive] = match class_weights.as_ref().map(Numbers::values) {
            Some(&[negative, positive]) => [negative, positive],
            _ => [1.0, 1.0],
        };
        let share = (1.0 / rows as f64) as f32;
        let mut sum = 0.0;
        for (logit, target) in logits.values_mut().iter_mut().zip(targets.values()) {
            let weight = if *target == 1.0 { positive } else { negative };
            let (loss, slope) = cross_entropy(*logit, *target, share * weight);
            *logit = slope;
            sum += loss * weight;
        }
        Judgement { loss: sum / rows as f32, slopes: logits.give(&self.device) }
    }
}

/// The numbers of a tensor of a lane, `[1, numbers]`.
fn part(parameters: &Tensor<2>, lane: usize, tensor: &FlatTensor) -> Tensor<2> {
    parameters.clone().slice([lane..lane + 1, tensor.offset..tensor.offset + tensor.length])
}

/// Computes a layer's outputs from its products, and returns the sum of the values before activation.
#[expect(clippy::inline_always, reason = "what is not inlined is not made for wider vectors")]
#[inline(always)]
fn finish(products: &mut [f32], bias: Option<&[f32]>, layer: &Layer) -> f32 {
    // Adding minus zero changes no number.
    let none = vec![-0.0; if bias.is_some() { 0 } else { layer.outputs }];
    let bias = bias.unwrap_or(&none);
    let mut sums = vec![0.0; layer.outputs];
    for row in products.chunks_exact_mut(layer.outputs) {
        let values = row.iter_mut().zip(bias).zip(&mut sums);
        if layer.activated {
            for ((value, bias), sum) in values {
                let before = *value + bias;
                *sum += before;
                *value = relu(before, before);
            }
        } else {
            for ((value, bias), sum) in values {
                *value += bias;
                *sum += *value;
            }
        }
    }
    sums.iter().sum()
}

/// Returns `value` if the ReLU's `output` is positive, otherwise 0. NaN passes.
#[expect(clippy::inline_always, reason = "what is not inlined is not made for wider vectors")]
#[inline(always)]
fn relu(output: f32, value: f32) -> f32 {
    if output <= 0.0 { 0.0 } else { value }
}

/// The binary cross-entropy of a row as [`lane_losses`] has it, and what the logit adds to the mean of it, of which it has a `share`:
/// that of the last term, of the second and of the first, added in the order in which automatic differentiation meets them.
fn cross_entropy(logit: f32, target: f32, share: f32) -> (f32, f32) {
    let small = (-logit.abs()).exp();
    let loss = relu(logit, logit) - logit * target + small.ln_1p();
    let sign = f32::from(u8::from(logit > 0.0)) - f32::from(u8::from(logit < 0.0));
    let of_small = -(share * (1.0 / (small + 1.0)) * small) * sign;
    let of_positive = if logit < 0.0 { 0.0 } else { share };
    (loss, of_small - share * target + of_positive)
}
