//! Masks that change while a net trains: more and more removed, others removed, dense and sparse in turns.
//!
//! A schedule makes plans, and [`Plans`] executes them. How a net is scored and where plans are kept is handed in; a schedule knows
//! neither a device nor a store.

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

/// Changes a lane's mask while the lane trains. Steps are those of this training: what it leaves out at its beginning does not count.
pub trait MaskSchedule {
    /// Whether the mask may change when `steps` steps have been done.
    fn is_due(&self, steps: u64) -> bool;

    /// The mask from now on. `net` is the lane's; `gradient` that of the last step, of the whole net; nothing before the first.
    ///
    /// # Errors
    /// If a layer would be left empty, a score is not finite, or the net cannot be scored.
    fn update(&mut self, steps: u64, net: &Parameters, gradient: Option<&Parameters>) -> Result<Mask, NoPlan>;

    /// The number of steps from which on the mask no longer changes. Only epochs that end there or later can be the best.
    fn settled(&self) -> u64;

    /// The plan that the next change goes on from; nothing if the next one does not depend on those before it.
    fn plan(&self) -> Option<&PruningPlan> {
        None
    }

    /// Goes on from what [`Self::plan`] gave of the same schedule in another process.
    ///
    /// # Errors
    /// If it is not a plan of the spec's net.
    fn go_on_from(&mut self, _plan: PruningPlan) -> Result<(), NoPlan> {
        Ok(())
    }

    /// Whether a change brings weights back, which are zero until they have been trained. An epoch that ends with one is not the best.
    fn grows(&self) -> bool {
        false
    }

    /// Whether the optimiser begins anew at each change, for the weights that were kept and stay so as well.
    fn resets_moments(&self) -> bool {
        false
    }
}

/// Why a mask cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPlan {
    /// What is asked cannot be selected.
    #[error(transparent)]
    Selection(#[from] NoSelection),
    /// The net cannot be scored, or the plan not be kept.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<InvalidTensors> for NoPlan {
    fn from(error: InvalidTensors) -> Self {
        Self::Failure(Failure::new(FailureClass::Internal, error.to_string()))
    }
}

/// Scores a net, from which `removed` is gone already, and plans the removal.
pub type Choose<'a> = dyn FnMut(&Parameters, Option<&Mask>, &Removal) -> Result<PruningPlan, NoPlan> + 'a;

/// Keeps the bytes of a plan and gives back what it kept.
pub type Save<'a> = dyn FnMut(&[u8]) -> Result<Vec<u8>, Failure> + 'a;

/// Makes and executes the plans of one lane.
pub struct Plans<'a> {
    /// What is asked.
    pub spec: &'a PruneSpec,
    /// What earlier levels removed: it stays so.
    pub earlier: Option<&'a Mask>,
    /// Makes a plan.
    pub choose: Box<Choose<'a>>,
    /// Keeps the last one.
    pub save: Box<Save<'a>>,
}

impl fmt::Debug for Plans<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plans").field("schedule", &self.spec.schedule).finish_non_exhaustive()
    }
}

impl Plans<'_> {
    /// What a plan and the earlier levels keep.
    fn mask(&self, plan: &PruningPlan) -> Result<Mask, NoPlan> {
        let mut mask = plan.mask(&self.spec.model, &self.spec.layers)?;
        if let Some(earlier) = self.earlier {
            mask.remove_all(earlier);
        }
        Ok(mask)
    }

    /// The mask of a plan as it was written; saved first if nothing comes after it.
    fn execute(&mut self, plan: &PruningPlan, last: bool) -> Result<Mask, NoPlan> {
        let written = plan.write()?;
        let written = if last { (self.save)(&written)? } else { written };
        self.mask(&PruningPlan::read(&written)?)
    }
}

/// Whether changes of that schedule go on from the plan of the one before: see [`MaskSchedule::plan`].
#[must_use]
pub const fn goes_on_from_plans(schedule: &Schedule) -> bool {
    match schedule {
        Schedule::Gradual { .. } | Schedule::Dynamic { .. } => true,
        Schedule::OneShot | Schedule::Alternating { .. } => false,
    }
}

/// Whether a net begins with all that earlier levels left, and not with what the criterion chooses.
#[must_use]
pub const fn begins_dense(schedule: &Schedule) -> bool {
    match schedule {
        Schedule::OneShot | Schedule::Dynamic { .. } => false,
        Schedule::Gradual { .. } | Schedule::Alternating { .. } => true,
    }
}

/// The steps after which the mask of that schedule no longer changes.
#[must_use]
pub fn settled(schedule: &Schedule) -> u64 {
    match *schedule {
        Schedule::OneShot => 0,
        Schedule::Gradual { begin, every, times, .. } => begin.saturating_add((times - 1).saturating_mul(every)),
        Schedule::Dynamic { every, end, .. } => end - end % every,
        Schedule::Alternating { every, end } => alternating::settled(every, end),
    }
}

/// The schedule of a lane whose mask at the beginning is that of `begin`; nothing if that stays.
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
