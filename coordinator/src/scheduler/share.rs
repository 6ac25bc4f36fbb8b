//! Who comes first: turns of the sweeps, how many workers each may have, and for which of several sweeps a stage runs.
//!
//! A sweep of higher priority goes first. Among equals the one that holds the fewest leases does, and among those the one that has
//! waited longest: so a small sweep gets slots beside a big one, and with a single slot they take turns.

use std::{cmp::Reverse, num::NonZeroU32};

use secateur_proto::ids::SweepId;
use serde::{Deserialize, Serialize};

use super::{
    core::{Core, Step},
    event::{Rejection, SweepState},
    queues::QueueKey,
    record::Record,
    stage::{LeaseNumber, StageNumber, StageState, SweepNumber, WorkerNumber},
    sweep::Sweep,
};

/// What part of the workers a sweep may have. Decides when its stages run, if they do, and nothing of their results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Sweeps of a higher one go first; 0 unless a person says otherwise.
    pub priority: i32,
    /// So many workers at a time; nothing: all there are.
    pub max_workers: Option<NonZeroU32>,
    /// It gets nothing more, and is given up once what is under way for it has ended. Unknown of journals before version 8.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drains: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What a person wants to be different.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShareChange {
    /// Nothing: as it is.
    pub priority: Option<i32>,
    /// Nothing: as it is; 0: no limit.
    pub max_workers: Option<u32>,
}

impl ShareChange {
    /// The share that comes of it.
    #[must_use]
    pub fn of(self, share: Share) -> Share {
        Share {
            priority: self.priority.unwrap_or(share.priority),
            max_workers: self.max_workers.map_or(share.max_workers, NonZeroU32::new),
            drains: share.drains,
        }
    }
}

impl Core {
    /// Gives a sweep another share, if it is another one.
    pub(super) fn share_changed(
        &mut self,
        step: &mut Step,
        sweep: &SweepId,
        change: ShareChange,
    ) -> Result<(), Rejection> {
        let number = *self.sweep_numbers.get(sweep).ok_or_else(|| Rejection::UnknownSweep(sweep.clone()))?;
        let before = self.sweeps[number.index()].share;
        self.set_another_share(step, number, change.of(before))
    }

    pub(super) fn set_another_share(
        &mut self,
        step: &mut Step,
        number: SweepNumber,
        share: Share,
    ) -> Result<(), Rejection> {
        let sweep = &self.sweeps[number.index()];
        if share == sweep.share {
            return Ok(());
        }
        let sweep = sweep.plan.sweep.id.clone();
        self.write(step, Record::SweepShareChanged { sweep, share })
    }

    /// Part of `commit`.
    pub(super) fn set_share(&mut self, number: SweepNumber, share: Share) {
        self.sweeps[number.index()].share = share;
        for position in 0..self.sweeps[number.index()].stages.len() {
            self.requeue(self.sweeps[number.index()].stages[position]);
        }
        self.ready.everything_is_new();
    }

    /// For which of the running sweeps that list it a stage runs: the one that lets it run soonest, and one that drains for want of any
    /// other.
    pub(super) fn runs_for(&self, stage: StageNumber) -> SweepNumber {
        let stage = &self.stages[stage.index()];
        let running = stage.sweeps().filter(|sweep| self.sweeps[sweep.index()].state == SweepState::Running);
        let first = running.min_by_key(|sweep| {
            let share = self.sweeps[sweep.index()].share;
            (
                share.drains,
                Reverse(share.priority),
                Reverse(share.max_workers.map_or(u32::MAX, NonZeroU32::get)),
                *sweep,
            )
        });
        first.unwrap_or(stage.home)
    }

    /// One more running sweep wants the stage.
    pub(super) fn want(&mut self, number: StageNumber) {
        self.stages[number.index()].wanted += 1;
        self.settle(number);
        self.requeue(number);
    }

    /// Queues a parked stage that is wanted.
    pub(super) fn settle(&mut self, number: StageNumber) {
        let stage = &self.stages[number.index()];
        if stage.state == StageState::Parked && stage.wanted > 0 {
            let runs_for = self.runs_for(number);
            let stage = &mut self.stages[number.index()];
            stage.runs_for = runs_for;
            stage.state = StageState::Ready;
            self.ready.insert(QueueKey::of(stage), number);
        }
    }

    /// Puts a ready stage into the right queue again, after the sweeps that list it changed.
    pub(super) fn requeue(&mut self, number: StageNumber) {
        let runs_for = self.runs_for(number);
        let stage = &mut self.stages[number.index()];
        if stage.state == StageState::Ready && stage.runs_for != runs_for {
            self.ready.remove(QueueKey::of(stage), number);
            stage.runs_for = runs_for;
            self.ready.insert(QueueKey::of(stage), number);
        }
    }

    /// The sweeps with ready stages of which a worker may take some, in the order of their turns.
    pub(super) fn turns(&self, worker: WorkerNumber) -> Vec<SweepNumber> {
        let mut turns: Vec<SweepNumber> =
            self.ready.sweeps().filter(|sweep| self.sweeps[sweep.index()].admits(worker)).collect();
        turns.sort_unstable_by_key(|number| {
            let sweep = &self.sweeps[number.index()];
            (Reverse(sweep.share.priority), sweep.leases, sweep.last_turn, *number)
        });
        turns
    }

    /// Notes that a lease is out, for the sweeps that its stages run for.
    pub(super) fn count_in(&mut self, number: LeaseNumber) {
        let Some(lease) = self.leases.get(&number) else { return };
        for sweep in &lease.sweeps {
            let sweep = &mut self.sweeps[sweep.index()];
            sweep.leases += 1;
            *sweep.workers.entry(lease.worker).or_default() += 1;
        }
    }

    /// Notes that a lease is over, or goes to another worker.
    pub(super) fn count_out(&mut self, number: LeaseNumber) {
        let Some(lease) = self.leases.get(&number) else { return };
        for sweep in &lease.sweeps {
            let sweep = &mut self.sweeps[sweep.index()];
            sweep.leases = sweep.leases.saturating_sub(1);
            let Some(leases) = sweep.workers.get_mut(&lease.worker) else { continue };
            *leases -= 1;
            if *leases == 0 {
                sweep.workers.remove(&lease.worker);
                if sweep.share.max_workers.is_some() {
                    // Another worker may have a place now.
                    self.ready.everything_is_new();
                }
            }
        }
    }
}

impl Sweep {
    /// Whether a worker may take stages of it: it is one of its workers, or can become one.
    pub(super) fn admits(&self, worker: WorkerNumber) -> bool {
        if self.share.drains {
            return false;
        }
        let Some(limit) = self.share.max_workers else { return true };
        self.workers.contains_key(&worker) || self.workers.len() < limit.get() as usize
    }

    /// Whether it has as many workers as it may have.
    pub(super) fn is_at_limit(&self) -> bool {
        self.share.max_workers.is_some_and(|limit| self.workers.len() >= limit.get() as usize)
    }
}
