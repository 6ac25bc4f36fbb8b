//! Explains how a trial ended, and how its cell compares with others.

use std::collections::{BTreeMap, HashMap};

use secateur_proto::{ids::CellId, outcome::StageOutcome};

use super::{super::answers::Answer, worker::named};
use crate::{
    experiment::{plan::Trial, summary::counted},
    report::{CellReport, Report},
    scheduler::{Core, FailedAttempt, StageDetail, StageStatus},
};

/// What a report says about each cell: its label and its place relative to the front.
#[derive(Debug)]
pub(super) struct Cells(BTreeMap<CellId, Cell>);

#[derive(Debug)]
pub(super) struct Cell {
    pub(super) label: String,
    pub(super) standing: String,
}

impl Cells {
    pub(super) fn of(report: &Report) -> Self {
        let labels = report.cell_labels();
        let by_id: HashMap<&CellId, &CellReport> = report.cells.iter().map(|cell| (&cell.id, cell)).collect();
        let cells = report.cells.iter().map(|cell| {
            let standing = match (&cell.reason, cell.dominated_by.first().and_then(|id| by_id.get(id))) {
                _ if cell.on_front => "its cell is on the front".to_owned(),
                _ if cell.control => "its cell is a control, which is never on the front".to_owned(),
                (_, Some(better)) => format!(
                    "its cell is not on the front: {} is at least as good in every objective, and better in one, on validation means",
                    labels.of(better)
                ),
                (Some(reason), None) => format!("its cell is not on the front: {reason}"),
                (None, None) => "its cell is not on the front".to_owned(),
            };
            (cell.id.clone(), Cell { label: labels.of(cell), standing })
        });
        Self(cells.collect())
    }

    pub(super) fn get(&self, cell: &CellId) -> Option<&Cell> {
        self.0.get(cell)
    }
}

impl Answer for Cells {
    fn size(&self) -> usize {
        let cells = self.0.iter();
        cells.map(|(id, cell)| 128 + id.as_str().len() + cell.label.len() + cell.standing.len()).sum()
    }
}

/// Sentences about the stages of a trial.
pub(super) fn stages(core: &Core, trial: &Trial) -> Vec<String> {
    let mut lines = vec![];
    for key in &trial.stages {
        let Some(detail) = core.stage_detail(key) else { continue };
        let Some(planned) = core.stage_with_inputs(key) else { continue };
        lines.push(format!("{} {}: {}", planned.spec.kind(), key.0.short(12), stage(core, &detail)));
        lines.extend(detail.attempts.iter().map(attempt));
    }
    lines
}

fn stage(core: &Core, detail: &StageDetail) -> String {
    let now = match &detail.status {
        StageStatus::Waiting { missing } => format!("waits for {}", counted(*missing as usize, "stage")),
        StageStatus::Parked => "not needed by any running sweep".to_owned(),
        StageStatus::Ready if detail.drains => "ready, but its sweep is draining".to_owned(),
        StageStatus::Ready if core.waits_for_workers() => {
            "ready; the coordinator has just started and waits for its workers to reconnect".to_owned()
        }
        StageStatus::Ready if core.is_full() => {
            "ready; held until the coordinator has disk space for results".to_owned()
        }
        StageStatus::Ready => "ready; waits for a slot".to_owned(),
        StageStatus::Leased { attempt, .. } => {
            let worker = detail.worker.as_ref().and_then(|id| core.workers().find(|status| status.id == *id));
            format!("attempt {attempt} is on worker {}", worker.map_or_else(|| "?".to_owned(), |status| named(&status)))
        }
        StageStatus::Ended(StageOutcome::Completed(_)) => "completed".to_owned(),
        StageStatus::Ended(StageOutcome::Diverged { step }) => {
            format!("diverged: a value was not finite at step {step}; a smaller learning rate may help")
        }
        StageStatus::Ended(StageOutcome::Collapsed { layer }) => {
            format!("collapsed: layer {layer} would keep no weights; prune less, penalise less, or exclude the layer")
        }
        StageStatus::Ended(StageOutcome::Failed(failure)) => {
            format!("failed ({}): {}", failure.class.name(), failure.message)
        }
        StageStatus::Ended(StageOutcome::Cancelled) => "cancelled".to_owned(),
    };
    let alone = match detail.width_limit {
        _ if matches!(detail.status, StageStatus::Ended(_)) => "",
        Some(1) => "; it now runs alone",
        Some(_) => "; it now runs in narrower bundles",
        None => "",
    };
    let now = match detail.checkpoint {
        Some(checkpoint) => format!("{now}; checkpoint at epoch {}", checkpoint.epoch),
        None => now,
    };
    match detail.failed_attempts {
        0 => now,
        // The final failure is not counted among them.
        before if matches!(detail.status, StageStatus::Ended(StageOutcome::Failed(_))) => {
            format!("{now} ({} before that)", counted(before as usize, "failed attempt"))
        }
        attempts => format!("{now} ({} failed{alone})", counted(attempts as usize, "attempt")),
    }
}

fn attempt(attempt: &FailedAttempt) -> String {
    let company = match attempt.lanes {
        0 | 1 => "alone".to_owned(),
        lanes => format!("in a bundle of {lanes}"),
    };
    let worker = attempt.worker.as_deref().unwrap_or("a worker");
    format!("  an attempt {company} on {worker} failed ({}): {}", attempt.failure.class.name(), attempt.failure.message)
}
