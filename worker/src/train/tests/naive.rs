//! Any architecture implemented a second time: naive, in double precision, on plain vectors, without Burn.

use std::collections::BTreeMap;

use secateur_proto::spec::{Activation, Architecture, LayerKind, ModelSpec, Step, TensorKind};

use crate::net::{Parameters, tensors_of};

/// The values of one row: `[channels][positions]`, with height × width positions; a feature has a single position.
#[derive(Debug, Clone)]
struct Row {
    channels: Vec<Vec<f64>>,
    width: usize,
}

/// The factors of each dropout step in training, `[step][row][feature]`; `None` in evaluation.
pub(super) type Dropout = Vec<Vec<Vec<f64>>>;

/// A net, its tensors in the order of [`ModelSpec::tensors`].
#[derive(Debug, Clone)]
pub(super) struct Naive {
    model: ModelSpec,
    net: Architecture,
    weights: Vec<Option<usize>>,
    biases: Vec<Option<usize>>,
    pub(super) tensors: Vec<Vec<f64>>,
}

/// The results of a forward pass of a batch.
pub(super) struct Pass {
    /// `[row][output]`.
    pub(super) logits: Vec<Vec<f64>>,
    /// Mean and unbiased variance of each feature in training, by layer.
    pub(super) statistics: BTreeMap<usize, (Vec<f64>, Vec<f64>)>,
}

impl Naive {
    pub(super) fn of(model: &ModelSpec, parameters: &Parameters) -> Self {
        Self {
            net: model.architecture(),
            weights: tensors_of(model, TensorKind::Weight),
            biases: tensors_of(model, TensorKind::Bias),
            tensors: parameters.tensors.iter().map(|tensor| tensor.iter().map(|x| f64::from(*x)).collect()).collect(),
            model: model.clone(),
        }
    }

    fn tensor(&self, layer: usize, kind: TensorKind) -> &[f64] {
        &self.tensors[tensors_of(&self.model, kind)[layer].expect("the layer has the tensor")]
    }

    /// A batch through the net, in training with the factors of its dropout steps, or in evaluation.
    pub(super) fn pass(&self, rows: &[Vec<f32>], training: Option<&Dropout>) -> Pass {
        let mut batch: Vec<Row> = rows.iter().map(|row| self.enter(row)).collect();
        let mut saved: Vec<Vec<Row>> = Vec::new();
        let mut statistics = BTreeMap::new();
        let mut dropped = 0;
        for step in &self.net.steps {
            match *step {
                Step::Layer(layer) if matches!(self.net.layers[layer].kind, LayerKind::BatchNorm { .. }) => {
                    let (means, variances) = if training.is_some() {
                        let (means, variances, unbiased) = moments(&batch);
                        statistics.insert(layer, (means.clone(), unbiased));
                        (means, variances)
                    } else {
                        let running = |kind| self.tensor(layer, kind).to_vec();
                        (running(TensorKind::RunningMean), running(TensorKind::RunningVariance))
                    };
                    let (scales, shifts) =
                        (self.tensor(layer, TensorKind::Scale), self.tensor(layer, TensorKind::Shift));
                    for row in &mut batch {
                        for (feature, values) in row.channels.iter_mut().enumerate() {
                            let deviation = (variances[feature] + 1e-5).sqrt();
                            for value in values {
                                *value = (*value - means[feature]) / deviation * scales[feature] + shifts[feature];
                            }
                        }
                    }
                }
                Step::Layer(layer) => batch = batch.iter().map(|row| self.apply(layer, row)).collect(),
                Step::Activation(activation) => {
                    for value in batch.iter_mut().flat_map(|row| row.channels.iter_mut().flatten()) {
                        *value = activate(activation, *value);
                    }
                }
                Step::Dropout => {
                    if let Some(factors) = training.and_then(|dropout| dropout.get(dropped)) {
                        for (row, factors) in batch.iter_mut().zip(factors) {
                            for (values, factor) in row.channels.iter_mut().zip(factors) {
                                values[0] *= factor;
                            }
                        }
                    }
                    dropped += 1;
                }
                Step::MaxPool => batch = batch.iter().map(pool).collect(),
                Step::MeanPool => {
                    for row in &mut batch {
                        for values in &mut row.channels {
                            *values = vec![values.iter().sum::<f64>() / values.len() as f64];
                        }
                    }
                }
                Step::Flatten => {
                    for row in &mut batch {
                        row.channels = row.channels.iter().flatten().map(|value| vec![*value]).collect();
                        row.width = 1;
                    }
                }
                Step::Save => saved.push(batch.clone()),
                Step::AddSaved(projection) => {
                    let before = saved.pop().expect("values were saved");
                    for (row, before) in batch.iter_mut().zip(before) {
                        let before = projection.map_or_else(|| before.clone(), |layer| self.apply(layer, &before));
                        assert_eq!(row.channels.len(), before.channels.len());
                        let values = row.channels.iter_mut().flatten();
                        values.zip(before.channels.iter().flatten()).for_each(|(value, before)| *value += before);
                    }
                }
            }
        }
        let logits = batch.into_iter().map(|row| row.channels.concat()).collect();
        Pass { logits, statistics }
    }

    /// The mean loss over a batch.
    pub(super) fn loss(&self, rows: &[Vec<f32>], targets: &[f32], training: Option<&Dropout>) -> f64 {
        let logits = self.pass(rows, training).logits;
        let losses = logits.iter().zip(targets).map(|(logits, target)| match logits.as_slice() {
            // −ln p, p the probability of the target's class.
            [logit] => (1.0 + (if *target == 1.0 { -logit } else { *logit }).exp()).ln(),
            logits => {
                let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
                -(logits[*target as usize].exp() / sum).ln()
            }
        });
        losses.sum::<f64>() / targets.len() as f64
    }

    /// The central difference of the loss by one number.
    pub(super) fn slope(
        &self,
        (tensor, place): (usize, usize),
        rows: &[Vec<f32>],
        targets: &[f32],
        training: Option<&Dropout>,
    ) -> f64 {
        const STEP: f64 = 1e-5;
        let at = |change: f64| {
            let mut net = self.clone();
            net.tensors[tensor][place] += change;
            net.loss(rows, targets, training)
        };
        (at(STEP) - at(-STEP)) / (2.0 * STEP)
    }

    fn enter(&self, row: &[f32]) -> Row {
        let values: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        match self.model.image() {
            Some([_, height, width]) => {
                let positions = (height * width) as usize;
                Row { channels: values.chunks_exact(positions).map(<[f64]>::to_vec).collect(), width: width as usize }
            }
            None => Row { channels: values.into_iter().map(|value| vec![value]).collect(), width: 1 },
        }
    }

    fn apply(&self, layer: usize, row: &Row) -> Row {
        let weight = &self.tensors[self.weights[layer].expect("the layer has weights")];
        let bias = |output: usize| self.biases[layer].map_or(0.0, |tensor| self.tensors[tensor][output]);
        match self.net.layers[layer].kind {
            LayerKind::Linear { inputs, outputs } => {
                let output = |output: usize| {
                    let weights = &weight[output * inputs as usize..][..inputs as usize];
                    weights.iter().zip(&row.channels).map(|(weight, x)| weight * x[0]).sum::<f64>() + bias(output)
                };
                Row { channels: (0..outputs as usize).map(|index| vec![output(index)]).collect(), width: 1 }
            }
            LayerKind::Convolution { inputs, outputs, kernel, stride, padding } => {
                let (kernel, stride, padding) = (kernel as usize, stride as usize, padding as usize);
                let (inputs, wide) = (inputs as usize, row.width);
                let high = row.channels[0].len() / wide;
                let size = |side: usize| (side + 2 * padding - kernel) / stride + 1;
                let at = |filter: usize, y: usize, x: usize| {
                    let mut sum = bias(filter);
                    for input in 0..inputs {
                        for (down, right) in (0..kernel).flat_map(|down| (0..kernel).map(move |right| (down, right))) {
                            let (line, column) =
                                ((y * stride + down).wrapping_sub(padding), (x * stride + right).wrapping_sub(padding));
                            if line < high && column < wide {
                                let weight = weight[((filter * inputs + input) * kernel + down) * kernel + right];
                                sum += weight * row.channels[input][line * wide + column];
                            }
                        }
                    }
                    sum
                };
                let (down, right) = (size(high), size(wide));
                let channel =
                    |filter| (0..down * right).map(|place| at(filter, place / right, place % right)).collect();
                Row { channels: (0..outputs as usize).map(channel).collect(), width: right }
            }
            LayerKind::BatchNorm { .. } => panic!("a normalisation is of the whole batch"),
        }
    }
}

/// Mean, biased and unbiased variance of each channel over rows and positions.
fn moments(batch: &[Row]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let channel = |channel: usize| {
        let values: Vec<f64> = batch.iter().flat_map(|row| row.channels[channel].iter().copied()).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (mean, squares / count, squares / (count - 1.0))
    };
    let all: Vec<_> = (0..batch[0].channels.len()).map(channel).collect();
    (
        all.iter().map(|(mean, _, _)| *mean).collect(),
        all.iter().map(|(_, biased, _)| *biased).collect(),
        all.iter().map(|(_, _, unbiased)| *unbiased).collect(),
    )
}

/// The maximum of each 2 × 2 block.
fn pool(row: &Row) -> Row {
    let (wide, high) = (row.width, row.channels[0].len() / row.width);
    let channel = |values: &Vec<f64>| {
        (0..(high / 2) * (wide / 2))
            .map(|place| {
                let (y, x) = (2 * (place / (wide / 2)), 2 * (place % (wide / 2)));
                let four = [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)];
                four.iter().map(|(y, x)| values[y * wide + x]).fold(f64::NEG_INFINITY, f64::max)
            })
            .collect()
    };
    Row { channels: row.channels.iter().map(channel).collect(), width: wide / 2 }
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Gelu => x * (1.0 + erf(x / std::f64::consts::SQRT_2)) / 2.0,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Tanh => (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    }
}

/// Its Maclaurin series.
fn erf(x: f64) -> f64 {
    let (mut sum, mut term) = (0.0, x);
    for n in 0..200 {
        sum += term / f64::from(2 * n + 1);
        term *= -x * x / f64::from(n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}
