//! `prune`: scores the weights of a net, sorts them, saves the plan, reads it back, masks, and trains what is left.

use std::cell::Cell;

use secateur_proto::{
    convert::StageWithInputs,
    outcome::{Artifact, Artifacts, Checkpoint, Failure, FailureClass, Role, StageResult},
    spec::{PruneSpec, Schedule, Stage, Start, Subject},
};

use super::{Begun, Execute, Job, Ready, Resumed, initial};
use crate::{
    causes::with_causes,
    executor::{
        checkpoints,
        ended::{Ended, storage_failure},
        evaluation::evaluate,
        selection::Selection,
        workspace::{Workspace, input},
    },
    net::{Mask, Parameters, checkpoint},
    prune::{
        plan::PruningPlan,
        schedule::{self, MaskSchedule, NoPlan, Plans},
    },
    train::{
        bundle::{Lane, Phase},
        probe::NetProbe,
        run::Trained,
        state::{SavedPlans, TrainingState},
    },
};

impl Execute for PruneSpec {
    /// Scores, sorts and saves the plan; then executes the plan that was saved. What goes on from a checkpoint has been scored.
    fn begin<'a>(
        &'a self,
        workspace: &mut Workspace,
        stage: &'a StageWithInputs,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Begun<'a>, Ended> {
        workspace.load(&self.model, stage)?;
        let net = match self.subject {
            Subject::Initial {} => initial(&self.model, &self.training, self.seed),
            Subject::Dense { .. } | Subject::Pruned { .. } => {
                workspace.read_net(&self.model, stage, Role::Checkpoint)?
            }
        };
        let removed = match self.subject {
            Subject::Pruned { .. } => {
                Some(checkpoint::read_mask(&self.model, &workspace.store.get(input(stage, Role::Mask)?.hash)?)?)
            }
            Subject::Dense { .. } | Subject::Initial {} => None,
        };
        check_schedule(self, workspace.data()?.train_rows())?;
        if let Some(checkpoint) = checkpoint
            && let Some(ready) = resume(self, workspace, stage, removed.as_ref(), checkpoint)?
        {
            return Ok(Begun::Lane(Box::new(ready)));
        }
        let mut probe = probe(self, workspace)?;
        let mut selection = Selection::new(self, &net, removed.as_ref(), &mut probe)?;
        let (plan, conditioned) = match schedule::begins_dense(&self.schedule) {
            true => (PruningPlan::of_gone(self, &net, removed.as_ref())?, None),
            false => selection.plan()?,
        };
        let saved = workspace.store.put(&plan.write()?)?;
        let plan = PruningPlan::read(&workspace.store.get(saved.hash)?)?;
        let mut mask = plan.mask(&self.model, &self.layers)?;
        if let Some(removed) = &removed {
            mask.remove_all(removed);
        }
        let scored = match conditioned {
            Some(conditioned) => conditioned,
            None if self.start == (Start::Scored {}) => selection.compensated(&mask)?,
            None => net.clone(),
        };
        let mut start = match self.start {
            Start::Scored {} => scored,
            Start::Initial {} => initial(&self.model, &self.training, self.seed),
            Start::Rewound { .. } => workspace.read_net(&self.model, stage, Role::EarlyCheckpoint)?,
            Start::Reinitialized {} => {
                Parameters::initial_as(&self.model, self.training.initialization, "other initial parameters", self.seed)
            }
        };
        mask.apply(&mut start);
        let artifacts = Artifacts::from([(Role::Plan, saved)]);
        let job = Box::new(Pruning { spec: self, earlier: removed, plan });
        let ready = Ready { stage, lane: retraining(self, start, mask), artifacts, job, resumed: None };
        Ok(Begun::Lane(Box::new(ready)))
    }
}

/// A pruning that goes on from a checkpoint. `None` if that cannot be used.
fn resume<'a>(
    spec: &'a PruneSpec,
    workspace: &Workspace,
    stage: &'a StageWithInputs,
    removed: Option<&Mask>,
    checkpoint: Checkpoint,
) -> Result<Option<Ready<'a>>, Ended> {
    let Some((state, Some(plans))) = checkpoints::read(&workspace.store, stage, checkpoint) else { return Ok(None) };
    let pruning = match Pruning::begun(spec, removed.cloned(), &state, &plans) {
        Ok(pruning) => pruning,
        Err(failure) => {
            checkpoints::cannot_go_on(stage.key, checkpoint.epoch, &failure.message);
            return Ok(None);
        }
    };
    let artifacts = Artifacts::from([(Role::Plan, workspace.store.put(&plans.begin)?)]);
    let last = plans.last.map(|last| workspace.store.put(&last)).transpose()?;
    let mask = state.mask.clone().unwrap_or_else(|| Mask::none(state.parameters.tensors.len()));
    let lane = retraining(spec, state.parameters.clone(), mask);
    let resumed = Some(Resumed { state, last });
    Ok(Some(Ready { stage, lane, artifacts, job: Box::new(pruning), resumed }))
}

/// A pruning whose plan is made.
pub(super) struct Pruning<'a> {
    pub(super) spec: &'a PruneSpec,
    /// What earlier levels removed.
    pub(super) earlier: Option<Mask>,
    pub(super) plan: PruningPlan,
}

/// Measures nets by the loss of the training of what is left.
fn probe<'a>(spec: &'a PruneSpec, workspace: &'a Workspace) -> Result<NetProbe<'a>, Failure> {
    let probe = NetProbe::new(&spec.model, workspace.data()?, &workspace.device);
    Ok(probe.weighted(&spec.training.class_weights))
}

/// A mask that would still change after the last step would never be the one that was asked for.
fn check_schedule(spec: &PruneSpec, train_rows: usize) -> Result<(), Failure> {
    let steps = Stage::training(spec).map_or(0, |training| training.steps(train_rows as u64));
    let settled = schedule::settled(&spec.schedule);
    if settled > steps {
        let message = format!("the mask changes until step {settled}, and the training has {steps}");
        return Err(Failure::new(FailureClass::Input, message));
    }
    Ok(())
}

/// A lane that trains what a pruning left.
fn retraining(spec: &PruneSpec, start: Parameters, mask: Mask) -> Lane {
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
    fn begun(
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

impl Job for Pruning<'_> {
    fn schedule<'s>(
        &'s self,
        workspace: &'s Workspace,
        saved: &'s Cell<Option<Artifact>>,
    ) -> Result<Option<Box<dyn MaskSchedule + 's>>, NoPlan> {
        let spec = self.spec;
        let store = &workspace.store;
        let mut probe = probe(spec, workspace)?;
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

    fn finish(
        &self,
        workspace: &Workspace,
        stage: &StageWithInputs,
        mut artifacts: Artifacts,
        trained: &Trained,
    ) -> Result<StageResult, Ended> {
        let model = &self.spec.model;
        if let Some(mask) = &trained.mask {
            self.audit(&workspace.store.get(artifacts[&Role::Plan].hash)?, mask)?;
            artifacts.insert(Role::Mask, workspace.store.put(&checkpoint::write_mask(model, mask)?)?);
        }
        evaluate(workspace, (model, &self.spec.layers), stage, artifacts, trained)
    }
}
