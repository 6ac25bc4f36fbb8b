//! Log lines from workers' messages. Only lines about attempts leased to the worker are accepted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use secateur_proto::{
    ids::{LeaseId, StageKey},
    v1::{self, stage_outcome::Outcome},
};

use crate::logs::{Line, Logs, Weight};

/// The stages that one attachment of a worker may write logs for. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Said {
    logs: Logs,
    worker: String,
    /// The lease of each stage.
    leased: Arc<Mutex<HashMap<StageKey, LeaseId>>>,
}

impl Said {
    /// Logs of the worker of that name, which already holds these stages.
    pub(super) fn by(worker: String, logs: Logs, held: impl IntoIterator<Item = (StageKey, LeaseId)>) -> Self {
        Self { logs, worker, leased: Arc::new(Mutex::new(held.into_iter().collect())) }
    }

    fn leased(&self) -> MutexGuard<'_, HashMap<StageKey, LeaseId>> {
        self.leased.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the worker gets a lease.
    pub(super) fn begins(&self, id: &LeaseId, lease: &v1::Lease) {
        let keys = lease.stages.iter().filter_map(|leased| leased.stage.as_ref()?.key.parse::<StageKey>().ok());
        self.leased().extend(keys.map(|key| (key, id.clone())));
    }

    /// Notes that a lease has ended, with all stages that were not reported.
    pub(super) fn ends(&self, id: &LeaseId) {
        self.leased().retain(|_, lease| lease != id);
    }

    /// Logs that a lane has finished an epoch.
    pub(super) fn progress(&self, stage: StageKey, progress: &v1::Progress) {
        let metrics = progress.metrics.iter().map(|measured| match &measured.result {
            Some(v1::measurement::Result::Value(value)) => format!("{} {value:.4}", measured.quantity),
            Some(v1::measurement::Result::NotMeasurable(reason)) => format!("{} {reason}", measured.quantity),
            None => measured.quantity.clone(),
        });
        let metrics: Vec<String> = metrics.collect();
        let text = format!("epoch {} of {}: {}", progress.epoch, progress.epochs, metrics.join(", "));
        self.say(stage, progress.attempt, Weight::Telling, text);
    }

    /// Logs the output of an executor.
    pub(super) fn words(&self, words: &v1::Words) {
        for held in &words.stages {
            let Ok(stage) = held.stage_key.parse() else { continue };
            for line in &words.lines {
                self.say(stage, held.attempt, Weight::Telling, line.clone());
            }
        }
    }

    /// Logs a checkpoint of an attempt.
    pub(super) fn checkpointed(&self, taken: &v1::Checkpointed) {
        let (Ok(stage), Some(checkpoint)) = (taken.stage_key.parse(), &taken.checkpoint) else { return };
        let text = format!("a checkpoint of epoch {} is kept", checkpoint.epoch);
        self.say(stage, taken.attempt, Weight::Telling, text);
    }

    /// Logs the end of an attempt.
    pub(super) fn report(&self, report: &v1::StageReport) {
        let Ok(stage) = report.stage_key.parse() else { return };
        let (weight, text) = match report.outcome.as_ref().and_then(|outcome| outcome.outcome.as_ref()) {
            Some(Outcome::Completed(_)) => (Weight::Closing, "completed".to_owned()),
            Some(Outcome::Diverged(diverged)) => (Weight::Ending, format!("diverged in step {}", diverged.step)),
            Some(Outcome::Collapsed(collapsed)) => {
                (Weight::Ending, format!("collapsed: layer {} would lose all its weights", collapsed.layer))
            }
            Some(Outcome::Failed(failed)) => (Weight::Ending, format!("failed: {}", failed.message)),
            Some(Outcome::Cancelled(_)) | None => return,
        };
        self.say(stage, report.attempt, weight, text);
        self.leased().remove(&stage);
    }

    fn say(&self, stage: StageKey, attempt: u32, weight: Weight, text: String) {
        if !self.leased().contains_key(&stage) {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.logs.say(stage, weight, Line { at, attempt, worker: self.worker.clone(), text });
    }
}
