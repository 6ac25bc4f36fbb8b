//! What the failure of a bundle says of its worker: it is given narrower ones, or none for a while.

use secateur_proto::outcome::{Failure, FailureClass};

use crate::scheduler::{
    numbers::{StageNumber, WorkerNumber},
    parts::Step,
};

/// A bundle, or a stage of one, failed on a worker.
pub(super) fn faulted(
    step: &mut Step<'_>,
    number: WorkerNumber,
    stages: &[StageNumber],
    width: u32,
    failure: &Failure,
) {
    match failure.class {
        FailureClass::OutOfMemory => return narrow(step, number, stages, width),
        FailureClass::Unfit if width > 1 => return narrow(step, number, stages, width),
        FailureClass::Unfit if makes_up_for(step, number) => return quarantine(step, number, failure),
        FailureClass::NoSpace if step.policy.quarantine_after.is_some() => return quarantine(step, number, failure),
        FailureClass::Executor | FailureClass::Storage | FailureClass::Unfit => {}
        // The stage's, the sweep's or Secateur's own fault.
        FailureClass::Input
        | FailureClass::Internal
        | FailureClass::Upstream
        | FailureClass::NoSpace
        | FailureClass::Poison => return,
    }
    if let Some(limit) = step.policy.quarantine_after
        && step.fleet.add_fault(number, stages, &failure.message, limit)
    {
        quarantine(step, number, failure);
    }
}

/// Whether another worker takes work that this one is not fit for, so that this one can be left alone for a while.
pub(super) fn makes_up_for(step: &Step<'_>, number: WorkerNumber) -> bool {
    step.policy.quarantine_after.is_some() && step.fleet.has_another(number)
}

fn quarantine(step: &mut Step<'_>, number: WorkerNumber, failure: &Failure) {
    let is_full = failure.class == FailureClass::NoSpace;
    step.fleet.quarantine(number, is_full, &failure.message, step.now, &mut step.decision.effects);
}

/// Bundles of that class were too wide for a worker.
fn narrow(step: &mut Step<'_>, number: WorkerNumber, stages: &[StageNumber], width: u32) {
    if let Some(class) = stages.first().and_then(|stage| step.ledger.stage(*stage).class()) {
        step.fleet.narrow(number, class, width / 2);
    }
}
