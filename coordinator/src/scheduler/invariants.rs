//! Everything that is kept in two places, worked out again from one of them. For tests, and for a coordinator in doubt.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    core::{Core, Lease},
    event::SweepState,
    outcome::inherited,
    queues::QueueKey,
    stage::{LeaseNumber, Stage, StageNumber, StageState, SweepNumber, WorkerNumber},
    sweep::{Sweep, Tally, TrialState},
    workers::Width,
};

/// What must always hold between events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvariantId {
    /// Every stage is found by its key, and every sweep lists what its plan lists.
    StagesFound,
    /// A stage waits for exactly those of its parents that have not completed.
    ParentsCounted,
    /// A stage below one that ended otherwise than completed has ended the same way, or as failed upstream.
    EndsInherited,
    /// Only a stage that is open and whose parents have completed has a checkpoint.
    CheckpointsOpen,
    /// A stage is wanted by exactly the running sweeps that list it.
    WantsCounted,
    /// Exactly the ready stages are queued, in the queue of their class and width limit; parked ones are wanted by nobody.
    QueuesAgree,
    /// Exactly the leased stages are open in a lease, each in one.
    LeasesAgree,
    /// A lease with nothing open that was taken from is revoked; a revoked one has nothing open.
    Revoked,
    /// A worker's slots hold its leases and unanswered calibrations, and no more.
    SlotsCounted,
    /// The leases and workers of a sweep are those that hold stages for it.
    SharesCounted,
    /// The set of free workers is what their slots say.
    FreeWorkers,
    /// The counts of a sweep are what its stages and trials say.
    SweepCounted,
    /// In a running sweep a trial has ended exactly if its last stage has.
    TrialsAgree,
    /// A sweep runs only while a trial of it is open, and has completed only when none is.
    SweepRuns,
    /// A stage of forgotten sweeps alone is known to nobody.
    Forgotten,
    /// No slot idles while a stage is ready that it could and may take, once the coordinator has waited for workers to come back.
    NothingIdles,
}

/// An invariant that does not hold: a defect of the scheduler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant {id:?} does not hold: {detail}")]
pub struct InvariantViolation {
    /// Which.
    pub id: InvariantId,
    /// Of what.
    pub detail: String,
}

fn check(id: InvariantId, holds: bool, detail: impl FnOnce() -> String) -> Result<(), InvariantViolation> {
    if holds { Ok(()) } else { Err(InvariantViolation { id, detail: detail() }) }
}

impl Core {
    /// Works every invariant out afresh, in time proportional to all there is.
    ///
    /// # Errors
    /// The first one that does not hold.
    pub fn check_invariants(&self) -> Result<(), InvariantViolation> {
        for (index, stage) in (0..).zip(&self.stages) {
            if self.sweeps[stage.home.index()].forgotten {
                self.check_forgotten(StageNumber(index), stage)?;
            } else {
                self.check_stage(StageNumber(index), stage)?;
            }
        }
        let ready = self.stages.iter().filter(|stage| stage.state == StageState::Ready).count();
        check(InvariantId::QueuesAgree, ready == self.ready.len() && self.ready.agrees(), || {
            format!("{ready} stages are ready, {} are queued", self.ready.len())
        })?;
        let leased = self.stages.iter().filter(|stage| matches!(stage.state, StageState::Leased { .. })).count();
        let open: usize = self.leases.values().map(|lease| lease.open.len()).sum();
        check(InvariantId::LeasesAgree, leased == open, || format!("{leased} stages leased, {open} open in leases"))?;
        for (number, lease) in &self.leases {
            self.check_lease(*number, lease)?;
        }
        self.check_workers()?;
        self.check_shares()?;
        self.sweeps.iter().try_for_each(|sweep| self.check_sweep(sweep))
    }

    fn check_stage(&self, number: StageNumber, stage: &Stage) -> Result<(), InvariantViolation> {
        let key = self.key_of(number);
        let about = |what: fmt::Arguments<'_>| format!("{key:?}: {what}");
        let found = self.stage_number(&key) == Some(number);
        check(InvariantId::StagesFound, found, || about(format_args!("not found by its key")))?;

        let parents: Vec<StageNumber> = self.parents_of(stage).collect();
        let ended_badly = parents.iter().filter_map(|parent| {
            let outcome = self.stages[parent.index()].outcome()?.unpack();
            inherited(self.key_of(*parent), &outcome)
        });
        let ended_badly: Vec<_> = ended_badly.collect();
        if ended_badly.is_empty() {
            let is_open = |parent: &&StageNumber| !self.stages[parent.index()].is_ended();
            let expected = parents.iter().filter(is_open).count();
            let found = if let StageState::Waiting { missing } = stage.state { missing as usize } else { 0 };
            check(InvariantId::ParentsCounted, found == expected, || {
                about(format_args!("waits for {found} parents, {expected} are open"))
            })?;
        } else {
            let outcome = stage.outcome().map(super::outcome::Packed::unpack);
            check(InvariantId::EndsInherited, outcome.is_some_and(|outcome| ended_badly.contains(&outcome)), || {
                about(format_args!("is {:?} below {ended_badly:?}", stage.state))
            })?;
        }

        let may_run = !matches!(stage.state, StageState::Waiting { .. } | StageState::Ended(_));
        check(InvariantId::CheckpointsOpen, may_run || stage.checkpoint.is_none(), || {
            about(format_args!("{:?} with {:?}", stage.state, stage.checkpoint))
        })?;
        let is_running = |sweep: &SweepNumber| self.sweeps[sweep.index()].state == SweepState::Running;
        let wanted = stage.sweeps().filter(is_running).count();
        check(InvariantId::WantsCounted, wanted == stage.wanted as usize, || {
            about(format_args!("wanted by {wanted}, counted {}", stage.wanted))
        })?;
        let queued = self.ready.contains(QueueKey::of(stage), number);
        let placed = match stage.state {
            StageState::Waiting { missing } => missing > 0 && !queued,
            StageState::Parked => wanted == 0 && !queued,
            StageState::Ready => wanted > 0 && queued && stage.runs_for == self.runs_for(number),
            StageState::Leased { .. } => wanted > 0 && !queued,
            StageState::Ended(_) => !queued,
        };
        check(InvariantId::QueuesAgree, placed, || about(format_args!("{:?}, wanted by {wanted}", stage.state)))
    }

    fn check_forgotten(&self, number: StageNumber, stage: &Stage) -> Result<(), InvariantViolation> {
        let known = self.stage_index.contains(number)
            || self.stages.iter().any(|parent| parent.children.contains(&number))
            || self.sweeps.iter().any(|sweep| sweep.stages.contains(&number))
            || self.ready.contains(QueueKey::of(stage), number);
        let empty = stage.shared_with.is_empty()
            && stage.children.is_empty()
            && stage.trials.is_empty()
            && stage.checkpoint.is_none();
        let holds = !known && empty && stage.wanted == 0 && stage.state == StageState::Parked;
        check(InvariantId::Forgotten, holds, || format!("{number:?}: {stage:?}"))
    }

    fn check_lease(&self, number: LeaseNumber, lease: &Lease) -> Result<(), InvariantViolation> {
        let about = || format!("{number:?}: {lease:?}");
        let held = |stage: &StageNumber| matches!(self.stages[stage.index()].state, StageState::Leased { lease, .. } if lease == number);
        let distinct: BTreeSet<_> = lease.open.iter().collect();
        let within = lease.open.len() <= lease.width as usize && distinct.len() == lease.open.len();
        let owned = self.workers.get(&lease.worker).is_some_and(|worker| worker.leases.contains(&number));
        check(InvariantId::LeasesAgree, lease.open.iter().all(held) && within && owned, about)?;
        let distinct: BTreeSet<_> = lease.sweeps.iter().collect();
        check(InvariantId::SharesCounted, distinct.len() == lease.sweeps.len() && !distinct.is_empty(), about)?;
        let revoked = if lease.open.is_empty() { !lease.taken_from || lease.revoked } else { !lease.revoked };
        check(InvariantId::Revoked, revoked, about)
    }

    fn check_workers(&self) -> Result<(), InvariantViolation> {
        check(InvariantId::SlotsCounted, self.workers.len() == self.worker_numbers.len(), || {
            format!("{} workers, {} ids", self.workers.len(), self.worker_numbers.len())
        })?;
        for (number, worker) in &self.workers {
            let calibrating = worker.widths.values().filter(|width| matches!(width, Width::Asked { .. })).count();
            let busy = worker.leases.len() + calibrating;
            let known = worker.leases.iter().all(|lease| self.leases.get(lease).is_some_and(|l| l.worker == *number));
            let counted = calibrating == worker.calibrating as usize
                && busy <= worker.slots.get() as usize
                && self.worker_numbers.get(&worker.id) == Some(number);
            check(InvariantId::SlotsCounted, known && counted, || format!("{worker:?}"))?;
            let free = busy < worker.slots.get() as usize && worker.takes_work();
            check(InvariantId::FreeWorkers, free == self.free.contains(number), || format!("{worker:?}"))?;
            let idle =
                if free && self.waiting_since.is_none() && !self.is_full() { self.next_work(*number) } else { None };
            check(InvariantId::NothingIdles, idle.is_none(), || format!("{} could do {idle:?}", worker.id))?;
        }
        let gone = self.free.iter().find(|number| !self.workers.contains_key(number));
        check(InvariantId::FreeWorkers, gone.is_none(), || format!("{gone:?} is not there"))
    }

    fn check_shares(&self) -> Result<(), InvariantViolation> {
        let mut held: BTreeMap<SweepNumber, BTreeMap<WorkerNumber, u64>> = BTreeMap::new();
        for lease in self.leases.values() {
            for sweep in &lease.sweeps {
                *held.entry(*sweep).or_default().entry(lease.worker).or_default() += 1;
            }
        }
        for (number, sweep) in (0..).map(SweepNumber).zip(&self.sweeps) {
            let held = held.remove(&number).unwrap_or_default();
            let counted = held == sweep.workers && sweep.leases == held.values().sum::<u64>();
            check(InvariantId::SharesCounted, counted, || format!("{}: {held:?}", sweep.plan.sweep.id))?;
        }
        Ok(())
    }

    pub(super) fn check_sweep(&self, sweep: &Sweep) -> Result<(), InvariantViolation> {
        let about = |what: fmt::Arguments<'_>| format!("{}: {what}", sweep.plan.sweep.id);
        let keys = sweep.stages.iter().map(|stage| self.key_of(*stage));
        let listed = keys.eq(sweep.plan.keys());
        check(InvariantId::StagesFound, listed, || about(format_args!("stages are not those of the plan")))?;

        let mut counts = [0_u64; 4];
        for number in &sweep.stages {
            let stage = &self.stages[number.index()];
            let ended = u64::from(stage.is_ended());
            counts[0] += ended;
            counts[1] += u64::from(matches!(stage.state, StageState::Leased { .. }));
            counts[2] = counts[2].saturating_add(self.lane_steps_of(*number));
            counts[3] = counts[3].saturating_add(ended * self.lane_steps_of(*number));
        }
        let kept = [sweep.stages_ended, sweep.leased, sweep.lane_steps, sweep.lane_steps_ended];
        check(InvariantId::SweepCounted, counts == kept, || about(format_args!("counted {counts:?}, kept {kept:?}")))?;

        let mut tally = Tally::default();
        for (trial, state) in sweep.trials.iter().enumerate() {
            let last = sweep.stages[sweep.plan.last_stage(trial)];
            let outcome = self.stages[last.index()].outcome();
            match (state, outcome) {
                (TrialState::Ended, Some(outcome)) if outcome.is_completed() => tally.completed += 1,
                (TrialState::Ended | TrialState::Cancelled, _) => tally.failed += 1,
                (TrialState::Open, _) => tally.open += 1,
            }
            let agrees = match state {
                TrialState::Open => outcome.is_none() || matches!(sweep.state, SweepState::Stopped { .. }),
                TrialState::Ended => outcome.is_some(),
                TrialState::Cancelled => sweep.state == SweepState::Cancelled,
            };
            check(InvariantId::TrialsAgree, agrees, || {
                about(format_args!("{}: {state:?}, {outcome:?}", sweep.plan.trial_id(trial)))
            })?;
        }
        check(InvariantId::SweepCounted, tally == sweep.tally, || {
            about(format_args!("counted {tally:?}, kept {:?}", sweep.tally))
        })?;
        let runs = match sweep.state {
            SweepState::Running => tally.open > 0 && sweep.ended_at.is_none(),
            SweepState::Completed | SweepState::Cancelled => tally.open == 0 && sweep.ended_at.is_some(),
            SweepState::Stopped { .. } => sweep.ended_at.is_some(),
        };
        check(InvariantId::SweepRuns, runs, || about(format_args!("{:?} with {} open trials", sweep.state, tally.open)))
    }
}
