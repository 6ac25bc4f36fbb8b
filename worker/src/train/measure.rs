//! Measures how many lanes to run at once. The best width depends on device, architecture and batch size.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt as _;
use secateur_proto::spec::{ModelSpec, StageSpec, Training};

use super::{
    bundle::{Bundle, Lane, Phase},
    data::{DeviceData, EvaluationRows},
};
use crate::{
    net::{Mask, Parameters},
    random,
};

/// The widths to try.
pub const WIDTHS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Widths within this share of the best rate count as equal, and the narrowest of them is chosen. Narrow bundles lose
/// less when something fails, and divide better at the end of a sweep.
const TOLERANCE: f64 = 0.05;

/// The maximum number of rows in a measured batch. A larger batch uses the whole processor at any width, and 64 lanes
/// of it may not fit into memory.
const MOST_ROWS: usize = 4096;

/// The duration of a step in seconds from which no wider bundle is tried: wider bundles of large nets may not fit into
/// memory.
const LONGEST_STEP: f64 = 1.0;

/// The rate of one width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// K.
    pub lanes: usize,
    /// Optimiser steps of one lane per second.
    pub lane_steps_per_second: f64,
}

/// Synthetic bundles of a stage's shape.
#[derive(Debug)]
pub struct Trial {
    model: ModelSpec,
    lane: Lane,
    data: DeviceData,
    batch: usize,
    device: Device,
    bundle: Option<Bundle>,
}

impl Trial {
    /// Returns `None` if the stage does not train.
    #[must_use]
    pub fn new(spec: &StageSpec, device: &Device) -> Option<Self> {
        let Training { model, spec: training, penalty, schedule, .. } = spec.training()?;
        let batch = (training.batch_size as usize).min(MOST_ROWS);
        let width = usize::try_from(model.inputs()).ok()?;
        let lane = Lane {
            start: Parameters::initial(model, 0),
            mask: schedule.is_some().then(|| Mask::full(model, &model.prunable())),
            training: training.clone(),
            regularization: penalty.cloned(),
            seed: 0,
            phase: Phase::Dense,
            skip_steps: 0,
            stop_after: None,
        };
        let data = synthetic(batch * 4, width, device);
        Some(Self { model: model.clone(), lane, data, batch, device: device.clone(), bundle: None })
    }

    /// Starts a bundle of `lanes` nets.
    pub fn begin(&mut self, lanes: usize) {
        let lane = |seed| Lane { start: Parameters::initial(&self.model, seed), seed, ..self.lane.clone() };
        let lanes: Vec<Lane> = (0..lanes as u64).map(lane).collect();
        self.bundle = Some(Bundle::new(&self.model, &lanes, &self.device));
    }

    /// Runs a step of the current bundle, and waits until it is done.
    pub fn step(&mut self) {
        let Some(bundle) = &mut self.bundle else { return };
        // Lanes of one seed see the same rows, and lanes of different seeds other rows, so only some lanes share rows.
        let rows = (0..bundle.lanes()).flat_map(|lane| (lane % 4 * self.batch..).take(self.batch));
        let rows: Vec<i32> = rows.map(|row| row as i32).collect();
        let _ = bundle.step(&self.data, rows.into()).0.into_data();
    }
}

/// Trains synthetic bundles of the stage's shape, each for about `budget`, at increasing widths until a wider one is of
/// no use. Empty if the stage does not train.
#[must_use]
pub fn rates(spec: &StageSpec, device: &Device, budget: Duration) -> Vec<Rate> {
    let Some(mut trial) = Trial::new(spec, device) else { return Vec::new() };
    let mut rates: Vec<Rate> = Vec::new();
    for lanes in WIDTHS {
        trial.begin(lanes);
        // The first step allocates memory and fills caches.
        trial.step();
        let start = Instant::now();
        let mut steps = 0_u32;
        while steps == 0 || start.elapsed() < budget {
            trial.step();
            steps += 1;
        }
        let rate = f64::from(steps) * lanes as f64 / start.elapsed().as_secs_f64();
        rates.push(Rate { lanes, lane_steps_per_second: rate });
        if are_enough(&rates) {
            break;
        }
    }
    rates
}

/// Whether a wider bundle is not worth trying: the last step took long, or the last two widths were both slower than an
/// earlier one.
fn are_enough(rates: &[Rate]) -> bool {
    let Some(last) = rates.last() else { return false };
    let (before, two) = rates.split_at(rates.len().saturating_sub(2));
    let best = fastest(before);
    last.lanes as f64 / last.lane_steps_per_second > LONGEST_STEP
        || two.iter().all(|rate| rate.lane_steps_per_second < best)
}

fn fastest(rates: &[Rate]) -> f64 {
    rates.iter().map(|rate| rate.lane_steps_per_second).fold(0.0, f64::max)
}

/// The narrowest width within a few percent of the best.
#[must_use]
pub fn best(rates: &[Rate]) -> Option<Rate> {
    let fastest = fastest(rates);
    rates.iter().copied().find(|rate| rate.lane_steps_per_second >= fastest * (1.0 - TOLERANCE))
}

fn synthetic(rows: usize, width: usize, device: &Device) -> DeviceData {
    let mut generator = random::generator("synthetic rows", &[]);
    let values: Vec<f32> = (0..rows * width).map(|_| generator.random::<f32>() - 0.5).collect();
    let targets: Vec<f32> = (0..rows).map(|_| f32::from(u8::from(generator.random::<bool>()))).collect();
    let empty = || EvaluationRows {
        inputs: Tensor::from_data(TensorData::new(vec![0.0_f32; width], [1, width]), device),
        targets: vec![0.0],
        rows: vec![0],
        groups: Vec::new(),
    };
    DeviceData {
        classes: 2,
        groups: Vec::new(),
        train_inputs: Tensor::from_data(TensorData::new(values, [rows, width]), device),
        train_targets: Tensor::from_data(TensorData::new(targets, [rows]), device),
        validation: empty(),
        test: empty(),
    }
}

#[cfg(test)]
mod tests {
    use secateur_proto::{
        ids::{ContentHash, StageKey},
        spec::DenseSpec,
    };

    use super::*;
    use crate::train::tests::{device, mlp, sgd, training};

    /// However small the budget, one lane is measured, and wider bundles in order.
    #[test]
    fn a_net_alone_is_always_measured() {
        let spec = StageSpec::Dense(DenseSpec {
            prepare: StageKey(ContentHash::of(b"a stage")),
            model: mlp(4, &[5]),
            training: training(sgd(0.1), 8, 1),
            regularization: None,
            stop_after: None,
            seed: 1,
        });
        let rates = rates(&spec, &device(), Duration::ZERO);
        assert_eq!(rates[0].lanes, 1);
        assert!(rates.iter().zip(WIDTHS).all(|(rate, width)| rate.lanes == width));
        assert!(rates.iter().all(|rate| rate.lane_steps_per_second.is_finite() && rate.lane_steps_per_second > 0.0));
    }

    fn rates_of<const N: usize>(rates: [(usize, f64); N]) -> [Rate; N] {
        rates.map(|(lanes, lane_steps_per_second)| Rate { lanes, lane_steps_per_second })
    }

    #[test]
    fn the_narrowest_of_the_fast_widths_is_taken() {
        let rates = rates_of([(1, 50.0), (2, 96.0), (4, 100.0), (8, 99.0)]);
        assert_eq!(best(&rates).map(|rate| rate.lanes), Some(2));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn widening_ends_after_two_slower_widths_or_a_long_step() {
        assert!(!are_enough(&[]));
        assert!(!are_enough(&rates_of([(1, 50.0)])));
        assert!(!are_enough(&rates_of([(1, 50.0), (2, 40.0)])));
        assert!(are_enough(&rates_of([(1, 50.0), (2, 40.0), (4, 45.0)])));
        assert!(!are_enough(&rates_of([(1, 50.0), (2, 40.0), (4, 51.0)])));
        assert!(!are_enough(&rates_of([(1, 40.0), (2, 50.0), (4, 45.0)])));
        // Four steps per second of four lanes are one step of the bundle.
        assert!(!are_enough(&rates_of([(1, 1.1), (2, 2.2), (4, 4.1)])));
        assert!(are_enough(&rates_of([(1, 1.1), (2, 2.2), (4, 3.9)])));
        assert!(are_enough(&rates_of([(1, 0.9)])));
    }
}
