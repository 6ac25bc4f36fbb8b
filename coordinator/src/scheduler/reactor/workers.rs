//! Workers that attach, leave and come back. A worker gets back its leases, and leases of an earlier life of the
//! coordinator if nobody else has begun their stages. Also widths of bundles.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use secateur_proto::{
    ids::{BundleClass, WorkerId},
    outcome::{Failure, FailureClass},
};

use super::attempts::close_lease;
use crate::scheduler::{
    fleet::{Joining, NewLease, Width},
    message::{Departure, Effect, HeldLease, Rejection, WorkerAction},
    numbers::{LeaseNumber, StageNumber, WorkerNumber},
    parts::Step,
};

pub(in crate::scheduler) fn joined(
    step: &mut Step<'_>,
    joining: &Joining<'_>,
    held: &[HeldLease],
) -> Result<(), Rejection> {
    if step.fleet.find(joining.id).is_some() {
        return Err(Rejection::DuplicateWorker(joining.id.clone()));
    }
    let (number, leases) = step.fleet.join(joining, step.now, &mut step.decision.effects);
    let held: BTreeMap<LeaseNumber, &HeldLease> =
        held.iter().filter_map(|held| Some((LeaseNumber::parse(&held.lease)?, held))).collect();
    for lease in &leases {
        match held.get(lease) {
            Some(held) if step.fleet.has_slot(number) => take_up(step, number, *lease, held),
            // The worker never received the lease, or no longer has it.
            _ => close_lease(step, *lease, None)?,
        }
    }
    for (lease, held) in held {
        if !leases.contains(&lease) {
            adopt(step, joining.id, number, lease, held);
        }
    }
    step.fleet.wake(number);
    Ok(())
}

/// Returns to a worker a lease that it held before, without stages that it no longer holds.
fn take_up(step: &mut Step<'_>, number: WorkerNumber, lease: LeaseNumber, held: &HeldLease) {
    let open = step.fleet.take_up(number, lease, step.now, &mut step.decision.effects);
    let holds = |stage: &StageNumber| {
        let Some((_, attempt)) = step.ready.lease_of(*stage) else { return false };
        held.stages.contains(&(step.ledger.key_of(*stage), attempt))
    };
    for stage in open.into_iter().filter(|stage| !holds(stage)).collect::<Vec<_>>() {
        step.release(stage);
    }
}

/// Adopts a lease that was closed or given out by an earlier life: the worker gets its stages that nobody else has
/// begun.
fn adopt(step: &mut Step<'_>, worker: &WorkerId, number: WorkerNumber, lease: LeaseNumber, held: &HeldLease) {
    let life = step.ledger.life();
    let was_given_out = lease.life < life || lease.life == life && step.fleet.has_given_out(lease);
    let (mut open, mut sweeps) = (vec![], BTreeSet::new());
    if was_given_out && step.fleet.lease(lease).is_none() && step.fleet.has_slot(number) {
        for (key, attempt) in &held.stages {
            let stage = step.ledger.find_stage(key);
            if let Some(stage) = stage
                && let Some(sweep) = step.ready.adopt(step.ledger, stage, lease, *attempt)
            {
                sweeps.insert(sweep);
                open.push(stage);
            }
        }
    }
    if open.is_empty() {
        step.decision.effects.push(Effect::Revoke { worker: worker.clone(), lease: lease.id() });
        return;
    }
    let width = held.lanes.get().max(u32::try_from(open.len()).unwrap_or(u32::MAX));
    let sweeps = sweeps.into_iter().collect();
    step.fleet.open_lease(lease, NewLease { worker: number, width, open, sweeps, adopted: true }, step.now);
}

/// A person manages a worker.
pub(in crate::scheduler) fn managed(
    step: &mut Step<'_>,
    id: &WorkerId,
    action: &WorkerAction,
) -> Result<(), Rejection> {
    let number = step.fleet.number_of(id)?;
    let effects = &mut step.decision.effects;
    match action {
        WorkerAction::Cordon { by } => step.fleet.set_cordon(number, Some(by), effects),
        WorkerAction::Uncordon => {
            step.fleet.set_cordon(number, None, effects);
            step.fleet.end_quarantine(number);
        }
        WorkerAction::Drain => {
            if step.fleet.worker(number).is_some_and(|worker| worker.is_away()) {
                return Err(Rejection::WorkerAway(id.clone()));
            }
            effects.push(Effect::Drain { worker: id.clone() });
            step.fleet.leaves(number);
        }
    }
    Ok(())
}

pub(in crate::scheduler) fn left(
    step: &mut Step<'_>,
    number: WorkerNumber,
    departure: Departure,
) -> Result<(), Rejection> {
    if departure == Departure::Disconnected && step.policy.reattach_ms > 0 {
        step.fleet.goes_away(number, step.now);
        return Ok(());
    }
    let Some(worker) = step.fleet.worker(number) else { return Ok(()) };
    let failure = match departure {
        Departure::Drained => None,
        Departure::Disconnected | Departure::Lost => {
            let message = format!("worker {} ({}) was lost", worker.name(), worker.id());
            Some(Failure::new(FailureClass::Executor, message))
        }
    };
    for lease in worker.leases().collect::<Vec<_>>() {
        close_lease(step, lease, failure.as_ref())?;
    }
    step.fleet.remove(number);
    Ok(())
}

/// The answer to a calibration.
pub(in crate::scheduler) fn calibrated(
    step: &mut Step<'_>,
    worker: &WorkerId,
    class: &BundleClass,
    lanes: NonZeroU32,
    lane_steps_per_second: f64,
) -> Result<(), Rejection> {
    let number = step.fleet.number_of(worker)?;
    let is_number = lane_steps_per_second.is_finite() && lane_steps_per_second >= 0.0;
    let class_number = step.ledger.find_class(class).filter(|_| is_number);
    let measured = Width::Measured { lanes, lane_steps_per_second };
    if class_number.is_some_and(|class| step.fleet.set_width(number, class, measured)) {
        step.fleet.seen(number, step.now);
        Ok(())
    } else {
        Err(Rejection::InvalidCalibration { worker: worker.clone(), class: class.clone() })
    }
}
