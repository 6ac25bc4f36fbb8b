//! Full disks. No attempt fails because of them, and computed results are kept.
//!
//! A stage that does not fit on a worker's disk is retried on another worker, and the worker is quarantined. While the
//! coordinator has too little space, or a worker cannot upload a result for lack of it, nothing more is leased; leased
//! work continues. On a single machine no other worker can help. There the sweeps that want the stage stop until a
//! person submits them again.

use secateur_proto::{
    ids::{StageKey, WorkerId},
    outcome::Failure,
};

use crate::scheduler::{
    journal::Record,
    message::{Effect, Rejection},
    numbers::{StageNumber, WorkerNumber},
    parts::Step,
};

/// The disk of the worker that leases a stage is full.
pub(super) fn no_room(
    step: &mut Step<'_>,
    stage: StageNumber,
    worker: WorkerNumber,
    failure: &Failure,
) -> Result<(), Rejection> {
    if step.policy.quarantine_after.is_none() {
        let name = step.fleet.worker(worker).map_or("?", |worker| worker.name());
        let reason = format!("on worker {name}: {}: free some space, then run the same command again", failure.message);
        stop_sweeps_of(step, stage, &reason)?;
    }
    step.release(stage);
    step.try_elsewhere(stage, worker, false);
    Ok(())
}

fn stop_sweeps_of(step: &mut Step<'_>, stage: StageNumber, reason: &str) -> Result<(), Rejection> {
    let sweeps = step.ledger.stage(stage).sweeps().map(|sweep| step.ledger.sweep(sweep));
    let running = sweeps.filter(|sweep| sweep.is_running());
    for sweep in running.map(|sweep| sweep.id().clone()).collect::<Vec<_>>() {
        step.write(Record::SweepStopped { sweep, reason: reason.to_owned() })?;
    }
    Ok(())
}

/// A worker keeps a result because the coordinator has no space for it.
pub(in crate::scheduler) fn result_waits(
    step: &mut Step<'_>,
    worker: &WorkerId,
    key: &StageKey,
    bytes: u64,
) -> Result<(), Rejection> {
    let number = step.fleet.number_of(worker)?;
    let stage = step.ledger.stage_number(key)?;
    step.progressed(number, key);
    if !step.ledger.stage(stage).is_ended() {
        fills_up(step, Some(stage), bytes);
    }
    Ok(())
}

/// The coordinator checked the free space of its disk.
pub(in crate::scheduler) fn room_checked(step: &mut Step<'_>, is_enough: bool) {
    if !is_enough {
        fills_up(step, None, 0);
    } else if step.hold.is_found_full() {
        has_room(step);
    }
}

fn fills_up(step: &mut Step<'_>, stage: Option<StageNumber>, bytes: u64) {
    if step.hold.fills_up(step.now, stage, bytes) {
        step.decision.effects.push(Effect::Full(true));
    }
}

fn has_room(step: &mut Step<'_>) {
    step.hold.has_room();
    step.decision.effects.push(Effect::Full(false));
    step.ready.look_again();
}

/// Resumes leasing once the waiting result has arrived, or is no longer reported.
pub(super) fn look_for_room(step: &mut Step<'_>) {
    if step.hold.is_over(step.now, |stage| step.ledger.stage(stage).is_ended()) {
        has_room(step);
    }
}
