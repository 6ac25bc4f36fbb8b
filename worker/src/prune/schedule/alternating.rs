//! Dense and sparse training in turns (Peste et al. 2021, arXiv 2106.12379).

use super::{MaskSchedule, NoPlan, Plans};
use crate::{
    net::{Mask, Parameters},
    prune::plan::PruningPlan,
};

/// Begins dense. Each sparse phase removes as many as are asked for, by the scores of the net that the dense phase before it left.
pub(super) struct Alternating<'a> {
    plans: Plans<'a>,
    /// What a dense phase is without.
    dense: PruningPlan,
    every: u64,
    end: u64,
}

/// Phases of `every` steps, the first a dense one, of which none begins at `end` or later but the sparse one that stays.
pub(super) const fn settled(every: u64, end: u64) -> u64 {
    let last_phase = end.saturating_sub(1) / every;
    if end > 0 && last_phase % 2 == 1 { last_phase * every } else { end }
}

impl<'a> Alternating<'a> {
    pub(super) const fn new(plans: Plans<'a>, dense: PruningPlan, every: u64, end: u64) -> Self {
        Self { plans, dense, every, end }
    }
}

impl MaskSchedule for Alternating<'_> {
    fn is_due(&self, steps: u64) -> bool {
        let settled = self.settled();
        steps == settled || (steps > 0 && steps < settled && steps.is_multiple_of(self.every))
    }

    fn update(&mut self, steps: u64, net: &Parameters, _: Option<&Parameters>) -> Result<Mask, NoPlan> {
        let last = steps >= self.settled();
        if !last && (steps / self.every).is_multiple_of(2) {
            return self.plans.execute(&self.dense, false);
        }
        let plan = (self.plans.choose)(net, self.plans.earlier, &self.plans.spec.removal)?.at(steps);
        self.plans.execute(&plan, last)
    }

    fn settled(&self) -> u64 {
        settled(self.every, self.end)
    }

    /// The moments of one phase are not those of the other's loss.
    fn resets_moments(&self) -> bool {
        true
    }
}
