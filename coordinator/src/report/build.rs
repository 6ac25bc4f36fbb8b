//! From a plan and the outcomes of its trials to a [`Report`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use secateur_proto::{
    ids::{CellId, TrialId},
    metrics::{Direction, Metric, MetricOf, MetricValue, Metrics, Split},
    outcome::StageOutcome,
};

use super::{
    front::{Standing, standings},
    label::SPARSITY,
    model::{CellReport, FailedTrial, Report, SCHEMA, SummaryMetrics, SweepSummary, Totals, TrialReport},
    statistics::{Paired, Sample, Summary},
};
use crate::experiment::{
    axis::AxisKey,
    plan::{Cell, Constraint, Objective, Plan},
};

/// The outcome of a trial that has none yet.
const PENDING: &str = "pending";

/// Makes the report of `plan`. A trial without an entry in `outcomes` is pending; an outcome of no trial of the plan is ignored.
#[must_use]
pub fn build(plan: &Plan, outcomes: &BTreeMap<TrialId, StageOutcome>) -> Report {
    let trials: Vec<TrialReport> =
        plan.trials.iter().map(|trial| trial_report(trial, outcomes.get(&trial.id))).collect();
    let mut by_cell: HashMap<&CellId, Vec<&TrialReport>> = HashMap::new();
    for trial in &trials {
        by_cell.entry(&trial.cell).or_default().push(trial);
    }
    let trials_of = |cell: &CellId| by_cell.get(cell).map_or(&[][..], Vec::as_slice);
    let samples: Vec<Metrics<Sample>> = plan.cells.iter().map(|cell| samples(trials_of(&cell.id))).collect();

    let places: HashMap<&CellId, usize> =
        plan.cells.iter().enumerate().map(|(place, cell)| (&cell.id, place)).collect();
    let mut cells: Vec<CellReport> = (plan.cells.iter().zip(&samples))
        .map(|(cell, sample)| {
            let minus = |control: Option<&CellId>| {
                control.and_then(|id| places.get(id)).map(|place| differences(sample, &samples[*place]))
            };
            let metrics = summaries(sample);
            let reason = ineligibility(plan, cell, trials_of(&cell.id), &metrics);
            CellReport {
                id: cell.id.clone(),
                settings: cell.settings.clone(),
                control: cell.control.is_some(),
                control_kind: cell.control,
                on_front: false,
                eligible: reason.is_none(),
                reason,
                dominated_by: Vec::new(),
                metrics,
                difference_to_dense: minus(cell.dense_control.as_ref()),
                difference_to_random: minus(cell.random_control.as_ref()),
                dense_control: cell.dense_control.clone(),
                random_control: cell.random_control.clone(),
                difference_to_scratch: minus(cell.scratch_control.as_ref()),
                scratch_control: cell.scratch_control.clone(),
                requested_sparsity: requested_sparsity(cell),
                removed_weights: cell.removed_weights,
                prunable_weights: cell.prunable_weights,
            }
        })
        .collect();
    let front = mark_front(&mut cells, &plan.sweep.objectives);
    let failed = trials.iter().filter(|trial| trial.outcome != "completed").map(failed_trial).collect::<Vec<_>>();

    Report {
        schema: SCHEMA,
        sweep: SweepSummary {
            name: plan.sweep.name.clone(),
            id: plan.sweep.id.clone(),
            file_hash: plan.sweep.file_hash,
            file_text: plan.sweep.file_text.clone(),
            weights: plan.sweep.weights.clone(),
        },
        objectives: plan.sweep.objectives.clone(),
        constraints: plan.sweep.constraints.clone(),
        totals: totals(plan, &trials, front.len(), failed.len()),
        cells,
        trials,
        front,
        merged: plan.merged.clone(),
        refused: plan.refused.clone(),
        failed,
        data: plan.sweep.data.clone(),
    }
}

/// The sparsity asked for; nothing where a penalty alone decides what goes, whatever the settings say.
fn requested_sparsity(cell: &Cell) -> Option<f64> {
    cell.removed_weights.and(cell.settings.get(SPARSITY)).and_then(serde_json::Value::as_f64)
}

fn trial_report(trial: &crate::experiment::plan::Trial, outcome: Option<&StageOutcome>) -> TrialReport {
    let mut metrics = Metrics::new();
    let mut artifacts = BTreeMap::new();
    let reason = match outcome {
        None => Some("it has not run to its end yet".to_owned()),
        Some(StageOutcome::Completed(result)) => {
            metrics = finite(&result.metrics);
            artifacts = result.artifacts.iter().map(|(role, artifact)| (*role, artifact.hash)).collect();
            None
        }
        Some(StageOutcome::Diverged { step }) => Some(format!("a value was not finite at optimiser step {step}")),
        Some(StageOutcome::Collapsed { layer }) => Some(format!("{layer} would be left without a weight")),
        Some(StageOutcome::Failed(failure)) => Some(failure.message.clone()),
        Some(StageOutcome::Cancelled) => Some("it was cancelled".to_owned()),
    };
    TrialReport {
        id: trial.id.clone(),
        cell: trial.cell.clone(),
        seed: trial.seed,
        outcome: outcome.map_or(PENDING, StageOutcome::name).to_owned(),
        reason,
        metrics,
        stages: trial.stages.clone(),
        artifacts,
    }
}

fn failed_trial(trial: &TrialReport) -> FailedTrial {
    FailedTrial {
        trial: trial.id.clone(),
        outcome: trial.outcome.clone(),
        reason: trial.reason.clone().unwrap_or_default(),
    }
}

/// Every value of `metrics`, with the split it is on; a metric of the net alone has none.
pub(super) fn entries<V>(metrics: &Metrics<V>) -> impl Iterator<Item = (Metric, Option<Split>, &V)> {
    metrics.0.iter().flat_map(|(metric, value)| match value {
        MetricValue::Net(value) => vec![(*metric, None, value)],
        MetricValue::BySplit(values) => values.iter().map(|(split, value)| (*metric, Some(*split), value)).collect(),
    })
}

fn set<V>(metrics: &mut Metrics<V>, metric: Metric, split: Option<Split>, value: V) {
    match split {
        Some(split) => metrics.set(metric, split, value),
        None => metrics.set_net(metric, value),
    }
}

fn finite(metrics: &Metrics) -> Metrics {
    let mut kept = Metrics::new();
    for (metric, split, value) in entries(metrics).filter(|(_, _, value)| value.is_finite()) {
        set(&mut kept, metric, split, *value);
    }
    kept
}

/// The values of a cell's completed trials, by seed.
fn samples(trials: &[&TrialReport]) -> Metrics<Sample> {
    let mut by_place: BTreeMap<(Metric, Option<Split>), Sample> = BTreeMap::new();
    for trial in trials {
        for (metric, split, value) in entries(&trial.metrics) {
            by_place.entry((metric, split)).or_default().insert(trial.seed, *value);
        }
    }
    let mut samples = Metrics::new();
    for ((metric, split), sample) in by_place {
        set(&mut samples, metric, split, sample);
    }
    samples
}

fn summaries(samples: &Metrics<Sample>) -> SummaryMetrics {
    let mut summaries = Metrics::new();
    for (metric, split, sample) in entries(samples) {
        if let Some(summary) = Summary::of_sample(sample) {
            set(&mut summaries, metric, split, summary);
        }
    }
    summaries
}

fn differences(cell: &Metrics<Sample>, dense: &Metrics<Sample>) -> Metrics<Paired> {
    let mut differences = Metrics::new();
    for (metric, split, sample) in entries(cell) {
        if let (MetricOf::Data, Some(split)) = (metric.of(), split)
            && let Some(reference) = dense.get(metric, split)
            && let Some(paired) = Paired::of(sample, reference, metric.better())
        {
            differences.set(metric, split, paired);
        }
    }
    differences
}

/// Why `cell` does not compete for the front; nothing if it does.
fn ineligibility(plan: &Plan, cell: &Cell, trials: &[&TrialReport], metrics: &SummaryMetrics) -> Option<String> {
    let mut reasons = Vec::new();
    if cell.control.is_some() {
        reasons.push("a control is there to compare with".to_owned());
    }
    if cell.settings.get(AxisKey::Ablation.path()).is_some_and(|name| name != "none") {
        reasons.push("an ablation is there to compare with".to_owned());
    }
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for trial in trials {
        *ends.entry(&trial.outcome).or_default() += 1;
    }
    ends.remove("completed");
    if trials.is_empty() {
        reasons.push("it has no trials".to_owned());
    } else if !ends.is_empty() {
        let missing: usize = ends.values().sum();
        let list = ends.iter().map(|(end, count)| format!("{count} {end}")).collect::<Vec<_>>().join(", ");
        reasons.push(format!("{missing} of its {} trials did not complete ({list})", trials.len()));
    } else {
        let needed: BTreeSet<Metric> = (plan.sweep.objectives.iter().map(|objective| objective.metric))
            .chain(plan.sweep.constraints.iter().map(|constraint| constraint.metric))
            .collect();
        for metric in needed {
            if metrics.get(metric, Split::Validation).is_none_or(|summary| summary.n < trials.len() as u64) {
                reasons.push(format!("not every trial has a value of {metric}"));
            }
        }
        // What has nothing to go by ranks as chance does, to the last digit: it decides nothing, however small it is.
        // An AUC of one half alone comes about by chance where there are few rows; that no threshold parts two classes does not.
        let is_constant = |trial: &&TrialReport| {
            let on = |metric, split| trial.metrics.get(metric, split).copied();
            Split::ALL.iter().all(|split| {
                on(Metric::Auc, *split) == Some(0.5) && on(Metric::Ks, *split).is_none_or(|value| value == 0.0)
            })
        };
        if trials.iter().all(is_constant) {
            reasons.push("its nets give every row the same answer".to_owned());
        }
        reasons.extend(plan.sweep.constraints.iter().filter_map(|constraint| violation(constraint, metrics)));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

fn violation(constraint: &Constraint, metrics: &SummaryMetrics) -> Option<String> {
    let Constraint { metric, min, max } = constraint;
    let mean = metrics.get(*metric, Split::Validation)?.mean;
    let place = match metric.of() {
        MetricOf::Data => " on validation",
        MetricOf::Net => "",
    };
    if let Some(max) = max.filter(|max| mean > *max) {
        return Some(format!("its {metric}{place} is {mean:.6}, above the {max} allowed"));
    }
    let min = min.filter(|min| mean < *min)?;
    Some(format!("its {metric}{place} is {mean:.6}, below the {min} asked for"))
}

/// Marks the front in `cells` and returns its ids: the best by the first objective of the net alone (else the first) lead.
fn mark_front(cells: &mut [CellReport], objectives: &[Objective]) -> Vec<CellId> {
    let mean = |cell: &CellReport, metric| {
        cell.metrics.get(metric, Split::Validation).map_or(f64::NAN, |summary| summary.mean)
    };
    let eligible: Vec<usize> = (0..cells.len()).filter(|index| cells[*index].eligible).collect();
    let values: Vec<f64> = (eligible.iter())
        .flat_map(|index| objectives.iter().map(|objective| mean(&cells[*index], objective.metric)).collect::<Vec<_>>())
        .collect();
    let directions: Vec<Direction> = objectives.iter().map(|objective| objective.direction).collect();
    let mut front = Vec::new();
    for (index, standing) in eligible.iter().zip(standings(&values, &directions)) {
        match standing {
            Standing::OnFront => {
                cells[*index].on_front = true;
                front.push(*index);
            }
            Standing::DominatedBy(witness) => cells[*index].dominated_by = vec![cells[eligible[witness]].id.clone()],
            Standing::NotANumber => {}
        }
    }
    let of_net = objectives.iter().find(|objective| objective.metric.of() == MetricOf::Net);
    if let Some(first) = of_net.or(objectives.first()) {
        front.sort_by(|a, b| {
            let (a, b) = (mean(&cells[*a], first.metric), mean(&cells[*b], first.metric));
            match first.direction {
                Direction::Minimize => a.total_cmp(&b),
                Direction::Maximize => b.total_cmp(&a),
            }
        });
    }
    front.into_iter().map(|index| cells[index].id.clone()).collect()
}

fn totals(plan: &Plan, trials: &[TrialReport], front: usize, failed: usize) -> Totals {
    let mut outcomes = BTreeMap::new();
    for trial in trials {
        *outcomes.entry(trial.outcome.clone()).or_default() += 1;
    }
    let controls = plan.cells.iter().filter(|cell| cell.control.is_some()).count();
    Totals {
        cells: (plan.cells.len() - controls) as u64,
        controls: controls as u64,
        front: front as u64,
        trials: trials.len() as u64,
        outcomes,
        merged: plan.merged.len() as u64,
        refused: plan.refused.len() as u64,
        failed: failed as u64,
        stages: plan.stages.len() as u64,
        stages_unshared: plan.trials.iter().map(|trial| trial.stages.len() as u64).sum(),
        lane_steps: plan.stages.iter().fold(0, |sum: u64, stage| sum.saturating_add(stage.lane_steps)),
    }
}
