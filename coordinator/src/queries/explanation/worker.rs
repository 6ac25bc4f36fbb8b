//! Explains what a worker does.

use super::clause;
use crate::{
    experiment::summary::counted,
    scheduler::{Core, WorkerStatus},
};

/// Sentences about a worker.
pub(crate) fn sentences(core: &Core, status: &WorkerStatus) -> Vec<String> {
    let mut lines = vec![format!(
        "worker {} on {}: {} of {} slots busy with {}, {} completed since it attached to this coordinator",
        named(status),
        status.device,
        status.busy_slots,
        status.slots,
        counted(status.leased_stages as usize, "stage"),
        counted(usize::try_from(status.stages_completed).unwrap_or(usize::MAX), "stage")
    )];
    if status.away {
        lines.push("it is disconnected; its leases are kept until it reconnects or times out".to_owned());
    } else if status.leaving {
        lines.push("it gets no more work: it is draining, or it returned a lease that was not revoked".to_owned());
    } else if let Some(by) = &status.cordoned_by {
        lines.push(format!(
            "it gets no more work: {by} cordoned it; `secateur workers uncordon {}` ends that",
            status.name
        ));
    } else if let Some(reason) = &status.quarantined {
        lines.push(format!(
            "it is quarantined: {reason}; `secateur workers uncordon {}` or a restart ends the quarantine",
            status.name
        ));
    } else if core.is_full() {
        lines.push(
            "work is held: the coordinator has no disk space for results; workers keep theirs and count as busy"
                .to_owned(),
        );
    } else if status.busy_slots < status.slots {
        lines.push(match core.ready_stages() {
            0 => "slots are free because no stage is ready".to_owned(),
            _ if core.waits_for_workers() => {
                "slots are free because the coordinator has just started and waits for its workers to reconnect"
                    .to_owned()
            }
            _ if status.rests => {
                "slots are free because failed stages are retried on it in a moment, unless another worker takes them"
                    .to_owned()
            }
            ready => {
                let stages = clause(ready, "stage is ready", "stages are ready");
                format!("slots are free although {stages}: it is about to get work or measures first")
            }
        });
    }
    for (class, lanes, rate) in &status.measured {
        lines
            .push(format!("nets like {class}: {} at a time, {rate:.0} lane-steps/s", counted(*lanes as usize, "lane")));
    }
    lines
}

/// A worker's name and id.
pub(super) fn named(status: &WorkerStatus) -> String {
    format!("{} ({})", status.name, status.id)
}
