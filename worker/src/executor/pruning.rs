//! A pruning while its net trains: the schedule of its mask, and whether the mask that is left is the one that was asked for.

use std::cell::Cell;

use burn::tensor::Device;
use secateur_proto::{
    outcome::{Artifact, Failure, FailureClass},
    spec::PruneSpec,
};

use super::{selection::Selection, stages::storage_failure};
use crate::{
    causes::with_causes,
    net::Mask,
    prune::{
        plan::PruningPlan,
        schedule::{self, MaskSchedule, NoPlan, Plans},
    },
    store::Store,
    train::{data::DeviceData, probe::NetProbe},
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

impl Pruning<'_> {
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
        let expected = plan.mask(&self.spec.model, &self.spec.layers);
        let mut expected = expected.map_err(|error| defect(with_causes(&error)))?;
        if let Some(earlier) = &self.earlier {
            expected.remove_all(earlier);
        }
        if *mask != expected {
            return Err(defect("the mask is not that of the plan".to_owned()));
        }
        Ok(())
    }
}
