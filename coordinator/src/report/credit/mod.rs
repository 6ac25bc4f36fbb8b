//! What a change of the net does to decisions, groups of people and probabilities: computed from the scores of the test rows, averaged over
//! the seeds, beside the baseline and beside what its own seeds do. For two classes, of which the positive one is the bad one.
//!
//! A subject is a file with a type, a function `measure` that fills it, and a function in `page` that shows it. To add one: its file, its
//! field of [`CreditCell`], its line in [`CreditCell::of`] and its line in `page::parts`.

mod calibration;
mod decision;
mod estimate;
mod findings;
mod groups;
mod page;
mod ranking;
mod recalibration;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use secateur_proto::{
    ids::{CellId, ContentHash},
    outcome::Role,
    spec::Task,
};
use serde::{Deserialize, Serialize};

pub use self::{
    calibration::{BrierParts, CalibrationReport, Recalibrated, ReliabilityPoint},
    decision::{BetweenSeeds, DecisionReport, SwapSide},
    estimate::Estimate,
    groups::{GroupColumn, GroupReport, Ratio},
    ranking::{Decile, RankingReport},
};
pub(super) use self::{
    findings::sentences,
    page::{Part, parts},
};
use super::{
    baseline::{TrialScores, is_smaller_kind, unfinished},
    model::{CellReport, Report, TrialReport},
};
use crate::experiment::plan::{Control, Decision};

/// Rows whose scores are read, at most: this takes about as long as the rest of the report.
const MOST_ROWS: u64 = 6_000_000;

/// Cells that are looked at, at most.
const MOST_CELLS: usize = 24;

/// The scores of the nets of a cell, by seed.
type Nets = BTreeMap<u64, TrialScores>;

/// Decisions, groups, calibration and ranking of the cells that conclusions are about, on test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreditReport {
    /// The cell that plots and findings are about: the one that the findings recommend, else the nearest, else the smallest of the front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<CellId>,
    /// The baseline, then the cells that the findings name, the fronts, reference models and small dense nets.
    pub cells: Vec<CreditCell>,
    /// How many more of these there are: beyond a bound, or their scores are gone.
    pub left_out: u64,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreditCell {
    /// The cell.
    pub cell: CellId,
    /// The number of its seeds.
    pub seeds: u64,
    /// At the sweep file's decision, or else at several approval rates.
    pub decisions: Vec<DecisionReport>,
    /// Each level of each column of `data.groups`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupReport>,
    /// Whether its probabilities are right.
    pub calibration: CalibrationReport,
    /// Profit, lift and the stability of scores.
    pub ranking: RankingReport,
}

impl CreditCell {
    fn of(
        cell: &CellReport,
        decision: Option<Decision>,
        columns: &[GroupColumn],
        own: &Nets,
        baseline: Option<&Nets>,
    ) -> Self {
        let decisions = match decision {
            Some(decision) => vec![decision],
            None => decision::RATES.map(Decision::Approve).to_vec(),
        };
        Self {
            cell: cell.id.clone(),
            seeds: own.len() as u64,
            decisions: decisions
                .into_iter()
                .filter_map(|decision| decision::measure(decision, own, baseline))
                .collect(),
            groups: groups::measure(columns, decision.as_ref(), own, baseline),
            calibration: calibration::measure(own, baseline),
            ranking: ranking::measure(own, baseline),
        }
    }
}

impl Report {
    /// The same report with decisions, groups and calibration.
    #[must_use]
    pub fn with_credit(mut self, credit: Option<CreditReport>) -> Self {
        self.credit = credit;
        self
    }
}

/// The dataset that has the levels of the rows. `None` if the sweep reports by no group.
pub fn dataset_of_groups(report: &Report) -> Option<ContentHash> {
    let baseline = &report.baseline.as_ref()?.cell;
    let trial = report.trials.iter().find(|trial| trial.cell == *baseline)?;
    trial.artifacts.get(&Role::Prepared).copied().filter(|_| report.has_slices())
}

/// Reads the scores of the cells that conclusions are about, up to a bound. `read` returns `None` for scores that are gone. Returns `None`
/// with more than two classes, or before there is a baseline.
pub fn credit(
    report: &Report,
    columns: &[GroupColumn],
    read: &mut dyn FnMut(ContentHash) -> Option<TrialScores>,
) -> Option<CreditReport> {
    let baseline = report.baseline_cell().filter(|_| report.task() == Task::Binary)?;
    let mut trials: BTreeMap<&CellId, Vec<&TrialReport>> = BTreeMap::new();
    for trial in &report.trials {
        trials.entry(&trial.cell).or_default().push(trial);
    }
    let mut nets = |cell: &CellReport| -> Option<Nets> {
        let trials = trials.get(&cell.id)?.iter();
        trials.map(|trial| Some((trial.seed, scores(report, read(*trial.artifacts.get(&Role::Scores)?)?)?))).collect()
    };
    let of_baseline = nets(baseline).filter(|nets| !nets.is_empty())?;
    let mut cells = vec![CreditCell::of(baseline, report.decision, columns, &of_baseline, None)];
    let wanted = wanted(report, baseline);
    let rows = report.data.rows[1].saturating_add(report.data.rows[2]).max(1);
    let rows_of_cell = rows.saturating_mul(of_baseline.len() as u64);
    let room = (MOST_ROWS / rows_of_cell).saturating_sub(1).max(1) as usize;
    for cell in wanted.iter().take(room.min(MOST_CELLS)) {
        if let Some(own) = nets(cell) {
            cells.push(CreditCell::of(cell, report.decision, columns, &own, Some(&of_baseline)));
        }
    }
    let is_there = |cell: &&&CellReport| cells.iter().any(|found| found.cell == cell.id);
    let shown = wanted.first().filter(is_there).map(|cell| cell.id.clone());
    let left_out = (wanted.len() + 1 - cells.len()) as u64;
    Some(CreditReport { shown, cells, left_out })
}

/// The scores, if they are of two classes and of as many rows as the data.
fn scores(report: &Report, scores: TrialScores) -> Option<TrialScores> {
    let [_, validation, test] = report.data.rows;
    let fits = |scores: &super::SplitScores, rows: u64| {
        scores.logits.len() == scores.targets.len()
            && scores.targets.len() as u64 == rows
            && scores.logits.iter().all(|logit| logit.is_finite())
    };
    (fits(&scores.validation, validation) && fits(&scores.test, test)).then_some(scores)
}

/// What is looked at beside the baseline, in the order in which conclusions need it.
fn wanted<'a>(report: &'a Report, baseline: &CellReport) -> Vec<&'a CellReport> {
    let unfinished = unfinished(report);
    let named = report.baseline.iter().flat_map(|baseline| {
        [&baseline.smallest, &baseline.smallest_unadjusted, &baseline.nearest, &baseline.smallest_not_pruned]
    });
    let named = named.filter_map(|id| report.cell(id.as_ref()?));
    let common = report.common_front.iter().filter_map(|id| report.cell(id));
    let is_reference = |cell: &&CellReport| cell.control_kind.is_some_and(Control::is_reference);
    let others = report.cells.iter().filter(is_reference);
    let small = report.cells.iter().filter(|cell| cell.deployable && is_smaller_kind(cell));
    let mut seen = BTreeSet::from([baseline.id.clone()]);
    let all = named.chain(report.front_cells()).chain(common).chain(others).chain(small);
    all.filter(|cell| !unfinished.contains(&cell.id) && seen.insert(cell.id.clone())).collect()
}

#[cfg(test)]
mod tests;
