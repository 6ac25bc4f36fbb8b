//! Turns: which sweep a free slot works for, and on which of its stages. Decides, and changes nothing.
//!
//! The sweep with the highest priority comes first. Among equals it is the one with the fewest leases, then the one
//! that has waited longest. So a small sweep gets slots beside a big one, and they alternate if there is a single slot.
//!
//! A slot serves the sweep whose turn it is. Of the queues that its worker can serve, it takes the one with the oldest
//! first stage. Parents come before children in a plan, so stages that unblock others run first.

use std::cmp::Reverse;

use super::{
    fleet::{Width, Worker},
    numbers::{ClassNumber, StageNumber, SweepNumber, WorkerNumber},
    parts::Parts,
    ready::{AvoidedWorker, BundleKey, QueueKey},
};

/// Work for a free slot.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// Measure the width of bundles of a class.
    Calibrate { class: ClassNumber, stage: StageNumber },
    /// Run up to `lanes` stages of a queue.
    Run { queue: QueueKey, lanes: u32 },
}

/// The next work for a free slot of a worker. Stages that failed on it come last, and only if no other worker is free
/// for them and the pause is over.
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

/// The sweeps with ready stages that a worker may serve, in the order of their turns.
pub(super) fn turns(parts: Parts<'_>, worker: WorkerNumber) -> Vec<SweepNumber> {
    let mut turns: Vec<_> = parts.ready.queues().sweeps().filter(|sweep| admits(parts, *sweep, worker)).collect();
    turns.sort_unstable_by_key(|number| {
        let (leases, last_turn) = parts.fleet.load(*number).map_or((0, 0), |load| (load.leases(), load.last_turn()));
        (Reverse(parts.ledger.sweep(*number).share().priority), leases, last_turn, *number)
    });
    turns
}

/// Whether a worker may serve a sweep: it serves it already, or the limit of workers is not reached.
fn admits(parts: Parts<'_>, sweep: SweepNumber, worker: WorkerNumber) -> bool {
    let share = parts.ledger.sweep(sweep).share();
    if share.drains {
        return false;
    }
    let Some(limit) = share.max_workers else { return true };
    parts.fleet.load(sweep).is_none_or(|load| load.has(worker) || load.workers() < limit.get() as usize)
}

/// Whether a sweep has reached its limit of workers.
pub(super) fn is_at_limit(parts: Parts<'_>, sweep: SweepNumber) -> bool {
    let workers = parts.fleet.load(sweep).map_or(0, |load| load.workers());
    parts.ledger.sweep(sweep).share().max_workers.is_some_and(|limit| workers >= limit.get() as usize)
}

/// Whether a running sweep that is not draining wants a stage.
pub(super) fn gets_work(parts: Parts<'_>, stage: StageNumber) -> bool {
    let mut sweeps = parts.ledger.stage(stage).sweeps().map(|sweep| parts.ledger.sweep(sweep));
    sweeps.any(|sweep| sweep.is_running() && !sweep.share().drains)
}

/// The first work of a sweep for a worker, among stages that `may_run` allows.
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

/// The number of ready stages with this bundle key, without those of draining sweeps.
pub(super) fn to_share_out(parts: Parts<'_>, lanes: BundleKey) -> usize {
    let queues = parts.ready.queues();
    let draining = queues.sweeps().filter(|sweep| parts.ledger.sweep(*sweep).share().drains);
    let held: usize = draining.map(|sweep| queues.count_of(QueueKey { sweep, lanes })).sum();
    queues.count(lanes).saturating_sub(held)
}

/// A slot's share of the ready stages if all slots take part: no slot should be idle while another runs a bundle that
/// could have been divided.
pub(super) fn part_of(parts: Parts<'_>, ready: usize, sweep: SweepNumber, worker: WorkerNumber) -> u32 {
    let slots = |worker: &Worker| u64::from(worker.slots());
    let takers = parts.fleet.workers().filter(|(_, worker)| worker.takes_work());
    let all: u64 = takers.map(|(_, worker)| slots(worker)).sum();
    let limit = parts.ledger.sweep(sweep).share().max_workers;
    let allowed = limit.zip(parts.fleet.worker(worker)).map_or(all, |(limit, worker)| {
        // All workers are assumed to have equal speed.
        all.min(u64::from(limit.get()).saturating_mul(slots(worker)))
    });
    u32::try_from((ready as u64).div_ceil(allowed.max(1)).max(1)).unwrap_or(u32::MAX)
}
