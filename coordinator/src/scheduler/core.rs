//! The state, and what each event comes to.
//!
//! `apply` checks an event against the state, turns it into records, commits them, and lets free slots be filled. Only
//! `commit` (its own file) touches what is durable.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use secateur_proto::{
    ids::{BundleClass, LeaseId, StageKey, SweepId, WorkerId},
    outcome::{Checkpoint, Failure, StageOutcome},
};

use super::{
    attachment::Joining,
    bundle::lease_number,
    entry::Entry,
    event::{Decision, Effect, Event, Policy, Rejection, SweepState, Timestamp},
    index::StageIndex,
    planted::Planted,
    queues::Ready,
    record::Record,
    share::ShareChange,
    snapshot::Restoring,
    space::Full,
    stage::{ClassNumber, LeaseNumber, Stage, StageNumber, StageState, SweepNumber, WorkerNumber},
    sweep::Sweep,
    workers::Worker,
};
use crate::experiment::plan::PackedPlan;

/// The scheduler: see the [module](super).
#[derive(Debug)]
pub struct Core {
    pub(super) policy: Policy,
    /// Lives of the coordinator so far; 0 before the first.
    pub(super) life: u32,
    // What is durable.
    pub(super) stages: Vec<Stage>,
    pub(super) stage_index: StageIndex,
    pub(super) sweeps: Vec<Sweep>,
    pub(super) sweep_numbers: HashMap<SweepId, SweepNumber>,
    pub(super) classes: Vec<BundleClass>,
    pub(super) class_numbers: HashMap<BundleClass, ClassNumber>,
    /// Sweeps that were forgotten before the last snapshot.
    pub(super) forgotten: u64,
    // What is read, and how much was.
    pub(super) restoring: Option<Box<Restoring>>,
    pub(super) since_snapshot: u64,
    // What is not durable.
    pub(super) ready: Ready,
    pub(super) leases: BTreeMap<LeaseNumber, Lease>,
    pub(super) next_lease: u64,
    pub(super) workers: BTreeMap<WorkerNumber, Worker>,
    pub(super) worker_numbers: HashMap<WorkerId, WorkerNumber>,
    pub(super) next_worker: u64,
    /// Workers that have a free slot and are not leaving.
    pub(super) free: BTreeSet<WorkerNumber>,
    /// Workers for which something changed since the last dispatch.
    pub(super) woken: BTreeSet<WorkerNumber>,
    pub(super) last_tick: Option<Timestamp>,
    /// When this life began, while nothing is handed out yet.
    pub(super) waiting_since: Option<Timestamp>,
    /// That there is no room for results.
    pub(super) full: Option<Full>,
}

#[derive(Debug)]
pub(super) struct Lease {
    pub(super) worker: WorkerNumber,
    /// Lanes at the beginning.
    pub(super) width: u32,
    /// Stages that still wait for this lease.
    pub(super) open: Vec<StageNumber>,
    /// The sweeps for which its stages run, each once.
    pub(super) sweeps: Vec<SweepNumber>,
    /// When it was given out, last reported or last made progress.
    pub(super) last_sign: Timestamp,
    pub(super) revoked: bool,
    /// When the revocation was first seen not to be confirmed.
    pub(super) unconfirmed_since: Option<Timestamp>,
    /// Whether a stage was ended or dropped by somebody else, so that the worker may be working for nothing.
    pub(super) taken_from: bool,
    /// Whether an earlier life gave it out, or it was taken for ended before its worker came back: it may have been dropped then.
    pub(super) adopted: bool,
}

impl Lease {
    pub(super) const fn new(
        worker: WorkerNumber,
        width: u32,
        open: Vec<StageNumber>,
        sweeps: Vec<SweepNumber>,
        now: Timestamp,
    ) -> Self {
        let (revoked, unconfirmed_since, taken_from, adopted) = (false, None, false, false);
        Self { worker, width, open, sweeps, last_sign: now, revoked, unconfirmed_since, taken_from, adopted }
    }
}

impl Core {
    /// A core that knows nothing yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            life: 0,
            stages: vec![],
            stage_index: StageIndex::default(),
            sweeps: vec![],
            sweep_numbers: HashMap::new(),
            classes: vec![],
            class_numbers: HashMap::new(),
            forgotten: 0,
            restoring: None,
            since_snapshot: 0,
            ready: Ready::default(),
            leases: BTreeMap::new(),
            next_lease: 0,
            workers: BTreeMap::new(),
            worker_numbers: HashMap::new(),
            next_worker: 0,
            free: BTreeSet::new(),
            woken: BTreeSet::new(),
            last_tick: None,
            waiting_since: None,
            full: None,
        }
    }

    /// A core that knows what a journal says, in the journal's order. Its next event must be [`Event::Started`].
    ///
    /// # Errors
    /// If an entry cannot follow the ones before it: the journal was damaged.
    pub fn restore(policy: Policy, journal: impl IntoIterator<Item = Entry>) -> Result<Self, Rejection> {
        let mut core = Self::new(policy);
        journal.into_iter().try_for_each(|entry| core.replay(&entry))?;
        Ok(core)
    }

    /// Takes in what the next entry of a journal says.
    ///
    /// # Errors
    /// If it cannot follow the ones before it: the journal was damaged. Nothing durable has changed then.
    pub fn replay(&mut self, entry: &Entry) -> Result<(), Rejection> {
        // The effects happened, or were lost with the life that caused them.
        self.commit(entry.at, &entry.record, &mut vec![])
    }

    /// Applies one event. What it says must be written and done comes in order.
    ///
    /// # Errors
    /// If the event makes no sense; it has changed nothing then.
    pub fn apply(&mut self, now: Timestamp, event: &Event) -> Result<Decision, Rejection> {
        if self.life == 0 && *event != Event::Started {
            return Err(Rejection::NotStarted);
        }
        let mut step = Step { now, decision: Decision::default() };
        match event {
            Event::Started => {
                self.write(&mut step, Record::Started)?;
                self.wait_for_workers(now);
            }
            Event::SweepSubmitted { plan, share } => self.submitted(&mut step, plan, *share)?,
            Event::SweepShareChanged { sweep, share } => self.share_changed(&mut step, sweep, *share)?,
            Event::SweepCancelled { sweep } => match self.state_of(sweep)? {
                SweepState::Running | SweepState::Stopped { .. } => {
                    self.write(&mut step, Record::SweepCancelled { sweep: sweep.clone() })?;
                }
                SweepState::Cancelled => {}
                state @ SweepState::Completed => return Err(not_running(sweep, state)),
            },
            Event::SweepDrainAsked { sweep } => self.begin_drain(&mut step, sweep)?,
            Event::SweepRetried { sweep } => self.retried(&mut step, sweep)?,
            Event::SweepForgotten { sweep } => {
                self.write(&mut step, Record::SweepForgotten { sweep: sweep.clone() })?;
            }
            Event::WorkerJoined { worker, instance, name, device, slots, held } => {
                let joining = Joining { id: worker, instance, name, device, slots: *slots };
                self.joined(&mut step, &joining, held)?;
            }
            Event::WorkerDraining { worker } => {
                let number = self.number_of(worker)?;
                self.seen(now, number);
                self.leaves(number);
            }
            Event::WorkerLeft { worker, departure } => {
                if let Some(number) = self.worker_numbers.get(worker).copied() {
                    self.left(&mut step, number, *departure)?;
                }
            }
            Event::Heartbeat { worker } => {
                let number = self.number_of(worker)?;
                self.seen(now, number);
            }
            Event::Progressed { worker, stage } => {
                let number = self.number_of(worker)?;
                self.progressed(now, number, stage);
            }
            Event::Checkpointed { worker, stage, checkpoint } => {
                self.checkpointed(&mut step, worker, *stage, *checkpoint)?;
            }
            Event::RoomChecked { is_enough } => self.room_checked(&mut step, *is_enough),
            Event::ResultWaits { worker, stage, bytes } => self.result_waits(&mut step, worker, stage, *bytes)?,
            Event::Calibrated { worker, class, lanes, lane_steps_per_second } => {
                self.calibrated(now, worker, class, *lanes, *lane_steps_per_second)?;
            }
            Event::StageReported { worker, lease, stage, attempt, outcome } => {
                self.reported(&mut step, worker, lease, *stage, *attempt, outcome)?;
            }
            Event::LeaseEnded { worker, lease, failure } => {
                self.lease_ended(&mut step, worker, lease, failure.as_ref())?;
            }
            Event::Tick => self.tick(&mut step)?,
        }
        self.dispatch(now, &mut step.decision.effects);
        Ok(step.decision)
    }

    /// Commits a record and keeps it for the journal.
    pub(super) fn write(&mut self, step: &mut Step, record: Record) -> Result<(), Rejection> {
        self.commit(step.now, &record, &mut step.decision.effects)?;
        step.decision.records.push(record);
        Ok(())
    }

    fn submitted(&mut self, step: &mut Step, plan: &Arc<PackedPlan>, share: ShareChange) -> Result<(), Rejection> {
        let id = &plan.sweep.id;
        match self.sweep_numbers.get(id).map(|number| &self.sweeps[number.index()]) {
            None => {
                self.admits_another()?;
                self.write(step, Record::SweepSubmitted { plan: Arc::clone(plan) })?;
            }
            Some(sweep) => {
                if !plan.has_the_work_of(&sweep.plan) {
                    return Err(Rejection::PlanDiffers(id.clone()));
                }
                self.resume(step, id)?;
            }
        }
        self.share_changed(step, id, share)
    }

    /// Lets a stopped or cancelled sweep go on, and one that drains.
    fn resume(&mut self, step: &mut Step, sweep: &SweepId) -> Result<(), Rejection> {
        let number = *self.sweep_numbers.get(sweep).ok_or_else(|| Rejection::UnknownSweep(sweep.clone()))?;
        match self.state_of(sweep)? {
            SweepState::Running => self.set_drains(step, number, false),
            SweepState::Completed => Ok(()),
            SweepState::Cancelled | SweepState::Stopped { .. } => {
                self.admits_another()?;
                self.write(step, Record::SweepResumed { sweep: sweep.clone() })
            }
        }
    }

    /// Whether one more sweep may run.
    fn admits_another(&self) -> Result<(), Rejection> {
        let running = self.sweeps.iter().filter(|sweep| sweep.state == SweepState::Running).count();
        let limit = self.policy.max_running_sweeps;
        if running < limit.get() as usize { Ok(()) } else { Err(Rejection::TooManySweeps { limit: limit.get() }) }
    }

    fn retried(&mut self, step: &mut Step, sweep: &SweepId) -> Result<(), Rejection> {
        let number = *self.sweep_numbers.get(sweep).ok_or_else(|| Rejection::UnknownSweep(sweep.clone()))?;
        let stages = self.failed_stages(number);
        let goes_on = match self.state_of(sweep)? {
            SweepState::Running => false,
            SweepState::Completed => !stages.is_empty(),
            SweepState::Cancelled | SweepState::Stopped { .. } => true,
        };
        if goes_on {
            // Before anything is written: what is refused changes nothing.
            self.admits_another()?;
        }
        if !stages.is_empty() {
            self.write(step, Record::StagesReopened { stages })?;
        }
        self.resume(step, sweep)?;
        self.room_was_made();
        Ok(())
    }

    /// A final result (completed, diverged, collapsed) is welcome from whoever brings it while the stage is open: the same key
    /// has the same result. Anything else counts only from the very attempt that is out.
    fn reported(
        &mut self,
        step: &mut Step,
        worker: &WorkerId,
        lease: &LeaseId,
        key: StageKey,
        attempt: u32,
        outcome: &StageOutcome,
    ) -> Result<(), Rejection> {
        let stage = self.stage_number(&key).ok_or(Rejection::UnknownStage(key))?;
        let reporter = self.worker_numbers.get(worker).copied();
        let held = lease_number(lease).and_then(|number| Some((number, self.leases.get(&number)?)));
        let own = held.filter(|(_, held)| Some(held.worker) == reporter).map(|(number, _)| number);
        let is_final = matches!(
            outcome,
            StageOutcome::Completed(_) | StageOutcome::Diverged { .. } | StageOutcome::Collapsed { .. }
        );
        let ended = match self.stages[stage.index()].state {
            StageState::Ended(_) => true,
            StageState::Waiting { .. } if is_final => return Err(Rejection::ParentsMissing(key)),
            _ => false,
        };
        if !ended && !is_final {
            if reporter.is_none() {
                return Err(Rejection::UnknownWorker(worker.clone()));
            }
            if held.is_some() && own.is_none() {
                return Err(Rejection::NotTheOwner { worker: worker.clone(), lease: lease.clone() });
            }
        }
        if let Some(reporter) = reporter {
            self.seen(step.now, reporter);
        }
        if let Some(lease) = own.and_then(|own| self.leases.get_mut(&own)) {
            lease.last_sign = step.now;
        }
        if ended || is_final && own.is_none() && self.has(Planted::LateResultDropped) {
            return Ok(());
        }
        match outcome {
            StageOutcome::Completed(_) | StageOutcome::Diverged { .. } | StageOutcome::Collapsed { .. } => {
                if let Some(lease) = own.and_then(|own| self.leases.get_mut(&own)) {
                    lease.open.retain(|open| *open != stage);
                }
                self.write(step, Record::StageEnded { stage: key, outcome: outcome.clone() })?;
                self.look_for_room(step);
                if matches!(outcome, StageOutcome::Completed(_)) {
                    for sweep in self.stages[stage.index()].sweeps() {
                        self.sweeps[sweep.index()].computed += 1;
                    }
                    if let Some(worker) = reporter.and_then(|reporter| self.workers.get_mut(&reporter)) {
                        worker.stages_completed += 1;
                    }
                    reporter.into_iter().for_each(|reporter| self.fared_well(reporter));
                }
            }
            StageOutcome::Failed(_) | StageOutcome::Cancelled => {
                let is_out = |own| self.stages[stage.index()].state == StageState::Leased { lease: own, attempt };
                let StageState::Leased { lease: out, .. } = self.stages[stage.index()].state else { return Ok(()) };
                let counts =
                    own.filter(|own| is_out(*own)).or_else(|| self.has(Planted::AttemptNotChecked).then_some(out));
                let Some(lease) = counts.and_then(|lease| self.leases.get_mut(&lease)) else { return Ok(()) };
                lease.open.retain(|open| *open != stage);
                let (width, holder) = (lease.width, lease.worker);
                match outcome {
                    StageOutcome::Failed(failure) if failure.class.is_retryable() => {
                        self.attempt_failed(step, stage, holder, width, failure)?;
                        self.faulted(step, holder, &[stage], width, failure);
                    }
                    StageOutcome::Failed(_) => {
                        self.write(step, Record::StageEnded { stage: key, outcome: outcome.clone() })?;
                    }
                    _ => {
                        self.hand_back(stage, &mut step.decision.effects);
                        self.leaves(holder);
                    }
                }
            }
        }
        Ok(())
    }

    /// The newest checkpoint of an open stage is kept, from whoever it comes. One of a stage that has ended is of no use, nor is one from
    /// before the one that is known.
    fn checkpointed(
        &mut self,
        step: &mut Step,
        worker: &WorkerId,
        key: StageKey,
        checkpoint: Checkpoint,
    ) -> Result<(), Rejection> {
        let number = self.number_of(worker)?;
        let stage = self.stage_number(&key).ok_or(Rejection::UnknownStage(key))?;
        self.progressed(step.now, number, &key);
        let stage = &self.stages[stage.index()];
        let known = stage.checkpoint.as_ref().is_some_and(|known| known.epoch >= checkpoint.epoch);
        if stage.is_ended() || known && !self.has(Planted::AnyCheckpointKept) {
            return Ok(());
        }
        self.write(step, Record::Checkpointed { stage: key, checkpoint })
    }

    fn lease_ended(
        &mut self,
        step: &mut Step,
        worker: &WorkerId,
        id: &LeaseId,
        failure: Option<&Failure>,
    ) -> Result<(), Rejection> {
        let number = self.number_of(worker)?;
        let unknown = || Rejection::UnknownLease(id.clone());
        let lease_number = lease_number(id).ok_or_else(unknown)?;
        let lease = self.leases.get(&lease_number).ok_or_else(unknown)?;
        if lease.worker != number {
            return Err(Rejection::NotTheOwner { worker: worker.clone(), lease: id.clone() });
        }
        let (open, width, adopted) = (lease.open.clone(), lease.width, lease.adopted);
        self.seen(step.now, number);
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.leases.remove(&lease_number);
        }
        self.close_lease(step, lease_number, failure)?;
        self.wake(number);
        match failure {
            _ if open.is_empty() => {}
            Some(failure) => self.faulted(step, number, &open, width, failure),
            // What it was told to drop by an earlier life it hands back now, and lives on.
            None if adopted => {}
            None => self.leaves(number),
        }
        Ok(())
    }

    /// Forgets a lease. Its open stages fail with `failure`, or go back.
    pub(super) fn close_lease(
        &mut self,
        step: &mut Step,
        number: LeaseNumber,
        failure: Option<&Failure>,
    ) -> Result<(), Rejection> {
        self.count_out(number);
        let Some(Lease { worker, width, open, .. }) = self.leases.remove(&number) else { return Ok(()) };
        let Some(failure) = failure else {
            open.into_iter().for_each(|stage| self.hand_back(stage, &mut step.decision.effects));
            return Ok(());
        };
        open.into_iter().try_for_each(|stage| self.attempt_failed(step, stage, worker, width, failure))
    }

    /// Makes a leased stage ready again without an attempt counted.
    pub(super) fn hand_back(&mut self, stage: StageNumber, effects: &mut Vec<Effect>) {
        self.withdraw(stage, effects);
        self.settle(stage);
    }

    pub(super) fn state_of(&self, sweep: &SweepId) -> Result<&SweepState, Rejection> {
        let number = self.sweep_numbers.get(sweep).ok_or_else(|| Rejection::UnknownSweep(sweep.clone()))?;
        Ok(&self.sweeps[number.index()].state)
    }

    pub(super) fn key_of(&self, stage: StageNumber) -> StageKey {
        key_of(&self.stages, &self.sweeps, stage)
    }

    /// The stage with that key; nothing if no sweep lists it.
    pub(super) fn stage_number(&self, key: &StageKey) -> Option<StageNumber> {
        self.stage_index.find(key, |number| self.key_of(number))
    }
}

/// The key of a stage that some sweep lists.
pub(super) fn key_of(stages: &[Stage], sweeps: &[Sweep], stage: StageNumber) -> StageKey {
    let stage = &stages[stage.index()];
    sweeps[stage.home.index()].plan.key(stage.position as usize)
}

/// An event in the making.
pub(super) struct Step {
    pub(super) now: Timestamp,
    pub(super) decision: Decision,
}

pub(super) fn not_running(sweep: &SweepId, state: &SweepState) -> Rejection {
    Rejection::NotRunning { sweep: sweep.clone(), state: state.name() }
}
