//! One sweep: its plan, and how far it is. Knows nothing of workers.

use std::sync::Arc;

use secateur_proto::ids::SweepId;

use crate::{
    experiment::plan::PackedPlan,
    scheduler::{
        message::{Share, SweepState, Timestamp},
        numbers::StageNumber,
    },
};

#[derive(Debug)]
pub(in crate::scheduler) struct Sweep {
    pub(super) plan: Arc<PackedPlan>,
    pub(super) state: SweepState,
    /// In the order of the plan.
    pub(super) stages: Vec<StageNumber>,
    pub(super) trials: Vec<TrialState>,
    /// Trials by state.
    pub(super) tally: Tally,
    pub(super) stages_ended: u64,
    pub(super) lane_steps: u64,
    pub(super) lane_steps_ended: u64,
    pub(super) submitted_at: Timestamp,
    /// When it last stopped running.
    pub(super) ended_at: Option<Timestamp>,
    /// Nothing of it is left but its number.
    pub(super) forgotten: bool,
    pub(super) share: Share,
    /// Greater after each change of what its trials have come to than it was of any sweep before. Of this process alone.
    pub(super) generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scheduler) enum TrialState {
    Open,
    /// As its last stage ended.
    Ended,
    Cancelled,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::scheduler) struct Tally {
    pub(in crate::scheduler) open: u64,
    pub(in crate::scheduler) completed: u64,
    pub(in crate::scheduler) failed: u64,
}

impl Sweep {
    /// A new one, of which nothing is listed yet.
    pub(super) fn new(plan: Arc<PackedPlan>, submitted_at: Timestamp) -> Self {
        Self {
            state: SweepState::Running,
            stages: Vec::with_capacity(plan.stage_count()),
            trials: vec![TrialState::Open; plan.trial_count()],
            tally: Tally { open: plan.trial_count() as u64, ..Tally::default() },
            stages_ended: 0,
            lane_steps: 0,
            lane_steps_ended: 0,
            submitted_at,
            ended_at: None,
            forgotten: false,
            share: Share::default(),
            generation: 0,
            plan,
        }
    }

    pub(in crate::scheduler) fn id(&self) -> &SweepId {
        &self.plan.sweep.id
    }

    pub(in crate::scheduler) const fn plan(&self) -> &Arc<PackedPlan> {
        &self.plan
    }

    pub(in crate::scheduler) const fn state(&self) -> &SweepState {
        &self.state
    }

    pub(in crate::scheduler) fn is_running(&self) -> bool {
        self.state == SweepState::Running
    }

    /// Whether it runs on what is under way alone.
    pub(in crate::scheduler) fn is_draining(&self) -> bool {
        self.share.drains && self.is_running()
    }

    pub(in crate::scheduler) const fn share(&self) -> Share {
        self.share
    }

    pub(in crate::scheduler) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Its stages, in the order of its plan.
    pub(in crate::scheduler) fn stages(&self) -> impl ExactSizeIterator<Item = StageNumber> + '_ {
        self.stages.iter().copied()
    }

    /// Its trials, in the order of its plan.
    pub(in crate::scheduler) fn trials(&self) -> &[TrialState] {
        &self.trials
    }

    /// The stage that a trial ends with.
    pub(in crate::scheduler) fn last_stage(&self, trial: usize) -> StageNumber {
        self.stages[self.plan.last_stage(trial)]
    }

    pub(in crate::scheduler) const fn tally(&self) -> Tally {
        self.tally
    }

    pub(in crate::scheduler) const fn stages_ended(&self) -> u64 {
        self.stages_ended
    }

    pub(in crate::scheduler) const fn lane_steps(&self) -> u64 {
        self.lane_steps
    }

    pub(in crate::scheduler) const fn lane_steps_ended(&self) -> u64 {
        self.lane_steps_ended
    }

    pub(in crate::scheduler) const fn submitted_at(&self) -> Timestamp {
        self.submitted_at
    }

    pub(in crate::scheduler) const fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }
}
