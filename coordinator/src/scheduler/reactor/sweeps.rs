//! People's requests for sweeps: submit, extend, share, drain, cancel, retry, forget.

use std::sync::Arc;

use secateur_proto::ids::SweepId;

use crate::{
    experiment::plan::PackedPlan,
    scheduler::{
        journal::Record,
        message::{Person, Rejection, Share, ShareChange, SweepState},
        numbers::SweepNumber,
        parts::Step,
    },
};

pub(in crate::scheduler) fn submitted(
    step: &mut Step<'_>,
    plan: &Arc<PackedPlan>,
    share: ShareChange,
    open: bool,
    by: Option<&Person>,
) -> Result<(), Rejection> {
    let id = &plan.sweep.id;
    match step.ledger.find_sweep(id) {
        None => {
            admits_another(step)?;
            step.write(Record::SweepSubmitted { plan: Arc::clone(plan), open, by: by.cloned() })?;
        }
        Some(sweep) => {
            if !plan.has_the_work_of(step.ledger.sweep(sweep).plan().first()) {
                return Err(Rejection::PlanDiffers(id.clone()));
            }
            resume(step, sweep)?;
        }
    }
    share_changed(step, id, share)
}

/// Extends a sweep. A part whose trials are all known was added before and is ignored. A part without trials carries
/// other changes, such as goals.
pub(in crate::scheduler) fn extended(step: &mut Step<'_>, part: &Arc<PackedPlan>) -> Result<(), Rejection> {
    let id = &part.sweep.id;
    let number = step.ledger.sweep_number(id)?;
    let sweep = step.ledger.sweep(number);
    let (known, new) = sweep.plan().known_and_new(part);
    if let Some(trial) = known.first().filter(|_| !new.is_empty()) {
        return Err(Rejection::PartOverlaps { sweep: id.clone(), trial: trial.clone() });
    }
    let is_news = if part.trial_count() == 0 { sweep.plan().last() != part } else { !new.is_empty() };
    if !is_news {
        return resume(step, number);
    }
    if sweep.is_running() {
        set_drains(step, number, None)?;
    } else {
        admits_another(step)?;
    }
    step.write(Record::SweepExtended { part: Arc::clone(part) })
}

/// Extends or closes a sweep that waits for that, if the decision is about the results that it has.
pub(in crate::scheduler) fn decided(
    step: &mut Step<'_>,
    id: &SweepId,
    generation: u64,
    part: Option<&Arc<PackedPlan>>,
) -> Result<(), Rejection> {
    let sweep = step.ledger.sweep(step.ledger.sweep_number(id)?);
    if !sweep.awaits_decision() || sweep.generation() != generation {
        return Err(Rejection::DecisionOutdated(id.clone()));
    }
    match part {
        Some(part) => extended(step, part),
        None => closed(step, id),
    }
}

/// Closes a sweep. One that is closed already does not change.
pub(in crate::scheduler) fn closed(step: &mut Step<'_>, sweep: &SweepId) -> Result<(), Rejection> {
    let number = step.ledger.sweep_number(sweep)?;
    if step.ledger.sweep(number).is_open() { step.write(Record::SweepClosed { sweep: sweep.clone() }) } else { Ok(()) }
}

/// Resumes a stopped, cancelled or draining sweep.
fn resume(step: &mut Step<'_>, number: SweepNumber) -> Result<(), Rejection> {
    let sweep = step.ledger.sweep(number);
    match sweep.state() {
        SweepState::Running => set_drains(step, number, None),
        SweepState::Completed => Ok(()),
        SweepState::Cancelled | SweepState::Stopped { .. } => {
            let sweep = sweep.id().clone();
            admits_another(step)?;
            step.write(Record::SweepResumed { sweep })
        }
    }
}

/// Rejects if the limit of running sweeps is reached.
fn admits_another(step: &Step<'_>) -> Result<(), Rejection> {
    let running = step.ledger.sweeps().filter(|(_, sweep)| sweep.is_running()).count();
    let limit = step.policy.max_running_sweeps;
    if running < limit.get() as usize { Ok(()) } else { Err(Rejection::TooManySweeps { limit: limit.get() }) }
}

/// Changes a sweep's share, if the new one differs.
pub(in crate::scheduler) fn share_changed(
    step: &mut Step<'_>,
    sweep: &SweepId,
    change: ShareChange,
) -> Result<(), Rejection> {
    let number = step.ledger.sweep_number(sweep)?;
    let share = change.of(step.ledger.sweep(number).share());
    set_share(step, number, share, None)
}

/// A running sweep drains because somebody wants it to, who may be unknown; or it drains no longer.
fn set_drains(step: &mut Step<'_>, number: SweepNumber, asked: Option<Option<&Person>>) -> Result<(), Rejection> {
    let share = Share { drains: asked.is_some(), ..step.ledger.sweep(number).share() };
    set_share(step, number, share, asked.flatten())
}

fn set_share(
    step: &mut Step<'_>,
    number: SweepNumber,
    share: Share,
    drained_by: Option<&Person>,
) -> Result<(), Rejection> {
    let sweep = step.ledger.sweep(number);
    if share == sweep.share() {
        return Ok(());
    }
    let sweep = sweep.id().clone();
    step.write(Record::SweepShareChanged { sweep, share, drained_by: drained_by.cloned() })?;
    step.ready.look_again();
    Ok(())
}

pub(in crate::scheduler) fn cancelled(
    step: &mut Step<'_>,
    sweep: &SweepId,
    by: Option<&Person>,
) -> Result<(), Rejection> {
    let number = step.ledger.sweep_number(sweep)?;
    match step.ledger.sweep(number).state() {
        SweepState::Running | SweepState::Stopped { .. } => {
            step.write(Record::SweepCancelled { sweep: sweep.clone(), by: by.cloned() })
        }
        SweepState::Cancelled => Ok(()),
        state @ SweepState::Completed => Err(Rejection::not_running(sweep, state)),
    }
}

/// Drains a sweep. One that is not running has no leased stages and is cancelled at once.
pub(in crate::scheduler) fn drained(
    step: &mut Step<'_>,
    sweep: &SweepId,
    by: Option<&Person>,
) -> Result<(), Rejection> {
    let number = step.ledger.sweep_number(sweep)?;
    if step.ledger.sweep(number).is_running() {
        set_drains(step, number, Some(by))?;
        end_drains(step)
    } else {
        cancelled(step, sweep, by)
    }
}

/// Cancels draining sweeps without leased stages. Not while workers may still report leases that they hold.
pub(in crate::scheduler) fn end_drains(step: &mut Step<'_>) -> Result<(), Rejection> {
    if step.hold.is_waiting() {
        return Ok(());
    }
    let draining = step.ledger.sweeps().filter(|(_, sweep)| sweep.is_draining());
    let over = draining.filter(|(number, _)| step.parts().leased_of(*number) == 0);
    for sweep in over.map(|(_, sweep)| sweep.id().clone()).collect::<Vec<_>>() {
        step.write(Record::SweepCancelled { sweep, by: None })?;
    }
    Ok(())
}

pub(in crate::scheduler) fn retried(step: &mut Step<'_>, sweep: &SweepId) -> Result<(), Rejection> {
    let number = step.ledger.sweep_number(sweep)?;
    let stages = step.ledger.failed_stages(number);
    let goes_on = match step.ledger.sweep(number).state() {
        SweepState::Running => false,
        SweepState::Completed => !stages.is_empty(),
        SweepState::Cancelled | SweepState::Stopped { .. } => true,
    };
    if goes_on {
        // Checked before anything is written, because a rejection must change nothing.
        admits_another(step)?;
    }
    if !stages.is_empty() {
        step.write(Record::StagesReopened { stages })?;
    }
    resume(step, number)?;
    step.fleet.room_was_made();
    Ok(())
}
