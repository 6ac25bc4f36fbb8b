//! Whether two cores say the same: all that is durable, field by field. What a snapshot leaves out is proved by this comparison, and not
//! by the rules that leave it out.

use super::{core::Core, snapshot::Ranks, stage::Stage, sweep::Sweep};

impl Core {
    /// Whether the same is known to both, whatever was forgotten: of that only the number counts. How often a stage that has completed had
    /// failed before does not matter.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let forgotten =
            |core: &Self| core.forgotten + core.sweeps.iter().filter(|sweep| sweep.forgotten).count() as u64;
        let (ranks, others) = (Ranks::of(self), Ranks::of(other));
        self.life == other.life
            && forgotten(self) == forgotten(other)
            && self.durable_sweeps(&ranks).eq(other.durable_sweeps(&others))
            && self.durable_stages(&ranks).eq(other.durable_stages(&others))
    }

    fn durable_sweeps(&self, ranks: &Ranks) -> impl Iterator<Item = impl PartialEq> {
        self.sweeps.iter().filter(|sweep| !sweep.forgotten).map(|sweep| durable_sweep(sweep, ranks))
    }

    fn durable_stages(&self, ranks: &Ranks) -> impl Iterator<Item = impl PartialEq> {
        self.stages.iter().filter(|stage| self.is_known(stage)).map(|stage| {
            // Classes have numbers in the order of their first use, which may have been by a stage that is forgotten.
            (stage.class.map(|class| &self.classes[class.index()]), durable_stage(stage, ranks))
        })
    }
}

/// All of it but what is of a life. Names every field, so that a new one is thought of here.
fn durable_sweep<'a>(sweep: &'a Sweep, ranks: &Ranks) -> impl PartialEq + use<'a> {
    let Sweep {
        plan,
        state,
        stages,
        trials,
        tally,
        stages_ended,
        lane_steps,
        lane_steps_ended,
        submitted_at,
        ended_at,
        leased: _,
        computed: _,
        forgotten: _,
        share,
        leases: _,
        workers: _,
        last_turn: _,
    } = sweep;
    let stages: Vec<u32> = stages.iter().map(|stage| ranks.stages[stage.index()]).collect();
    let counts = (*tally, *stages_ended, *lane_steps, *lane_steps_ended);
    (plan, state, stages, trials, counts, *submitted_at, *ended_at, *share)
}

/// The same of a stage.
fn durable_stage<'a>(stage: &'a Stage, ranks: &Ranks) -> impl PartialEq + use<'a> {
    let Stage {
        home,
        position,
        shared_with,
        children,
        trials,
        wanted,
        runs_for: _,
        class: _,
        width_limit,
        trouble,
        checkpoint,
        elsewhere: _,
        attempt: _,
        state,
    } = stage;
    let sweep = |number: &super::stage::SweepNumber| ranks.sweeps[number.index()];
    let shared_with: Vec<u32> = shared_with.iter().map(sweep).collect();
    let children: Vec<u32> = children.iter().map(|child| ranks.stages[child.index()]).collect();
    let trials: Vec<(u32, u32)> = trials.iter().map(|(number, trial)| (sweep(number), *trial)).collect();
    let failures = (!stage.has_completed()).then_some((*width_limit, trouble));
    (sweep(home), *position, shared_with, children, trials, *wanted, failures, checkpoint, state)
}
