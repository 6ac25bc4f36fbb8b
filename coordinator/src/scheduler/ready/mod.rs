//! Ready stages: which wait in which queue, and which are leased. State of this life only, derived from the ledger,
//! whose changes it follows ([`Ready::follow`]).
//!
//! It knows workers and leases by number only.

mod queues;

use std::{cmp::Reverse, num::NonZeroU32};

use self::queues::Queues;
pub(super) use self::queues::{AvoidedWorker, BundleKey, QueueKey};
use super::{
    invariants::{InvariantId, InvariantViolation, check},
    ledger::Ledger,
    numbers::{LeaseNumber, StageNumber, SweepNumber},
};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// By stage number. Stages that never became ready may have no slot.
    slots: Vec<Slot>,
    queues: Queues,
}

/// The state of one stage. There are hundreds of thousands.
#[derive(Debug, Default)]
struct Slot {
    place: Place,
    /// The number of its latest attempt. A new life continues from the number of failed attempts.
    attempt: u32,
    /// The worker to avoid for the next attempt, if another one is free.
    avoids: Option<Box<AvoidedWorker>>,
}

/// The place of a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// It cannot run, or no running sweep wants it.
    #[default]
    Idle,
    /// It waits for a slot.
    Queued {
        /// The sweep in whose queue it is.
        sweep: SweepNumber,
        /// The maximum width of its bundle.
        width_limit: u32,
    },
    /// A worker holds it.
    Leased { lease: LeaseNumber, attempt: u32 },
}

/// A place without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Idle,
    Queued,
    Leased,
}

/// All edges between places. Only queued stages are leased.
const EDGES: &[(Kind, Kind)] = &[
    (Kind::Idle, Kind::Queued),
    // It runs for another sweep, or in other bundles.
    (Kind::Queued, Kind::Queued),
    (Kind::Queued, Kind::Idle),
    (Kind::Queued, Kind::Leased),
    // Its attempt is over, and another will follow.
    (Kind::Leased, Kind::Queued),
    // It has ended, or no running sweep wants it.
    (Kind::Leased, Kind::Idle),
];

impl Place {
    const fn kind(self) -> Kind {
        match self {
            Self::Idle => Kind::Idle,
            Self::Queued { .. } => Kind::Queued,
            Self::Leased { .. } => Kind::Leased,
        }
    }
}

impl Slot {
    /// Enters a place. Nothing else writes it.
    ///
    /// # Panics
    /// If there is no such edge.
    fn enter(&mut self, next: Place) {
        let edge = (self.place.kind(), next.kind());
        assert!(EDGES.contains(&edge), "a stage cannot go from {:?} to {:?}", edge.0, edge.1);
        self.place = next;
    }
}

impl Ready {
    /// What is ready at the start of a life: nothing is leased.
    pub(super) fn of(ledger: &Ledger) -> Self {
        let slot = |failed| Slot { attempt: failed, ..Slot::default() };
        let mut ready =
            Self { slots: ledger.stages().map(|(_, stage)| slot(stage.failed())).collect(), queues: Queues::default() };
        for (number, _) in ledger.stages() {
            ready.settle(ledger, number);
        }
        ready
    }

    /// Moves a stage whose state changed to its place. Returns the lease that must give it up.
    pub(super) fn follow(&mut self, ledger: &Ledger, number: StageNumber) -> Option<LeaseNumber> {
        if number.index() >= self.slots.len() {
            self.slots.resize_with(ledger.stages().len(), Slot::default);
        }
        let next = belongs(ledger, number);
        let lease = match self.place(number) {
            // The current attempt continues.
            Place::Leased { .. } if next != Place::Idle => return None,
            Place::Leased { lease, .. } => Some(lease),
            Place::Idle | Place::Queued { .. } => None,
        };
        self.settle(ledger, number);
        if !ledger.stage(number).is_open() {
            // Not before, because it is part of the key of the queue that the stage was in.
            self.slots[number.index()].avoids = None;
        }
        lease
    }

    /// The attempt at a leased stage is over. Returns its lease.
    pub(super) fn release(&mut self, ledger: &Ledger, number: StageNumber) -> Option<LeaseNumber> {
        let Place::Leased { lease, .. } = self.place(number) else { return None };
        self.put(ledger, number, belongs(ledger, number));
        Some(lease)
    }

    /// Gives a lease the first `count` stages of a queue, or all. Returns them with their attempts.
    pub(super) fn lease(&mut self, queue: QueueKey, count: u32, lease: LeaseNumber) -> Vec<(StageNumber, u32)> {
        let taken = self.queues.take(queue, count);
        let give = |number: StageNumber| {
            let slot = &mut self.slots[number.index()];
            slot.attempt = slot.attempt.saturating_add(1);
            slot.enter(Place::Leased { lease, attempt: slot.attempt });
            (number, slot.attempt)
        };
        taken.into_iter().map(give).collect()
    }

    /// Gives a stage to a lease of an earlier attachment if it is still queued. Returns the sweep that it runs for.
    pub(super) fn adopt(
        &mut self,
        ledger: &Ledger,
        number: StageNumber,
        lease: LeaseNumber,
        attempt: u32,
    ) -> Option<SweepNumber> {
        let Place::Queued { sweep, .. } = self.place(number) else { return None };
        let slot = &mut self.slots[number.index()];
        slot.attempt = slot.attempt.max(attempt);
        self.put(ledger, number, Place::Leased { lease, attempt });
        Some(sweep)
    }

    /// Notes that a stage failed on a worker, so that its next attempt prefers another.
    pub(super) fn avoid(&mut self, ledger: &Ledger, number: StageNumber, avoided: AvoidedWorker) {
        let place = self.place(number);
        let is_queued = matches!(place, Place::Queued { .. });
        if is_queued {
            self.put(ledger, number, Place::Idle);
        }
        if let Some(slot) = self.slots.get_mut(number.index()) {
            slot.avoids = Some(Box::new(avoided));
        }
        if is_queued {
            self.put(ledger, number, place);
        }
    }

    /// Makes the next dispatch look at every worker.
    pub(super) const fn look_again(&mut self) {
        self.queues.look_again();
    }

    /// Whether anything changed since the last call.
    pub(super) const fn take_news(&mut self) -> bool {
        self.queues.take_news()
    }

    pub(super) fn place(&self, number: StageNumber) -> Place {
        self.slots.get(number.index()).map_or(Place::Idle, |slot| slot.place)
    }

    /// The current lease and attempt of a stage.
    pub(super) fn lease_of(&self, number: StageNumber) -> Option<(LeaseNumber, u32)> {
        match self.place(number) {
            Place::Leased { lease, attempt } => Some((lease, attempt)),
            Place::Idle | Place::Queued { .. } => None,
        }
    }

    pub(super) const fn queues(&self) -> &Queues {
        &self.queues
    }

    /// Moves a stage that is not leased to its place.
    fn settle(&mut self, ledger: &Ledger, number: StageNumber) {
        let (place, next) = (self.place(number), belongs(ledger, number));
        if place != next {
            self.put(ledger, number, next);
        }
    }

    /// Moves a stage from its queue to another place.
    fn put(&mut self, ledger: &Ledger, number: StageNumber, next: Place) {
        if let Some(queue) = self.queue_of(ledger, number, self.place(number)) {
            self.queues.remove(queue, number);
        }
        if let Some(queue) = self.queue_of(ledger, number, next) {
            self.queues.insert(queue, number);
        }
        self.slots[number.index()].enter(next);
    }

    fn queue_of(&self, ledger: &Ledger, number: StageNumber, place: Place) -> Option<QueueKey> {
        let Place::Queued { sweep, width_limit } = place else { return None };
        let avoids = self.slots[number.index()].avoids.as_deref().copied();
        let lanes = BundleKey { class: ledger.stage(number).class(), width_limit, avoids };
        Some(QueueKey { sweep, lanes })
    }

    /// Recomputes and compares redundant state.
    pub(super) fn check(&self, ledger: &Ledger) -> Result<(), InvariantViolation> {
        let mut queued = 0;
        for (number, stage) in ledger.stages() {
            let place = self.place(number);
            let expected = belongs(ledger, number);
            let in_queue = self.queue_of(ledger, number, place).is_none_or(|key| self.queues.contains(key, number));
            queued += usize::from(matches!(place, Place::Queued { .. }));
            let holds = match place {
                Place::Leased { .. } => matches!(expected, Place::Queued { .. }),
                place => place == expected && in_queue,
            };
            check(InvariantId::QueuesAgree, holds, || format!("{number:?} {stage:?} is {place:?}, not {expected:?}"))?;
        }
        check(InvariantId::QueuesAgree, queued == self.queues.len() && self.queues.agrees(), || {
            format!("{queued} stages are ready, {} are queued", self.queues.len())
        })
    }
}

/// The place of a stage that is not leased.
fn belongs(ledger: &Ledger, number: StageNumber) -> Place {
    let stage = ledger.stage(number);
    if stage.is_open() && stage.is_wanted() {
        Place::Queued { sweep: runs_for(ledger, number), width_limit: stage.width_limit() }
    } else {
        Place::Idle
    }
}

/// The sweep for which a stage runs: of the running sweeps that list it, the one that runs it soonest. A draining one
/// only if there is no other.
fn runs_for(ledger: &Ledger, stage: StageNumber) -> SweepNumber {
    let stage = ledger.stage(stage);
    let running = stage.sweeps().filter(|sweep| ledger.sweep(*sweep).is_running());
    let first = running.min_by_key(|sweep| {
        let share = ledger.sweep(*sweep).share();
        let limit = share.max_workers.map_or(u32::MAX, NonZeroU32::get);
        (share.drains, Reverse(share.priority), Reverse(limit), *sweep)
    });
    first.unwrap_or(stage.home())
}
