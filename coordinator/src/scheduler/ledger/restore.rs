//! From the parts of a snapshot to the ledger that it was taken of. Nothing in it is believed: what is not whole, or does not fit the
//! plans, is refused.

use std::{iter::Peekable, sync::Arc, vec::IntoIter};

use super::{
    Ledger,
    outcome::Packed,
    restoring::{Restoring, Standing},
    snapshot::invalid,
    stage::{Stage, StageState},
    sweep::{Sweep, Tally, TrialState},
};
use crate::scheduler::{
    fault_injection::Faults,
    journal::SweepPart,
    message::Rejection,
    numbers::{StageNumber, SweepNumber},
};

/// A sweep, and a position in its plan.
type Place = (SweepNumber, u32);

impl Restoring {
    /// The ledger that it was taken of. Believes nothing.
    pub(super) fn ledger(self, faults: Faults) -> Result<Ledger, Rejection> {
        let Self { counts, sweeps, stages } = self;
        if (counts.sweeps, counts.stages) != (sweeps.len(), stages.len()) || counts.life == 0 {
            return Err(invalid(format_args!("it is not whole: {counts:?}")));
        }
        let mut ledger = Ledger { life: counts.life, forgotten: counts.forgotten, ..Ledger::new(faults) };
        let mut places = vec![None; sweeps.iter().map(|sweep| sweep.plan.stage_count()).sum()];
        for sweep in sweeps {
            ledger.list_sweep(sweep, &mut places)?;
        }
        let count = places.iter().take_while(|place| place.is_some()).count();
        if places[count..].iter().any(Option::is_some) {
            return Err(invalid("numbers of stages are left out"));
        }
        ledger.stages.reserve_exact(count);
        let mut standings = stages.into_iter().peekable();
        for (home, position) in places.into_iter().flatten() {
            ledger.place_stage(home, position, &mut standings)?;
        }
        if let Some(Standing { stage, .. }) = standings.next() {
            return Err(invalid(format_args!("there is no stage {stage}, or it is there twice")));
        }
        for sweep in (0..ledger.sweeps.len()).map(SweepNumber::at) {
            ledger.count_sweep(sweep);
            ledger.check_sweep(ledger.sweep(sweep)).map_err(invalid)?;
        }
        Ok(ledger)
    }
}

impl Ledger {
    /// Takes a sweep in, and notes at its stages' numbers where in the plans they are.
    fn list_sweep(&mut self, part: SweepPart, places: &mut [Option<Place>]) -> Result<(), Rejection> {
        let SweepPart { plan, state, submitted_at, ended_at, share, trials, stages } = part;
        self.check_plan(&plan)?;
        let listed: u64 = stages.iter().map(|(_, count)| u64::from(*count)).sum();
        let trials: Option<Vec<TrialState>> = trials.chars().map(trial_state).collect();
        let Some(trials) =
            trials.filter(|trials| trials.len() == plan.trial_count() && listed == plan.stage_count() as u64)
        else {
            return Err(invalid(format_args!("sweep {} has other stages or trials", plan.sweep.id)));
        };
        let number = SweepNumber::at(self.sweeps.len());
        let numbers = stages.iter().flat_map(|(first, count)| (0..*count).map(|more| first.saturating_add(more)));
        self.sweep_numbers.insert(plan.sweep.id.clone(), number);
        self.sweeps.push(Sweep {
            state,
            stages: numbers.map(StageNumber).collect(),
            trials,
            ended_at,
            share,
            ..Sweep::new(Arc::clone(&plan), submitted_at)
        });
        for (position, key) in (0..).zip(plan.keys()) {
            let stage = self.sweeps[number.index()].stages[position as usize];
            let sweeps = &self.sweeps;
            let no_number = || invalid(format_args!("stage {key} has no number"));
            let key_at = |(home, at): Place| sweeps[home.index()].plan.key(at as usize);
            match places.get(stage.index()).ok_or_else(no_number)? {
                Some(place) if key_at(*place) == key => continue,
                Some(_) => return Err(invalid(format_args!("stage {key} has the number of another one"))),
                None => places[stage.index()] = Some((number, position)),
            }
            let key_of = |number: StageNumber| key_at(places[number.index()].expect("what is found was placed"));
            if self.index.find(&key, key_of).is_some() {
                return Err(invalid(format_args!("stage {key} has two numbers")));
            }
            self.index.insert(stage, key_of);
        }
        Ok(())
    }

    /// Takes the next stage in, below its parents, as it stands.
    fn place_stage(
        &mut self,
        home: SweepNumber,
        position: u32,
        standings: &mut Peekable<IntoIter<Standing>>,
    ) -> Result<(), Rejection> {
        let plan = Arc::clone(&self.sweep(home).plan);
        let key = plan.key(position as usize);
        let number = StageNumber::at(self.stages.len());
        let class = self.class_of(&plan, position as usize);
        let (mut missing, mut ends_with_parent) = (0, false);
        for parent in plan.parents(position as usize) {
            let parent = self.sweep(home).stages[parent];
            let above = self.stages.get_mut(parent.index());
            let above = above.ok_or_else(|| invalid(format_args!("stage {key} is before its parent")))?;
            above.children.push(number);
            match above.outcome() {
                None => missing += 1,
                Some(outcome) => ends_with_parent |= !outcome.is_completed(),
            }
        }
        let mut stage = Stage::new(home, position, class, StageState::new(missing));
        let standing = standings.next_if(|standing| standing.stage == number.0);
        let has_ended = standing.as_ref().is_some_and(|standing| standing.outcome.is_some());
        if if has_ended { missing > 0 && !ends_with_parent } else { ends_with_parent } {
            return Err(invalid(format_args!("stage {key} does not stand as those above it do")));
        }
        if let Some(Standing { stage: _, outcome, width_limit, failures, checkpoint }) = standing {
            (stage.width_limit, stage.failures) = (width_limit.max(1), failures);
            match (outcome, checkpoint) {
                (None, None) => {}
                (Some(outcome), None) => stage.enter(StageState::Ended(outcome)),
                (None, Some(checkpoint)) if missing == 0 => {
                    stage.enter(StageState::Open { checkpoint: Some(checkpoint) });
                }
                (_, Some(_)) => {
                    return Err(invalid(format_args!("stage {key} has a checkpoint, and is not open")));
                }
            }
        }
        self.stages.push(stage);
        Ok(())
    }

    /// Notes a sweep at its stages, and what it is in all.
    fn count_sweep(&mut self, number: SweepNumber) {
        let is_running = self.sweep(number).is_running();
        let plan = Arc::clone(&self.sweep(number).plan);
        for position in 0..self.sweep(number).stages.len() {
            let stage = self.sweep(number).stages[position];
            let lane_steps = plan.lane_steps(position);
            let stage = &mut self.stages[stage.index()];
            stage.wanted += u32::from(is_running);
            if stage.home != number {
                stage.shared_with.push(number);
            }
            let sweep = &mut self.sweeps[number.index()];
            sweep.lane_steps = sweep.lane_steps.saturating_add(lane_steps);
            if stage.is_ended() {
                sweep.stages_ended += 1;
                sweep.lane_steps_ended = sweep.lane_steps_ended.saturating_add(lane_steps);
            }
        }
        for (place, trial) in (0..plan.trial_count()).zip(0_u32..) {
            let stage = self.sweep(number).last_stage(place);
            self.stages[stage.index()].trials.push((number, trial));
        }
        self.sweeps[number.index()].tally = self.tally_of(self.sweep(number));
    }

    /// Trials by how they stand; one that ended is as its last stage.
    fn tally_of(&self, sweep: &Sweep) -> Tally {
        let mut tally = Tally::default();
        for (trial, state) in sweep.trials.iter().enumerate() {
            let outcome = self.stage(sweep.last_stage(trial)).outcome();
            match state {
                TrialState::Open => tally.open += 1,
                TrialState::Ended if outcome.is_some_and(Packed::is_completed) => tally.completed += 1,
                TrialState::Ended | TrialState::Cancelled => tally.failed += 1,
            }
        }
        tally
    }
}

const fn trial_state(letter: char) -> Option<TrialState> {
    match letter {
        'o' => Some(TrialState::Open),
        'e' => Some(TrialState::Ended),
        'c' => Some(TrialState::Cancelled),
        _ => None,
    }
}
