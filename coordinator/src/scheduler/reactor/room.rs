//! Disks that are full. That is nobody's failed attempt, and what has been computed is kept.
//!
//! What a worker has no room for goes to another one, and the worker is quarantined. While the coordinator has too little room, or a worker
//! cannot hand in a result for want of it, nothing more is handed out; what is under way goes on. Where nobody can make up for anybody, on
//! one machine, the sweeps that want the stage stop instead, until a person submits them again.

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

/// A stage could not be done, since the disk of the worker that leases it is full.
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

/// A worker keeps a result for which the coordinator has no room.
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

/// The coordinator looked whether there is enough room on its disk.
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

/// Hands work out again once the result that was said to wait has come, or is not said to wait any more.
pub(super) fn look_for_room(step: &mut Step<'_>) {
    if step.hold.is_over(step.now, |stage| step.ledger.stage(stage).is_ended()) {
        has_room(step);
    }
}
