//! One sweep: its plan, and how far it is. Knows nothing of workers but their numbers.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    event::{SweepState, Timestamp},
    share::Share,
    stage::{StageNumber, WorkerNumber},
};
use crate::experiment::plan::PackedPlan;

#[derive(Debug)]
pub(super) struct Sweep {
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
    /// Of its stages, so many are with workers.
    pub(super) leased: u64,
    /// Of its stages, so many have completed in this life.
    pub(super) computed: u64,
    /// Nothing of it is left but its number.
    pub(super) forgotten: bool,
    pub(super) share: Share,
    /// Leases that are out with stages that run for it.
    pub(super) leases: u64,
    /// The workers that have them, and how many.
    pub(super) workers: BTreeMap<WorkerNumber, u64>,
    /// So many leases had been given out when it was last its turn.
    pub(super) last_turn: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrialState {
    Open,
    /// As its last stage ended.
    Ended,
    Cancelled,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) open: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
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
            leased: 0,
            computed: 0,
            forgotten: false,
            share: Share::default(),
            leases: 0,
            workers: BTreeMap::new(),
            last_turn: 0,
            plan,
        }
    }
}
