//! The durable state: sweeps, ended stages, failed attempts. Only records change it, one at a time, both live and in
//! replay ([`Ledger::apply`]), which returns the changes.
//!
//! It knows no workers, leases or policy, and times only as data. So a record means the same whenever it is read.

mod apply;
mod change;
mod check;
mod compare;
mod forget;
mod index;
mod inherited;
mod plan_parts;
mod reopen;
mod restore;
mod restoring;
pub(super) mod snapshot;
mod stage;
mod sweep;

use std::collections::HashMap;

use secateur_proto::{
    ids::{BundleClass, StageKey, SweepId},
    outcome::{Artifacts, FailureClass},
    spec::StageSpec,
};

pub(super) use self::{
    change::Change,
    stage::{Stage, StageState, UNLIMITED},
    sweep::{Sweep, TrialState},
};
use self::{index::StageIndex, restoring::Restoring};
use super::{
    fault_injection::Faults,
    message::{Packed, Rejection, TrialOutcome},
    numbers::{ClassNumber, StageNumber, SweepNumber},
};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Ledger {
    faults: Faults,
    /// Lives of the coordinator so far; 0 before the first.
    life: u32,
    stages: Vec<Stage>,
    index: StageIndex,
    sweeps: Vec<Sweep>,
    sweep_numbers: HashMap<SweepId, SweepNumber>,
    classes: Vec<BundleClass>,
    class_numbers: HashMap<BundleClass, ClassNumber>,
    /// The number of sweeps forgotten before the last snapshot.
    forgotten: u64,
    /// A snapshot of which some lines were read.
    restoring: Option<Box<Restoring>>,
    /// Records since the last snapshot.
    since_snapshot: u64,
    /// The newest generation of any sweep.
    generation: u64,
}

impl Ledger {
    /// Returns an empty ledger.
    pub(super) fn new(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    pub(super) const fn life(&self) -> u32 {
        self.life
    }

    pub(super) fn stage(&self, number: StageNumber) -> &Stage {
        &self.stages[number.index()]
    }

    /// All stages, including forgotten ones.
    pub(super) fn stages(&self) -> impl ExactSizeIterator<Item = (StageNumber, &Stage)> {
        self.stages.iter().enumerate().map(|(index, stage)| (StageNumber::at(index), stage))
    }

    pub(super) fn sweep(&self, number: SweepNumber) -> &Sweep {
        &self.sweeps[number.index()]
    }

    /// The known sweeps, in the order of submission.
    pub(super) fn sweeps(&self) -> impl Iterator<Item = (SweepNumber, &Sweep)> {
        let all = self.sweeps.iter().enumerate().map(|(index, sweep)| (SweepNumber::at(index), sweep));
        all.filter(|(_, sweep)| !sweep.forgotten)
    }

    /// Whether there ever was a sweep, even a forgotten one.
    pub(super) const fn has_had_sweeps(&self) -> bool {
        self.forgotten > 0 || !self.sweeps.is_empty()
    }

    /// The sweep of that id, or `None`.
    pub(super) fn find_sweep(&self, id: &SweepId) -> Option<SweepNumber> {
        self.sweep_numbers.get(id).copied()
    }

    pub(super) fn sweep_number(&self, id: &SweepId) -> Result<SweepNumber, Rejection> {
        self.find_sweep(id).ok_or_else(|| Rejection::UnknownSweep(id.clone()))
    }

    /// The stage of that key, or `None` if no sweep lists it.
    pub(super) fn find_stage(&self, key: &StageKey) -> Option<StageNumber> {
        self.index.find(key, |number| self.key_of(number))
    }

    pub(super) fn stage_number(&self, key: &StageKey) -> Result<StageNumber, Rejection> {
        self.find_stage(key).ok_or(Rejection::UnknownStage(*key))
    }

    /// The key of a known stage.
    pub(super) fn key_of(&self, stage: StageNumber) -> StageKey {
        key_of(&self.stages, &self.sweeps, stage)
    }

    pub(super) fn class(&self, number: ClassNumber) -> &BundleClass {
        &self.classes[number.index()]
    }

    pub(super) fn find_class(&self, class: &BundleClass) -> Option<ClassNumber> {
        self.class_numbers.get(class).copied()
    }

    /// The stages that a stage reads, each once, in the order of its spec.
    pub(super) fn parents_of(&self, stage: &Stage) -> impl Iterator<Item = StageNumber> {
        let home = self.sweep(stage.home);
        home.plan.parents(stage.position as usize).map(|parent| home.stages[parent])
    }

    /// The optimiser steps of a stage.
    pub(super) fn lane_steps_of(&self, stage: StageNumber) -> u64 {
        let stage = self.stage(stage);
        self.sweep(stage.home).plan.lane_steps(stage.position as usize)
    }

    /// The spec of a stage, and its input files from outside.
    pub(super) fn spec_of(&self, stage: &Stage) -> (StageSpec, Artifacts) {
        self.sweep(stage.home).plan.spec(stage.position as usize)
    }

    /// Notes that results of a sweep's trials changed.
    fn new_generation(&mut self, sweep: SweepNumber) {
        self.generation += 1;
        self.sweeps[sweep.index()].generation = self.generation;
    }

    /// How a trial ended, or `None` if it is open.
    pub(super) fn trial_outcome(&self, sweep: &Sweep, trial: usize) -> Option<TrialOutcome> {
        match sweep.trials[trial] {
            TrialState::Open => None,
            TrialState::Cancelled => Some(TrialOutcome::CANCELLED),
            TrialState::Ended => TrialOutcome::of(sweep.result_stages(trial).map(|stage| self.stage(stage).outcome())),
        }
    }

    /// The stages of a sweep that failed by themselves, in the order of its plan.
    pub(super) fn failed_stages(&self, sweep: SweepNumber) -> Vec<StageKey> {
        let failed = self.sweep(sweep).stages().filter(|stage| {
            let outcome = self.stage(*stage).outcome();
            outcome.and_then(Packed::failure).is_some_and(|failure| failure.class != FailureClass::Upstream)
        });
        failed.map(|stage| self.key_of(stage)).collect()
    }
}

/// The key of a known stage.
fn key_of(stages: &[Stage], sweeps: &[Sweep], stage: StageNumber) -> StageKey {
    let stage = &stages[stage.index()];
    sweeps[stage.home.index()].plan.key(stage.position as usize)
}
