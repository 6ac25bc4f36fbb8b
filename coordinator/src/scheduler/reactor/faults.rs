//! How a failed bundle affects its worker: narrower bundles, or quarantine.

use secateur_proto::outcome::{Failure, FailureClass};

use crate::scheduler::{
    numbers::{StageNumber, WorkerNumber},
    parts::Step,
};

/// A bundle, or one of its stages, failed on a worker.
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
        // Not the worker's fault.
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

/// Whether another worker takes leases, so that this one may be quarantined.
pub(super) fn makes_up_for(step: &Step<'_>, number: WorkerNumber) -> bool {
    step.policy.quarantine_after.is_some() && step.fleet.has_another(number)
}

fn quarantine(step: &mut Step<'_>, number: WorkerNumber, failure: &Failure) {
    let is_full = failure.class == FailureClass::NoSpace;
    step.fleet.quarantine(number, is_full, &failure.message, step.now, &mut step.decision.effects);
}

/// Bundles of that class are too wide for a worker: halves their width there.
fn narrow(step: &mut Step<'_>, number: WorkerNumber, stages: &[StageNumber], width: u32) {
    if let Some(class) = stages.first().and_then(|stage| step.ledger.stage(*stage).class()) {
        step.fleet.narrow(number, class, width / 2);
    }
}
