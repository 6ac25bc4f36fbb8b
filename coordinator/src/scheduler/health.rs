//! Workers on which one bundle after the other fails, or whose disk is full: they get nothing for a while, and a person is told. What
//! failed on a worker is tried there again after a pause alone. Volatile.
//!
//! A stage that kills whoever runs it must not bring its workers into disrepute: failures count only while the bundles that failed have
//! no stage in common.

use std::collections::BTreeSet;

use secateur_proto::outcome::{Failure, FailureClass};

use super::{
    core::{Core, Step},
    event::{Effect, Timestamp},
    stage::{StageNumber, WorkerNumber},
    workers::{Width, Worker},
};

/// So often the pause of a worker doubles.
const MOST_DOUBLINGS: u32 = 6;

/// How bundles fared on a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// Bundles in a row that failed.
    faults: u32,
    /// Their stages.
    stages: BTreeSet<StageNumber>,
    /// What the last of them failed with.
    last: Option<String>,
    /// Since when it gets nothing.
    quarantined_since: Option<Timestamp>,
    /// Whether that is since its disk is full.
    is_full: bool,
    /// When the first failure of this round was; nothing: there was none.
    rests_since: Option<Timestamp>,
    /// Rounds that ended, each so long after its first failure: what failed in one is tried again in the next.
    round: u32,
    /// Of them in a row without anything that completed.
    in_a_row: u32,
}

impl Health {
    /// Whether it gets nothing for now.
    pub(super) const fn is_quarantined(&self) -> bool {
        self.quarantined_since.is_some()
    }

    /// Why it gets nothing for now.
    pub(super) fn quarantined(&self) -> Option<String> {
        let last = self.last.as_deref().unwrap_or("nothing is known of it");
        self.is_quarantined().then(|| match self.faults {
            _ if self.is_full => format!("its disk is full: {last}"),
            0 => format!("it is not fit for what it was given: {last}"),
            1 => format!("a bundle failed on it: {last}"),
            faults => format!("{faults} bundles in a row failed on it, the last with: {last}"),
        })
    }

    /// Whether what failed on it is not to be tried on it yet.
    pub(super) const fn rests(&self) -> bool {
        self.rests_since.is_some()
    }

    /// Which round it is.
    pub(super) const fn round(&self) -> u32 {
        self.round
    }

    /// Something failed on it; the round in which that is tried on it again.
    pub(super) fn rest(&mut self, now: Timestamp) -> u32 {
        self.rests_since.get_or_insert(now);
        self.round.saturating_add(1)
    }

    /// Whether it has rested for long enough after what failed first.
    fn has_rested(&self, now: Timestamp, pause: u64) -> bool {
        let doublings = self.in_a_row.min(MOST_DOUBLINGS);
        self.rests_since.is_some_and(|since| now.since(since) >= pause << doublings)
    }

    /// Lets it have work again if it got none since its disk was full; whether that was so.
    pub(super) fn is_tried_again(&mut self) -> bool {
        let was_full = std::mem::take(&mut self.is_full);
        if was_full {
            self.quarantined_since = None;
        }
        was_full
    }

    /// Puts right when things began.
    pub(super) fn correct_times(&mut self, right: impl Fn(Timestamp) -> Timestamp) {
        self.quarantined_since = self.quarantined_since.map(&right);
        self.rests_since = self.rests_since.map(&right);
    }
}

impl Core {
    /// A bundle, or a stage of one, failed on a worker.
    pub(super) fn faulted(
        &mut self,
        step: &mut Step,
        number: WorkerNumber,
        stages: &[StageNumber],
        width: u32,
        failure: &Failure,
    ) {
        match failure.class {
            FailureClass::OutOfMemory => return self.narrow(number, stages, width),
            FailureClass::Unfit if width > 1 => return self.narrow(number, stages, width),
            FailureClass::Unfit if self.makes_up_for(number) => return self.put_in_quarantine(step, number, failure),
            FailureClass::NoSpace if self.policy.quarantine_after.is_some() => {
                return self.put_in_quarantine(step, number, failure);
            }
            FailureClass::Executor | FailureClass::Storage | FailureClass::Unfit => {}
            // The stage's, the sweep's or Secateur's own fault.
            FailureClass::Input
            | FailureClass::Internal
            | FailureClass::Upstream
            | FailureClass::NoSpace
            | FailureClass::Poison => return,
        }
        let (Some(limit), Some(worker)) = (self.policy.quarantine_after, self.workers.get_mut(&number)) else { return };
        let health = &mut worker.health;
        let is_another = stages.iter().all(|stage| !health.stages.contains(stage));
        health.stages.extend(stages);
        health.last = Some(failure.message.clone());
        if !is_another {
            return;
        }
        health.faults += 1;
        if health.faults >= limit.get() {
            self.put_in_quarantine(step, number, failure);
        }
    }

    /// Whether another worker takes work that this one is not fit for, so that this one can be left alone for a while.
    pub(super) fn makes_up_for(&self, number: WorkerNumber) -> bool {
        let others = self.workers.iter().filter(|(other, _)| **other != number);
        self.policy.quarantine_after.is_some() && others.map(|(_, worker)| worker).any(Worker::takes_work)
    }

    fn put_in_quarantine(&mut self, step: &mut Step, number: WorkerNumber, failure: &Failure) {
        let Some(worker) = self.workers.get_mut(&number).filter(|worker| !worker.health.is_quarantined()) else {
            return;
        };
        worker.health.quarantined_since = Some(step.now);
        worker.health.is_full = failure.class == FailureClass::NoSpace;
        worker.health.last = Some(failure.message.clone());
        let reason = worker.health.quarantined().unwrap_or_default();
        step.decision.effects.push(Effect::Quarantined { worker: worker.id.clone(), reason });
        self.update_free(number);
        // What was to be tried elsewhere may have nowhere else to go.
        self.ready.everything_is_new();
    }

    /// Bundles of that class were too wide for a worker.
    fn narrow(&mut self, number: WorkerNumber, stages: &[StageNumber], width: u32) {
        let class = stages.first().and_then(|stage| self.stages[stage.index()].class);
        let worker = self.workers.get_mut(&number);
        if let Some((class, worker)) = class.zip(worker)
            && let Some(Width::Measured { lanes, .. }) = worker.widths.get_mut(&class)
        {
            *lanes = (*lanes).min(std::num::NonZeroU32::new(width / 2).unwrap_or(std::num::NonZeroU32::MIN));
        }
    }

    /// A stage completed on a worker: it is well.
    pub(super) fn fared_well(&mut self, number: WorkerNumber) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let Health { rests_since, round, .. } = worker.health;
        let well = Health { rests_since, round, ..Health::default() };
        if worker.health != well {
            worker.health = well;
            self.wake(number);
            self.ready.everything_is_new();
        }
    }

    /// Lets workers try again whose time is over: one more failure, and they are out again.
    pub(super) fn end_quarantines(&mut self, now: Timestamp) {
        let limit = self.policy.quarantine_ms;
        let is_over = |worker: &Worker| worker.health.quarantined_since.is_some_and(|since| now.since(since) > limit);
        let over: Vec<_> =
            self.workers.iter().filter(|(_, worker)| is_over(worker)).map(|(number, _)| *number).collect();
        for number in over {
            if let Some(worker) = self.workers.get_mut(&number) {
                worker.health.quarantined_since = None;
                worker.health.is_full = false;
                worker.health.faults = worker.health.faults.saturating_sub(1);
                worker.health.stages.clear();
            }
            self.wake(number);
        }
    }

    /// Lets workers have again what failed on them, once they have rested.
    pub(super) fn end_pauses(&mut self, now: Timestamp) {
        let pause = self.policy.pause_ms;
        let rested = self.workers.iter_mut().filter(|(_, worker)| worker.health.has_rested(now, pause));
        let rested = rested.map(|(number, worker)| {
            worker.health.rests_since = None;
            worker.health.round = worker.health.round.saturating_add(1);
            worker.health.in_a_row = worker.health.in_a_row.saturating_add(1);
            *number
        });
        for number in rested.collect::<Vec<_>>() {
            self.wake(number);
        }
    }
}
