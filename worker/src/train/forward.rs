//! The forward pass of a bundle, and its loss. Lanes never mix: convolutions of K lanes are one convolution of K groups, or K.

use burn::tensor::{
    Device, Int, Tensor, TensorData,
    activation::{gelu, log_softmax, relu, silu, tanh},
    module::{conv2d, max_pool2d},
    ops::{ConvOptions, MaxPoolOptions},
};
use secateur_proto::spec::{Activation, Architecture, LayerKind, ModelSpec, Step, TensorKind};

use crate::net::{NORM_EPSILON, flat::FlatLayout, tensors_of};

/// Up to so many channels in and filters, Burn's flex backend has code of its own for a convolution of one group, faster than that
/// for several and not in the same order of sums. Lanes of such a convolution are computed one after the other, so that a lane
/// alone and in company computes the same. For more channels a group is computed as a single convolution is, and lanes need not be
/// cut apart, which the backward pass pays for.
const FEW_INPUTS: usize = 4;
const FEW_OUTPUTS: usize = 16;

/// The values of a batch between two steps.
#[derive(Debug, Clone)]
pub enum Values {
    /// `[K, B, features]`, or `[1, B, features]` of inputs that all lanes share.
    Rows(Tensor<3>),
    /// `[B, K · channels, height, width]`.
    Images(Tensor<4>),
}

impl Values {
    /// `[K, B, features]`, images channel by channel.
    #[must_use]
    pub fn rows(self, lanes: usize) -> Tensor<3> {
        match self {
            Self::Rows(rows) => rows,
            Self::Images(images) => {
                let [batch, channels, height, width] = images.dims();
                images.reshape([batch, lanes, channels / lanes * height * width]).swap_dims(0, 1)
            }
        }
    }

    /// `[K, features, B · positions]`: all values of each feature or channel.
    #[must_use]
    pub fn by_feature(self, lanes: usize) -> Tensor<3> {
        match self {
            Self::Rows(rows) => rows.swap_dims(1, 2),
            Self::Images(images) => {
                let [batch, channels, height, width] = images.dims();
                let features = channels / lanes;
                let images = images.reshape([batch, lanes, features, height * width]);
                images.permute([1, 2, 0, 3]).reshape([lanes, features, batch * height * width])
            }
        }
    }
}

/// Mean and variance of each feature over a batch, as a batch normalisation met them.
#[derive(Debug)]
pub struct BatchStatistics {
    /// Index of its layer.
    pub layer: usize,
    /// `[K, features]`.
    pub mean: Tensor<2>,
    /// `[K, features]`, divided by n − 1 as the running variance is.
    pub variance: Tensor<2>,
}

/// What looks at a forward pass while it runs, and may change the inputs of layers.
pub trait Observer {
    /// Takes the place of what goes into a layer with weights.
    fn replace_input(&mut self, _layer: usize, values: Values) -> Values {
        values
    }
    /// What goes into a layer with weights.
    fn input(&mut self, _layer: usize, _values: &Values) {}
    /// What comes out of it, before any normalisation or activation.
    fn output(&mut self, _layer: usize, _values: &Values) {}
    /// What comes out of an activation that follows the layer.
    fn activation(&mut self, _layer: usize, _values: &Values) {}
    /// What a batch normalisation in training met.
    fn statistics(&mut self, _statistics: BatchStatistics) {}
}

/// Looks at nothing.
#[derive(Debug)]
pub struct Nobody;

impl Observer for Nobody {}

/// Whether a pass is part of training, which decides what batch normalisations and dropouts do.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Statistics of the batch; for each dropout step, in order, what values are multiplied by, `[K, B, features]`.
    Training {
        /// Made on the host; empty where nothing is dropped.
        dropout: Vec<Tensor<3>>,
    },
    /// Running statistics, and nothing dropped.
    Evaluation,
}

/// The parameters of a bundle, tensor by tensor: `[K, numbers]`.
#[must_use]
pub fn split(flat: &Tensor<2>, layout: &FlatLayout) -> Vec<Tensor<2>> {
    let lanes = flat.dims()[0];
    (layout.tensors().iter())
        .map(|tensor| flat.clone().slice([0..lanes, tensor.offset..tensor.offset + tensor.length]))
        .collect()
}

/// Logits `[K, B, outputs]` of inputs `[K, B, width]`, or of inputs `[1, B, width]` that all lanes share.
pub fn forward(
    net: &Net,
    parameters: &[Tensor<2>],
    inputs: Tensor<3>,
    mode: &Mode,
    observer: &mut dyn Observer,
) -> Tensor<3> {
    let lanes = parameters[0].dims()[0];
    let mut values = net.enter(inputs, lanes);
    let mut saved = Vec::new();
    let mut dropped = 0;
    let mut producer = 0;
    for step in &net.architecture.steps {
        values = match *step {
            Step::Layer(layer) => match net.architecture.layers[layer].kind {
                LayerKind::BatchNorm { .. } => net.normalize(layer, parameters, values, lanes, mode, observer),
                _ => {
                    producer = layer;
                    let values = observer.replace_input(layer, values);
                    observer.input(layer, &values);
                    let values = net.apply(layer, parameters, values, lanes);
                    observer.output(layer, &values);
                    values
                }
            },
            Step::Activation(activation) => {
                let values = match values {
                    Values::Rows(rows) => Values::Rows(activate(activation, rows)),
                    Values::Images(images) => Values::Images(activate(activation, images)),
                };
                observer.activation(producer, &values);
                values
            }
            Step::Dropout => {
                let factors = match mode {
                    Mode::Training { dropout } => dropout.get(dropped).cloned(),
                    Mode::Evaluation => None,
                };
                dropped += 1;
                match (factors, values) {
                    (Some(factors), Values::Rows(rows)) => Values::Rows(rows * factors),
                    (_, values) => values,
                }
            }
            Step::MaxPool => match values {
                Values::Images(images) => Values::Images(max_pool2d(images, MaxPoolOptions::new([2, 2]))),
                rows @ Values::Rows(_) => rows,
            },
            Step::MeanPool => match values {
                Values::Images(images) => {
                    let [batch, channels, height, width] = images.dims();
                    let means = images.reshape([batch, lanes, channels / lanes, height * width]).mean_dim(3);
                    Values::Rows(means.reshape([batch, lanes, channels / lanes]).swap_dims(0, 1))
                }
                rows @ Values::Rows(_) => rows,
            },
            Step::Flatten => Values::Rows(values.rows(lanes)),
            Step::Save => {
                saved.push(values.clone());
                values
            }
            Step::AddSaved(projection) => match (saved.pop(), projection) {
                (Some(other), Some(layer)) => {
                    let other = observer.replace_input(layer, other);
                    observer.input(layer, &other);
                    let other = net.apply(layer, parameters, other, lanes);
                    observer.output(layer, &other);
                    add(values, other)
                }
                (Some(other), None) => add(values, other),
                (None, _) => values,
            },
        };
    }
    values.rows(lanes)
}

fn add(one: Values, two: Values) -> Values {
    match (one, two) {
        (Values::Rows(one), Values::Rows(two)) => Values::Rows(one + two),
        (Values::Images(one), Values::Images(two)) => Values::Images(one + two),
        // An architecture saves and adds values of one kind.
        (one, _) => one,
    }
}

fn activate<const D: usize>(activation: Activation, values: Tensor<D>) -> Tensor<D> {
    match activation {
        Activation::Relu => relu(values),
        Activation::Gelu => gelu(values),
        Activation::Silu => silu(values),
        Activation::Tanh => tanh(values),
    }
}

/// A linear layer, and whether a ReLU follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Index of its tensor.
    pub weight: usize,
    /// The same, if it has one.
    pub bias: Option<usize>,
    /// Values in.
    pub inputs: usize,
    /// Values out.
    pub outputs: usize,
    /// Whether the ReLU follows.
    pub activated: bool,
}

/// An architecture with the places of its tensors.
#[derive(Debug, Clone)]
pub struct Net {
    architecture: Architecture,
    /// By layer: weight or scale.
    weights: Vec<Option<usize>>,
    /// By layer: bias or shift.
    biases: Vec<Option<usize>>,
    /// By layer: running mean and variance.
    running: Vec<Option<(usize, usize)>>,
    image: Option<[usize; 3]>,
    outputs: usize,
    /// Values of each dropout step.
    dropout_widths: Vec<usize>,
}

impl Net {
    /// The net of `model`.
    #[must_use]
    pub fn of(model: &ModelSpec) -> Self {
        let architecture = model.architecture();
        let of = |kinds: [TensorKind; 2]| {
            let [one, two] = kinds.map(|kind| tensors_of(model, kind));
            one.into_iter().zip(two).map(|(one, two)| one.or(two)).collect::<Vec<_>>()
        };
        let means = tensors_of(model, TensorKind::RunningMean);
        let variances = tensors_of(model, TensorKind::RunningVariance);
        let mut width = 0;
        let mut dropout_widths = Vec::new();
        for step in &architecture.steps {
            match step {
                Step::Layer(layer) => width = architecture.layers[*layer].outputs() as usize,
                Step::Dropout => dropout_widths.push(width),
                _ => {}
            }
        }
        Self {
            weights: of([TensorKind::Weight, TensorKind::Scale]),
            biases: of([TensorKind::Bias, TensorKind::Shift]),
            running: means.into_iter().zip(variances).map(|(mean, variance)| mean.zip(variance)).collect(),
            image: model.image().map(|image| image.map(|size| size as usize)),
            outputs: model.outputs() as usize,
            dropout_widths,
            architecture,
        }
    }

    /// The same without its activations.
    #[must_use]
    pub fn without_activations(&self) -> Self {
        let mut net = self.clone();
        net.architecture.steps.retain(|step| !matches!(step, Step::Activation(_)));
        net
    }

    /// The layers of a net that is a chain of linear layers, each with a ReLU after it or without, where nothing is dropped.
    #[must_use]
    pub fn chain(&self) -> Option<Vec<Link>> {
        let mut links: Vec<Link> = Vec::new();
        if self.takes_images() {
            return None;
        }
        for step in &self.architecture.steps {
            match *step {
                Step::Layer(layer) => {
                    let LayerKind::Linear { inputs, outputs } = self.architecture.layers[layer].kind else {
                        return None;
                    };
                    links.push(Link {
                        weight: self.weights[layer]?,
                        bias: self.biases[layer],
                        inputs: inputs as usize,
                        outputs: outputs as usize,
                        activated: false,
                    });
                }
                Step::Activation(Activation::Relu) => links.last_mut()?.activated = true,
                Step::Dropout => {}
                _ => return None,
            }
        }
        (!links.is_empty()).then_some(links)
    }

    /// Logits a row.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.outputs
    }

    /// Whether rows are images.
    #[must_use]
    pub const fn takes_images(&self) -> bool {
        self.image.is_some()
    }

    /// Features at each dropout step.
    #[must_use]
    pub fn dropout_widths(&self) -> &[usize] {
        &self.dropout_widths
    }

    /// Running mean and variance of a batch normalisation: indices of its tensors.
    #[must_use]
    pub fn running(&self, layer: usize) -> Option<(usize, usize)> {
        self.running[layer]
    }

    fn enter(&self, inputs: Tensor<3>, lanes: usize) -> Values {
        let Some([channels, height, width]) = self.image else { return Values::Rows(inputs) };
        let [given, batch, _] = inputs.dims();
        let images = inputs.swap_dims(0, 1).reshape([batch, given * channels, height, width]);
        Values::Images(if given == lanes { images } else { images.repeat_dim(1, lanes) })
    }

    fn apply(&self, layer: usize, parameters: &[Tensor<2>], values: Values, lanes: usize) -> Values {
        let weight = self.weights[layer].map(|tensor| parameters[tensor].clone());
        let bias = self.biases[layer].map(|tensor| parameters[tensor].clone());
        let Some(weight) = weight else { return values };
        match self.architecture.layers[layer].kind {
            LayerKind::Linear { inputs, outputs } => {
                let (inputs, outputs) = (inputs as usize, outputs as usize);
                let products = values.rows(lanes).matmul(weight.reshape([lanes, inputs, outputs]));
                Values::Rows(match bias {
                    Some(bias) => products + bias.reshape([lanes, 1, outputs]),
                    None => products,
                })
            }
            LayerKind::Convolution { inputs, outputs, kernel, stride, padding } => {
                let (inputs, outputs, kernel) = (inputs as usize, outputs as usize, kernel as usize);
                let (stride, padding) = (stride as usize, padding as usize);
                let options = |groups| ConvOptions::new([stride, stride], [padding, padding], [1, 1], groups);
                let images = match values {
                    Values::Images(images) => images,
                    rows @ Values::Rows(_) => return rows,
                };
                if inputs > FEW_INPUTS || outputs > FEW_OUTPUTS {
                    let weight = weight.reshape([lanes * outputs, inputs, kernel, kernel]);
                    let bias = bias.map(|bias| bias.reshape([lanes * outputs]));
                    return Values::Images(conv2d(images, weight, bias, options(lanes)));
                }
                let of_lane = |lane: usize| {
                    let weight = weight.clone().narrow(0, lane, 1).reshape([outputs, inputs, kernel, kernel]);
                    let bias = bias.clone().map(|bias| bias.narrow(0, lane, 1).reshape([outputs]));
                    conv2d(images.clone().narrow(1, lane * inputs, inputs), weight, bias, options(1))
                };
                Values::Images(Tensor::cat((0..lanes).map(of_lane).collect(), 1))
            }
            LayerKind::BatchNorm { .. } => values,
        }
    }

    fn normalize(
        &self,
        layer: usize,
        parameters: &[Tensor<2>],
        values: Values,
        lanes: usize,
        mode: &Mode,
        observer: &mut dyn Observer,
    ) -> Values {
        let tensor = |index: Option<usize>| index.map(|index| parameters[index].clone());
        let (Some(scale), Some(shift), Some((mean, variance))) =
            (tensor(self.weights[layer]), tensor(self.biases[layer]), self.running[layer])
        else {
            return values;
        };
        let features = scale.dims()[1];
        let (mean, variance) = match mode {
            Mode::Evaluation => (parameters[mean].clone(), parameters[variance].clone()),
            Mode::Training { .. } => {
                let by_feature = values.clone().by_feature(lanes);
                let count = by_feature.dims()[2];
                let mean = by_feature.clone().mean_dim(2);
                let centered = by_feature - mean.clone();
                let variance = (centered.clone() * centered).mean_dim(2).reshape([lanes, features]);
                let mean = mean.reshape([lanes, features]);
                // PyTorch keeps the unbiased variance and normalises with the biased one.
                let unbiased = count as f64 / (count.max(2) - 1) as f64;
                observer.statistics(BatchStatistics {
                    layer,
                    mean: mean.clone().inner(),
                    variance: variance.clone().inner().mul_scalar(unbiased),
                });
                (mean, variance)
            }
        };
        let factor = scale / variance.add_scalar(NORM_EPSILON).sqrt();
        let offset = shift - mean * factor.clone();
        match values {
            Values::Rows(rows) => {
                Values::Rows(rows * factor.reshape([lanes, 1, features]) + offset.reshape([lanes, 1, features]))
            }
            Values::Images(images) => {
                let shape = [1, lanes * features, 1, 1];
                Values::Images(images * factor.reshape(shape) + offset.reshape(shape))
            }
        }
    }
}

/// The mean loss of each lane, `[K]`, of logits `[K, B, outputs]` and targets `[K, B]`, each row as in `row_losses`; where `weights`
/// `[K, B, 1]` are given, that of each row times its weight.
#[must_use]
pub fn lane_losses(logits: Tensor<3>, targets: Tensor<2>, weights: Option<&Tensor<3>>) -> Tensor<1> {
    lane_means(row_losses(logits, targets), weights)
}

/// The loss of each row, `[K, B, 1]`: for one output the binary cross-entropy max(z, 0) − z·y + log(1 + exp(−|z|)), which never
/// overflows; for more the cross-entropy of the softmax.
fn row_losses(logits: Tensor<3>, targets: Tensor<2>) -> Tensor<3> {
    let [lanes, batch, outputs] = logits.dims();
    if outputs == 1 {
        let targets = targets.reshape([lanes, batch, 1]);
        logits.clone().clamp_min(0.0) - logits.clone() * targets + logits.abs().neg().exp().log1p()
    } else {
        let classes = targets.int().reshape([lanes, batch, 1]);
        log_softmax(logits, 2).gather(2, classes).neg()
    }
}

/// [`lane_losses`] of labels of which a `share` `[K, 1]` is spread evenly over all classes.
#[must_use]
pub fn smoothed_losses(
    logits: Tensor<3>,
    targets: Tensor<2>,
    weights: Option<&Tensor<3>>,
    share: Tensor<2>,
) -> Tensor<1> {
    let [lanes, _, outputs] = logits.dims();
    let rest = share.clone().neg().add_scalar(1.0);
    if outputs == 1 {
        return lane_losses(logits, targets * rest + share.div_scalar(2.0), weights);
    }
    let even = lane_means(log_softmax(logits.clone(), 2).neg().mean_dim(2), weights);
    lane_losses(logits, targets, weights) * rest.reshape([lanes]) + even * share.reshape([lanes])
}

/// The mean over the rows of each lane, `[K]`, of what each row has, `[K, B, 1]`, times its weight.
fn lane_means(of_rows: Tensor<3>, weights: Option<&Tensor<3>>) -> Tensor<1> {
    let lanes = of_rows.dims()[0];
    let of_rows = match weights {
        Some(weights) => of_rows * weights.clone(),
        None => of_rows,
    };
    of_rows.mean_dim(1).reshape([lanes])
}

/// The weight of each row, `[K, B, 1]`: that of its class in `weights` `[K, classes]`.
#[must_use]
pub fn row_weights(weights: &Tensor<2>, targets: &Tensor<2>) -> Tensor<3> {
    let [lanes, batch] = targets.dims();
    weights.clone().gather(1, targets.clone().int()).reshape([lanes, batch, 1])
}

/// Row numbers as a tensor.
#[must_use]
pub fn indices(rows: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}
