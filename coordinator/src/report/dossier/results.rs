//! What was measured, and what follows.

use std::collections::BTreeSet;

use secateur_proto::metrics::Quantity;

use super::{Block, Chapter, DossierSource, covers, shown, shown_difference, table};
use crate::report::{findings::compared, glossary::title_of_any_split, label::Labels, number};

/// The conclusions.
pub(super) fn summary(source: &DossierSource<'_>) -> Vec<String> {
    let DossierSource { report, cell, .. } = source;
    let mut summary = Vec::new();
    if let Some(axes) = source.axes() {
        let labels = Labels::of(report);
        if source.is_baseline() {
            summary.push(format!("{} is the baseline of the sweep.", labels.cell(cell)));
        } else {
            summary.push(compared("The cell of this model is", report, cell, "", &labels, &axes));
            summary.extend(non_inferiority(source));
        }
    }
    let names = if cell.control { "a control" } else { "a cell of the sweep file" };
    let front = match (cell.on_front, cell.on_common_front) {
        (_, true) => "No other cell or unpruned competitor is at least as good in every objective and better in one",
        (true, false) => {
            "It is on the front of the sweep file's cells, but an unpruned competitor is at least as good in every objective and better in one"
        }
        (false, false) if cell.deployable => {
            "Another cell or model of the sweep is at least as good in every objective and better in one"
        }
        (false, false) => "It does not compete for the front",
    };
    let reason = cell.reason.as_ref().filter(|_| !cell.deployable).map(|reason| format!(": {reason}"));
    let reason = reason.unwrap_or_else(|| " (validation means, without a test)".to_owned());
    summary.push(format!("It is {names}. {front}{reason}."));
    if !report.cautions.is_empty() {
        let cautions = number::count(report.cautions.len() as u64, "caution");
        summary.push(format!("The report has {cautions}: see Limits."));
    }
    summary
}

/// Whether the cell was shown to lose less than the margin.
fn non_inferiority(source: &DossierSource<'_>) -> Option<String> {
    let baseline = source.report.baseline.as_ref()?;
    let name = title_of_any_split(&baseline.quantity);
    let Some(margin) = baseline.margin else {
        return Some(format!("Whether it is as good as the baseline is not tested: {name} has no margin."));
    };
    let what = format!("to lose less than {} of validation {name} against the baseline", number::shortest(margin));
    let Some(test) = source.cell.non_inferiority else {
        return Some(format!("It was not tested whether it can be shown {what}."));
    };
    let p = if test.p_adjusted < 1e-4 { "< 0.0001".to_owned() } else { number::fixed(test.p_adjusted, 4) };
    let how = format!(
        "one-sided, p {p} adjusted for {} by Holm's method, level 0.025",
        number::count(baseline.tested, "cell")
    );
    Some(if test.holds {
        format!("It is shown {what} ({how}).")
    } else {
        format!("It is not shown {what} ({how}). This does not show that it loses more.")
    })
}

pub(super) fn chapter(source: &DossierSource<'_>) -> Option<Chapter> {
    let DossierSource { report, trial, cell, .. } = source;
    let whole: BTreeSet<&Quantity> = trial
        .values()
        .map(|(quantity, _)| quantity)
        .chain(cell.measured())
        .filter(|quantity| quantity.is_whole())
        .collect();
    let mut columns = vec!["metric", "#this model", "#mean of the cell", "interval of"];
    let with_baseline = !source.is_baseline() && report.baseline.is_some();
    if with_baseline {
        columns.extend(["#minus baseline", "interval of"]);
    }
    let mut grid = table(&columns);
    for quantity in whole {
        let metric = quantity.metric();
        let own = trial.value(quantity).map_or_else(|| "–".to_owned(), |value| number::of_metric(metric, value));
        let total = cell.total(quantity);
        let mut row = vec![report.title(quantity), own, shown(quantity, total), covers(total.as_ref()).to_owned()];
        if with_baseline {
            let difference = cell.total_difference(quantity);
            row.extend([shown_difference(quantity, difference), covers(difference.as_ref()).to_owned()]);
        }
        grid.rows.push(row);
    }
    let seeds = report.trials.iter().filter(|other| other.cell == cell.id && other.outcome == "completed").count();
    let mut blocks = vec![
        Block::Text(format!(
            "Means and intervals are of the {} of the cell that completed; one of them is this model. Square brackets hold 95 % \
             intervals. An interval of seeds speaks of other initial weights and orders of rows; an interval of seeds and rows speaks of \
             other rows of the same population, too. No interval covers another population, period or train set.",
            number::count(seeds as u64, "seed")
        )),
        Block::Table(grid),
    ];
    if source.is_baseline() {
        blocks.push(Block::Text("This model is the baseline of the sweep.".to_owned()));
    }
    Some(Chapter::new("Results", blocks))
}
