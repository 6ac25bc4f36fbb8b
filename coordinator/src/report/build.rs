//! From a plan and the outcomes of its trials to a [`Report`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use secateur_proto::{
    ids::{CellId, TrialId},
    metrics::{Direction, Measured, Metric, Metrics, NotMeasurable, Over, Quantity, Split},
    outcome::StageOutcome,
    spec::Task,
};

use super::{
    baseline::{self, RowVariances},
    evidence::Evidence,
    front::{Standing, standings},
    glossary::sentence,
    label::SPARSITY,
    model::{
        CellReport, Comparison, FailedTrial, PairedMetrics, QuantityReport, Report, SCHEMA, SweepSummary, Totals,
        TrialReport,
    },
    parts::{self, PartInfo},
    seeds,
    statistics::{Paired, Sample, Summary},
    table::distinct,
    unmet::{Miss, Unmet, miss},
};
use crate::experiment::{
    adaptive::SeedRound,
    plan::{Cell, Constraint, Control, Objective, Plan},
    setting::pruning,
};

/// The outcome of a trial that has none yet.
pub(super) const PENDING: &str = "pending";

/// Makes the report of `plan`. A trial without an entry in `outcomes` is pending; an outcome of no trial of the plan is ignored.
#[must_use]
pub fn build(plan: &Plan, outcomes: &BTreeMap<TrialId, StageOutcome>) -> Report {
    build_in_order(plan, &[], plan.trials.iter().map(|trial| outcomes.get(&trial.id).cloned()))
}

/// The same with the outcome of each trial in the order of the plan, which is asked for when the trial's turn comes; `None`: it is pending.
/// `parts` are those of the plan.
#[must_use]
pub fn build_in_order(plan: &Plan, parts: &[PartInfo], outcomes: impl Iterator<Item = Option<StageOutcome>>) -> Report {
    let report = judge(plan, parts, outcomes);
    Report { evidence: Evidence::of(&report), ..report }
}

/// The round of seeds that is due by the outcomes of all trials, in the order of the plan. `None` if no cell gets more seeds.
#[must_use]
pub fn due_round(plan: &Plan, outcomes: impl Iterator<Item = Option<StageOutcome>>) -> Option<SeedRound> {
    seeds::next_round(&judge(plan, &[], outcomes))
}

/// A report without how sure the front is, which takes longer than all else.
pub(super) fn judge(plan: &Plan, parts: &[PartInfo], outcomes: impl Iterator<Item = Option<StageOutcome>>) -> Report {
    let mut trials: Vec<TrialReport> =
        plan.trials.iter().zip(outcomes).map(|(trial, outcome)| trial_report(trial, outcome.as_ref())).collect();
    let mut by_cell: HashMap<&CellId, Vec<&TrialReport>> = HashMap::new();
    for trial in &trials {
        by_cell.entry(&trial.cell).or_default().push(trial);
    }
    let trials_of = |cell: &CellId| by_cell.get(cell).map_or(&[][..], Vec::as_slice);
    let task = plan.task();
    let looks = plan.sweep.adaptive.map_or(1, |adaptive| adaptive.looks());
    let samples: Vec<Samples> = plan.cells.iter().map(|cell| Samples::of(trials_of(&cell.id), task, looks)).collect();

    let places: HashMap<&CellId, usize> =
        plan.cells.iter().enumerate().map(|(place, cell)| (&cell.id, place)).collect();
    // The cells that would compete without constraints.
    let mut candidates = Vec::new();
    let mut cells: Vec<CellReport> = (plan.cells.iter().zip(&samples).enumerate())
        .map(|(place, (cell, sample))| {
            let control = |id: Option<&CellId>| id.and_then(|id| places.get(id)).map(|place| &samples[*place]);
            let [dense, random, scratch] =
                [&cell.dense_control, &cell.random_control, &cell.scratch_control].map(|id| control(id.as_ref()));
            let mut report = CellReport {
                id: cell.id.clone(),
                settings: cell.settings.clone(),
                control: cell.control.is_some(),
                control_kind: cell.control,
                on_front: false,
                eligible: false,
                reason: None,
                deployable: false,
                on_common_front: false,
                dominated_by: Vec::new(),
                metrics: sample.summaries(),
                quantities: sample.quantities([dense, random, scratch]),
                difference_to_baseline: None,
                uncertainty: BTreeMap::new(),
                one_net: BTreeMap::new(),
                non_inferiority: None,
                difference_to_dense: dense.map(|dense| sample.minus(dense)),
                difference_to_random: random.map(|random| sample.minus(random)),
                dense_control: cell.dense_control.clone(),
                random_control: cell.random_control.clone(),
                difference_to_scratch: scratch.map(|scratch| sample.minus(scratch)),
                scratch_control: cell.scratch_control.clone(),
                other_controls: (cell.other_controls.iter())
                    .filter_map(|(kind, id)| {
                        let difference = sample.differences(control(Some(id))?).collect();
                        Some((*kind, Comparison { cell: id.clone(), difference }))
                    })
                    .collect(),
                requested_sparsity: requested_sparsity(cell),
                removed_weights: cell.removed_weights,
                prunable_weights: cell.prunable_weights,
                part: None,
            };
            let aside = comparison(cell);
            let mut reasons = ineligibility(plan, trials_of(&cell.id), &report);
            if aside.is_none() && reasons.is_empty() {
                candidates.push(place);
            }
            if is_complete(trials_of(&cell.id)) {
                reasons.extend(plan.sweep.constraints.iter().filter_map(|constraint| violation(constraint, &report)));
            }
            report.deployable =
                reasons.is_empty() && !is_ablation(cell) && cell.control.is_none_or(Control::is_deployable);
            report.eligible = reasons.is_empty() && aside.is_none();
            let reasons: Vec<String> = aside.map(str::to_owned).into_iter().chain(reasons).collect();
            report.reason = (!reasons.is_empty()).then(|| reasons.join("; "));
            report
        })
        .collect();
    let front = mark_front(&mut cells, &plan.sweep.objectives);
    let common_front = mark_common_front(&mut cells, &plan.sweep.objectives);
    let candidates: Vec<&CellReport> = candidates.into_iter().map(|place| &cells[place]).collect();
    let unmet = Unmet::of(&plan.sweep.constraints, &candidates);
    let measured = distinct(cells.iter().flat_map(CellReport::measured));
    let chance = measured.into_iter().filter_map(|quantity| Some((quantity.clone(), plan.chance(quantity)?))).collect();
    let parts = parts::mark(parts, &mut cells, &mut trials);
    let failed = trials.iter().filter(|trial| trial.outcome != "completed").map(failed_trial).collect::<Vec<_>>();

    let mut report = Report {
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
        decision: plan.sweep.decision,
        totals: totals(plan, &trials, front.len(), failed.len()),
        cells,
        trials,
        front,
        common_front,
        baseline: None,
        merged: plan.merged.clone(),
        refused: plan.refused.clone(),
        failed,
        data: plan.sweep.data.clone(),
        cautions: plan.cautions(),
        methods: plan.methods(),
        chance,
        unmet,
        parts,
        evidence: None,
        inputs_read: None,
        machines: Vec::new(),
        seeds: seeds::unjudged(plan),
        credit: None,
    };
    if let Some(place) = baseline::choose(&report) {
        let others = report.cells.iter_mut().zip(&samples).enumerate().filter(|(other, _)| *other != place);
        for (_, (cell, sample)) in others {
            cell.difference_to_baseline = Some(sample.minus(&samples[place]));
            for (quantity, found) in &mut cell.quantities {
                found.difference_to_baseline = sample.difference(&samples[place], quantity);
            }
        }
    }
    let report = report.with_rows(&RowVariances::default());
    Report { seeds: seeds::of(&report, plan), ..report }
}

/// The sparsity asked for; nothing where a penalty alone decides what goes, whatever the settings say.
fn requested_sparsity(cell: &Cell) -> Option<f64> {
    cell.removed_weights.and(cell.settings.get(SPARSITY)).and_then(serde_json::Value::as_f64)
}

fn trial_report(trial: &crate::experiment::plan::Trial, outcome: Option<&StageOutcome>) -> TrialReport {
    let (mut metrics, mut quantities) = (Metrics::new(), BTreeMap::new());
    let mut artifacts = BTreeMap::new();
    let reason = match outcome {
        None => Some("it has not run to its end yet".to_owned()),
        Some(StageOutcome::Completed(result)) => {
            let measured = result.metrics.iter().map(|(quantity, measured)| (quantity.clone(), *measured));
            for (quantity, measured) in gaps(&result.metrics).into_iter().chain(measured) {
                match measured {
                    Measured::Value(value) if !value.is_finite() => {
                        quantities.insert(quantity, Measured::Not(NotMeasurable::NotFinite).into());
                    }
                    Measured::Value(value) if quantity.is_whole() => metrics.insert(quantity, value),
                    measured => {
                        quantities.insert(quantity, measured.into());
                    }
                }
            }
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
        quantities,
        stages: trial.stages.clone(),
        artifacts,
        part: None,
    }
}

/// How far the slices of each column are apart, of those that have a value.
fn gaps(metrics: &Metrics) -> BTreeMap<Quantity, Measured> {
    let mut values: BTreeMap<Quantity, Vec<f64>> = BTreeMap::new();
    for (quantity, measured) in metrics.iter() {
        if let Over::Slice(split, slice) = quantity.over() {
            let over = Over::gap(*split, &slice.column);
            let gap = Quantity::new(quantity.metric(), over).expect("a metric of slices is one of rows");
            values.entry(gap).or_default().extend(measured.value());
        }
    }
    let gap = |values: &[f64]| {
        if values.len() < 2 {
            return Measured::Not(NotMeasurable::FewLevels);
        }
        let (low, high) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
        Measured::Value(high - low)
    };
    values.into_iter().map(|(quantity, values)| (quantity, gap(&values))).collect()
}

fn failed_trial(trial: &TrialReport) -> FailedTrial {
    FailedTrial {
        trial: trial.id.clone(),
        outcome: trial.outcome.clone(),
        reason: trial.reason.clone().unwrap_or_default(),
    }
}

/// What a cell's completed trials measured.
struct Samples {
    /// Decides what metrics can be.
    task: Task,
    /// How often the trials may be looked at.
    looks: u32,
    values: BTreeMap<Quantity, Sample>,
    /// How many trials have no value, by reason.
    missing: BTreeMap<Quantity, BTreeMap<NotMeasurable, u64>>,
}

impl Samples {
    fn of(trials: &[&TrialReport], task: Task, looks: u32) -> Self {
        let mut samples = Self { task, looks, values: BTreeMap::new(), missing: BTreeMap::new() };
        for trial in trials {
            for (quantity, value) in trial.values() {
                // Most are there already: a key is made of those alone that are not.
                match samples.values.get_mut(quantity) {
                    Some(sample) => _ = sample.insert(trial.seed, value),
                    None => _ = samples.values.insert(quantity.clone(), Sample::from([(trial.seed, value)])),
                }
            }
            for (quantity, found) in &trial.quantities {
                if let Some(reason) = found.reason {
                    *samples.missing.entry(quantity.clone()).or_default().entry(reason).or_default() += 1;
                }
            }
        }
        samples
    }

    fn summary(&self, quantity: &Quantity) -> Option<Summary> {
        Summary::of_sample(self.values.get(quantity)?, quantity.range_of(self.task), self.looks)
    }

    /// Of whole splits and of the net.
    fn summaries(&self) -> Metrics<Summary> {
        let whole = self.values.keys().filter(|quantity| quantity.is_whole());
        whole.filter_map(|quantity| Some((quantity.clone(), self.summary(quantity)?))).collect()
    }

    /// Of slices and gaps, and whatever is missing of some seed; with the differences to dense, random and scratch controls.
    fn quantities(&self, controls: [Option<&Self>; 3]) -> BTreeMap<Quantity, QuantityReport> {
        let parts = self.values.keys().filter(|quantity| !quantity.is_whole());
        let listed: BTreeSet<&Quantity> = parts.chain(self.missing.keys()).collect();
        let report = |quantity: &&Quantity| {
            let summary = self.summary(quantity);
            let [dense, random, scratch] = controls.map(|control| self.difference(control?, quantity));
            let report = QuantityReport {
                mean: summary.map(|summary| summary.mean),
                sd: summary.and_then(|summary| summary.sd),
                ci95: summary.and_then(|summary| summary.ci95),
                n: summary.map_or(0, |summary| summary.n),
                not_measurable: self.missing.get(*quantity).cloned().unwrap_or_default(),
                difference_to_baseline: None,
                difference_to_dense: dense,
                difference_to_random: random,
                difference_to_scratch: scratch,
            };
            ((*quantity).clone(), report)
        };
        listed.iter().map(report).collect()
    }

    /// This minus `control`, of a quantity of rows.
    fn difference(&self, control: &Self, quantity: &Quantity) -> Option<Paired> {
        if quantity.metric().is_of_net() {
            return None;
        }
        let (own, other) = (self.values.get(quantity)?, control.values.get(quantity)?);
        Paired::of_looks(own, other, quantity.range_of(self.task), quantity.better(), self.looks)
    }

    /// The differences over whole splits.
    fn minus(&self, control: &Self) -> PairedMetrics {
        self.differences(control).filter(|(quantity, _)| quantity.is_whole()).collect()
    }

    /// This minus `control`, of every quantity of rows.
    fn differences(&self, control: &Self) -> impl Iterator<Item = (Quantity, Paired)> {
        self.values.keys().filter_map(|quantity| Some((quantity.clone(), self.difference(control, quantity)?)))
    }
}

/// Whether a cell has all of its values.
fn is_complete(trials: &[&TrialReport]) -> bool {
    !trials.is_empty() && trials.iter().all(|trial| trial.outcome == "completed")
}

fn is_ablation(cell: &Cell) -> bool {
    cell.settings.get(pruning::ABLATION.path).is_some_and(|name| name != "none")
}

/// Why `cell` is there to compare with. `None` if it competes.
fn comparison(cell: &Cell) -> Option<&'static str> {
    if cell.control.is_some() {
        Some("a control is there to compare with")
    } else {
        is_ablation(cell).then_some("an ablation is there to compare with")
    }
}

/// Why nothing can be said of a cell with these trials; empty if something can.
fn ineligibility(plan: &Plan, trials: &[&TrialReport], report: &CellReport) -> Vec<String> {
    let mut reasons = Vec::new();
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
        let needed: BTreeSet<&Quantity> = (plan.sweep.objectives.iter().map(|objective| &objective.quantity))
            .chain(plan.sweep.constraints.iter().map(|constraint| &constraint.quantity))
            .collect();
        for quantity in needed {
            if report.summary(quantity).is_none_or(|summary| summary.n < trials.len() as u64) {
                let missing = report.quantities.get(quantity).map(|found| &found.not_measurable);
                let why: Vec<String> = missing.into_iter().flatten().map(|(reason, _)| reason.to_string()).collect();
                let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(", ")) };
                reasons.push(format!("not every trial has a value of {}{why}", sentence(quantity)));
            }
        }
        // What has nothing to go by ranks as chance does, to the last digit: it decides nothing, however small it is.
        // An AUC of one half alone comes about by chance where there are few rows; that no threshold parts two classes does not.
        let is_constant = |trial: &&TrialReport| {
            let on = |metric: Metric, split| trial.value(&metric.on(split));
            Split::ALL.into_iter().all(|split| {
                on(Metric::Auc, split) == Some(0.5) && on(Metric::Ks, split).is_none_or(|value| value == 0.0)
            })
        };
        if trials.iter().all(is_constant) {
            reasons.push("its nets give every row the same answer".to_owned());
        }
    }
    reasons
}

fn violation(constraint: &Constraint, report: &CellReport) -> Option<String> {
    let Miss { mean, bound, .. } = miss(constraint, report)?;
    let side = if mean > bound { "above the" } else { "below the" };
    let asked = if mean > bound { "allowed" } else { "asked for" };
    Some(format!("its {} is {mean:.6}, {side} {bound} {asked}", sentence(&constraint.quantity)))
}

/// Marks the front in `cells` and returns its ids: the best by the first objective of the net alone (else the first) lead.
fn mark_front(cells: &mut [CellReport], objectives: &[Objective]) -> Vec<CellId> {
    let mut front = Vec::new();
    for (index, standing) in judged(cells, objectives, |cell| cell.eligible) {
        match standing {
            Standing::OnFront => {
                cells[index].on_front = true;
                front.push(index);
            }
            Standing::DominatedBy(witness) => cells[index].dominated_by = vec![cells[witness].id.clone()],
            Standing::NotANumber => {}
        }
    }
    in_order(cells, front, objectives)
}

/// The same of everything that could be deployed.
fn mark_common_front(cells: &mut [CellReport], objectives: &[Objective]) -> Vec<CellId> {
    let standings = judged(cells, objectives, |cell| cell.deployable);
    let front: Vec<usize> =
        standings.into_iter().filter(|(_, standing)| *standing == Standing::OnFront).map(|(index, _)| index).collect();
    for index in &front {
        cells[*index].on_common_front = true;
    }
    in_order(cells, front, objectives)
}

/// How the cells that compete stand, by their indices.
fn judged(
    cells: &[CellReport],
    objectives: &[Objective],
    competes: impl Fn(&CellReport) -> bool,
) -> Vec<(usize, Standing)> {
    let places: Vec<usize> = (0..cells.len()).filter(|index| competes(&cells[*index])).collect();
    let mean = |index: usize, objective: &Objective| cells[index].mean(&objective.quantity).unwrap_or(f64::NAN);
    let values: Vec<f64> =
        places.iter().flat_map(|index| objectives.iter().map(|objective| mean(*index, objective))).collect();
    let directions: Vec<Direction> = objectives.iter().map(|objective| objective.direction).collect();
    let placed = |standing| match standing {
        Standing::DominatedBy(witness) => Standing::DominatedBy(places[witness]),
        other => other,
    };
    places.iter().copied().zip(standings(&values, &directions).into_iter().map(placed)).collect()
}

fn in_order(cells: &[CellReport], mut front: Vec<usize>, objectives: &[Objective]) -> Vec<CellId> {
    let mean = |cell: &CellReport, quantity| cell.mean(quantity).unwrap_or(f64::NAN);
    let of_net = objectives.iter().find(|objective| objective.quantity.metric().is_of_net());
    if let Some(first) = of_net.or(objectives.first()) {
        front.sort_by(|a, b| {
            let (a, b) = (mean(&cells[*a], &first.quantity), mean(&cells[*b], &first.quantity));
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
