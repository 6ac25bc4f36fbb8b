//! A world in which anything can happen, in any order, with crashes between any two lines of the journal.
//!
//! What the stages are worth is decided beforehand by a hash (`Nature`); the harness plays workers that tell the truth late,
//! twice, or not at all, come back, and liars. At the end all sweeps are set going and every lease is answered: each trial must end
//! exactly once, as a naive reading of its plan says.

use std::collections::{BTreeMap, BTreeSet};

mod acts;
mod oracle;

use super::*;
use crate::scheduler::{StageStatus, SweepState, TrialStatus};

/// What a stage truly comes to when it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    Completes,
    Diverges,
    Collapses,
    HasBadInput,
    KillsItsExecutor,
}

pub(super) fn nature(key: StageKey, salt: u8) -> Nature {
    let hash = ContentHash::of(&[key.0.as_bytes().as_slice(), &[salt]].concat());
    match hash.as_bytes()[0] % 16 {
        0 => Nature::Diverges,
        1 => Nature::Collapses,
        2 => Nature::HasBadInput,
        3 | 4 => Nature::KillsItsExecutor,
        _ => Nature::Completes,
    }
}

/// What its worker reports, or says of the lease if it does not get to report anything.
pub(super) fn truth(key: StageKey, nature: Nature) -> StageOutcome {
    match nature {
        Nature::Completes => completed(key),
        Nature::Diverges => StageOutcome::Diverged { step: 3 },
        Nature::Collapses => StageOutcome::Collapsed { layer: "layers.0".to_owned() },
        Nature::HasBadInput => StageOutcome::Failed(failure(FailureClass::Input)),
        Nature::KillsItsExecutor => StageOutcome::Failed(failure(FailureClass::Executor)),
    }
}

/// Three sweeps over overlapping parts of one grid.
fn plans() -> Vec<Arc<PackedPlan>> {
    vec![grid("a", &["x"], 0..3, 0..3), grid("b", &["x", "y"], 1..4, 2..4), grid("c", &["y"], 0..2, 0..1)]
}

/// What each of them is extended by: stages that it has, that another one has, and new ones.
fn parts() -> Vec<Vec<Arc<PackedPlan>>> {
    vec![
        vec![grid_part("a", 100, &["x"], 1..2, 3..5), grid_part("a", 200, &["x", "y"], 3..4, 2..3)],
        vec![grid_part("b", 100, &["y"], 0..1, 0..2)],
        vec![],
    ]
}

/// Less than the silence after which the clock is taken for one that was set.
const REATTACH_MS: u64 = 10_000;

/// The same.
const QUARANTINE_MS: u64 = 12_000;

/// Whether the coordinator survives an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    /// Before the records are written.
    DiesBefore,
    /// Before the effects are carried out.
    DiesAfter,
}

pub(super) struct World {
    pub(super) lab: Lab,
    salt: u8,
    plans: Vec<Arc<PackedPlan>>,
    /// What each of them is extended by, in order.
    parts: Vec<Vec<Arc<PackedPlan>>>,
    workers: Vec<WorkerId>,
    /// Workers whose stream broke, or whose coordinator died: they live and may attach again.
    away: Vec<WorkerId>,
    /// All leases ever handed out.
    pub(super) leases: Vec<Given>,
    /// Calibrations asked for and not answered.
    asked: Vec<(WorkerId, String)>,
    /// How often a stage was alone in a lease.
    alone: BTreeMap<StageKey, u32>,
    /// Trials whose end was announced in the current life of their sweep.
    announced: BTreeMap<(SweepId, TrialId), StageOutcome>,
    ended_sweeps: BTreeSet<SweepId>,
    /// Checkpoints that some worker has told of.
    taken: BTreeSet<(StageKey, u32)>,
}

impl World {
    pub(super) fn new(salt: u8) -> Self {
        let policy = Policy {
            stuck_ms: Some(40_000),
            calibration_ms: 20_000,
            // In every other world workers outlive their connection.
            reattach_ms: if salt.is_multiple_of(2) { REATTACH_MS } else { 0 },
            unconfirmed_ms: 30_000,
            quarantine_after: salt.is_multiple_of(3).then(|| lanes(2)),
            quarantine_ms: QUARANTINE_MS,
            pause_ms: if salt.is_multiple_of(5) { 1000 } else { 0 },
            ..Policy::default()
        };
        Self {
            lab: Lab::new(policy),
            salt,
            plans: plans(),
            parts: parts(),
            workers: vec![],
            away: vec![],
            leases: vec![],
            asked: vec![],
            alone: BTreeMap::new(),
            announced: BTreeMap::new(),
            ended_sweeps: BTreeSet::new(),
            taken: BTreeSet::new(),
        }
    }

    /// Applies an event. After every one the invariants hold, and the journal says what the core says.
    fn apply(&mut self, event: &Event, fate: Fate) {
        let lines = self.lab.journal.len();
        // What ended may go on in two ways: a halted sweep is resumed, a stopped one is cancelled.
        let goes_on = match event {
            Event::SweepSubmitted { plan, .. } | Event::SweepExtended { part: plan } => Some(&plan.sweep.id),
            Event::SweepCancelled { sweep, .. }
            | Event::SweepDrainAsked { sweep, .. }
            | Event::SweepRetried { sweep } => Some(sweep),
            _ => None,
        };
        let state = goes_on.and_then(|id| Some((id, self.lab.core.sweep(id)?.state)));
        let is_submission =
            matches!(event, Event::SweepSubmitted { .. } | Event::SweepExtended { .. } | Event::SweepRetried { .. });
        if let Event::SweepForgotten { sweep } = event
            && self.lab.core.sweep(sweep).is_some_and(|status| status.state != SweepState::Running)
        {
            // Submitted again it is a new sweep.
            self.announced.retain(|(of, _), _| of != sweep);
            self.ended_sweeps.remove(sweep);
        }
        match state {
            Some((id, SweepState::Stopped { .. })) => drop(self.ended_sweeps.remove(id)),
            Some((id, SweepState::Cancelled)) if is_submission => {
                self.announced.retain(|(of, _), outcome| of != id || *outcome != StageOutcome::Cancelled);
                self.ended_sweeps.remove(id);
            }
            _ => {}
        }
        let draining = self.draining();
        // `try_apply` checks the invariants, and that a rejected event changed nothing.
        let rejected = self.lab.try_apply(event).is_err();
        if let Event::SweepExtended { part } = event
            && self.lab.journal.len() > lines
        {
            // A completed sweep runs again.
            self.ended_sweeps.remove(&part.sweep.id);
        }
        if !matches!(event, Event::SweepCancelled { .. }) {
            for (id, under_way) in draining {
                let ended = self.lab.core.sweep(&id).is_none_or(|sweep| sweep.state == SweepState::Cancelled);
                assert!(!ended || under_way.is_empty(), "{id} was cancelled over {under_way:?}");
            }
        }
        assert_eq!(durable(&self.lab.restored()), durable(&self.lab.core), "after {event:?}");
        if matches!(event, Event::SweepRetried { .. }) {
            self.forget_what_is_open_again();
        }
        match fate {
            Fate::Lives => {
                if rejected {
                    self.lab.expect_nothing();
                }
                self.carry_out();
            }
            Fate::DiesBefore => {
                self.lab.journal.truncate(lines);
                self.restart();
            }
            Fate::DiesAfter => self.restart(),
        }
    }

    /// After a retry: trials of whatever sweeps are open again, or were only given up, and completed sweeps run.
    fn forget_what_is_open_again(&mut self) {
        for status in self.lab.core.sweeps() {
            if status.state == SweepState::Running {
                self.ended_sweeps.remove(&status.id);
            }
            for (trial, now) in self.lab.core.trials(&status.id).expect("a sweep") {
                let announced = (status.id.clone(), trial.id.clone());
                match now {
                    TrialStatus::Open => drop(self.announced.remove(&announced)),
                    TrialStatus::Ended(StageOutcome::Cancelled) => {
                        drop(self.announced.insert(announced, StageOutcome::Cancelled));
                    }
                    TrialStatus::Ended(_) => {}
                }
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.lab.effects.pop_front() {
            match effect {
                Effect::Calibrate { worker, class, .. } => self.asked.push((worker, class.to_string())),
                Effect::Lease { worker, lease, stages } => {
                    assert!(self.leases.iter().all(|given| given.lease != lease), "lease {lease} was used twice");
                    if let [(only, _)] = stages.as_slice() {
                        *self.alone.entry(*only).or_default() += 1;
                    }
                    for (key, _) in &stages {
                        assert!(!self.is_for_drained_sweeps_alone(key), "{key} is handed out for nobody");
                        if let Some(found) = self.lab.core.checkpoint(key) {
                            assert!(
                                self.taken.contains(&(*key, found.epoch)) && found == checkpoint(*key, found.epoch)
                            );
                        }
                    }
                    self.leases.push(Given { worker, lease, stages });
                }
                Effect::Revoke { worker, lease } => {
                    assert!(self.leases.iter().any(|given| given.lease == lease && given.worker == worker));
                }
                Effect::Quarantined { worker, .. } => {
                    let is_known = self.workers.contains(&worker) || self.away.contains(&worker);
                    assert!(is_known, "{worker} is not there");
                    assert!(self.salt.is_multiple_of(3), "nobody asked for it");
                }
                Effect::Full(_) | Effect::Cordon { .. } | Effect::Drain { .. } => {}
                Effect::Detach { worker, .. } => self.workers.retain(|known| *known != worker),
                Effect::TrialEnded { sweep, trial, outcome } => {
                    assert!(!self.ended_sweeps.contains(&sweep), "{trial} ended after its sweep {sweep}");
                    let before = self.announced.insert((sweep.clone(), trial.clone()), outcome.unpack());
                    assert_eq!(before, None, "{trial} of {sweep} ended twice");
                }
                Effect::SweepEnded { sweep, state } => {
                    assert_ne!(state, SweepState::Running);
                    assert!(self.ended_sweeps.insert(sweep.clone()), "{sweep} ended twice");
                }
            }
        }
    }

    /// The sweeps that drain, and of each the stages with workers.
    fn draining(&self) -> Vec<(SweepId, Vec<StageKey>)> {
        let core = &self.lab.core;
        let draining = core.sweeps().filter(|sweep| sweep.state == SweepState::Running && sweep.share.drains);
        let under_way = |sweep: &SweepId| {
            let keys: Vec<StageKey> = core.plan_parts(sweep).expect("a sweep").flat_map(|plan| plan.keys()).collect();
            let is_leased = |key: &StageKey| matches!(core.stage(key), Some(StageStatus::Leased { .. }));
            keys.into_iter().filter(is_leased).collect()
        };
        draining.map(|sweep| (sweep.id.clone(), under_way(&sweep.id))).collect()
    }

    /// Whether no running sweep that lists a stage still gets work.
    fn is_for_drained_sweeps_alone(&self, key: &StageKey) -> bool {
        let sweeps = self.lab.core.sweeps_of(key);
        let mut sweeps = sweeps.iter().map(|sweep| self.lab.core.sweep(sweep).expect("a sweep"));
        sweeps.all(|sweep| sweep.state != SweepState::Running || sweep.share.drains)
    }

    /// The coordinator dies and comes back: what was announced is read from the views.
    pub(super) fn restart(&mut self) {
        self.lab.restart();
        self.lab.expect_nothing();
        self.away.append(&mut self.workers);
        self.asked.clear();
        self.announced.clear();
        self.ended_sweeps.clear();
        for status in self.lab.core.sweeps() {
            for (trial, outcome) in self.lab.core.trials(&status.id).expect("a sweep") {
                if let TrialStatus::Ended(outcome) = outcome {
                    self.announced.insert((status.id.clone(), trial.id.clone()), outcome);
                }
            }
            if status.state != SweepState::Running {
                self.ended_sweeps.insert(status.id);
            }
        }
    }

    /// All sweeps run, a good worker comes, and everything is answered.
    pub(super) fn complete(&mut self) {
        for number in 0..self.plans.len() {
            self.submit(number, Fate::Lives);
            for part in 0..self.parts[number].len() {
                self.extend(number, part, Fate::Lives);
            }
            self.close(number, Fate::Lives);
        }
        self.join(2, Fate::Lives);
        // Nobody is waited for any longer.
        self.let_time_pass(REATTACH_MS + 1);
        let mut done = 0;
        // Each lease either ends a stage or halves a width: this is far more than enough.
        for _ in 0..1_000 {
            while !self.asked.is_empty() {
                self.answer(0, 4, Fate::Lives);
            }
            let is_running = |status: crate::scheduler::SweepStatus| status.state == SweepState::Running;
            for _ in 0..10 {
                if done == self.leases.len() && self.lab.core.sweeps().any(is_running) {
                    // All workers are in quarantine, or rest, or there was no room.
                    self.let_time_pass(QUARANTINE_MS + 1);
                }
            }
            let Some(given) = self.leases.get(done).cloned() else { break };
            done += 1;
            self.run(&given);
        }
        assert_eq!(done, self.leases.len(), "it goes round in circles");
    }

    /// In steps, the first of which may be taken for a clock that was set.
    fn let_time_pass(&mut self, step: u64) {
        for _ in 0..3 {
            self.lab.now += step;
            for id in self.workers.clone() {
                self.apply(&Event::Heartbeat { worker: id }, Fate::Lives);
            }
            self.apply(&Event::Tick, Fate::Lives);
        }
    }
}
