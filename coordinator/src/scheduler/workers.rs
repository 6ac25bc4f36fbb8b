//! Workers that are attached: what is known of them; calibrating, falling silent, getting stuck, not confirming. Nothing of it is durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use secateur_proto::{
    ids::{BundleClass, InstanceId, StageKey, WorkerId},
    outcome::{Failure, FailureClass},
};

use super::{
    bundle::lease_id,
    core::{Core, Lease, Step},
    event::{Departure, Effect, Rejection, Timestamp},
    health::Health,
    stage::{ClassNumber, LeaseNumber, StageState, WorkerNumber},
};

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) instance: InstanceId,
    pub(super) name: String,
    pub(super) device: String,
    pub(super) slots: NonZeroU32,
    pub(super) last_seen: Timestamp,
    pub(super) leases: BTreeSet<LeaseNumber>,
    pub(super) widths: BTreeMap<ClassNumber, Width>,
    /// Calibrations that have not been answered: each takes a slot.
    pub(super) calibrating: u32,
    /// It said so, or handed back work that nobody had revoked: it gets no more.
    pub(super) leaving: bool,
    /// When its stream broke: it holds its leases, and may come back for them.
    pub(super) away_since: Option<Timestamp>,
    pub(super) stages_completed: u64,
    pub(super) health: Health,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Width {
    Asked {
        since: Timestamp,
    },
    /// It did not answer in time.
    Assumed,
    Measured {
        lanes: NonZeroU32,
        lane_steps_per_second: f64,
    },
}

impl Worker {
    pub(super) fn free_slots(&self) -> u64 {
        let busy = self.leases.len() as u64 + u64::from(self.calibrating);
        u64::from(self.slots.get()).saturating_sub(busy)
    }

    pub(super) const fn takes_work(&self) -> bool {
        !self.leaving && self.away_since.is_none() && !self.health.is_quarantined()
    }
}

impl Core {
    pub(super) fn calibrated(
        &mut self,
        now: Timestamp,
        id: &WorkerId,
        class: &BundleClass,
        lanes: NonZeroU32,
        lane_steps_per_second: f64,
    ) -> Result<(), Rejection> {
        let number = self.number_of(id)?;
        let invalid = || Rejection::InvalidCalibration { worker: id.clone(), class: class.clone() };
        let class_number = *self.class_numbers.get(class).ok_or_else(invalid)?;
        let worker = self.workers.get_mut(&number).ok_or_else(|| Rejection::UnknownWorker(id.clone()))?;
        let width = worker.widths.get_mut(&class_number).ok_or_else(invalid)?;
        if !lane_steps_per_second.is_finite() || lane_steps_per_second < 0.0 {
            return Err(invalid());
        }
        if matches!(width, Width::Asked { .. }) {
            worker.calibrating = worker.calibrating.saturating_sub(1);
        }
        *width = Width::Measured { lanes, lane_steps_per_second };
        worker.last_seen = now;
        self.wake(number);
        Ok(())
    }

    pub(super) fn tick(&mut self, step: &mut Step) -> Result<(), Rejection> {
        let now = step.now;
        let silence = self.policy.worker_silence_ms;
        let last = self.last_tick.replace(now);
        // The coordinator slept, or its clock was set: that says nothing of the workers, and they get a full span from now. Nor has
        // anything happened in the future: the clock was set twice since the last tick.
        let slept = last.is_none_or(|last| now < last || now.since(last) > silence);
        self.correct_times(|time| if slept { now } else { time.min(now) });
        if slept {
            return Ok(());
        }
        self.end_drains(step)?;
        self.look_for_those_away(step)?;
        let is_silent = |worker: &Worker| worker.away_since.is_none() && now.since(worker.last_seen) > silence;
        let silent = self.workers.iter().filter(|(_, worker)| is_silent(worker));
        for number in silent.map(|(number, _)| *number).collect::<Vec<_>>() {
            let worker = self.workers[&number].id.clone();
            let reason = format!("nothing was heard of it for more than {silence} ms");
            step.decision.effects.push(Effect::Detach { worker, reason });
            self.left(step, number, Departure::Lost)?;
        }
        self.look_for_the_unconfirmed(step)?;
        self.end_quarantines(now);
        self.end_pauses(now);
        self.look_for_room(step);
        if let Some(limit) = self.policy.stuck_ms {
            // Also one that has nothing left to report: it takes a slot.
            let is_stuck = |lease: &Lease| !lease.revoked && now.since(lease.last_sign) > limit;
            let stuck = self.leases.iter().filter(|(_, lease)| is_stuck(lease));
            for number in stuck.map(|(number, _)| *number).collect::<Vec<_>>() {
                self.take_back(step, number, limit)?;
            }
        }
        let limit = self.policy.calibration_ms;
        let mut unanswered = vec![];
        for (number, worker) in &mut self.workers {
            for width in worker.widths.values_mut() {
                if matches!(width, Width::Asked { since } if now.since(*since) > limit) {
                    *width = Width::Assumed;
                    worker.calibrating = worker.calibrating.saturating_sub(1);
                    unanswered.push(*number);
                }
            }
        }
        unanswered.into_iter().for_each(|number| self.wake(number));
        Ok(())
    }

    /// Puts right when things happened.
    fn correct_times(&mut self, right: impl Fn(Timestamp) -> Timestamp) {
        for worker in self.workers.values_mut() {
            worker.last_seen = right(worker.last_seen);
            worker.away_since = worker.away_since.map(&right);
            worker.health.correct_times(&right);
            for width in worker.widths.values_mut() {
                if let Width::Asked { since } = width {
                    *since = right(*since);
                }
            }
        }
        if let Some(full) = &mut self.full {
            full.since = right(full.since);
        }
        for lease in self.leases.values_mut() {
            lease.last_sign = right(lease.last_sign);
            lease.unconfirmed_since = lease.unconfirmed_since.map(&right);
        }
    }

    /// Workers that were told to drop a lease and do not say that they did.
    fn look_for_the_unconfirmed(&mut self, step: &mut Step) -> Result<(), Rejection> {
        let (now, limit) = (step.now, self.policy.unconfirmed_ms);
        let mut broken = BTreeSet::new();
        for lease in self.leases.values_mut().filter(|lease| lease.revoked) {
            let is_here = self.workers.get(&lease.worker).is_some_and(|worker| worker.away_since.is_none());
            if is_here && now.since(*lease.unconfirmed_since.get_or_insert(now)) > limit {
                broken.insert(lease.worker);
            }
        }
        for number in broken {
            let worker = self.workers[&number].id.clone();
            let reason = format!("it did not confirm within {limit} ms that it dropped a lease");
            step.decision.effects.push(Effect::Detach { worker, reason });
            self.left(step, number, Departure::Lost)?;
        }
        Ok(())
    }

    pub(super) fn progressed(&mut self, now: Timestamp, number: WorkerNumber, key: &StageKey) {
        self.seen(now, number);
        let Some(stage) = self.stage_number(key) else { return };
        if let StageState::Leased { lease, .. } = self.stages[stage.index()].state
            && let Some(lease) = self.leases.get_mut(&lease).filter(|lease| lease.worker == number)
        {
            lease.last_sign = now;
        }
    }

    /// Revokes a lease that makes no progress. Its slot is free when the worker says so.
    fn take_back(&mut self, step: &mut Step, number: LeaseNumber, limit: u64) -> Result<(), Rejection> {
        let Some(lease) = self.leases.get_mut(&number) else { return Ok(()) };
        lease.revoked = true;
        let (open, width, holder) = (std::mem::take(&mut lease.open), lease.width, lease.worker);
        if let Some(worker) = self.workers.get(&lease.worker) {
            let (worker, lease) = (worker.id.clone(), lease_id(number));
            step.decision.effects.push(Effect::Revoke { worker, lease });
        }
        let failure = Failure::new(FailureClass::Executor, format!("no result came for more than {limit} ms"));
        for stage in &open {
            self.attempt_failed(step, *stage, holder, width, &failure)?;
        }
        if !open.is_empty() {
            self.faulted(step, holder, &open, width, &failure);
        }
        Ok(())
    }

    /// The worker wants to end, or handed back work that nobody had revoked: giving it more would only go round in circles.
    pub(super) fn leaves(&mut self, number: WorkerNumber) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.leaving = true;
        }
        self.update_free(number);
        self.ready.everything_is_new();
    }

    pub(super) fn seen(&mut self, now: Timestamp, number: WorkerNumber) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.last_seen = now;
        }
    }

    pub(super) fn wake(&mut self, number: WorkerNumber) {
        self.woken.insert(number);
        self.update_free(number);
    }

    pub(super) fn number_of(&self, worker: &WorkerId) -> Result<WorkerNumber, Rejection> {
        self.worker_numbers.get(worker).copied().ok_or_else(|| Rejection::UnknownWorker(worker.clone()))
    }
}
