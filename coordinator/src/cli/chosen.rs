//! Which trial a command is about: one that it names, or one of a cell.

use secateur_proto::metrics::Direction;

use super::{error::CliError, saved::SavedRun};
use crate::report::{Report, TrialReport};

/// A trial, and why it and no other of its cell.
#[derive(Debug, Clone)]
pub(crate) struct Chosen<'a> {
    pub(crate) trial: &'a TrialReport,
    pub(crate) why: String,
}

impl<'a> Chosen<'a> {
    /// The trial, or the best seed of the cell, of that name.
    ///
    /// # Errors
    /// If there is none, or it has no result.
    pub(crate) fn named(run: &'a SavedRun, name: &str) -> Result<Self, CliError> {
        if run.report.cells.iter().any(|cell| cell.id.as_str() == name) {
            return Self::of_cell(&run.report, name);
        }
        Ok(Self { trial: run.trial(name)?, why: "It was named in the command.".to_owned() })
    }

    /// The best seed of the cell that the report's findings recommend.
    ///
    /// # Errors
    /// If they recommend none.
    pub(crate) fn headline(report: &'a Report) -> Result<Self, CliError> {
        if let Some(cell) = report.headline() {
            return Self::of_cell(report, cell.id.as_str());
        }
        let baseline = report.baseline.as_ref();
        let others = baseline.map(|baseline| {
            [
                ("the smallest whose own interval is within the margin", &baseline.smallest_unadjusted),
                ("the nearest", &baseline.nearest),
            ]
        });
        let others: Vec<String> = others
            .into_iter()
            .flatten()
            .filter_map(|(what, cell)| Some(format!("{} ({what})", cell.as_ref()?)))
            .collect();
        let others = if others.is_empty() { String::new() } else { format!(", such as {}", others.join(" or ")) };
        Err(CliError::Input(format!(
            "the report recommends no cell, because none is shown to lose less than the margin: name a trial or a cell{others}"
        )))
    }

    /// The seed of a cell with the best validation result. The test rows choose nothing, so that what is said of them stays true.
    ///
    /// # Errors
    /// If no trial of the cell has completed.
    pub(crate) fn of_cell(report: &'a Report, cell: &str) -> Result<Self, CliError> {
        let completed =
            report.trials.iter().filter(|trial| trial.cell.as_str() == cell && trial.outcome == "completed");
        let mut trials: Vec<&TrialReport> = completed.collect();
        let objective = report.objectives.iter().find(|objective| !objective.quantity.metric().is_of_net());
        let value = |trial: &TrialReport| objective.and_then(|objective| trial.value(&objective.quantity));
        if let Some(objective) = objective {
            // The sort is stable: of equal values the first seed wins.
            trials.sort_by(|one, two| {
                let (one, two) = (value(one).unwrap_or(f64::NAN), value(two).unwrap_or(f64::NAN));
                match objective.direction {
                    Direction::Maximize => two.total_cmp(&one),
                    Direction::Minimize => one.total_cmp(&two),
                }
            });
            trials.sort_by_key(|trial| value(trial).is_none());
        }
        let trial =
            *trials.first().ok_or_else(|| CliError::Input(format!("no trial of the cell {cell} has completed")))?;
        let why = match (objective, value(trial)) {
            (Some(objective), Some(value)) => format!(
                "Of {} seeds of its cell it has the best {} ({value:.4}). Test rows chose nothing.",
                trials.len(),
                objective.quantity
            ),
            _ => "It is the first seed of its cell that completed.".to_owned(),
        };
        Ok(Self { trial, why })
    }

    /// What the names of its files begin with. A sweep's id is a hash of its file and its data, so nets of two inventories never share a
    /// name.
    pub(crate) fn stem(&self, report: &Report) -> String {
        format!("{}-{}-{}", report.sweep.name, report.sweep.id, self.trial.id)
    }
}
