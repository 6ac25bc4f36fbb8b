//! One sweep: its plan and its progress. Knows no workers.

use std::{collections::BTreeSet, sync::Arc};

use secateur_proto::ids::SweepId;

use super::plan_parts::PlanParts;
use crate::{
    experiment::plan::PackedPlan,
    scheduler::{
        message::{Person, Share, SweepState, Timestamp},
        numbers::StageNumber,
    },
};

#[derive(Debug)]
pub(in crate::scheduler) struct Sweep {
    pub(super) plan: PlanParts,
    /// Whether more parts may follow: it does not complete before it is closed.
    pub(super) open: bool,
    pub(super) state: SweepState,
    /// In the order of the plan.
    pub(super) stages: Vec<StageNumber>,
    /// Positions in the plan of stages that an earlier part lists as well.
    pub(super) listed_again: BTreeSet<u32>,
    pub(super) trials: Vec<TrialState>,
    /// Trials by state.
    pub(super) tally: Tally,
    pub(super) stages_ended: u64,
    pub(super) lane_steps: u64,
    pub(super) lane_steps_ended: u64,
    pub(super) submitted_at: Timestamp,
    /// When it last stopped running.
    pub(super) ended_at: Option<Timestamp>,
    pub(super) submitted_by: Option<Person>,
    /// Who cancelled it, or asked for it to drain. `None` while it does neither.
    pub(super) cancelled_by: Option<Person>,
    /// Only its number is left.
    pub(super) forgotten: bool,
    pub(super) share: Share,
    /// Changes with each change of its trials' results, to a value greater than any before. Valid in this process only.
    pub(super) generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scheduler) enum TrialState {
    Open,
    /// Ended as its last stage.
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
    /// A new sweep without stages.
    pub(super) fn new(plan: Arc<PackedPlan>, submitted_at: Timestamp) -> Self {
        Self {
            open: false,
            state: SweepState::Running,
            stages: Vec::with_capacity(plan.stage_count()),
            listed_again: BTreeSet::new(),
            trials: vec![TrialState::Open; plan.trial_count()],
            tally: Tally { open: plan.trial_count() as u64, ..Tally::default() },
            stages_ended: 0,
            lane_steps: 0,
            lane_steps_ended: 0,
            submitted_at,
            ended_at: None,
            submitted_by: None,
            cancelled_by: None,
            forgotten: false,
            share: Share::default(),
            generation: 0,
            plan: PlanParts::new(plan),
        }
    }

    pub(in crate::scheduler) fn id(&self) -> &SweepId {
        &self.plan.first().sweep.id
    }

    pub(in crate::scheduler) const fn plan(&self) -> &PlanParts {
        &self.plan
    }

    pub(in crate::scheduler) const fn state(&self) -> &SweepState {
        &self.state
    }

    pub(in crate::scheduler) fn is_running(&self) -> bool {
        self.state == SweepState::Running
    }

    /// Whether it is draining: its leased stages may end, and no more are leased.
    pub(in crate::scheduler) fn is_draining(&self) -> bool {
        self.share.drains && self.is_running()
    }

    pub(in crate::scheduler) const fn share(&self) -> Share {
        self.share
    }

    pub(in crate::scheduler) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether more parts of its plan may follow.
    pub(in crate::scheduler) const fn is_open(&self) -> bool {
        self.open
    }

    /// Whether it runs, has no open trial, and somebody has to say whether more trials follow. One that drains is about to be cancelled.
    pub(in crate::scheduler) fn awaits_decision(&self) -> bool {
        self.open && self.is_running() && !self.share.drains && self.tally.open == 0
    }

    /// Its stages, each once, in the order of its plan.
    pub(in crate::scheduler) fn stages(&self) -> impl Iterator<Item = StageNumber> + '_ {
        self.stages_from(0)
    }

    /// The stages that are first listed at `position` of the plan or after it.
    pub(super) fn stages_from(&self, position: usize) -> impl Iterator<Item = StageNumber> + '_ {
        let listed = (position..).zip(&self.stages[position..]);
        listed.filter(|(position, _)| !self.lists_again(*position)).map(|(_, stage)| *stage)
    }

    /// Whether the stage at a position is also listed before.
    pub(super) fn lists_again(&self, position: usize) -> bool {
        !self.listed_again.is_empty() && u32::try_from(position).is_ok_and(|at| self.listed_again.contains(&at))
    }

    /// Computes which stages are listed more than once.
    pub(super) fn note_listed_again(&mut self) {
        if self.plan.iter().nth(1).is_some() {
            let mut listed = BTreeSet::new();
            let positions = (0_u32..).zip(&self.stages);
            self.listed_again =
                positions.filter(|(_, stage)| !listed.insert(**stage)).map(|(position, _)| position).collect();
        }
    }

    pub(in crate::scheduler) fn stage_count(&self) -> usize {
        self.stages.len() - self.listed_again.len()
    }

    /// Its trials, in the order of its plan.
    pub(in crate::scheduler) fn trials(&self) -> &[TrialState] {
        &self.trials
    }

    /// The stage that a trial ends with.
    pub(in crate::scheduler) fn last_stage(&self, trial: usize) -> StageNumber {
        self.stages[self.plan.last_stage(trial)]
    }

    /// The stages whose results form the result of a trial.
    pub(super) fn result_stages(&self, trial: usize) -> impl DoubleEndedIterator<Item = StageNumber> + '_ {
        self.plan.result_stages(trial).map(|stage| self.stages[stage])
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

    pub(in crate::scheduler) const fn submitted_by(&self) -> Option<&Person> {
        self.submitted_by.as_ref()
    }

    /// Who cancelled it, or asked for it to drain.
    pub(in crate::scheduler) const fn cancelled_by(&self) -> Option<&Person> {
        self.cancelled_by.as_ref()
    }

    pub(in crate::scheduler) const fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }
}
