//! Why things are as they are, in sentences: why a sweep waits, how a trial came to its end, what a worker does. Reads the core and a
//! report, and changes nothing; it knows nothing of gRPC.

use std::{cmp::Ordering, collections::BTreeMap};

use secateur_proto::{
    ids::{StageKey, SweepId, TrialId, WorkerId},
    outcome::StageOutcome,
};

use crate::{
    experiment::summary::counted,
    report::Report,
    scheduler::{Core, FailedAttempt, StageDetail, StageStatus, SweepState, SweepStatus, TrialStatus, WorkerStatus},
};

/// Kinds of failure that are named one by one.
const MOST_FAILURES: usize = 10;

/// Why a sweep is where it is; nothing if there is no such sweep.
#[must_use]
pub fn sweep(core: &Core, id: &SweepId) -> Option<Vec<String>> {
    let status = core.sweep(id)?;
    let plan = core.plan(id)?;
    let mut lines = vec![format!(
        "sweep {} is {}: {} of {} trials completed, {} ended otherwise",
        status.name,
        if status.share.drains { "draining" } else { status.state.name() },
        status.trials_completed,
        status.trials,
        status.trials_failed
    )];
    match &status.state {
        SweepState::Stopped { reason } => {
            lines.push(format!("it was stopped: {reason}; submit it again to go on"));
        }
        SweepState::Cancelled => lines.push("a person gave it up; submit it again to go on".to_owned()),
        SweepState::Running if status.share.drains => {
            let stages = counted(usize::try_from(status.stages_leased).unwrap_or(usize::MAX), "stage");
            lines.push(if core.waits_for_workers() {
                "it is cancelled once what workers hold of it has ended; the coordinator has just begun, and waits for them to say so".to_owned()
            } else {
                format!("nothing more of it is handed out: {stages} under way, and once they have ended it is cancelled")
            });
            lines.push("submit it again to let it go on".to_owned());
        }
        SweepState::Running => {
            lines.extend(status.held.as_ref().map(|held| format!("nothing more of it is handed out: {held}")));
            lines.extend(why_it_waits(core, &status, plan.keys()));
        }
        SweepState::Completed => {}
    }
    lines.extend(failures(core, id));
    let mut ended: BTreeMap<&str, (usize, TrialId)> = BTreeMap::new();
    for (trial, now) in core.trials(id)? {
        if let TrialStatus::Ended(outcome @ (StageOutcome::Diverged { .. } | StageOutcome::Collapsed { .. })) = now {
            ended.entry(outcome.name()).or_insert_with(|| (0, trial.id.clone())).0 += 1;
        }
    }
    for (name, (count, first)) in ended {
        lines.push(format!("{} {name}, which is their result: {first} for one", counted(count, "trial")));
    }
    Some(lines)
}

fn why_it_waits(core: &Core, sweep: &SweepStatus, stages: impl Iterator<Item = StageKey>) -> Vec<String> {
    let (mut ready, mut waiting) = (0, 0);
    let mut held: BTreeMap<WorkerId, usize> = BTreeMap::new();
    for detail in stages.filter_map(|key| core.stage_detail(&key)) {
        match (detail.status, detail.worker) {
            (StageStatus::Ready, _) => ready += 1,
            (StageStatus::Waiting { .. }, _) => waiting += 1,
            (StageStatus::Leased { .. }, Some(worker)) => *held.entry(worker).or_default() += 1,
            _ => {}
        }
    }
    let workers: Vec<WorkerStatus> = core.workers().collect();
    let mut lines = vec![];
    for (worker, count) in held {
        let status = workers.iter().find(|status| status.id == worker);
        let name = status.map_or_else(|| worker.to_string(), named);
        let away = if status.is_some_and(|status| status.away) {
            ", whose connection broke and who is waited for"
        } else {
            ""
        };
        lines.push(format!("{} with worker {name}{away}", clause(count, "stage is", "stages are")));
    }
    for worker in &workers {
        if let Some(reason) = &worker.quarantined {
            lines.push(format!("worker {} gets nothing for a while: {reason}", named(worker)));
        }
    }
    if ready > 0 {
        let stages = clause(ready, "stage is ready", "stages are ready");
        let (slots, busy) = workers
            .iter()
            .filter(|status| !status.away && status.quarantined.is_none())
            .fold((0, 0), |(slots, busy), status| (slots + status.slots, busy + status.busy_slots));
        lines.push(if core.waits_for_workers() {
            format!("{stages}; the coordinator has just begun, and waits for workers to say what they hold")
        } else if core.is_full() {
            format!("{stages}; workers keep their results until the coordinator has room for them")
        } else if slots == 0 {
            format!("{stages}, and no worker is attached that takes work: start one with secateur worker --coordinator ADDRESS:PORT")
        } else if sweep.at_limit {
            let workers = clause(sweep.workers, "worker it may have is", "workers it may have are");
            format!("{stages}, and the {workers} at it; `secateur share {} --max-workers 0` lifts the limit", sweep.id)
        } else if busy == slots {
            let slots = format!("{stages}, and all {slots} slots of {} are busy", counted(workers.len(), "worker"));
            let others = core.sweeps().filter(|other| other.state == SweepState::Running && other.id != sweep.id);
            let (first, equal) =
                others.fold((0, 0), |(first, equal), other| match other.share.priority.cmp(&sweep.share.priority) {
                    Ordering::Greater => (first + 1, equal),
                    Ordering::Equal => (first, equal + 1),
                    Ordering::Less => (first, equal),
                });
            match (first, equal) {
                (0, 0) => slots,
                (0, equal) => format!("{slots}, which it shares with {}", counted(equal, "other sweep")),
                (first, _) => format!("{slots}; {} of a higher priority", clause(first, "sweep is", "sweeps are")),
            }
        } else if let Some(resting) = workers.iter().find(|status| status.rests) {
            format!("{stages}: what failed on worker {} is tried there again in a moment, if no other one takes it", named(resting))
        } else {
            format!("{stages}, and {busy} of {slots} slots are busy: the others get none, or are measured first")
        });
    }
    if waiting > 0 {
        lines.push(format!("{} for others, which they read", clause(waiting, "stage waits", "stages wait")));
    }
    lines
}

/// What stages of a sweep failed with, the most frequent first.
fn failures(core: &Core, id: &SweepId) -> Vec<String> {
    let mut by_failure: BTreeMap<(&str, String), (usize, StageKey)> = BTreeMap::new();
    for key in core.failed(id).unwrap_or_default() {
        if let Some(StageOutcome::Failed(failure)) = core.outcome(&key) {
            let entry = by_failure.entry((failure.class.name(), failure.message)).or_insert((0, key));
            entry.0 += 1;
        }
    }
    if by_failure.is_empty() {
        return vec![];
    }
    let mut kinds: Vec<_> = by_failure.into_iter().collect();
    kinds.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let left_out = kinds.len().saturating_sub(MOST_FAILURES);
    let mut lines: Vec<String> = (kinds.into_iter().take(MOST_FAILURES))
        .map(|((class, message), (count, key))| {
            format!("{} failed ({class}; {}): {message}", counted(count, "stage"), key.0.short(12))
        })
        .collect();
    if left_out > 0 {
        lines.push(format!("and {left_out} other failures"));
    }
    lines.push(format!("once their cause is gone: secateur retry {id}"));
    lines
}

/// How a trial of a sweep came to where it is, stage by stage, and how its cell stands; nothing if the sweep has no such trial.
#[must_use]
pub fn trial(core: &Core, id: &SweepId, trial: &TrialId, report: &Report) -> Option<Vec<String>> {
    let plan = core.plan(id)?;
    let planned = plan.trial(plan.find_trial(trial)?);
    let labels = report.cell_labels();
    let cell = report.cell(&planned.cell);
    let label = cell.map(|cell| labels.of(cell)).unwrap_or_default();
    let (name, seed) = (&plan.sweep.name, planned.seed);
    let mut lines = vec![format!("trial {trial} of sweep {name} ({id}): {label}, seed {seed}")];
    for key in &planned.stages {
        let Some(detail) = core.stage_detail(key) else { continue };
        let Some(planned) = core.stage_with_inputs(key) else { continue };
        lines.push(format!("{} {}: {}", planned.spec.kind(), key.0.short(12), stage(core, &detail)));
        lines.extend(detail.attempts.iter().map(attempt));
    }
    if let Some(cell) = cell {
        lines.push(match (&cell.reason, cell.dominated_by.first().and_then(|id| report.cell(id))) {
            _ if cell.on_front => "its cell is on the front".to_owned(),
            _ if cell.control => "its cell is a control, which is never on the front".to_owned(),
            (_, Some(better)) => format!(
                "its cell is not on the front: {} is at least as good in every objective, and better in one, on validation means",
                labels.of(better)
            ),
            (Some(reason), None) => format!("its cell is not on the front: {reason}"),
            (None, None) => "its cell is not on the front".to_owned(),
        });
    }
    Some(lines)
}

fn stage(core: &Core, detail: &StageDetail) -> String {
    let now = match &detail.status {
        StageStatus::Waiting { missing } => format!("waits for {}", counted(*missing as usize, "stage")),
        StageStatus::Parked => "could run, and no running sweep wants it".to_owned(),
        StageStatus::Ready if detail.drains => "could run, and nothing more of its sweep is handed out".to_owned(),
        StageStatus::Ready if core.waits_for_workers() => {
            "ready; the coordinator has just begun, and waits for workers to say what they hold".to_owned()
        }
        StageStatus::Ready if core.is_full() => "ready; it waits until the coordinator has room for results".to_owned(),
        StageStatus::Ready => "ready; it waits for a slot".to_owned(),
        StageStatus::Leased { attempt, .. } => {
            let worker = detail.worker.as_ref().and_then(|id| core.workers().find(|status| status.id == *id));
            format!(
                "attempt {attempt} is with worker {}",
                worker.map_or_else(|| "?".to_owned(), |status| named(&status))
            )
        }
        StageStatus::Ended(StageOutcome::Completed(_)) => "completed".to_owned(),
        StageStatus::Ended(StageOutcome::Diverged { step }) => {
            format!("diverged: step {step} met a number that is not finite; a smaller learning rate may help")
        }
        StageStatus::Ended(StageOutcome::Collapsed { layer }) => {
            format!("collapsed: nothing would be left of layer {layer}; prune less, penalise less, or spare it")
        }
        StageStatus::Ended(StageOutcome::Failed(failure)) => {
            format!("failed ({}): {}", failure.class.name(), failure.message)
        }
        StageStatus::Ended(StageOutcome::Cancelled) => "cancelled".to_owned(),
    };
    let alone = match detail.width_limit {
        _ if matches!(detail.status, StageStatus::Ended(_)) => "",
        Some(1) => ", and it runs alone now",
        Some(_) => ", and it runs in narrower company now",
        None => "",
    };
    let now = match detail.checkpoint {
        Some(checkpoint) => format!("{now}; a checkpoint of epoch {} is kept", checkpoint.epoch),
        None => now,
    };
    match detail.failed_attempts {
        0 => now,
        // What it ended with is none of them.
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

/// What a worker does.
#[must_use]
pub fn worker(core: &Core, status: &WorkerStatus) -> Vec<String> {
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

fn named(status: &WorkerStatus) -> String {
    format!("{} ({})", status.name, status.id)
}

fn clause(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
