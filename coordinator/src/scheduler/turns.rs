//! Whose turn it is: which sweep a free slot works for, and on which of its stages. Decides, and changes nothing.
//!
//! A sweep of higher priority goes first. Among equals the one that holds the fewest leases does, and among those the one that has
//! waited longest: so a small sweep gets slots beside a big one, and with a single slot they take turns.
//!
//! A slot takes from the sweep whose turn it is, and there from the queue whose first stage is the oldest among those that its worker
//! can serve. Parents come before children in a plan, so what unblocks others goes first.

use std::cmp::Reverse;

use super::{
    fleet::{Width, Worker},
    numbers::{ClassNumber, StageNumber, SweepNumber, WorkerNumber},
    parts::Parts,
    ready::{AvoidedWorker, BundleKey, QueueKey},
};

/// What a free slot can do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// Measure how wide bundles of a class may be.
    Calibrate { class: ClassNumber, stage: StageNumber },
    /// Run up to so many stages of a queue.
    Run { queue: QueueKey, lanes: u32 },
}

/// What a free slot of a worker should do next. What failed on it comes last, and only if no other worker is free for it and this one has
/// rested.
pub(super) fn next_work(parts: Parts<'_>, number: WorkerNumber) -> Option<Work> {
    let turns = turns(parts, number);
    let of_others = |avoided: AvoidedWorker| avoided.worker != number;
    let work = turns.iter().find_map(|sweep| work_of(parts, *sweep, number, of_others));
    if work.is_some() || !parts.ready.queues().has_failed() {
        return work;
    }
    let is_last_resort = |sweep: &&SweepNumber| {
        !parts.fleet.free().iter().any(|other| *other != number && admits(parts, **sweep, *other))
    };
    let round = parts.fleet.worker(number)?.health().round();
    let may_again = |avoided: AvoidedWorker| avoided.worker == number && avoided.round <= round;
    turns.iter().filter(is_last_resort).find_map(|sweep| work_of(parts, *sweep, number, may_again))
}

/// The sweeps with ready stages of which a worker may take some, in the order of their turns.
pub(super) fn turns(parts: Parts<'_>, worker: WorkerNumber) -> Vec<SweepNumber> {
    let mut turns: Vec<_> = parts.ready.queues().sweeps().filter(|sweep| admits(parts, *sweep, worker)).collect();
    turns.sort_unstable_by_key(|number| {
        let (leases, last_turn) = parts.fleet.load(*number).map_or((0, 0), |load| (load.leases(), load.last_turn()));
        (Reverse(parts.ledger.sweep(*number).share().priority), leases, last_turn, *number)
    });
    turns
}

/// Whether a worker may take stages of a sweep: it is one of its workers, or can become one.
fn admits(parts: Parts<'_>, sweep: SweepNumber, worker: WorkerNumber) -> bool {
    let share = parts.ledger.sweep(sweep).share();
    if share.drains {
        return false;
    }
    let Some(limit) = share.max_workers else { return true };
    parts.fleet.load(sweep).is_none_or(|load| load.has(worker) || load.workers() < limit.get() as usize)
}

/// Whether a sweep has as many workers as it may have.
pub(super) fn is_at_limit(parts: Parts<'_>, sweep: SweepNumber) -> bool {
    let workers = parts.fleet.load(sweep).map_or(0, |load| load.workers());
    parts.ledger.sweep(sweep).share().max_workers.is_some_and(|limit| workers >= limit.get() as usize)
}

/// Whether a running sweep that does not drain wants a stage.
pub(super) fn gets_work(parts: Parts<'_>, stage: StageNumber) -> bool {
    let mut sweeps = parts.ledger.stage(stage).sweeps().map(|sweep| parts.ledger.sweep(sweep));
    sweeps.any(|sweep| sweep.is_running() && !sweep.share().drains)
}

/// The first work of a sweep that a worker can do, of those stages that are to be tried where `may_run` says.
fn work_of(
    parts: Parts<'_>,
    sweep: SweepNumber,
    number: WorkerNumber,
    may_run: impl Fn(AvoidedWorker) -> bool,
) -> Option<Work> {
    let worker = parts.fleet.worker(number)?;
    let mut heads = parts.ready.queues().heads(sweep).filter(|(_, lanes)| lanes.avoids.is_none_or(&may_run));
    heads.find_map(|(stage, lanes)| {
        let run = |width| Some(Work::Run { queue: QueueKey { sweep, lanes }, lanes: width });
        let Some(class) = lanes.class else { return run(1) };
        match worker.width(class) {
            None => Some(Work::Calibrate { class, stage }),
            Some(Width::Asked { .. }) => None,
            Some(Width::Assumed) => run(1),
            Some(Width::Measured { lanes: width, .. }) => run(width.get().min(lanes.width_limit)),
        }
    })
}

/// Ready stages that may share a bundle, but for those of sweeps that drain.
pub(super) fn to_share_out(parts: Parts<'_>, lanes: BundleKey) -> usize {
    let queues = parts.ready.queues();
    let draining = queues.sweeps().filter(|sweep| parts.ledger.sweep(*sweep).share().drains);
    let held: usize = draining.map(|sweep| queues.count_of(QueueKey { sweep, lanes })).sum();
    queues.count(lanes).saturating_sub(held)
}

/// A slot's part of so many ready stages, when all slots that may take part do: no slot should idle while another one works on a bundle
/// that could have been two.
pub(super) fn part_of(parts: Parts<'_>, ready: usize, sweep: SweepNumber, worker: WorkerNumber) -> u32 {
    let slots = |worker: &Worker| u64::from(worker.slots());
    let takers = parts.fleet.workers().filter(|(_, worker)| worker.takes_work());
    let all: u64 = takers.map(|(_, worker)| slots(worker)).sum();
    let limit = parts.ledger.sweep(sweep).share().max_workers;
    let allowed = limit.zip(parts.fleet.worker(worker)).map_or(all, |(limit, worker)| {
        // Workers are taken to be alike.
        all.min(u64::from(limit.get()).saturating_mul(slots(worker)))
    });
    u32::try_from((ready as u64).div_ceil(allowed.max(1)).max(1)).unwrap_or(u32::MAX)
}
