//! Masks that change while a net trains: gradual, dynamic and alternating.
//!
//! A schedule makes plans, and [`Plans`] executes them. The caller provides how to score nets and where to keep plans;
//! a schedule knows neither a device nor a store.

mod alternating;
mod dynamic;
mod gradual;
mod ramp;

use std::fmt;

use secateur_proto::{
    outcome::{Failure, FailureClass},
    spec::{PruneSpec, Removal, Schedule},
};

pub use self::ramp::removed_at;
use super::{plan::PruningPlan, select::NoSelection};
use crate::{
    net::{Mask, Parameters},
    tensors::InvalidTensors,
};

/// Changes a lane's mask while the lane trains. Steps are those of this training, without skipped steps at its
/// beginning.
pub trait MaskSchedule {
    /// Whether the mask may change after `steps` steps.
    fn is_due(&self, steps: u64) -> bool;

    /// Returns the new mask. `net` is the lane's net, and `gradient` the gradient of the last step for the whole net,
    /// or `None` before the first step.
    ///
    /// # Errors
    /// If a layer would be left empty, a score is not finite, or the net cannot be scored.
    fn update(&mut self, steps: u64, net: &Parameters, gradient: Option<&Parameters>) -> Result<Mask, NoPlan>;

    /// The number of steps after which the mask no longer changes. Only epochs that end at or after it can be the best.
    fn settled(&self) -> u64;

    /// The plan that the next change builds on, or `None` if changes do not depend on each other.
    fn plan(&self) -> Option<&PruningPlan> {
        None
    }

    /// Resumes from the [`Self::plan`] of the same schedule in another process.
    ///
    /// # Errors
    /// If it is not a plan of the spec's net.
    fn go_on_from(&mut self, _plan: PruningPlan) -> Result<(), NoPlan> {
        Ok(())
    }

    /// Whether changes revive weights, which remain zero until they are trained. An epoch that ends with such a change
    /// cannot be the best.
    fn grows(&self) -> bool {
        false
    }

    /// Whether each change resets the optimiser, also for weights that are kept.
    fn resets_moments(&self) -> bool {
        false
    }
}

/// Why a mask cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPlan {
    /// The selection is impossible.
    #[error(transparent)]
    Selection(#[from] NoSelection),
    /// The net cannot be scored, or the plan cannot be stored.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<InvalidTensors> for NoPlan {
    fn from(error: InvalidTensors) -> Self {
        Self::Failure(Failure::new(FailureClass::Internal, error.to_string()))
    }
}

/// Scores a net, of which `removed` is already removed, and plans the removal.
pub type Choose<'a> = dyn FnMut(&Parameters, Option<&Mask>, &Removal) -> Result<PruningPlan, NoPlan> + 'a;

/// Stores the bytes of a plan and returns them as stored.
pub type Save<'a> = dyn FnMut(&[u8]) -> Result<Vec<u8>, Failure> + 'a;

/// Makes and executes the plans of one lane.
pub struct Plans<'a> {
    /// The spec of the stage.
    pub spec: &'a PruneSpec,
    /// What earlier levels removed. It remains removed.
    pub earlier: Option<&'a Mask>,
    /// Makes a plan.
    pub choose: Box<Choose<'a>>,
    /// Stores the last plan.
    pub save: Box<Save<'a>>,
}

impl fmt::Debug for Plans<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plans").field("schedule", &self.spec.schedule).finish_non_exhaustive()
    }
}

impl Plans<'_> {
    /// The mask of what the plan and the earlier levels keep.
    fn mask(&self, plan: &PruningPlan) -> Result<Mask, NoPlan> {
        let mut mask = plan.mask(&self.spec.model, &self.spec.layers)?;
        if let Some(earlier) = self.earlier {
            mask.remove_all(earlier);
        }
        Ok(mask)
    }

    /// The mask of a plan, made from its written form, which is stored first if the plan is the last.
    fn execute(&mut self, plan: &PruningPlan, last: bool) -> Result<Mask, NoPlan> {
        let written = plan.write()?;
        let written = if last { (self.save)(&written)? } else { written };
        self.mask(&PruningPlan::read(&written)?)
    }
}

/// Whether changes of that schedule build on the previous plan: see [`MaskSchedule::plan`].
#[must_use]
pub const fn goes_on_from_plans(schedule: &Schedule) -> bool {
    match schedule {
        Schedule::Gradual { .. } | Schedule::Dynamic { .. } => true,
        Schedule::OneShot | Schedule::Alternating { .. } => false,
    }
}

/// Whether a net starts with everything that earlier levels kept, before the criterion prunes it.
#[must_use]
pub const fn begins_dense(schedule: &Schedule) -> bool {
    match schedule {
        Schedule::OneShot | Schedule::Dynamic { .. } => false,
        Schedule::Gradual { .. } | Schedule::Alternating { .. } => true,
    }
}

/// The number of steps after which the mask of that schedule no longer changes.
#[must_use]
pub fn settled(schedule: &Schedule) -> u64 {
    match *schedule {
        Schedule::OneShot => 0,
        Schedule::Gradual { begin, every, times, .. } => begin.saturating_add((times - 1).saturating_mul(every)),
        Schedule::Dynamic { every, end, .. } => end - end % every,
        Schedule::Alternating { every, end } => alternating::settled(every, end),
    }
}

/// The schedule of a lane whose initial mask is that of `begin`, or `None` if the mask does not change.
///
/// # Errors
/// If `begin` is not a plan of the spec's net.
pub fn of<'a>(plans: Plans<'a>, begin: PruningPlan) -> Result<Option<Box<dyn MaskSchedule + 'a>>, NoPlan> {
    Ok(match plans.spec.schedule {
        Schedule::OneShot => None,
        Schedule::Gradual { .. } => Some(Box::new(gradual::Gradual::new(plans, begin))),
        Schedule::Dynamic { .. } => Some(Box::new(dynamic::Dynamic::new(plans, begin)?)),
        Schedule::Alternating { every, end } => Some(Box::new(alternating::Alternating::new(plans, begin, every, end))),
    })
}

#[cfg(test)]
pub(crate) mod tests;
