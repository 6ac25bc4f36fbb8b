//! The results of a sweep's trials, as a view that can be taken out of the core: cheap to take, and independent of
//! later changes. Everything that walks a whole sweep reads this view, on a thread of its own, and not the core.

use std::{collections::BTreeMap, sync::Arc};

use secateur_proto::{
    ids::{StageKey, SweepId, TrialId, WorkerId},
    outcome::{Failure, StageOutcome},
};

use crate::{
    experiment::plan::PackedPlan,
    scheduler::{
        core::Core,
        ledger::StageState,
        message::{Packed, Timestamp, TrialOutcome},
    },
};

/// The trials of a sweep at one moment. Contents are shared with the core: a view has one pointer and a tag for each trial.
#[derive(Debug, Clone)]
pub struct SweepResults {
    /// The parts of the plan; at least one.
    pub parts: Vec<PlanPart>,
    /// Two views of one generation are equal. A later view has the same generation or a greater one, across all sweeps of one process.
    pub generation: u64,
    /// In the order of the parts.
    trials: Vec<Option<TrialOutcome>>,
}

/// A part of a sweep's plan.
#[derive(Debug, Clone)]
pub struct PlanPart {
    /// The part.
    pub plan: Arc<PackedPlan>,
    /// When the sweep was submitted with it or extended by it. `None` if that was not recorded.
    pub added_at: Option<Timestamp>,
}

impl SweepResults {
    /// The ids of the trials, in the order of the parts.
    pub fn trial_ids(&self) -> impl Iterator<Item = TrialId> + '_ {
        self.parts.iter().flat_map(|part| (0..part.plan.trial_count()).map(|trial| part.plan.trial_id(trial)))
    }

    /// The outcome of each trial, in the order of the parts, or `None` while it is open.
    pub fn outcomes(&self) -> impl ExactSizeIterator<Item = Option<StageOutcome>> + '_ {
        self.trials.iter().map(|outcome| outcome.as_ref().map(TrialOutcome::unpack))
    }
}

/// A stage that failed by itself. The failure is shared with the core.
#[derive(Debug, Clone)]
pub struct StageFailure {
    /// The stage.
    pub stage: StageKey,
    outcome: Packed,
}

impl StageFailure {
    /// The failure.
    ///
    /// # Panics
    /// Never: it is only made for stages that failed.
    #[must_use]
    pub fn failure(&self) -> &Failure {
        self.outcome.failure().expect("it is made of stages that failed")
    }
}

/// The open stages of a sweep, by place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageCounts {
    /// Stages that wait for a slot.
    pub ready: usize,
    /// Stages that wait for other stages.
    pub waiting: usize,
    /// Leased stages by worker.
    pub leased: BTreeMap<WorkerId, usize>,
}

impl Core {
    /// The ids of all sweeps, in the order of submission.
    pub fn sweep_ids(&self) -> impl Iterator<Item = &SweepId> {
        self.parts().ledger.sweeps().map(|(_, sweep)| sweep.id())
    }

    /// The ids and names of all sweeps, in the order of submission.
    pub fn sweep_names(&self) -> impl Iterator<Item = (&SweepId, &str)> {
        self.parts().ledger.sweeps().map(|(_, sweep)| (sweep.id(), sweep.plan().last().sweep.name.as_str()))
    }

    /// The plans of all sweeps, in the order of submission, each part by part.
    pub fn plans(&self) -> impl Iterator<Item = &Arc<PackedPlan>> {
        self.parts().ledger.sweeps().flat_map(|(_, sweep)| sweep.plan().iter())
    }

    /// The [generation](SweepResults::generation) of a sweep, or `None` if there is no such sweep.
    #[must_use]
    pub fn generation(&self, id: &SweepId) -> Option<u64> {
        let (_, sweep) = self.parts().find(id)?;
        Some(sweep.generation())
    }

    /// The results of a sweep's trials, or `None` if there is no such sweep.
    #[must_use]
    pub fn results(&self, id: &SweepId) -> Option<SweepResults> {
        let parts = self.parts();
        let (_, sweep) = parts.find(id)?;
        let trials = (0..sweep.trials().len()).map(|trial| parts.ledger.trial_outcome(sweep, trial)).collect();
        let mut parts: Vec<PlanPart> =
            sweep.plan().with_times().map(|(plan, added_at)| PlanPart { plan: Arc::clone(plan), added_at }).collect();
        if let Some(first) = parts.first_mut() {
            first.added_at = Some(sweep.submitted_at());
        }
        Some(SweepResults { parts, generation: sweep.generation(), trials })
    }

    /// The stages of a sweep that failed by themselves, in the order of its plan, or `None` if there is no such sweep.
    #[must_use]
    pub fn failures(&self, id: &SweepId) -> Option<Vec<StageFailure>> {
        let ledger = self.parts().ledger;
        let stages = ledger.failed_stages(ledger.find_sweep(id)?).into_iter();
        let failure = |stage: StageKey| {
            let outcome = ledger.stage(ledger.find_stage(&stage)?).outcome()?.clone();
            Some(StageFailure { stage, outcome })
        };
        Some(stages.filter_map(failure).collect())
    }

    /// The open stages of a sweep by place, or `None` if there is no such sweep.
    #[must_use]
    pub fn stage_counts(&self, id: &SweepId) -> Option<StageCounts> {
        let parts = self.parts();
        let (_, sweep) = parts.find(id)?;
        let mut counts = StageCounts::default();
        for number in sweep.stages() {
            let stage = parts.ledger.stage(number);
            match stage.state() {
                StageState::Waiting { .. } => counts.waiting += 1,
                StageState::Open { .. } => match parts.ready.lease_of(number) {
                    Some((lease, _)) => {
                        let lease = parts.fleet.lease(lease);
                        if let Some(worker) = lease.and_then(|lease| parts.fleet.worker(lease.worker())) {
                            *counts.leased.entry(worker.id().clone()).or_default() += 1;
                        }
                    }
                    None => counts.ready += usize::from(stage.is_wanted()),
                },
                StageState::Ended(_) | StageState::Forgotten => {}
            }
        }
        Some(counts)
    }
}
