//! Forgetting a sweep: stages that only it lists leave the durable state; shared stages pass to the other sweeps.
//!
//! Numbers of sweeps and stages never change meaning. Their places remain, empty, until a core is restored from a
//! snapshot, which does not contain them.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
};

use secateur_proto::ids::StageKey;
use thin_vec::ThinVec;

use super::{
    Ledger, key_of,
    plan_parts::PlanParts,
    stage::{StageState, UNLIMITED},
    sweep::{Sweep, Tally},
};
use crate::scheduler::numbers::{StageNumber, SweepNumber};

impl Ledger {
    /// Forgets a sweep that is not running. Its stages remain only if other sweeps list them.
    pub(super) fn forget_sweep(&mut self, number: SweepNumber) {
        let sweep = &mut self.sweeps[number.index()];
        let positions: Vec<usize> = (0..sweep.stages.len()).filter(|position| !sweep.lists_again(*position)).collect();
        let stages = mem::take(&mut sweep.stages);
        self.sweep_numbers.remove(&sweep.plan.first().sweep.id);
        (sweep.forgotten, sweep.open) = (true, false);
        sweep.listed_again.clear();
        sweep.trials = vec![];
        sweep.tally = Tally::default();
        (sweep.stages_ended, sweep.lane_steps, sweep.lane_steps_ended) = (0, 0, 0);

        let mut heirs = Heirs::default();
        let mut gone: HashSet<StageNumber> = HashSet::new();
        for position in positions {
            let (key, stage) = (self.sweep(number).plan.key(position), stages[position]);
            let entry = &mut self.stages[stage.index()];
            entry.trials.retain(|(of, _)| *of != number);
            entry.shared_with.retain(|of| *of != number);
            if entry.home != number {
                continue;
            }
            if entry.shared_with.is_empty() {
                // A parent is in the plan of each of its children, so no child remains either.
                let (stages, sweeps) = (&self.stages, &self.sweeps);
                self.index.remove(&key, |number| key_of(stages, sweeps, number));
                let entry = &mut self.stages[stage.index()];
                entry.children = ThinVec::new();
                entry.enter(StageState::Forgotten);
                (entry.failures, entry.width_limit) = (None, UNLIMITED);
                gone.insert(stage);
            } else {
                entry.home = entry.shared_with.remove(0);
                entry.position = heirs.position(&self.sweeps, entry.home, key);
            }
        }
        for stage in stages.iter().filter(|stage| !gone.contains(stage)) {
            self.stages[stage.index()].children.retain(|child| !gone.contains(child));
        }
        // Until here the sweep's plan is needed for the keys of the stages.
        let sweep = &mut self.sweeps[number.index()];
        sweep.plan = PlanParts::new(Arc::new(sweep.plan.first().nothing_of()));
    }
}

/// The positions of stages in the plans of the sweeps that take them over.
#[derive(Default)]
struct Heirs(HashMap<SweepNumber, HashMap<StageKey, u32>>);

impl Heirs {
    fn position(&mut self, sweeps: &[Sweep], heir: SweepNumber, key: StageKey) -> u32 {
        let plan = &sweeps[heir.index()].plan;
        let positions = self.0.entry(heir).or_insert_with(|| {
            let mut positions = HashMap::new();
            for (key, position) in plan.keys().zip(0..) {
                positions.entry(key).or_insert(position);
            }
            positions
        });
        positions.get(&key).copied().expect("a sweep that shares a stage lists it")
    }
}
