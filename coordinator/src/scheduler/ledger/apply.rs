//! The one way in which durable state changes: one record at a time.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use secateur_proto::{ids::StageKey, outcome::StageOutcome};

use super::{
    Ledger,
    change::Change,
    inherited::inherited,
    key_of,
    stage::{Stage, StageState},
    sweep::{Sweep, TrialState},
};
use crate::{
    experiment::plan::PackedPlan,
    scheduler::{
        fault_injection::Fault,
        journal::{FailedAttempt, Record},
        message::{Packed, Rejection, SweepState, Timestamp},
        numbers::{ClassNumber, StageNumber, SweepNumber},
    },
};

impl Ledger {
    /// Applies one record, and says what is different now. Changes nothing if the record cannot follow the ones before it.
    pub(in crate::scheduler) fn apply(
        &mut self,
        at: Timestamp,
        record: &Record,
        changes: &mut Vec<Change>,
    ) -> Result<(), Rejection> {
        if let Record::Snapshot(part) = record {
            return self.read_part(part);
        }
        self.leave_snapshot()?;
        match record {
            Record::Snapshot(_) => {}
            Record::Started => self.life = self.life.saturating_add(1),
            Record::SweepSubmitted { plan, open, by } => {
                let number = self.add_sweep(at, plan, *open, changes)?;
                self.sweeps[number.index()].submitted_by.clone_from(by);
            }
            Record::SweepExtended { part } => self.extend_sweep(at, part, changes)?,
            Record::SweepClosed { sweep } => {
                let number = self.sweep_number(sweep)?;
                if !std::mem::take(&mut self.sweeps[number.index()].open) {
                    return Err(Rejection::ClosedAlready(sweep.clone()));
                }
                self.complete_sweep(at, number, changes);
            }
            Record::SweepResumed { sweep } => {
                let number = self.sweep_number(sweep)?;
                if matches!(self.sweep(number).state, SweepState::Running | SweepState::Completed) {
                    return Err(self.not_running(number));
                }
                self.run_sweep(at, number, changes);
            }
            Record::SweepCancelled { sweep, by } => {
                let number = self.sweep_number(sweep)?;
                match self.sweep(number).state {
                    SweepState::Running => self.halt_sweep(at, number, SweepState::Cancelled, changes),
                    SweepState::Stopped { .. } => {
                        self.cancel_trials(number, changes);
                        self.end_sweep(at, number, SweepState::Cancelled, changes);
                    }
                    SweepState::Cancelled | SweepState::Completed => return Err(self.not_running(number)),
                }
                let sweep = &mut self.sweeps[number.index()];
                // One that drained keeps who asked for that.
                sweep.cancelled_by = by.clone().or_else(|| sweep.cancelled_by.take());
            }
            Record::SweepStopped { sweep, reason } => {
                let number = self.sweep_number(sweep)?;
                if !self.sweep(number).is_running() {
                    return Err(self.not_running(number));
                }
                self.halt_sweep(at, number, SweepState::Stopped { reason: reason.clone() }, changes);
            }
            Record::SweepShareChanged { sweep, share, drained_by } => {
                let number = self.sweep_number(sweep)?;
                let sweep = &mut self.sweeps[number.index()];
                match (sweep.share.drains, share.drains) {
                    (false, true) => sweep.cancelled_by.clone_from(drained_by),
                    (true, false) => sweep.cancelled_by = None,
                    _ => {}
                }
                sweep.share = *share;
                changes.extend(self.sweep(number).stages().map(Change::Stage));
            }
            Record::StagesReopened { stages } => self.reopen(stages, changes)?,
            Record::SweepForgotten { sweep } => {
                let number = self.sweep_number(sweep)?;
                if self.sweep(number).is_running() {
                    return Err(Rejection::StillRunning(sweep.clone()));
                }
                self.forget_sweep(number);
            }
            Record::StageEnded { stage, outcome } => {
                let number = self.open_stage(*stage)?;
                self.end_stage(at, number, outcome, changes);
            }
            Record::Checkpointed { stage, checkpoint } => {
                let number = self.open_stage(*stage)?;
                self.stages[number.index()].enter(StageState::Open { checkpoint: Some(Box::new(*checkpoint)) });
            }
            Record::AttemptFailed { stage, lanes, failure, worker, attempt: id } => {
                let number = self.open_stage(*stage)?;
                let stage = &mut self.stages[number.index()];
                let attempt = FailedAttempt { worker: worker.clone(), lanes: *lanes, failure: failure.clone() };
                stage.failures.get_or_insert_default().add(attempt, id.clone());
                stage.width_limit = stage.width_limit.min((lanes / 2).max(1));
                changes.push(Change::Stage(number));
            }
        }
        self.since_snapshot += 1;
        Ok(())
    }

    fn add_sweep(
        &mut self,
        at: Timestamp,
        plan: &Arc<PackedPlan>,
        open: bool,
        changes: &mut Vec<Change>,
    ) -> Result<SweepNumber, Rejection> {
        self.check_plan(plan)?;
        let sweep = SweepNumber::at(self.sweeps.len());
        self.sweep_numbers.insert(plan.sweep.id.clone(), sweep);
        self.sweeps.push(Sweep { open, ..Sweep::new(Arc::clone(plan), at) });
        self.list_part(sweep, 0, 0);
        self.run_sweep(at, sweep, changes);
        Ok(sweep)
    }

    /// A sweep has more to do. One that does not run goes on.
    fn extend_sweep(
        &mut self,
        at: Timestamp,
        part: &Arc<PackedPlan>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Rejection> {
        let number = self.sweep_number(&part.sweep.id)?;
        self.check_size(part, number)?;
        let sweep = &mut self.sweeps[number.index()];
        if let Some(trial) = sweep.plan.known_and_new(part).0.into_iter().next() {
            return Err(Rejection::PartOverlaps { sweep: part.sweep.id.clone(), trial });
        }
        let was_running = sweep.is_running();
        let (first_stage, first_trial) = (sweep.plan.stage_count(), sweep.plan.trial_count());
        sweep.plan.push(Arc::clone(part), Some(at));
        sweep.trials.resize(first_trial + part.trial_count(), TrialState::Open);
        sweep.tally.open += part.trial_count() as u64;
        self.list_part(number, first_stage, first_trial);
        if was_running {
            self.new_generation(number);
            self.want_stages(number, first_stage, changes);
            self.end_ended_trials(number, first_trial, changes);
            self.complete_sweep(at, number, changes);
        } else {
            self.run_sweep(at, number, changes);
        }
        Ok(())
    }

    /// Lists the stages and trials of a sweep's plan from these on.
    fn list_part(&mut self, sweep: SweepNumber, first_stage: usize, first_trial: usize) {
        let plan = &self.sweep(sweep).plan;
        let (stage_count, trial_count) = (plan.stage_count(), plan.trial_count());
        let (stages, sweeps) = (&self.stages, &self.sweeps);
        self.index.reserve(stage_count - first_stage, |number| key_of(stages, sweeps, number));
        self.stages.reserve(stage_count - first_stage);
        for position in first_stage..stage_count {
            self.list_stage(sweep, position);
        }
        for trial in first_trial..trial_count {
            let last = self.sweep(sweep).last_stage(trial);
            self.stages[last.index()].list_trial(sweep, u32::try_from(trial).unwrap_or(u32::MAX));
        }
    }

    /// Makes a planned stage one of the sweep's: a new one, or one that is known by its key.
    fn list_stage(&mut self, number: SweepNumber, position: usize) {
        let key = self.sweep(number).plan.key(position);
        let Some(stage) = self.find_stage(&key) else {
            let stage = self.add_stage(number, position);
            let lane_steps = self.lane_steps_of(stage);
            let sweep = &mut self.sweeps[number.index()];
            sweep.stages.push(stage);
            sweep.lane_steps = sweep.lane_steps.saturating_add(lane_steps);
            return;
        };
        let (ended, lane_steps) = (self.stage(stage).is_ended(), self.lane_steps_of(stage));
        let is_listed = self.stage(stage).sweeps().any(|sweep| sweep == number);
        let sweep = &mut self.sweeps[number.index()];
        sweep.stages.push(stage);
        if is_listed {
            sweep.listed_again.insert(u32::try_from(position).unwrap_or(u32::MAX));
            return;
        }
        sweep.lane_steps = sweep.lane_steps.saturating_add(lane_steps);
        if ended {
            sweep.stages_ended += 1;
            sweep.lane_steps_ended = sweep.lane_steps_ended.saturating_add(lane_steps);
        }
        self.stages[stage.index()].list(number, u32::try_from(position).unwrap_or(u32::MAX));
    }

    fn add_stage(&mut self, sweep: SweepNumber, position: usize) -> StageNumber {
        let number = StageNumber::at(self.stages.len());
        let class = self.class_of(sweep, position);
        let mut missing = 0;
        let mut ends_as = None;
        let (sweeps, stages) = (&self.sweeps, &mut self.stages);
        let home = &sweeps[sweep.index()];
        for parent in home.plan.parents(position) {
            let key = home.plan.key(parent);
            let parent = &mut stages[home.stages[parent].index()];
            match parent.outcome() {
                None => missing += 1,
                Some(outcome) if outcome.is_completed() => {}
                Some(outcome) => ends_as = ends_as.or_else(|| inherited(key, &outcome.unpack())),
            }
            parent.children.push(number);
        }
        let position = u32::try_from(position).unwrap_or(u32::MAX);
        self.stages.push(Stage::new(sweep, position, class, StageState::new(missing)));
        let (stages, sweeps) = (&self.stages, &self.sweeps);
        self.index.insert(number, |number| key_of(stages, sweeps, number));
        if let Some(outcome) = ends_as {
            self.mark_ended(number, Packed::new(&outcome));
        }
        number
    }

    /// The number of a planned stage's class, if it may share a bundle.
    pub(super) fn class_of(&mut self, sweep: SweepNumber, position: usize) -> Option<ClassNumber> {
        let class = self.sweeps[sweep.index()].plan.shared_class(position)?;
        if let Some(number) = self.class_numbers.get(class) {
            return Some(*number);
        }
        let number = ClassNumber::at(self.classes.len());
        self.classes.push(class.clone());
        self.class_numbers.insert(class.clone(), number);
        Some(number)
    }

    /// Makes sure that the sweep of a plan can be taken in.
    pub(super) fn check_plan(&self, plan: &PackedPlan) -> Result<(), Rejection> {
        let id = &plan.sweep.id;
        if self.sweep_numbers.contains_key(id) {
            return Err(Rejection::InvalidPlan { sweep: id.clone(), reason: "the sweep is known already".to_owned() });
        }
        self.check_size(plan, SweepNumber::at(self.sweeps.len()))
    }

    /// Makes sure that all there is can be numbered, once this part of a sweep's plan is there.
    pub(super) fn check_size(&self, part: &PackedPlan, sweep: SweepNumber) -> Result<(), Rejection> {
        let before = self.sweeps.get(sweep.index());
        let (stages, trials) = before.map_or((0, 0), |sweep| (sweep.stages.len(), sweep.trials.len()));
        let limit = u32::MAX as usize - self.stages.len().max(self.sweeps.len()).max(stages).max(trials) - 1;
        if part.stage_count() > limit || part.trial_count() > limit {
            let reason = format!("it has more than {limit} stages or trials");
            return Err(Rejection::InvalidPlan { sweep: part.sweep.id.clone(), reason });
        }
        Ok(())
    }

    /// Sets a sweep going that does not run: its open stages are wanted, its trials open but for those that have ended.
    fn run_sweep(&mut self, at: Timestamp, number: SweepNumber, changes: &mut Vec<Change>) {
        self.new_generation(number);
        let sweep = &mut self.sweeps[number.index()];
        (sweep.state, sweep.ended_at, sweep.cancelled_by) = (SweepState::Running, None, None);
        for trial in &mut sweep.trials {
            if *trial == TrialState::Cancelled {
                *trial = TrialState::Open;
                sweep.tally.failed -= 1;
                sweep.tally.open += 1;
            }
        }
        self.want_stages(number, 0, changes);
        self.end_ended_trials(number, 0, changes);
        self.complete_sweep(at, number, changes);
    }

    /// Ends the open trials from this one on of which the last stage has ended.
    fn end_ended_trials(&mut self, number: SweepNumber, first: usize, changes: &mut Vec<Change>) {
        for trial in first..self.sweep(number).trials.len() {
            let last = self.sweep(number).last_stage(trial);
            if let Some(outcome) = self.stage(last).outcome() {
                let completed = outcome.is_completed();
                self.end_trial(number, trial, TrialState::Ended, completed, changes);
            }
        }
    }

    /// One more running sweep wants its stages, from this position of its plan on.
    pub(super) fn want_stages(&mut self, number: SweepNumber, first: usize, changes: &mut Vec<Change>) {
        let (sweeps, stages) = (&self.sweeps, &mut self.stages);
        for stage in sweeps[number.index()].stages_from(first) {
            stages[stage.index()].wanted += 1;
            changes.push(Change::Stage(stage));
        }
    }

    /// Ends the sweep if all of its trials have ended, and no other is to follow.
    fn complete_sweep(&mut self, at: Timestamp, number: SweepNumber, changes: &mut Vec<Change>) {
        let sweep = self.sweep(number);
        if sweep.is_running() && sweep.tally.open == 0 && !sweep.open {
            self.halt_sweep(at, number, SweepState::Completed, changes);
        }
    }

    /// From running to any other state: its stages are no longer wanted by it.
    fn halt_sweep(&mut self, at: Timestamp, number: SweepNumber, state: SweepState, changes: &mut Vec<Change>) {
        if state == SweepState::Cancelled {
            self.cancel_trials(number, changes);
        }
        let (sweeps, stages) = (&self.sweeps, &mut self.stages);
        for stage in sweeps[number.index()].stages() {
            stages[stage.index()].wanted -= 1;
            // What others want runs for them now.
            changes.push(Change::Stage(stage));
        }
        self.end_sweep(at, number, state, changes);
    }

    fn end_sweep(&mut self, at: Timestamp, number: SweepNumber, state: SweepState, changes: &mut Vec<Change>) {
        let sweep = &mut self.sweeps[number.index()];
        sweep.state = state;
        sweep.ended_at = Some(at);
        sweep.share.drains = false;
        if sweep.state != SweepState::Cancelled {
            sweep.cancelled_by = None;
        }
        changes.push(Change::SweepEnded(number));
    }

    fn cancel_trials(&mut self, number: SweepNumber, changes: &mut Vec<Change>) {
        for trial in 0..self.sweep(number).trials.len() {
            self.end_trial(number, trial, TrialState::Cancelled, false, changes);
        }
    }

    /// Ends a trial if it is open.
    fn end_trial(
        &mut self,
        number: SweepNumber,
        trial: usize,
        state: TrialState,
        completed: bool,
        changes: &mut Vec<Change>,
    ) {
        let sweep = &mut self.sweeps[number.index()];
        let is_open = sweep.trials[trial] == TrialState::Open;
        if !is_open && !self.faults.has(Fault::DoubleCount) {
            return;
        }
        if is_open {
            sweep.trials[trial] = state;
            sweep.tally.open -= 1;
            if completed {
                sweep.tally.completed += 1;
            } else {
                sweep.tally.failed += 1;
            }
        }
        self.new_generation(number);
        changes.push(Change::TrialEnded(number, u32::try_from(trial).unwrap_or(u32::MAX)));
    }

    /// Ends an open stage and every stage below it that ends with it.
    fn end_stage(&mut self, at: Timestamp, stage: StageNumber, outcome: &StageOutcome, changes: &mut Vec<Change>) {
        let mut ending = VecDeque::from([(stage, Cow::Borrowed(outcome))]);
        while let Some((number, outcome)) = ending.pop_front() {
            if self.stage(number).is_ended() {
                continue;
            }
            self.mark_ended(number, Packed::new(&outcome));
            changes.push(Change::Stage(number));
            let completed = matches!(*outcome, StageOutcome::Completed(_));
            for position in 0..self.stage(number).children.len() {
                let child = self.stage(number).children[position];
                match inherited(self.key_of(number), &outcome) {
                    Some(outcome) => ending.push_back((child, Cow::Owned(outcome))),
                    None => self.parent_completed(child, changes),
                }
            }
            for position in 0..self.stage(number).trials.len() {
                let (sweep, trial) = self.stage(number).trials[position];
                if self.sweep(sweep).is_running() {
                    self.end_trial(sweep, trial as usize, TrialState::Ended, completed, changes);
                    self.complete_sweep(at, sweep, changes);
                }
            }
        }
    }

    pub(super) fn mark_ended(&mut self, number: StageNumber, outcome: Packed) {
        let lane_steps = self.lane_steps_of(number);
        let stage = &mut self.stages[number.index()];
        stage.enter(StageState::Ended(outcome));
        for sweep in self.stages[number.index()].sweeps() {
            let sweep = &mut self.sweeps[sweep.index()];
            sweep.stages_ended += 1;
            sweep.lane_steps_ended = sweep.lane_steps_ended.saturating_add(lane_steps);
        }
    }

    fn parent_completed(&mut self, child: StageNumber, changes: &mut Vec<Change>) {
        let stage = &mut self.stages[child.index()];
        if let StageState::Waiting { missing } = *stage.state() {
            stage.enter(StageState::new(missing - 1));
            if stage.is_open() {
                changes.push(Change::Stage(child));
            }
        }
    }

    fn open_stage(&self, key: StageKey) -> Result<StageNumber, Rejection> {
        let number = self.stage_number(&key)?;
        match self.stage(number).state() {
            StageState::Open { .. } => Ok(number),
            StageState::Ended(_) => Err(Rejection::EndedAlready(key)),
            StageState::Waiting { .. } => Err(Rejection::ParentsMissing(key)),
            StageState::Forgotten => Err(Rejection::UnknownStage(key)),
        }
    }

    fn not_running(&self, number: SweepNumber) -> Rejection {
        let sweep = self.sweep(number);
        Rejection::not_running(sweep.id(), &sweep.state)
    }
}
