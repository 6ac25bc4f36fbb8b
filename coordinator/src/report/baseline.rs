//! The one unpruned net that every cell is compared with, and the cells that are not inferior to it.
//!
//! A cell is *not inferior* if it loses less than a margin of the first objective of the data on validation. Each eligible cell is
//! tested, one-sided at 2.5 %, with the uncertainty of seeds and, where the scores of its rows were read, of rows ([`super::rows`]); Holm's method
//! (Holm 1979, Scandinavian Journal of Statistics 6:65) keeps the probability of even one false claim among all cells below 2.5 %,
//! so that the smallest of those that pass may be picked. Holm's method counts all cells of the grid, eligible or not: a constraint on a
//! metric that correlates with the objective lets lucky cells through, and a count of the eligible cells would miss that selection. That
//! the baseline is the best of several dense nets on the same rows makes
//! the test a little stricter.

use std::collections::{BTreeMap, BTreeSet};

use secateur_proto::{
    ids::{CellId, ContentHash},
    metrics::{Direction, Metric, Over, Quantity, Split},
    outcome::Role,
};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, Normal};

use super::{
    model::{CellReport, Report, TrialReport},
    one_net,
    plot::{Axes, axes},
    rows::{RowValues, SplitScores, Total},
    statistics::{Paired, multiplicity::holm, t_above},
};
use crate::experiment::{
    plan::{Control, Objective},
    setting::pruning,
};

/// The probability, for a sweep without any cell that is not inferior, to claim one.
const ALPHA: f64 = 0.025;

/// Scores of rows that a report reads, at most. More would take longer than the report itself.
pub(super) const MOST_ROWS: u64 = 24_000_000;

/// How far a metric computed from scores may be from the one that its trial reported.
const TOLERANCE: f64 = 1e-6;

/// What every cell is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The dense control that is best on validation.
    pub cell: CellId,
    /// By this quantity.
    pub quantity: Quantity,
    /// How many dense controls there were to choose from.
    pub of: u64,
    /// How much a cell may lose. `None` if the file gives none and the metric has no usual one.
    pub margin: Option<f64>,
    /// The number of cells that p-values are adjusted for: all cells of the grid, eligible or not, without controls and ablations.
    pub tested: u64,
    /// The number of cells that are not inferior.
    pub not_inferior: u64,
    /// The smallest of them.
    pub smallest: Option<CellId>,
    /// The smallest cell whose own 95 % interval stays within the margin, if it is smaller. It is one of many: such a pick is wrong more
    /// often than its interval says.
    pub smallest_unadjusted: Option<CellId>,
    /// The smallest small dense net or reference model whose own 95 % interval stays within the margin, if it is smaller than the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest_not_pruned: Option<CellId>,
    /// The cell that came nearest, if none is.
    pub nearest: Option<CellId>,
}

/// The test of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NonInferiority {
    /// The probability of a difference as good as this one, if the cell loses exactly the margin. In a sweep that adds seeds while results
    /// come in: in any of the looks at most.
    pub p: f64,
    /// The same, adjusted for the number of cells of the grid, eligible or not (Holm).
    pub p_adjusted: f64,
    /// Whether it is below 2.5 %.
    pub holds: bool,
}

/// A quantity of a cell with the uncertainty of seeds and rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Uncertainty {
    /// Of its mean.
    pub value: Total,
    /// Of its mean minus that of the baseline. `None` for the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference_to_baseline: Option<Total>,
}

/// The scores of a trial.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrialScores {
    /// Of the validation rows.
    pub validation: SplitScores,
    /// Of the test rows.
    pub test: SplitScores,
}

/// A variance over rows, and the number of rows that it is of.
pub(super) type OfRows = (f64, usize);

/// The variances over rows of the means of some cells, and of their differences to the baseline.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowVariances(BTreeMap<(CellId, Quantity), [Option<OfRows>; 2]>);

impl RowVariances {
    /// The number of variances.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The largest difference at which people still call two models equal: the regions of practical equivalence of Gunnarsson et al. 2021
/// (European Journal of Operational Research); of the error rate, for which they have none, a quarter of a percentage point.
fn usual_margin(quantity: &Quantity) -> Option<f64> {
    match quantity.metric() {
        _ if !quantity.is_whole() => None,
        Metric::Auc => Some(0.01),
        Metric::Gini => Some(0.02),
        Metric::Brier | Metric::Error | Metric::Accuracy => Some(0.0025),
        _ => None,
    }
}

pub(super) fn margin(report: &Report, quantity: &Quantity) -> Option<f64> {
    let objective = |objective: &&Objective| objective.quantity == *quantity;
    report.objectives.iter().find(objective).and_then(|objective| objective.margin).or_else(|| usual_margin(quantity))
}

/// The axes, if the one that goes up is measured on rows.
fn axes_of_rows(report: &Report) -> Option<Axes> {
    axes(report).filter(|axes| axes.y.split().is_some())
}

/// The dense controls that have completed, and the best of them, as indices of cells.
fn dense_controls(report: &Report, axes: &Axes) -> (Vec<usize>, Option<usize>) {
    let unfinished = unfinished(report);
    let dense: Vec<usize> = (0..report.cells.len())
        .filter(|index| {
            let cell = &report.cells[*index];
            cell.control_kind == Some(Control::Dense) && !unfinished.contains(&cell.id) && cell.mean(&axes.y).is_some()
        })
        .collect();
    let goodness = |cell: &CellReport| cell.mean(&axes.y).map(|mean| towards(axes.better[1], mean));
    let best = dense.iter().copied().reduce(|best, index| {
        if goodness(&report.cells[index]) > goodness(&report.cells[best]) { index } else { best }
    });
    (dense, best)
}

/// Whether it is a small dense net or a reference model.
pub(super) fn is_smaller_kind(cell: &CellReport) -> bool {
    cell.control_kind.is_some_and(|kind| kind != Control::Dense && kind != Control::DenseQuantized)
}

/// Whether it is a cell of the grid: neither a control nor an ablation. Every eligible cell is one.
fn is_of_grid(cell: &CellReport) -> bool {
    let is_ablation = cell.settings.get(pruning::ABLATION.path).is_some_and(|name| name != "none");
    !cell.control && !is_ablation
}

/// The cells with a trial that did not complete.
pub(super) fn unfinished(report: &Report) -> BTreeSet<CellId> {
    report.trials.iter().filter(|trial| trial.outcome != "completed").map(|trial| trial.cell.clone()).collect()
}

/// The index of the cell that all others are compared with.
pub(super) fn choose(report: &Report) -> Option<usize> {
    dense_controls(report, &axes_of_rows(report)?).1
}

/// Tests which cells are not inferior to the best dense control.
pub(super) fn compare(report: &mut Report, variances: &RowVariances) {
    let Some(axes) = axes_of_rows(report) else { return };
    let (dense, Some(best)) = dense_controls(report, &axes) else { return };
    let goodness = |cell: &CellReport| cell.mean(&axes.y).map(|mean| towards(axes.better[1], mean));
    let baseline = report.cells[best].clone();
    judge(report, &baseline, variances);
    let (margin, looks) = (margin(report, &axes.y), report.looks());
    let candidates: Vec<usize> = (0..report.cells.len()).filter(|index| report.cells[*index].eligible).collect();
    let tests: Vec<(usize, f64)> = (candidates.iter())
        .filter_map(|index| {
            let difference = report.cells[*index].total_difference(&axes.y)?;
            // Seeds that were added until results looked decided: the smallest p-value of all looks is as small as this by chance.
            let p = p_value(&difference, margin?, axes.better[1])? * f64::from(looks);
            Some((*index, p.min(1.0)))
        })
        .collect();
    // A cell that is not eligible or could not be tested counts among the comparisons: constraints on what correlates with the objective
    // select lucky cells.
    let comparisons = report.cells.iter().filter(|cell| is_of_grid(cell)).count();
    let p_values: Vec<f64> = tests.iter().map(|(_, p)| *p).collect();
    let adjusted = holm(&p_values, comparisons).expect("probabilities, of no more cells than there are");
    for ((index, p), p_adjusted) in tests.iter().zip(adjusted) {
        report.cells[*index].non_inferiority = Some(NonInferiority { p: *p, p_adjusted, holds: p_adjusted < ALPHA });
    }
    let holds = |cell: &&CellReport| cell.non_inferiority.is_some_and(|test| test.holds);
    let size = |cell: &CellReport| cell.mean(&axes.x).map_or(f64::INFINITY, |mean| -towards(axes.better[0], mean));
    let by_size = |one: &&CellReport, two: &&CellReport| {
        let quality = |cell| goodness(cell).unwrap_or(f64::NEG_INFINITY);
        size(one).total_cmp(&size(two)).then(quality(two).total_cmp(&quality(one)))
    };
    let smallest = report.cells.iter().filter(holds).min_by(by_size).map(|cell| cell.id.clone());
    let stays = |cell: &&CellReport| {
        let low = cell.total_difference(&axes.y).and_then(|difference| difference.ci95).map(|[low, high]| {
            match axes.better[1] {
                Direction::Maximize => low,
                Direction::Minimize => -high,
            }
        });
        low.zip(margin).is_some_and(|(low, margin)| low >= -margin)
    };
    let unadjusted = report.cells.iter().filter(|cell| cell.eligible).filter(stays).min_by(by_size);
    let others =
        report.cells.iter().filter(|cell| cell.deployable && is_smaller_kind(cell) && size(cell) < size(&baseline));
    let smallest_not_pruned = others.filter(stays).min_by(by_size).map(|cell| cell.id.clone());
    let smallest_unadjusted = unadjusted.map(|cell| cell.id.clone()).filter(|id| Some(id) != smallest.as_ref());
    let nearest = tests.iter().min_by(|(_, one), (_, two)| one.total_cmp(two));
    let nearest = nearest.filter(|_| smallest.is_none()).map(|(index, _)| report.cells[*index].id.clone());
    report.baseline = Some(Baseline {
        cell: baseline.id,
        quantity: axes.y,
        of: dense.len() as u64,
        margin,
        tested: comparisons as u64,
        not_inferior: report.cells.iter().filter(holds).count() as u64,
        smallest,
        smallest_unadjusted,
        smallest_not_pruned,
        nearest,
    });
    one_net::judge(report);
}

/// The value, with its sign changed if lower is better.
const fn towards(better: Direction, value: f64) -> f64 {
    match better {
        Direction::Maximize => value,
        Direction::Minimize => -value,
    }
}

/// Fills in the uncertainty of seeds and rows.
fn judge(report: &mut Report, baseline: &CellReport, variances: &RowVariances) {
    let (task, looks) = (report.task(), report.looks());
    for cell in &mut report.cells {
        let of_cell = |quantity: &Quantity| variances.0.get(&(cell.id.clone(), quantity.clone()));
        let mut found = BTreeMap::new();
        for quantity in quantities(&report.objectives, &report.constraints) {
            let Some([value, difference]) = of_cell(&quantity) else { continue };
            let [low, high] = quantity.range_of(task);
            let Some(summary) = cell.summary(&quantity) else { continue };
            let paired = cell.minus_baseline(&quantity).filter(|_| cell.id != baseline.id);
            let difference = paired
                .map(|Paired { summary, .. }| Total::of_looks(&summary, *difference, [low - high, high - low], looks));
            let value = Total::of_looks(&summary, *value, [low, high], looks);
            found.insert(quantity, Uncertainty { value, difference_to_baseline: difference });
        }
        cell.uncertainty = found;
    }
}

/// What reports read scores for: the metrics of the goals, over all rows of both parts.
fn quantities(objectives: &[Objective], constraints: &[crate::experiment::plan::Constraint]) -> Vec<Quantity> {
    let goals = objectives.iter().map(|objective| &objective.quantity);
    let goals = goals.chain(constraints.iter().map(|constraint| &constraint.quantity));
    let whole = goals.filter(|quantity| matches!(quantity.over(), Over::Rows(_)));
    let mut metrics: Vec<Metric> = whole.map(Quantity::metric).collect();
    metrics.sort();
    metrics.dedup();
    metrics.into_iter().flat_map(|metric| Split::ALL.map(|split| metric.on(split))).collect()
}

/// The probability of a difference as good as this one if the cell loses the margin. `None` with one seed.
///
/// It is the level at which the one-sided interval just reaches the margin, when its half is √((t · se_seeds)² + (z · se_rows)²) with
/// the quantiles t of the seeds and z of the rows at that level. With either part alone this is the usual test. With both, and with few
/// seeds, it passes far fewer cells than it could, and no cell too many. Satterthwaite's degrees of freedom, which do well for 95 % intervals, do not in the far tail that many
/// comparisons need: with three seeds they are wrong more than ten times as often as they say at a level of 0.04 %.
pub(super) fn p_value(difference: &Total, margin: f64, better: Direction) -> Option<f64> {
    let gain = towards(better, difference.mean) + margin;
    let seeds = (difference.n as f64 - 1.0).max(1.0);
    let (of_seeds, of_rows) = (difference.se_seeds?, difference.se_rows.unwrap_or(0.0));
    if of_seeds.hypot(of_rows) == 0.0 {
        return Some(if gain > 0.0 { 0.0 } else { 1.0 });
    }
    let normal = Normal::standard();
    let half = |quantile: f64| -> Option<f64> {
        let level = t_above(quantile, seeds)?;
        // Below the smallest number there is no quantile, and no level that matters.
        let of_rows = if of_rows == 0.0 { 0.0 } else { of_rows * normal.inverse_cdf(level.max(f64::MIN_POSITIVE)) };
        Some((quantile * of_seeds).hypot(of_rows))
    };
    let (mut low, mut high) = (0.0, 1.0);
    while half(high)? < gain.abs() && high < 1e9 {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if half(middle)? < gain.abs() { low = middle } else { high = middle }
    }
    let level = t_above(low, seeds)?;
    Some(if gain > 0.0 { level } else { 1.0 - level })
}

/// Reads the scores of the cells that the conclusions are about, and finds how their metrics vary with the rows: of the baseline, then
/// of the front, then of what else could be deployed, then of the rest, the best first, up to a bound of rows. `read` returns
/// `None` for scores that are no longer there; their cells have no entry.
pub fn row_variances(report: &Report, read: &mut dyn FnMut(ContentHash) -> Option<TrialScores>) -> RowVariances {
    let mut variances = RowVariances::default();
    let Some(baseline) = report.baseline.as_ref().and_then(|baseline| report.cell(&baseline.cell)) else {
        return variances;
    };
    let quantities = quantities(&report.objectives, &report.constraints);
    let mut trials: BTreeMap<&CellId, Vec<&TrialReport>> = BTreeMap::new();
    for trial in &report.trials {
        trials.entry(&trial.cell).or_default().push(trial);
    }
    let rows_of_trial = report.data.rows[1].saturating_add(report.data.rows[2]).max(1);
    let mut left = MOST_ROWS / rows_of_trial;
    let mut of_baseline: BTreeMap<u64, BTreeMap<Quantity, RowValues>> = BTreeMap::new();
    for cell in wanted(report, baseline) {
        let trials = trials.get(&cell.id).map_or(&[][..], Vec::as_slice);
        let Some(rest) = left.checked_sub(trials.len() as u64) else { break };
        left = rest;
        let Some(values) = (trials.iter())
            .map(|trial| Some((trial.seed, values(trial, &quantities, read)?)))
            .collect::<Option<BTreeMap<_, _>>>()
        else {
            continue;
        };
        if cell.id == baseline.id {
            of_baseline = values.clone();
        }
        for quantity in &quantities {
            let own = || values.iter().filter_map(|(seed, values)| Some((seed, values.get(quantity)?)));
            let pairs = own().filter_map(|(seed, own)| Some((own, of_baseline.get(seed)?.get(quantity)?)));
            let pairs: Vec<(&RowValues, &RowValues)> = pairs.collect();
            let value = variance(own().map(|(_, own)| (1.0, own)), own().count());
            let difference = variance(pairs.iter().flat_map(|(own, other)| [(1.0, *own), (-1.0, *other)]), pairs.len());
            if value.is_some() || difference.is_some() {
                variances.0.insert((cell.id.clone(), quantity.clone()), [value, difference]);
            }
        }
    }
    variances
}

/// The cells whose scores are read, in this order.
fn wanted<'a>(report: &'a Report, baseline: &'a CellReport) -> Vec<&'a CellReport> {
    let rank = |cell: &CellReport| (cell.id != baseline.id, !(cell.on_front || cell.on_common_front), !cell.deployable);
    let unfinished = unfinished(report);
    let better = axes_of_rows(report).map_or(Direction::Maximize, |axes| axes.better[1]);
    let quality = |cell: &CellReport| {
        let quantity = &report.baseline.as_ref()?.quantity;
        cell.mean(quantity).map(|mean| towards(better, mean))
    };
    let mut cells: Vec<&CellReport> = report.cells.iter().filter(|cell| !unfinished.contains(&cell.id)).collect();
    cells.sort_by(|one, two| {
        rank(one).cmp(&rank(two)).then_with(|| {
            let quality = |cell| quality(cell).unwrap_or(f64::NEG_INFINITY);
            quality(two).total_cmp(&quality(one))
        })
    });
    cells
}

/// The values of the rows of a trial, for each quantity. `None` if its scores are not there or do not give its metrics.
fn values(
    trial: &TrialReport,
    quantities: &[Quantity],
    read: &mut dyn FnMut(ContentHash) -> Option<TrialScores>,
) -> Option<BTreeMap<Quantity, RowValues>> {
    let scores = read(*trial.artifacts.get(&Role::Scores)?)?;
    let mut found = BTreeMap::new();
    for quantity in quantities {
        let split = match quantity.split()? {
            Split::Validation => &scores.validation,
            Split::Test => &scores.test,
        };
        let Some(reported) = trial.value(quantity) else { continue };
        let Some(values) = RowValues::of(quantity.metric(), split) else { continue };
        if (values.mean() - reported).abs() > TOLERANCE {
            return None;
        }
        found.insert(quantity.clone(), values);
    }
    Some(found)
}

/// The variance over rows of the mean over seeds of the sums of `terms`.
pub(super) fn variance<'a>(terms: impl Iterator<Item = (f64, &'a RowValues)>, seeds: usize) -> Option<OfRows> {
    let mut mean = RowValues::none();
    for (factor, values) in terms {
        if !mean.add(factor / seeds as f64, values) {
            return None;
        }
    }
    Some((mean.variance().filter(|variance| variance.is_finite())?, mean.fewest())).filter(|(_, fewest)| *fewest > 1)
}

#[cfg(test)]
mod tests;
