//! Dispatch: fills free slots from the queues of ready stages, in their [turns](super::turns).
//!
//! Remaining lanes of a bundle are filled with stages of other sweeps.

use std::collections::BTreeMap;

use super::{
    fleet::NewLease,
    message::Effect,
    numbers::{ClassNumber, StageNumber, SweepNumber, WorkerNumber},
    parts::Step,
    ready::QueueKey,
    turns::{Work, next_work, part_of, to_share_out, turns},
};

/// Fills free slots until nothing more can be leased. Only looks at workers for which something has changed.
pub(super) fn dispatch(step: &mut Step<'_>) {
    if step.hold.ends_wait(step.now, step.policy.reattach_ms) {
        step.ready.look_again();
    }
    if step.hold.is_waiting() || step.hold.is_full() {
        return;
    }
    // Ready stages are divided by their count at the start of the round, so that one round divides them evenly.
    let mut ready = BTreeMap::new();
    loop {
        let candidates = candidates(step);
        if candidates.is_empty() || step.ready.queues().is_empty() {
            return;
        }
        for worker in candidates {
            while step.fleet.is_free(worker)
                && let Some(work) = next_work(step.parts(), worker)
            {
                match work {
                    Work::Calibrate { class, stage } => calibrate(step, worker, class, stage),
                    Work::Run { queue, lanes } => {
                        let parts = step.parts();
                        let ready = *ready.entry(queue.lanes).or_insert_with(|| to_share_out(parts, queue.lanes));
                        let part = part_of(parts, ready, queue.sweep, worker);
                        lease(step, worker, queue, lanes.min(part));
                    }
                }
            }
        }
    }
}

/// The workers that may get a lease now.
fn candidates(step: &mut Step<'_>) -> Vec<WorkerNumber> {
    let news = step.fleet.take_news();
    let is_limited = |sweep: &SweepNumber| step.ledger.sweep(*sweep).share().max_workers.is_some();
    let for_all = news.all || news.fewer_free && step.ready.queues().has_failed() || news.left.iter().any(is_limited);
    if step.ready.take_news() || for_all {
        step.fleet.free().iter().copied().collect()
    } else {
        news.woken.into_iter().collect()
    }
}

fn calibrate(step: &mut Step<'_>, number: WorkerNumber, class: ClassNumber, stage: StageNumber) {
    let Some(worker) = step.fleet.worker(number) else { return };
    let (worker, stage) = (worker.id().clone(), step.ledger.key_of(stage));
    step.decision.effects.push(Effect::Calibrate { worker, class: step.ledger.class(class).clone(), stage });
    step.fleet.ask_width(number, class, step.now);
}

fn lease(step: &mut Step<'_>, number: WorkerNumber, queue: QueueKey, lanes: u32) {
    let Some(worker) = step.fleet.worker(number).map(|worker| worker.id().clone()) else { return };
    let lease = step.fleet.next_lease(step.ledger.life());
    let mut taken = step.ready.lease(queue, lanes, lease);
    let mut sweeps = vec![queue.sweep];
    let missing = |taken: &Vec<_>| lanes.saturating_sub(u32::try_from(taken.len()).unwrap_or(u32::MAX));
    if queue.lanes.class.is_some() && missing(&taken) > 0 && step.ready.queues().count(queue.lanes) > 0 {
        for sweep in turns(step.parts(), number) {
            let more = step.ready.lease(QueueKey { sweep, ..queue }, missing(&taken), lease);
            if !more.is_empty() {
                taken.extend(more);
                sweeps.push(sweep);
            }
        }
    }
    let open = taken.iter().map(|(stage, _)| *stage).collect();
    let stages = taken.iter().map(|(stage, attempt)| (step.ledger.key_of(*stage), *attempt)).collect();
    step.decision.effects.push(Effect::Lease { worker, lease: lease.id(), stages });
    let width = u32::try_from(taken.len()).unwrap_or(u32::MAX);
    step.fleet.open_lease(lease, NewLease { worker: number, width, open, sweeps, adopted: false }, step.now);
}
