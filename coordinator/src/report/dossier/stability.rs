//! How results vary between seeds.

use super::{Block, Chapter, DossierSource, table};
use crate::report::{glossary::title, number, statistics::prediction};

pub(super) fn chapter(source: &DossierSource<'_>) -> Option<Chapter> {
    let DossierSource { report, cell, trial, .. } = source;
    let axes = source.axes()?;
    let shown = [axes.y.clone(), axes.test(), axes.x.clone()];
    let mut columns = vec!["seed".to_owned()];
    columns.extend(shown.iter().map(|quantity| format!("#{}", title(quantity))));
    columns.push("outcome".to_owned());
    let mut grid = table(&columns.iter().map(String::as_str).collect::<Vec<_>>());
    for other in report.trials.iter().filter(|other| other.cell == cell.id) {
        let mark = if other.id == trial.id { " (this model)" } else { "" };
        let mut row = vec![format!("{}{mark}", other.seed)];
        row.extend(shown.iter().map(|quantity| {
            other.value(quantity).map_or_else(|| "–".to_owned(), |value| number::of_metric(quantity.metric(), value))
        }));
        row.push(other.outcome.clone());
        grid.rows.push(row);
    }
    let mut spread = table(&["metric", "#mean", "#sd", "#lowest", "#highest", "#95 % of single seeds"]);
    for quantity in &shown {
        let Some(summary) = cell.summary(quantity) else { continue };
        let values = source.sample(cell, quantity);
        let text = |value: f64| number::of_metric(quantity.metric(), value);
        let end = |fold: fn(f64, f64) -> f64| values.values().copied().reduce(fold);
        let single = prediction(&summary, quantity.range_of(report.task()));
        spread.rows.push(vec![
            title(quantity),
            text(summary.mean),
            summary.sd.map_or_else(|| "–".to_owned(), |sd| number::fixed(sd, quantity.metric().decimals() + 1)),
            end(f64::min).map_or_else(|| "–".to_owned(), text),
            end(f64::max).map_or_else(|| "–".to_owned(), text),
            single.map_or_else(|| "–".to_owned(), |[low, high]| format!("{} to {}", text(low), text(high))),
        ]);
    }
    let mut blocks = vec![
        Block::Text(
            "One net is deployed, not the mean of a cell. The last column is where 95 % of single nets of other seeds are expected, on the \
             same rows (Student's prediction interval: mean ± t · sd · √(1 + 1/n)). With few seeds it is wide."
                .to_owned(),
        ),
        Block::Table(spread),
        Block::Table(grid),
    ];
    if let Some(periods) = &report.data.periods {
        blocks.push(Block::Heading("Over time"));
        blocks.push(Block::Text(format!(
            "Validation rows are later than train rows by {}, and test rows are later than both. The difference between validation and test \
             includes the change of the population between these periods. Each period is one sample: no interval covers further ones.",
            periods.column
        )));
    }
    Some(Chapter::new("Stability", blocks))
}
