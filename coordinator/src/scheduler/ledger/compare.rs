//! Compares all that is durable in two ledgers, field by field. This comparison proves that nothing
//! durable is lost by what a snapshot leaves out, independently of the code that leaves it out.

use super::{Ledger, snapshot::Ranks, stage::Stage, sweep::Sweep};
use crate::scheduler::numbers::SweepNumber;

impl Ledger {
    /// Whether both have the same durable state. Of forgotten sweeps only the count is compared. How often a completed
    /// stage had failed before is not compared.
    pub(in crate::scheduler) fn says_the_same_as(&self, other: &Self) -> bool {
        let (ranks, others) = (Ranks::of(self), Ranks::of(other));
        self.life == other.life
            && self.forgotten_sweeps() == other.forgotten_sweeps()
            && self.durable_sweeps(&ranks).eq(other.durable_sweeps(&others))
            && self.durable_stages(&ranks).eq(other.durable_stages(&others))
    }

    fn durable_sweeps(&self, ranks: &Ranks) -> impl Iterator<Item = impl PartialEq> {
        self.sweeps().map(|(_, sweep)| durable_sweep(sweep, ranks))
    }

    fn durable_stages(&self, ranks: &Ranks) -> impl Iterator<Item = impl PartialEq> {
        self.known_stages().map(|(_, stage)| {
            // Classes are numbered in the order of first use, which may have been by a forgotten stage.
            (stage.class.map(|class| self.class(class)), durable_stage(stage, ranks))
        })
    }
}

/// The durable state of a sweep. Names every field, so that a new field is considered here.
fn durable_sweep<'a>(sweep: &'a Sweep, ranks: &Ranks) -> impl PartialEq + use<'a> {
    let Sweep {
        plan,
        open,
        state,
        stages,
        // Derived from plan and stages.
        listed_again: _,
        trials,
        tally,
        stages_ended,
        lane_steps,
        lane_steps_ended,
        submitted_at,
        ended_at,
        submitted_by,
        cancelled_by,
        forgotten: _,
        share,
        generation: _,
    } = sweep;
    let stages: Vec<u32> = stages.iter().map(|stage| ranks.stages[stage.index()]).collect();
    let counts = (*tally, *stages_ended, *lane_steps, *lane_steps_ended);
    let people = (submitted_by, cancelled_by);
    (plan, *open, state, stages, trials, counts, *submitted_at, *ended_at, people, *share)
}

/// The durable state of a stage. All of its state is in [`Stage::state`].
fn durable_stage<'a>(stage: &'a Stage, ranks: &Ranks) -> impl PartialEq + use<'a> {
    let Stage { home, position, shared_with, children, trials, wanted, class: _, width_limit, failures, .. } = stage;
    let sweep = |number: &SweepNumber| ranks.sweeps[number.index()];
    let shared_with: Vec<u32> = shared_with.iter().map(sweep).collect();
    let children: Vec<u32> = children.iter().map(|child| ranks.stages[child.index()]).collect();
    let trials: Vec<(u32, u32)> = trials.iter().map(|(number, trial)| (sweep(number), *trial)).collect();
    let failures = (!stage.has_completed()).then_some((*width_limit, failures));
    (sweep(home), *position, shared_with, children, trials, *wanted, failures, stage.state())
}

#[cfg(test)]
impl Ledger {
    /// Describes what is durable, as text. Forgotten sweeps and stages do not show, not even in numbers.
    pub(in crate::scheduler) fn describe(&self) -> String {
        let ranks = Ranks::of(self);
        let sweep_rank = |number: &SweepNumber| ranks.sweeps[number.index()];
        let stage = |(_, stage): (_, &Stage)| {
            let Stage { home, position, shared_with, children, trials, wanted, class, .. } = stage;
            let failures = (!stage.has_completed()).then_some((stage.width_limit, &stage.failures));
            let class = class.map(|class| self.class(class));
            let (home, shared_with) = (sweep_rank(home), shared_with.iter().map(sweep_rank).collect::<Vec<_>>());
            let children: Vec<u32> = children.iter().map(|child| ranks.stages[child.index()]).collect();
            let trials: Vec<(u32, u32)> = trials.iter().map(|(sweep, trial)| (sweep_rank(sweep), *trial)).collect();
            let state = stage.state();
            format!(
                "{state:?} {failures:?} {home} {position} {shared_with:?} {children:?} {trials:?} {wanted} {class:?}\n"
            )
        };
        let sweeps = self.sweeps().map(|(_, sweep)| {
            let ended = (sweep.stages_ended, sweep.lane_steps, sweep.lane_steps_ended);
            let times = (sweep.submitted_at, sweep.ended_at);
            let people = (&sweep.submitted_by, &sweep.cancelled_by);
            let Sweep { open, state, trials, tally, share, .. } = sweep;
            format!("{} {open} {state:?} {trials:?} {tally:?} {share:?} {ended:?} {times:?} {people:?}\n", sweep.id())
        });
        let life = format!("life {}, {}\n", self.life, self.has_had_sweeps());
        [life].into_iter().chain(sweeps).chain(self.known_stages().map(stage)).collect()
    }
}
