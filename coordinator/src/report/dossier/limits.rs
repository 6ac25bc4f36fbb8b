//! What the results do not show.

use secateur_proto::metrics::Split;

use super::{Block, Chapter, DossierSource};
use crate::report::{
    model::{Report, TrialReport},
    number,
};

/// What is not known of a net, in sentences.
#[must_use]
pub fn limits(report: &Report, trial: &TrialReport) -> Vec<String> {
    let [train, _, test] = report.data.rows.map(number::grouped);
    let mut limits = vec![
        format!("It knows what {train} train rows showed. Its metrics are those of {test} test rows from the same table."),
        "Numbers outside of the train range, unseen levels and unexpected missing values are scored all the same; `secateur score` names \
         them row by row."
            .to_owned(),
        "Probabilities are the net's own. Calibrate them if base rates change; `ece` says how far they are off on test.".to_owned(),
    ];
    if report.data.periods.is_none() {
        limits.push("The split is not by time: a change of the population over time is not measured.".to_owned());
    }
    if !trial.quantities.keys().any(|quantity| quantity.column().is_some()) {
        limits.push("Nothing was measured by group (`data.groups`).".to_owned());
    }
    limits
}

pub(super) fn chapter(source: &DossierSource<'_>) -> Option<Chapter> {
    let DossierSource { report, trial, cell, .. } = source;
    let mut items = limits(report, trial);
    let seeds = report.trials.iter().filter(|other| other.cell == cell.id && other.outcome == "completed").count();
    if seeds < 5 {
        items.push(format!(
            "Only {} completed: intervals are wide, and what they say rests on normal errors.",
            number::count(seeds as u64, "seed")
        ));
    }
    let chooses_by_test = report.constraints.iter().any(|constraint| constraint.quantity.split() == Some(Split::Test));
    let chosen =
        "The cell is one of many that were compared on validation: the best of many looks better there than it is.";
    let by = if chooses_by_test {
        "A constraint names a test result, so test rows took part in the comparison."
    } else {
        "Test rows took no part in the comparison."
    };
    items.push(format!("{chosen} {by}"));
    if seeds > 1 {
        let text =
            "If the seed of this model was chosen by its validation result, that result looks better than it is.";
        items.push(text.to_owned());
    }
    items.extend(report.cautions.iter().map(|caution| format!("Caution: {caution}.")));
    let missing = "Not part of this dossier: legal review, reasons for adverse decisions, economic value, tests of the implementation in \
                   production, and a plan for monitoring.";
    let blocks = vec![
        Block::List(items),
        Block::Text(missing.to_owned()),
        Block::Blank("Known weaknesses, overrides and compensating controls"),
        Block::Blank("Monitoring: metrics, limits, frequency, and who acts"),
    ];
    Some(Chapter::new("Limits", blocks))
}
