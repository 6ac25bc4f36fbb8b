//! Trains a bundle to its end: epochs, guards, audits, masks that change on the way, and the best epoch of each lane.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use secateur_proto::{
    metrics::{Direction, Metric},
    outcome::{Failure, FailureClass},
    spec::{LearningRateSchedule, ModelSpec, SelectBy, TrainingSpec},
};
use serde::{Deserialize, Serialize};

use super::{
    batches::Batches,
    bundle::{Bundle, GUARDS, Lane},
    data::DeviceData,
    evaluate::logits,
    penalty::Period,
    state::TrainingState,
};
use crate::{
    metrics,
    net::{Mask, Parameters, flat::FlatLayout},
    prune::{
        schedule::{MaskSchedule, NoPlan},
        select::NoSelection,
    },
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
    /// With a mask that would leave a layer empty.
    Collapsed {
        /// Its name.
        layer: String,
    },
    /// For a reason of its own.
    Failed(Failure),
}

/// A trained net.
#[derive(Debug, Clone)]
pub struct Trained {
    /// Of the best epoch.
    pub parameters: Parameters,
    /// What was removed: what the lane began with, or its schedule said last.
    pub mask: Option<Mask>,
    /// That, and what healing kept at zero: all that stayed zero at the end.
    pub frozen: Option<Mask>,
    /// Which epoch was the best.
    pub epoch: u32,
    /// Every epoch, and what the net was before the first as epoch 0.
    pub curve: Vec<EpochRecord>,
}

/// One epoch of one lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    /// From 1; 0 is before training.
    pub epoch: u32,
    /// Mean loss of the epoch's batches, without penalty; nothing for epoch 0.
    pub train_loss: Option<f64>,
    /// On validation, after the epoch: the metrics that have a value.
    pub validation: BTreeMap<Metric, f64>,
}

/// Sees a training as it goes on.
pub trait Watch {
    /// A lane has finished an epoch.
    fn epoch(&mut self, lane: usize, record: &EpochRecord);

    /// Whether the states of the lanes are wanted at the end of this epoch, which is not the last.
    fn wants_states(&mut self) -> bool {
        false
    }

    /// The state of a lane that goes on.
    fn state(&mut self, _lane: usize, _state: TrainingState) {}
}

/// Nobody looks.
impl Watch for () {
    fn epoch(&mut self, _lane: usize, _record: &EpochRecord) {}
}

struct LaneState {
    curve: Vec<EpochRecord>,
    best: Option<(u32, Vec<f32>)>,
    /// What the lane began with, or its schedule said last.
    mask: Option<Mask>,
    /// What its penalty had driven to zero when it was over.
    healed: Option<Mask>,
    ended: Option<LaneEnd>,
}

impl LaneState {
    /// Before a training.
    fn of(lane: &Lane) -> Self {
        Self { curve: Vec::new(), best: None, mask: lane.mask.clone(), healed: None, ended: None }
    }

    /// Where a training that is gone on with was.
    fn taken_up(state: &TrainingState, layout: &FlatLayout) -> Self {
        Self {
            curve: state.curve.clone(),
            best: state.best.as_ref().map(|(epoch, best)| (*epoch, layout.flatten(best))),
            mask: state.mask.clone(),
            healed: state.healed.clone(),
            ended: None,
        }
    }

    /// All that stays zero.
    fn frozen(&self) -> Option<Mask> {
        Mask::either(self.mask.as_ref(), self.healed.as_ref())
    }
}

/// Trains `lanes`, which are of one bundle class; `schedules` holds one for each lane whose mask changes on the way, and is empty if
/// there is none. `begun` holds the state that each lane goes on from, and is empty if they begin at their beginning. `watch` sees every
/// epoch of every lane, but for those that were over before.
///
/// # Errors
/// If an audit finds a removed weight that is not zero, or a schedule cannot go on from its plan: a defect.
///
/// # Panics
/// If the states are not of one [moment](TrainingState::moment).
pub fn train(
    model: &ModelSpec,
    lanes: &[Lane],
    begun: &[TrainingState],
    schedules: &mut [Box<dyn MaskSchedule + '_>],
    data: &DeviceData,
    device: &Device,
    watch: &mut dyn Watch,
) -> Result<Vec<LaneEnd>, Failure> {
    let (bundle, states) = if begun.is_empty() {
        (Bundle::new(model, lanes, device), lanes.iter().map(LaneState::of).collect())
    } else {
        take_up(model, lanes, begun, device)
    };
    for (schedule, state) in schedules.iter_mut().zip(begun) {
        if let Some(plan) = &state.plan {
            let taken_up = schedule.go_on_from(plan.clone());
            taken_up.map_err(|error| Failure::new(FailureClass::Internal, error.to_string()))?;
        }
    }
    let mut training = Training { model, bundle, states, lanes, schedules, data, watch, changed: None };
    training.run(begun.first().map(|state| state.epoch))?;
    let Training { bundle, states, .. } = training;
    Ok((states.into_iter())
        .map(|state| {
            let frozen = state.frozen();
            match (state.ended, state.best) {
                (Some(end), _) => end,
                (None, Some((epoch, row))) => LaneEnd::Trained(Trained {
                    parameters: bundle.layout().unflatten(&row),
                    mask: state.mask,
                    frozen,
                    epoch,
                    curve: state.curve,
                }),
                (None, None) => LaneEnd::Failed(Failure::new(FailureClass::Internal, "no epoch left a net to keep")),
            }
        })
        .collect())
}

/// A bundle as it was when its states were taken.
fn take_up(model: &ModelSpec, lanes: &[Lane], begun: &[TrainingState], device: &Device) -> (Bundle, Vec<LaneState>) {
    let moment = begun[0].moment();
    assert!(begun.iter().all(|state| state.moment() == moment), "lanes of one bundle go on from one moment");
    let masked = begun.iter().any(|state| state.frozen().is_some());
    // Among lanes of which some have a mask, one that removes nothing changes nothing.
    let mask = |state: &TrainingState| {
        masked.then(|| state.frozen().unwrap_or_else(|| Mask::none(state.parameters.tensors.len())))
    };
    let lanes: Vec<Lane> = (lanes.iter().zip(begun))
        .map(|(lane, state)| Lane { start: state.parameters.clone(), mask: mask(state), ..lane.clone() })
        .collect();
    let mut bundle = Bundle::new(model, &lanes, device);
    let layout = bundle.layout().clone();
    let moments = (0..begun[0].moments.len()).map(|nth| {
        let rows: Vec<f32> = begun.iter().flat_map(|state| layout.flatten(&state.moments[nth])).collect();
        Tensor::from_data(TensorData::new(rows, [begun.len(), layout.length()]), device)
    });
    let moments = moments.collect();
    bundle.optimizer().remember(begun[0].steps, moments);
    let states = begun.iter().map(|state| LaneState::taken_up(state, &layout)).collect();
    (bundle, states)
}

struct Training<'a, 'b> {
    model: &'a ModelSpec,
    bundle: Bundle,
    states: Vec<LaneState>,
    lanes: &'a [Lane],
    schedules: &'a mut [Box<dyn MaskSchedule + 'b>],
    data: &'a DeviceData,
    watch: &'a mut dyn Watch,
    /// The steps after which a schedule last changed the masks.
    changed: Option<u64>,
}

impl Training<'_, '_> {
    /// From the beginning, or from the end of the epoch `done`.
    fn run(&mut self, done: Option<u32>) -> Result<(), Failure> {
        // Lanes of one class agree on all but their own numbers.
        let Lane { training, skip_steps, stop_after, .. } = &self.lanes[0];
        let mut batches = Batches::new(self.lanes, self.data.train_rows(), self.bundle.net());
        let per_epoch = batches.per_epoch() as u64;
        let last = stop_after.unwrap_or(u64::MAX).min(per_epoch * u64::from(training.epochs));
        let first_epoch = match done {
            Some(done) => done.saturating_add(1),
            None => {
                self.record(0, 0, None, false)?;
                self.change_masks(0, None);
                u32::try_from(skip_steps / per_epoch).unwrap_or(u32::MAX).saturating_add(1)
            }
        };
        for epoch in first_epoch..=training.epochs {
            let begin = u64::from(epoch - 1) * per_epoch;
            if begin >= last || self.states.iter().all(|state| state.ended.is_some()) {
                break;
            }
            self.begin_penalties(epoch, training.epochs);
            batches.shuffle(epoch);
            let mut guards = Vec::new();
            let first = begin.max(*skip_steps);
            for step in first..last.min(begin + per_epoch) {
                let factor = lr_factor(training, per_epoch, step);
                self.bundle.optimizer().scale_lr(factor);
                let (guard, gradient) = self.bundle.step(self.data, batches.batch((step - begin) as usize, step));
                guards.push(guard);
                self.change_masks(step + 1 - skip_steps, Some(gradient));
            }
            let done = first + guards.len() as u64;
            let losses = self.check(guards, first);
            self.record(epoch, done, Some(&losses), done >= last)?;
            if done < last && self.watch.wants_states() {
                self.tell_states(epoch);
            }
        }
        Ok(())
    }

    /// Shows the states of the lanes that go on. What is not in them is made anew at the beginning of the next epoch, or was of use only
    /// in this one: the order of rows, the penalties' part, the learning rate, when the masks last changed.
    fn tell_states(&mut self, epoch: u32) {
        let (steps, moments) = self.bundle.optimizer().memory();
        let moments: Vec<Vec<f32>> = moments.iter().map(host).collect();
        let rows = host(self.bundle.parameters());
        let layout = self.bundle.layout();
        for (index, state) in self.states.iter().enumerate().filter(|(_, state)| state.ended.is_none()) {
            let of_lane = |rows: &Vec<f32>| layout.unflatten(&rows[index * layout.length()..][..layout.length()]);
            let taken = TrainingState {
                epoch,
                parameters: of_lane(&rows),
                steps,
                moments: moments.iter().map(of_lane).collect(),
                mask: state.mask.clone(),
                healed: state.healed.clone(),
                best: state.best.as_ref().map(|(epoch, row)| (*epoch, layout.unflatten(row))),
                curve: state.curve.clone(),
                plan: self.schedules.get(index).and_then(|schedule| schedule.plan().cloned()),
            };
            self.watch.state(index, taken);
        }
    }

    /// Tells penalties of the epoch, and makes what is zero stay zero in the lanes whose penalty is over.
    fn begin_penalties(&mut self, epoch: u32, epochs: u32) {
        let parameters = self.bundle.parameters().clone();
        self.bundle.optimizer().penalty().begin_epoch(epoch, epochs, &parameters);
        let heals = |lane: &Lane| {
            lane.regularization.as_ref().is_some_and(|penalty| Period::of(penalty, epoch, epochs) == Period::Healing)
        };
        let begins: Vec<bool> =
            self.lanes.iter().zip(&self.states).map(|(lane, state)| heals(lane) && state.healed.is_none()).collect();
        if !begins.contains(&true) {
            return;
        }
        let layout = self.bundle.layout();
        let rows = host(&parameters);
        for ((state, row), begins) in self.states.iter_mut().zip(rows.chunks_exact(layout.length())).zip(begins) {
            if begins {
                state.healed = Some(Mask::of_zeros(self.model, &layout.unflatten(row)));
            }
        }
        self.set_masks();
    }

    /// Puts the lanes' masks on the bundle.
    fn set_masks(&mut self) {
        let layout = self.bundle.layout();
        let masks = (self.states.iter())
            .flat_map(|state| match state.frozen() {
                Some(mask) => layout.flatten_mask(&mask),
                None => vec![1.0; layout.length()],
            })
            .collect();
        self.bundle.set_masks(masks);
    }

    /// Lets the schedules that are due after `steps` steps of this training change their lanes' masks.
    fn change_masks(&mut self, steps: u64, gradient: Option<Tensor<2>>) {
        if !self.schedules.iter().any(|schedule| schedule.is_due(steps)) {
            return;
        }
        // Lanes of one class share their schedule.
        if self.schedules.iter().any(|schedule| schedule.resets_moments()) {
            self.bundle.optimizer().reset();
        }
        self.changed = Some(steps);
        let layout = self.bundle.layout();
        let rows = host(self.bundle.parameters());
        let gradients = gradient.map(|gradient| host(&gradient));
        for (index, (state, row)) in self.states.iter_mut().zip(rows.chunks_exact(layout.length())).enumerate() {
            if state.ended.is_none()
                && let Some(schedule) = self.schedules.get_mut(index)
                && schedule.is_due(steps)
            {
                let net = layout.unflatten(row);
                let gradient = (gradients.as_ref()).map(|gradients| {
                    layout.unflatten(&gradients[index * layout.length()..(index + 1) * layout.length()])
                });
                match schedule.update(steps, &net, gradient.as_ref()) {
                    Ok(mask) => state.mask = Some(mask),
                    Err(error) => state.ended = Some(unplanned(error, self.lanes[index].skip_steps + steps)),
                }
            }
        }
        self.set_masks();
    }

    /// Finds lanes that met a number that is not finite since step `before`, and gives the mean loss of each lane.
    fn check(&mut self, guards: Vec<Tensor<2>>, before: u64) -> Vec<f64> {
        let steps = guards.len().max(1);
        let values = host(&Tensor::cat(guards, 1));
        (values.chunks_exact(steps * GUARDS).zip(&mut self.states))
            .map(|(lane, state)| {
                let bad = lane.chunks_exact(GUARDS).position(|guard| guard.iter().any(|value| !value.is_finite()));
                if let (Some(step), None) = (bad, &state.ended) {
                    state.ended = Some(LaneEnd::Diverged { step: before + step as u64 + 1 });
                }
                lane.iter().step_by(GUARDS).map(|loss| f64::from(*loss)).sum::<f64>() / steps as f64
            })
            .collect()
    }

    /// Audits the mask, evaluates on validation, and keeps a lane's net if it is its best; the `last` one in any case of a lane that
    /// asks for it or ends early.
    fn record(&mut self, epoch: u32, steps: u64, losses: Option<&[f64]>, last: bool) -> Result<(), Failure> {
        let layout = self.bundle.layout();
        let rows = host(self.bundle.parameters());
        let scores = logits(self.bundle.net(), self.bundle.parameters(), layout, &self.data.validation.inputs);
        for (index, (state, row)) in self.states.iter_mut().zip(rows.chunks_exact(layout.length())).enumerate() {
            if state.ended.is_some() {
                continue;
            }
            let lane = &self.lanes[index];
            // The last step may have thrown a parameter out of range where no logit shows it: behind a ReLU, or in a removed weight.
            if row.iter().chain(&scores[index]).any(|value| !value.is_finite()) {
                state.ended = Some(LaneEnd::Diverged { step: steps });
                continue;
            }
            if let Some(mask) = state.frozen() {
                let violations = mask.violations(&layout.unflatten(row));
                if violations > 0 {
                    let message = format!("{violations} removed weights are not zero after epoch {epoch}");
                    return Err(Failure::new(FailureClass::Internal, message));
                }
            }
            let validation =
                metrics::of_outputs(&scores[index], &self.data.validation.targets, self.bundle.net().outputs())
                    .map_err(|error| Failure::new(FailureClass::Internal, error.to_string()))?
                    .values();
            let record = EpochRecord { epoch, train_loss: losses.map(|losses| losses[index]), validation };
            self.watch.epoch(index, &record);
            let heals = lane.regularization.as_ref().is_some_and(|penalty| penalty.healing_epochs > 0);
            let trained = steps.saturating_sub(lane.skip_steps);
            let changed = self.changed == Some(trained);
            let follows = match self.schedules.get(index) {
                None => true,
                Some(schedule) => trained >= schedule.settled() && !(changed && schedule.grows()),
            };
            // A net that its penalty has not touched yet is not what was asked for.
            let penalised = last || lane.regularization.as_ref().is_none_or(|penalty| epoch > penalty.warm_up_epochs);
            let settled = follows && penalised && (!heals || state.healed.is_some() || lane.stop_after.is_some());
            let worth = worth(lane, &record)?;
            let better = match &state.best {
                None => true,
                Some((best, _)) => {
                    let best = state.curve.iter().find(|record| record.epoch == *best);
                    worth > best.map_or(Ok(f64::NEG_INFINITY), |record| self::worth(lane, record))?
                }
            };
            let only_last = lane.training.select_by == SelectBy::Last || lane.stop_after.is_some();
            if epoch > 0 && settled && if only_last { last } else { better } {
                state.best = Some((epoch, row.to_vec()));
            }
            state.curve.push(record);
        }
        Ok(())
    }
}

/// How a lane ends whose mask cannot be changed after step `step`.
fn unplanned(error: NoPlan, step: u64) -> LaneEnd {
    match error {
        NoPlan::Selection(NoSelection::Collapsed { layer }) => LaneEnd::Collapsed { layer },
        NoPlan::Selection(NoSelection::NotFinite) => LaneEnd::Diverged { step },
        NoPlan::Selection(error @ NoSelection::Unfit(_)) => {
            LaneEnd::Failed(Failure::new(FailureClass::Input, error.to_string()))
        }
        NoPlan::Failure(failure) => LaneEnd::Failed(failure),
    }
}

/// The higher, the better.
fn worth(lane: &Lane, record: &EpochRecord) -> Result<f64, Failure> {
    let metric = match lane.training.select_by {
        SelectBy::Auc => Metric::Auc,
        SelectBy::LogLoss => Metric::LogLoss,
        SelectBy::Accuracy => Metric::Accuracy,
        SelectBy::Last => return Ok(f64::from(record.epoch)),
    };
    let missing = || {
        let message = format!("{metric} has no value on validation, and epochs are selected by it");
        Failure::new(FailureClass::Input, message)
    };
    let value = record.validation.get(&metric).ok_or_else(missing)?;
    Ok(match metric.better() {
        Direction::Maximize => *value,
        Direction::Minimize => -value,
    })
}

/// What the learning rate of step `step`, from 0, is multiplied by.
pub(super) fn lr_factor(training: &TrainingSpec, per_epoch: u64, step: u64) -> f64 {
    let total = per_epoch * u64::from(training.epochs);
    let cut = |factor: f64, times: u64| factor.powi(i32::try_from(times).unwrap_or(i32::MAX));
    match training.lr_schedule {
        LearningRateSchedule::Constant => 1.0,
        LearningRateSchedule::Step { every, factor } => cut(factor, step / per_epoch / u64::from(every.max(1))),
        LearningRateSchedule::EqualSteps { times, factor } => {
            cut(factor, step.saturating_mul(u64::from(times) + 1) / total.max(1))
        }
        LearningRateSchedule::Cosine => (1.0 + (std::f64::consts::PI * step as f64 / total as f64).cos()) / 2.0,
    }
}

/// The numbers of a tensor.
fn host(tensor: &Tensor<2>) -> Vec<f32> {
    tensor.to_data().try_into_vec().expect("tensors of a bundle are f32")
}

#[cfg(test)]
mod tests;
