//! Trains a bundle to its end: epochs, guards, audits, and the best epoch of each lane.

use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom as _;
use secateur_proto::{
    outcome::{Failure, FailureClass},
    spec::{ModelSpec, SelectBy},
};
use serde::Serialize;

use super::{
    bundle::{Bundle, GUARDS, Lane},
    data::DeviceData,
    evaluate::logits,
};
use crate::{
    metrics::{self, ScoreMetrics},
    net::Parameters,
    random,
};

/// How a lane ended.
#[derive(Debug, Clone)]
pub enum LaneEnd {
    /// With the net of its best epoch.
    Trained(Trained),
    /// With a number that is not finite.
    Diverged {
        /// The first step, from 1, that met it.
        step: u64,
    },
}

/// A trained net.
#[derive(Debug, Clone)]
pub struct Trained {
    /// Of the best epoch.
    pub parameters: Parameters,
    /// Which epoch that was.
    pub epoch: u32,
    /// Every epoch, and what the net was before the first as epoch 0.
    pub curve: Vec<EpochRecord>,
}

/// One epoch of one lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EpochRecord {
    /// From 1; 0 is before training.
    pub epoch: u32,
    /// Mean loss of the epoch's batches, without penalty; nothing for epoch 0.
    pub train_loss: Option<f64>,
    /// On validation, after the epoch.
    pub validation: ScoreMetrics,
}

struct LaneState {
    curve: Vec<EpochRecord>,
    best: Option<(u32, Vec<f32>)>,
    diverged: Option<u64>,
}

/// Trains `lanes`, which are of one bundle class; `watch` sees every epoch of every lane.
///
/// # Errors
/// If an audit finds a removed weight that is not zero: a defect.
pub fn train(
    model: &ModelSpec,
    lanes: &[Lane],
    data: &DeviceData,
    device: &Device,
    mut watch: impl FnMut(usize, &EpochRecord),
) -> Result<Vec<LaneEnd>, Failure> {
    let mut bundle = Bundle::new(model, lanes, device);
    let mut states: Vec<LaneState> =
        lanes.iter().map(|_| LaneState { curve: Vec::new(), best: None, diverged: None }).collect();
    record(&bundle, lanes, data, &mut states, 0, None, &mut watch)?;
    let mut steps = 0;
    let mut orders = RowOrders::new(lanes, data.train_rows());
    for epoch in 1..=lanes[0].training.epochs {
        if states.iter().all(|state| state.diverged.is_some()) {
            break;
        }
        orders.shuffle(epoch);
        let mut guards = Vec::new();
        for batch in 0..data.train_rows().div_ceil(orders.batch_size) {
            guards.push(bundle.step(data, orders.batch(batch)));
        }
        let losses = check(guards, steps, &mut states);
        record(&bundle, lanes, data, &mut states, epoch, Some(&losses), &mut watch)?;
        steps += data.train_rows().div_ceil(orders.batch_size) as u64;
    }
    Ok((states.into_iter())
        .map(|state| match (state.diverged, state.best) {
            (None, Some((epoch, row))) => {
                LaneEnd::Trained(Trained { parameters: bundle.layout().unflatten(&row), epoch, curve: state.curve })
            }
            (step, _) => LaneEnd::Diverged { step: step.unwrap_or(0) },
        })
        .collect())
}

/// Finds lanes that met a number that is not finite since step `before`, and gives the mean loss of each lane.
fn check(guards: Vec<Tensor<2>>, before: u64, states: &mut [LaneState]) -> Vec<f64> {
    let steps = guards.len();
    let values = Tensor::cat(guards, 1).into_data();
    let values: &[f32] = values.as_slice().expect("guards are f32");
    (values.chunks_exact(steps * GUARDS).zip(states))
        .map(|(lane, state)| {
            let bad = lane.chunks_exact(GUARDS).position(|guard| guard.iter().any(|value| !value.is_finite()));
            if let (Some(step), None) = (bad, state.diverged) {
                state.diverged = Some(before + step as u64 + 1);
            }
            lane.iter().step_by(GUARDS).map(|loss| f64::from(*loss)).sum::<f64>() / steps as f64
        })
        .collect()
}

/// Audits the mask, evaluates on validation, and keeps a lane's net if it is its best.
fn record(
    bundle: &Bundle,
    lanes: &[Lane],
    data: &DeviceData,
    states: &mut [LaneState],
    epoch: u32,
    losses: Option<&[f64]>,
    watch: &mut impl FnMut(usize, &EpochRecord),
) -> Result<(), Failure> {
    let rows = bundle.parameters().to_data();
    let rows: &[f32] = rows.as_slice().expect("parameters are f32");
    let scores = logits(bundle.parameters(), bundle.layout(), &data.validation.inputs);
    for (index, (state, row)) in states.iter_mut().zip(rows.chunks_exact(bundle.layout().length())).enumerate() {
        if state.diverged.is_some() {
            continue;
        }
        let lane = &lanes[index];
        // The last step may have thrown a parameter out of range where no logit shows it: behind a ReLU, or in a removed weight.
        if row.iter().chain(&scores[index]).any(|value| !value.is_finite()) {
            let steps = data.train_rows().div_ceil(lane.training.batch_size as usize) as u64;
            state.diverged = Some(u64::from(epoch) * steps);
            continue;
        }
        if let Some(mask) = &lane.mask {
            let violations = mask.violations(&bundle.layout().unflatten(row));
            if violations > 0 {
                let message = format!("{violations} removed weights are not zero after epoch {epoch}");
                return Err(Failure::new(FailureClass::Internal, message));
            }
        }
        let validation = metrics::of_scores(&scores[index], &data.validation.targets)
            .map_err(|error| Failure::new(FailureClass::Internal, error.to_string()))?;
        let record = EpochRecord { epoch, train_loss: losses.map(|losses| losses[index]), validation };
        watch(index, &record);
        let selected = |record: &EpochRecord| match lane.training.select_by {
            SelectBy::Auc => record.validation.auc,
            SelectBy::LogLoss => -record.validation.log_loss,
            SelectBy::Accuracy => record.validation.accuracy,
        };
        let best = state.best.as_ref().map(|(epoch, _)| selected(&state.curve[*epoch as usize]));
        if epoch > 0 && best.is_none_or(|best| selected(&record) > best) {
            state.best = Some((epoch, row.to_vec()));
        }
        state.curve.push(record);
    }
    Ok(())
}

/// The order in which each lane sees the train rows: that of its seed and phase, whoever its neighbours are.
struct RowOrders {
    /// Distinct (purpose, seed) and their current order.
    orders: Vec<(&'static str, u64, Vec<i32>)>,
    /// Which of them each lane follows.
    of_lane: Vec<usize>,
    batch_size: usize,
}

impl RowOrders {
    fn new(lanes: &[Lane], rows: usize) -> Self {
        let mut orders: Vec<(&'static str, u64, Vec<i32>)> = Vec::new();
        let of_lane = (lanes.iter())
            .map(|lane| {
                let purpose = lane.phase.purpose();
                let known = orders.iter().position(|(other, seed, _)| *other == purpose && *seed == lane.seed);
                known.unwrap_or_else(|| {
                    orders.push((purpose, lane.seed, vec![0; rows]));
                    orders.len() - 1
                })
            })
            .collect();
        Self { orders, of_lane, batch_size: lanes[0].training.batch_size as usize }
    }

    fn shuffle(&mut self, epoch: u32) {
        for (purpose, seed, order) in &mut self.orders {
            for (index, row) in (0..).zip(order.iter_mut()) {
                *row = index;
            }
            order.shuffle(&mut random::generator(purpose, &[*seed, u64::from(epoch)]));
        }
    }

    /// The rows of one batch, lane after lane.
    fn batch(&self, index: usize) -> Vec<i32> {
        let start = index * self.batch_size;
        let rows = |order: &usize| {
            let order = &self.orders[*order].2;
            order[start..(start + self.batch_size).min(order.len())].iter().copied()
        };
        self.of_lane.iter().flat_map(rows).collect()
    }
}
