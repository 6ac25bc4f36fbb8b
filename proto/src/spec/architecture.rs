//! Architectures: layers, steps and tensors of a net.

use super::model::Activation;

/// A net as a list of layers that have parameters, and a list of steps that use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// Every layer with parameters, in the order of use.
    pub layers: Vec<Layer>,
    /// The steps of the forward pass, in order.
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
    /// The maximum of each 2 × 2 block of values. An odd last row or column is dropped.
    MaxPool,
    /// The mean over all positions: from images to rows.
    MeanPool,
    /// From images to rows, channel by channel.
    Flatten,
    /// Remember the values.
    Save,
    /// Add the values that were saved last. Where shapes differ, they pass through the layer of this index first.
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
    /// Positions of one input at which the layer is applied: 1 for a linear layer, height × width of the output for a
    /// convolution.
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
        /// Input channels.
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
    /// What pruning and penalties apply to.
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
    /// The last part of the tensor's name, as in PyTorch.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Weight | Self::Scale => "weight",
            Self::Bias | Self::Shift => "bias",
            Self::RunningMean => "running_mean",
            Self::RunningVariance => "running_var",
        }
    }

    /// Whether it is trained by gradients. Only such tensors count as parameters.
    #[must_use]
    pub const fn is_trained(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVariance)
    }
}

impl TensorSpec {
    /// Number of elements.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Layer {
    /// Number of weights, without biases.
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

    /// Inputs, input channels or features.
    #[must_use]
    pub const fn inputs(&self) -> u32 {
        match self.kind {
            LayerKind::Linear { inputs, .. } | LayerKind::Convolution { inputs, .. } => inputs,
            LayerKind::BatchNorm { features } => features,
        }
    }

    /// Weights of a filter for each input channel; 1 if the layer is not a convolution.
    #[must_use]
    pub fn kernel_area(&self) -> u64 {
        match self.kind {
            LayerKind::Convolution { kernel, .. } => u64::from(kernel).pow(2),
            LayerKind::Linear { .. } | LayerKind::BatchNorm { .. } => 1,
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

    /// Number of trained parameters.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.tensors()
            .filter(|(kind, _)| kind.is_trained())
            .map(|(_, shape)| shape.iter().product::<usize>() as u64)
            .sum()
    }

    /// Kinds and shapes of its tensors.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (TensorKind, Vec<usize>)> {
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

/// Builds an architecture and names its layers.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) layers: Vec<Layer>,
    pub(super) steps: Vec<Step>,
    weighted: usize,
    norms: usize,
}

impl Builder {
    pub(super) fn linear(&mut self, inputs: u32, outputs: u32) {
        self.layers.push(Layer {
            name: format!("layers.{}", self.weighted),
            kind: LayerKind::Linear { inputs, outputs },
            bias: true,
            positions: 1,
        });
        self.weighted += 1;
        self.steps.push(Step::Layer(self.layers.len() - 1));
    }

    pub(super) fn batch_norm(&mut self, features: u32) {
        let name = format!("norms.{}", self.norms);
        self.layers.push(Layer { name, kind: LayerKind::BatchNorm { features }, bias: false, positions: 1 });
        self.norms += 1;
        self.steps.push(Step::Layer(self.layers.len() - 1));
    }

    /// Adds a convolution. Returns height and width of its output.
    pub(super) fn convolution(
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

    pub(super) fn add_convolution(
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
