//! Reports of workers on their leases: progress, checkpoints, ended stages, free slots.

use secateur_proto::{
    ids::{LeaseId, StageKey, WorkerId},
    outcome::{Checkpoint, Failure, StageOutcome},
};

use super::{
    attempts::{attempt_failed, close_lease},
    faults::faulted,
    room::look_for_room,
};
use crate::scheduler::{
    fault_injection::Fault,
    journal::Record,
    ledger::StageState,
    message::Rejection,
    numbers::{LeaseNumber, StageNumber, WorkerNumber},
    parts::Step,
};

/// A worker's report on a stage under a lease.
pub(in crate::scheduler) struct Report<'a> {
    pub(in crate::scheduler) worker: &'a WorkerId,
    pub(in crate::scheduler) lease: &'a LeaseId,
    pub(in crate::scheduler) stage: StageKey,
    pub(in crate::scheduler) attempt: u32,
    pub(in crate::scheduler) outcome: &'a StageOutcome,
}

/// Handles the end of an attempt. A final result (completed, diverged, collapsed) is accepted from any worker while the
/// stage is open, because equal keys have equal results. Anything else counts only from the current attempt.
pub(in crate::scheduler) fn reported(step: &mut Step<'_>, report: &Report<'_>) -> Result<(), Rejection> {
    let stage = step.ledger.stage_number(&report.stage)?;
    let reporter = step.fleet.find(report.worker);
    let held = LeaseNumber::parse(report.lease).and_then(|number| Some((number, step.fleet.lease(number)?)));
    let own = held.filter(|(_, lease)| Some(lease.worker()) == reporter).map(|(number, _)| number);
    let is_final = is_final(report.outcome);
    let is_ended = match step.ledger.stage(stage).state() {
        StageState::Ended(_) => true,
        StageState::Waiting { .. } if is_final => return Err(Rejection::ParentsMissing(report.stage)),
        _ => false,
    };
    if !is_ended && !is_final {
        if reporter.is_none() {
            return Err(Rejection::UnknownWorker(report.worker.clone()));
        }
        if held.is_some() && own.is_none() {
            return Err(Rejection::NotTheOwner { worker: report.worker.clone(), lease: report.lease.clone() });
        }
    }
    if let Some(reporter) = reporter {
        step.fleet.seen(reporter, step.now);
    }
    if let Some(own) = own {
        step.fleet.progressed(own, step.now);
    }
    if is_ended || is_final && own.is_none() && step.policy.faults().has(Fault::LateResultDropped) {
        return Ok(());
    }
    if is_final { result_came(step, stage, reporter, own, report) } else { attempt_ended(step, stage, own, report) }
}

const fn is_final(outcome: &StageOutcome) -> bool {
    match outcome {
        StageOutcome::Completed(_) | StageOutcome::Diverged { .. } | StageOutcome::Collapsed { .. } => true,
        StageOutcome::Failed(_) | StageOutcome::Cancelled => false,
    }
}

fn result_came(
    step: &mut Step<'_>,
    stage: StageNumber,
    reporter: Option<WorkerNumber>,
    own: Option<LeaseNumber>,
    report: &Report<'_>,
) -> Result<(), Rejection> {
    if let Some(own) = own {
        step.fleet.reported(own, stage);
    }
    step.write(Record::StageEnded { stage: report.stage, outcome: report.outcome.clone() })?;
    look_for_room(step);
    if matches!(report.outcome, StageOutcome::Completed(_)) {
        for sweep in step.ledger.stage(stage).sweeps() {
            step.fleet.completed_for(sweep);
        }
        if let Some(reporter) = reporter {
            step.fleet.completed(reporter);
        }
    }
    Ok(())
}

fn attempt_ended(
    step: &mut Step<'_>,
    stage: StageNumber,
    own: Option<LeaseNumber>,
    report: &Report<'_>,
) -> Result<(), Rejection> {
    let Some((out, attempt)) = step.ready.lease_of(stage) else { return Ok(()) };
    let is_out = own == Some(out) && report.attempt == attempt;
    if !is_out && !step.policy.faults().has(Fault::AttemptNotChecked) {
        return Ok(());
    }
    let Some((holder, width)) = step.fleet.reported(out, stage) else { return Ok(()) };
    match report.outcome {
        StageOutcome::Failed(failure) if failure.class.is_retryable() => {
            attempt_failed(step, stage, holder, width, failure)?;
            faulted(step, holder, &[stage], width, failure);
        }
        StageOutcome::Failed(_) => {
            step.write(Record::StageEnded { stage: report.stage, outcome: report.outcome.clone() })?;
        }
        _ => {
            step.release(stage);
            step.fleet.leaves(holder);
        }
    }
    Ok(())
}

/// Keeps the newest checkpoint of an open stage, from any worker. Checkpoints of ended stages and earlier checkpoints
/// are ignored.
pub(in crate::scheduler) fn checkpointed(
    step: &mut Step<'_>,
    worker: &WorkerId,
    key: StageKey,
    checkpoint: Checkpoint,
) -> Result<(), Rejection> {
    let number = step.fleet.number_of(worker)?;
    let stage = step.ledger.stage_number(&key)?;
    step.progressed(number, &key);
    let stage = step.ledger.stage(stage);
    let is_older = stage.checkpoint().is_some_and(|known| known.epoch >= checkpoint.epoch);
    if stage.is_ended() || is_older && !step.policy.faults().has(Fault::AnyCheckpointKept) {
        return Ok(());
    }
    step.write(Record::Checkpointed { stage: key, checkpoint })
}

pub(in crate::scheduler) fn lease_ended(
    step: &mut Step<'_>,
    worker: &WorkerId,
    id: &LeaseId,
    failure: Option<&Failure>,
) -> Result<(), Rejection> {
    let number = step.fleet.number_of(worker)?;
    let held = LeaseNumber::parse(id).and_then(|number| Some((number, step.fleet.lease(number)?)));
    let (lease_number, lease) = held.ok_or_else(|| Rejection::UnknownLease(id.clone()))?;
    if lease.worker() != number {
        return Err(Rejection::NotTheOwner { worker: worker.clone(), lease: id.clone() });
    }
    let (open, width, adopted) = (lease.open().to_vec(), lease.width(), lease.is_adopted());
    step.fleet.seen(number, step.now);
    close_lease(step, lease_number, failure)?;
    step.fleet.wake(number);
    match failure {
        _ if open.is_empty() => {}
        Some(failure) => faulted(step, number, &open, width, failure),
        // An earlier life told the worker to drop the lease. It returns the lease now and remains healthy.
        None if adopted => {}
        None => step.fleet.leaves(number),
    }
    Ok(())
}
