//! How many lanes to run at once: measured, not guessed. The best width is a property of device, architecture and batch.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt as _;
use secateur_proto::spec::StageSpec;

use super::{
    bundle::{Bundle, Lane, Phase},
    data::{DeviceData, EvaluationRows},
};
use crate::{
    net::{Mask, Parameters},
    random,
};

/// The widths that are tried.
pub const WIDTHS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Widths within this share of the best rate count as equal, and the narrowest of them is taken: narrow bundles lose less when
/// something fails, and share out better at the end of a sweep.
const TOLERANCE: f64 = 0.05;

/// Rows of a batch that are measured at most: a larger batch fills the processor at any width, and 64 lanes of it need not fit
/// into memory.
const MOST_ROWS: usize = 4096;

/// What one width reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// K.
    pub lanes: usize,
    /// Optimiser steps of one lane per second.
    pub lane_steps_per_second: f64,
}

/// Trains synthetic bundles of the stage's shape for about `budget` each, at every width. Nothing for a stage that trains nothing.
#[must_use]
pub fn rates(spec: &StageSpec, device: &Device, budget: Duration) -> Vec<Rate> {
    let Some((model, training)) = spec.training() else { return Vec::new() };
    let batch = (training.batch_size as usize).min(MOST_ROWS);
    let Ok(width) = usize::try_from(model.inputs()) else { return Vec::new() };
    let data = synthetic(batch * 4, width, device);
    let mask = matches!(spec, StageSpec::Prune(_)).then(|| Mask::full(model, &model.prunable()));
    let lane = |seed| Lane {
        start: Parameters::initial(model, seed),
        mask: mask.clone(),
        training: training.clone(),
        regularization: spec.regularization().cloned(),
        seed,
        phase: Phase::Dense,
        skip_steps: 0,
        stop_after: None,
    };
    (WIDTHS.into_iter())
        .map(|lanes| {
            let bundle: Vec<Lane> = (0..lanes as u64).map(lane).collect();
            let mut bundle = Bundle::new(model, &bundle, device);
            let rows: Vec<i32> = (0..lanes).flat_map(|_| (0..).take(batch)).collect();
            // The first step pays for memory and caches.
            let _ = bundle.step(&data, rows.clone().into()).0.into_data();
            let start = Instant::now();
            let mut steps = 0_u32;
            while steps == 0 || start.elapsed() < budget {
                let _ = bundle.step(&data, rows.clone().into()).0.into_data();
                steps += 1;
            }
            let rate = f64::from(steps) * lanes as f64 / start.elapsed().as_secs_f64();
            Rate { lanes, lane_steps_per_second: rate }
        })
        .collect()
}

/// The narrowest width within a few percent of the best.
#[must_use]
pub fn best(rates: &[Rate]) -> Option<Rate> {
    let fastest = rates.iter().map(|rate| rate.lane_steps_per_second).fold(0.0, f64::max);
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
    };
    DeviceData {
        classes: 2,
        train_inputs: Tensor::from_data(TensorData::new(values, [rows, width]), device),
        train_targets: Tensor::from_data(TensorData::new(targets, [rows]), device),
        validation: empty(),
        test: empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_of_the_fast_widths_is_taken() {
        let rates = [(1, 50.0), (2, 96.0), (4, 100.0), (8, 99.0)]
            .map(|(lanes, lane_steps_per_second)| Rate { lanes, lane_steps_per_second });
        assert_eq!(best(&rates).map(|rate| rate.lanes), Some(2));
        assert_eq!(best(&[]), None);
    }
}
