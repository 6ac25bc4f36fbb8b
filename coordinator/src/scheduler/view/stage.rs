//! Views of stages and files.

use std::ops::Range;

use secateur_proto::{
    convert::StageWithInputs,
    ids::{ContentHash, LeaseId, StageKey, SweepId, WorkerId},
    outcome::{Checkpoint, Role, StageOutcome},
};

use crate::scheduler::{
    core::Core,
    journal::FailedAttempt,
    ledger::{Stage, StageState, UNLIMITED},
    message::Packed,
    numbers::{LeaseNumber, StageNumber},
    turns::gets_work,
};

/// The status of a stage.
#[derive(Debug, Clone, PartialEq)]
pub enum StageStatus {
    /// Some of its parents have not completed.
    Waiting {
        /// The number of those parents.
        missing: u32,
    },
    /// It could run, but no running sweep wants it.
    Parked,
    /// It waits for a slot.
    Ready,
    /// A worker holds it.
    Leased {
        /// The lease.
        lease: LeaseId,
        /// The number of the attempt.
        attempt: u32,
    },
    /// It has ended.
    Ended(StageOutcome),
}

/// Details of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageDetail {
    /// Its status.
    pub status: StageStatus,
    /// The worker that holds it.
    pub worker: Option<WorkerId>,
    /// The number of failed attempts, alone in a bundle or not.
    pub failed_attempts: u32,
    /// The latest failed attempts, the oldest first.
    pub attempts: Vec<FailedAttempt>,
    /// The maximum width of its bundle, or `None` for no limit.
    pub width_limit: Option<u32>,
    /// The checkpoint that its next attempt resumes from.
    pub checkpoint: Option<Checkpoint>,
    /// Whether some running sweep wants it.
    pub wanted: bool,
    /// Whether all of those sweeps are draining, so that it is not leased any more.
    pub drains: bool,
}

impl Core {
    fn find_stage(&self, key: &StageKey) -> Option<(StageNumber, &Stage)> {
        let ledger = self.parts().ledger;
        ledger.find_stage(key).map(|number| (number, ledger.stage(number)))
    }

    /// The number of ended stages. A stage that several sweeps share counts once.
    #[must_use]
    pub fn stages_ended(&self) -> u64 {
        self.parts().ledger.stages().filter(|(_, stage)| stage.is_ended()).count() as u64
    }

    /// Whether a stage in `places` made this file and reports publish it: a net, a plan, a preparation or a measurement, never data.
    /// Returns `None` if `places` begins after the last stage. Large ranges block the scheduler.
    #[must_use]
    pub fn is_published(&self, hash: ContentHash, places: Range<usize>) -> Option<bool> {
        let mut stages = self.parts().ledger.stages().skip(places.start).take(places.len()).peekable();
        stages.peek()?;
        let published = stages.any(|(_, stage)| {
            let mut left = stage.outcome().into_iter().flat_map(Packed::artifacts);
            left.any(|(role, artifact)| {
                artifact.hash == hash
                    && matches!(
                        role,
                        Role::Checkpoint | Role::Quantized | Role::Plan | Role::Preparation | Role::Measurement
                    )
            })
        });
        Some(published)
    }

    /// Returns the files that the stages in `places` made, and the checkpoints of open ones. Returns `None` if `places`
    /// begins after the last stage. Large ranges block the scheduler. Input files from outside are in
    /// `PackedPlan::files`.
    #[must_use]
    pub fn files_of_stages(&self, places: Range<usize>) -> Option<Vec<ContentHash>> {
        let mut stages = self.parts().ledger.stages().skip(places.start).take(places.len()).peekable();
        stages.peek()?;
        let files = stages.flat_map(|(_, stage)| {
            let left = stage.outcome().into_iter().flat_map(Packed::artifacts);
            left.map(|(_, artifact)| artifact.hash).chain(stage.checkpoint().map(|checkpoint| checkpoint.state.hash))
        });
        Some(files.collect())
    }

    /// The status of a stage, or `None` if no sweep has it.
    #[must_use]
    pub fn stage(&self, key: &StageKey) -> Option<StageStatus> {
        let (number, stage) = self.find_stage(key)?;
        Some(match stage.state() {
            StageState::Waiting { missing } => StageStatus::Waiting { missing: *missing },
            StageState::Open { .. } => match self.parts().ready.lease_of(number) {
                Some((lease, attempt)) => StageStatus::Leased { lease: lease.id(), attempt },
                None if stage.is_wanted() => StageStatus::Ready,
                None => StageStatus::Parked,
            },
            StageState::Ended(outcome) => StageStatus::Ended(outcome.unpack()),
            StageState::Forgotten => return None,
        })
    }

    /// The details of a stage, or `None` if no sweep has it.
    #[must_use]
    pub fn stage_detail(&self, key: &StageKey) -> Option<StageDetail> {
        let parts = self.parts();
        let (number, stage) = self.find_stage(key)?;
        let lease = parts.ready.lease_of(number).and_then(|(lease, _)| parts.fleet.lease(lease));
        Some(StageDetail {
            status: self.stage(key)?,
            worker: lease.and_then(|lease| Some(parts.fleet.worker(lease.worker())?.id().clone())),
            failed_attempts: stage.failed(),
            attempts: stage.attempts().to_vec(),
            width_limit: (stage.width_limit() != UNLIMITED).then_some(stage.width_limit()),
            checkpoint: stage.checkpoint().copied(),
            wanted: stage.is_wanted(),
            drains: stage.is_wanted() && !gets_work(parts, number),
        })
    }

    /// The optimiser steps of a stage, or `None` if no sweep has it.
    #[must_use]
    pub fn lane_steps(&self, key: &StageKey) -> Option<u64> {
        let (number, _) = self.find_stage(key)?;
        Some(self.parts().ledger.lane_steps_of(number))
    }

    /// How a stage ended, or `None` if it has not.
    #[must_use]
    pub fn outcome(&self, key: &StageKey) -> Option<StageOutcome> {
        let (_, stage) = self.find_stage(key)?;
        Some(stage.outcome()?.unpack())
    }

    /// Returns a stage as a lease carries it: with its input files from outside and those that its parents made. If two
    /// have the same role, that of the later parent is used. `None` if no sweep has the stage.
    #[must_use]
    pub fn stage_with_inputs(&self, key: &StageKey) -> Option<StageWithInputs> {
        let ledger = self.parts().ledger;
        let (_, stage) = self.find_stage(key)?;
        let (spec, mut inputs) = ledger.spec_of(stage);
        for parent in ledger.parents_of(stage) {
            if let Some(outcome) = ledger.stage(parent).outcome() {
                inputs.extend(outcome.artifacts());
            }
        }
        Some(StageWithInputs { key: *key, spec, inputs })
    }

    /// The checkpoint that the next attempt at a stage resumes from, or `None` if there is none or the stage has ended.
    #[must_use]
    pub fn checkpoint(&self, key: &StageKey) -> Option<Checkpoint> {
        self.find_stage(key)?.1.checkpoint().copied()
    }

    /// The sweeps that list a stage, in no particular order.
    #[must_use]
    pub fn sweeps_of(&self, key: &StageKey) -> Vec<SweepId> {
        let ledger = self.parts().ledger;
        let stage = self.find_stage(key).map(|(_, stage)| stage);
        stage.map_or_else(Vec::new, |stage| stage.sweeps().map(|sweep| ledger.sweep(sweep).id().clone()).collect())
    }

    /// The open stages of a lease.
    #[must_use]
    pub fn stages_of(&self, lease: &LeaseId) -> Vec<StageKey> {
        let parts = self.parts();
        let lease = LeaseNumber::parse(lease).and_then(|number| parts.fleet.lease(number));
        let keys = |stages: &[StageNumber]| stages.iter().map(|stage| parts.ledger.key_of(*stage)).collect();
        lease.map_or_else(Vec::new, |lease| keys(lease.open()))
    }

    /// The number of stages that wait for a slot, without those of draining sweeps: a measure of how many workers are
    /// needed.
    #[must_use]
    pub fn ready_stages(&self) -> usize {
        let parts = self.parts();
        let queues = parts.ready.queues();
        let waiting = queues.sweeps().filter(|sweep| !parts.ledger.sweep(*sweep).share().drains);
        waiting.map(|sweep| queues.count_in(sweep)).sum()
    }
}
