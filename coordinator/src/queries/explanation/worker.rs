//! What a worker does, in sentences.

use super::clause;
use crate::{
    experiment::summary::counted,
    scheduler::{Core, WorkerStatus},
};

/// What a worker does.
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
        lines.push("its connection broke; what it works on is kept for it for a while".to_owned());
    } else if status.leaving {
        lines.push("it gets no more work: it is ending, or it handed back what nobody had revoked".to_owned());
    } else if let Some(reason) = &status.quarantined {
        lines.push(format!("it gets nothing for a while: {reason}; started again, it gets work at once"));
    } else if core.is_full() {
        lines.push(
            "it gets nothing: the coordinator has no room for results, which workers keep until it has; one that keeps some counts as busy"
                .to_owned(),
        );
    } else if status.busy_slots < status.slots {
        lines.push(match core.ready_stages() {
            0 => "slots are free because no stage is ready".to_owned(),
            _ if core.waits_for_workers() => {
                "slots are free because the coordinator has just begun, and waits for workers to say what they hold"
                    .to_owned()
            }
            _ if status.rests => {
                "slots are free because what failed on it is tried there again in a moment, if no other worker takes it"
                    .to_owned()
            }
            ready => {
                let stages = clause(ready, "stage is ready", "stages are ready");
                format!("slots are free although {stages}: it is about to get some, or its nets are measured first")
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
