//! Reopens failed stages, because a person says that the cause of the failure is fixed. Decides nothing.
//!
//! A stage has one state for all sweeps. Every sweep with such a stage is as if the stage had never ended: a completed
//! sweep runs again.

use std::collections::BTreeSet;

use secateur_proto::{
    ids::StageKey,
    outcome::{FailureClass, StageOutcome},
};

use super::{
    Ledger,
    change::Change,
    inherited::inherited,
    stage::{StageState, UNLIMITED},
    sweep::TrialState,
};
use crate::scheduler::{
    message::{Packed, Rejection, SweepState},
    numbers::{StageNumber, SweepNumber},
};

impl Ledger {
    /// Reopens stages that failed by themselves, and stages below them that failed for no other reason.
    pub(super) fn reopen(&mut self, keys: &[StageKey], changes: &mut Vec<Change>) -> Result<(), Rejection> {
        let mut open = BTreeSet::new();
        for key in keys {
            let number = self.stage_number(key)?;
            match self.stages[number.index()].outcome().and_then(Packed::failure) {
                Some(failure) if failure.class != FailureClass::Upstream => open.insert(number),
                _ => return Err(Rejection::NotFailed(*key)),
            };
        }
        // Parents have smaller numbers than their children, so each stage is visited after all that decides it.
        let mut waiting = open.clone();
        while let Some(number) = waiting.pop_first() {
            if !open.contains(&number) {
                match self.ends_by_parents(number) {
                    Some(outcome) => {
                        // It now fails because of another parent, and so do the stages below it.
                        self.stages[number.index()].enter(StageState::Ended(Packed::new(&outcome)));
                        for sweep in self.stages[number.index()].sweeps().collect::<Vec<_>>() {
                            self.new_generation(sweep);
                        }
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
            self.reopen_trials(sweep, &open, changes);
        }
        changes.extend(open.into_iter().map(Change::Stage));
        Ok(())
    }

    /// How the outcomes of its parents end a stage, or `None` if it may run, now or later.
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
        // It starts without history.
        (stage.failures, stage.width_limit) = (None, UNLIMITED);
        stage.enter(StageState::new(u32::try_from(missing).unwrap_or(u32::MAX)));
        for sweep in self.stages[number.index()].sweeps().collect::<Vec<_>>() {
            let sweep = &mut self.sweeps[sweep.index()];
            sweep.stages_ended -= 1;
            sweep.lane_steps_ended = sweep.lane_steps_ended.saturating_sub(lane_steps);
        }
    }

    fn reopen_trials(&mut self, number: SweepNumber, open: &BTreeSet<StageNumber>, changes: &mut Vec<Change>) {
        self.new_generation(number);
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
            // It runs again, so its stages are wanted.
            sweep.state = SweepState::Running;
            self.want_stages(number, 0, changes);
        }
    }
}
