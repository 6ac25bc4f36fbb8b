//! Architectures: the net that a spec describes, layer by layer and step by step, and its counts.
//!
//! Everything else about nets (layout, initial values, forward pass, dependent units) follows from [`Architecture`].

use serde::{Deserialize, Serialize};

use super::architecture::{Architecture, Builder, Layer, Step, TensorSpec};
use crate::vocabulary;

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
        /// Logits: one for a binary task, otherwise one for each class.
        outputs: u32,
        /// The activation between the layers.
        activation: Activation,
        /// Whether each activation follows a batch normalisation.
        batch_norm: bool,
    },
    /// A linear layer, then `blocks` times x + linear(activation(linear(x))), then a linear layer.
    ResidualMlp {
        /// Width of the prepared rows.
        inputs: u32,
        /// Width of every hidden layer.
        width: u32,
        /// Residual blocks.
        blocks: u32,
        /// Logits.
        outputs: u32,
        /// The activation in the blocks and after the first layer.
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
        /// Residual blocks in each stage.
        blocks: u32,
        /// Logits.
        outputs: u32,
    },
}

vocabulary! {
    /// The activation between layers.
    #[derive(Default)]
    pub enum Activation {
        /// max(x, 0).
        #[default]
        Relu = "relu",
        /// x · Φ(x) (Hendrycks & Gimpel 2016).
        Gelu = "gelu",
        /// x · σ(x).
        Silu = "silu",
        /// The hyperbolic tangent.
        Tanh = "tanh",
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

    /// Width of the input rows; an image is flattened channel by channel.
    #[must_use]
    pub fn inputs(&self) -> u64 {
        match self {
            Self::Mlp { inputs, .. } | Self::ResidualMlp { inputs, .. } => u64::from(*inputs),
            Self::Lenet5 { image, .. } | Self::ResidualCnn { image, .. } => {
                image.iter().map(|size| u64::from(*size)).product()
            }
        }
    }

    /// Channels, height and width of the input, or `None` if the net does not take images.
    #[must_use]
    pub const fn image(&self) -> Option<[u32; 3]> {
        match self {
            Self::Mlp { .. } | Self::ResidualMlp { .. } => None,
            Self::Lenet5 { image, .. } | Self::ResidualCnn { image, .. } => Some(*image),
        }
    }

    /// Checks that the net can be built.
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
            return Err("a layer has no inputs or outputs, or the net is too wide or too deep");
        }
        if let Self::Lenet5 { image: [_, height, width], .. } = self {
            if *height < 16 || *width < 16 {
                return Err("lenet5 takes images of at least 16 × 16");
            }
            // The hidden layer has about 50 inputs for each 4 × 4 pixels, and a layer's inputs are counted in 32 bits.
            if u64::from(*height) * u64::from(*width) > MAX_LENET5_PIXELS {
                return Err("lenet5 takes images of at most 2^26 pixels");
            }
        }
        Ok(())
    }

    /// Returns the architecture. Requires a spec that [`Self::check`] accepts.
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

    /// The layers with parameters, from input to output.
    #[must_use]
    pub fn layers(&self) -> Vec<Layer> {
        self.architecture().layers
    }

    /// The tensors, layer by layer: the content of a checkpoint, in order.
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

    /// The layers that are pruned by default: all with weights except the last. Biases are never pruned by themselves.
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

/// The largest image of a LeNet-5. A larger one would exceed the number of weights that a spec may ask for.
const MAX_LENET5_PIXELS: u64 = 1 << 26;

/// The widest layer.
pub const MAX_WIDTH: u32 = 65_536;

/// The most hidden layers, or residual blocks of a stage.
pub const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::{super::architecture::LayerKind, *};

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
    fn an_image_too_large_for_lenet_5_is_refused_before_layers_are_counted() {
        let net = |height, width| ModelSpec::Lenet5 { image: [1, height, width], outputs: 10 };
        assert!(net(MAX_WIDTH, MAX_WIDTH).check().is_err());
        for (height, width) in [(8_192, 8_192), (MAX_WIDTH, 1_024)] {
            assert!(net(height, width).check().is_ok());
            assert!(net(height, width).weights() > super::super::MAX_WEIGHTS, "as refused as a larger one");
        }
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
