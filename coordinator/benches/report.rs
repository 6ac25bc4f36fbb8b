//! How long a report of many trials takes, and how much of that is for how sure its front is.
//!
//! `cargo bench --profile dev -p secateur --bench report`. Cells have a sparsity, a strategy and a strength, three seeds and noise.
#![expect(clippy::print_stdout, reason = "printing numbers is what it is for")]

mod common;

use std::{collections::BTreeMap, error::Error, time::Instant};

use common::plan_in_cells;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use secateur::{
    experiment::plan::{Objective, Plan, Trial},
    report::{build, html},
};
use secateur_proto::{
    ids::TrialId,
    metrics::{Metric, Metrics, Split},
    outcome::{Artifacts, StageOutcome, StageResult},
};
use serde_json::json;

const SEEDS: u64 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:>9} {:>9} {:>10} {:>10} {:>12} {:>10}", "trials", "front", "build s", "html s", "json MB", "json s");
    for trials in [2_000, 20_000, 200_000] {
        measure(trials)?;
    }
    Ok(())
}

fn measure(trials: u64) -> Result<(), Box<dyn Error>> {
    let (plan, outcomes) = sweep(trials)?;
    let begun = Instant::now();
    let report = build(&plan, &outcomes);
    let built = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let page = html(&report);
    let drawn = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let json = report.to_json();
    let written = begun.elapsed().as_secs_f64();
    if page.is_empty() || report.evidence.is_none() {
        return Err("the report is not complete".into());
    }
    let (front, size) = (report.front.len(), json.len() as f64 / 1e6);
    println!("{trials:>9} {front:>9} {built:>10.3} {drawn:>10.3} {size:>12.1} {written:>10.3}");
    Ok(())
}

fn sweep(trials: u64) -> Result<(Plan, BTreeMap<TrialId, StageOutcome>), Box<dyn Error>> {
    let mut plan = plan_in_cells(trials + 1, SEEDS)?.unpack();
    let objective =
        |metric: Metric| Objective { quantity: metric.on(Split::Validation), direction: metric.better(), margin: None };
    plan.sweep.objectives = [Metric::Auc, Metric::NonzeroParameters].map(objective).to_vec();
    for trial in &mut plan.trials {
        *trial = Trial::new(trial.cell.clone(), trial.seed % SEEDS, trial.stages.clone());
    }
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut means = BTreeMap::new();
    for cell in &mut plan.cells {
        let (sparsity, strategy, strength) =
            (random.random_range(0..1_000_u32), random.random_range(0..5_u32), random.random_range(0..4_u32));
        cell.settings.insert("pruning.sparsity".to_owned(), json!(f64::from(sparsity) / 1_000.0));
        cell.settings.insert("pruning.strategy".to_owned(), json!(format!("strategy{strategy}")));
        cell.settings.insert("regularization.strength".to_owned(), json!(f64::from(strength) * 1e-4));
        let left = 1.0 - f64::from(sparsity) / 1_000.0;
        let auc = 0.76 - 0.05 * (1.0 - left).powi(8) + 0.001 * f64::from(strategy) - 0.002 * f64::from(strength);
        means.insert(cell.id.clone(), (auc, (10_000.0 * left).round()));
    }
    let mut outcomes = BTreeMap::new();
    for trial in &plan.trials {
        let (auc, size) = means.get(&trial.cell).ok_or("a trial has a cell")?;
        let mut metrics = Metrics::new();
        for split in [Split::Validation, Split::Test] {
            for metric in [Metric::Auc, Metric::Ks, Metric::Brier, Metric::LogLoss] {
                metrics.insert(metric.on(split), auc + 0.003 * random.random::<f64>());
            }
        }
        metrics.insert(Metric::NonzeroParameters.on(Split::Validation), *size);
        let result = StageResult { metrics, artifacts: Artifacts::new() };
        outcomes.insert(trial.id.clone(), StageOutcome::Completed(result));
    }
    Ok((plan, outcomes))
}
