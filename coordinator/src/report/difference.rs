//! What differs between the results of two sweeps, and between what they conclude. Which cells are the same is known from their plans.

use std::collections::{BTreeMap, HashMap, HashSet};

use secateur_proto::{
    ids::{CellId, StageKey},
    metrics::{Quantity, Split},
};
use serde::Serialize;

use super::{
    content::status,
    findings::headline,
    label::Labels,
    model::{CellReport, Report, TrialReport},
};
use crate::experiment::difference::{CellPair, WorkDifference};

/// A cell by its id and its name for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedCell {
    /// In its own sweep.
    pub id: CellId,
    /// Made of the settings that differ in its sweep.
    pub name: String,
}

/// Why the means of a cell differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The two sweeps compute the cell differently.
    OtherWork,
    /// The same work of other seeds. Trials that both sweeps have agree.
    OtherSeeds,
    /// A trial that both sweeps have has other values. Equal work gives equal results on one kind of device.
    SameWork,
}

/// A cell whose means differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResultDifference {
    /// In the first sweep.
    pub before: NamedCell,
    /// In the second sweep.
    pub after: NamedCell,
    /// Why.
    pub cause: Cause,
    /// The quantities whose means differ, with both means. `None` where a sweep has no value.
    pub means: BTreeMap<Quantity, [Option<f64>; 2]>,
}

/// The results of the cells that are in both sweeps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Results {
    /// Cells with results in both sweeps.
    pub compared: u64,
    /// Those of them whose means differ.
    pub differing: Vec<ResultDifference>,
}

/// A cell that is on the front of one of the sweeps alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrontChange {
    /// The cell, in the sweep in which it is on the front.
    pub cell: NamedCell,
    /// What it is in the other sweep.
    pub other: String,
}

/// What a report concludes, in facts that can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Whether a cell meets all constraints. `None` if no cell could be judged.
    pub is_feasible: Option<bool>,
    /// The cell that comes nearest to the constraints, if none meets them.
    pub nearest: Option<NamedCell>,
    /// Cells on the front.
    pub front: u64,
    /// The cell that the findings recommend.
    pub headline: Option<NamedCell>,
    /// The dense control that is best on validation.
    pub best_dense: Option<NamedCell>,
}

/// How the conclusions of two sweeps differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conclusions {
    /// Of the first sweep.
    pub before: Facts,
    /// Of the second sweep.
    pub after: Facts,
    /// The names of the facts that changed: fields of [`Facts`]. Cells are compared by what they are, not by their names.
    pub changed: Vec<&'static str>,
    /// Cells on the front of the second sweep alone.
    pub entered_front: Vec<FrontChange>,
    /// Cells on the front of the first sweep alone.
    pub left_front: Vec<FrontChange>,
    /// Sentences of the findings of the first sweep that are none of the second's.
    pub findings_before: Vec<String>,
    /// Sentences of the findings of the second sweep that are none of the first's.
    pub findings_after: Vec<String>,
}

impl Conclusions {
    /// Whether both sweeps conclude the same. Sentences quote numbers, so they are no part of it.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.changed.is_empty() && self.entered_front.is_empty() && self.left_front.is_empty()
    }
}

/// A report and what is looked up in it.
struct Side<'a> {
    report: &'a Report,
    labels: Labels,
    cells: HashMap<&'a CellId, &'a CellReport>,
    trials: HashMap<&'a CellId, Vec<&'a TrialReport>>,
}

impl<'a> Side<'a> {
    fn of(report: &'a Report) -> Self {
        let mut trials: HashMap<&CellId, Vec<&TrialReport>> = HashMap::new();
        for trial in report.trials.iter().filter(|trial| trial.outcome == "completed") {
            trials.entry(&trial.cell).or_default().push(trial);
        }
        let cells = report.cells.iter().map(|cell| (&cell.id, cell)).collect();
        Self { report, labels: Labels::of(report), cells, trials }
    }

    fn named(&self, id: &CellId) -> NamedCell {
        let name = self.cells.get(id).map_or_else(|| id.to_string(), |cell| self.labels.cell(cell));
        NamedCell { id: id.clone(), name }
    }

    fn trials(&self, cell: &CellId) -> &[&'a TrialReport] {
        self.trials.get(cell).map_or(&[], Vec::as_slice)
    }

    fn facts(&self) -> Facts {
        let unmet = self.report.unmet.as_ref();
        let is_judged = unmet.is_some() || self.report.cells.iter().any(|cell| cell.eligible);
        Facts {
            is_feasible: is_judged.then_some(unmet.is_none()),
            nearest: unmet.map(|unmet| self.named(&unmet.nearest)),
            front: self.report.front.len() as u64,
            headline: headline(self.report).map(|cell| self.named(&cell.id)),
            best_dense: self.report.baseline_cell().map(|cell| self.named(&cell.id)),
        }
    }
}

/// Compares the results of the cells that both sweeps have. Returns `None` if one of the sweeps has no result.
#[must_use]
pub fn results(before: &Report, after: &Report, work: &WorkDifference) -> Option<Results> {
    if !has_results(before) || !has_results(after) {
        return None;
    }
    let (before, after) = (Side::of(before), Side::of(after));
    let mut results = Results { compared: 0, differing: Vec::new() };
    for pair in &work.pairs {
        let (Some(one), Some(two)) = (before.cells.get(&pair.before), after.cells.get(&pair.after)) else { continue };
        if before.trials(&pair.before).is_empty() || after.trials(&pair.after).is_empty() {
            continue;
        }
        results.compared += 1;
        let quantities = one.measured().chain(two.measured());
        let means = quantities.filter_map(|quantity| {
            let means = [one.mean(quantity), two.mean(quantity)];
            (means[0] != means[1]).then(|| (quantity.clone(), means))
        });
        let means: BTreeMap<Quantity, [Option<f64>; 2]> = means.collect();
        if !means.is_empty() {
            let (one, two) = (before.named(&pair.before), after.named(&pair.after));
            let cause = cause(pair, before.trials(&pair.before), after.trials(&pair.after));
            results.differing.push(ResultDifference { before: one, after: two, cause, means });
        }
    }
    Some(results)
}

/// Whether a trial has completed.
fn has_results(report: &Report) -> bool {
    report.trials.iter().any(|trial| trial.outcome == "completed")
}

fn cause(pair: &CellPair, before: &[&TrialReport], after: &[&TrialReport]) -> Cause {
    if !pair.is_same_work {
        return Cause::OtherWork;
    }
    let by_work: HashMap<StageKey, &TrialReport> =
        before.iter().filter_map(|trial| Some((*trial.stages.last()?, *trial))).collect();
    let shared = after.iter().filter_map(|trial| Some((by_work.get(trial.stages.last()?)?, trial)));
    let has_other_values =
        |one: &TrialReport, two: &TrialReport| one.metrics != two.metrics || one.quantities != two.quantities;
    if shared.into_iter().any(|(one, two)| has_other_values(one, two)) { Cause::SameWork } else { Cause::OtherSeeds }
}

/// Compares what two sweeps conclude. Returns `None` if one of them has no result.
#[must_use]
pub fn conclusions(before: &Report, after: &Report, work: &WorkDifference) -> Option<Conclusions> {
    if !has_results(before) || !has_results(after) {
        return None;
    }
    let (one, two) = (Side::of(before), Side::of(after));
    let forward: HashMap<&CellId, &CellId> = work.pairs.iter().map(|pair| (&pair.before, &pair.after)).collect();
    let backward: HashMap<&CellId, &CellId> = work.pairs.iter().map(|pair| (&pair.after, &pair.before)).collect();
    let (facts_before, facts_after) = (one.facts(), two.facts());
    let is_same = |before: &Option<NamedCell>, after: &Option<NamedCell>| match (before, after) {
        (Some(before), Some(after)) => forward.get(&before.id) == Some(&&after.id),
        (before, after) => before.is_none() && after.is_none(),
    };
    let compared = [
        ("is_feasible", facts_before.is_feasible == facts_after.is_feasible),
        ("nearest", is_same(&facts_before.nearest, &facts_after.nearest)),
        ("front", facts_before.front == facts_after.front),
        ("headline", is_same(&facts_before.headline, &facts_after.headline)),
        ("best_dense", is_same(&facts_before.best_dense, &facts_after.best_dense)),
    ];
    let (sentences_before, sentences_after) = (before.findings(), after.findings());
    let without = |sentences: &[String], others: &[String]| {
        let others: HashSet<&String> = others.iter().collect();
        sentences.iter().filter(|sentence| !others.contains(sentence)).cloned().collect()
    };
    Some(Conclusions {
        changed: compared.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect(),
        entered_front: front_changes(&two, &one, &backward),
        left_front: front_changes(&one, &two, &forward),
        findings_before: without(&sentences_before, &sentences_after),
        findings_after: without(&sentences_after, &sentences_before),
        before: facts_before,
        after: facts_after,
    })
}

/// The cells on the front of `own` that are not on that of `other`.
fn front_changes(own: &Side<'_>, other: &Side<'_>, to_other: &HashMap<&CellId, &CellId>) -> Vec<FrontChange> {
    let in_other = |id: &CellId| to_other.get(id).and_then(|id| other.cells.get(id));
    let change = |id: &CellId| match in_other(id) {
        Some(cell) if cell.on_front => None,
        found => {
            let other = found.map_or_else(|| "not in the sweep".to_owned(), |cell| status(cell));
            Some(FrontChange { cell: own.named(id), other })
        }
    };
    own.report.front.iter().filter_map(change).collect()
}

/// The quantities that text for people shows of a difference: the sweeps' goals, and what they are on test.
#[must_use]
pub fn shown_quantities(before: &Report, after: &Report) -> Vec<Quantity> {
    let goals = before.goals().chain(after.goals());
    let mut shown: Vec<Quantity> = goals.flat_map(|goal| [goal.clone(), goal.with_split(Split::Test)]).collect();
    shown.sort();
    shown.dedup();
    shown
}
