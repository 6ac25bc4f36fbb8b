//! Stages that failed are opened again, because a person says that what made them fail is over. Part of `commit`: it decides nothing.
//!
//! A stage has one state for all sweeps. So every sweep that has such a stage is as if the stage had never ended: one that had completed
//! runs again.

use std::collections::BTreeSet;

use secateur_proto::{
    ids::StageKey,
    outcome::{FailureClass, StageOutcome},
};

use super::{
    core::Core,
    event::{Rejection, SweepState},
    outcome::{Packed, inherited},
    stage::{StageNumber, StageState, SweepNumber, UNLIMITED},
    sweep::TrialState,
};

impl Core {
    /// The stages of a sweep that failed by themselves, in the order of its plan.
    pub(super) fn failed_stages(&self, sweep: SweepNumber) -> Vec<StageKey> {
        let failed = self.sweeps[sweep.index()].stages.iter().filter(|stage| {
            let outcome = self.stages[stage.index()].outcome();
            outcome.and_then(Packed::failure).is_some_and(|failure| failure.class != FailureClass::Upstream)
        });
        failed.map(|stage| self.key_of(*stage)).collect()
    }

    /// Opens stages again that failed by themselves, and those below them that failed for no other reason.
    pub(super) fn reopen(&mut self, keys: &[StageKey]) -> Result<(), Rejection> {
        let mut open = BTreeSet::new();
        for key in keys {
            let number = self.stage_number(key).ok_or(Rejection::UnknownStage(*key))?;
            match self.stages[number.index()].outcome().and_then(Packed::failure) {
                Some(failure) if failure.class != FailureClass::Upstream => open.insert(number),
                _ => return Err(Rejection::NotFailed(*key)),
            };
        }
        // Parents have smaller numbers than their children, so each stage is looked at after all that decides it.
        let mut waiting = open.clone();
        while let Some(number) = waiting.pop_first() {
            if !open.contains(&number) {
                match self.ends_by_parents(number) {
                    Some(outcome) => {
                        // It fails for another parent's sake now; what is below it says so, too.
                        self.stages[number.index()].state = StageState::Ended(Packed::new(&outcome));
                    }
                    None => _ = open.insert(number),
                }
            }
            if open.contains(&number) {
                self.open_again(number);
            }
            let below = self.stages[number.index()].children.iter().copied();
            waiting.extend(below.filter(|child| {
                let failure = self.stages[child.index()].outcome().and_then(Packed::failure);
                failure.is_some_and(|failure| failure.class == FailureClass::Upstream)
            }));
        }
        let sweeps: BTreeSet<SweepNumber> =
            open.iter().flat_map(|stage| self.stages[stage.index()].sweeps().collect::<Vec<_>>()).collect();
        for sweep in sweeps {
            self.reopen_trials(sweep, &open);
        }
        for stage in open {
            self.settle(stage);
        }
        Ok(())
    }

    /// How a stage ends by how its parents have; nothing if it may run, now or later.
    fn ends_by_parents(&self, number: StageNumber) -> Option<StageOutcome> {
        let stage = &self.stages[number.index()];
        self.parents_of(stage).find_map(|parent| {
            let outcome = self.stages[parent.index()].outcome()?.unpack();
            inherited(self.key_of(parent), &outcome)
        })
    }

    fn open_again(&mut self, number: StageNumber) {
        let stage = &self.stages[number.index()];
        let is_open = |parent: &StageNumber| !self.stages[parent.index()].is_ended();
        let missing = self.parents_of(stage).filter(is_open).count();
        let lane_steps = self.lane_steps_of(number);
        let stage = &mut self.stages[number.index()];
        // As if it had never been tried.
        (stage.trouble, stage.elsewhere, stage.width_limit) = (None, None, UNLIMITED);
        stage.state = match u32::try_from(missing).unwrap_or(u32::MAX) {
            0 => StageState::Parked,
            missing => StageState::Waiting { missing },
        };
        for sweep in self.stages[number.index()].sweeps().collect::<Vec<_>>() {
            let sweep = &mut self.sweeps[sweep.index()];
            sweep.stages_ended -= 1;
            sweep.lane_steps_ended = sweep.lane_steps_ended.saturating_sub(lane_steps);
        }
    }

    fn reopen_trials(&mut self, number: SweepNumber, open: &BTreeSet<StageNumber>) {
        let ends_here: Vec<u32> = (open.iter())
            .flat_map(|stage| self.stages[stage.index()].trials.iter())
            .filter(|(sweep, _)| *sweep == number)
            .map(|(_, trial)| *trial)
            .collect();
        let sweep = &mut self.sweeps[number.index()];
        for trial in ends_here {
            let state = &mut sweep.trials[trial as usize];
            if *state != TrialState::Ended {
                continue;
            }
            if sweep.state == SweepState::Cancelled {
                *state = TrialState::Cancelled;
            } else {
                *state = TrialState::Open;
                sweep.tally.failed -= 1;
                sweep.tally.open += 1;
            }
        }
        if sweep.state == SweepState::Completed && sweep.tally.open > 0 {
            sweep.ended_at = None;
            self.run_again(number);
        }
    }

    /// A completed sweep runs again: its stages are wanted.
    fn run_again(&mut self, number: SweepNumber) {
        self.sweeps[number.index()].state = SweepState::Running;
        for position in 0..self.sweeps[number.index()].stages.len() {
            let stage = self.sweeps[number.index()].stages[position];
            self.want(stage);
        }
    }
}
