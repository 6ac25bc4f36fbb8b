//! Failed attempts: which of them count, whether to retry, and when a stage is poison.

use std::collections::BTreeSet;

use secateur_proto::outcome::{Failure, FailureClass, StageOutcome};

use super::{faults::makes_up_for, room::no_room};
use crate::scheduler::{
    fault_injection::Fault,
    journal::{AttemptId, FailedAttempt, Record},
    ledger::Stage,
    message::Rejection,
    numbers::{LeaseNumber, StageNumber, WorkerNumber},
    parts::Step,
};

/// The maximum length in characters of each crash message that is quoted.
const MAX_EVIDENCE_CHARS: usize = 300;

/// Handles the failure of the current attempt at a leased stage. It counts once: a worker that does not know that its
/// failure was recorded reports it again. A failure because the worker lacks something counts only if no other worker
/// can run the stage.
pub(super) fn attempt_failed(
    step: &mut Step<'_>,
    stage: StageNumber,
    worker: WorkerNumber,
    lanes: u32,
    failure: &Failure,
) -> Result<(), Rejection> {
    let is_alone = lanes <= 1;
    if failure.class == FailureClass::NoSpace {
        return no_room(step, stage, worker, failure);
    }
    if failure.class == FailureClass::Unfit {
        if is_alone && makes_up_for(step, worker) {
            step.release(stage);
            step.try_elsewhere(stage, worker, false);
            return Ok(());
        }
        // Recorded as a storage failure: that files could not be read is all that matters here.
        let failure = Failure::new(FailureClass::Storage, failure.message.clone());
        return attempt_failed(step, stage, worker, lanes, &failure);
    }
    let id = step.ready.lease_of(stage).map(|(lease, number)| AttemptId { lease: lease.id(), number });
    let known = step.ledger.stage(stage);
    if id.as_ref().is_some_and(|id| known.has_counted(id)) && !step.policy.faults().has(Fault::FailureCountedAgain) {
        step.release(stage);
        step.try_elsewhere(stage, worker, is_alone);
        return Ok(());
    }
    let class = failure.class;
    let failed_alone = known.failed_alone(class) + 1;
    let key = step.ledger.key_of(stage);
    let name = step.fleet.worker(worker).map(|worker| worker.name().to_owned());
    let goes_on = class.is_retryable() && failed_alone < attempts_allowed(step, stage, class);
    if !is_alone || goes_on {
        step.write(Record::AttemptFailed { stage: key, lanes, failure: failure.clone(), worker: name, attempt: id })?;
        step.release(stage);
        step.try_elsewhere(stage, worker, is_alone);
        return Ok(());
    }
    let last = FailedAttempt { worker: name, lanes, failure: failure.clone() };
    let failure = if class.is_retryable() { given_up(known, &last, failed_alone) } else { last.failure };
    step.write(Record::StageEnded { stage: key, outcome: StageOutcome::Failed(failure) })
}

/// How often a stage may fail alone with this class: the largest limit of the running sweeps that list it.
fn attempts_allowed(step: &Step<'_>, stage: StageNumber, class: FailureClass) -> u32 {
    let sweeps = step.ledger.stage(stage).sweeps().map(|sweep| step.ledger.sweep(sweep));
    let running = sweeps.filter(|sweep| sweep.is_running());
    let allowed = running.map(|sweep| sweep.plan().last().sweep.attempts.of(class).unwrap_or(step.policy.max_attempts));
    allowed.max().unwrap_or(step.policy.max_attempts).get()
}

/// The final failure of a stage after its last attempt. One that crashed executors on several workers, alone, is
/// poison.
fn given_up(stage: &Stage, last: &FailedAttempt, failed_alone: u32) -> Failure {
    let same = |attempt: &&FailedAttempt| attempt.lanes <= 1 && attempt.failure.class == last.failure.class;
    let alone: Vec<&FailedAttempt> = stage.attempts().iter().chain([last]).filter(same).collect();
    let workers: BTreeSet<&str> = alone.iter().filter_map(|attempt| attempt.worker.as_deref()).collect();
    if last.failure.class == FailureClass::Executor && workers.len() > 1 {
        let evidence = alone.iter().map(|attempt| {
            let message: String = attempt.failure.message.chars().take(MAX_EVIDENCE_CHARS).collect();
            format!("on {}: {message}", attempt.worker.as_deref().unwrap_or("a worker"))
        });
        let evidence = evidence.collect::<Vec<_>>().join("; ");
        let message = format!(
            "it failed permanently after {failed_alone} attempts alone, on {} workers: {evidence}",
            workers.len()
        );
        return Failure::new(FailureClass::Poison, message);
    }
    let message = format!("{} (attempt {failed_alone} alone, the last allowed)", last.failure.message);
    Failure::new(last.failure.class, message)
}

/// Closes a lease. Its open stages fail with `failure`, or are queued again if that is `None`.
pub(super) fn close_lease(
    step: &mut Step<'_>,
    number: LeaseNumber,
    failure: Option<&Failure>,
) -> Result<(), Rejection> {
    let Some(lease) = step.fleet.close_lease(number) else { return Ok(()) };
    for stage in lease.open().iter().copied() {
        match failure {
            Some(failure) => attempt_failed(step, stage, lease.worker(), lease.width(), failure)?,
            None => step.release(stage),
        }
    }
    Ok(())
}
