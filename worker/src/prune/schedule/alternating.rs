//! Alternating dense and sparse training (Peste et al. 2021, arXiv 2106.12379).

use super::{MaskSchedule, NoPlan, Plans};
use crate::{
    net::{Mask, Parameters},
    prune::plan::PruningPlan,
};

/// Starts dense. Each sparse phase prunes to the full count, by the scores of the net after the previous dense phase.
pub(super) struct Alternating<'a> {
    plans: Plans<'a>,
    /// The plan of dense phases: only what earlier levels removed.
    dense: PruningPlan,
    every: u64,
    end: u64,
}

/// Phases have `every` steps, and the first is dense. No phase starts at `end` or later, except the final sparse one.
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

    /// Moments of one phase do not fit the loss of the other.
    fn resets_moments(&self) -> bool {
        true
    }
}
