//! What one net of a cell is worth. An interval of the mean over seeds speaks of the average net, and one net is deployed.
//!
//! A prediction interval holds the value of one further net, trained with a seed that the sweep has not had, over all rows of the population:
//! mean ± √((t · sd · √(1 + 1/n))² + (z · se_rows)²). The first part is the usual one for a further observation (Hahn & Meeker 1991, Statistical
//! Intervals, chapter 4), the second the standard error of the mean over rows, where it is known. Beside it stands the worst net of the sweep.

use std::collections::{BTreeMap, HashMap, HashSet};

use secateur_proto::{
    ids::CellId,
    metrics::{Direction, Quantity, Split},
};
use serde::{Deserialize, Serialize};

use super::{
    content::Grid,
    findings::headline,
    glossary::{title, title_of_any_split},
    label::Labels,
    model::{CellReport, Report, TrialReport},
    number,
    plot::{Axes, axes},
    rows::half_width,
};

/// What one net of a cell is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OneNet {
    /// The 95 % prediction interval of one further net. `None` with one seed.
    pub interval: Option<[f64; 2]>,
    /// Whether other rows are included.
    pub rows: bool,
    /// How many nets there are.
    pub n: u64,
    /// The worst of them.
    pub worst: f64,
    /// Its seed: the first, of equal ones.
    pub worst_seed: u64,
}

/// The prediction interval of one further value, from a mean of `n` with this standard error over seeds and over rows, in a sweep that is
/// looked at up to `looks` times. It may go beyond the range of the quantity.
pub(super) fn interval(mean: f64, n: u64, of_seeds: f64, of_rows: Option<f64>, looks: u32) -> Option<[f64; 2]> {
    // sd · √(1 + 1/n) = se · √(n + 1).
    let half = half_width(of_seeds * (n as f64 + 1.0).sqrt(), of_rows, n, looks)?;
    Some([mean - half, mean + half])
}

/// Fills it in for the cells that conclusions are about: the baseline, both fronts and the cells that were picked.
pub(super) fn judge(report: &mut Report) {
    let Some((baseline, axes)) = report.baseline.clone().zip(axes(report)) else { return };
    let picked = [Some(baseline.cell), baseline.smallest, baseline.smallest_unadjusted, baseline.smallest_not_pruned];
    let picked: HashSet<CellId> = picked.into_iter().flatten().chain(baseline.nearest).collect();
    let wanted: Vec<usize> = (0..report.cells.len())
        .filter(|place| {
            let cell = &report.cells[*place];
            cell.on_front || cell.on_common_front || picked.contains(&cell.id)
        })
        .collect();
    let mut trials: HashMap<&CellId, Vec<&TrialReport>> =
        wanted.iter().map(|place| (&report.cells[*place].id, Vec::new())).collect();
    for trial in &report.trials {
        if let Some(of_cell) = trials.get_mut(&trial.cell) {
            of_cell.push(trial);
        }
    }
    let found: Vec<(usize, BTreeMap<Quantity, OneNet>)> = (wanted.into_iter())
        .map(|place| {
            let cell = &report.cells[place];
            let trials = trials.get(&cell.id).map_or(&[][..], Vec::as_slice);
            let quantities = Split::ALL.map(|split| axes.y.with_split(split));
            let one = |quantity: Quantity| Some((quantity.clone(), one_net(report, cell, trials, &quantity, &axes)?));
            (place, quantities.into_iter().filter_map(one).collect())
        })
        .collect();
    for (place, one_net) in found {
        report.cells[place].one_net = one_net;
    }
}

fn one_net(
    report: &Report,
    cell: &CellReport,
    trials: &[&TrialReport],
    quantity: &Quantity,
    axes: &Axes,
) -> Option<OneNet> {
    let total = cell.total(quantity)?;
    let cost = |value: f64| if axes.better[1] == Direction::Maximize { -value } else { value };
    let values = trials.iter().filter_map(|trial| Some((trial.value(quantity)?, trial.seed)));
    let (worst, worst_seed) = values.max_by(|one, two| cost(one.0).total_cmp(&cost(two.0)).then(two.1.cmp(&one.1)))?;
    let [lowest, highest] = quantity.range_of(report.task());
    let within = |[low, high]: [f64; 2]| [low.max(lowest.min(total.mean)), high.min(highest.max(total.mean))];
    let interval = total.se_seeds.and_then(|se| interval(total.mean, total.n, se, total.se_rows, report.looks()));
    Some(OneNet { interval: interval.map(within), rows: total.se_rows.is_some(), n: total.n, worst, worst_seed })
}

/// The table of the front with what one net of each cell is worth on test, before its last column.
pub(super) fn beside(mut grid: Grid, report: &Report, cells: &[&CellReport]) -> Grid {
    let Some(axes) = axes(report).filter(|_| cells.iter().any(|cell| !cell.one_net.is_empty())) else { return grid };
    let (test, metric) = (axes.test(), axes.y.metric());
    let place = grid.columns.len().saturating_sub(1);
    // One further net is judged by all rows of the population, and the worst seed by those of test.
    let columns = [format!("{}, one further net", title_of_any_split(&test)), format!("{}, worst seed", title(&test))];
    for column in columns.into_iter().rev() {
        grid.columns.insert(place, (column, true));
    }
    for (row, cell) in grid.rows.iter_mut().zip(cells) {
        let found = cell.one_net.get(&test);
        let further = found.and_then(|found| found.interval);
        let further = further
            .map(|[low, high]| format!("{} to {}", number::of_metric(metric, low), number::of_metric(metric, high)));
        let worst = found.map(|found| number::of_metric(metric, found.worst));
        for text in [further, worst].into_iter().rev() {
            row.insert(place, text.unwrap_or_else(|| "–".to_owned()));
        }
    }
    grid
}

/// What a person gets who deploys one net of the cell that the findings recommend; else of the nearest.
pub(super) fn sentence(report: &Report, labels: &Labels, axes: &Axes) -> Option<String> {
    let baseline = report.baseline.as_ref()?;
    let others = [&baseline.smallest_unadjusted, &baseline.nearest];
    let other = || others.into_iter().flatten().next().and_then(|id| report.cell(id));
    let cell = headline(report).or_else(other)?;
    let found = cell.one_net.get(&axes.test())?;
    let [low, high] = found.interval?.map(|end| number::of_metric(axes.y.metric(), end));
    let rows = if found.rows { format!(" and {}", number::count(report.data.rows[2], "row")) } else { String::new() };
    let (over, beyond) = if found.rows {
        ("all rows of the population of the test part", "")
    } else {
        ("the test rows", "; rows not included")
    };
    let name = title_of_any_split(&axes.y);
    Some(format!(
        "One net is deployed, and seeds differ: the {name} of one further net of {}, over {over}, lies from {low} to {high} (95 % prediction interval, from {}{rows}{beyond}); the worst of its nets has a test {name} of {}.",
        labels.cell(cell),
        number::count(found.n, "seed"),
        number::of_metric(axes.y.metric(), found.worst),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        build, example,
        simulated::{Population, Sweeps},
    };

    /// Student's sleep data, first drug: n = 10, mean 0.75, sd 1.789010. statsmodels 0.15,
    /// `OLS(x, ones).fit().get_prediction([1]).conf_int(obs=True)`: −3.494551, 4.994551.
    #[test]
    fn a_further_patient_of_student() {
        let (mean, sd) = (0.75, 1.789_009_657_759_162_3_f64);
        let [low, high] = interval(mean, 10, sd / 10_f64.sqrt(), None, 1).expect("several values");
        assert!((low + 3.494_551_45).abs() < 1e-7 && (high - 4.994_551_45).abs() < 1e-7, "{low}, {high}");
        assert_eq!(interval(0.5, 1, 0.0, None, 1), None);
    }

    /// 2,000 sweeps of nets that share their rows: how often the interval holds the AUC over all rows of one more net.
    #[test]
    fn a_further_net_is_within_the_interval_as_often_as_it_says() {
        let population = Population { of_net: 0.25, of_seed: 0.15, ..Population::default() };
        for seeds in [3, 5, 10] {
            let mut held = 0;
            for sweep in Sweeps::new(population, 2_000, 40 + u64::from(seeds)) {
                let total = sweep.value(&sweep.nets(0.5, seeds));
                let found = interval(total.mean, total.n, total.se_seeds.expect("several"), total.se_rows, 1);
                let [low, high] = found.expect("several seeds");
                let truth = sweep.further_net(0.5);
                held += u32::from(low <= truth && truth <= high);
            }
            let share = f64::from(held) / 2_000.0;
            assert!((0.93..=0.985).contains(&share), "{seeds} seeds: {share}");
        }
    }

    #[test]
    fn the_worst_seed_of_a_cell_is_one_of_its_trials() {
        let (plan, outcomes) = example::realistic();
        let report = build(&plan, &outcomes);
        let axes = axes(&report).expect("something to show");
        for cell in report.front_cells() {
            let found = cell.one_net.get(&axes.test()).expect("it is on the front");
            let of_cell = report.trials.iter().filter(|trial| trial.cell == cell.id);
            let lowest = of_cell.filter_map(|trial| trial.value(&axes.test())).fold(f64::INFINITY, f64::min);
            assert_eq!((found.worst, found.n, found.rows), (lowest, 3, false));
            let mean = cell.summary(&axes.test()).and_then(|summary| summary.ci95).expect("three seeds");
            let further = found.interval.expect("three seeds");
            assert!(further[0] < mean[0] && mean[1] < further[1], "one net varies more than a mean");
        }
        assert!(report.cells.iter().filter(|cell| !cell.one_net.is_empty()).count() < report.cells.len());
    }
}
