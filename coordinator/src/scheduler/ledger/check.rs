//! Consistency of the ledger's redundant state: recomputed and compared.

use std::{collections::BTreeSet, fmt};

use super::{
    Ledger,
    inherited::inherited,
    stage::{Stage, StageState},
    sweep::{Sweep, Tally, TrialState},
};
use crate::scheduler::{
    invariants::{InvariantId, InvariantViolation, check},
    message::{Packed, SweepState},
    numbers::StageNumber,
};

impl Ledger {
    /// Recomputes every invariant, in time proportional to the whole state.
    pub(in crate::scheduler) fn check(&self) -> Result<(), InvariantViolation> {
        for (number, stage) in self.stages() {
            if self.sweep(stage.home).forgotten {
                self.check_forgotten(number, stage)?;
            } else {
                self.check_stage(number, stage)?;
            }
        }
        self.sweeps.iter().try_for_each(|sweep| self.check_sweep(sweep))
    }

    fn check_stage(&self, number: StageNumber, stage: &Stage) -> Result<(), InvariantViolation> {
        let key = self.key_of(number);
        let about = |what: fmt::Arguments<'_>| format!("{key:?}: {what}");
        let found = self.find_stage(&key) == Some(number);
        check(InvariantId::StagesFound, found, || about(format_args!("not found by its key")))?;

        let parents: Vec<StageNumber> = self.parents_of(stage).collect();
        let ended_badly = parents.iter().filter_map(|parent| {
            let outcome = self.stage(*parent).outcome()?.unpack();
            inherited(self.key_of(*parent), &outcome)
        });
        let ended_badly: Vec<_> = ended_badly.collect();
        if ended_badly.is_empty() {
            let expected = parents.iter().filter(|parent| !self.stage(**parent).is_ended()).count();
            let found = if let StageState::Waiting { missing } = stage.state() { *missing as usize } else { 0 };
            check(InvariantId::ParentsCounted, found == expected, || {
                about(format_args!("waits for {found} parents, {expected} are open"))
            })?;
        } else {
            let outcome = stage.outcome().map(Packed::unpack);
            check(InvariantId::EndsInherited, outcome.is_some_and(|outcome| ended_badly.contains(&outcome)), || {
                about(format_args!("is {:?} below {ended_badly:?}", stage.state()))
            })?;
        }
        let wanted = stage.sweeps().filter(|sweep| self.sweep(*sweep).is_running()).count();
        check(InvariantId::WantsCounted, wanted == stage.wanted as usize, || {
            about(format_args!("wanted by {wanted}, counted {}", stage.wanted))
        })
    }

    fn check_forgotten(&self, number: StageNumber, stage: &Stage) -> Result<(), InvariantViolation> {
        let known = self.index.contains(number)
            || self.stages.iter().any(|parent| parent.children.contains(&number))
            || self.sweeps.iter().any(|sweep| sweep.stages.contains(&number));
        let empty = stage.shared_with.is_empty() && stage.children.is_empty() && stage.trials.is_empty();
        let holds = !known && empty && stage.wanted == 0 && *stage.state() == StageState::Forgotten;
        check(InvariantId::Forgotten, holds, || format!("{number:?}: {stage:?}"))
    }

    /// Checks one sweep.
    pub(super) fn check_sweep(&self, sweep: &Sweep) -> Result<(), InvariantViolation> {
        let about = |what: fmt::Arguments<'_>| format!("{}: {what}", sweep.id());
        let keys = sweep.stages.iter().map(|stage| self.key_of(*stage));
        let once: BTreeSet<StageNumber> = sweep.stages.iter().copied().collect();
        let listed = keys.eq(sweep.plan.keys())
            && once.len() == sweep.stage_count()
            && sweep.stages().collect::<BTreeSet<_>>() == once;
        check(InvariantId::StagesFound, listed, || about(format_args!("stages are not those of the plan")))?;

        let mut counts = [0_u64; 3];
        for number in sweep.stages() {
            let ended = u64::from(self.stage(number).is_ended());
            let lane_steps = self.lane_steps_of(number);
            counts[0] += ended;
            counts[1] = counts[1].saturating_add(lane_steps);
            counts[2] = counts[2].saturating_add(ended * lane_steps);
        }
        let kept = [sweep.stages_ended, sweep.lane_steps, sweep.lane_steps_ended];
        check(InvariantId::SweepCounted, counts == kept, || about(format_args!("counted {counts:?}, kept {kept:?}")))?;

        let mut tally = Tally::default();
        for (trial, state) in sweep.trials.iter().enumerate() {
            let outcome = self.stage(sweep.last_stage(trial)).outcome();
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
            SweepState::Running => (tally.open > 0 || sweep.open) && sweep.ended_at.is_none(),
            SweepState::Completed => tally.open == 0 && !sweep.open && sweep.ended_at.is_some(),
            SweepState::Cancelled => tally.open == 0 && sweep.ended_at.is_some(),
            SweepState::Stopped { .. } => sweep.ended_at.is_some(),
        };
        check(InvariantId::SweepRuns, runs, || about(format_args!("{:?} with {} open trials", sweep.state, tally.open)))
    }
}
