//! The fleet: attached workers, their leases, health and free slots. Nothing of it is durable.
//!
//! It knows stages, sweeps and classes by number only, and no queues. Other parts decide what a slot gets.

mod check;
mod health;
mod lease;
mod load;
mod worker;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use secateur_proto::ids::WorkerId;

use self::load::{Load, Loads};
pub(super) use self::{
    lease::{Lease, NewLease},
    worker::{Joining, Width, Worker},
};
use super::{
    message::{Effect, Rejection, Timestamp},
    numbers::{ClassNumber, LeaseNumber, StageNumber, SweepNumber, WorkerNumber},
};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Fleet {
    workers: BTreeMap<WorkerNumber, Worker>,
    numbers: HashMap<WorkerId, WorkerNumber>,
    next_worker: u64,
    leases: BTreeMap<LeaseNumber, Lease>,
    next_lease: u64,
    loads: Loads,
    /// Workers that have a free slot and take leases.
    free: BTreeSet<WorkerNumber>,
    news: News,
    last_tick: Option<Timestamp>,
}

/// What changed since the last dispatch.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Workers for which something changed.
    pub(super) woken: BTreeSet<WorkerNumber>,
    /// Something changed for all workers.
    pub(super) all: bool,
    /// A worker is no longer free, so another may be the last resort for failed stages.
    pub(super) fewer_free: bool,
    /// Sweeps that lost a worker, so that another may take its place.
    pub(super) left: BTreeSet<SweepNumber>,
}

impl Fleet {
    pub(super) fn number_of(&self, worker: &WorkerId) -> Result<WorkerNumber, Rejection> {
        self.find(worker).ok_or_else(|| Rejection::UnknownWorker(worker.clone()))
    }

    pub(super) fn find(&self, worker: &WorkerId) -> Option<WorkerNumber> {
        self.numbers.get(worker).copied()
    }

    pub(super) fn worker(&self, number: WorkerNumber) -> Option<&Worker> {
        self.workers.get(&number)
    }

    /// In the order of joining.
    pub(super) fn workers(&self) -> impl Iterator<Item = (WorkerNumber, &Worker)> + Clone {
        self.workers.iter().map(|(number, worker)| (*number, worker))
    }

    pub(super) fn lease(&self, number: LeaseNumber) -> Option<&Lease> {
        self.leases.get(&number)
    }

    pub(super) fn leases(&self) -> impl Iterator<Item = (LeaseNumber, &Lease)> {
        self.leases.iter().map(|(number, lease)| (*number, lease))
    }

    /// The load of a sweep, or `None` if there never was one in this life.
    pub(super) fn load(&self, sweep: SweepNumber) -> Option<&Load> {
        self.loads.get(sweep)
    }

    pub(super) const fn free(&self) -> &BTreeSet<WorkerNumber> {
        &self.free
    }

    pub(super) fn is_free(&self, number: WorkerNumber) -> bool {
        self.free.contains(&number)
    }

    pub(super) fn has_slot(&self, number: WorkerNumber) -> bool {
        self.workers.get(&number).is_some_and(|worker| worker.free_slots() > 0)
    }

    /// Whether this life has given out the lease.
    pub(super) const fn has_given_out(&self, lease: LeaseNumber) -> bool {
        lease.number < self.next_lease
    }

    pub(super) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    // Workers.

    /// Attaches a worker. Returns its number and the leases of its earlier attachment, which have no holder now.
    pub(super) fn join(
        &mut self,
        joining: &Joining<'_>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> (WorkerNumber, BTreeSet<LeaseNumber>) {
        let before = self.workers.iter().find(|(_, worker)| worker.instance == *joining.instance);
        let before = before.map(|(number, _)| *number).and_then(|number| self.remove(number));
        let number = WorkerNumber(self.next_worker);
        self.next_worker += 1;
        let mut worker = Worker::new(joining, now);
        let leases = before.map_or_else(BTreeSet::new, |before| {
            if before.away_since.is_none() {
                let reason = "the same worker attached again".to_owned();
                effects.push(Effect::Detach { worker: before.id.clone(), reason });
            }
            worker.inherit(before)
        });
        if worker.cordoned_by.as_deref() != joining.cordoned_by {
            // It was away when that changed.
            effects.push(Effect::Cordon { worker: worker.id.clone(), by: worker.cordoned_by.clone() });
        }
        self.numbers.insert(joining.id.clone(), number);
        self.workers.insert(number, worker);
        (number, leases)
    }

    /// Removes a worker. Its leases must be closed or reassigned first.
    pub(super) fn remove(&mut self, number: WorkerNumber) -> Option<Worker> {
        let worker = self.workers.remove(&number)?;
        self.numbers.remove(&worker.id);
        self.free.remove(&number);
        self.news.woken.remove(&number);
        // A stage that avoids another worker may have no alternative left.
        self.news.all = true;
        Some(worker)
    }

    /// Notes that a worker's stream broke. Its leases are kept for it.
    pub(super) fn goes_away(&mut self, number: WorkerNumber, now: Timestamp) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        if worker.leases.is_empty() {
            self.remove(number);
            return;
        }
        worker.away_since = Some(now);
        worker.drop_questions();
        self.update_free(number);
        self.news.all = true;
    }

    /// The worker is shutting down, or returned stages that were not revoked. Leasing to it again would loop.
    pub(super) fn leaves(&mut self, number: WorkerNumber) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.leaving = true;
        }
        self.update_free(number);
        self.news.all = true;
    }

    /// Cordons a worker, or uncordons it.
    pub(super) fn set_cordon(&mut self, number: WorkerNumber, by: Option<&str>, effects: &mut Vec<Effect>) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        if worker.cordoned_by.as_deref() == by {
            return;
        }
        worker.cordoned_by = by.map(str::to_owned);
        effects.push(Effect::Cordon { worker: worker.id.clone(), by: worker.cordoned_by.clone() });
        self.wake(number);
        // A stage that avoids another worker may have no alternative left.
        self.news.all = true;
    }

    /// Ends the quarantine of a worker, as a person wants.
    pub(super) fn end_quarantine(&mut self, number: WorkerNumber) {
        let worker = self.workers.get_mut(&number);
        if worker.is_some_and(|worker| worker.health.lift_quarantine()) {
            self.wake(number);
            self.news.all = true;
        }
    }

    pub(super) fn seen(&mut self, number: WorkerNumber, now: Timestamp) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.last_seen = now;
        }
    }

    /// Something changed for a worker: the next dispatch looks at it.
    pub(super) fn wake(&mut self, number: WorkerNumber) {
        self.news.woken.insert(number);
        self.update_free(number);
    }

    /// Notes that it was asked to measure how wide bundles of a class may be.
    pub(super) fn ask_width(&mut self, number: WorkerNumber, class: ClassNumber, now: Timestamp) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        worker.widths.insert(class, Width::Asked { since: now });
        worker.calibrating += 1;
        self.update_free(number);
    }

    /// Notes its measurement. Returns whether it was asked for one.
    pub(super) fn set_width(&mut self, number: WorkerNumber, class: ClassNumber, measured: Width) -> bool {
        let worker = self.workers.get_mut(&number);
        let Some(worker) = worker.filter(|worker| worker.widths.contains_key(&class)) else { return false };
        if let Some(Width::Asked { .. }) = worker.widths.insert(class, measured) {
            worker.calibrating = worker.calibrating.saturating_sub(1);
        }
        self.wake(number);
        true
    }

    /// Limits the width of bundles of that class on it.
    pub(super) fn narrow(&mut self, number: WorkerNumber, class: ClassNumber, width: u32) {
        let worker = self.workers.get_mut(&number);
        if let Some(Width::Measured { lanes, .. }) = worker.and_then(|worker| worker.widths.get_mut(&class)) {
            *lanes = (*lanes).min(std::num::NonZeroU32::new(width).unwrap_or(std::num::NonZeroU32::MIN));
        }
    }

    // Leases.

    /// Returns the next lease number of a life.
    pub(super) const fn next_lease(&mut self, life: u32) -> LeaseNumber {
        let lease = LeaseNumber { life, number: self.next_lease };
        self.next_lease += 1;
        lease
    }

    /// Gives a lease to a worker.
    pub(super) fn open_lease(&mut self, number: LeaseNumber, lease: NewLease, now: Timestamp) {
        let lease = Lease::new(lease, now);
        let Some(worker) = self.workers.get_mut(&lease.worker) else { return };
        worker.leases.insert(number);
        self.loads.add(&lease);
        if !lease.adopted {
            for sweep in &lease.sweeps {
                self.loads.of(*sweep).last_turn = self.next_lease;
            }
        }
        self.update_free(lease.worker);
        self.leases.insert(number, lease);
    }

    /// Returns a lease to the worker that held it in an earlier attachment. Returns its open stages.
    pub(super) fn take_up(
        &mut self,
        number: WorkerNumber,
        lease_number: LeaseNumber,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Vec<StageNumber> {
        let (Some(worker), Some(lease)) = (self.workers.get_mut(&number), self.leases.get_mut(&lease_number)) else {
            return vec![];
        };
        worker.leases.insert(lease_number);
        self.news.left.extend(self.loads.remove(lease));
        lease.worker = number;
        lease.last_sign = now;
        lease.unconfirmed_since = None;
        self.loads.add(lease);
        if lease.revoked {
            // The worker may not have received the revocation.
            effects.push(Effect::Revoke { worker: worker.id.clone(), lease: lease_number.id() });
        }
        lease.open.clone()
    }

    /// Closes a lease and returns it. Its open stages have no holder now.
    pub(super) fn close_lease(&mut self, number: LeaseNumber) -> Option<Lease> {
        let lease = self.leases.remove(&number)?;
        self.news.left.extend(self.loads.remove(&lease));
        if let Some(worker) = self.workers.get_mut(&lease.worker) {
            worker.leases.remove(&number);
        }
        Some(lease)
    }

    /// Notes that a lease made progress.
    pub(super) fn progressed(&mut self, number: LeaseNumber, now: Timestamp) {
        if let Some(lease) = self.leases.get_mut(&number) {
            lease.last_sign = now;
        }
    }

    /// The holder of a lease reported a stage: it no longer works on it. Returns the holder and the width of the
    /// bundle.
    pub(super) fn reported(&mut self, number: LeaseNumber, stage: StageNumber) -> Option<(WorkerNumber, u32)> {
        let lease = self.leases.get_mut(&number)?;
        lease.open.retain(|open| *open != stage);
        Some((lease.worker, lease.width))
    }

    /// Takes a stage from a lease. A lease without open stages is revoked.
    pub(super) fn drop_stage(&mut self, number: LeaseNumber, stage: StageNumber, effects: &mut Vec<Effect>) {
        let Some(lease) = self.leases.get_mut(&number) else { return };
        if let Some(position) = lease.open.iter().position(|open| *open == stage) {
            lease.open.remove(position);
            lease.taken_from = true;
        }
        if lease.open.is_empty() && lease.taken_from && !lease.revoked {
            self.revoke(number, effects);
        }
    }

    /// Takes all stages from a lease. Its slot is free once the worker confirms. Returns the stages, the holder and the
    /// width.
    pub(super) fn take_back(
        &mut self,
        number: LeaseNumber,
        effects: &mut Vec<Effect>,
    ) -> Option<(Vec<StageNumber>, WorkerNumber, u32)> {
        let lease = self.leases.get_mut(&number)?;
        let taken = (std::mem::take(&mut lease.open), lease.worker, lease.width);
        self.revoke(number, effects);
        Some(taken)
    }

    fn revoke(&mut self, number: LeaseNumber, effects: &mut Vec<Effect>) {
        let Some(lease) = self.leases.get_mut(&number) else { return };
        lease.revoked = true;
        if let Some(worker) = self.workers.get(&lease.worker) {
            effects.push(Effect::Revoke { worker: worker.id.clone(), lease: number.id() });
        }
    }

    // Health.

    /// Notes that a stage completed on a worker.
    pub(super) fn completed(&mut self, number: WorkerNumber) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        worker.stages_completed += 1;
        if worker.health.completed() {
            self.wake(number);
            self.news.all = true;
        }
    }

    /// Notes that a stage of a sweep completed.
    pub(super) fn completed_for(&mut self, sweep: SweepNumber) {
        self.loads.of(sweep).completed += 1;
    }

    /// Notes that a bundle failed on a worker. Returns whether the limit is reached.
    pub(super) fn add_fault(
        &mut self,
        number: WorkerNumber,
        stages: &[StageNumber],
        message: &str,
        limit: std::num::NonZeroU32,
    ) -> bool {
        let worker = self.workers.get_mut(&number);
        worker.is_some_and(|worker| worker.health.add_fault(stages, message, limit))
    }

    /// Quarantines a worker.
    pub(super) fn quarantine(
        &mut self,
        number: WorkerNumber,
        is_full: bool,
        message: &str,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let Some(reason) = worker.health.quarantine(now, is_full, message) else { return };
        effects.push(Effect::Quarantined { worker: worker.id.clone(), reason });
        self.update_free(number);
        // A stage that avoids another worker may have no alternative left.
        self.news.all = true;
    }

    /// Notes that a stage failed on a worker. Returns the round in which it is retried there: the next round if the
    /// worker pauses from `now`.
    pub(super) fn rest(&mut self, number: WorkerNumber, now: Option<Timestamp>) -> u32 {
        self.workers.get_mut(&number).map_or(0, |worker| match now {
            Some(now) => worker.health.rest(now),
            None => worker.health.round(),
        })
    }

    /// Whether another worker takes leases.
    pub(super) fn has_another(&self, number: WorkerNumber) -> bool {
        self.workers().filter(|(other, _)| *other != number).any(|(_, worker)| worker.takes_work())
    }

    // Time.

    /// Advances time. If the coordinator slept or its clock was set, silence says nothing about workers: they get a full
    /// span from now. No recorded time may be in the future: the clock may have been set twice since the last tick.
    /// Returns how to correct times, and whether the coordinator slept or its clock was set.
    pub(super) fn tick(&mut self, now: Timestamp, silence: u64) -> (impl Fn(Timestamp) -> Timestamp + use<>, bool) {
        let last = self.last_tick.replace(now);
        let slept = last.is_none_or(|last| now < last || now.since(last) > silence);
        let right = move |time: Timestamp| if slept { now } else { time.min(now) };
        for worker in self.workers.values_mut() {
            worker.correct_times(right);
        }
        for lease in self.leases.values_mut() {
            lease.begun = right(lease.begun);
            lease.last_sign = right(lease.last_sign);
            lease.unconfirmed_since = lease.unconfirmed_since.map(right);
        }
        (right, slept)
    }

    /// The workers whose stream broke more than `limit` ago.
    pub(super) fn gone(&self, now: Timestamp, limit: u64) -> Vec<WorkerNumber> {
        self.select(|worker| worker.away_since.is_some_and(|since| now.since(since) > limit))
    }

    /// The workers that were silent for longer than `limit`.
    pub(super) fn silent(&self, now: Timestamp, limit: u64) -> Vec<WorkerNumber> {
        self.select(|worker| worker.away_since.is_none() && now.since(worker.last_seen) > limit)
    }

    fn select(&self, is_one: impl Fn(&Worker) -> bool) -> Vec<WorkerNumber> {
        self.workers().filter(|(_, worker)| is_one(worker)).map(|(number, _)| number).collect()
    }

    /// The workers that have not confirmed a revocation for longer than `limit`.
    pub(super) fn unconfirmed(&mut self, now: Timestamp, limit: u64) -> BTreeSet<WorkerNumber> {
        let mut broken = BTreeSet::new();
        for lease in self.leases.values_mut().filter(|lease| lease.revoked) {
            let is_here = self.workers.get(&lease.worker).is_some_and(|worker| worker.away_since.is_none());
            if is_here && now.since(*lease.unconfirmed_since.get_or_insert(now)) > limit {
                broken.insert(lease.worker);
            }
        }
        broken
    }

    /// The leases without progress for longer than `limit`. This includes leases without open stages, since they take a
    /// slot.
    pub(super) fn stuck(&self, now: Timestamp, limit: u64) -> Vec<LeaseNumber> {
        let is_stuck = |lease: &Lease| !lease.revoked && now.since(lease.last_sign) > limit;
        self.leases().filter(|(_, lease)| is_stuck(lease)).map(|(number, _)| number).collect()
    }

    /// Ends quarantines that are over.
    pub(super) fn end_quarantines(&mut self, now: Timestamp, limit: u64) {
        self.wake_if(|worker| worker.health.ends_quarantine(now, limit));
    }

    /// Ends pauses that are over, so that workers may retry what failed on them.
    pub(super) fn end_rests(&mut self, now: Timestamp, pause: u64) {
        self.wake_if(|worker| worker.health.ends_round(now, pause));
    }

    /// Ends the quarantine of workers whose disks were full.
    pub(super) fn room_was_made(&mut self) {
        self.wake_if(|worker| worker.health.has_room_again());
    }

    /// Assumes single lanes for workers that have not answered a calibration in time, until they do.
    pub(super) fn give_up_questions(&mut self, now: Timestamp, limit: u64) {
        self.wake_if(|worker| worker.give_up_questions(now, limit));
    }

    fn wake_if(&mut self, mut is_news: impl FnMut(&mut Worker) -> bool) {
        let woken = self.workers.iter_mut().filter_map(|(number, worker)| is_news(worker).then_some(*number));
        for number in woken.collect::<Vec<_>>() {
            self.wake(number);
        }
    }

    /// Updates whether a worker is in the set of free workers.
    fn update_free(&mut self, number: WorkerNumber) {
        match self.workers.get(&number) {
            Some(worker) if worker.free_slots() > 0 && worker.takes_work() => _ = self.free.insert(number),
            _ => self.news.fewer_free |= self.free.remove(&number),
        }
    }
}
