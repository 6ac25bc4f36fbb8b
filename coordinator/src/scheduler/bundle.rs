//! Who gets what: free slots are filled from ordered queues of ready stages.
//!
//! A queue holds ready stages that may share a bundle: of one class and with one width limit, in the order of submission and
//! plan. A slot takes from the queue whose first stage is the oldest among those that its worker can serve. Parents come before
//! children in a plan, so what unblocks others goes first.

use std::collections::{BTreeMap, BTreeSet};

use secateur_proto::ids::LeaseId;

use super::{
    core::{Core, Lease, Width},
    event::{Effect, Timestamp},
    stage::{ClassNumber, LeaseNumber, Stage, StageNumber, StageState, WorkerNumber},
};

/// Which stages may share a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueKey {
    /// Nothing: each of them runs alone.
    class: Option<ClassNumber>,
    width_limit: u32,
}

impl QueueKey {
    pub(super) const fn of(stage: &Stage) -> Self {
        Self { class: stage.class, width_limit: stage.width_limit }
    }
}

/// All ready stages.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// None is empty.
    queues: BTreeMap<QueueKey, BTreeSet<StageNumber>>,
    /// The first stage of each queue.
    heads: BTreeSet<(StageNumber, QueueKey)>,
    /// Whether a stage was added since the last dispatch.
    grew: bool,
}

impl Ready {
    pub(super) fn insert(&mut self, key: QueueKey, stage: StageNumber) {
        let queue = self.queues.entry(key).or_default();
        let head = queue.first().copied();
        queue.insert(stage);
        if head.is_none_or(|head| stage < head) {
            if let Some(head) = head {
                self.heads.remove(&(head, key));
            }
            self.heads.insert((stage, key));
        }
        self.grew = true;
    }

    pub(super) fn remove(&mut self, key: QueueKey, stage: StageNumber) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        queue.remove(&stage);
        if self.heads.remove(&(stage, key)) {
            match queue.first() {
                Some(head) => {
                    self.heads.insert((*head, key));
                }
                None => {
                    self.queues.remove(&key);
                }
            }
        }
    }

    /// Takes the first `count` stages of a queue.
    fn take(&mut self, key: QueueKey, count: u32) -> Vec<StageNumber> {
        let Some(queue) = self.queues.get_mut(&key) else { return vec![] };
        let taken: Vec<StageNumber> = (0..count).map_while(|_| queue.pop_first()).collect();
        if let Some(head) = taken.first() {
            self.heads.remove(&(*head, key));
        }
        match queue.first() {
            Some(head) => {
                self.heads.insert((*head, key));
            }
            None => {
                self.queues.remove(&key);
            }
        }
        taken
    }

    /// Lets the next dispatch look at every worker.
    pub(super) const fn everything_is_new(&mut self) {
        self.grew = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub(super) fn contains(&self, key: QueueKey, stage: StageNumber) -> bool {
        self.queues.get(&key).is_some_and(|queue| queue.contains(&stage))
    }

    pub(super) fn len(&self) -> usize {
        self.queues.values().map(BTreeSet::len).sum()
    }

    /// Whether `heads` is what `queues` says.
    pub(super) fn heads_agree(&self) -> bool {
        let heads = self.queues.iter().filter_map(|(key, queue)| Some((*queue.first()?, *key)));
        heads.collect::<BTreeSet<_>>() == self.heads && self.queues.values().all(|queue| !queue.is_empty())
    }
}

/// What a free slot can do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    Calibrate { class: ClassNumber, stage: StageNumber },
    Run { queue: QueueKey, lanes: u32 },
}

impl Core {
    /// Fills free slots until nothing more can be handed out. Looks only at workers that something has changed for.
    pub(super) fn dispatch(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.is_waiting_for_workers(now) {
            return;
        }
        let woken = std::mem::take(&mut self.woken);
        let grew = std::mem::take(&mut self.ready.grew);
        if self.ready.is_empty() {
            return;
        }
        let candidates = if grew { self.free.clone() } else { woken };
        // A queue is shared out as it was when this round began, so that one round empties it evenly.
        let mut shares = BTreeMap::new();
        for worker in candidates {
            while self.free.contains(&worker)
                && let Some(work) = self.next_work(worker)
            {
                match work {
                    Work::Calibrate { class, stage } => self.calibrate(now, worker, class, stage, effects),
                    Work::Run { queue, lanes } => {
                        let share = *shares.entry(queue).or_insert_with(|| self.share(queue));
                        self.lease(now, worker, queue, lanes.min(share), effects);
                    }
                }
            }
        }
    }

    /// What a free slot of `worker` should do next.
    pub(super) fn next_work(&self, worker: WorkerNumber) -> Option<Work> {
        let worker = self.workers.get(&worker)?;
        self.ready.heads.iter().find_map(|&(stage, queue)| {
            let Some(class) = queue.class else { return Some(Work::Run { queue, lanes: 1 }) };
            match worker.widths.get(&class) {
                None => Some(Work::Calibrate { class, stage }),
                Some(Width::Asked { .. }) => None,
                Some(Width::Assumed) => Some(Work::Run { queue, lanes: 1 }),
                Some(Width::Measured { lanes, .. }) => {
                    Some(Work::Run { queue, lanes: lanes.get().min(queue.width_limit) })
                }
            }
        })
    }

    /// A slot's part of a queue, when all slots of all workers take part: no slot should idle while another one works on a
    /// bundle that could have been two.
    fn share(&self, queue: QueueKey) -> u32 {
        let ready = self.ready.queues.get(&queue).map_or(0, BTreeSet::len) as u64;
        let slots =
            self.workers.values().filter(|worker| worker.takes_work()).map(|worker| u64::from(worker.slots.get()));
        let share = ready.div_ceil(slots.sum::<u64>().max(1)).max(1);
        u32::try_from(share).unwrap_or(u32::MAX)
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
        let open = self.ready.take(queue, lanes);
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
        self.leases.insert(lease, Lease::new(number, width, open, now));
        self.update_free(number);
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
                self.free.remove(&number);
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
