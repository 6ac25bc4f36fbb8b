//! A bundle in training: its parameters, masks and optimiser on the device, and one step.

use burn::tensor::{Device, Tensor, TensorData};
use secateur_proto::spec::{ModelSpec, RegularizationSpec, TensorKind, TrainingSpec};

use super::{
    chain::Chain,
    data::DeviceData,
    forward::{
        BatchStatistics, Mode, Net, Observer, Values, forward, indices, lane_losses, row_weights, smoothed_losses,
        split,
    },
    optimizer::{Optimizer, Stepped},
};
use crate::net::{Mask, Parameters, flat::FlatLayout};

/// One net to train, from where and how.
#[derive(Debug, Clone)]
pub struct Lane {
    /// Where it starts.
    pub start: Parameters,
    /// What stays zero; nothing for a dense net.
    pub mask: Option<Mask>,
    /// How it is trained.
    pub training: TrainingSpec,
    /// Its penalty.
    pub regularization: Option<RegularizationSpec>,
    /// Decides the order of rows and what is dropped, with the phase.
    pub seed: u64,
    /// Which of the orders of that seed: nets of one phase and seed see the same batches.
    pub phase: Phase,
    /// Steps of the training that are left out at its beginning.
    pub skip_steps: u64,
    /// The step to end after, if not at the end of the last epoch.
    pub stop_after: Option<u64>,
}

/// What a training is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The unpruned net, or one that takes its training over from some point.
    Dense,
    /// What is left after pruning.
    Retrain,
}

impl Phase {
    /// The purpose of its random numbers.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Dense => "order of rows, dense",
            Self::Retrain => "order of rows, retrain",
        }
    }

    /// The purpose of the random numbers that decide what is dropped.
    #[must_use]
    pub const fn dropout(self) -> &'static str {
        match self {
            Self::Dense => "dropout, dense",
            Self::Retrain => "dropout, retrain",
        }
    }
}

/// K nets and their optimiser on a device.
#[derive(Debug)]
pub struct Bundle {
    layout: FlatLayout,
    net: Net,
    /// The net, where it is a chain and the device the processor.
    chain: Option<Chain>,
    device: Device,
    /// `[K, P]`.
    parameters: Tensor<2>,
    /// `[K, P]`, 0 where a number is removed.
    mask: Option<Tensor<2>>,
    /// `[K, 1]`: the longest gradient allowed.
    clip: Option<Tensor<2>>,
    /// `[K, 1]`: the share of each label that goes to all classes alike.
    smoothing: Option<Tensor<2>>,
    /// `[K, classes]`: what the loss of a row is multiplied by.
    class_weights: Option<Tensor<2>>,
    /// `[1, P]`: by how much the running statistics of batch normalisations move, 0 elsewhere; nothing in a net without them.
    momentum: Option<Tensor<2>>,
    optimizer: Optimizer,
}

/// The share of a batch's statistics in the running ones, PyTorch's.
const STATISTICS_MOMENTUM: f32 = 0.1;

/// The train rows of one step and what is dropped in it.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// K times as many row numbers as a lane sees, lane after lane.
    pub rows: Vec<i32>,
    /// For each dropout step what values are multiplied by, K · B · features numbers; empty where nothing is dropped.
    pub dropout: Vec<Vec<f32>>,
}

impl From<Vec<i32>> for Batch {
    fn from(rows: Vec<i32>) -> Self {
        Self { rows, dropout: Vec::new() }
    }
}

/// What a step met, `[K, GUARDS]`: the loss, the squared gradient norm, and the sum of all values before activations. Each is
/// finite if and only if what it sums up is.
pub type Guard = Tensor<2>;

/// Columns of a [`Guard`]; the first is the loss.
pub const GUARDS: usize = 3;

/// What one pass forward and backward finds.
#[derive(Debug)]
pub struct Gradient {
    /// The mean loss of each lane, `[K, 1]`.
    pub loss: Tensor<2>,
    /// Of the mean loss, `[K, P]`; of the whole net, whatever the mask.
    pub gradient: Tensor<2>,
    /// The sum of all values before activations, `[K, 1]`.
    pub activations: Tensor<2>,
    /// What batch normalisations met.
    pub(super) statistics: Vec<BatchStatistics>,
}

impl Bundle {
    /// Puts the lanes, which are of one bundle class, on `device`.
    ///
    /// # Panics
    /// If there is no lane, or some but not all have a mask, a clipping norm, smoothed labels or class weights: they are not of one
    /// class.
    #[must_use]
    pub fn new(model: &ModelSpec, lanes: &[Lane], device: &Device) -> Self {
        let layout = FlatLayout::of(model);
        let shape = [lanes.len(), layout.length()];
        let rows = |of: &dyn Fn(&Lane) -> Vec<f32>| {
            let values: Vec<f32> = lanes.iter().flat_map(of).collect();
            Tensor::<2>::from_data(TensorData::new(values, shape), device)
        };
        let parameters = rows(&|lane| layout.flatten(&lane.start));
        let all_or_none = |count: usize| {
            assert!(count == 0 || count == lanes.len(), "lanes of one bundle are of one class");
            count > 0
        };
        let masked = all_or_none(lanes.iter().filter(|lane| lane.mask.is_some()).count());
        let mask =
            masked.then(|| rows(&|lane| lane.mask.as_ref().map(|mask| layout.flatten_mask(mask)).unwrap_or_default()));
        let column = |of: &dyn Fn(&Lane) -> Option<f64>| {
            let values: Vec<f32> = lanes.iter().filter_map(of).map(|value| value as f32).collect();
            all_or_none(values.len()).then(|| Tensor::from_data(TensorData::new(values, [lanes.len(), 1]), device))
        };
        let clip = column(&|lane| lane.training.clip_gradient_norm);
        let smoothing = column(&|lane| Some(lane.training.label_smoothing).filter(|share| *share > 0.0));
        let weights = || lanes.iter().map(|lane| &lane.training.class_weights);
        let class_weights = all_or_none(weights().filter(|weights| !weights.is_empty()).count()).then(|| {
            let values: Vec<f32> = weights().flatten().map(|weight| *weight as f32).collect();
            let classes = values.len() / lanes.len();
            Tensor::from_data(TensorData::new(values, [lanes.len(), classes]), device)
        });
        let optimizer = Optimizer::new(lanes, &layout, device);
        let measured = layout.tensors().iter().any(|tensor| !tensor.kind.is_trained());
        let momentum = measured.then(|| {
            let [means, variances] =
                [TensorKind::RunningMean, TensorKind::RunningVariance].map(|kind| layout.at(kind, STATISTICS_MOMENTUM));
            let row: Vec<f32> = means.iter().zip(variances).map(|(mean, variance)| mean + variance).collect();
            Tensor::from_data(TensorData::new(row, [1, layout.length()]), device)
        });
        let net = Net::of(model);
        // A chain judges by the labels as they are.
        let chain = if smoothing.is_none() { Chain::of(&net, &layout, device) } else { None };
        let device = device.clone();
        Self { net, chain, layout, device, parameters, mask, clip, smoothing, class_weights, momentum, optimizer }
    }

    /// Computes by operations on tensors alone from now on, wherever they lie.
    #[cfg(test)]
    pub(super) fn operate_on_tensors(&mut self) {
        self.chain = None;
        self.optimizer.operate_on_tensors();
    }

    /// K.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.parameters.dims()[0]
    }

    /// The layout of a lane's row.
    #[must_use]
    pub const fn layout(&self) -> &FlatLayout {
        &self.layout
    }

    /// The net of every lane.
    #[must_use]
    pub const fn net(&self) -> &Net {
        &self.net
    }

    /// `[K, P]`.
    #[must_use]
    pub const fn parameters(&self) -> &Tensor<2> {
        &self.parameters
    }

    /// The update rule and its state.
    pub const fn optimizer(&mut self) -> &mut Optimizer {
        &mut self.optimizer
    }

    /// Puts other parameters `[K, P]` in place of those that there are.
    pub fn set_parameters(&mut self, parameters: Tensor<2>) {
        self.parameters = parameters;
    }

    /// Puts other masks on the lanes: `masks` holds K rows of P, 0 where a number is removed. Moments begin anew where the mask
    /// changes: those of a removed weight must not push it when it comes back, and a weight that comes back has none.
    pub fn set_masks(&mut self, masks: Vec<f32>) {
        let mask = Tensor::<2>::from_data(TensorData::new(masks, self.parameters.dims()), &self.device);
        let same = match &self.mask {
            Some(before) => (mask.clone() - before.clone()).abs().neg().add_scalar(1.0),
            None => mask.clone(),
        };
        self.optimizer.keep(&same);
        // A negative weight times 0 is −0, which plus 0 is 0.
        self.parameters = (self.parameters.clone() * mask.clone()).add_scalar(0.0);
        self.mask = Some(mask);
    }

    /// One step. Gives what it met, and the gradient of the whole net before it.
    pub fn step(&mut self, data: &DeviceData, batch: Batch) -> (Guard, Tensor<2>) {
        let found = self.gradient(data, batch);
        self.follow(found)
    }

    /// One step along a gradient. Gives what it met, and that gradient.
    pub fn follow(&mut self, found: Gradient) -> (Guard, Tensor<2>) {
        let Gradient { loss, gradient, activations, statistics } = found;
        // Nobody else may hold the parameters where they are to be moved and not copied.
        let parameters = std::mem::replace(&mut self.parameters, Tensor::empty([1, 1], &self.device));
        let (stepped, whole) = match self.clip.clone() {
            Some(longest) => {
                // Clipping sees what is left of the net and nothing else.
                let left = match &self.mask {
                    Some(mask) => gradient.clone() * mask.clone(),
                    None => gradient.clone(),
                };
                let squared_norm = (left.clone() * left.clone()).sum_dim(1);
                let scale = longest / squared_norm.clone().sqrt().add_scalar(1e-6);
                let clipped = left * scale.clamp_max(1.0);
                let stepped = self.optimizer.masked_step(parameters, clipped, self.mask.as_mut());
                (Stepped { squared_norm, ..stepped }, Some(gradient))
            }
            None => (self.optimizer.masked_step(parameters, gradient, self.mask.as_mut()), None),
        };
        self.parameters = self.move_statistics(stepped.parameters, statistics);
        (Tensor::cat(vec![loss, stepped.squared_norm, activations], 1), whole.unwrap_or(stepped.gradient))
    }

    /// Loss and gradient on a batch.
    pub fn gradient(&self, data: &DeviceData, batch: Batch) -> Gradient {
        match &self.chain {
            Some(chain) if batch.dropout.is_empty() => {
                chain.gradient(&self.parameters, self.class_weights.as_ref(), data, &batch.rows)
            }
            _ => self.differentiate(data, batch),
        }
    }

    /// Loss and gradient of any net on any device.
    fn differentiate(&self, data: &DeviceData, batch: Batch) -> Gradient {
        let lanes = self.lanes();
        let rows = batch.rows.len() / lanes;
        let numbers = indices(batch.rows, &self.device);
        let inputs = data.train_inputs.clone().select(0, numbers.clone()).reshape([lanes, rows, data.width()]);
        let targets = data.train_targets.clone().select(0, numbers).reshape([lanes, rows]);
        let dropout = (batch.dropout.into_iter().zip(self.net.dropout_widths()))
            .map(|(factors, width)| {
                let factors = TensorData::new(factors, [lanes, rows, *width]);
                Tensor::from_inner(Tensor::from_data(factors, &self.device))
            })
            .collect();
        let leaves: Vec<Tensor<2>> = (split(&self.parameters, &self.layout).into_iter().zip(self.layout.tensors()))
            .map(|(values, tensor)| {
                let leaf = Tensor::from_inner(values);
                if tensor.kind.is_trained() { leaf.require_grad() } else { leaf }
            })
            .collect();
        let mut watch = Watch { lanes, sums: Vec::new(), statistics: Vec::new() };
        let mode = Mode::Training { dropout };
        let logits = forward(&self.net, &leaves, Tensor::from_inner(inputs), &mode, &mut watch);
        let weights = self.class_weights.as_ref().map(|weights| Tensor::from_inner(row_weights(weights, &targets)));
        let targets = Tensor::from_inner(targets);
        let losses = match &self.smoothing {
            Some(share) => smoothed_losses(logits, targets, weights.as_ref(), Tensor::from_inner(share.clone())),
            None => lane_losses(logits, targets, weights.as_ref()),
        };
        let gradients = losses.clone().sum().backward();
        let parts = (leaves.iter().zip(self.layout.tensors())).map(|(leaf, tensor)| {
            // What is measured and not trained has none.
            leaf.grad(&gradients).unwrap_or_else(|| Tensor::zeros([lanes, tensor.length], &self.device))
        });
        Gradient {
            gradient: Tensor::cat(parts.collect(), 1),
            loss: losses.inner().reshape([lanes, 1]),
            activations: Tensor::cat(watch.sums, 1).sum_dim(1),
            statistics: watch.statistics,
        }
    }

    /// Moves running statistics towards those of a batch.
    fn move_statistics(&self, parameters: Tensor<2>, statistics: Vec<BatchStatistics>) -> Tensor<2> {
        let Some(momentum) = &self.momentum else { return parameters };
        let lanes = parameters.dims()[0];
        let mut parts: Vec<Tensor<2>> =
            (self.layout.tensors().iter()).map(|tensor| Tensor::zeros([lanes, tensor.length], &self.device)).collect();
        for BatchStatistics { layer, mean, variance } in statistics {
            if let Some((means, variances)) = self.net.running(layer) {
                parts[means] = mean;
                parts[variances] = variance;
            }
        }
        let measured = Tensor::cat(parts, 1);
        parameters.clone() + (measured - parameters) * momentum.clone()
    }
}

/// Sums up what activations are given, and keeps what batch normalisations met.
struct Watch {
    lanes: usize,
    sums: Vec<Tensor<2>>,
    statistics: Vec<BatchStatistics>,
}

impl Observer for Watch {
    fn output(&mut self, _layer: usize, values: &Values) {
        let lanes = self.lanes;
        self.sums.push(match values.clone() {
            Values::Rows(rows) => {
                let [_, batch, features] = rows.dims();
                rows.inner().reshape([lanes, batch * features]).sum_dim(1)
            }
            Values::Images(images) => {
                let [batch, channels, height, width] = images.dims();
                let images = images.inner().reshape([batch, lanes, channels / lanes * height * width]);
                images.sum_dim(2).sum_dim(0).reshape([lanes, 1])
            }
        });
    }

    fn statistics(&mut self, statistics: BatchStatistics) {
        self.statistics.push(statistics);
    }
}
