//! Measures nets for pruning: gradients, curvature, and values that flow through layers.
//!
//! Gradients are computed in double precision on the reference device, whatever the training device, so that scores are
//! the same everywhere and differences of gradients are meaningful.

use burn::tensor::{DType, Device, Tensor, TensorData, module::unfold4d, ops::UnfoldOptions};
use secateur_proto::{
    outcome::{Failure, FailureClass},
    spec::{LayerKind, ModelSpec, TensorKind, TrainingSpec},
};

use super::{
    batches::Batches,
    bundle::{Bundle, Gradient, Lane, Phase},
    data::DeviceData,
    evaluate::logits_of,
    forward::{Mode, Net, Nobody, Observer, Values, forward, indices, lane_losses, row_weights, split},
    run::lr_factor,
};
use crate::{
    device,
    net::{Mask, Parameters, flat::FlatLayout},
    prune::probe::{Conditioning, Loss, Probe},
};

/// Rows in one pass in double precision.
const ROWS: usize = 128;

/// Lanes in one pass for gradients of single rows.
const SAMPLES: usize = 32;

/// The largest change of a weight for a difference of gradients.
const DIFFERENCE: f64 = 1e-6;

/// Measures nets of one architecture with the rows of one dataset.
pub struct NetProbe<'a> {
    model: &'a ModelSpec,
    layout: FlatLayout,
    net: Net,
    data: &'a DeviceData,
    device: &'a Device,
    reference: Device,
    /// What the loss of a train row is multiplied by, by class; empty where all weigh the same.
    class_weights: &'a [f64],
}

impl<'a> NetProbe<'a> {
    /// Measures nets of `model` with `data`. `device` is used for training.
    #[must_use]
    pub fn new(model: &'a ModelSpec, data: &'a DeviceData, device: &'a Device) -> Self {
        let (layout, net) = (FlatLayout::of(model), Net::of(model));
        Self { model, layout, net, data, device, reference: device::reference(), class_weights: &[] }
    }

    /// The same with the loss of train rows weighted by class.
    #[must_use]
    pub fn weighted(self, class_weights: &'a [f64]) -> Self {
        Self { class_weights, ..self }
    }

    fn exact<const D: usize>(&self, values: Vec<f64>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), (&self.reference, DType::F64))
    }

    /// Inputs `[rows, width]` and targets of train rows, on the host.
    fn rows_of(&self, rows: &[u32]) -> (Vec<f64>, Vec<f64>) {
        let numbers: Vec<i32> = rows.iter().map(|row| i32::try_from(*row).unwrap_or(i32::MAX)).collect();
        let numbers = indices(numbers, self.device);
        let host = |data: TensorData| -> Vec<f64> { data.iter::<f32>().map(f64::from).collect() };
        (
            host(self.data.train_inputs.clone().select(0, numbers.clone()).into_data()),
            host(self.data.train_targets.clone().select(0, numbers).into_data()),
        )
    }

    /// The gradient `[K · P]` of each lane's mean loss: `lanes` copies of `row`, each with its own rows. The loss of a row counts
    /// as often as the weight of its class to the power of `power` says.
    fn pass(&self, row: &[f64], rows: &[u32], lanes: usize, loss: Loss, power: f64) -> Result<Vec<f64>, Failure> {
        let batch = rows.len() / lanes;
        let (inputs, targets) = self.rows_of(rows);
        let inputs = self.exact(inputs, [lanes, batch, self.data.width()]);
        let targets = self.exact(targets, [lanes, batch]);
        let parameters = self.exact(row.repeat(lanes), [lanes, self.layout.length()]);
        let leaves = leaves(&parameters, &self.layout);
        let logits = forward(&self.net, &leaves, Tensor::from_inner(inputs), &Mode::Evaluation, &mut Nobody);
        let weights = (!self.class_weights.is_empty()).then(|| {
            let weights: Vec<f64> = self.class_weights.iter().map(|weight| weight.powf(power)).collect();
            let weights = self.exact(weights, [1, self.class_weights.len()]).repeat_dim(0, lanes);
            Tensor::from_inner(row_weights(&weights, &targets))
        });
        let losses = lane_losses(logits.div_scalar(loss.temperature), Tensor::from_inner(targets), weights.as_ref());
        gradient_of(&losses.sum(), &leaves, &self.layout, lanes, &self.reference)
    }

    fn mean_gradient(&self, row: &[f64], rows: &[u32], loss: Loss) -> Result<Vec<f64>, Failure> {
        let mut sum = vec![0.0; row.len()];
        for chunk in rows.chunks(ROWS) {
            let gradient = self.pass(row, chunk, 1, loss, 1.0)?;
            sum.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value * chunk.len() as f64);
        }
        let count = rows.len().max(1) as f64;
        Ok(sum.into_iter().map(|sum| sum / count).collect())
    }

    fn row(&self, net: &Parameters) -> Vec<f64> {
        self.layout.flatten(net).into_iter().map(f64::from).collect()
    }

    /// Runs rows through the net; `observer` sees the values.
    fn observe(&self, net: &Parameters, rows: &[u32], observer: &mut dyn Observer) {
        let row = self.row(net);
        let tensors = split(&self.exact(row, [1, self.layout.length()]), &self.layout);
        for chunk in rows.chunks(ROWS) {
            let (inputs, _) = self.rows_of(chunk);
            let inputs = self.exact(inputs, [1, chunk.len(), self.data.width()]);
            forward(&self.net, &tensors, inputs, &Mode::Evaluation, observer);
        }
    }
}

impl Probe for NetProbe<'_> {
    fn rows(&self) -> usize {
        self.data.train_rows()
    }

    fn targets(&self) -> Vec<f32> {
        self.data.train_targets.to_data().iter::<f32>().collect()
    }

    fn gradient(&mut self, net: &Parameters, rows: &[u32], loss: Loss) -> Result<Vec<Vec<f64>>, Failure> {
        let gradient = self.mean_gradient(&self.row(net), rows, loss)?;
        Ok(self.layout.unflatten_values(&gradient))
    }

    fn hessian_vector(
        &mut self,
        net: &Parameters,
        rows: &[u32],
        direction: &[Vec<f64>],
        loss: Loss,
    ) -> Result<Vec<Vec<f64>>, Failure> {
        let direction = self.layout.flatten_values(direction);
        let largest = direction.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        if largest == 0.0 {
            return Ok(self.layout.unflatten_values(&direction));
        }
        let step = DIFFERENCE / largest;
        let row = self.row(net);
        let moved = |by: f64| {
            let row: Vec<f64> = row.iter().zip(&direction).map(|(value, direction)| value + by * direction).collect();
            self.mean_gradient(&row, rows, loss)
        };
        let (ahead, behind) = (moved(step)?, moved(-step)?);
        let product: Vec<f64> =
            ahead.iter().zip(behind).map(|(ahead, behind)| (ahead - behind) / (2.0 * step)).collect();
        Ok(self.layout.unflatten_values(&product))
    }

    fn sample_gradients(
        &mut self,
        net: &Parameters,
        rows: &[u32],
        each: &mut dyn FnMut(&[Vec<f64>]),
    ) -> Result<(), Failure> {
        let row = self.row(net);
        for chunk in rows.chunks(SAMPLES) {
            // Curvature is the mean of products of two of these: with roots of weights a row of weight 2 counts as two rows do.
            let gradients = self.pass(&row, chunk, chunk.len(), Loss::default(), 0.5)?;
            for gradient in gradients.chunks_exact(self.layout.length()) {
                each(&self.layout.unflatten_values(gradient));
            }
        }
        Ok(())
    }

    fn flow(&mut self, weights: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, Failure> {
        let tensors: Vec<Vec<f64>> = (self.layout.tensors().iter().zip(weights))
            .map(|(tensor, weights)| match tensor.kind {
                TensorKind::Weight => weights.clone(),
                TensorKind::Scale | TensorKind::RunningVariance => vec![1.0; tensor.length],
                TensorKind::Bias | TensorKind::Shift | TensorKind::RunningMean => vec![0.0; tensor.length],
            })
            .collect();
        let row = self.layout.flatten_values(&tensors);
        let leaves = leaves(&self.exact(row, [1, self.layout.length()]), &self.layout);
        let ones = self.exact(vec![1.0; self.data.width()], [1, 1, self.data.width()]);
        let net = self.net.without_activations();
        let outputs = forward(&net, &leaves, Tensor::from_inner(ones), &Mode::Evaluation, &mut Nobody);
        let gradient = gradient_of(&outputs.sum(), &leaves, &self.layout, 1, &self.reference)?;
        Ok(self.layout.unflatten_values(&gradient))
    }

    fn layer_inputs(&mut self, net: &Parameters, rows: &[u32]) -> Result<Vec<Vec<f64>>, Failure> {
        let layers = self.model.layers();
        let kinds: Vec<LayerKind> = layers.iter().map(|layer| layer.kind).collect();
        let mut watch = Inputs { of_layer: vec![Vec::new(); layers.len()], kinds };
        self.observe(net, rows, &mut watch);
        Ok(watch.of_layer)
    }

    fn activations(&mut self, net: &Parameters, rows: &[u32]) -> Result<Vec<Vec<Vec<f64>>>, Failure> {
        let mut watch = Activations { of_layer: vec![Vec::new(); self.model.layers().len()] };
        self.observe(net, rows, &mut watch);
        Ok(watch.of_layer)
    }

    fn validation_loss(&mut self, net: &Parameters) -> Result<f64, Failure> {
        let validation = &self.data.validation;
        let logits = logits_of(&self.net, &self.layout, net, &validation.inputs, self.device);
        let outputs = self.net.outputs();
        let losses =
            logits.chunks_exact(outputs).zip(&validation.targets).map(|(logits, target)| row_loss(logits, *target));
        Ok(losses.sum::<f64>() / validation.targets.len().max(1) as f64)
    }

    fn condition(
        &mut self,
        net: &Parameters,
        mask: Option<&Mask>,
        training: &TrainingSpec,
        seed: u64,
        conditioning: &mut dyn Conditioning,
    ) -> Result<Parameters, Failure> {
        let lane = Lane {
            start: net.clone(),
            mask: mask.cloned(),
            training: training.clone(),
            regularization: None,
            seed,
            phase: Phase::Retrain,
            skip_steps: 0,
            stop_after: None,
        };
        let lanes = [lane];
        let mut bundle = Bundle::new(self.model, &lanes, self.device);
        let mut batches = Batches::new(&lanes, self.data.train_rows(), bundle.net());
        let per_epoch = batches.per_epoch() as u64;
        let steps = per_epoch * u64::from(training.epochs);
        let upload = |tensors: &[Vec<f32>]| {
            let row = TensorData::new(self.layout.flatten_values(tensors), [1, self.layout.length()]);
            Tensor::<2>::from_data(row, self.device)
        };
        let download = |row: &Tensor<2>| -> Vec<Vec<f32>> {
            self.layout.unflatten_values(&row.to_data().iter::<f32>().collect::<Vec<f32>>())
        };
        let mut current = net.clone();
        let mut step = 0;
        for epoch in 1..=training.epochs {
            batches.shuffle(epoch);
            for place in 0..batches.per_epoch() {
                let own = bundle.parameters().clone();
                bundle.set_parameters(upload(&conditioning.effective(step, steps, &current).tensors));
                let found = bundle.gradient(self.data, batches.batch(place, step));
                let gradient = conditioning.gradient(step, &current, download(&found.gradient));
                bundle.set_parameters(own);
                bundle.optimizer().scale_lr(lr_factor(training, per_epoch, step));
                let _ = bundle.follow(Gradient { gradient: upload(&gradient), ..found });
                current = Parameters { tensors: download(bundle.parameters()) };
                step += 1;
            }
            conditioning.end_epoch(epoch, &current);
        }
        Ok(current)
    }
}

/// The loss of one row in double precision: binary cross-entropy for one logit, cross-entropy for more.
fn row_loss(logits: &[f32], target: f32) -> f64 {
    if let [logit] = logits {
        let logit = f64::from(*logit);
        return logit.max(0.0) - logit * f64::from(target) + (-logit.abs()).exp().ln_1p();
    }
    let largest = logits.iter().fold(f64::NEG_INFINITY, |largest, logit| largest.max(f64::from(*logit)));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "targets are checked to be classes")]
    let chosen = logits.get(target as usize).map_or(f64::NAN, |logit| f64::from(*logit));
    largest + sum.ln() - chosen
}

fn leaves(parameters: &Tensor<2>, layout: &FlatLayout) -> Vec<Tensor<2>> {
    let leaf = |values| Tensor::from_inner(values).require_grad();
    split(parameters, layout).into_iter().map(leaf).collect()
}

/// The gradient of `loss` as K rows; 0 where `loss` does not depend on a number.
fn gradient_of(
    loss: &Tensor<1>,
    leaves: &[Tensor<2>],
    layout: &FlatLayout,
    lanes: usize,
    device: &Device,
) -> Result<Vec<f64>, Failure> {
    let gradients = loss.backward();
    let parts = (leaves.iter().zip(layout.tensors())).map(|(leaf, tensor)| {
        let none = || Tensor::zeros([lanes, tensor.length], (device, DType::F64));
        leaf.grad(&gradients).unwrap_or_else(none)
    });
    let values = Tensor::cat(parts.collect(), 1).into_data().try_into_vec::<f64>();
    values.map_err(|error| {
        Failure::new(FailureClass::Internal, format!("a gradient is not in double precision: {error:?}"))
    })
}

fn doubles<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Records the inputs of each layer.
struct Inputs {
    of_layer: Vec<Vec<f64>>,
    kinds: Vec<LayerKind>,
}

impl Observer for Inputs {
    fn input(&mut self, layer: usize, values: &Values) {
        let values = match (values.clone(), self.kinds[layer]) {
            (Values::Rows(rows), _) => doubles(rows),
            (Values::Images(images), LayerKind::Convolution { kernel, stride, padding, .. }) => {
                let [kernel, stride, padding] = [kernel, stride, padding].map(|size| size as usize);
                let options = UnfoldOptions::new([stride, stride], [padding, padding], [1, 1]);
                doubles(unfold4d(images, [kernel, kernel], options).swap_dims(1, 2))
            }
            (images @ Values::Images(_), _) => doubles(images.rows(1)),
        };
        self.of_layer[layer].extend(values);
    }
}

/// Records the outputs of activations, by unit.
struct Activations {
    of_layer: Vec<Vec<Vec<f64>>>,
}

impl Observer for Activations {
    fn activation(&mut self, layer: usize, values: &Values) {
        let by_feature = values.clone().by_feature(1);
        let [_, features, count] = by_feature.dims();
        let values = doubles(by_feature);
        let units = &mut self.of_layer[layer];
        units.resize(features, Vec::new());
        for (unit, values) in units.iter_mut().zip(values.chunks_exact(count)) {
            unit.extend(values);
        }
    }
}
