//! Changes caused by time alone: start of a life, silent, absent and stuck workers, and ends of quarantines.

use secateur_proto::outcome::{Failure, FailureClass};

use super::{attempts::attempt_failed, faults::faulted, room::look_for_room, sweeps::end_drains, workers::left};
use crate::scheduler::{
    fleet::Fleet,
    hold::Hold,
    journal::Record,
    message::{Departure, Effect, Rejection},
    numbers::{LeaseNumber, WorkerNumber},
    parts::Step,
    ready::Ready,
};

/// Starts a life without workers. If there is unfinished work, workers may hold leases for it.
pub(in crate::scheduler) fn started(step: &mut Step<'_>) -> Result<(), Rejection> {
    step.write(Record::Started)?;
    *step.fleet = Fleet::default();
    *step.ready = Ready::of(step.ledger);
    let is_running = step.ledger.sweeps().any(|(_, sweep)| sweep.is_running());
    *step.hold = Hold::begin(step.now, step.policy.reattach_ms > 0 && is_running);
    Ok(())
}

pub(in crate::scheduler) fn ticked(step: &mut Step<'_>) -> Result<(), Rejection> {
    let (now, policy) = (step.now, step.policy);
    let (right, slept) = step.fleet.tick(now, policy.worker_silence_ms);
    step.hold.correct_times(right);
    if slept {
        return Ok(());
    }
    end_drains(step)?;
    for number in step.fleet.gone(now, policy.reattach_ms) {
        left(step, number, Departure::Lost)?;
    }
    let silence = policy.worker_silence_ms;
    for number in step.fleet.silent(now, silence) {
        detach(step, number, format!("it was silent for more than {silence} ms"))?;
    }
    let limit = policy.unconfirmed_ms;
    for number in step.fleet.unconfirmed(now, limit) {
        detach(step, number, format!("it did not confirm within {limit} ms that it dropped a lease"))?;
    }
    step.fleet.end_quarantines(now, policy.quarantine_ms);
    step.fleet.end_rests(now, policy.pause_ms);
    look_for_room(step);
    if let Some(limit) = policy.stuck_ms {
        for number in step.fleet.stuck(now, limit) {
            take_back(step, number, limit)?;
        }
    }
    step.fleet.give_up_questions(now, policy.calibration_ms);
    Ok(())
}

/// Detaches a worker that is considered dead.
fn detach(step: &mut Step<'_>, number: WorkerNumber, reason: String) -> Result<(), Rejection> {
    let worker = step.fleet.worker(number).map(|worker| worker.id().clone());
    step.decision.effects.extend(worker.map(|worker| Effect::Detach { worker, reason }));
    left(step, number, Departure::Lost)
}

/// Revokes a lease without progress. Its attempts have failed.
fn take_back(step: &mut Step<'_>, number: LeaseNumber, limit: u64) -> Result<(), Rejection> {
    let Some((open, holder, width)) = step.fleet.take_back(number, &mut step.decision.effects) else { return Ok(()) };
    let failure = Failure::new(FailureClass::Executor, format!("there was no progress for more than {limit} ms"));
    for stage in &open {
        attempt_failed(step, *stage, holder, width, &failure)?;
    }
    if !open.is_empty() {
        faulted(step, holder, &open, width, &failure);
    }
    Ok(())
}
