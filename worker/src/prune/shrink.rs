//! Converts a net with zeros to a smaller net that computes the same.
//!
//! A unit that nothing reads is removed. So is a unit with a constant value, because its own weights or the scale of
//! its normalisation are zero: its contribution is added to the biases of the layer that reads it. One removal can
//! enable another, so this repeats until nothing changes. The origin of the zeros does not matter: what a mask removed
//! is exactly zero.
//!
//! Perceptrons shrink. Residual perceptrons lose the inputs that they do not read, but no units: units are added to
//! others, and every block has the same width. The filters of LeNet-5 are fixed. A [`ModelSpec`] cannot describe what
//! would be left of these nets, so they are returned unchanged.

use secateur_proto::spec::{Activation, LayerKind, ModelSpec};

use crate::net::{NORM_EPSILON, Parameters, activate};

/// A smaller net that computes the same as a larger one.
#[derive(Debug, Clone, PartialEq)]
pub struct Compact {
    /// Its architecture.
    pub model: ModelSpec,
    /// Its parameters.
    pub parameters: Parameters,
    /// The input features that it reads, ascending, by their places in the rows of the larger net.
    pub inputs: Vec<u32>,
    /// The input features that it does not depend on: attributes that need not be collected.
    pub unused_inputs: Vec<u32>,
}

/// The smallest net that computes the same as `net` in evaluation, as far as its zeros show. A layer keeps at least one
/// unit, and the net one input.
///
/// # Panics
/// If the parameters are not those of the model.
#[must_use]
pub fn shrink(model: &ModelSpec, net: &Parameters) -> Compact {
    assert!(net.fits(model), "the parameters of a net are those of its model");
    match model {
        ModelSpec::Mlp { outputs, activation, batch_norm, .. } => {
            let mut layers = linear_layers(net, *batch_norm);
            while shrink_once(&mut layers, *activation) {}
            let unused = |column: usize| layers[0].rows.iter().all(|row| row[column] == 0.0);
            let (unused_inputs, mut used): (Vec<usize>, Vec<usize>) =
                (0..layers[0].rows[0].len()).partition(|column| unused(*column));
            if used.is_empty() {
                used.push(0);
            }
            layers[0].keep_columns(&used);
            let hidden = layers[..layers.len() - 1].iter().map(|layer| number(layer.rows.len())).collect();
            Compact {
                model: ModelSpec::Mlp {
                    inputs: number(used.len()),
                    hidden,
                    outputs: *outputs,
                    activation: *activation,
                    batch_norm: *batch_norm,
                },
                parameters: Parameters { tensors: layers.into_iter().flat_map(Linear::tensors).collect() },
                inputs: used.into_iter().map(number).collect(),
                unused_inputs: unused_inputs.into_iter().map(number).collect(),
            }
        }
        ModelSpec::ResidualMlp { width, blocks, outputs, activation, .. } => {
            let unused = unused_inputs(model, net);
            let mut used: Vec<u32> =
                (0..).take(net.tensors[0].len() / *width as usize).filter(|input| !unused.contains(input)).collect();
            if used.is_empty() {
                used.push(0);
            }
            let mut parameters = net.clone();
            let rows = net.tensors[0].chunks_exact(net.tensors[0].len() / *width as usize);
            parameters.tensors[0] = rows.flat_map(|row| used.iter().map(|input| row[*input as usize])).collect();
            let (width, blocks, outputs, activation) = (*width, *blocks, *outputs, *activation);
            Compact {
                model: ModelSpec::ResidualMlp { inputs: number(used.len()), width, blocks, outputs, activation },
                parameters,
                inputs: used,
                unused_inputs: unused,
            }
        }
        ModelSpec::Lenet5 { .. } | ModelSpec::ResidualCnn { .. } => Compact {
            model: model.clone(),
            parameters: net.clone(),
            inputs: (0..).take(usize::try_from(model.inputs()).unwrap_or(usize::MAX)).collect(),
            unused_inputs: unused_inputs(model, net),
        },
    }
}

/// A linear layer with its normalisation.
struct Linear {
    /// By unit.
    rows: Vec<Vec<f32>>,
    bias: Vec<f32>,
    /// Scale, shift, running mean and running variance of each unit.
    norm: Option<[Vec<f32>; 4]>,
}

impl Linear {
    /// The value of a unit if it does not depend on the inputs.
    fn constant(&self, unit: usize, activation: Activation) -> Option<f64> {
        let is_constant = self.rows[unit].iter().all(|weight| *weight == 0.0);
        let sum = f64::from(self.bias[unit]);
        let sum = match &self.norm {
            None => is_constant.then_some(sum),
            Some(norm) => {
                let [scale, shift, mean, variance] = norm.each_ref().map(|values| f64::from(values[unit]));
                let normal = scale * (sum - mean) / (variance + NORM_EPSILON).sqrt() + shift;
                (is_constant || scale == 0.0).then_some(normal)
            }
        };
        sum.map(|sum| activate(activation, sum))
    }

    fn keep_columns(&mut self, columns: &[usize]) {
        self.rows.iter_mut().for_each(|row| *row = columns.iter().map(|column| row[*column]).collect());
    }

    fn keep_units(&mut self, units: &[usize]) {
        let keep = |values: &Vec<f32>| units.iter().map(|unit| values[*unit]).collect::<Vec<f32>>();
        self.rows = units.iter().map(|unit| std::mem::take(&mut self.rows[*unit])).collect();
        self.bias = keep(&self.bias);
        self.norm = self.norm.as_ref().map(|norm| norm.each_ref().map(keep));
    }

    fn tensors(self) -> impl Iterator<Item = Vec<f32>> {
        [self.rows.concat(), self.bias].into_iter().chain(self.norm.into_iter().flatten())
    }
}

/// The layers of a perceptron from its tensors; the last has no normalisation.
fn linear_layers(net: &Parameters, batch_norm: bool) -> Vec<Linear> {
    let mut layers = Vec::new();
    let mut tensors = net.tensors.as_slice();
    while let [weight, bias, rest @ ..] = tensors {
        let rows = weight.chunks_exact(weight.len() / bias.len()).map(<[f32]>::to_vec).collect();
        let (norm, rest) = match rest {
            [scale, shift, mean, variance, rest @ ..] if batch_norm => {
                (Some([scale, shift, mean, variance].map(Clone::clone)), rest)
            }
            _ => (None, rest),
        };
        layers.push(Linear { rows, bias: bias.clone(), norm });
        tensors = rest;
    }
    layers
}

/// Removes what can be removed of each hidden layer. Returns whether anything was removed.
fn shrink_once(layers: &mut [Linear], activation: Activation) -> bool {
    let mut changed = false;
    for index in 1..layers.len() {
        let (before, after) = layers.split_at_mut(index);
        let (Some(layer), Some(reader)) = (before.last_mut(), after.first_mut()) else { continue };
        let is_read = |unit: usize| reader.rows.iter().any(|row| row[unit] != 0.0);
        let stays = |unit: &usize| is_read(*unit) && layer.constant(*unit, activation).is_none();
        let (mut kept, mut gone): (Vec<usize>, Vec<usize>) = (0..layer.rows.len()).partition(stays);
        if kept.is_empty() {
            kept.push(gone.remove(0));
        }
        if gone.is_empty() {
            continue;
        }
        changed = true;
        let constants: Vec<(usize, f64)> = (gone.into_iter().filter(|unit| is_read(*unit)))
            .filter_map(|unit| Some((unit, layer.constant(unit, activation)?)))
            .collect();
        for (row, bias) in reader.rows.iter().zip(&mut reader.bias) {
            let added: f64 = constants.iter().map(|(unit, value)| value * f64::from(row[*unit])).sum();
            *bias = (f64::from(*bias) + added) as f32;
        }
        layer.keep_units(&kept);
        reader.keep_columns(&kept);
    }
    changed
}

/// Input features, or all positions of channels, that the first layer does not read.
fn unused_inputs(model: &ModelSpec, net: &Parameters) -> Vec<u32> {
    let (Some(layer), Some(weights)) = (model.layers().into_iter().next(), net.tensors.first()) else {
        return Vec::new();
    };
    let (channels, columns) = match layer.kind {
        LayerKind::Linear { inputs, .. } => (inputs, 1),
        LayerKind::Convolution { inputs, kernel, .. } => (inputs, kernel * kernel),
        LayerKind::BatchNorm { features } => (features, 0),
    };
    let columns = columns as usize;
    let fan_in = channels as usize * columns;
    let is_read = |channel: u32| {
        let begin = channel as usize * columns;
        weights.chunks_exact(fan_in.max(1)).any(|row| row[begin..begin + columns].iter().any(|weight| *weight != 0.0))
    };
    let positions = number(usize::try_from(model.inputs()).unwrap_or(usize::MAX)) / channels.max(1);
    (0..channels)
        .filter(|channel| !is_read(*channel))
        .flat_map(|channel| channel * positions..(channel + 1) * positions)
        .collect()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("sizes of a model are 32 bits wide")
}

#[cfg(test)]
mod tests;
