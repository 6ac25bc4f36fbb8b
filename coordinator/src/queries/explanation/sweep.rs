//! Explains why a sweep waits, and its results so far.

use std::{cmp::Ordering, collections::BTreeMap};

use secateur_proto::{
    ids::{StageKey, SweepId, TrialId},
    outcome::StageOutcome,
};

use super::{clause, worker::named};
use crate::{
    experiment::summary::counted,
    scheduler::{Core, StageCounts, StageFailure, SweepResults, SweepState, SweepStatus, WorkerStatus},
};

/// The maximum number of kinds of failure that are listed.
const MOST_FAILURES: usize = 10;

/// The data behind the sentences about a sweep at one moment. Cheap to take; the sentences are made elsewhere.
#[derive(Debug)]
pub(crate) struct Standing {
    status: SweepStatus,
    counts: StageCounts,
    workers: Vec<WorkerStatus>,
    /// The priorities of other running sweeps.
    others: Vec<i32>,
    failures: Vec<StageFailure>,
    results: SweepResults,
    waits_for_workers: bool,
    is_full: bool,
}

impl Standing {
    /// Takes the data of a sweep, or `None` if there is no such sweep.
    pub(crate) fn of(core: &Core, id: &SweepId) -> Option<Self> {
        let others = core.sweeps().filter(|other| other.state == SweepState::Running && other.id != *id);
        Some(Self {
            status: core.sweep(id)?,
            counts: core.stage_counts(id)?,
            workers: core.workers().collect(),
            others: others.map(|other| other.share.priority).collect(),
            failures: core.failures(id)?,
            results: core.results(id)?,
            waits_for_workers: core.waits_for_workers(),
            is_full: core.is_full(),
        })
    }

    /// Sentences that explain the state of the sweep.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let status = &self.status;
        let mut lines = vec![format!(
            "sweep {} is {}: {} of {} trials completed, {} without a result",
            status.name,
            if status.share.drains { "draining" } else { status.state.name() },
            status.trials_completed,
            status.trials,
            status.trials_failed
        )];
        match &status.state {
            SweepState::Stopped { reason } => {
                lines.push(format!("it was stopped: {reason}; submit it again to resume"));
            }
            SweepState::Cancelled => lines.push("it was cancelled; submit it again to resume".to_owned()),
            SweepState::Running if status.share.drains => {
                let stages = counted(usize::try_from(status.stages_leased).unwrap_or(usize::MAX), "stage");
                lines.push(if self.waits_for_workers {
                    "it is cancelled once its running stages have finished; the coordinator has just started and waits for its workers"
                        .to_owned()
                } else {
                    format!(
                        "it is cancelled once its running stages have finished: {stages} left"
                    )
                });
                lines.push("submit it again to resume".to_owned());
            }
            SweepState::Running => {
                lines.extend(status.held.as_ref().map(|held| format!("it is held: {held}")));
                lines.extend(self.why_it_waits());
            }
            SweepState::Completed => {}
        }
        lines.extend(self.failures());
        let mut ended: BTreeMap<&str, (usize, TrialId)> = BTreeMap::new();
        for (trial, outcome) in self.results.trial_ids().zip(self.results.outcomes()) {
            if let Some(outcome @ (StageOutcome::Diverged { .. } | StageOutcome::Collapsed { .. })) = outcome {
                ended.entry(outcome.name()).or_insert((0, trial)).0 += 1;
            }
        }
        for (name, (count, first)) in ended {
            lines.push(format!("{} {name}, for example {first}; that is their result", counted(count, "trial")));
        }
        lines
    }

    fn why_it_waits(&self) -> Vec<String> {
        let Self { counts: StageCounts { ready, waiting, leased }, workers, .. } = self;
        let (ready, waiting) = (*ready, *waiting);
        let mut lines = vec![];
        for (worker, count) in leased {
            let status = workers.iter().find(|status| status.id == *worker);
            let name = status.map_or_else(|| worker.to_string(), named);
            let away =
                if status.is_some_and(|status| status.away) { ", which is disconnected and may reconnect" } else { "" };
            lines.push(format!("{} on worker {name}{away}", clause(*count, "stage is", "stages are")));
        }
        for worker in workers {
            if let Some(by) = &worker.cordoned_by {
                lines.push(format!("worker {} is cordoned by {by}", named(worker)));
            } else if let Some(reason) = &worker.quarantined {
                lines.push(format!("worker {} is quarantined: {reason}", named(worker)));
            }
        }
        if ready > 0 {
            lines.push(self.why_nothing_more_runs(ready));
        }
        if waiting > 0 {
            lines.push(format!("{} for the results of others", clause(waiting, "stage waits", "stages wait")));
        }
        lines
    }

    /// Why ready stages are not leased.
    fn why_nothing_more_runs(&self, ready: usize) -> String {
        let Self { status: sweep, workers, .. } = self;
        let stages = clause(ready, "stage is ready", "stages are ready");
        if self.waits_for_workers {
            return format!("{stages}; the coordinator has just started and waits for its workers to reconnect");
        }
        if self.is_full {
            return format!("{stages}; work is held until the coordinator has disk space for results");
        }
        let working = workers.iter().filter(|status| status.takes_work());
        let (slots, busy) =
            working.fold((0, 0), |(slots, busy), status| (slots + status.slots, busy + status.busy_slots));
        if slots == 0 {
            return format!(
                "{stages}, but no worker is available: start one with secateur worker --coordinator ADDRESS:PORT"
            );
        }
        if sweep.at_limit {
            let workers = counted(sweep.workers, "worker");
            return format!(
                "{stages}, but the sweep uses its limit of {workers}; `secateur share {} --max-workers 0` removes the limit",
                sweep.id
            );
        }
        if busy == slots {
            let slots = format!("{stages}, but no slot is free ({slots} busy on {})", counted(workers.len(), "worker"));
            let others = |priority: Ordering| {
                self.others.iter().filter(|other| other.cmp(&&sweep.share.priority) == priority).count()
            };
            return match (others(Ordering::Greater), others(Ordering::Equal)) {
                (0, 0) => slots,
                (0, equal) => format!("{slots}; it shares them with {}", counted(equal, "other sweep")),
                (first, _) => format!("{slots}; {} a higher priority", clause(first, "sweep has", "sweeps have")),
            };
        }
        if let Some(resting) = workers.iter().find(|status| status.rests) {
            let worker = named(resting);
            return format!(
                "{stages}: failed stages are retried on worker {worker} in a moment, unless another worker takes them"
            );
        }
        format!("{stages}, and {busy} of {slots} slots are busy; the others are about to get work or measure first")
    }

    /// The failures of stages of a sweep, the most frequent first.
    fn failures(&self) -> Vec<String> {
        let mut by_failure: BTreeMap<(&str, &str), (usize, StageKey)> = BTreeMap::new();
        for failed in &self.failures {
            let failure = failed.failure();
            by_failure.entry((failure.class.name(), &failure.message)).or_insert((0, failed.stage)).0 += 1;
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
            lines.push(format!("and {left_out} other kinds of failure"));
        }
        lines.push(format!("once the cause is fixed: secateur retry {}", self.status.id));
        lines
    }
}
