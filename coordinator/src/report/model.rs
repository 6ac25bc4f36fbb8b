//! The report as data: what `report.json` holds. No times, durations or host names, so that two runs give identical bytes; of a sweep that
//! was extended alone it says when.

mod values;

use std::collections::{BTreeMap, HashMap};

use secateur_proto::{
    ids::{CellId, ContentHash, StageKey, SweepId, TrialId},
    metrics::{Measured, Metrics, NotMeasurable, Quantity},
    outcome::Role,
    spec::Task,
};
use serde::{Deserialize, Serialize};

use super::{
    baseline::{self, Baseline, NonInferiority, RowVariances, Uncertainty},
    credit::CreditReport,
    evidence::Evidence,
    findings::{findings, headline},
    glossary::title,
    label::Labels,
    nets::{InputsRead, MachineReport},
    number,
    one_net::OneNet,
    seeds::SeedsReport,
    statistics::{Paired, Summary},
    unmet::{self, Unmet},
};
use crate::experiment::plan::{
    Constraint, Control, DataSummary, Decision, Merged, Objective, Refused, Settings, WeightsSummary,
};

/// Version of the shape of `report.json`.
pub const SCHEMA: u32 = 2;

/// Metrics summarised over seeds, over whole splits and of the net.
pub type SummaryMetrics = Metrics<Summary>;

/// Differences of metrics, paired by seed, over whole splits.
pub type PairedMetrics = Metrics<Paired>;

/// A whole sweep, in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Which sweep.
    pub sweep: SweepSummary,
    /// What the front is about.
    pub objectives: Vec<Objective>,
    /// What a cell must hold.
    pub constraints: Vec<Constraint>,
    /// How scores become decisions, if the file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// In the order of the plan: the file's cells, then the controls.
    pub cells: Vec<CellReport>,
    /// In the order of the plan.
    pub trials: Vec<TrialReport>,
    /// The non-dominated cells, the best by the first objective of the net alone first.
    pub front: Vec<CellId>,
    /// The non-dominated models of all that somebody could deploy: the file's cells, dense nets of any size, reference models. In the order
    /// of `front`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub common_front: Vec<CellId>,
    /// The dense net that all cells are compared with. `None` before one has completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// Points of the grid that are the same work as a cell.
    pub merged: Vec<Merged>,
    /// Points of the grid that cannot be done.
    pub refused: Vec<Refused>,
    /// Trials without a result, and why.
    pub failed: Vec<FailedTrial>,
    /// What is known of the data.
    pub data: DataSummary,
    /// What the numbers do not show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cautions: Vec<String>,
    /// How nets were pruned, as far as it is not in the settings of the cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// What a net that guesses is worth, by the quantities of which that depends on the data.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub chance: BTreeMap<Quantity, f64>,
    /// By how much the cells miss the constraints. `None` if one of them meets all, or none could be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmet: Option<Unmet>,
    /// Counts.
    pub totals: Totals,
    /// The parts of the sweep's plan, in their order. Empty unless the sweep was extended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartReport>,
    /// How sure the front is, and what explains the results. `None` if no cell has results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Which columns of the table the nets of the front read. `None` for images, and where the nets were not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs_read: Option<InputsRead>,
    /// Where nets were measured. Empty if none was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<MachineReport>,
    /// How seeds were added while results came in. `None` if each cell has the seeds that the file names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<SeedsReport>,
    /// Decisions, groups and calibration. `None` with more than two classes, or if no scores could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<CreditReport>,
}

/// What a sweep was submitted with, or extended by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReport {
    /// From 1.
    pub number: u32,
    /// Unix time in milliseconds. `None` if it was not written down.
    pub added_at_ms: Option<u64>,
    /// Of the bytes of its file.
    pub file_hash: ContentHash,
    /// Cells that came with it, controls among them. A later part may add seeds to them.
    pub cells: u64,
    /// Trials that came with it.
    pub trials: u64,
}

/// Which sweep this is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepSummary {
    /// From the file.
    pub name: String,
    /// A hash of the frozen file and the data.
    pub id: SweepId,
    /// Of the file's bytes.
    pub file_hash: ContentHash,
    /// The file, as it was submitted.
    pub file_text: String,
    /// The net that all others come from, where it was trained elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsSummary>,
}

/// One point of the grid, over its seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellReport {
    /// A hash of the settings.
    pub id: CellId,
    /// All that varies between cells.
    pub settings: Settings,
    /// Added by the planner to compare with; never on the front.
    pub control: bool,
    /// Which control it is.
    pub control_kind: Option<Control>,
    /// Whether no eligible cell is at least as good everywhere and better somewhere.
    pub on_front: bool,
    /// Whether it competes for the front at all.
    pub eligible: bool,
    /// Why it does not.
    pub reason: Option<String>,
    /// Whether somebody could deploy it: it has completed and meets the constraints, and is no mere comparison.
    #[serde(default)]
    pub deployable: bool,
    /// Whether no other deployable model is at least as good everywhere and better somewhere.
    #[serde(default)]
    pub on_common_front: bool,
    /// A cell of the front that dominates it.
    pub dominated_by: Vec<CellId>,
    /// Over the seeds that completed.
    pub metrics: SummaryMetrics,
    /// Slices, gaps, and what could not be measured of every seed that completed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quantities: BTreeMap<Quantity, QuantityReport>,
    /// Cell minus baseline, of each metric of the data, over the seeds that completed in both. `None` for the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference_to_baseline: Option<PairedMetrics>,
    /// Metrics of the goals with the uncertainty of seeds and rows, where the scores of the rows were read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uncertainty: BTreeMap<Quantity, Uncertainty>,
    /// What one further net is worth by the metric that the baseline is chosen by, on validation and test: of the cells that conclusions are
    /// about.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub one_net: BTreeMap<Quantity, OneNet>,
    /// Whether it is as good as the baseline, within the margin. `None` for cells that do not compete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub non_inferiority: Option<NonInferiority>,
    /// Cell minus its own dense control, of each metric of the data, over the seeds that completed in both. Nothing without a control.
    pub difference_to_dense: Option<PairedMetrics>,
    /// The cell that this one is compared with.
    pub dense_control: Option<CellId>,
    /// Cell minus random control, in the same way. Nothing without such a cell.
    #[serde(default)]
    pub difference_to_random: Option<PairedMetrics>,
    /// The cell that differs from it in that random places go.
    #[serde(default)]
    pub random_control: Option<CellId>,
    /// Cell minus a dense net of about as many parameters that was trained from its beginning, in the same way. Nothing without such a cell.
    #[serde(default)]
    pub difference_to_scratch: Option<PairedMetrics>,
    /// That net's cell.
    #[serde(default)]
    pub scratch_control: Option<CellId>,
    /// The controls of other kinds that it is compared with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_controls: BTreeMap<Control, Comparison>,
    /// `pruning.sparsity` of the settings; nothing where only training tells.
    pub requested_sparsity: Option<f64>,
    /// Weights, or units, that pruning takes; nothing where only training tells.
    pub removed_weights: Option<u64>,
    /// Weights, or units, that pruning may take from.
    pub prunable_weights: u64,
    /// The part that it came with, of a sweep that was extended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
}

/// A cell beside a control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The control.
    pub cell: CellId,
    /// Cell minus control, of every quantity of the data, over the seeds that completed in both.
    pub difference: BTreeMap<Quantity, Paired>,
}

/// A quantity of a cell that is a slice or a gap, or that could not be measured of every seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QuantityReport {
    /// The arithmetic mean. `None` if it could not be measured of any seed, and then there is nothing else.
    pub mean: Option<f64>,
    /// As in [`Summary`].
    pub sd: Option<f64>,
    /// As in [`Summary`].
    pub ci95: Option<[f64; 2]>,
    /// How many seeds have a value.
    pub n: u64,
    /// How many seeds completed without one, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_measurable: BTreeMap<NotMeasurable, u64>,
    /// As [`CellReport::difference_to_baseline`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference_to_baseline: Option<Paired>,
    /// As [`CellReport::difference_to_dense`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference_to_dense: Option<Paired>,
    /// As [`CellReport::difference_to_random`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference_to_random: Option<Paired>,
    /// As [`CellReport::difference_to_scratch`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference_to_scratch: Option<Paired>,
}

impl QuantityReport {
    fn summary(&self) -> Option<Summary> {
        Some(Summary { mean: self.mean?, sd: self.sd, ci95: self.ci95, n: self.n })
    }
}

/// A quantity of a trial: its value, or null and the reason.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QuantityValue {
    /// `None` if it could not be measured.
    pub value: Option<f64>,
    /// Why it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<NotMeasurable>,
}

impl From<Measured> for QuantityValue {
    fn from(measured: Measured) -> Self {
        match measured {
            Measured::Value(value) => Self { value: Some(value), reason: None },
            Measured::Not(reason) => Self { value: None, reason: Some(reason) },
        }
    }
}

/// One cell with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialReport {
    /// `<cell>-<seed>`.
    pub id: TrialId,
    /// Its cell.
    pub cell: CellId,
    /// Its seed.
    pub seed: u64,
    /// `completed`, `diverged`, `collapsed`, `failed`, `cancelled`, or `pending` while there is none.
    pub outcome: String,
    /// What happened, of a trial that did not complete.
    pub reason: Option<String>,
    /// Over whole splits and of the net.
    pub metrics: Metrics<f64>,
    /// Slices, gaps, and what could not be measured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quantities: BTreeMap<Quantity, QuantityValue>,
    /// Parents before children.
    pub stages: Vec<StageKey>,
    /// Hashes of what the last stage left.
    pub artifacts: BTreeMap<Role, ContentHash>,
    /// The part that it came with, of a sweep that was extended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
}

/// A trial without a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedTrial {
    /// The trial.
    pub trial: TrialId,
    /// How it ended, or `pending`.
    pub outcome: String,
    /// What happened.
    pub reason: String,
}

/// Counts of what is in the report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Cells that the file asks for.
    pub cells: u64,
    /// Cells that the planner added.
    pub controls: u64,
    /// Cells on the front.
    pub front: u64,
    /// All trials.
    pub trials: u64,
    /// Of them by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Points merged into a cell.
    pub merged: u64,
    /// Points refused.
    pub refused: u64,
    /// Trials without a result.
    pub failed: u64,
    /// Stages of the plan, each computed once.
    pub stages: u64,
    /// Stages that there would be if no trial shared any.
    pub stages_unshared: u64,
    /// Optimiser steps of the plan.
    pub lane_steps: u64,
}

/// Names of cells for people, as `taylor · global · sparsity 0.90`.
pub struct CellLabels(Labels);

impl CellLabels {
    /// The name of `cell`.
    #[must_use]
    pub fn of(&self, cell: &CellReport) -> String {
        self.0.cell(cell)
    }
}

impl Report {
    /// What the objectives and the constraints are about, in their order.
    pub(super) fn goals(&self) -> impl Iterator<Item = &Quantity> {
        let constraints = self.constraints.iter().map(|constraint| &constraint.quantity);
        self.objectives.iter().map(|objective| &objective.quantity).chain(constraints)
    }

    /// Whether anything was measured on slices.
    pub(super) fn has_slices(&self) -> bool {
        self.cells.iter().any(|cell| cell.quantities.keys().any(|quantity| !quantity.is_whole()))
    }

    /// The cell called `id`.
    #[must_use]
    pub fn cell(&self, id: &CellId) -> Option<&CellReport> {
        self.cells.iter().find(|cell| cell.id == *id)
    }

    /// The cells of the front, in its order.
    #[must_use]
    pub fn front_cells(&self) -> Vec<&CellReport> {
        let by_id: HashMap<&CellId, &CellReport> = self.cells.iter().map(|cell| (&cell.id, cell)).collect();
        self.front.iter().filter_map(|id| by_id.get(id).copied()).collect()
    }

    /// How to call the cells, by the settings that differ between them.
    #[must_use]
    pub fn cell_labels(&self) -> CellLabels {
        CellLabels(Labels::of(self))
    }

    /// The title of `quantity`, with what a net that guesses is worth where that depends on the data.
    pub(super) fn title(&self, quantity: &Quantity) -> String {
        match self.chance.get(quantity) {
            Some(chance) => {
                let chance = number::of_metric(quantity.metric(), *chance);
                format!("{} (chance {chance})", title(quantity))
            }
            None => title(quantity),
        }
    }

    /// By how much the cells miss the constraints, in sentences. Empty if one of them meets all, or none could be measured.
    #[must_use]
    pub fn unmet_constraints(&self) -> Vec<String> {
        unmet::sentences(self)
    }

    /// The same report with the uncertainty of rows.
    #[must_use]
    pub fn with_rows(mut self, variances: &RowVariances) -> Self {
        baseline::compare(&mut self, variances);
        self
    }

    /// How often results are looked at, at most.
    pub(super) fn looks(&self) -> u32 {
        self.seeds.as_ref().map_or(1, |seeds| seeds.looks)
    }

    /// The cell that all others are compared with.
    pub(super) fn baseline_cell(&self) -> Option<&CellReport> {
        self.cell(&self.baseline.as_ref()?.cell)
    }

    /// What a person should know of the task to read the range of its metrics.
    pub(super) fn task(&self) -> Task {
        if self.data.positive().is_some() { Task::Binary } else { Task::Multiclass }
    }

    /// The cell that the findings recommend: the smallest that is shown to lose less than the margin against the baseline. `None` if none is.
    #[must_use]
    pub fn headline(&self) -> Option<&CellReport> {
        headline(self)
    }

    /// What was found, in a few sentences, the most important first.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        findings(self)
    }

    /// The report as `report.json` has it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report is plain data with text keys");
        text.push('\n');
        text
    }
}
