//! A pruning while its net trains: the schedule of its mask, and whether the mask that is left is the one that was asked for.

use std::cell::Cell;

use burn::tensor::Device;
use secateur_proto::{
    outcome::{Artifact, Failure, FailureClass},
    spec::{PruneSpec, Schedule, Start, Subject},
};

use super::{ended::storage_failure, selection::Selection};
use crate::{
    causes::with_causes,
    net::{Mask, Parameters},
    prune::{
        plan::PruningPlan,
        schedule::{self, MaskSchedule, NoPlan, Plans},
    },
    store::Store,
    train::{
        bundle::{Lane, Phase},
        data::DeviceData,
        probe::NetProbe,
        state::{SavedPlans, TrainingState},
    },
};

/// What a pruning begins with.
pub(super) struct Pruning<'a> {
    pub(super) spec: &'a PruneSpec,
    /// What earlier levels removed.
    pub(super) earlier: Option<Mask>,
    pub(super) plan: PruningPlan,
}

/// A mask that would still change after the last step would never be the one that was asked for.
pub(super) fn check_schedule(spec: &PruneSpec, train_rows: usize) -> Result<(), Failure> {
    let per_epoch = (train_rows as u64).div_ceil(u64::from(spec.training.batch_size));
    let steps = (per_epoch * u64::from(spec.training.epochs)).saturating_sub(spec.skip_steps);
    let settled = schedule::settled(&spec.schedule);
    if settled > steps {
        let message = format!("the mask changes until step {settled}, and the training has {steps}");
        return Err(Failure::new(FailureClass::Input, message));
    }
    Ok(())
}

/// A lane that trains what a pruning left.
pub(super) fn retraining(spec: &PruneSpec, start: Parameters, mask: Mask) -> Lane {
    // A net that takes the dense training over sees the batches that the dense net saw.
    let phase = match spec.start {
        Start::Scored {} if spec.subject != (Subject::Initial {}) => Phase::Retrain,
        _ => Phase::Dense,
    };
    Lane {
        start,
        mask: Some(mask),
        training: spec.training.clone(),
        regularization: spec.regularization.clone(),
        seed: spec.seed,
        phase,
        skip_steps: spec.skip_steps,
        stop_after: None,
    }
}

impl<'a> Pruning<'a> {
    /// The one that a state was taken of, from which `earlier` levels had removed that.
    ///
    /// # Errors
    /// If the state and its plans are of no such pruning.
    pub(super) fn begun(
        spec: &'a PruneSpec,
        earlier: Option<Mask>,
        state: &TrainingState,
        plans: &SavedPlans,
    ) -> Result<Self, Failure> {
        let unfit = |what: &str| Failure::new(FailureClass::Input, what);
        let plan = PruningPlan::read(&plans.begin).map_err(|error| unfit(&with_causes(&error)))?;
        let pruning = Self { spec, earlier, plan };
        pruning.mask_of(&pruning.plan)?;
        let mask = state.mask.as_ref().ok_or_else(|| unfit("the state has no mask"))?;
        if state.plan.is_some() != schedule::goes_on_from_plans(&spec.schedule) {
            return Err(unfit("the state lacks the plan that its schedule goes on from, or has one"));
        }
        if let Some(plan) = &state.plan
            && pruning.mask_of(plan)? != *mask
        {
            return Err(unfit("the mask is not that of the plan"));
        }
        match (&plans.last, spec.schedule) {
            (Some(_), Schedule::OneShot) => {
                return Err(unfit("the state has a last plan, and its mask does not change"));
            }
            (Some(last), _) => pruning.audit(last, mask)?,
            (None, Schedule::OneShot) => pruning.audit(&plans.begin, mask)?,
            (None, _) => {}
        }
        Ok(pruning)
    }

    /// What a plan and earlier levels remove.
    fn mask_of(&self, plan: &PruningPlan) -> Result<Mask, Failure> {
        let mask = plan.mask(&self.spec.model, &self.spec.layers);
        let mut mask = mask.map_err(|error| Failure::new(FailureClass::Internal, with_causes(&error)))?;
        if let Some(earlier) = &self.earlier {
            mask.remove_all(earlier);
        }
        Ok(mask)
    }

    /// The schedule of a lane whose mask changes while it trains; its last plan comes to lie in `saved`.
    pub(super) fn schedule<'s>(
        &'s self,
        store: &'s Store,
        data: &'s DeviceData,
        device: &'s Device,
        saved: &'s Cell<Option<Artifact>>,
    ) -> Result<Option<Box<dyn MaskSchedule + 's>>, NoPlan> {
        let spec = self.spec;
        let mut probe = NetProbe::new(&spec.model, data, device);
        let plans = Plans {
            spec,
            earlier: self.earlier.as_ref(),
            choose: Box::new(move |net, removed, removal| {
                let spec = PruneSpec { removal: removal.clone(), ..spec.clone() };
                let (plan, _) = Selection::new(&spec, net, removed, &mut probe)?.plan()?;
                Ok(plan)
            }),
            save: Box::new(|plan| {
                let artifact = store.put(plan).map_err(|error| storage_failure(&error))?;
                saved.set(Some(artifact));
                store.get(artifact.hash).map_err(|error| storage_failure(&error))
            }),
        };
        schedule::of(plans, self.plan.clone())
    }

    /// Whether the mask that a net ended with is that of the plan that was saved last, and that plan the one that was asked for.
    ///
    /// # Errors
    /// If not: a defect.
    pub(super) fn audit(&self, plan: &[u8], mask: &Mask) -> Result<(), Failure> {
        let defect = |what: String| Failure::new(FailureClass::Internal, what);
        let plan = PruningPlan::read(plan).map_err(|error| defect(with_causes(&error)))?;
        let planned = plan.removed.len() as u64;
        if let Some(asked) = self.spec.removed().filter(|asked| *asked != planned) {
            return Err(defect(format!("the plan removes {planned} instead of {asked}")));
        }
        if *mask != self.mask_of(&plan)? {
            return Err(defect("the mask is not that of the plan".to_owned()));
        }
        Ok(())
    }
}
