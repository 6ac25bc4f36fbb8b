//! Restores a ledger from the parts of a snapshot. Nothing in a snapshot is trusted: an incomplete or inconsistent one
//! is rejected.

use std::{iter::Peekable, vec::IntoIter};

use super::{
    Ledger,
    restoring::{Restoring, Standing},
    snapshot::invalid,
    stage::{Stage, StageState},
    sweep::{Sweep, Tally, TrialState},
};
use crate::scheduler::{
    fault_injection::Faults,
    journal::{ExtensionPart, SweepPart},
    message::{Packed, Rejection},
    numbers::{StageNumber, SweepNumber},
};

/// A sweep, and a position in its plan.
type Place = (SweepNumber, u32);

impl Restoring {
    /// Restores and checks the ledger that the snapshot was taken of.
    pub(super) fn ledger(self, faults: Faults) -> Result<Ledger, Rejection> {
        let Self { counts, sweeps, stages } = self;
        if (counts.sweeps, counts.stages) != (sweeps.len(), stages.len()) || counts.life == 0 {
            return Err(invalid(format_args!("it is incomplete: {counts:?}")));
        }
        let mut ledger = Ledger { life: counts.life, forgotten: counts.forgotten, ..Ledger::new(faults) };
        let extended = sweeps.iter().flat_map(|(_, parts)| parts).map(|extension| extension.part.stage_count());
        let stage_count: usize = sweeps.iter().map(|(sweep, _)| sweep.plan.stage_count()).chain(extended).sum();
        let mut places = vec![None; stage_count];
        for (sweep, parts) in sweeps {
            ledger.list_sweep(sweep, parts, &mut places)?;
        }
        let count = places.iter().take_while(|place| place.is_some()).count();
        if places[count..].iter().any(Option::is_some) {
            return Err(invalid("stage numbers are missing"));
        }
        ledger.stages.reserve_exact(count);
        let mut standings = stages.into_iter().peekable();
        for (home, position) in places.into_iter().flatten() {
            ledger.place_stage(home, position, &mut standings)?;
        }
        if let Some(Standing { stage, .. }) = standings.next() {
            return Err(invalid(format_args!("stage {stage} does not exist or is duplicated")));
        }
        for sweep in (0..ledger.sweeps.len()).map(SweepNumber::at) {
            ledger.count_sweep(sweep);
            ledger.check_sweep(ledger.sweep(sweep)).map_err(invalid)?;
        }
        Ok(ledger)
    }
}

impl Ledger {
    /// Adds a sweep, and notes where its stages are in the plans.
    fn list_sweep(
        &mut self,
        sweep: SweepPart,
        parts: Vec<ExtensionPart>,
        places: &mut [Option<Place>],
    ) -> Result<(), Rejection> {
        let SweepPart { plan, open, state, submitted_at, ended_at, submitted_by, cancelled_by, share, trials, stages } =
            sweep;
        self.check_plan(&plan)?;
        let id = plan.sweep.id.clone();
        let number = SweepNumber::at(self.sweeps.len());
        let mut sweep =
            Sweep { open, state, ended_at, submitted_by, cancelled_by, share, ..Sweep::new(plan, submitted_at) };
        for ExtensionPart { part, added_at } in parts {
            self.check_size(&part, number)?;
            let (known, _) = sweep.plan.known_and_new(&part);
            if let Some(trial) = known.first() {
                return Err(invalid(format_args!("trial {trial} is in more than one part")));
            }
            sweep.plan.push(part, added_at);
        }
        let listed: u64 = stages.iter().map(|(_, count)| u64::from(*count)).sum();
        let trials: Option<Vec<TrialState>> = trials.chars().map(trial_state).collect();
        sweep.trials = trials
            .filter(|trials| trials.len() == sweep.plan.trial_count() && listed == sweep.plan.stage_count() as u64)
            .ok_or_else(|| invalid(format_args!("sweep {id} has other stages or trials")))?;
        let numbers = stages.iter().flat_map(|(first, count)| (0..*count).map(|more| first.saturating_add(more)));
        sweep.stages = numbers.map(StageNumber).collect();
        self.sweep_numbers.insert(id, number);
        self.sweeps.push(sweep);
        let sweeps = &self.sweeps;
        for (position, key) in (0..).zip(sweeps[number.index()].plan.keys()) {
            let stage = sweeps[number.index()].stages[position as usize];
            let no_number = || invalid(format_args!("stage {key} has no number"));
            let key_at = |(home, at): Place| sweeps[home.index()].plan.key(at as usize);
            match places.get(stage.index()).ok_or_else(no_number)? {
                Some(place) if key_at(*place) == key => continue,
                Some(_) => return Err(invalid(format_args!("stage {key} has the number of another stage"))),
                None => places[stage.index()] = Some((number, position)),
            }
            let key_of = |number: StageNumber| key_at(places[number.index()].expect("what is found was placed"));
            if self.index.find(&key, key_of).is_some() {
                return Err(invalid(format_args!("stage {key} has two numbers")));
            }
            self.index.insert(stage, key_of);
        }
        self.sweeps[number.index()].note_listed_again();
        Ok(())
    }

    /// Adds the next stage below its parents, with its state.
    fn place_stage(
        &mut self,
        home: SweepNumber,
        position: u32,
        standings: &mut Peekable<IntoIter<Standing>>,
    ) -> Result<(), Rejection> {
        let number = StageNumber::at(self.stages.len());
        let class = self.class_of(home, position as usize);
        let (sweeps, stages) = (&self.sweeps, &mut self.stages);
        let sweep = &sweeps[home.index()];
        let key = sweep.plan.key(position as usize);
        let (mut missing, mut ends_with_parent) = (0, false);
        for parent in sweep.plan.parents(position as usize) {
            let above = stages.get_mut(sweep.stages[parent].index());
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
            return Err(invalid(format_args!("the state of stage {key} contradicts that of its parents")));
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
                    return Err(invalid(format_args!("stage {key} has a checkpoint but is not open")));
                }
            }
        }
        self.stages.push(stage);
        Ok(())
    }

    /// Links a sweep to its stages and computes its counts.
    fn count_sweep(&mut self, number: SweepNumber) {
        let (sweeps, stages) = (&mut self.sweeps, &mut self.stages);
        let sweep = &mut sweeps[number.index()];
        let is_running = sweep.is_running();
        let (mut lane_steps, mut ended, mut lane_steps_ended) = (0_u64, 0, 0_u64);
        for position in (0..sweep.stages.len()).filter(|position| !sweep.lists_again(*position)) {
            let stage = &mut stages[sweep.stages[position].index()];
            stage.wanted += u32::from(is_running);
            if stage.home != number {
                stage.shared_with.push(number);
            }
            let steps = sweep.plan.lane_steps(position);
            lane_steps = lane_steps.saturating_add(steps);
            if stage.is_ended() {
                ended += 1;
                lane_steps_ended = lane_steps_ended.saturating_add(steps);
            }
        }
        (sweep.lane_steps, sweep.stages_ended, sweep.lane_steps_ended) = (lane_steps, ended, lane_steps_ended);
        for (place, trial) in (0..sweep.trials.len()).zip(0_u32..) {
            stages[sweep.last_stage(place).index()].trials.push((number, trial));
        }
        self.sweeps[number.index()].tally = self.tally_of(self.sweep(number));
    }

    /// Counts trials by state. A trial that ended has the outcome of its last stage.
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
