//! The plan of a sweep: the first part and its extensions. Stages and trials are numbered through all parts.
//!
//! A part lists all stages that its trials need, including those of earlier parts: equal keys are one stage.

use std::{collections::HashSet, sync::Arc};

use secateur_proto::{
    ids::{BundleClass, StageKey, TrialId},
    outcome::Artifacts,
    spec::StageSpec,
};

use crate::{
    experiment::plan::{PackedPlan, Trial},
    scheduler::message::Timestamp,
};

/// See the [module](self).
#[derive(Debug, PartialEq)]
pub(in crate::scheduler) struct PlanParts(Vec<Numbered>);

#[derive(Debug, PartialEq)]
struct Numbered {
    plan: Arc<PackedPlan>,
    /// When the sweep was extended by it. `None` for the first part, and if it was not recorded.
    added_at: Option<Timestamp>,
    first_stage: usize,
    first_trial: usize,
}

impl PlanParts {
    pub(super) fn new(plan: Arc<PackedPlan>) -> Self {
        Self(vec![Numbered { plan, added_at: None, first_stage: 0, first_trial: 0 }])
    }

    pub(super) fn push(&mut self, plan: Arc<PackedPlan>, added_at: Option<Timestamp>) {
        let (first_stage, first_trial) = (self.stage_count(), self.trial_count());
        self.0.push(Numbered { plan, added_at, first_stage, first_trial });
    }

    /// The plan that the sweep was submitted with.
    pub(in crate::scheduler) fn first(&self) -> &Arc<PackedPlan> {
        &self.0.first().expect("there is no sweep without a plan").plan
    }

    /// The latest part: its goals and limits of attempts apply.
    pub(in crate::scheduler) fn last(&self) -> &Arc<PackedPlan> {
        &self.0.last().expect("there is no sweep without a plan").plan
    }

    /// The parts, and when each extended the sweep.
    pub(in crate::scheduler) fn with_times(
        &self,
    ) -> impl ExactSizeIterator<Item = (&Arc<PackedPlan>, Option<Timestamp>)> {
        self.0.iter().map(|part| (&part.plan, part.added_at))
    }

    pub(in crate::scheduler) fn iter(&self) -> impl Iterator<Item = &Arc<PackedPlan>> + Clone {
        self.0.iter().map(|part| &part.plan)
    }

    /// Stages of all parts. A stage that several parts list counts for each.
    pub(super) fn stage_count(&self) -> usize {
        self.0.last().map_or(0, |last| last.first_stage + last.plan.stage_count())
    }

    pub(super) fn trial_count(&self) -> usize {
        self.0.last().map_or(0, |last| last.first_trial + last.plan.trial_count())
    }

    /// Returns the known and the new trials of a part.
    pub(in crate::scheduler) fn known_and_new(&self, part: &PackedPlan) -> (Vec<TrialId>, Vec<TrialId>) {
        let ids = |plan: &PackedPlan| (0..plan.trial_count()).map(|trial| plan.trial_id(trial)).collect::<Vec<_>>();
        let known: HashSet<TrialId> = self.iter().flat_map(|plan| ids(plan)).collect();
        ids(part).into_iter().partition(|trial| known.contains(trial))
    }

    pub(super) fn key(&self, stage: usize) -> StageKey {
        let (part, stage) = self.part_of_stage(stage);
        part.plan.key(stage)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = StageKey> + '_ {
        self.iter().flat_map(|plan| plan.keys())
    }

    pub(super) fn lane_steps(&self, stage: usize) -> u64 {
        let (part, stage) = self.part_of_stage(stage);
        part.plan.lane_steps(stage)
    }

    pub(super) fn shared_class(&self, stage: usize) -> Option<&BundleClass> {
        let (part, stage) = self.part_of_stage(stage);
        part.plan.shared_class(stage)
    }

    pub(super) fn parents(&self, stage: usize) -> impl ExactSizeIterator<Item = usize> + '_ {
        let (part, stage) = self.part_of_stage(stage);
        part.plan.parents(stage).map(|parent| part.first_stage + parent)
    }

    /// The spec of a stage, and its input files from outside.
    pub(super) fn spec(&self, stage: usize) -> (StageSpec, Artifacts) {
        let (part, stage) = self.part_of_stage(stage);
        (part.plan.spec(stage), part.plan.given(stage))
    }

    pub(super) fn last_stage(&self, trial: usize) -> usize {
        let (part, trial) = self.part_of_trial(trial);
        part.first_stage + part.plan.last_stage(trial)
    }

    pub(super) fn result_stages(&self, trial: usize) -> impl DoubleEndedIterator<Item = usize> + '_ {
        let (part, trial) = self.part_of_trial(trial);
        part.plan.result_stages(trial).map(|stage| part.first_stage + stage)
    }

    pub(in crate::scheduler) fn trial_id(&self, trial: usize) -> TrialId {
        let (part, trial) = self.part_of_trial(trial);
        part.plan.trial_id(trial)
    }

    pub(in crate::scheduler) fn trials(&self) -> impl Iterator<Item = Trial> + '_ {
        self.iter().flat_map(|plan| plan.trials())
    }

    fn part_of_stage(&self, stage: usize) -> (&Numbered, usize) {
        let after = self.0.partition_point(|part| part.first_stage <= stage);
        let part = &self.0[after - 1];
        (part, stage - part.first_stage)
    }

    fn part_of_trial(&self, trial: usize) -> (&Numbered, usize) {
        let after = self.0.partition_point(|part| part.first_trial <= trial);
        let part = &self.0[after - 1];
        (part, trial - part.first_trial)
    }
}
