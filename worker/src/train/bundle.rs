//! A bundle in training: its parameters, masks and optimiser on the device, and one step.

use burn::tensor::{Device, Int, Tensor, TensorData};
use secateur_proto::spec::{ModelSpec, RegularizationSpec, TrainingSpec};

use super::{
    data::DeviceData,
    forward::{forward, lane_losses, split},
    optimizer::Optimizer,
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
    /// Decides the order of rows, with the phase.
    pub seed: u64,
    /// Which of the orders of that seed: nets of one phase and seed see the same batches.
    pub phase: Phase,
}

/// What a training is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The unpruned net.
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
}

/// K nets and their optimiser on a device.
#[derive(Debug)]
pub struct Bundle {
    layout: FlatLayout,
    device: Device,
    /// `[K, P]`.
    parameters: Tensor<2>,
    /// `[K, P]`, 0 where a weight is removed.
    mask: Option<Tensor<2>>,
    /// `[K, 1]`: the longest gradient allowed.
    clip: Option<Tensor<2>>,
    optimizer: Optimizer,
}

/// What a step met, `[K, GUARDS]`: the loss, the squared gradient norm, and the sum of all values before activations. Each is
/// finite if and only if what it sums up is.
pub type Guard = Tensor<2>;

/// Columns of a [`Guard`]; the first is the loss.
pub const GUARDS: usize = 3;

impl Bundle {
    /// Puts the lanes, which are of one bundle class, on `device`.
    ///
    /// # Panics
    /// If there is no lane, or some but not all have a mask or a clipping norm: they are not of one class.
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
        let norms: Vec<f32> =
            lanes.iter().filter_map(|lane| lane.training.clip_gradient_norm.map(|norm| norm as f32)).collect();
        let clip =
            all_or_none(norms.len()).then(|| Tensor::from_data(TensorData::new(norms, [lanes.len(), 1]), device));
        let optimizer = Optimizer::new(lanes, &layout, device);
        Self { layout, device: device.clone(), parameters, mask, clip, optimizer }
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

    /// `[K, P]`.
    #[must_use]
    pub const fn parameters(&self) -> &Tensor<2> {
        &self.parameters
    }

    /// One step on `batch` rows a lane: `rows` holds K times as many train row numbers, lane after lane.
    pub fn step(&mut self, data: &DeviceData, rows: Vec<i32>) -> Guard {
        let (loss, gradient, activations) = self.gradient(data, rows);
        // The mask is on the gradient, so that clipping and moments see what is left of the net and nothing else, and below on
        // the parameters, so that nothing else could ever revive a removed weight.
        let gradient = match &self.mask {
            Some(mask) => gradient * mask.clone(),
            None => gradient,
        };
        let squared_norm = (gradient.clone() * gradient.clone()).sum_dim(1);
        let gradient = match &self.clip {
            Some(longest) => {
                let scale = longest.clone() / squared_norm.clone().sqrt().add_scalar(1e-6);
                gradient * scale.clamp_max(1.0)
            }
            None => gradient,
        };
        let moved = self.optimizer.step(self.parameters.clone(), gradient);
        self.parameters = match &self.mask {
            Some(mask) => moved * mask.clone(),
            None => moved,
        };
        Tensor::cat(vec![loss, squared_norm, activations], 1)
    }

    /// The mean loss `[K, 1]` over a batch, its gradient `[K, P]`, and the sum of all values before activations `[K, 1]`.
    pub fn gradient(&self, data: &DeviceData, rows: Vec<i32>) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
        let lanes = self.lanes();
        let batch = rows.len() / lanes;
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [lanes * batch]), &self.device);
        let inputs = data.train_inputs.clone().select(0, rows.clone()).reshape([lanes, batch, data.width()]);
        let targets = data.train_targets.clone().select(0, rows).reshape([lanes, batch, 1]);
        let leaves: Vec<Tensor<3>> = (split(&self.parameters, &self.layout).into_iter())
            .map(|tensor| Tensor::from_inner(tensor).require_grad())
            .collect();
        let mut sums: Vec<Tensor<2>> = Vec::new();
        let logits = forward(&leaves, Tensor::from_inner(inputs), |values| {
            sums.push(values.clone().inner().sum_dim(2).sum_dim(1).reshape([lanes, 1]));
        });
        let losses = lane_losses(logits, Tensor::from_inner(targets));
        let gradients = losses.clone().sum().backward();
        let parts = leaves.iter().map(|leaf| {
            let gradient = leaf.grad(&gradients).expect("the loss depends on every parameter");
            let [lanes, rows, columns] = gradient.dims();
            gradient.reshape([lanes, rows * columns])
        });
        let gradient = Tensor::cat(parts.collect(), 1);
        let activations = Tensor::cat(sums, 1).sum_dim(1);
        (losses.inner().reshape([lanes, 1]), gradient, activations)
    }
}
