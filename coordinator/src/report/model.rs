//! The report as data: what `report.json` holds. No times, durations or host names, so that two runs give identical bytes.

use std::collections::{BTreeMap, HashMap};

use secateur_proto::{
    ids::{CellId, ContentHash, StageKey, SweepId, TrialId},
    metrics::Metrics,
    outcome::Role,
};
use serde::{Deserialize, Serialize};

use super::{
    findings::findings,
    label::Labels,
    statistics::{Paired, Summary},
};
use crate::experiment::plan::{Constraint, Control, DataSummary, Merged, Objective, Refused, Settings, WeightsSummary};

/// Version of the shape of `report.json`.
pub const SCHEMA: u32 = 2;

/// Metrics summarised over seeds.
pub type SummaryMetrics = Metrics<Summary>;

/// Differences of metrics, paired by seed.
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
    /// What a cell must hold on validation.
    pub constraints: Vec<Constraint>,
    /// In the order of the plan: the file's cells, then the controls.
    pub cells: Vec<CellReport>,
    /// In the order of the plan.
    pub trials: Vec<TrialReport>,
    /// The non-dominated cells, the best by the first objective of the net alone first.
    pub front: Vec<CellId>,
    /// Points of the grid that are the same work as a cell.
    pub merged: Vec<Merged>,
    /// Points of the grid that cannot be done.
    pub refused: Vec<Refused>,
    /// Trials without a result, and why.
    pub failed: Vec<FailedTrial>,
    /// What is known of the data.
    pub data: DataSummary,
    /// Counts.
    pub totals: Totals,
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
    /// A cell of the front that dominates it.
    pub dominated_by: Vec<CellId>,
    /// Over the seeds that completed.
    pub metrics: SummaryMetrics,
    /// Cell minus dense control, of each metric of the data, over the seeds that completed in both. Nothing without a control.
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
    /// `pruning.sparsity` of the settings; nothing where only training tells.
    pub requested_sparsity: Option<f64>,
    /// Weights, or units, that pruning takes; nothing where only training tells.
    pub removed_weights: Option<u64>,
    /// Weights, or units, that pruning may take from.
    pub prunable_weights: u64,
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
    /// Finite values only.
    pub metrics: Metrics,
    /// Parents before children.
    pub stages: Vec<StageKey>,
    /// Hashes of what the last stage left.
    pub artifacts: BTreeMap<Role, ContentHash>,
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
