//! Who gets what: free slots are filled from ordered queues of ready stages.
//!
//! A slot takes from the sweep whose turn it is, and there from the queue whose first stage is the oldest among those that its worker
//! can serve. Parents come before children in a plan, so what unblocks others goes first. What is left of a bundle's width is filled
//! with stages of other sweeps.

use std::collections::BTreeMap;

use secateur_proto::ids::LeaseId;

use super::{
    core::{Core, Lease},
    event::{Effect, Timestamp},
    queues::{Company, QueueKey},
    stage::{ClassNumber, Elsewhere, LeaseNumber, StageNumber, StageState, SweepNumber, WorkerNumber},
    workers::{Width, Worker},
};

/// What a free slot can do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    Calibrate { class: ClassNumber, stage: StageNumber },
    Run { sweep: SweepNumber, company: Company, lanes: u32 },
}

impl Core {
    /// Fills free slots until nothing more can be handed out. Looks only at workers that something has changed for.
    pub(super) fn dispatch(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.is_waiting_for_workers(now) || self.is_full() {
            return;
        }
        // What is ready is shared out as it was when this round began, so that one round empties it evenly.
        let mut ready = BTreeMap::new();
        loop {
            let woken = std::mem::take(&mut self.woken);
            let candidates = if self.ready.take_news() { self.free.clone() } else { woken };
            if candidates.is_empty() || self.ready.is_empty() {
                return;
            }
            for worker in candidates {
                while self.free.contains(&worker)
                    && let Some(work) = self.next_work(worker)
                {
                    match work {
                        Work::Calibrate { class, stage } => self.calibrate(now, worker, class, stage, effects),
                        Work::Run { sweep, company, lanes } => {
                            let ready = *ready.entry(company).or_insert_with(|| self.to_share_out(company));
                            let share = self.share(ready, sweep, worker);
                            let queue = QueueKey { sweep, company };
                            self.lease(now, worker, queue, lanes.min(share), effects);
                        }
                    }
                }
            }
        }
    }

    /// What a free slot of a worker should do next. What failed on it comes last, and only if no other worker is free for it and this one
    /// has rested.
    pub(super) fn next_work(&self, number: WorkerNumber) -> Option<Work> {
        let turns = self.turns(number);
        let of_others = turns.iter().find_map(|sweep| self.work_of(*sweep, number, |failed| failed.worker != number));
        if of_others.is_some() || !self.ready.has_failed() {
            return of_others;
        }
        let is_last_resort = |sweep: &&SweepNumber| {
            !self.free.iter().any(|other| *other != number && self.sweeps[sweep.index()].admits(*other))
        };
        let round = self.workers.get(&number)?.health.round();
        let may_again = |failed: Elsewhere| failed.worker == number && failed.round <= round;
        turns.iter().filter(is_last_resort).find_map(|sweep| self.work_of(*sweep, number, may_again))
    }

    /// The first work of a sweep that a worker can do, of those stages that are to be tried where `may_run` says.
    fn work_of(&self, sweep: SweepNumber, number: WorkerNumber, may_run: impl Fn(Elsewhere) -> bool) -> Option<Work> {
        let worker = self.workers.get(&number)?;
        let heads = self.ready.heads(sweep).filter(|(_, company)| company.elsewhere.is_none_or(&may_run));
        heads.into_iter().find_map(|(stage, company)| {
            let run = |lanes| Some(Work::Run { sweep, company, lanes });
            let Some(class) = company.class else { return run(1) };
            match worker.widths.get(&class) {
                None => Some(Work::Calibrate { class, stage }),
                Some(Width::Asked { .. }) => None,
                Some(Width::Assumed) => run(1),
                Some(Width::Measured { lanes, .. }) => run(lanes.get().min(company.width_limit)),
            }
        })
    }

    /// Ready stages of that company, but for those of sweeps that drain.
    fn to_share_out(&self, company: Company) -> usize {
        let draining = self.ready.sweeps().filter(|sweep| self.sweeps[sweep.index()].share.drains);
        let held: usize = draining.map(|sweep| self.ready.count_of(QueueKey { sweep, company })).sum();
        self.ready.count(company).saturating_sub(held)
    }

    /// A slot's part of so many ready stages, when all slots that may take part do: no slot should idle while another one works on
    /// a bundle that could have been two.
    fn share(&self, ready: usize, sweep: SweepNumber, worker: WorkerNumber) -> u32 {
        let slots = |worker: &Worker| u64::from(worker.slots.get());
        let all: u64 = self.workers.values().filter(|worker| worker.takes_work()).map(slots).sum();
        let limit = self.sweeps[sweep.index()].share.max_workers;
        let allowed = limit.zip(self.workers.get(&worker)).map_or(all, |(limit, worker)| {
            // Workers are taken to be alike.
            all.min(u64::from(limit.get()).saturating_mul(slots(worker)))
        });
        u32::try_from((ready as u64).div_ceil(allowed.max(1)).max(1)).unwrap_or(u32::MAX)
    }

    fn calibrate(
        &mut self,
        now: Timestamp,
        number: WorkerNumber,
        class: ClassNumber,
        stage: StageNumber,
        effects: &mut Vec<Effect>,
    ) {
        let stage = self.key_of(stage);
        let Some(worker) = self.workers.get_mut(&number) else { return };
        worker.widths.insert(class, Width::Asked { since: now });
        worker.calibrating += 1;
        effects.push(Effect::Calibrate {
            worker: worker.id.clone(),
            class: self.classes[class.index()].clone(),
            stage,
        });
        self.update_free(number);
    }

    fn lease(&mut self, now: Timestamp, number: WorkerNumber, queue: QueueKey, lanes: u32, effects: &mut Vec<Effect>) {
        let (open, sweeps) = self.take_lanes(number, queue, lanes);
        let lease = LeaseNumber { life: self.life, number: self.next_lease };
        self.next_lease += 1;
        let mut stages = Vec::with_capacity(open.len());
        for &stage in &open {
            let entry = &self.stages[stage.index()];
            let attempt = entry.attempt.saturating_add(1);
            self.give(stage, lease, attempt);
            stages.push((self.key_of(stage), attempt));
        }
        let Some(worker) = self.workers.get_mut(&number) else { return };
        worker.leases.insert(lease);
        effects.push(Effect::Lease { worker: worker.id.clone(), lease: lease_id(lease), stages });
        let width = u32::try_from(open.len()).unwrap_or(u32::MAX);
        for sweep in &sweeps {
            self.sweeps[sweep.index()].last_turn = self.next_lease;
        }
        self.leases.insert(lease, Lease::new(number, width, open, sweeps, now));
        self.count_in(lease);
        self.update_free(number);
    }

    /// Takes stages of a queue, and of others that may share their bundle, if they are not enough; and says which sweeps they run for.
    fn take_lanes(
        &mut self,
        worker: WorkerNumber,
        queue: QueueKey,
        lanes: u32,
    ) -> (Vec<StageNumber>, Vec<SweepNumber>) {
        let mut open = self.ready.take(queue, lanes);
        let mut sweeps = vec![queue.sweep];
        let missing = |open: &Vec<StageNumber>| lanes.saturating_sub(u32::try_from(open.len()).unwrap_or(u32::MAX));
        if queue.company.class.is_none() || missing(&open) == 0 || self.ready.count(queue.company) == 0 {
            return (open, sweeps);
        }
        for sweep in self.turns(worker) {
            let more = self.ready.take(QueueKey { sweep, ..queue }, missing(&open));
            if !more.is_empty() {
                open.extend(more);
                sweeps.push(sweep);
            }
        }
        (open, sweeps)
    }

    /// Puts a stage, which is in no queue, into the hands of a lease.
    pub(super) fn give(&mut self, stage: StageNumber, lease: LeaseNumber, attempt: u32) {
        let entry = &mut self.stages[stage.index()];
        entry.attempt = entry.attempt.max(attempt);
        entry.state = StageState::Leased { lease, attempt };
        for sweep in self.stages[stage.index()].sweeps() {
            self.sweeps[sweep.index()].leased += 1;
        }
    }

    /// Keeps the set of workers with free slots.
    pub(super) fn update_free(&mut self, number: WorkerNumber) {
        match self.workers.get(&number) {
            Some(worker) if worker.free_slots() > 0 && worker.takes_work() => {
                self.free.insert(number);
            }
            _ => {
                if self.free.remove(&number) && self.ready.has_failed() {
                    // Another worker may be the last resort now.
                    self.ready.everything_is_new();
                }
            }
        }
    }
}

/// `<life>-<number>`: unique over all lives.
pub(super) fn lease_id(lease: LeaseNumber) -> LeaseId {
    format!("{}-{}", lease.life, lease.number).parse().expect("two numbers and a dash are an id")
}

/// The lease of that name.
pub(super) fn lease_number(lease: &LeaseId) -> Option<LeaseNumber> {
    let (life, number) = lease.as_str().split_once('-')?;
    let parsed = LeaseNumber { life: life.parse().ok()?, number: number.parse().ok()? };
    // Compared as text, so that only the very id that was given out is taken.
    (lease_id(parsed) == *lease).then_some(parsed)
}
