//! Attempts that failed: what is remembered of them, how many a stage has, and when a stage is called poison. Durable, but for where a
//! stage is not tried next.

use std::collections::{BTreeMap, BTreeSet};

use secateur_proto::outcome::{Failure, FailureClass, StageOutcome};
use serde::{Deserialize, Serialize};

use super::{
    bundle::lease_id,
    core::{Core, Step},
    event::{Rejection, SweepState, Timestamp},
    planted::Planted,
    queues::QueueKey,
    record::{AttemptId, Record},
    stage::{Elsewhere, Stage, StageNumber, StageState, WorkerNumber},
};

/// Attempts of which the failure is kept.
const MOST_KEPT: usize = 8;

/// Characters of each of them that are evidence.
const LONGEST_EVIDENCE: usize = 300;

/// An attempt at a stage that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedAttempt {
    /// The name of the worker; nothing where that is not known.
    pub worker: Option<String>,
    /// The width of the bundle that it was a lane of.
    pub lanes: u32,
    /// Why.
    pub failure: Failure,
}

/// What went wrong with a stage so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trouble {
    /// Attempts that failed, in whatever company.
    pub(super) failed: u32,
    /// Of them alone, by what they failed with.
    pub(super) alone: BTreeMap<FailureClass, u32>,
    /// The latest of them, the oldest first.
    pub(super) attempts: Vec<FailedAttempt>,
    /// Which they were, all of them: no more than a stage is allowed. Nothing once it has ended, when no failure counts.
    pub(super) counted: Vec<AttemptId>,
}

impl Trouble {
    pub(super) fn add(&mut self, attempt: FailedAttempt, id: Option<AttemptId>) {
        self.counted.extend(id);
        self.failed = self.failed.saturating_add(1);
        if attempt.lanes <= 1 {
            *self.alone.entry(attempt.failure.class).or_default() += 1;
        }
        if self.attempts.len() == MOST_KEPT {
            self.attempts.remove(0);
        }
        self.attempts.push(attempt);
    }
}

impl Stage {
    /// Attempts that failed with nobody else in the bundle, with that.
    fn failed_alone(&self, class: FailureClass) -> u32 {
        self.trouble.as_ref().and_then(|trouble| trouble.alone.get(&class)).copied().unwrap_or(0)
    }

    /// How often an attempt failed.
    pub(super) fn failed(&self) -> u32 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.failed)
    }
}

impl Core {
    /// The attempt that is out at a leased stage failed, with something that its whole bundle failed with, or that another attempt may
    /// not meet. It counts once: a worker that did not hear that its failure is known takes the lease up again, and says it again. What a
    /// worker lacks counts only where no other one makes up for it.
    pub(super) fn attempt_failed(
        &mut self,
        step: &mut Step,
        stage: StageNumber,
        worker: WorkerNumber,
        lanes: u32,
        failure: &Failure,
    ) -> Result<(), Rejection> {
        if failure.class == FailureClass::NoSpace {
            return self.no_room(step, stage, worker, failure);
        }
        if failure.class == FailureClass::Unfit {
            if lanes <= 1 && self.makes_up_for(worker) {
                self.hand_back(stage, &mut step.decision.effects);
                self.try_elsewhere(stage, worker, None);
                return Ok(());
            }
            // What a worker lacked is of no interest to who reads the journal, but that files could not be had.
            let failure = Failure::new(FailureClass::Storage, failure.message.clone());
            return self.attempt_failed(step, stage, worker, lanes, &failure);
        }
        let id = self.attempt_out(stage);
        let mut counted = self.stages[stage.index()].trouble.iter().flat_map(|trouble| &trouble.counted).map(Some);
        if counted.any(|counted| counted == id.as_ref()) && !self.has(Planted::FailureCountedAgain) {
            self.hand_back(stage, &mut step.decision.effects);
            self.try_elsewhere(stage, worker, (lanes <= 1).then_some(step.now));
            return Ok(());
        }
        let name = self.workers.get(&worker).map(|worker| worker.name.clone());
        let attempt = FailedAttempt { worker: name, lanes, failure: failure.clone() };
        let key = self.key_of(stage);
        let failed_alone = self.stages[stage.index()].failed_alone(failure.class) + 1;
        let goes_on = failure.class.is_retryable() && failed_alone < self.attempts_allowed(stage, failure.class);
        if lanes > 1 || goes_on {
            let FailedAttempt { worker: name, lanes, failure } = attempt;
            self.write(step, Record::AttemptFailed { stage: key, lanes, failure, worker: name, attempt: id })?;
            self.try_elsewhere(stage, worker, (lanes <= 1).then_some(step.now));
            return Ok(());
        }
        let failure =
            if failure.class.is_retryable() { self.given_up(stage, attempt, failed_alone) } else { attempt.failure };
        self.write(step, Record::StageEnded { stage: key, outcome: StageOutcome::Failed(failure) })
    }

    /// Which attempt at a stage is out.
    fn attempt_out(&self, stage: StageNumber) -> Option<AttemptId> {
        let StageState::Leased { lease, attempt } = self.stages[stage.index()].state else { return None };
        Some(AttemptId { lease: lease_id(lease), number: attempt })
    }

    /// How often a stage may fail alone with that: as often as the most patient of the running sweeps that list it says.
    fn attempts_allowed(&self, stage: StageNumber, class: FailureClass) -> u32 {
        let running = |sweep: &super::stage::SweepNumber| self.sweeps[sweep.index()].state == SweepState::Running;
        let sweeps = self.stages[stage.index()].sweeps().filter(running);
        let allowed = sweeps
            .map(|sweep| self.sweeps[sweep.index()].plan.sweep.attempts.of(class).unwrap_or(self.policy.max_attempts));
        allowed.max().unwrap_or(self.policy.max_attempts).get()
    }

    /// What a stage fails with after the last attempt that it has. One that ended executors of several workers, alone, is poison.
    fn given_up(&self, stage: StageNumber, last: FailedAttempt, failed_alone: u32) -> Failure {
        let before = self.stages[stage.index()].trouble.iter().flat_map(|trouble| &trouble.attempts);
        let same = |attempt: &&FailedAttempt| attempt.lanes <= 1 && attempt.failure.class == last.failure.class;
        let alone: Vec<&FailedAttempt> = before.chain([&last]).filter(same).collect();
        let workers: BTreeSet<&str> = alone.iter().filter_map(|attempt| attempt.worker.as_deref()).collect();
        if last.failure.class == FailureClass::Executor && workers.len() > 1 {
            let evidence = alone.iter().map(|attempt| {
                let message: String = attempt.failure.message.chars().take(LONGEST_EVIDENCE).collect();
                format!("on {}: {message}", attempt.worker.as_deref().unwrap_or("a worker"))
            });
            let evidence = evidence.collect::<Vec<_>>().join("; ");
            let message = format!(
                "it was given up after {failed_alone} attempts alone, on {} workers: {evidence}",
                workers.len()
            );
            return Failure::new(FailureClass::Poison, message);
        }
        let message = format!("{} (attempt {failed_alone} alone, the last one allowed)", last.failure.message);
        Failure::new(last.failure.class, message)
    }

    /// A stage that failed on a worker goes to another one next, if one is free; and to the same one again after a pause, if there is to be
    /// one.
    pub(super) fn try_elsewhere(&mut self, number: StageNumber, worker: WorkerNumber, pause_from: Option<Timestamp>) {
        let pause_from = pause_from.filter(|_| self.policy.pause_ms > 0);
        let round = self.workers.get_mut(&worker).map_or(0, |worker| match pause_from {
            Some(now) => worker.health.rest(now),
            None => worker.health.round(),
        });
        let stage = &mut self.stages[number.index()];
        let is_ready = stage.state == StageState::Ready;
        if is_ready {
            self.ready.remove(QueueKey::of(stage), number);
        }
        stage.elsewhere = Some(Elsewhere { worker, round });
        if is_ready {
            self.ready.insert(QueueKey::of(stage), number);
        }
    }
}
