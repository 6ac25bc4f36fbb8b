//! The parts of a sweep that was extended: what came with which. Of a sweep that was not extended nothing is said.

use std::collections::{BTreeMap, BTreeSet};

use secateur_proto::ids::{CellId, ContentHash};
use time::OffsetDateTime;

use super::{
    model::{CellReport, PartReport, Report, TrialReport},
    number,
};

/// A part of a sweep's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    /// Of the bytes of its file.
    pub file_hash: ContentHash,
    /// When the sweep was submitted with it, or extended by it, in milliseconds of Unix time.
    pub added_at_ms: Option<u64>,
    /// How many trials it added.
    pub trials: usize,
}

/// Notes at each trial, and at each cell, the part that it came with. Trials are in the order of the parts.
pub(super) fn mark(parts: &[PartInfo], cells: &mut [CellReport], trials: &mut [TrialReport]) -> Vec<PartReport> {
    if parts.len() < 2 {
        return Vec::new();
    }
    let of_trials = (1_u32..).zip(parts).flat_map(|(number, part)| std::iter::repeat_n(number, part.trials));
    let mut of_cells: BTreeMap<CellId, u32> = BTreeMap::new();
    for (trial, part) in trials.iter_mut().zip(of_trials) {
        trial.part = Some(part);
        of_cells.entry(trial.cell.clone()).or_insert(part);
    }
    for cell in cells {
        cell.part = of_cells.get(&cell.id).copied();
    }
    let report = |(number, part): (u32, &PartInfo)| PartReport {
        number,
        added_at_ms: part.added_at_ms,
        file_hash: part.file_hash,
        cells: of_cells.values().filter(|of| **of == number).count() as u64,
        trials: part.trials as u64,
    };
    (1..).zip(parts).map(report).collect()
}

/// How old the trials are, an extension a sentence.
pub(super) fn sentences(report: &Report) -> Vec<String> {
    let all: u64 = report.parts.iter().map(|part| part.trials).sum();
    let mut before = 0;
    let mut sentences = Vec::new();
    for pair in report.parts.windows(2) {
        before += pair[0].trials;
        let part = &pair[1];
        let when = part.added_at_ms.and_then(date).map(|date| format!(" on {date}")).unwrap_or_default();
        sentences.push(format!(
            "{} of {} were in the sweep before it was extended{when} (part {}).",
            number::grouped(before),
            number::count(all, "trial"),
            part.number
        ));
    }
    sentences
}

/// The day in UTC.
fn date(unix_ms: u64) -> Option<String> {
    let seconds = i64::try_from(unix_ms / 1000).ok()?;
    Some(OffsetDateTime::from_unix_timestamp(seconds).ok()?.date().to_string())
}

/// Of each cell the parts that its trials came with, such as `1, 2`.
pub(super) fn of_cells(report: &Report) -> BTreeMap<&CellId, String> {
    let mut parts: BTreeMap<&CellId, BTreeSet<u32>> = BTreeMap::new();
    for trial in &report.trials {
        parts.entry(&trial.cell).or_default().extend(trial.part);
    }
    let joined = |parts: BTreeSet<u32>| parts.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    parts.into_iter().map(|(cell, parts)| (cell, joined(parts))).collect()
}
