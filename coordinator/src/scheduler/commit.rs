//! The one way in which durable state changes: one record at a time, live and in replay alike.
//!
//! Nothing here looks at the policy, at workers' speed or at the time but to note it, so a record means the same whenever it
//! is read. Leases appear only in that a stage that ends or is dropped is taken from its lease.

use std::{collections::VecDeque, sync::Arc};

use secateur_proto::{
    ids::{StageKey, SweepId},
    outcome::StageOutcome,
};

use super::{
    bundle::lease_id,
    core::{Core, key_of},
    event::{Effect, Rejection, SweepState, Timestamp},
    outcome::{Packed, inherited},
    planted::Planted,
    queues::QueueKey,
    record::Record,
    stage::{ClassNumber, Stage, StageNumber, StageState, SweepNumber},
    sweep::{Sweep, TrialState},
    trouble::FailedAttempt,
};
use crate::experiment::plan::PackedPlan;

impl Core {
    /// Applies one record. Changes nothing if the record cannot follow the ones before it.
    pub(super) fn commit(
        &mut self,
        at: Timestamp,
        record: &Record,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Rejection> {
        if let Record::Snapshot(part) = record {
            return self.read_part(part);
        }
        self.leave_snapshot()?;
        match record {
            Record::Snapshot(_) => {}
            Record::Started => self.begin_life(),
            Record::SweepSubmitted { plan } => self.add_sweep(at, plan, effects)?,
            Record::SweepResumed { sweep } => {
                let number = self.sweep_number(sweep)?;
                if matches!(self.sweeps[number.index()].state, SweepState::Running | SweepState::Completed) {
                    return Err(self.not_running(number));
                }
                self.sweeps[number.index()].ended_at = None;
                self.run_sweep(at, number, effects);
            }
            Record::SweepCancelled { sweep } => {
                let number = self.sweep_number(sweep)?;
                match self.sweeps[number.index()].state {
                    SweepState::Running => self.halt_sweep(at, number, SweepState::Cancelled, effects),
                    SweepState::Stopped { .. } => {
                        self.cancel_trials(number, effects);
                        self.enter(at, number, SweepState::Cancelled, effects);
                    }
                    SweepState::Cancelled | SweepState::Completed => return Err(self.not_running(number)),
                }
            }
            Record::SweepStopped { sweep, reason } => {
                let number = self.sweep_number(sweep)?;
                if self.sweeps[number.index()].state != SweepState::Running {
                    return Err(self.not_running(number));
                }
                self.halt_sweep(at, number, SweepState::Stopped { reason: reason.clone() }, effects);
            }
            Record::SweepShareChanged { sweep, share } => {
                let number = self.sweep_number(sweep)?;
                self.set_share(number, *share);
            }
            Record::StagesReopened { stages } => self.reopen(stages)?,
            Record::SweepForgotten { sweep } => {
                let number = self.sweep_number(sweep)?;
                if self.sweeps[number.index()].state == SweepState::Running {
                    return Err(Rejection::StillRunning(sweep.clone()));
                }
                self.forget_sweep(number);
            }
            Record::StageEnded { stage, outcome } => {
                let number = self.open_stage(*stage)?;
                self.end_stage(at, number, outcome.clone(), effects);
            }
            Record::Checkpointed { stage, checkpoint } => {
                let number = self.open_stage(*stage)?;
                self.stages[number.index()].checkpoint = Some(Box::new(*checkpoint));
            }
            Record::AttemptFailed { stage, lanes, failure, worker, attempt: id } => {
                let number = self.open_stage(*stage)?;
                self.withdraw(number, effects);
                let stage = &mut self.stages[number.index()];
                let attempt = FailedAttempt { worker: worker.clone(), lanes: *lanes, failure: failure.clone() };
                stage.trouble.get_or_insert_default().add(attempt, id.clone());
                stage.width_limit = stage.width_limit.min((lanes / 2).max(1));
                self.settle(number);
            }
        }
        self.since_snapshot += 1;
        Ok(())
    }

    fn begin_life(&mut self) {
        self.life = self.life.saturating_add(1);
        self.workers.clear();
        self.worker_numbers.clear();
        self.free.clear();
        self.woken.clear();
        self.last_tick = None;
        self.waiting_since = None;
        self.full = None;
        self.next_lease = 0;
        for (_, lease) in std::mem::take(&mut self.leases) {
            for stage in lease.open {
                self.unlease(stage);
                self.settle(stage);
            }
        }
        for stage in &mut self.stages {
            stage.attempt = stage.failed();
        }
        for sweep in &mut self.sweeps {
            (sweep.computed, sweep.leases, sweep.last_turn) = (0, 0, 0);
            sweep.workers.clear();
        }
    }

    fn add_sweep(&mut self, at: Timestamp, plan: &Arc<PackedPlan>, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        self.check_plan(plan)?;
        let sweep = SweepNumber(u32::try_from(self.sweeps.len()).unwrap_or(u32::MAX));
        self.sweep_numbers.insert(plan.sweep.id.clone(), sweep);
        self.sweeps.push(Sweep::new(Arc::clone(plan), at));
        let (stages, sweeps) = (&self.stages, &self.sweeps);
        self.stage_index.reserve(plan.stage_count(), |number| key_of(stages, sweeps, number));
        self.stages.reserve(plan.stage_count());
        for position in 0..plan.stage_count() {
            self.list_stage(sweep, position);
        }
        for (trial, number) in (0..plan.trial_count()).zip(0_u32..) {
            let last = self.sweeps[sweep.index()].stages[plan.last_stage(trial)];
            self.stages[last.index()].trials.push((sweep, number));
        }
        self.run_sweep(at, sweep, effects);
        Ok(())
    }

    /// Makes a planned stage one of the sweep's: a new one, or one that is known by its key.
    fn list_stage(&mut self, sweep: SweepNumber, position: usize) {
        let key = self.sweeps[sweep.index()].plan.key(position);
        let number = match self.stage_number(&key) {
            Some(number) => {
                let stage = &mut self.stages[number.index()];
                stage.shared_with.push(sweep);
                let (leased, ended) = (matches!(stage.state, StageState::Leased { .. }), stage.is_ended());
                let lane_steps = self.lane_steps_of(number);
                let sweep = &mut self.sweeps[sweep.index()];
                sweep.leased += u64::from(leased);
                sweep.stages_ended += u64::from(ended);
                sweep.lane_steps_ended = sweep.lane_steps_ended.saturating_add(if ended { lane_steps } else { 0 });
                number
            }
            None => self.add_stage(sweep, position),
        };
        let lane_steps = self.lane_steps_of(number);
        let sweep = &mut self.sweeps[sweep.index()];
        sweep.stages.push(number);
        sweep.lane_steps = sweep.lane_steps.saturating_add(lane_steps);
    }

    fn add_stage(&mut self, sweep: SweepNumber, position: usize) -> StageNumber {
        let plan = Arc::clone(&self.sweeps[sweep.index()].plan);
        let number = StageNumber(u32::try_from(self.stages.len()).unwrap_or(u32::MAX));
        let class = self.class_of(&plan, position);
        let mut missing = 0;
        let mut ends_as = None;
        for parent in plan.parents(position) {
            let key = plan.key(parent);
            let parent = self.sweeps[sweep.index()].stages[parent];
            let parent = &mut self.stages[parent.index()];
            match parent.outcome() {
                None => missing += 1,
                Some(outcome) if outcome.is_completed() => {}
                Some(outcome) => ends_as = ends_as.or_else(|| inherited(key, &outcome.unpack())),
            }
            parent.children.push(number);
        }
        let state = if missing == 0 { StageState::Parked } else { StageState::Waiting { missing } };
        let position = u32::try_from(position).unwrap_or(u32::MAX);
        self.stages.push(Stage { state, ..Stage::new(sweep, position, class) });
        let (stages, sweeps) = (&self.stages, &self.sweeps);
        self.stage_index.insert(number, |number| key_of(stages, sweeps, number));
        if let Some(outcome) = ends_as {
            self.mark_ended(number, Packed::new(&outcome));
        }
        number
    }

    /// The number of a planned stage's class, if it may share a bundle.
    pub(super) fn class_of(&mut self, plan: &PackedPlan, position: usize) -> Option<ClassNumber> {
        plan.shared_class(position).map(|class| {
            let next = ClassNumber(u32::try_from(self.classes.len()).unwrap_or(u32::MAX));
            *self.class_numbers.entry(class.clone()).or_insert_with(|| {
                self.classes.push(class.clone());
                next
            })
        })
    }

    /// The stages that a stage reads, each once, in the order of its spec.
    pub(super) fn parents_of(&self, stage: &Stage) -> impl Iterator<Item = StageNumber> {
        let home = &self.sweeps[stage.home.index()];
        home.plan.parents(stage.position as usize).map(|parent| home.stages[parent])
    }

    pub(super) fn lane_steps_of(&self, stage: StageNumber) -> u64 {
        let stage = &self.stages[stage.index()];
        self.sweeps[stage.home.index()].plan.lane_steps(stage.position as usize)
    }

    /// Makes sure that the sweep of a plan can be taken in.
    pub(super) fn check_plan(&self, plan: &PackedPlan) -> Result<(), Rejection> {
        let id = &plan.sweep.id;
        let invalid = |reason| Rejection::InvalidPlan { sweep: id.clone(), reason };
        if self.sweep_numbers.contains_key(id) {
            return Err(invalid("the sweep is known already".to_owned()));
        }
        let limit = u32::MAX as usize - self.stages.len().max(self.sweeps.len()) - 1;
        if plan.stage_count() > limit || plan.trial_count() > limit {
            return Err(invalid(format!("it has more than {limit} stages or trials")));
        }
        Ok(())
    }

    /// Sets a sweep going that does not run: its open stages are wanted, its trials open but for those that have ended.
    fn run_sweep(&mut self, at: Timestamp, number: SweepNumber, effects: &mut Vec<Effect>) {
        let sweep = &mut self.sweeps[number.index()];
        sweep.state = SweepState::Running;
        for trial in &mut sweep.trials {
            if *trial == TrialState::Cancelled {
                *trial = TrialState::Open;
                sweep.tally.failed -= 1;
                sweep.tally.open += 1;
            }
        }
        let plan = Arc::clone(&sweep.plan);
        for position in 0..plan.stage_count() {
            let stage = self.sweeps[number.index()].stages[position];
            self.want(stage);
        }
        for (trial, place) in (0_u32..).zip(0..plan.trial_count()) {
            let last = self.sweeps[number.index()].stages[plan.last_stage(place)];
            if let Some(outcome) = self.stages[last.index()].outcome() {
                let outcome = outcome.unpack();
                self.end_trial(number, trial, TrialState::Ended, outcome, effects);
            }
        }
        self.complete_sweep(at, number, effects);
    }

    /// Ends the sweep if all of its trials have ended.
    fn complete_sweep(&mut self, at: Timestamp, number: SweepNumber, effects: &mut Vec<Effect>) {
        let sweep = &self.sweeps[number.index()];
        if sweep.state == SweepState::Running && sweep.tally.open == 0 {
            self.halt_sweep(at, number, SweepState::Completed, effects);
        }
    }

    /// From running to any other state: its stages are no longer wanted by it.
    fn halt_sweep(&mut self, at: Timestamp, number: SweepNumber, state: SweepState, effects: &mut Vec<Effect>) {
        if state == SweepState::Cancelled {
            self.cancel_trials(number, effects);
        }
        for position in 0..self.sweeps[number.index()].stages.len() {
            let stage = self.sweeps[number.index()].stages[position];
            let entry = &mut self.stages[stage.index()];
            entry.wanted -= 1;
            if entry.wanted == 0 {
                self.withdraw(stage, effects);
            }
        }
        self.enter(at, number, state, effects);
        for position in 0..self.sweeps[number.index()].stages.len() {
            // What others want runs for them now.
            self.requeue(self.sweeps[number.index()].stages[position]);
        }
    }

    fn enter(&mut self, at: Timestamp, number: SweepNumber, state: SweepState, effects: &mut Vec<Effect>) {
        let sweep = &mut self.sweeps[number.index()];
        sweep.state = state.clone();
        sweep.ended_at = Some(at);
        sweep.share.drains = false;
        effects.push(Effect::SweepEnded { sweep: sweep.plan.sweep.id.clone(), state });
    }

    fn cancel_trials(&mut self, number: SweepNumber, effects: &mut Vec<Effect>) {
        for trial in 0..self.sweeps[number.index()].trials.len() {
            let trial = u32::try_from(trial).unwrap_or(u32::MAX);
            self.end_trial(number, trial, TrialState::Cancelled, StageOutcome::Cancelled, effects);
        }
    }

    /// Ends a trial if it is open.
    fn end_trial(
        &mut self,
        number: SweepNumber,
        trial: u32,
        state: TrialState,
        outcome: StageOutcome,
        effects: &mut Vec<Effect>,
    ) {
        let is_open = self.sweeps[number.index()].trials[trial as usize] == TrialState::Open;
        if !is_open && !self.has(Planted::DoubleCount) {
            return;
        }
        let sweep = &mut self.sweeps[number.index()];
        if is_open {
            sweep.trials[trial as usize] = state;
            sweep.tally.open -= 1;
            match outcome {
                StageOutcome::Completed(_) => sweep.tally.completed += 1,
                _ => sweep.tally.failed += 1,
            }
        }
        let id = sweep.plan.trial_id(trial as usize);
        effects.push(Effect::TrialEnded { sweep: sweep.plan.sweep.id.clone(), trial: id, outcome });
    }

    /// Ends an open stage and every stage below it that ends with it.
    fn end_stage(&mut self, at: Timestamp, stage: StageNumber, outcome: StageOutcome, effects: &mut Vec<Effect>) {
        let mut ending = VecDeque::from([(stage, outcome)]);
        while let Some((number, outcome)) = ending.pop_front() {
            if self.stages[number.index()].is_ended() {
                continue;
            }
            self.withdraw(number, effects);
            self.mark_ended(number, Packed::new(&outcome));
            let key = self.key_of(number);
            for position in 0..self.stages[number.index()].children.len() {
                let child = self.stages[number.index()].children[position];
                match inherited(key, &outcome) {
                    Some(outcome) => ending.push_back((child, outcome)),
                    None => self.parent_completed(child),
                }
            }
            for position in 0..self.stages[number.index()].trials.len() {
                let (sweep, trial) = self.stages[number.index()].trials[position];
                if self.sweeps[sweep.index()].state == SweepState::Running {
                    self.end_trial(sweep, trial, TrialState::Ended, outcome.clone(), effects);
                    self.complete_sweep(at, sweep, effects);
                }
            }
        }
    }

    pub(super) fn mark_ended(&mut self, number: StageNumber, outcome: Packed) {
        let lane_steps = self.lane_steps_of(number);
        let stage = &mut self.stages[number.index()];
        stage.state = StageState::Ended(outcome);
        stage.trouble.iter_mut().for_each(|trouble| trouble.counted = vec![]);
        stage.checkpoint = None;
        for sweep in self.stages[number.index()].sweeps() {
            let sweep = &mut self.sweeps[sweep.index()];
            sweep.stages_ended += 1;
            sweep.lane_steps_ended = sweep.lane_steps_ended.saturating_add(lane_steps);
        }
    }

    fn parent_completed(&mut self, child: StageNumber) {
        let stage = &mut self.stages[child.index()];
        if let StageState::Waiting { missing } = &mut stage.state {
            *missing -= 1;
            if *missing == 0 {
                stage.state = StageState::Parked;
                self.settle(child);
            }
        }
    }

    /// Takes a stage out of its queue or its lease. A lease with nothing left to do for anyone is revoked.
    pub(super) fn withdraw(&mut self, number: StageNumber, effects: &mut Vec<Effect>) {
        let stage = &mut self.stages[number.index()];
        match stage.state {
            StageState::Waiting { .. } | StageState::Parked | StageState::Ended(_) => {}
            StageState::Ready => {
                stage.state = StageState::Parked;
                self.ready.remove(QueueKey::of(stage), number);
            }
            StageState::Leased { lease: lease_number, .. } => {
                self.unlease(number);
                let Some(lease) = self.leases.get_mut(&lease_number) else { return };
                let Some(position) = lease.open.iter().position(|open| *open == number) else {
                    // The holder itself spoke of this stage: it does not work on it any more.
                    if lease.open.is_empty() && lease.taken_from {
                        self.revoke(lease_number, effects);
                    }
                    return;
                };
                lease.open.remove(position);
                lease.taken_from = true;
                if lease.open.is_empty() {
                    self.revoke(lease_number, effects);
                }
            }
        }
    }

    fn revoke(&mut self, number: super::stage::LeaseNumber, effects: &mut Vec<Effect>) {
        let Some(lease) = self.leases.get_mut(&number) else { return };
        if !std::mem::replace(&mut lease.revoked, true)
            && let Some(worker) = self.workers.get(&lease.worker)
        {
            effects.push(Effect::Revoke { worker: worker.id.clone(), lease: lease_id(number) });
        }
    }

    /// A leased stage is parked.
    fn unlease(&mut self, number: StageNumber) {
        self.stages[number.index()].state = StageState::Parked;
        for sweep in self.stages[number.index()].sweeps() {
            self.sweeps[sweep.index()].leased -= 1;
        }
    }

    fn open_stage(&self, key: StageKey) -> Result<StageNumber, Rejection> {
        let number = self.stage_number(&key).ok_or(Rejection::UnknownStage(key))?;
        match self.stages[number.index()].state {
            StageState::Ended(_) => Err(Rejection::EndedAlready(key)),
            StageState::Waiting { .. } => Err(Rejection::ParentsMissing(key)),
            StageState::Parked | StageState::Ready | StageState::Leased { .. } => Ok(number),
        }
    }

    fn sweep_number(&self, sweep: &SweepId) -> Result<SweepNumber, Rejection> {
        self.sweep_numbers.get(sweep).copied().ok_or_else(|| Rejection::UnknownSweep(sweep.clone()))
    }

    fn not_running(&self, number: SweepNumber) -> Rejection {
        let sweep = &self.sweeps[number.index()];
        Rejection::NotRunning { sweep: sweep.plan.sweep.id.clone(), state: sweep.state.name() }
    }
}
