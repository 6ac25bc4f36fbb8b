//! Measures a trained net: how many bytes it takes, and how fast an engine answers with it, in turns with a dense net.
//!
//! The net is the one that `secateur export` writes: without the units and inputs that it can do without. Timed is what an engine makes of
//! prepared rows; the preparation of a row is the same for both nets and is not in it. Times are those of one machine at one moment.

pub mod engine;
mod machine;
mod sizes;
mod times;

use std::time::Duration;

use secateur_proto::{
    metrics::{Metric, Metrics, Split},
    spec::{MeasureSettings, ModelSpec},
};
use serde::Serialize;

pub use self::{engine::is_built, sizes::Sizes};
use self::{
    engine::{Answers, EngineError},
    machine::{Load, Machine},
    times::{Limits, Quantiles, in_turns},
};
use crate::{
    data::{DataError, Preparation},
    export::onnx,
    net::Parameters,
    serve::{HostNet, NetFile, probabilities},
};

/// How long two nets are timed at most for each batch, unless they are slow.
const LIMITS: Limits = Limits { warm_up: 50, fewest: 100, most: 2_000, time: Duration::from_secs(3) };

/// How far the probabilities of an engine may be from those of the host: of a net, and of a quantized one, whose inputs can fall on either
/// side of a step. RTen differed by at most 3e-7 and by 0.008 on 256 rows of 25 perceptrons; a wrong net differs by more.
const TOLERANCE: [f64; 2] = [1e-4, 0.05];

/// Why a net cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The engine is not there, or does not take the net.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The net and the preparation do not belong together.
    #[error(transparent)]
    Data(#[from] DataError),
    /// There is nothing to answer for.
    #[error("there are no rows to time the net with")]
    NoRows,
    /// What was timed is another function.
    #[error("{engine} answers otherwise than the net: probabilities differ by {difference:.4}")]
    Differs {
        /// The engine.
        engine: String,
        /// The largest difference found.
        difference: f64,
    },
}

/// What was measured, as the file of the stage has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// The engine with its version.
    engine: String,
    /// Where.
    machine: Machine,
    /// The largest difference of a logit between the net with its zeros and the smaller net that is measured, divided by the logit where that
    /// is above 1, over the same rows.
    compact_difference: f64,
    /// The largest difference of a probability between the engine and `secateur score`, over the rows of the largest batch.
    largest_difference: f64,
    /// By batch size, ascending.
    batches: Vec<BatchTimes>,
    /// In bytes.
    sizes: Sizes,
}

/// The times of one batch size.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct BatchTimes {
    rows: u32,
    /// Calls of each net that were timed, in turns.
    calls: usize,
    /// In microseconds.
    net: Quantiles,
    /// Those of the dense net.
    dense: Quantiles,
}

/// Measures `file` beside a dense net of the architecture `dense`. `rows` are prepared rows, one after the other.
///
/// # Errors
/// If the engine is not built in or does not take the net, or the parts do not belong together.
pub fn measure(
    preparation: &Preparation,
    file: &NetFile,
    dense: &ModelSpec,
    settings: &MeasureSettings,
    rows: &[f32],
) -> Result<Measurement, MeasureError> {
    let width = preparation.width();
    let onnx = onnx::write(preparation, file, None, &[])?;
    let (small, inputs) = file.compacted(None);
    // Zeros and other values take the same time in a dense product, so any dense net of that architecture will do.
    let dense = NetFile { model: dense.clone(), parameters: Parameters::initial(dense, 0), quantized: None };
    let largest = settings.batch.last().copied().unwrap_or(1) as usize;
    let whole: Vec<&[f32]> = rows.chunks_exact(width.max(1)).cycle().take(largest).collect();
    if whole.is_empty() {
        return Err(MeasureError::NoRows);
    }
    let taken: Vec<Vec<f32>> =
        whole.iter().map(|row| inputs.iter().map(|place| row[*place as usize]).collect()).collect();
    let (own_rows, dense_rows) = (taken.concat(), whole.concat());
    let sizes = Sizes::of(&small, onnx.bytes.len() as u64);
    let compact_difference = compact_difference(file, &whole, &small, &taken);
    engine::on_one_thread(settings.engine, |start| {
        let load = Load::begin();
        let (mut net, mut other) = (start(&small)?, start(&dense)?);
        let answers = net.answer(&own_rows, largest)?;
        let largest_difference = difference(&small, &answers, &taken);
        if largest_difference.is_nan() || largest_difference > TOLERANCE[usize::from(small.quantized.is_some())] {
            let engine = engine::name(settings.engine);
            return Err(MeasureError::Differs { engine, difference: largest_difference });
        }
        let mut batches = Vec::new();
        for rows in &settings.batch {
            let count = *rows as usize;
            let call = |engine: &mut Box<dyn Answers>, values: &[f32], width: usize| {
                engine.answer(&values[..count * width], count).map(drop)
            };
            let times = in_turns(LIMITS, &mut || call(&mut net, &own_rows, inputs.len()), &mut || {
                call(&mut other, &dense_rows, width)
            })?;
            let [net, dense] = [&times.first, &times.second].map(|times| Quantiles::of(times));
            batches.push(BatchTimes { rows: *rows, calls: times.first.len(), net, dense });
        }
        let engine = engine::name(settings.engine);
        let machine = Machine::here(&load);
        Ok(Measurement { engine, machine, compact_difference, largest_difference, batches, sizes })
    })
}

/// How far the smaller net is from the net, relative to logits above 1.
fn compact_difference(file: &NetFile, rows: &[&[f32]], small: &NetFile, taken: &[Vec<f32>]) -> f64 {
    let (net, small) = (HostNet::of(file), HostNet::of(small));
    let pairs = rows.iter().zip(taken).flat_map(|(row, taken)| net.logits(row).into_iter().zip(small.logits(taken)));
    pairs.fold(0.0, |largest: f64, (own, other)| {
        let (own, other) = (f64::from(own), f64::from(other));
        largest.max((own - other).abs() / own.abs().max(1.0))
    })
}

/// The largest difference between these answers and the probabilities of the net on the host.
fn difference(file: &NetFile, answers: &[f32], rows: &[Vec<f32>]) -> f64 {
    let (host, outputs) = (HostNet::of(file), file.model.outputs() as usize);
    if answers.len() != rows.len() * outputs {
        return f64::NAN;
    }
    let pairs = rows.iter().zip(answers.chunks_exact(outputs));
    pairs.fold(0.0, |largest: f64, (row, answer)| {
        let (own, found) = (probabilities(&host.logits(row)), probabilities(answer));
        own.iter().zip(found).fold(largest, |largest, (own, found)| {
            let difference = (own - found).abs();
            if difference.is_nan() { f64::NAN } else { largest.max(difference) }
        })
    })
}

impl Measurement {
    /// What goals and tables are about.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.sizes.metrics();
        // A property of the net has no split.
        let mut set = |metric: Metric, value: f64| metrics.insert(metric.on(Split::Validation), value);
        if let Some(BatchTimes { net, dense, .. }) = self.batches.first() {
            set(Metric::LatencyP50Us, net.p50_us);
            set(Metric::LatencyP99Us, net.p99_us);
            set(Metric::LatencyRatio, dense.p50_us / net.p50_us);
        }
        if let Some(BatchTimes { rows, net, dense, .. }) = self.batches.last() {
            set(Metric::BatchLatencyP50Us, net.p50_us);
            set(Metric::BatchLatencyP99Us, net.p99_us);
            set(Metric::Throughput, f64::from(*rows) / net.p50_us * 1e6);
            set(Metric::ThroughputRatio, dense.p50_us / net.p50_us);
        }
        metrics
    }
}

#[cfg(test)]
mod tests;
