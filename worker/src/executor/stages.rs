//! Does the stages of a bundle: begins each, trains the lanes that they make together, and finishes them.
//!
//! What a kind of stage does beside training is said in a file of its own here, which implements `Execute` for the kind's spec.

mod dense;
mod import;
mod measure;
mod prepare;
mod prune;
mod quantize;
mod reference;

use std::{cell::Cell, collections::BTreeMap};

use burn::tensor::Device;
use secateur_proto::{
    convert::StageWithInputs,
    for_each_kind,
    ids::{ContentHash, StageKey},
    outcome::{Artifact, Artifacts, Checkpoint, Failure, FailureClass, Role, StageOutcome, StageResult},
    spec::{LaneClass, ModelSpec, TrainingSpec},
    v1,
};
use tracing::{debug, info};

use super::{
    checkpoints::{Checkpoints, Pace, Reporter},
    ended::Ended,
    workspace::Workspace,
};
use crate::{
    net::Parameters,
    prune::schedule::{MaskSchedule, NoPlan},
    store::Store,
    train::{
        bundle::Lane,
        run::{LaneEnd, Trained, train},
        state::TrainingState,
    },
};

/// What happens while a bundle runs.
#[derive(Debug)]
pub enum BundleEvent {
    /// A lane has finished an epoch.
    Progress(v1::Progress),
    /// The training of a stage can be gone on with from there.
    Checkpointed(StageKey, Checkpoint),
    /// A stage has ended.
    Done(StageKey, StageOutcome),
}

/// What a stage of one kind does beside training. Implemented for the spec of each kind.
trait Execute {
    /// Does what comes before the training, or all there is to do. `checkpoint` is what the training may go on from.
    fn begin<'a>(
        &'a self,
        workspace: &mut Workspace,
        stage: &'a StageWithInputs,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Begun<'a>, Ended>;
}

/// A stage that has begun.
enum Begun<'a> {
    /// It trains nothing, and is done.
    Completed(StageResult),
    /// Its net is to be trained.
    Lane(Box<Ready<'a>>),
}

/// A stage that is ready to train, as a lane of the bundle.
pub(super) struct Ready<'a> {
    pub(super) stage: &'a StageWithInputs,
    lane: Lane,
    /// The files that it has made by now.
    pub(super) artifacts: Artifacts,
    job: Box<dyn Job + 'a>,
    /// What it goes on from.
    resumed: Option<Resumed>,
}

/// What a stage does with its lane while it trains, and after that.
trait Job {
    /// The schedule of a mask that changes while the lane trains. Its last plan comes to lie in `saved`. `None` if no mask changes.
    fn schedule<'s>(
        &'s self,
        _workspace: &'s Workspace,
        _saved: &'s Cell<Option<Artifact>>,
    ) -> Result<Option<Box<dyn MaskSchedule + 's>>, NoPlan> {
        Ok(None)
    }

    /// Audits a trained net, measures it, and saves what the stage leaves beside `artifacts`.
    fn finish(
        &self,
        workspace: &Workspace,
        stage: &StageWithInputs,
        artifacts: Artifacts,
        trained: &Trained,
    ) -> Result<StageResult, Ended>;
}

/// A training that an earlier attempt began.
struct Resumed {
    state: TrainingState,
    /// The last plan of a mask that changes, if it was made by then.
    last: Option<Artifact>,
}

/// Does stages with the files of a store on a device.
#[derive(Debug)]
pub struct Stages {
    workspace: Workspace,
    pace: Pace,
}

impl Stages {
    /// With the files of `store`, on `device`.
    #[must_use]
    pub fn new(store: Store, device: Device) -> Self {
        Self { workspace: Workspace::new(store, device), pace: Pace::default() }
    }

    /// Leaves checkpoints of what it trains from now on.
    #[must_use]
    pub fn at_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Where it computes.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.workspace.device
    }

    /// Does the stages of one bundle, from their `checkpoints` where these can be used; each is reported exactly once.
    pub fn run(&mut self, bundle: &[StageWithInputs], checkpoints: &Checkpoints, report: &mut dyn FnMut(BundleEvent)) {
        let mut ready: Vec<Ready<'_>> = Vec::new();
        for stage in bundle {
            let checkpoint = checkpoints.get(&stage.key).copied();
            debug!(stage = %stage.key, "begins");
            match for_each_kind!(&stage.spec, spec => spec.begin(&mut self.workspace, stage, checkpoint)) {
                Ok(Begun::Lane(lane)) => ready.push(*lane),
                Ok(Begun::Completed(result)) => report(BundleEvent::Done(stage.key, outcome_of(stage, result))),
                Err(Ended(outcome)) => report(BundleEvent::Done(stage.key, outcome)),
            }
        }
        if !are_of_one_class(&ready) {
            let failure = Failure::new(FailureClass::Input, "the stages of the bundle are not of one class");
            for ready in ready {
                report(BundleEvent::Done(ready.stage.key, StageOutcome::Failed(failure.clone())));
            }
            return;
        }
        // Lanes that go on from different epochs are trained one group after the other: they never mix, so nothing else changes.
        let mut groups: BTreeMap<_, Vec<Ready<'_>>> = BTreeMap::new();
        for ready in ready {
            let moment = ready.resumed.as_ref().map(|resumed| resumed.state.moment());
            groups.entry(moment).or_default().push(ready);
        }
        for ready in groups.into_values().rev() {
            let stages: Vec<StageKey> = ready.iter().map(|ready| ready.stage.key).collect();
            if let Err(Ended(outcome)) = self.train(ready, report) {
                stages.into_iter().for_each(|stage| report(BundleEvent::Done(stage, outcome.clone())));
            }
        }
    }

    /// Trains lanes of one class, all from their beginning or from the same moment.
    fn train(&mut self, mut ready: Vec<Ready<'_>>, report: &mut dyn FnMut(BundleEvent)) -> Result<(), Ended> {
        let Some((stage, training)) = ready.first().and_then(|first| Some((first.stage, first.stage.spec.training()?)))
        else {
            return Ok(());
        };
        let (model, epochs) = (training.model, training.spec.epochs);
        // A stage that was not fit to train may have left its own data behind.
        self.workspace.load(model, stage)?;
        let workspace = &self.workspace;
        let lanes: Vec<Lane> = ready.iter().map(|ready| ready.lane.clone()).collect();
        let resumed: Vec<Resumed> = ready.iter_mut().filter_map(|ready| ready.resumed.take()).collect();
        let done = resumed.first().map_or(0, |resumed| resumed.state.epoch);
        info!(lanes = lanes.len(), epochs, done, "training a bundle");
        let mut saved: Vec<Cell<Option<Artifact>>> = resumed.iter().map(|resumed| Cell::new(resumed.last)).collect();
        saved.resize_with(ready.len(), || Cell::new(None));
        let states: Vec<TrainingState> = resumed.into_iter().map(|resumed| resumed.state).collect();
        let mut schedules = Vec::new();
        for (ready, saved) in ready.iter().zip(&saved) {
            schedules.extend(ready.job.schedule(workspace, saved)?);
        }
        let mut watch = Reporter::new((model, epochs), &ready, &saved, &workspace.store, &self.pace, report);
        let ends = train(model, &lanes, &states, &mut schedules, workspace.data()?, &workspace.device, &mut watch)?;
        for ((ready, end), saved) in ready.iter().zip(ends).zip(&saved) {
            let outcome = match end {
                LaneEnd::Diverged { step } => StageOutcome::Diverged { step },
                LaneEnd::Collapsed { layer } => StageOutcome::Collapsed { layer },
                LaneEnd::Failed(failure) => StageOutcome::Failed(failure),
                LaneEnd::Trained(trained) => {
                    let mut artifacts = ready.artifacts.clone();
                    // The plan of the last change of a mask that changed takes the place of the first.
                    artifacts.extend(saved.get().map(|plan| (Role::Plan, plan)));
                    match ready.job.finish(workspace, ready.stage, artifacts, &trained) {
                        Ok(result) => outcome_of(ready.stage, result),
                        Err(Ended(outcome)) => outcome,
                    }
                }
            };
            report(BundleEvent::Done(ready.stage.key, outcome));
        }
        Ok(())
    }
}

/// The outcome of a stage that left `result`, which must be all that its spec says it leaves.
fn outcome_of(stage: &StageWithInputs, result: StageResult) -> StageOutcome {
    match stage.spec.leaves().into_iter().find(|role| !result.artifacts.contains_key(role)) {
        None => StageOutcome::Completed(result),
        Some(missing) => {
            let message = format!("the {} stage did not leave its {}", stage.spec.kind(), missing.name());
            StageOutcome::Failed(Failure::new(FailureClass::Internal, message))
        }
    }
}

/// Whether lanes can be trained together: stages of one lane class, given the same data.
fn are_of_one_class(ready: &[Ready<'_>]) -> bool {
    fn class<'a>(ready: &Ready<'a>) -> (Option<LaneClass<'a>>, Option<ContentHash>) {
        let prepared = ready.stage.inputs.get(&Role::Prepared).map(|prepared| prepared.hash);
        (ready.stage.spec.lane_class(), prepared)
    }
    let mut classes = ready.iter().map(class);
    classes.next().is_none_or(|first| classes.all(|class| class == first))
}

/// The net of a seed before any training.
fn initial(model: &ModelSpec, training: &TrainingSpec, seed: u64) -> Parameters {
    Parameters::initial_as(model, training.initialization, "initial parameters", seed)
}

#[cfg(test)]
mod tests;
