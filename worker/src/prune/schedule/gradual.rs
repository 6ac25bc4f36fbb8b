//! Gradual pruning during training (Zhu & Gupta 2017, arXiv 1710.01878).

use secateur_proto::spec::{Removal, Schedule};

use super::{MaskSchedule, NoPlan, Plans, removed_at, settled};
use crate::{
    net::{Mask, Parameters},
    prune::plan::PruningPlan,
};

/// Prunes by the scores of the net at the time of each removal. Removed weights remain removed.
pub(super) struct Gradual<'a> {
    plans: Plans<'a>,
    /// What each prunable layer had lost before.
    lost: Vec<u64>,
    plan: PruningPlan,
}

impl<'a> Gradual<'a> {
    pub(super) fn new(plans: Plans<'a>, begin: PruningPlan) -> Self {
        let lost = begin.summary.layers.iter().map(|layer| layer.removed).collect();
        Self { plans, lost, plan: begin }
    }

    /// Returns the number of the removal after `steps` steps and the number of all removals, or `None` if there is no
    /// removal then.
    const fn removal(&self, steps: u64) -> Option<(u64, u64)> {
        let Schedule::Gradual { begin, every, times, .. } = self.plans.spec.schedule else { return None };
        if steps < begin || !(steps - begin).is_multiple_of(every) || (steps - begin) / every >= times {
            return None;
        }
        Some(((steps - begin) / every + 1, times))
    }

    /// The counts after that share of the removals.
    fn counts(&self, progress: f64) -> Removal {
        let Schedule::Gradual { shape, .. } = self.plans.spec.schedule else { return self.plans.spec.removal.clone() };
        let sizes = self.plans.spec.sizes();
        let all = |to: u64| removed_at(shape, self.lost.iter().sum(), to, sizes.iter().sum(), progress);
        match self.plans.spec.removal.clone() {
            Removal::Global { count, caps } => Removal::Global { count: all(count), caps },
            Removal::Sensitivity { count } => Removal::Sensitivity { count: all(count) },
            Removal::PerLayer { counts } => {
                let of_layer = |((to, from), size): ((u64, &u64), u64)| removed_at(shape, *from, to, size, progress);
                Removal::PerLayer { counts: counts.into_iter().zip(&self.lost).zip(sizes).map(of_layer).collect() }
            }
            Removal::Grouped { keep, group, along } => {
                let size = u64::from(group);
                let goes = removed_at(shape, 0, size - u64::from(keep), size, progress);
                Removal::Grouped { keep: u32::try_from(size - goes).unwrap_or(group), group, along }
            }
            Removal::Zeros {} => Removal::Zeros {},
        }
    }
}

impl MaskSchedule for Gradual<'_> {
    fn is_due(&self, steps: u64) -> bool {
        self.removal(steps).is_some()
    }

    fn update(&mut self, steps: u64, net: &Parameters, _: Option<&Parameters>) -> Result<Mask, NoPlan> {
        let (nth, times) = self.removal(steps).unwrap_or((1, 1));
        let gone = self.plans.mask(&self.plan)?;
        let counts = self.counts(nth as f64 / times as f64);
        let newer = (self.plans.choose)(net, Some(&gone), &counts)?;
        self.plan = self.plan.followed_by(newer, steps);
        self.plans.execute(&self.plan, nth == times)
    }

    fn plan(&self) -> Option<&PruningPlan> {
        Some(&self.plan)
    }

    fn go_on_from(&mut self, plan: PruningPlan) -> Result<(), NoPlan> {
        self.plan = plan;
        Ok(())
    }

    fn settled(&self) -> u64 {
        settled(&self.plans.spec.schedule)
    }
}
