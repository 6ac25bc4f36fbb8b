//! Checkpoints of a bundle in training: when they are taken, and whether one that there is can be gone on from. The clock says when,
//! and nothing of what is trained.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use secateur_proto::{
    convert::StageWithInputs,
    ids::StageKey,
    metrics::{Measured, Metric, Metrics, Split},
    outcome::{Artifact, Checkpoint, Failure, FailureClass, Role},
    spec::ModelSpec,
    v1,
};
use tracing::{info, warn};

use super::{
    ended::storage_failure,
    stages::{BundleEvent, Ready},
};
use crate::{
    causes::with_causes,
    store::Store,
    train::{
        run::{EpochRecord, Watch},
        state::{SavedPlans, TrainingState},
    },
};

/// What stages of a bundle go on from.
pub type Checkpoints = BTreeMap<StageKey, Checkpoint>;

/// How often the states of lanes are taken.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// So long after the last time, or the beginning; nothing: never.
    pub every: Option<Duration>,
    /// Somebody wants them as soon as an epoch ends.
    pub hurry: Arc<AtomicBool>,
}

/// Reads the state that a stage can go on from. One that cannot be used is said to be so, and the stage begins at its beginning.
pub(super) fn read(
    store: &Store,
    stage: &StageWithInputs,
    checkpoint: Checkpoint,
) -> Option<(TrainingState, Option<SavedPlans>)> {
    let read = store.get(checkpoint.state.hash).map_err(|error| with_causes(&error)).and_then(|bytes| {
        TrainingState::read(&bytes, stage.key, &stage.spec, checkpoint.epoch).map_err(|error| with_causes(&error))
    });
    match read {
        Ok(state) => {
            info!(stage = %stage.key, epoch = checkpoint.epoch, "resuming from a checkpoint");
            Some(state)
        }
        Err(reason) => {
            cannot_go_on(stage.key, checkpoint.epoch, &reason);
            None
        }
    }
}

/// Says that a stage begins at its beginning although it had got further.
pub(super) fn cannot_go_on(stage: StageKey, epoch: u32, reason: &str) {
    warn!(%stage, epoch, reason, "cannot use the checkpoint; the stage restarts");
}

/// Reports what happens in the training of a bundle, and leaves the states of its lanes when it is time.
pub(super) struct Reporter<'a> {
    model: &'a ModelSpec,
    epochs: u32,
    lanes: &'a [Ready<'a>],
    /// The last plan of each lane whose mask changes.
    saved: &'a [Cell<Option<Artifact>>],
    store: &'a Store,
    pace: &'a Pace,
    last: Instant,
    report: &'a mut dyn FnMut(BundleEvent),
}

impl<'a> Reporter<'a> {
    pub(super) fn new(
        (model, epochs): (&'a ModelSpec, u32),
        lanes: &'a [Ready<'a>],
        saved: &'a [Cell<Option<Artifact>>],
        store: &'a Store,
        pace: &'a Pace,
        report: &'a mut dyn FnMut(BundleEvent),
    ) -> Self {
        Self { model, epochs, lanes, saved, store, pace, last: Instant::now(), report }
    }

    fn keep(&self, lane: usize, state: &TrainingState) -> Result<Artifact, Failure> {
        let ready = &self.lanes[lane];
        let get = |artifact: Artifact| self.store.get(artifact.hash).map_err(|error| storage_failure(&error));
        let plans = match ready.artifacts.get(&Role::Plan) {
            Some(begin) => Some(SavedPlans { begin: get(*begin)?, last: self.saved[lane].get().map(get).transpose()? }),
            None => None,
        };
        let bytes = state.write(ready.stage.key, self.model, plans.as_ref());
        let bytes = bytes.map_err(|error| Failure::new(FailureClass::Internal, with_causes(&error)))?;
        self.store.put(&bytes).map_err(|error| storage_failure(&error))
    }
}

impl Watch for Reporter<'_> {
    fn epoch(&mut self, lane: usize, record: &EpochRecord) {
        (self.report)(BundleEvent::Progress(progress(self.lanes[lane].stage.key, self.epochs, record)));
    }

    fn wants_states(&mut self) -> bool {
        let Some(every) = self.pace.every else { return false };
        let hurry = self.pace.hurry.swap(false, Ordering::Relaxed);
        let wants = hurry || self.last.elapsed() >= every;
        if wants {
            self.last = Instant::now();
        }
        wants
    }

    fn state(&mut self, lane: usize, state: TrainingState) {
        let stage = self.lanes[lane].stage.key;
        match self.keep(lane, &state) {
            Ok(file) => {
                let checkpoint = Checkpoint { epoch: state.epoch, state: file };
                (self.report)(BundleEvent::Checkpointed(stage, checkpoint));
            }
            // The training goes on, and there is another epoch.
            Err(failure) => warn!(%stage, epoch = state.epoch, reason = failure.message, "no checkpoint is left"),
        }
    }
}

fn progress(stage: StageKey, epochs: u32, record: &EpochRecord) -> v1::Progress {
    let of = |(metric, value): (&Metric, &f64)| (metric.on(Split::Validation), Measured::Value(*value));
    let metrics: Metrics = record.validation.iter().map(of).collect();
    // The attempt is the worker's to know.
    v1::Progress {
        stage_key: stage.to_string(),
        epoch: record.epoch,
        epochs,
        metrics: (&metrics).into(),
        ..v1::Progress::default()
    }
}
