//! What a net answers, one row at a time.

use secateur_proto::spec::{Architecture, LayerKind, Step, TensorKind};

use super::NetFile;
use crate::{
    net::{NORM_EPSILON, activate, tensors_of},
    quantize::Levels,
};

/// A net on the host.
#[derive(Debug, Clone)]
pub struct HostNet {
    architecture: Architecture,
    /// Channels, height, width.
    image: Option<[usize; 3]>,
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct Layer {
    kind: LayerKind,
    /// Weights or scales.
    weight: Vec<f32>,
    /// Biases or shifts; empty where there are none.
    bias: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    /// How its inputs are rounded.
    levels: Option<Levels>,
}

/// The values of a row between two steps, channel by channel.
#[derive(Debug, Clone)]
struct Values {
    numbers: Vec<f32>,
    /// Height and width of a channel; 1 and 1 of features.
    size: [usize; 2],
}

impl Values {
    fn each(mut self, change: impl Fn(f32) -> f32) -> Self {
        self.numbers.iter_mut().for_each(|number| *number = change(*number));
        self
    }
}

impl HostNet {
    /// The net of a file.
    #[must_use]
    pub fn of(file: &NetFile) -> Self {
        let architecture = file.model.architecture();
        let tensors = |kind| tensors_of(&file.model, kind);
        let (weights, scales) = (tensors(TensorKind::Weight), tensors(TensorKind::Scale));
        let (biases, shifts) = (tensors(TensorKind::Bias), tensors(TensorKind::Shift));
        let (means, variances) = (tensors(TensorKind::RunningMean), tensors(TensorKind::RunningVariance));
        let numbers = |tensor: Option<usize>| tensor.map_or_else(Vec::new, |at| file.parameters.tensors[at].clone());
        let levels = file.quantized.as_ref().map(crate::quantize::QuantizedNet::levels);
        let layers = architecture.layers.iter().enumerate().map(|(index, layer)| Layer {
            kind: layer.kind,
            weight: numbers(weights[index].or(scales[index])),
            bias: numbers(biases[index].or(shifts[index])),
            mean: numbers(means[index]),
            variance: numbers(variances[index]),
            levels: levels.as_ref().and_then(|levels| levels[index]),
        });
        let layers = layers.collect();
        Self { architecture, image: file.model.image().map(|image| image.map(|size| size as usize)), layers }
    }

    /// The logits of a prepared row.
    #[must_use]
    pub fn logits(&self, inputs: &[f32]) -> Vec<f32> {
        let size = self.image.map_or([1, 1], |[_, height, width]| [height, width]);
        let mut values = Values { numbers: inputs.to_vec(), size };
        let mut saved = Vec::new();
        for step in &self.architecture.steps {
            values = match *step {
                Step::Layer(layer) => self.layers[layer].apply(values),
                Step::Activation(activation) => values.each(|number| activate(activation, number.into()) as f32),
                Step::Dropout => values,
                Step::MaxPool => max_pool(&values),
                Step::MeanPool => {
                    let positions = values.size[0] * values.size[1];
                    let mean = |channel: &[f32]| channel.iter().map(|x| f64::from(*x)).sum::<f64>() / positions as f64;
                    let means = values.numbers.chunks_exact(positions).map(|channel| mean(channel) as f32);
                    Values { numbers: means.collect(), size: [1, 1] }
                }
                Step::Flatten => Values { size: [1, 1], ..values },
                Step::Save => {
                    saved.push(values.clone());
                    values
                }
                Step::AddSaved(projection) => match (saved.pop(), projection) {
                    (None, _) => values,
                    (Some(other), None) => added(values, &other),
                    (Some(other), Some(layer)) => added(values, &self.layers[layer].apply(other)),
                },
            };
        }
        values.numbers
    }
}

impl Layer {
    fn apply(&self, values: Values) -> Values {
        let values = match self.levels {
            Some(levels) => values.each(|number| levels.round(number)),
            None => values,
        };
        match self.kind {
            LayerKind::Linear { .. } => {
                let sums = self.weight.chunks_exact(values.numbers.len()).enumerate().map(|(unit, weights)| {
                    let products = weights.iter().zip(&values.numbers).map(|(w, x)| f64::from(*w) * f64::from(*x));
                    (products.sum::<f64>() + self.bias_of(unit)) as f32
                });
                Values { numbers: sums.collect(), size: [1, 1] }
            }
            LayerKind::Convolution { inputs, outputs, kernel, stride, padding } => {
                self.convolve([inputs, outputs, kernel, stride, padding].map(|size| size as usize), &values)
            }
            LayerKind::BatchNorm { .. } => {
                let positions = values.size[0] * values.size[1];
                let mut values = values;
                for (channel, numbers) in values.numbers.chunks_exact_mut(positions).enumerate() {
                    let deviation = (f64::from(self.variance[channel]) + NORM_EPSILON).sqrt();
                    let (mean, scale) = (f64::from(self.mean[channel]), f64::from(self.weight[channel]));
                    let shift = f64::from(self.bias[channel]);
                    numbers.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) / deviation * scale + shift) as f32);
                }
                values
            }
        }
    }

    fn bias_of(&self, unit: usize) -> f64 {
        self.bias.get(unit).map_or(0.0, |bias| f64::from(*bias))
    }

    fn convolve(&self, [inputs, outputs, kernel, stride, padding]: [usize; 5], values: &Values) -> Values {
        let [height, width] = values.size;
        let size = values.size.map(|side| (side + 2 * padding).saturating_sub(kernel) / stride + 1);
        let mut numbers = Vec::with_capacity(outputs * size[0] * size[1]);
        // Where a row or column of the kernel lies outside of the image there are zeros.
        let inside =
            |at: usize, step: usize, side: usize| (at * stride + step).checked_sub(padding).filter(|at| *at < side);
        for filter in 0..outputs {
            let weights = &self.weight[filter * inputs * kernel * kernel..][..inputs * kernel * kernel];
            for row in 0..size[0] {
                for column in 0..size[1] {
                    let mut sum = self.bias_of(filter);
                    for (channel, weights) in weights.chunks_exact(kernel * kernel).enumerate() {
                        let image = &values.numbers[channel * height * width..][..height * width];
                        for (step, weights) in weights.chunks_exact(kernel).enumerate() {
                            let Some(y) = inside(row, step, height) else { continue };
                            for (step, weight) in weights.iter().enumerate() {
                                if let Some(x) = inside(column, step, width) {
                                    sum += f64::from(*weight) * f64::from(image[y * width + x]);
                                }
                            }
                        }
                    }
                    numbers.push(sum as f32);
                }
            }
        }
        Values { numbers, size }
    }
}

fn added(mut one: Values, other: &Values) -> Values {
    one.numbers.iter_mut().zip(&other.numbers).for_each(|(one, other)| *one += other);
    one
}

fn max_pool(values: &Values) -> Values {
    let [height, width] = values.size;
    let size = [height / 2, width / 2];
    let mut numbers = Vec::with_capacity(values.numbers.len() / 4);
    for image in values.numbers.chunks_exact(height * width) {
        for row in 0..size[0] {
            for column in 0..size[1] {
                let at = 2 * row * width + 2 * column;
                let square = [image[at], image[at + 1], image[at + width], image[at + width + 1]];
                numbers.push(square.into_iter().fold(f32::MIN, f32::max));
            }
        }
    }
    Values { numbers, size }
}
