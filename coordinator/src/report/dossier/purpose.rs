//! What the model is for, and what the change is.

use super::{Block, Chapter, DossierSource};
use crate::{experiment::purpose, report::label::Labels};

const GUIDANCE: &str = "The chapters follow what guidance on model risk management asks documentation for: SR 26-2 of April 2026, and SR 11-7 \
    of 2011, the legacy guidance. This dossier was made from the records of one sweep. It does not claim compliance with either.";

pub(super) fn chapter(source: &DossierSource<'_>) -> Option<Chapter> {
    let DossierSource { report, cell, .. } = source;
    let labels = Labels::of(report);
    let mut blocks = match purpose(&report.sweep.file_text) {
        Some(purpose) => vec![Block::Text(purpose)],
        None => vec![Block::Blank("Purpose: which decision the model supports, for which product and population")],
    };
    let target = source.data().and_then(|data| data.target.as_ref());
    let what = match (report.data.positive(), target) {
        (Some(positive), Some(target)) => format!("the probability that {target} is {}", positive.name),
        (Some(positive), None) => format!("the probability of the label {}", positive.name),
        (None, Some(target)) => format!("the probability of each of {} values of {target}", report.data.classes.len()),
        (None, None) => format!("the probability of each of {} classes", report.data.classes.len()),
    };
    blocks.push(Block::Text(format!("The model is a {} that gives {what}.", source.kind())));
    if let Some(baseline) = report.baseline_cell().filter(|_| !source.is_baseline()) {
        blocks.push(Block::Text(format!(
            "The change: the model {} in place of {}, which this dossier calls the baseline.",
            labels.cell(cell),
            labels.cell(baseline)
        )));
    }
    blocks.push(Block::Blank("Model in use today, its owner, and its identifier in the model inventory"));
    blocks.push(Block::Blank("Materiality of the decision, users, and when the model must not be used"));
    blocks.push(Block::Text(GUIDANCE.to_owned()));
    Some(Chapter::new("Purpose", blocks))
}
