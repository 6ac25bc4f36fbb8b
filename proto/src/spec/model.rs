//! Architectures: which net a spec means, layer by layer and step by step, and what it counts.
//!
//! Everything else about nets (layout, initial values, forward pass, which units hang together) follows from [`Architecture`].

use serde::{Deserialize, Serialize};

/// The architecture, with every size resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelSpec {
    /// Linear layers with an activation between them.
    Mlp {
        /// Width of the prepared rows.
        inputs: u32,
        /// Widths of the hidden layers.
        hidden: Vec<u32>,
        /// Logits: one for a binary task, else one a class.
        outputs: u32,
        /// Between the layers.
        activation: Activation,
        /// Whether batch normalisation stands before each activation.
        batch_norm: bool,
    },
    /// A linear layer, `blocks` times x + linear(activation(linear(x))), and a linear layer.
    ResidualMlp {
        /// Width of the prepared rows.
        inputs: u32,
        /// Width of every hidden layer.
        width: u32,
        /// Residual blocks.
        blocks: u32,
        /// Logits.
        outputs: u32,
        /// In the blocks, and after the first layer.
        activation: Activation,
    },
    /// LeNet-5 as Caffe's example has it: convolutions of 20 and 50 filters of 5 × 5, each followed by a maximum over 2 × 2 and no
    /// activation, then a hidden layer of 500 units with ReLU. 431,080 parameters on MNIST.
    Lenet5 {
        /// Channels, height, width.
        image: [u32; 3],
        /// Logits.
        outputs: u32,
    },
    /// A small residual net: a 3 × 3 convolution, then for each entry of `channels` a stage of `blocks` residual blocks of two 3 × 3
    /// convolutions with batch normalisation, halving height and width from the second stage on, then the mean over all positions
    /// and a linear layer (He et al. 2016, option B: a 1 × 1 convolution where shapes change).
    ResidualCnn {
        /// Channels, height, width.
        image: [u32; 3],
        /// Filters of each stage.
        channels: Vec<u32>,
        /// Residual blocks a stage.
        blocks: u32,
        /// Logits.
        outputs: u32,
    },
}

/// What stands between layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max(x, 0).
    #[default]
    Relu,
    /// x · Φ(x) (Hendrycks & Gimpel 2016).
    Gelu,
    /// x · σ(x).
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

/// A net as a list of layers that have parameters, and a list of steps that use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// Every layer with parameters, in the order of use.
    pub layers: Vec<Layer>,
    /// What happens to a batch, one after the other.
    pub steps: Vec<Step>,
}

/// One step of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Apply the layer of this index.
    Layer(usize),
    /// Apply the activation.
    Activation(Activation),
    /// Set values to zero at random, in training only.
    Dropout,
    /// The maximum of every 2 × 2 values, remainders dropped.
    MaxPool,
    /// The mean over all positions: from images to rows.
    MeanPool,
    /// From images to rows, channel by channel.
    Flatten,
    /// Remember the values.
    Save,
    /// Add the values that were remembered last, through the layer of this index where shapes differ.
    AddSaved(Option<usize>),
}

/// One layer with parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The name in checkpoints and plans: `layers.<n>` of those with weights, `norms.<n>` of batch normalisations.
    pub name: String,
    /// Its form.
    pub kind: LayerKind,
    /// Whether it adds a bias.
    pub bias: bool,
    /// Places of one input at which the layer is applied: 1 of a linear layer, height × width of its output of a convolution.
    pub positions: u64,
}

/// Forms of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// A matrix, `[outputs, inputs]` in files.
    Linear {
        /// Columns.
        inputs: u32,
        /// Rows.
        outputs: u32,
    },
    /// A square kernel, `[outputs, inputs, kernel, kernel]` in files.
    Convolution {
        /// Channels that come in.
        inputs: u32,
        /// Filters.
        outputs: u32,
        /// Height and width of a filter.
        kernel: u32,
        /// Positions from one application to the next.
        stride: u32,
        /// Zeros around the image.
        padding: u32,
    },
    /// Batch normalisation (Ioffe & Szegedy 2015) with PyTorch's constants: ε = 1e-5, running statistics moved by 0.1.
    BatchNorm {
        /// Features or channels.
        features: u32,
    },
}

/// A tensor of a net: what checkpoints hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// `<layer>.<kind>`.
    pub name: String,
    /// Index of its layer.
    pub layer: usize,
    /// What it is for.
    pub kind: TensorKind,
    /// In files.
    pub shape: Vec<usize>,
}

/// What a tensor of a layer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorKind {
    /// What pruning and penalties are about.
    Weight,
    /// Added to each output.
    Bias,
    /// γ of a batch normalisation.
    Scale,
    /// β of a batch normalisation.
    Shift,
    /// Running mean of a batch normalisation: measured, not trained.
    RunningMean,
    /// Running variance, likewise.
    RunningVariance,
}

impl TensorKind {
    /// The last part of the tensor's name, as PyTorch has it.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Weight | Self::Scale => "weight",
            Self::Bias | Self::Shift => "bias",
            Self::RunningMean => "running_mean",
            Self::RunningVariance => "running_var",
        }
    }

    /// Whether gradients move it. Only such tensors count as parameters.
    #[must_use]
    pub const fn is_trained(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVariance)
    }
}

impl TensorSpec {
    /// Numbers in it.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Layer {
    /// Weights, without biases.
    #[must_use]
    pub fn weights(&self) -> u64 {
        match self.kind {
            LayerKind::Linear { inputs, outputs } => u64::from(inputs) * u64::from(outputs),
            LayerKind::Convolution { inputs, outputs, kernel, .. } => {
                u64::from(inputs) * u64::from(outputs) * u64::from(kernel).pow(2)
            }
            LayerKind::BatchNorm { .. } => 0,
        }
    }

    /// Units, filters or features: the first dimension of its weights.
    #[must_use]
    pub const fn outputs(&self) -> u32 {
        match self.kind {
            LayerKind::Linear { outputs, .. } | LayerKind::Convolution { outputs, .. } => outputs,
            LayerKind::BatchNorm { features } => features,
        }
    }

    /// Weights of one unit or filter.
    #[must_use]
    pub fn fan_in(&self) -> u64 {
        self.weights() / u64::from(self.outputs()).max(1)
    }

    /// Multiply-accumulates of one input.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.weights() * self.positions
    }

    /// Trained numbers.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.tensors()
            .filter(|(kind, _)| kind.is_trained())
            .map(|(_, shape)| shape.iter().product::<usize>() as u64)
            .sum()
    }

    /// Kinds and shapes of its tensors.
    fn tensors(&self) -> impl Iterator<Item = (TensorKind, Vec<usize>)> {
        let outputs = self.outputs() as usize;
        let bias = self.bias.then(|| (TensorKind::Bias, vec![outputs]));
        let tensors = match self.kind {
            LayerKind::Linear { inputs, .. } => vec![(TensorKind::Weight, vec![outputs, inputs as usize])],
            LayerKind::Convolution { inputs, kernel, .. } => {
                vec![(TensorKind::Weight, vec![outputs, inputs as usize, kernel as usize, kernel as usize])]
            }
            LayerKind::BatchNorm { .. } => {
                [TensorKind::Scale, TensorKind::Shift, TensorKind::RunningMean, TensorKind::RunningVariance]
                    .map(|kind| (kind, vec![outputs]))
                    .to_vec()
            }
        };
        tensors.into_iter().chain(bias)
    }
}

impl ModelSpec {
    /// A perceptron with ReLU and one logit.
    #[must_use]
    pub const fn mlp(inputs: u32, hidden: Vec<u32>) -> Self {
        Self::Mlp { inputs, hidden, outputs: 1, activation: Activation::Relu, batch_norm: false }
    }

    /// Logits.
    #[must_use]
    pub const fn outputs(&self) -> u32 {
        match self {
            Self::Mlp { outputs, .. }
            | Self::ResidualMlp { outputs, .. }
            | Self::Lenet5 { outputs, .. }
            | Self::ResidualCnn { outputs, .. } => *outputs,
        }
    }

    /// Width of the rows that go in: of an image, channel by channel.
    #[must_use]
    pub fn inputs(&self) -> u64 {
        match self {
            Self::Mlp { inputs, .. } | Self::ResidualMlp { inputs, .. } => u64::from(*inputs),
            Self::Lenet5 { image, .. } | Self::ResidualCnn { image, .. } => {
                image.iter().map(|size| u64::from(*size)).product()
            }
        }
    }

    /// Channels, height and width of an image net's input.
    #[must_use]
    pub const fn image(&self) -> Option<[u32; 3]> {
        match self {
            Self::Mlp { .. } | Self::ResidualMlp { .. } => None,
            Self::Lenet5 { image, .. } | Self::ResidualCnn { image, .. } => Some(*image),
        }
    }

    /// Why there is no such net.
    ///
    /// # Errors
    /// If a size is zero or too large, or an image is too small.
    pub fn check(&self) -> Result<(), &'static str> {
        let within = |sizes: &[u32]| sizes.iter().all(|size| (1..=MAX_WIDTH).contains(size));
        let sizes_fit = match self {
            Self::Mlp { inputs, hidden, outputs, .. } => {
                *inputs > 0 && hidden.len() <= MAX_DEPTH && within(hidden) && within(&[*outputs])
            }
            Self::ResidualMlp { inputs, width, blocks, outputs, .. } => {
                *inputs > 0 && within(&[*width, *outputs]) && (1..=MAX_DEPTH).contains(&(*blocks as usize))
            }
            Self::Lenet5 { image, outputs } => within(image) && within(&[*outputs]),
            Self::ResidualCnn { image, channels, blocks, outputs } => {
                within(image)
                    && (1..=8).contains(&channels.len())
                    && within(channels)
                    && within(&[*outputs])
                    && (1..=MAX_DEPTH).contains(&(*blocks as usize))
            }
        };
        if !sizes_fit {
            return Err("a layer without inputs or outputs, or a net that is too wide or too deep");
        }
        if let Self::Lenet5 { image: [_, height, width], .. } = self
            && (*height < 16 || *width < 16)
        {
            return Err("lenet5 takes images of at least 16 × 16");
        }
        Ok(())
    }

    /// The net itself. Only of a spec that [`Self::check`] accepts.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        let mut net = Builder::default();
        match self {
            Self::Mlp { inputs, hidden, outputs, activation, batch_norm } => {
                let mut width = *inputs;
                for units in hidden {
                    net.linear(width, *units);
                    if *batch_norm {
                        net.batch_norm(*units);
                    }
                    net.steps.extend([Step::Activation(*activation), Step::Dropout]);
                    width = *units;
                }
                net.linear(width, *outputs);
            }
            Self::ResidualMlp { inputs, width, blocks, outputs, activation } => {
                net.linear(*inputs, *width);
                net.steps.push(Step::Activation(*activation));
                for _ in 0..*blocks {
                    net.steps.push(Step::Save);
                    net.linear(*width, *width);
                    net.steps.extend([Step::Activation(*activation), Step::Dropout]);
                    net.linear(*width, *width);
                    net.steps.push(Step::AddSaved(None));
                }
                net.steps.push(Step::Activation(*activation));
                net.linear(*width, *outputs);
            }
            Self::Lenet5 { image: [channels, height, width], outputs } => {
                let mut size = [*height, *width];
                for (inputs, filters) in [(*channels, 20), (20, 50)] {
                    size = net.convolution(inputs, filters, (5, 1, 0), true, size);
                    net.steps.push(Step::MaxPool);
                    size = size.map(|side| side / 2);
                }
                net.steps.push(Step::Flatten);
                net.linear(50 * size[0] * size[1], 500);
                net.steps.extend([Step::Activation(Activation::Relu), Step::Dropout]);
                net.linear(500, *outputs);
            }
            Self::ResidualCnn { image: [inputs, height, width], channels, blocks, outputs } => {
                let relu = Step::Activation(Activation::Relu);
                let mut filters = channels[0];
                let mut size = net.convolution(*inputs, filters, (3, 1, 1), false, [*height, *width]);
                net.batch_norm(filters);
                net.steps.push(relu);
                for (stage, wanted) in channels.iter().enumerate() {
                    for block in 0..*blocks {
                        let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                        let before = size;
                        net.steps.push(Step::Save);
                        size = net.convolution(filters, *wanted, (3, stride, 1), false, before);
                        net.batch_norm(*wanted);
                        net.steps.push(relu);
                        net.convolution(*wanted, *wanted, (3, 1, 1), false, size);
                        net.batch_norm(*wanted);
                        let differs = stride > 1 || filters != *wanted;
                        let projection =
                            differs.then(|| net.add_convolution(filters, *wanted, (1, stride, 0), false, before).0);
                        net.steps.extend([Step::AddSaved(projection), relu]);
                        filters = *wanted;
                    }
                }
                net.steps.push(Step::MeanPool);
                net.linear(filters, *outputs);
            }
        }
        Architecture { layers: net.layers, steps: net.steps }
    }

    /// The layers with parameters, from the inputs on.
    #[must_use]
    pub fn layers(&self) -> Vec<Layer> {
        self.architecture().layers
    }

    /// The tensors, layer by layer: what a checkpoint holds, in its order.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let tensors = |(index, layer): (usize, &Layer)| {
            let name = layer.name.clone();
            (layer.tensors())
                .map(move |(kind, shape)| TensorSpec {
                    name: format!("{name}.{}", kind.suffix()),
                    layer: index,
                    kind,
                    shape,
                })
                .collect::<Vec<_>>()
        };
        self.layers().iter().enumerate().flat_map(tensors).collect()
    }

    /// The layers that pruning takes from unless told otherwise: all with weights but the last one. Biases are never pruned by
    /// themselves.
    #[must_use]
    pub fn prunable(&self) -> Vec<u32> {
        let layers = self.layers();
        let weighted = (0..).zip(&layers).filter(|(_, layer)| layer.weights() > 0).map(|(index, _)| index);
        let mut weighted: Vec<u32> = weighted.collect();
        weighted.pop();
        weighted
    }

    /// All trained numbers.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.layers().iter().map(Layer::parameters).sum()
    }

    /// All weights.
    #[must_use]
    pub fn weights(&self) -> u64 {
        self.layers().iter().fold(0, |sum, layer| sum.saturating_add(layer.weights()))
    }

    /// Multiply-accumulates of one row through the dense net.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.layers().iter().fold(0, |sum, layer| sum.saturating_add(layer.macs()))
    }
}

/// The widest layer.
pub const MAX_WIDTH: u32 = 65_536;

/// The most hidden layers, or residual blocks of a stage.
pub const MAX_DEPTH: usize = 32;

#[derive(Default)]
struct Builder {
    layers: Vec<Layer>,
    steps: Vec<Step>,
    weighted: usize,
    norms: usize,
}

impl Builder {
    fn linear(&mut self, inputs: u32, outputs: u32) {
        self.layers.push(Layer {
            name: format!("layers.{}", self.weighted),
            kind: LayerKind::Linear { inputs, outputs },
            bias: true,
            positions: 1,
        });
        self.weighted += 1;
        self.steps.push(Step::Layer(self.layers.len() - 1));
    }

    fn batch_norm(&mut self, features: u32) {
        let name = format!("norms.{}", self.norms);
        self.layers.push(Layer { name, kind: LayerKind::BatchNorm { features }, bias: false, positions: 1 });
        self.norms += 1;
        self.steps.push(Step::Layer(self.layers.len() - 1));
    }

    /// Height and width of what comes out.
    fn convolution(
        &mut self,
        inputs: u32,
        outputs: u32,
        shape: (u32, u32, u32),
        bias: bool,
        size: [u32; 2],
    ) -> [u32; 2] {
        let (index, size) = self.add_convolution(inputs, outputs, shape, bias, size);
        self.steps.push(Step::Layer(index));
        size
    }

    fn add_convolution(
        &mut self,
        inputs: u32,
        outputs: u32,
        (kernel, stride, padding): (u32, u32, u32),
        bias: bool,
        size: [u32; 2],
    ) -> (usize, [u32; 2]) {
        let size = size.map(|side| (side + 2 * padding).saturating_sub(kernel) / stride + 1);
        self.layers.push(Layer {
            name: format!("layers.{}", self.weighted),
            kind: LayerKind::Convolution { inputs, outputs, kernel, stride, padding },
            bias,
            positions: u64::from(size[0]) * u64::from(size[1]),
        });
        self.weighted += 1;
        (self.layers.len() - 1, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lenet_300_100() -> ModelSpec {
        ModelSpec::Mlp {
            inputs: 784,
            hidden: vec![300, 100],
            outputs: 10,
            activation: Activation::Relu,
            batch_norm: false,
        }
    }

    #[test]
    fn the_lenets_have_the_sizes_of_the_literature() {
        let net = lenet_300_100();
        assert_eq!((net.weights(), net.parameters(), net.macs()), (266_200, 266_610, 266_200));
        let net = ModelSpec::Lenet5 { image: [1, 28, 28], outputs: 10 };
        assert_eq!((net.weights(), net.parameters(), net.macs()), (430_500, 431_080, 2_293_000));
        let macs: Vec<u64> = net.layers().iter().map(Layer::macs).collect();
        assert_eq!(macs, [288_000, 1_600_000, 400_000, 5_000]);
    }

    #[test]
    fn the_output_layer_and_norms_are_not_prunable() {
        let net = ModelSpec::Mlp {
            inputs: 4,
            hidden: vec![3, 2],
            outputs: 1,
            activation: Activation::Relu,
            batch_norm: true,
        };
        let names: Vec<String> = net.layers().into_iter().map(|layer| layer.name).collect();
        assert_eq!(names, ["layers.0", "norms.0", "layers.1", "norms.1", "layers.2"]);
        assert_eq!(net.prunable(), [0, 2]);
        // Running statistics are measured and do not count.
        assert_eq!(net.parameters(), 4 * 3 + 3 + 2 * 3 + 3 * 2 + 2 + 2 * 2 + 2 + 1);
        let tensors: Vec<String> = net.tensors().into_iter().map(|tensor| tensor.name).collect();
        assert_eq!(tensors[2..6], ["norms.0.weight", "norms.0.bias", "norms.0.running_mean", "norms.0.running_var"]);
    }

    #[test]
    fn a_residual_net_projects_where_shapes_change() {
        let net = ModelSpec::ResidualCnn { image: [1, 28, 28], channels: vec![8, 16], blocks: 1, outputs: 10 };
        let Architecture { layers, steps } = net.architecture();
        let added: Vec<Step> = steps.into_iter().filter(|step| matches!(step, Step::AddSaved(_))).collect();
        let projection = layers.iter().position(|layer| {
            matches!(layer.kind, LayerKind::Convolution { kernel: 1, inputs: 8, outputs: 16, stride: 2, .. })
        });
        assert!(projection.is_some());
        assert_eq!(added, [Step::AddSaved(None), Step::AddSaved(projection)]);
    }
}
