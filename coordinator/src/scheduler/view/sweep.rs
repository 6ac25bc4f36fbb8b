//! Views of sweeps and trials.

use std::{collections::HashMap, sync::Arc};

use secateur_proto::{
    ids::{StageKey, SweepId},
    outcome::StageOutcome,
};

use crate::{
    experiment::plan::{PackedPlan, Trial},
    scheduler::{
        core::Core,
        fleet::Worker,
        ledger::Sweep,
        message::{Person, Share, SweepState, Timestamp},
        numbers::SweepNumber,
        parts::Parts,
        turns::is_at_limit,
    },
};

/// The status of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepStatus {
    /// Its id.
    pub id: SweepId,
    /// Its name in the file.
    pub name: String,
    /// Whether more parts of its plan may follow.
    pub open: bool,
    /// Its state.
    pub state: SweepState,
    /// Trials of the plan.
    pub trials: u64,
    /// Trials that ended as completed.
    pub trials_completed: u64,
    /// Trials that ended in any other way.
    pub trials_failed: u64,
    /// Stages of the plan, each once.
    pub stages: u64,
    /// Stages that ended, in any way.
    pub stages_ended: u64,
    /// Stages that are leased now.
    pub stages_leased: u64,
    /// Stages that wait for a slot.
    pub stages_ready: u64,
    /// Stages completed in this life of the coordinator, as opposed to results that already existed.
    pub stages_computed: u64,
    /// Optimiser steps of all stages.
    pub lane_steps: u64,
    /// Optimiser steps of stages that have ended.
    pub lane_steps_ended: u64,
    /// When it was first submitted.
    pub submitted_at: Timestamp,
    /// When it last stopped running, or `None` while it runs.
    pub ended_at: Option<Timestamp>,
    /// Who submitted it first, if that was recorded.
    pub submitted_by: Option<Person>,
    /// Who cancelled it, or asked for it to drain, if that was recorded.
    pub cancelled_by: Option<Person>,
    /// Its share of the workers.
    pub share: Share,
    /// The number of workers with stages that run for it.
    pub workers: usize,
    /// Whether it has reached its limit of workers.
    pub at_limit: bool,
    /// Why none of its stages is leased, if that will not change by itself soon. For people.
    pub held: Option<String>,
    /// How far it is, if it adds seeds while results come in. For people.
    pub seeds: Option<String>,
}

/// The status of a trial.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialStatus {
    /// Its last stage has not ended.
    Open,
    /// How it ended.
    Ended(StageOutcome),
}

impl Core {
    /// The status of one sweep.
    #[must_use]
    pub fn sweep(&self, id: &SweepId) -> Option<SweepStatus> {
        let parts = self.parts();
        parts.find(id).map(|(number, sweep)| status(parts, number, sweep, parts.leased_of(number)))
    }

    /// The status of all sweeps, in the order of submission.
    pub fn sweeps(&self) -> impl Iterator<Item = SweepStatus> {
        let parts = self.parts();
        let mut leased: HashMap<SweepNumber, u64> = HashMap::new();
        for sweep in parts.leased().flat_map(|stage| parts.ledger.stage(stage).sweeps()) {
            *leased.entry(sweep).or_default() += 1;
        }
        parts
            .ledger
            .sweeps()
            .map(move |(number, sweep)| status(parts, number, sweep, leased.get(&number).copied().unwrap_or_default()))
    }

    /// Whether an open sweep has no open trial and waits for [`Event::SweepDecided`](crate::scheduler::Event::SweepDecided).
    #[must_use]
    pub fn awaits_decision(&self, id: &SweepId) -> bool {
        self.parts().find(id).is_some_and(|(_, sweep)| sweep.awaits_decision())
    }

    /// The running sweeps.
    pub fn running(&self) -> impl Iterator<Item = SweepId> {
        let running = self.parts().ledger.sweeps().filter(|(_, sweep)| sweep.is_running());
        running.map(|(_, sweep)| sweep.id().clone())
    }

    /// Whether there ever was a sweep, even a forgotten one. If not, nobody knows which files are needed.
    #[must_use]
    pub const fn has_had_sweeps(&self) -> bool {
        self.parts().ledger.has_had_sweeps()
    }

    /// The parts of a sweep's plan: the one that it was submitted with, and its extensions.
    pub fn plan_parts<'core>(
        &'core self,
        id: &SweepId,
    ) -> Option<impl Iterator<Item = &'core Arc<PackedPlan>> + use<'core>> {
        self.parts().find(id).map(|(_, sweep)| sweep.plan().iter())
    }

    /// The trials of a sweep, in the order of its plan.
    pub fn trials(&self, id: &SweepId) -> Option<impl Iterator<Item = (Trial, TrialStatus)>> {
        let parts = self.parts();
        let (_, sweep) = parts.find(id)?;
        Some(sweep.plan().trials().enumerate().map(move |(number, trial)| {
            let outcome = parts.ledger.trial_outcome(sweep, number);
            (trial, outcome.map_or(TrialStatus::Open, |outcome| TrialStatus::Ended(outcome.unpack())))
        }))
    }

    /// The stages of a sweep that failed by themselves, in the order of its plan, or `None` if there is no such sweep.
    #[must_use]
    pub fn failed(&self, sweep: &SweepId) -> Option<Vec<StageKey>> {
        let ledger = self.parts().ledger;
        ledger.find_sweep(sweep).map(|number| ledger.failed_stages(number))
    }
}

fn status(parts: Parts<'_>, number: SweepNumber, sweep: &Sweep, leased: u64) -> SweepStatus {
    let load = parts.fleet.load(number);
    SweepStatus {
        id: sweep.id().clone(),
        name: sweep.plan().last().sweep.name.clone(),
        open: sweep.is_open(),
        state: sweep.state().clone(),
        trials: sweep.trials().len() as u64,
        trials_completed: sweep.tally().completed,
        trials_failed: sweep.tally().failed,
        stages: sweep.stage_count() as u64,
        stages_ended: sweep.stages_ended(),
        stages_leased: leased,
        stages_ready: parts.ready.queues().count_in(number) as u64,
        stages_computed: load.map_or(0, |load| load.completed()),
        lane_steps: sweep.lane_steps(),
        lane_steps_ended: sweep.lane_steps_ended(),
        submitted_at: sweep.submitted_at(),
        ended_at: sweep.ended_at(),
        submitted_by: sweep.submitted_by().cloned(),
        cancelled_by: sweep.cancelled_by().cloned(),
        share: sweep.share(),
        workers: load.map_or(0, |load| load.workers()),
        at_limit: is_at_limit(parts, number),
        held: sweep.is_running().then(|| held(parts, leased)).flatten(),
        seeds: sweep.plan().last().sweep.seeds_so_far().filter(|_| sweep.is_open()),
    }
}

/// Why no stage of a running sweep is leased: the coordinator's disk is full, or all workers are quarantined or
/// cordoned.
fn held(parts: Parts<'_>, leased: u64) -> Option<String> {
    if parts.hold.is_full() {
        return Some("the coordinator's disk is full; it resumes once there is space".to_owned());
    }
    let mut workers = parts.fleet.workers().map(|(_, worker)| worker).filter(|worker| !worker.is_leaving());
    let is_out = |worker: &Worker| worker.health().is_quarantined() || worker.cordoned_by().is_some();
    let all_out = leased == 0 && workers.clone().all(is_out);
    let first = workers.next().filter(|_| all_out)?;
    let name = first.name();
    let why = match (first.cordoned_by(), first.health().quarantined()) {
        (Some(by), _) => format!("worker {name} is cordoned by {by}"),
        (None, reason) => format!("worker {name} is quarantined: {}", reason.unwrap_or_default()),
    };
    Some(match workers.count() {
        0 => why,
        others => format!("{why} (and all other workers, {others}, are cordoned or quarantined)"),
    })
}
