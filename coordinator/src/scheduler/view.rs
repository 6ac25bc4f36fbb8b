//! What can be read of the core: for the gRPC layer, the progress bars and the report.

use std::{collections::HashSet, sync::Arc};

use secateur_proto::{
    convert::StageWithInputs,
    ids::{BundleClass, ContentHash, LeaseId, StageKey, SweepId, WorkerId},
    outcome::{Checkpoint, Role, StageOutcome},
};

use super::{
    bundle::{lease_id, lease_number},
    core::Core,
    event::{SweepState, Timestamp},
    outcome::Packed,
    share::Share,
    stage::{StageNumber, StageState, SweepNumber, UNLIMITED},
    sweep::{Sweep, TrialState},
    trouble::FailedAttempt,
    workers::{Width, Worker},
};
use crate::experiment::plan::{PackedPlan, Trial};

/// A sweep in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepStatus {
    /// Which.
    pub id: SweepId,
    /// From the file.
    pub name: String,
    /// Where it is.
    pub state: SweepState,
    /// Trials of the plan.
    pub trials: u64,
    /// Trials that ended as completed.
    pub trials_completed: u64,
    /// Trials that ended in any other way.
    pub trials_failed: u64,
    /// Stages of the plan.
    pub stages: u64,
    /// Of them ended, in whatever way.
    pub stages_ended: u64,
    /// Of them with a worker now.
    pub stages_leased: u64,
    /// Of them computed to completion in this life of the coordinator, as against found completed.
    pub stages_computed: u64,
    /// Optimiser steps of all stages.
    pub lane_steps: u64,
    /// Optimiser steps of stages that have ended.
    pub lane_steps_ended: u64,
    /// When it was first submitted.
    pub submitted_at: Timestamp,
    /// When it last stopped running; nothing while it runs.
    pub ended_at: Option<Timestamp>,
    /// What part of the workers it may have.
    pub share: Share,
    /// Workers that have stages which run for it.
    pub workers: usize,
    /// Whether it has as many workers as it may have.
    pub at_limit: bool,
    /// Why nothing of it is handed out, where that will not change by itself soon; for a person.
    pub held: Option<String>,
}

/// Where a trial is.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialStatus {
    /// Its last stage has not ended.
    Open,
    /// How it ended.
    Ended(StageOutcome),
}

/// Where a stage is.
#[derive(Debug, Clone, PartialEq)]
pub enum StageStatus {
    /// So many of its parents have not completed.
    Waiting {
        /// Parents.
        missing: u32,
    },
    /// It could run, but no running sweep wants it.
    Parked,
    /// It waits for a slot.
    Ready,
    /// A worker has it.
    Leased {
        /// Under which lease.
        lease: LeaseId,
        /// Which attempt it is.
        attempt: u32,
    },
    /// It has ended.
    Ended(StageOutcome),
}

/// What there is to know of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageDetail {
    /// Where it is.
    pub status: StageStatus,
    /// Who has it.
    pub worker: Option<WorkerId>,
    /// Attempts that failed, in whatever company.
    pub failed_attempts: u32,
    /// The latest of them, the oldest first.
    pub attempts: Vec<FailedAttempt>,
    /// The widest bundle that it may still be a lane of; nothing: any.
    pub width_limit: Option<u32>,
    /// What its next attempt goes on from.
    pub checkpoint: Option<Checkpoint>,
    /// Some running sweep wants it.
    pub wanted: bool,
    /// And all of those that do drain: it is not handed out any more.
    pub drains: bool,
}

/// A worker that is attached.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStatus {
    /// This attachment.
    pub id: WorkerId,
    /// From its hello.
    pub name: String,
    /// From its hello.
    pub device: String,
    /// Bundles and calibrations at the same time.
    pub slots: u32,
    /// Of them taken.
    pub busy_slots: u32,
    /// Stages that wait for its leases.
    pub leased_stages: u32,
    /// Stages that it completed since it attached.
    pub stages_completed: u64,
    /// Bundle classes that it has measured: lanes, and lane-steps per second at that width.
    pub measured: Vec<(BundleClass, u32, f64)>,
    /// It handed back work by itself and gets no more.
    pub leaving: bool,
    /// Its stream broke: it holds its leases, and may come back.
    pub away: bool,
    /// Why it gets nothing for a while; nothing: it does.
    pub quarantined: Option<String>,
    /// What failed on it is not tried on it yet.
    pub rests: bool,
    /// When it last spoke.
    pub last_seen: Timestamp,
}

impl Core {
    /// One sweep.
    #[must_use]
    pub fn sweep(&self, id: &SweepId) -> Option<SweepStatus> {
        self.find(id).map(|sweep| self.status_of(sweep))
    }

    /// All sweeps, in the order of submission.
    pub fn sweeps(&self) -> impl Iterator<Item = SweepStatus> {
        self.sweeps.iter().filter(|sweep| !sweep.forgotten).map(|sweep| self.status_of(sweep))
    }

    /// The sweeps that run.
    pub fn running(&self) -> impl Iterator<Item = SweepId> {
        let running = self.sweeps.iter().filter(|sweep| sweep.state == SweepState::Running);
        running.map(|sweep| sweep.plan.sweep.id.clone())
    }

    /// Stages that have ended, in whatever way; one that several sweeps share counts once.
    #[must_use]
    pub fn stages_ended(&self) -> u64 {
        self.stages.iter().filter(|stage| stage.is_ended()).count() as u64
    }

    /// Whether a report hands that file out: a net, a plan or a preparation that some stage left. No data.
    #[must_use]
    pub fn is_published(&self, hash: ContentHash) -> bool {
        self.stages.iter().any(|stage| {
            let mut left = stage.outcome().into_iter().flat_map(Packed::artifacts);
            left.any(|(role, artifact)| {
                artifact.hash == hash && matches!(role, Role::Checkpoint | Role::Plan | Role::Preparation)
            })
        })
    }

    /// Whether there ever was a sweep, a forgotten one too. Where there was none, nobody can say what files are for.
    #[must_use]
    pub const fn has_had_sweeps(&self) -> bool {
        self.forgotten > 0 || !self.sweeps.is_empty()
    }

    /// Every file that a sweep refers to: what it was given, what its stages have left, and what those that are open can go on from.
    #[must_use]
    pub fn files(&self) -> HashSet<ContentHash> {
        let mut files = HashSet::new();
        for sweep in self.sweeps.iter().filter(|sweep| !sweep.forgotten) {
            let info = &sweep.plan.sweep;
            files.insert(info.data.hash);
            files.extend(info.weights.as_ref().map(|weights| weights.hash));
            files.extend(sweep.plan.all_given().flat_map(|given| given.values()).map(|artifact| artifact.hash));
            for stage in &sweep.stages {
                let stage = &self.stages[stage.index()];
                let left = stage.outcome().into_iter().flat_map(Packed::artifacts);
                files.extend(left.map(|(_, artifact)| artifact.hash));
                files.extend(stage.checkpoint.as_ref().map(|checkpoint| checkpoint.state.hash));
            }
        }
        files
    }

    /// The plan of a sweep, as first submitted.
    #[must_use]
    pub fn plan(&self, id: &SweepId) -> Option<&Arc<PackedPlan>> {
        self.find(id).map(|sweep| &sweep.plan)
    }

    /// The trials of a sweep, in the order of its plan.
    pub fn trials(&self, id: &SweepId) -> Option<impl Iterator<Item = (Trial, TrialStatus)>> {
        let sweep = self.find(id)?;
        let states = sweep.trials.iter().enumerate();
        Some(sweep.plan.trials().zip(states.map(|(trial, state)| self.trial(sweep, trial, *state))))
    }

    fn trial(&self, sweep: &Sweep, trial: usize, state: TrialState) -> TrialStatus {
        match state {
            TrialState::Open => TrialStatus::Open,
            TrialState::Cancelled => TrialStatus::Ended(StageOutcome::Cancelled),
            TrialState::Ended => {
                let last = sweep.stages[sweep.plan.last_stage(trial)];
                self.stages[last.index()]
                    .outcome()
                    .map_or(TrialStatus::Open, |outcome| TrialStatus::Ended(outcome.unpack()))
            }
        }
    }

    /// Where a stage is; nothing if no sweep has it.
    #[must_use]
    pub fn stage(&self, key: &StageKey) -> Option<StageStatus> {
        let stage = &self.stages[self.stage_number(key)?.index()];
        Some(match &stage.state {
            StageState::Waiting { missing } => StageStatus::Waiting { missing: *missing },
            StageState::Parked => StageStatus::Parked,
            StageState::Ready => StageStatus::Ready,
            StageState::Leased { lease, attempt } => StageStatus::Leased { lease: lease_id(*lease), attempt: *attempt },
            StageState::Ended(outcome) => StageStatus::Ended(outcome.unpack()),
        })
    }

    /// All of a stage; nothing if no sweep has it.
    #[must_use]
    pub fn stage_detail(&self, key: &StageKey) -> Option<StageDetail> {
        let status = self.stage(key)?;
        let stage = &self.stages[self.stage_number(key)?.index()];
        let lease = if let StageState::Leased { lease, .. } = stage.state { self.leases.get(&lease) } else { None };
        Some(StageDetail {
            status,
            worker: lease.and_then(|lease| Some(self.workers.get(&lease.worker)?.id.clone())),
            failed_attempts: stage.failed(),
            attempts: stage.trouble.as_ref().map_or_else(Vec::new, |trouble| trouble.attempts.clone()),
            width_limit: (stage.width_limit != UNLIMITED).then_some(stage.width_limit),
            checkpoint: self.checkpoint(key),
            wanted: stage.wanted > 0,
            drains: stage.wanted > 0 && !self.gets_work(self.stage_number(key)?),
        })
    }

    /// Whether this life of the coordinator has just begun, and hands nothing out yet.
    #[must_use]
    pub const fn waits_for_workers(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// The optimiser steps of a stage; nothing if no sweep has it.
    #[must_use]
    pub fn lane_steps(&self, key: &StageKey) -> Option<u64> {
        Some(self.lane_steps_of(self.stage_number(key)?))
    }

    /// How a stage ended; nothing if it has not.
    #[must_use]
    pub fn outcome(&self, key: &StageKey) -> Option<StageOutcome> {
        let stage = &self.stages[self.stage_number(key)?.index()];
        Some(stage.outcome()?.unpack())
    }

    /// A stage as a lease carries it: with the files that were given and those that its parents made. Of two files with the
    /// same role, that of the later parent counts. Nothing if no sweep has the stage.
    #[must_use]
    pub fn stage_with_inputs(&self, key: &StageKey) -> Option<StageWithInputs> {
        let stage = &self.stages[self.stage_number(key)?.index()];
        let (plan, position) = (&self.sweeps[stage.home.index()].plan, stage.position as usize);
        let mut inputs = plan.given(position);
        for parent in self.parents_of(stage) {
            if let Some(outcome) = self.stages[parent.index()].outcome() {
                inputs.extend(outcome.artifacts());
            }
        }
        Some(StageWithInputs { key: *key, spec: plan.spec(position), inputs })
    }

    /// What the next attempt at a stage goes on from; nothing: it begins at its beginning, or the stage has ended.
    #[must_use]
    pub fn checkpoint(&self, key: &StageKey) -> Option<Checkpoint> {
        self.stages[self.stage_number(key)?.index()].checkpoint.as_deref().copied()
    }

    /// The stages of a sweep that failed by themselves, in the order of its plan; nothing if there is no such sweep.
    #[must_use]
    pub fn failed(&self, sweep: &SweepId) -> Option<Vec<StageKey>> {
        self.sweep_numbers.get(sweep).map(|number| self.failed_stages(*number))
    }

    /// The sweeps that list a stage, in no particular order.
    #[must_use]
    pub fn sweeps_of(&self, key: &StageKey) -> Vec<SweepId> {
        let id = |sweep: SweepNumber| self.sweeps[sweep.index()].plan.sweep.id.clone();
        let stage = self.stage_number(key).map(|number| &self.stages[number.index()]);
        stage.map_or_else(Vec::new, |stage| stage.sweeps().map(id).collect())
    }

    /// The stages that still wait for a lease.
    #[must_use]
    pub fn stages_of(&self, lease: &LeaseId) -> Vec<StageKey> {
        let lease = lease_number(lease).and_then(|number| self.leases.get(&number));
        let key = |stage: &StageNumber| self.key_of(*stage);
        lease.map_or_else(Vec::new, |lease| lease.open.iter().map(key).collect())
    }

    /// Stages that wait for a slot, what to ask for more workers by: not those of sweeps that drain.
    #[must_use]
    pub fn ready_stages(&self) -> usize {
        let waiting = self.ready.sweeps().filter(|sweep| !self.sweeps[sweep.index()].share.drains);
        waiting.map(|sweep| self.ready.count_in(sweep)).sum()
    }

    /// The workers that are attached, in the order of joining.
    pub fn workers(&self) -> impl Iterator<Item = WorkerStatus> {
        self.workers.values().map(|worker| self.worker_status(worker))
    }

    fn worker_status(&self, worker: &Worker) -> WorkerStatus {
        let slots = worker.slots.get();
        let free = u32::try_from(worker.free_slots()).unwrap_or(u32::MAX);
        let open = worker.leases.iter().filter_map(|lease| self.leases.get(lease)).map(|lease| lease.open.len());
        let measured = worker.widths.iter().filter_map(|(class, width)| match width {
            Width::Measured { lanes, lane_steps_per_second } => {
                Some((self.classes[class.index()].clone(), lanes.get(), *lane_steps_per_second))
            }
            Width::Asked { .. } | Width::Assumed => None,
        });
        WorkerStatus {
            id: worker.id.clone(),
            name: worker.name.clone(),
            device: worker.device.clone(),
            slots,
            busy_slots: slots.saturating_sub(free),
            leased_stages: u32::try_from(open.sum::<usize>()).unwrap_or(u32::MAX),
            stages_completed: worker.stages_completed,
            measured: measured.collect(),
            leaving: worker.leaving,
            away: worker.away_since.is_some(),
            quarantined: worker.health.quarantined(),
            rests: worker.health.rests(),
            last_seen: worker.last_seen,
        }
    }

    fn status_of(&self, sweep: &Sweep) -> SweepStatus {
        let runs = sweep.state == SweepState::Running;
        SweepStatus { held: if runs { self.held(sweep) } else { None }, ..sweep.status() }
    }

    /// Why nothing of a running sweep is handed out: the coordinator has no room, or bundle after bundle failed on every worker.
    fn held(&self, sweep: &Sweep) -> Option<String> {
        if self.is_full() {
            return Some("the coordinator's disk is full; free some, and it goes on by itself".to_owned());
        }
        let mut workers = self.workers.values().filter(|worker| !worker.leaving);
        let all_out = workers.clone().all(|worker| worker.health.is_quarantined());
        let first = workers.next().filter(|_| all_out && sweep.leased == 0)?;
        let who = match workers.count() {
            0 => format!("worker {} gets nothing for a while", first.name),
            1 => format!("worker {} gets nothing for a while, nor does the other one", first.name),
            others => format!("worker {} gets nothing for a while, nor does any of the {others} others", first.name),
        };
        Some(format!("{who}: {}", first.health.quarantined().unwrap_or_default()))
    }

    fn find(&self, id: &SweepId) -> Option<&Sweep> {
        self.sweep_numbers.get(id).map(|number| &self.sweeps[number.index()])
    }
}

impl Sweep {
    fn status(&self) -> SweepStatus {
        SweepStatus {
            id: self.plan.sweep.id.clone(),
            name: self.plan.sweep.name.clone(),
            state: self.state.clone(),
            trials: self.trials.len() as u64,
            trials_completed: self.tally.completed,
            trials_failed: self.tally.failed,
            stages: self.stages.len() as u64,
            stages_ended: self.stages_ended,
            stages_leased: self.leased,
            stages_computed: self.computed,
            lane_steps: self.lane_steps,
            lane_steps_ended: self.lane_steps_ended,
            submitted_at: self.submitted_at,
            ended_at: self.ended_at,
            share: self.share,
            workers: self.workers.len(),
            at_limit: self.is_at_limit(),
            held: None,
        }
    }
}
