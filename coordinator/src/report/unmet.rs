//! Constraints that no cell meets: how many cells fail each, and which cell comes nearest.

use secateur_proto::{ids::CellId, metrics::Metric};
use serde::{Deserialize, Serialize};

use super::{
    glossary::aim,
    label::Labels,
    model::{CellReport, Report},
    number,
};
use crate::experiment::plan::Constraint;

/// By how much the cells miss the constraints, of a sweep of which no cell meets all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unmet {
    /// Cells that would compete for the front without constraints.
    pub cells: u64,
    /// Each constraint by itself, in their order.
    pub constraints: Vec<UnmetConstraint>,
    /// The cell that fails the fewest constraints; of those that fail as many, the one whose misses are the smallest shares of their
    /// bounds in sum.
    pub nearest: CellId,
}

/// A constraint by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnmetConstraint {
    /// The constraint.
    #[serde(flatten)]
    pub constraint: Constraint,
    /// Cells that fail it.
    pub failed: u64,
    /// Of the cells that fail it, the one that misses it by the least.
    pub nearest: Option<Miss>,
}

/// A cell beyond a bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Miss {
    /// The cell.
    pub cell: CellId,
    /// Its mean.
    pub mean: f64,
    /// The bound.
    pub bound: f64,
    /// How far the mean is from the bound; above 0.
    pub distance: f64,
}

impl Unmet {
    /// Of the cells that would compete without `constraints`. `None` if one of them meets all.
    pub(super) fn of(constraints: &[Constraint], cells: &[&CellReport]) -> Option<Self> {
        let misses = |cell: &CellReport| -> Vec<Miss> {
            constraints.iter().filter_map(|constraint| miss(constraint, cell)).collect()
        };
        let share = |miss: &Miss| if miss.bound == 0.0 { miss.distance } else { miss.distance / miss.bound.abs() };
        let rank = |misses: &[Miss]| (misses.len(), misses.iter().map(share).sum::<f64>());
        let all: Vec<(&CellReport, Vec<Miss>)> = cells.iter().map(|cell| (*cell, misses(cell))).collect();
        if all.iter().any(|(_, misses)| misses.is_empty()) {
            return None;
        }
        let (nearest, _) = all.iter().min_by(|(_, one), (_, two)| {
            let ((one, one_sum), (two, two_sum)) = (rank(one), rank(two));
            one.cmp(&two).then(one_sum.total_cmp(&two_sum))
        })?;
        let by_itself = |constraint: &Constraint| {
            let misses: Vec<Miss> = cells.iter().filter_map(|cell| miss(constraint, cell)).collect();
            UnmetConstraint {
                constraint: constraint.clone(),
                failed: misses.len() as u64,
                nearest: misses.into_iter().min_by(|one, two| one.distance.total_cmp(&two.distance)),
            }
        };
        Some(Self {
            cells: cells.len() as u64,
            constraints: constraints.iter().map(by_itself).collect(),
            nearest: nearest.id.clone(),
        })
    }
}

/// By how much `cell` misses a constraint. `None` if it meets it.
pub(super) fn miss(constraint: &Constraint, cell: &CellReport) -> Option<Miss> {
    let Constraint { quantity, min, max } = constraint;
    let mean = cell.mean(quantity)?;
    let bound = max.filter(|max| mean > *max).or_else(|| min.filter(|min| mean < *min))?;
    Some(Miss { cell: cell.id.clone(), mean, bound, distance: (mean - bound).abs() })
}

/// What [`Report::unmet`] says, in sentences.
pub(super) fn sentences(report: &Report) -> Vec<String> {
    let Some(unmet) = &report.unmet else { return Vec::new() };
    let labels = Labels::of(report);
    let name = |id: &CellId| report.cell(id).map_or_else(|| id.to_string(), |cell| labels.cell(cell));
    let by_itself = |found: &UnmetConstraint| {
        let UnmetConstraint { constraint, failed, nearest } = found;
        let what = bounded(constraint);
        let of = number::count(unmet.cells, "cell");
        let Some(Miss { cell, mean, bound, distance }) = nearest else {
            return format!("The constraint {what} holds for each of {of}.");
        };
        let metric = constraint.quantity.metric();
        let side = if mean < bound { "below" } else { "above" };
        let failed = match (*failed, unmet.cells) {
            (1, 1) => "the only cell".to_owned(),
            (failed, all) if failed == all => format!("all {of}"),
            (failed, _) => format!("{} of {of}", number::grouped(failed)),
        };
        format!(
            "The constraint {what} fails for {failed}. The nearest, {}, has {}: {} {side} the bound.",
            name(cell),
            exact(metric, *mean),
            exact(metric, *distance),
        )
    };
    let mut sentences: Vec<String> = unmet.constraints.iter().map(by_itself).collect();
    if let [_, _, ..] = unmet.constraints.as_slice() {
        let failed = report.cell(&unmet.nearest).map(|cell| {
            let failed = unmet.constraints.iter().filter(|found| miss(&found.constraint, cell).is_some());
            failed.map(|found| bounded(&found.constraint)).collect::<Vec<_>>()
        });
        sentences.push(format!(
            "No cell meets all {} constraints; the nearest, {}, fails {}.",
            unmet.constraints.len(),
            name(&unmet.nearest),
            failed.unwrap_or_default().join(" and ")
        ));
    }
    sentences
}

/// `AUC on validation of at least 0.75`.
fn bounded(constraint: &Constraint) -> String {
    let Constraint { quantity, min, max } = constraint;
    let bounds = [min.map(|min| format!("at least {min}")), max.map(|max| format!("at most {max}"))];
    format!("{} of {}", aim(quantity), bounds.into_iter().flatten().collect::<Vec<_>>().join(" and "))
}

/// A value with so many decimals that a miss by little is not 0.
fn exact(metric: Metric, value: f64) -> String {
    let decimals = match metric.decimals() {
        0 => number::decimals(metric, value),
        _ => 6,
    };
    number::fixed(value, decimals)
}
