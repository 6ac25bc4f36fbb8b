//! What an executor does for each kind of stage: from input files to output files and metrics.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
};

use burn::tensor::Device;
use safetensors::{Dtype, tensor::TensorView};
use secateur_proto::{
    convert::StageWithInputs,
    ids::{ContentHash, StageKey},
    metrics::{Metrics, Split},
    outcome::{Artifact, Artifacts, Checkpoint, Failure, FailureClass, Role, StageOutcome, StageResult},
    spec::{
        DenseSpec, ImportSpec, ModelSpec, OptimizerSpec, PrepareSpec, PruneSpec, StageSpec, Start, Subject,
        TrainingSpec,
    },
    v1,
};
use tracing::{debug, info};

use super::{
    checkpoints::{self, Checkpoints, Pace, Reporter},
    ended::Ended,
    pruning::{self, Pruning, retraining},
    selection::Selection,
};
use crate::{
    data::{self, Dataset},
    metrics,
    net::{Mask, Parameters, checkpoint, flat::FlatLayout},
    prune::{plan::PruningPlan, schedule},
    store::Store,
    tensors::{InvalidTensors, f32_bytes, u32_bytes},
    train::{
        bundle::{Lane, Phase},
        data::{DeviceData, EvaluationRows},
        evaluate::logits_of,
        forward::Net,
        probe::NetProbe,
        run::{EpochRecord, LaneEnd, Trained, train},
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

/// Does stages with the files of a store on a device.
#[derive(Debug)]
pub struct Stages {
    store: Store,
    device: Device,
    /// The data of the last bundle: the next one most often trains on the same.
    loaded: Option<(ContentHash, DeviceData)>,
    pace: Pace,
}

/// A stage that is ready to train, as a lane of the bundle.
pub(super) struct Ready<'a> {
    pub(super) stage: &'a StageWithInputs,
    lane: Lane,
    pub(super) artifacts: Artifacts,
    /// Of a pruning.
    pruning: Option<Pruning<'a>>,
    /// What it goes on from.
    begun: Option<Begun>,
}

/// A training that an earlier attempt began.
struct Begun {
    state: TrainingState,
    /// The last plan of a mask that changes, if it was made by then.
    last: Option<Artifact>,
}

impl Stages {
    /// With the files of `store`, on `device`.
    #[must_use]
    pub fn new(store: Store, device: Device) -> Self {
        Self { store, device, loaded: None, pace: Pace::default() }
    }

    /// Leaves checkpoints of what it trains from now on.
    #[must_use]
    pub fn at_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Where it computes.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// Does the stages of one bundle, from their `checkpoints` where these can be used; each is reported exactly once.
    pub fn run(&mut self, bundle: &[StageWithInputs], checkpoints: &Checkpoints, report: &mut dyn FnMut(BundleEvent)) {
        let mut ready: Vec<Ready<'_>> = Vec::new();
        for stage in bundle {
            let checkpoint = checkpoints.get(&stage.key).copied();
            debug!(stage = %stage.key, "begins");
            let prepared = match &stage.spec {
                StageSpec::Prepare(spec) => self.prepare(spec, stage).map(|result| {
                    report(BundleEvent::Done(stage.key, StageOutcome::Completed(result)));
                    None
                }),
                StageSpec::Import(spec) => self.import(spec, stage).map(|result| {
                    report(BundleEvent::Done(stage.key, StageOutcome::Completed(result)));
                    None
                }),
                StageSpec::Dense(spec) => self.dense(spec, stage, checkpoint).map(Some),
                StageSpec::Prune(spec) => self.prune(spec, stage, checkpoint).map(Some),
            };
            match prepared {
                Ok(lane) => ready.extend(lane),
                Err(Ended(outcome)) => report(BundleEvent::Done(stage.key, outcome)),
            }
        }
        if ready.is_empty() {
            return;
        }
        let shape = match shared_shape(&ready) {
            Ok(shape) => shape,
            Err(failure) => {
                for ready in ready {
                    report(BundleEvent::Done(ready.stage.key, StageOutcome::Failed(failure.clone())));
                }
                return;
            }
        };
        // Lanes that go on from different epochs are trained one group after the other: they never mix, so nothing else changes.
        let mut groups: BTreeMap<_, Vec<Ready<'_>>> = BTreeMap::new();
        for ready in ready {
            let moment = ready.begun.as_ref().map(|begun| begun.state.moment());
            groups.entry(moment).or_default().push(ready);
        }
        for ready in groups.into_values().rev() {
            let stages: Vec<StageKey> = ready.iter().map(|ready| ready.stage.key).collect();
            if let Err(Ended(outcome)) = self.train(shape, ready, report) {
                stages.into_iter().for_each(|stage| report(BundleEvent::Done(stage, outcome.clone())));
            }
        }
    }

    fn prepare(&self, spec: &PrepareSpec, stage: &StageWithInputs) -> Result<StageResult, Ended> {
        let table = self.store.get(input(stage, Role::Table)?.hash)?;
        let prepared = data::prepare(spec, &table)?;
        let preparation = serde_json::to_vec_pretty(&prepared.preparation)
            .map_err(|error| Failure::new(FailureClass::Internal, error.to_string()))?;
        let artifacts = Artifacts::from([
            (Role::Prepared, self.store.put(&prepared.dataset.to_safetensors()?)?),
            (Role::Preparation, self.store.put(&preparation)?),
        ]);
        Ok(StageResult { metrics: Metrics::new(), artifacts })
    }

    /// Evaluates a net that was trained elsewhere.
    fn import(&mut self, spec: &ImportSpec, stage: &StageWithInputs) -> Result<StageResult, Ended> {
        self.load(&spec.model, stage)?;
        let parameters = self.net(&spec.model, stage, Role::Weights)?;
        let trained = Trained { parameters, mask: None, frozen: None, epoch: 0, curve: Vec::new() };
        self.evaluate(&spec.model, stage, Artifacts::new(), &trained)
    }

    fn dense<'a>(
        &mut self,
        spec: &DenseSpec,
        stage: &'a StageWithInputs,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Ready<'a>, Ended> {
        self.load(&spec.model, stage)?;
        let begun = checkpoint.and_then(|checkpoint| checkpoints::read(&self.store, stage, checkpoint));
        let lane = Lane {
            start: initial(&spec.model, &spec.training, spec.seed),
            mask: None,
            training: spec.training.clone(),
            regularization: spec.regularization.clone(),
            seed: spec.seed,
            phase: Phase::Dense,
            skip_steps: 0,
            stop_after: spec.stop_after,
        };
        let begun = begun.map(|(state, _)| Begun { state, last: None });
        Ok(Ready { stage, lane, artifacts: Artifacts::new(), pruning: None, begun })
    }

    /// Score, sort, save the plan; then execute the plan that was saved. What goes on from a checkpoint has been scored.
    fn prune<'a>(
        &mut self,
        spec: &'a PruneSpec,
        stage: &'a StageWithInputs,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Ready<'a>, Ended> {
        self.load(&spec.model, stage)?;
        let net = match spec.subject {
            Subject::Initial {} => initial(&spec.model, &spec.training, spec.seed),
            Subject::Dense { .. } | Subject::Pruned { .. } => self.net(&spec.model, stage, Role::Checkpoint)?,
        };
        let removed = match spec.subject {
            Subject::Pruned { .. } => {
                Some(checkpoint::read_mask(&spec.model, &self.store.get(input(stage, Role::Mask)?.hash)?)?)
            }
            Subject::Dense { .. } | Subject::Initial {} => None,
        };
        pruning::check_schedule(spec, self.data()?.train_rows())?;
        if let Some(checkpoint) = checkpoint
            && let Some(ready) = self.begun_pruning(spec, stage, removed.as_ref(), checkpoint)?
        {
            return Ok(ready);
        }
        let mut probe = NetProbe::new(&spec.model, self.data()?, &self.device);
        let mut selection = Selection::new(spec, &net, removed.as_ref(), &mut probe)?;
        let (plan, conditioned) = match schedule::begins_dense(&spec.schedule) {
            true => (PruningPlan::of_gone(spec, &net, removed.as_ref())?, None),
            false => selection.plan()?,
        };
        let saved = self.store.put(&plan.write()?)?;
        let plan = PruningPlan::read(&self.store.get(saved.hash)?)?;
        let mut mask = plan.mask(&spec.model, &spec.layers)?;
        if let Some(removed) = &removed {
            mask.remove_all(removed);
        }
        let scored = match conditioned {
            Some(conditioned) => conditioned,
            None if spec.start == (Start::Scored {}) => selection.compensated(&mask)?,
            None => net.clone(),
        };
        let mut start = match spec.start {
            Start::Scored {} => scored,
            Start::Initial {} => initial(&spec.model, &spec.training, spec.seed),
            Start::Rewound { .. } => self.net(&spec.model, stage, Role::EarlyCheckpoint)?,
            Start::Reinitialized {} => {
                Parameters::initial_as(&spec.model, spec.training.initialization, "other initial parameters", spec.seed)
            }
        };
        mask.apply(&mut start);
        let artifacts = Artifacts::from([(Role::Plan, saved)]);
        let (lane, pruning) = (retraining(spec, start, mask), Some(Pruning { spec, earlier: removed, plan }));
        Ok(Ready { stage, lane, artifacts, pruning, begun: None })
    }

    /// A pruning that goes on from a checkpoint; nothing if that cannot be used.
    fn begun_pruning<'a>(
        &self,
        spec: &'a PruneSpec,
        stage: &'a StageWithInputs,
        removed: Option<&Mask>,
        checkpoint: Checkpoint,
    ) -> Result<Option<Ready<'a>>, Ended> {
        let Some((state, Some(plans))) = checkpoints::read(&self.store, stage, checkpoint) else { return Ok(None) };
        let pruning = match Pruning::begun(spec, removed.cloned(), &state, &plans) {
            Ok(pruning) => pruning,
            Err(failure) => {
                checkpoints::cannot_go_on(stage.key, checkpoint.epoch, &failure.message);
                return Ok(None);
            }
        };
        let artifacts = Artifacts::from([(Role::Plan, self.store.put(&plans.begin)?)]);
        let last = plans.last.map(|last| self.store.put(&last)).transpose()?;
        let mask = state.mask.clone().unwrap_or_else(|| Mask::none(state.parameters.tensors.len()));
        let lane = retraining(spec, state.parameters.clone(), mask);
        Ok(Some(Ready { stage, lane, artifacts, pruning: Some(pruning), begun: Some(Begun { state, last }) }))
    }

    fn net(&self, model: &ModelSpec, stage: &StageWithInputs, role: Role) -> Result<Parameters, Ended> {
        Ok(checkpoint::read_parameters(model, &self.store.get(input(stage, role)?.hash)?)?)
    }

    /// Trains lanes of one class, all from their beginning or from the same moment.
    fn train(
        &mut self,
        (model, epochs): (&ModelSpec, u32),
        mut ready: Vec<Ready<'_>>,
        report: &mut dyn FnMut(BundleEvent),
    ) -> Result<(), Ended> {
        let lanes: Vec<Lane> = ready.iter().map(|ready| ready.lane.clone()).collect();
        // A stage that was not fit to train may have left its own data behind.
        if let Some(first) = ready.first() {
            self.load(model, first.stage)?;
        }
        let begun: Vec<Begun> = ready.iter_mut().filter_map(|ready| ready.begun.take()).collect();
        let done = begun.first().map_or(0, |begun| begun.state.epoch);
        info!(lanes = lanes.len(), epochs, done, "training a bundle");
        let mut saved: Vec<Cell<Option<Artifact>>> = begun.iter().map(|begun| Cell::new(begun.last)).collect();
        saved.resize_with(ready.len(), || Cell::new(None));
        let begun: Vec<TrainingState> = begun.into_iter().map(|begun| begun.state).collect();
        let mut schedules = Vec::new();
        for (ready, saved) in ready.iter().zip(&saved) {
            if let Some(pruning) = &ready.pruning {
                schedules.extend(pruning.schedule(&self.store, self.data()?, &self.device, saved)?);
            }
        }
        let mut watch = Reporter::new((model, epochs), &ready, &saved, &self.store, &self.pace, report);
        let ends = train(model, &lanes, &begun, &mut schedules, self.data()?, &self.device, &mut watch)?;
        for ((ready, end), saved) in ready.iter().zip(ends).zip(&saved) {
            let outcome = match end {
                LaneEnd::Diverged { step } => StageOutcome::Diverged { step },
                LaneEnd::Collapsed { layer } => StageOutcome::Collapsed { layer },
                LaneEnd::Failed(failure) => StageOutcome::Failed(failure),
                LaneEnd::Trained(trained) => match self.finish(model, ready, saved.get(), &trained) {
                    Ok(result) => StageOutcome::Completed(result),
                    Err(Ended(outcome)) => outcome,
                },
            };
            report(BundleEvent::Done(ready.stage.key, outcome));
        }
        Ok(())
    }

    /// Audits a trained net, measures it and saves what it leaves. `plan` is that of the last change of a mask that changed.
    fn finish(
        &self,
        model: &ModelSpec,
        ready: &Ready<'_>,
        plan: Option<Artifact>,
        trained: &Trained,
    ) -> Result<StageResult, Ended> {
        let mut artifacts = ready.artifacts.clone();
        artifacts.extend(plan.map(|plan| (Role::Plan, plan)));
        if let StageSpec::Dense(DenseSpec { stop_after: Some(_), .. }) = &ready.stage.spec {
            let net = self.store.put(&checkpoint::write_parameters(model, &trained.parameters)?)?;
            artifacts.insert(Role::EarlyCheckpoint, net);
            return Ok(StageResult { metrics: Metrics::new(), artifacts });
        }
        if let (Some(pruning), Some(mask)) = (&ready.pruning, &trained.mask) {
            pruning.audit(&self.store.get(artifacts[&Role::Plan].hash)?, mask)?;
            artifacts.insert(Role::Mask, self.store.put(&checkpoint::write_mask(model, mask)?)?);
        }
        let violations = trained.frozen.as_ref().map_or(0, |mask| mask.violations(&trained.parameters));
        if violations > 0 {
            let message = format!("{violations} of the removed weights are not zero");
            return Err(Failure::new(FailureClass::Internal, message).into());
        }
        self.evaluate(model, ready.stage, artifacts, trained)
    }

    /// Measures a net and saves it, with the score of every validation and test row, beside `artifacts`.
    fn evaluate(
        &self,
        model: &ModelSpec,
        stage: &StageWithInputs,
        mut artifacts: Artifacts,
        trained: &Trained,
    ) -> Result<StageResult, Ended> {
        let data = self.data()?;
        let (layout, net) = (FlatLayout::of(model), Net::of(model));
        let prunable = match &stage.spec {
            StageSpec::Prune(spec) => spec.layers.clone(),
            StageSpec::Prepare(_) | StageSpec::Dense(_) | StageSpec::Import(_) => model.prunable(),
        };
        let mut metrics = metrics::of_net(model, &prunable, &trained.parameters)?;
        let (mut scores, mut answers) = (Vec::new(), Vec::new());
        for (split, rows) in [(Split::Validation, &data.validation), (Split::Test, &data.test)] {
            let logits = logits_of(&net, &layout, &trained.parameters, &rows.inputs, &self.device);
            if logits.iter().any(|logit| !logit.is_finite()) {
                return Err(Ended(StageOutcome::Diverged { step: 0 }));
            }
            metrics::of_logits(&logits, &rows.targets, net.outputs())?.set_into(&mut metrics, split);
            answers.extend_from_slice(&logits);
            scores.push((split, rows, logits));
        }
        // A layer of zeros alone may be a block that its net goes round.
        if let Some(layer) = trained.parameters.empty_layer(model)
            && is_constant(&answers, net.outputs())
        {
            return Err(Ended(StageOutcome::Collapsed { layer }));
        }
        let curve = serde_json::to_vec(&Curve { best_epoch: trained.epoch, epochs: &trained.curve })
            .map_err(|error| Failure::new(FailureClass::Internal, error.to_string()))?;
        // With these a result is complete: enough to compute its metrics anew, and to serve the net.
        let data = [Role::Prepared, Role::Preparation];
        artifacts.extend(data.iter().filter_map(|role| Some((*role, *stage.inputs.get(role)?))));
        artifacts.insert(Role::Checkpoint, self.store.put(&checkpoint::write_parameters(model, &trained.parameters)?)?);
        artifacts.insert(Role::Scores, self.store.put(&write_scores(&scores)?)?);
        artifacts.insert(Role::Curve, self.store.put(&curve)?);
        Ok(StageResult { metrics, artifacts })
    }

    /// Loads the prepared data that the stage reads, unless they are there already.
    fn load(&mut self, model: &ModelSpec, stage: &StageWithInputs) -> Result<(), Ended> {
        let hash = input(stage, Role::Prepared)?.hash;
        if self.loaded.as_ref().is_none_or(|(loaded, _)| *loaded != hash) {
            let dataset = Dataset::from_safetensors(&self.store.get(hash)?)?;
            self.loaded = Some((hash, DeviceData::load(dataset, &self.device)));
        }
        let width = self.data()?.width();
        let wanted = model.inputs();
        if width as u64 != wanted {
            let message = format!("the prepared rows have {width} inputs, and the net {wanted}");
            return Err(Failure::new(FailureClass::Input, message).into());
        }
        let (classes, outputs) = (self.data()?.classes, model.outputs());
        if outputs != classes && (outputs, classes) != (1, 2) {
            let message = format!("the prepared rows are of {classes} classes, and the net has {outputs} outputs");
            return Err(Failure::new(FailureClass::Input, message).into());
        }
        Ok(())
    }

    fn data(&self) -> Result<&DeviceData, Failure> {
        let missing = || Failure::new(FailureClass::Internal, "no data are loaded");
        self.loaded.as_ref().map(|(_, data)| data).ok_or_else(missing)
    }
}

fn initial(model: &ModelSpec, training: &TrainingSpec, seed: u64) -> Parameters {
    Parameters::initial_as(model, training.initialization, "initial parameters", seed)
}

/// Whether several rows of so many logits are all the same row, but for how products of blocks of rows round.
fn is_constant(logits: &[f32], outputs: usize) -> bool {
    let mut rows = logits.chunks_exact(outputs);
    let Some(first) = rows.next().filter(|_| logits.len() > outputs) else { return false };
    let same = |(one, two): (&f32, &f32)| (one - two).abs() <= 1e-6 * (1.0 + one.abs());
    rows.all(|row| first.iter().zip(row).all(same))
}

#[derive(serde::Serialize)]
struct Curve<'a> {
    best_epoch: u32,
    epochs: &'a [EpochRecord],
}

fn input(stage: &StageWithInputs, role: Role) -> Result<Artifact, Failure> {
    let missing = || Failure::new(FailureClass::Input, format!("the stage came without its {}", role.name()));
    stage.inputs.get(&role).copied().ok_or_else(missing)
}

/// The architecture and the epochs of a bundle: lanes must agree on them, on their data, and on the update rule in all but the
/// numbers that a lane has of its own.
fn shared_shape<'a>(ready: &[Ready<'a>]) -> Result<(&'a ModelSpec, u32), Failure> {
    let shape = |ready: &Ready<'a>| {
        let (model, training) = ready.stage.spec.training()?;
        let clipped = training.clip_gradient_norm.is_some();
        let prepared = ready.stage.inputs.get(&Role::Prepared)?.hash;
        let rule = (update_rule(&training.optimizer), training.lr_schedule, training.dropout > 0.0);
        let penalty = ready.stage.spec.regularization().map(|penalty| penalty.kind);
        let span = (ready.lane.skip_steps, ready.lane.stop_after);
        Some((
            model,
            training.epochs,
            training.batch_size,
            rule,
            penalty,
            span,
            clipped,
            ready.pruning.as_ref().map(|pruning| pruning.spec.schedule),
            prepared,
        ))
    };
    let first = ready.first().and_then(shape);
    match first {
        Some((model, epochs, ..)) if ready.iter().all(|ready| shape(ready) == first) => Ok((model, epochs)),
        _ => Err(Failure::new(FailureClass::Input, "the stages of the bundle are not of one class")),
    }
}

/// The rule without the numbers that a lane has of its own.
fn update_rule(optimizer: &OptimizerSpec) -> OptimizerSpec {
    let mut rule = optimizer.with_lr(0.0);
    match &mut rule {
        OptimizerSpec::Adam { weight_decay, .. }
        | OptimizerSpec::AdamW { weight_decay, .. }
        | OptimizerSpec::Sgd { weight_decay, .. } => *weight_decay = 0.0,
    }
    rule
}

/// `validation.rows`, `validation.logits`, `validation.targets`, and the same of test: paired statistics, swap sets and calibration
/// need the score of every row later.
fn write_scores(scores: &[(Split, &EvaluationRows, Vec<f32>)]) -> Result<Vec<u8>, InvalidTensors> {
    let buffers: Vec<(String, Dtype, Vec<u8>)> = (scores.iter())
        .flat_map(|(split, rows, logits)| {
            [
                (format!("{split}.rows"), Dtype::U32, u32_bytes(&rows.rows)),
                (format!("{split}.logits"), Dtype::F32, f32_bytes(logits)),
                (format!("{split}.targets"), Dtype::F32, f32_bytes(&rows.targets)),
            ]
        })
        .collect();
    let views: HashMap<&str, TensorView<'_>> = (buffers.iter())
        .map(|(name, dtype, bytes)| Ok((name.as_str(), TensorView::new(*dtype, vec![bytes.len() / 4], bytes)?)))
        .collect::<Result<_, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize(views, None)?)
}

#[cfg(test)]
mod tests;
