//! From the parts of a snapshot to the core that it was taken of. Nothing in it is believed: what is not whole, or does not fit the plans,
//! is refused.

use std::sync::Arc;

use super::{
    super::{
        core::Core,
        event::{Policy, Rejection, SweepState},
        outcome::Packed,
        stage::{Stage, StageNumber, StageState, SweepNumber},
        sweep::{Sweep, Tally, TrialState},
    },
    Restoring, Standing, SweepPart, invalid,
};

/// A sweep, and a position in its plan.
type Place = (SweepNumber, u32);

impl Restoring {
    /// The core that it was taken of, as it is when no life has begun since. Believes nothing.
    pub(super) fn core(self, policy: Policy) -> Result<Core, Rejection> {
        let Self { counts, sweeps, stages } = self;
        if (counts.sweeps, counts.stages) != (sweeps.len(), stages.len()) || counts.life == 0 {
            return Err(invalid(format_args!("it is not whole: {counts:?}")));
        }
        let mut core = Core { life: counts.life, forgotten: counts.forgotten, ..Core::new(policy) };
        let mut places = vec![None; sweeps.iter().map(|sweep| sweep.plan.stage_count()).sum()];
        for sweep in sweeps {
            core.list_sweep(sweep, &mut places)?;
        }
        let count = places.iter().take_while(|place| place.is_some()).count();
        if places[count..].iter().any(Option::is_some) {
            return Err(invalid("numbers of stages are left out"));
        }
        core.stages.reserve_exact(count);
        for (home, position) in places.into_iter().flatten() {
            core.place_stage(home, position)?;
        }
        for sweep in (0..).map(SweepNumber).take(core.sweeps.len()) {
            core.count_sweep(sweep);
        }
        core.set_standings(stages)?;
        core.settle_all()?;
        Ok(core)
    }
}

impl Core {
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
        let number = SweepNumber(u32::try_from(self.sweeps.len()).unwrap_or(u32::MAX));
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
            if self.stage_index.find(&key, key_of).is_some() {
                return Err(invalid(format_args!("stage {key} has two numbers")));
            }
            self.stage_index.insert(stage, key_of);
        }
        Ok(())
    }

    /// Takes the next stage in: below its parents.
    fn place_stage(&mut self, home: SweepNumber, position: u32) -> Result<(), Rejection> {
        let plan = Arc::clone(&self.sweeps[home.index()].plan);
        let key = plan.key(position as usize);
        let number = self.sweeps[home.index()].stages[position as usize];
        let class = self.class_of(&plan, position as usize);
        for parent in plan.parents(position as usize) {
            let parent = self.sweeps[home.index()].stages[parent];
            let above = self.stages.get_mut(parent.index());
            let above = above.ok_or_else(|| invalid(format_args!("stage {key} is before its parent")))?;
            above.children.push(number);
        }
        self.stages.push(Stage::new(home, position, class));
        Ok(())
    }

    /// Notes a sweep at its stages, and what it is in all.
    fn count_sweep(&mut self, number: SweepNumber) {
        let is_running = self.sweeps[number.index()].state == SweepState::Running;
        for position in 0..self.sweeps[number.index()].stages.len() {
            let stage = self.sweeps[number.index()].stages[position];
            let lane_steps = self.lane_steps_of(stage);
            let sweep = &mut self.sweeps[number.index()];
            sweep.lane_steps = sweep.lane_steps.saturating_add(lane_steps);
            let stage = &mut self.stages[stage.index()];
            stage.wanted += u32::from(is_running);
            if stage.home != number {
                stage.shared_with.push(number);
            }
        }
        let plan = Arc::clone(&self.sweeps[number.index()].plan);
        for (place, trial) in (0..plan.trial_count()).zip(0_u32..) {
            let stage = self.sweeps[number.index()].stages[plan.last_stage(place)];
            self.stages[stage.index()].trials.push((number, trial));
        }
    }

    /// How stages have ended, and what failed.
    fn set_standings(&mut self, standings: Vec<Standing>) -> Result<(), Rejection> {
        let mut next = 0;
        for Standing { stage, outcome, width_limit, trouble, checkpoint } in standings {
            let number = StageNumber(stage);
            let is_next = stage >= next && number.index() < self.stages.len();
            if !is_next {
                return Err(invalid(format_args!("there is no stage {stage}, or it is there twice")));
            }
            next = stage.saturating_add(1);
            let stage = &mut self.stages[number.index()];
            (stage.width_limit, stage.trouble) = (width_limit.max(1), trouble);
            if outcome.is_some() && checkpoint.is_some() {
                return Err(invalid(format_args!("stage {number:?} has ended, and can be gone on with")));
            }
            stage.checkpoint = checkpoint;
            if let Some(outcome) = outcome {
                self.mark_ended(number, outcome);
            }
        }
        Ok(())
    }

    /// What waits for what, and how much has ended of each sweep; then what is ready is queued.
    fn settle_all(&mut self) -> Result<(), Rejection> {
        let mut missing = vec![0_u32; self.stages.len()];
        let mut ends_with_parent = vec![false; self.stages.len()];
        for (number, stage) in self.stages.iter().enumerate() {
            let holds = match stage.outcome() {
                Some(_) => missing[number] == 0 || ends_with_parent[number],
                None => !ends_with_parent[number],
            };
            if !holds {
                let key = self.key_of(StageNumber(u32::try_from(number).unwrap_or(u32::MAX)));
                return Err(invalid(format_args!("stage {key} does not stand as those above it do")));
            }
            for child in &stage.children {
                match stage.outcome() {
                    None => missing[child.index()] += 1,
                    Some(outcome) => ends_with_parent[child.index()] |= !outcome.is_completed(),
                }
            }
        }
        for (stage, missing) in self.stages.iter_mut().zip(missing).filter(|(stage, _)| !stage.is_ended()) {
            if missing > 0 && stage.checkpoint.is_some() {
                return Err(invalid("a stage that waits for others can be gone on with"));
            }
            stage.state = if missing == 0 { StageState::Parked } else { StageState::Waiting { missing } };
        }
        for number in 0..self.sweeps.len() {
            self.sweeps[number].tally = self.tally_of(&self.sweeps[number]);
            self.check_sweep(&self.sweeps[number]).map_err(invalid)?;
        }
        for number in 0..self.stages.len() {
            self.settle(StageNumber(u32::try_from(number).unwrap_or(u32::MAX)));
        }
        Ok(())
    }

    /// Trials by how they stand; one that ended is as its last stage.
    fn tally_of(&self, sweep: &Sweep) -> Tally {
        let mut tally = Tally::default();
        for (trial, state) in sweep.trials.iter().enumerate() {
            let last = sweep.stages[sweep.plan.last_stage(trial)];
            let outcome = self.stages[last.index()].outcome();
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
