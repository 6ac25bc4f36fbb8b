//! The fleet: the workers that are attached, what they hold, how they fare, and which of them have a slot free. Nothing of it is durable.
//!
//! Knows stages, sweeps and classes by their numbers alone, and no queue: what a slot gets is decided elsewhere.

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
    /// Workers that have a free slot and take work.
    free: BTreeSet<WorkerNumber>,
    news: News,
    last_tick: Option<Timestamp>,
}

/// What has changed since the last dispatch.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Workers for which something has.
    pub(super) woken: BTreeSet<WorkerNumber>,
    /// Something has for all of them.
    pub(super) all: bool,
    /// A worker is not free any more: another one may be the last resort for what failed.
    pub(super) fewer_free: bool,
    /// Sweeps that have one worker less: another one may have its place.
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

    /// What is done for a sweep; `None`: nothing is, and nothing was.
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

    /// Whether a lease of this life has been given out.
    pub(super) const fn has_given_out(&self, lease: LeaseNumber) -> bool {
        lease.number < self.next_lease
    }

    pub(super) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    // Workers.

    /// A worker attaches. Returns its number, and the leases of its earlier attachment, which are nobody's now.
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
                let reason = "the same worker has attached again".to_owned();
                effects.push(Effect::Detach { worker: before.id.clone(), reason });
            }
            worker.inherit(before)
        });
        self.numbers.insert(joining.id.clone(), number);
        self.workers.insert(number, worker);
        (number, leases)
    }

    /// A worker is not there any more. Its leases are to be closed before, or given to somebody.
    pub(super) fn remove(&mut self, number: WorkerNumber) -> Option<Worker> {
        let worker = self.workers.remove(&number)?;
        self.numbers.remove(&worker.id);
        self.free.remove(&number);
        self.news.woken.remove(&number);
        // What was to be tried elsewhere may have nowhere else to go.
        self.news.all = true;
        Some(worker)
    }

    /// Its stream broke: what it holds is kept for it.
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

    /// The worker wants to end, or handed back work that nobody had revoked: giving it more would only go round in circles.
    pub(super) fn leaves(&mut self, number: WorkerNumber) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.leaving = true;
        }
        self.update_free(number);
        self.news.all = true;
    }

    pub(super) fn seen(&mut self, number: WorkerNumber, now: Timestamp) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.last_seen = now;
        }
    }

    /// Something has changed for a worker: it may get work now.
    pub(super) fn wake(&mut self, number: WorkerNumber) {
        self.news.woken.insert(number);
        self.update_free(number);
    }

    /// It measures how wide bundles of a class may be.
    pub(super) fn ask_width(&mut self, number: WorkerNumber, class: ClassNumber, now: Timestamp) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        worker.widths.insert(class, Width::Asked { since: now });
        worker.calibrating += 1;
        self.update_free(number);
    }

    /// It has measured. Returns whether it was asked.
    pub(super) fn set_width(&mut self, number: WorkerNumber, class: ClassNumber, measured: Width) -> bool {
        let worker = self.workers.get_mut(&number);
        let Some(worker) = worker.filter(|worker| worker.widths.contains_key(&class)) else { return false };
        if let Some(Width::Asked { .. }) = worker.widths.insert(class, measured) {
            worker.calibrating = worker.calibrating.saturating_sub(1);
        }
        self.wake(number);
        true
    }

    /// Bundles of that class are to be no wider than `lanes` on it.
    pub(super) fn narrow(&mut self, number: WorkerNumber, class: ClassNumber, width: u32) {
        let worker = self.workers.get_mut(&number);
        if let Some(Width::Measured { lanes, .. }) = worker.and_then(|worker| worker.widths.get_mut(&class)) {
            *lanes = (*lanes).min(std::num::NonZeroU32::new(width).unwrap_or(std::num::NonZeroU32::MIN));
        }
    }

    // Leases.

    /// The next lease of a life.
    pub(super) const fn next_lease(&mut self, life: u32) -> LeaseNumber {
        let lease = LeaseNumber { life, number: self.next_lease };
        self.next_lease += 1;
        lease
    }

    /// A worker has a lease.
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

    /// A lease of a worker's earlier attachment is its own again. Returns what it holds.
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
            // It may not have heard of it.
            effects.push(Effect::Revoke { worker: worker.id.clone(), lease: lease_number.id() });
        }
        lease.open.clone()
    }

    /// A lease is over. Returns what it was; its open stages are nobody's now.
    pub(super) fn close_lease(&mut self, number: LeaseNumber) -> Option<Lease> {
        let lease = self.leases.remove(&number)?;
        self.news.left.extend(self.loads.remove(&lease));
        if let Some(worker) = self.workers.get_mut(&lease.worker) {
            worker.leases.remove(&number);
        }
        Some(lease)
    }

    /// A lease makes progress.
    pub(super) fn progressed(&mut self, number: LeaseNumber, now: Timestamp) {
        if let Some(lease) = self.leases.get_mut(&number) {
            lease.last_sign = now;
        }
    }

    /// The holder of a lease spoke of a stage: it does not work on it any more. Returns the holder and the width of the bundle.
    pub(super) fn reported(&mut self, number: LeaseNumber, stage: StageNumber) -> Option<(WorkerNumber, u32)> {
        let lease = self.leases.get_mut(&number)?;
        lease.open.retain(|open| *open != stage);
        Some((lease.worker, lease.width))
    }

    /// A stage is not a lease's any more. A lease with nothing left to do for anyone is revoked.
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

    /// Takes back all that a lease has. Its slot is free when the worker says so. Returns what it had, the holder and the width.
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

    // How workers fare.

    /// A stage completed on a worker.
    pub(super) fn completed(&mut self, number: WorkerNumber) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        worker.stages_completed += 1;
        if worker.health.completed() {
            self.wake(number);
            self.news.all = true;
        }
    }

    /// A stage of a sweep completed.
    pub(super) fn completed_for(&mut self, sweep: SweepNumber) {
        self.loads.of(sweep).completed += 1;
    }

    /// A bundle failed on a worker. Returns whether it is one too many.
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

    /// A worker gets no work for some time.
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
        // What was to be tried elsewhere may have nowhere else to go.
        self.news.all = true;
    }

    /// Something failed on a worker. Returns the round in which that is tried on it again: the next one if it is to rest from `now` on.
    pub(super) fn rest(&mut self, number: WorkerNumber, now: Option<Timestamp>) -> u32 {
        self.workers.get_mut(&number).map_or(0, |worker| match now {
            Some(now) => worker.health.rest(now),
            None => worker.health.round(),
        })
    }

    /// Whether another worker takes work.
    pub(super) fn has_another(&self, number: WorkerNumber) -> bool {
        self.workers().filter(|(other, _)| *other != number).any(|(_, worker)| worker.takes_work())
    }

    // Time.

    /// Time has passed. If the coordinator slept, or its clock was set, that says nothing of the workers, and they get a full span from
    /// now; nor has anything happened in the future: the clock was set twice since the last tick. Returns how moments are put right, and
    /// whether it slept.
    pub(super) fn tick(&mut self, now: Timestamp, silence: u64) -> (impl Fn(Timestamp) -> Timestamp + use<>, bool) {
        let last = self.last_tick.replace(now);
        let slept = last.is_none_or(|last| now < last || now.since(last) > silence);
        let right = move |time: Timestamp| if slept { now } else { time.min(now) };
        for worker in self.workers.values_mut() {
            worker.correct_times(right);
        }
        for lease in self.leases.values_mut() {
            lease.last_sign = right(lease.last_sign);
            lease.unconfirmed_since = lease.unconfirmed_since.map(right);
        }
        (right, slept)
    }

    /// The workers that are away for longer than `limit`.
    pub(super) fn gone(&self, now: Timestamp, limit: u64) -> Vec<WorkerNumber> {
        self.select(|worker| worker.away_since.is_some_and(|since| now.since(since) > limit))
    }

    /// The workers of which nothing was heard for longer than `limit`.
    pub(super) fn silent(&self, now: Timestamp, limit: u64) -> Vec<WorkerNumber> {
        self.select(|worker| worker.away_since.is_none() && now.since(worker.last_seen) > limit)
    }

    fn select(&self, is_one: impl Fn(&Worker) -> bool) -> Vec<WorkerNumber> {
        self.workers().filter(|(_, worker)| is_one(worker)).map(|(number, _)| number).collect()
    }

    /// The workers that were told to drop a lease, and have not said for longer than `limit` that they did.
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

    /// The leases that have made no progress for longer than `limit`. Also one that has nothing left to report: it takes a slot.
    pub(super) fn stuck(&self, now: Timestamp, limit: u64) -> Vec<LeaseNumber> {
        let is_stuck = |lease: &Lease| !lease.revoked && now.since(lease.last_sign) > limit;
        self.leases().filter(|(_, lease)| is_stuck(lease)).map(|(number, _)| number).collect()
    }

    /// Ends quarantines that took so long.
    pub(super) fn end_quarantines(&mut self, now: Timestamp, limit: u64) {
        self.wake_if(|worker| worker.health.ends_quarantine(now, limit));
    }

    /// Lets workers have again what failed on them, once they have rested.
    pub(super) fn end_rests(&mut self, now: Timestamp, pause: u64) {
        self.wake_if(|worker| worker.health.ends_round(now, pause));
    }

    /// Lets workers whose disks were full try again.
    pub(super) fn room_was_made(&mut self) {
        self.wake_if(|worker| worker.health.has_room_again());
    }

    /// Workers that have not answered a calibration for so long get single lanes of that class until they do.
    pub(super) fn give_up_questions(&mut self, now: Timestamp, limit: u64) {
        self.wake_if(|worker| worker.give_up_questions(now, limit));
    }

    fn wake_if(&mut self, mut is_news: impl FnMut(&mut Worker) -> bool) {
        let woken = self.workers.iter_mut().filter_map(|(number, worker)| is_news(worker).then_some(*number));
        for number in woken.collect::<Vec<_>>() {
            self.wake(number);
        }
    }

    /// Keeps the set of workers with free slots.
    fn update_free(&mut self, number: WorkerNumber) {
        match self.workers.get(&number) {
            Some(worker) if worker.free_slots() > 0 && worker.takes_work() => _ = self.free.insert(number),
            _ => self.news.fewer_free |= self.free.remove(&number),
        }
    }
}
