//! Workers that come, go and come back: what they held is theirs again, and what they hold from an earlier life of the coordinator
//! becomes theirs if nobody else has begun it. Nothing of it is durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use secateur_proto::{
    ids::{InstanceId, WorkerId},
    outcome::{Failure, FailureClass},
};

use super::{
    bundle::{lease_id, lease_number},
    core::{Core, Lease, Step},
    event::{Departure, Effect, HeldLease, Rejection, SweepState, Timestamp},
    health::Health,
    queues::QueueKey,
    stage::{LeaseNumber, StageNumber, StageState, WorkerNumber},
    workers::{Width, Worker},
};

/// Who attaches.
#[derive(Debug)]
pub(super) struct Joining<'a> {
    pub(super) id: &'a WorkerId,
    pub(super) instance: &'a InstanceId,
    pub(super) name: &'a str,
    pub(super) device: &'a str,
    pub(super) slots: NonZeroU32,
}

impl Core {
    pub(super) fn joined(
        &mut self,
        step: &mut Step,
        joining: &Joining<'_>,
        held: &[HeldLease],
    ) -> Result<(), Rejection> {
        if self.worker_numbers.contains_key(joining.id) {
            return Err(Rejection::DuplicateWorker(joining.id.clone()));
        }
        let before = self.workers.iter().find(|(_, worker)| worker.instance == *joining.instance);
        let before = before.map(|(number, _)| *number).and_then(|number| self.take_out(number));
        let number = WorkerNumber(self.next_worker);
        self.next_worker += 1;
        self.worker_numbers.insert(joining.id.clone(), number);
        let mut worker = Worker {
            id: joining.id.clone(),
            instance: joining.instance.clone(),
            name: joining.name.to_owned(),
            device: joining.device.to_owned(),
            slots: joining.slots,
            last_seen: step.now,
            leases: BTreeSet::new(),
            widths: BTreeMap::new(),
            calibrating: 0,
            leaving: false,
            away_since: None,
            stages_completed: 0,
            health: Health::default(),
        };
        let mut leases = BTreeSet::new();
        if let Some(before) = before {
            if before.away_since.is_none() {
                let reason = "the same worker has attached again".to_owned();
                step.decision.effects.push(Effect::Detach { worker: before.id, reason });
            }
            worker.stages_completed = before.stages_completed;
            worker.health = before.health;
            worker.widths = before.widths;
            worker.widths.retain(|_, width| matches!(width, Width::Measured { .. }));
            leases = before.leases;
        }
        self.workers.insert(number, worker);
        let held: BTreeMap<LeaseNumber, &HeldLease> =
            held.iter().filter_map(|held| Some((lease_number(&held.lease)?, held))).collect();
        for lease in &leases {
            match held.get(lease) {
                Some(held) if self.has_slot(number) => self.take_up(step, number, *lease, held),
                // It was never told of the lease, or has forgotten it.
                _ => self.close_lease(step, *lease, None)?,
            }
        }
        for (lease, held) in held {
            if !leases.contains(&lease) {
                self.adopt(step, number, lease, held);
            }
        }
        self.wake(number);
        Ok(())
    }

    fn has_slot(&self, number: WorkerNumber) -> bool {
        self.workers.get(&number).is_some_and(|worker| worker.free_slots() > 0)
    }

    /// A lease that a worker held before it came back is its own again, without what it does not hold any more.
    fn take_up(&mut self, step: &mut Step, number: WorkerNumber, lease_number: LeaseNumber, held: &HeldLease) {
        self.count_out(lease_number);
        let (Some(worker), Some(lease)) = (self.workers.get_mut(&number), self.leases.get_mut(&lease_number)) else {
            return;
        };
        worker.leases.insert(lease_number);
        lease.worker = number;
        lease.last_sign = step.now;
        lease.unconfirmed_since = None;
        if lease.revoked {
            // It may not have heard of it.
            let (worker, lease) = (worker.id.clone(), lease_id(lease_number));
            step.decision.effects.push(Effect::Revoke { worker, lease });
        }
        let open = lease.open.clone();
        self.count_in(lease_number);
        let holds = |stage: &StageNumber| {
            let StageState::Leased { attempt, .. } = self.stages[stage.index()].state else { return false };
            held.stages.contains(&(self.key_of(*stage), attempt))
        };
        for stage in open.into_iter().filter(|stage| !holds(stage)).collect::<Vec<_>>() {
            self.hand_back(stage, &mut step.decision.effects);
        }
    }

    /// A lease that is not out any more, or was given out by an earlier life: what of it nobody has begun is the worker's.
    fn adopt(&mut self, step: &mut Step, number: WorkerNumber, lease: LeaseNumber, held: &HeldLease) {
        let Some(worker) = self.workers.get(&number).map(|worker| worker.id.clone()) else { return };
        let was_given_out = lease.life < self.life || lease.life == self.life && lease.number < self.next_lease;
        let (mut open, mut sweeps) = (vec![], BTreeSet::new());
        if was_given_out && !self.leases.contains_key(&lease) && self.has_slot(number) {
            for (key, attempt) in &held.stages {
                let Some(stage) = self.stage_number(key) else { continue };
                if self.stages[stage.index()].state == StageState::Ready {
                    let queue = QueueKey::of(&self.stages[stage.index()]);
                    self.ready.remove(queue, stage);
                    sweeps.insert(queue.sweep);
                    self.give(stage, lease, *attempt);
                    open.push(stage);
                }
            }
        }
        if open.is_empty() {
            let lease = lease_id(lease);
            step.decision.effects.push(Effect::Revoke { worker, lease });
            return;
        }
        let width = held.lanes.get().max(u32::try_from(open.len()).unwrap_or(u32::MAX));
        let adopted = Lease::new(number, width, open, sweeps.into_iter().collect(), step.now);
        self.leases.insert(lease, Lease { adopted: true, ..adopted });
        self.count_in(lease);
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.leases.insert(lease);
        }
    }

    pub(super) fn left(
        &mut self,
        step: &mut Step,
        number: WorkerNumber,
        departure: Departure,
    ) -> Result<(), Rejection> {
        if departure == Departure::Disconnected && self.policy.reattach_ms > 0 {
            self.goes_away(step.now, number);
            return Ok(());
        }
        let Some(worker) = self.workers.get(&number) else { return Ok(()) };
        let failure = match departure {
            Departure::Drained => None,
            Departure::Disconnected | Departure::Lost => {
                let message = format!("worker {} ({}) was lost", worker.name, worker.id);
                Some(Failure::new(FailureClass::Executor, message))
            }
        };
        for lease in worker.leases.clone() {
            self.close_lease(step, lease, failure.as_ref())?;
        }
        self.take_out(number);
        Ok(())
    }

    /// Its stream broke: what it holds is kept for it.
    fn goes_away(&mut self, now: Timestamp, number: WorkerNumber) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        if worker.leases.is_empty() {
            self.take_out(number);
            return;
        }
        worker.away_since = Some(now);
        // Another attachment will be asked anew.
        worker.widths.retain(|_, width| matches!(width, Width::Measured { .. }));
        worker.calibrating = 0;
        self.update_free(number);
        self.ready.everything_is_new();
    }

    fn take_out(&mut self, number: WorkerNumber) -> Option<Worker> {
        let worker = self.workers.remove(&number)?;
        self.worker_numbers.remove(&worker.id);
        self.free.remove(&number);
        self.woken.remove(&number);
        // What was to be tried elsewhere may have nowhere else to go.
        self.ready.everything_is_new();
        Some(worker)
    }

    /// The workers that did not come back in time.
    pub(super) fn look_for_those_away(&mut self, step: &mut Step) -> Result<(), Rejection> {
        let is_over =
            |worker: &Worker| worker.away_since.is_some_and(|since| step.now.since(since) > self.policy.reattach_ms);
        let gone = self.workers.iter().filter(|(_, worker)| is_over(worker)).map(|(number, _)| *number);
        gone.collect::<Vec<_>>().into_iter().try_for_each(|number| self.left(step, number, Departure::Lost))
    }

    /// A life begins with unfinished work: somebody may be at it.
    pub(super) fn wait_for_workers(&mut self, now: Timestamp) {
        let is_running = self.sweeps.iter().any(|sweep| sweep.state == SweepState::Running);
        self.waiting_since = (self.policy.reattach_ms > 0 && is_running).then_some(now);
    }

    /// Whether nothing is handed out yet.
    pub(super) fn is_waiting_for_workers(&mut self, now: Timestamp) -> bool {
        let Some(since) = self.waiting_since else { return false };
        // A clock that was set back says nothing of how long it was.
        if now >= since && now.since(since) < self.policy.reattach_ms {
            return true;
        }
        self.waiting_since = None;
        self.ready.everything_is_new();
        false
    }
}
