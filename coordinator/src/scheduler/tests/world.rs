//! A world in which anything can happen, in any order, with crashes between any two lines of the journal.
//!
//! What the stages are worth is decided beforehand by a hash (`Nature`); the harness plays workers that tell the truth late,
//! twice, or not at all, come back, and liars. At the end all sweeps are set going and every lease is answered: each trial must end
//! exactly once, as a naive reading of its plan says.

use std::collections::{BTreeMap, BTreeSet};

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
            Event::SweepCancelled { sweep } | Event::SweepDrainAsked { sweep } | Event::SweepRetried { sweep } => {
                Some(sweep)
            }
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
                Effect::Full(_) => {}
                Effect::Detach { worker, .. } => self.workers.retain(|known| *known != worker),
                Effect::TrialEnded { sweep, trial, outcome } => {
                    assert!(!self.ended_sweeps.contains(&sweep), "{trial} ended after its sweep {sweep}");
                    let before = self.announced.insert((sweep.clone(), trial.clone()), outcome);
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

    pub(super) fn submit(&mut self, number: usize, fate: Fate) {
        let plan = Arc::clone(&self.plans[number % self.plans.len()]);
        let open = (number / self.plans.len()).is_multiple_of(2);
        self.apply(&Event::SweepSubmitted { plan, share: Self::some_share(number), open }, fate);
    }

    /// A part comes, perhaps again, of a sweep that is there or not. One part may come before an earlier one.
    fn extend(&mut self, number: usize, part: usize, fate: Fate) {
        let parts = &self.parts[number % self.parts.len()];
        if !parts.is_empty() {
            let part = Arc::clone(&parts[part % parts.len()]);
            self.apply(&Event::SweepExtended { part }, fate);
        }
    }

    fn close(&mut self, number: usize, fate: Fate) {
        let sweep = self.plans[number % self.plans.len()].sweep.id.clone();
        self.apply(&Event::SweepClosed { sweep }, fate);
    }

    /// Some are changed, some are not; no sweep is held up for good.
    fn some_share(number: usize) -> ShareChange {
        let priority = (!number.is_multiple_of(4)).then_some((number % 3) as i32 - 1);
        ShareChange { priority, max_workers: number.is_multiple_of(2).then_some((number % 5) as u32) }
    }

    pub(super) fn join(&mut self, slots: u32, fate: Fate) {
        self.lab.now += 1;
        let id = worker(&format!("w{}-{}", self.lab.journal.len(), self.lab.now));
        self.apply(&joins(id.as_str(), id.as_str(), slots, &[]), fate);
        if fate == Fate::Lives {
            self.workers.push(id);
        }
    }

    /// A worker that was cut off attaches again, or one does so of which nobody has noticed that it was cut off. It knows which leases
    /// are its own, but for some that never reached it. Its instance is the first id that it had.
    fn rejoin(&mut self, a: usize, b: usize, fate: Fate) {
        let choice: Vec<&WorkerId> = self.away.iter().chain(&self.workers).collect();
        if choice.is_empty() {
            return;
        }
        let before = choice[a % choice.len()].clone();
        self.lab.now += 1;
        let instance = before.as_str().split('.').next().expect("the first part").to_owned();
        let id = worker(&format!("{instance}.{}", self.lab.now));
        let slots = 1 + (b % 3) as u32;
        let own = |given: &&mut Given| given.worker == before && !b.is_multiple_of(7);
        let mut held = vec![];
        for given in self.leases.iter_mut().rev().filter(own).take(slots as usize) {
            given.worker = id.clone();
            held.push(given.clone());
        }
        self.away.retain(|known| *known != before);
        self.workers.retain(|known| *known != before);
        self.asked.retain(|(asked, _)| *asked != before);
        self.apply(&joins(id.as_str(), &instance, slots, &held), fate);
        if fate == Fate::Lives { self.workers.push(id) } else { self.away.push(id) }
    }

    fn answer(&mut self, position: usize, width: u32, fate: Fate) {
        if self.asked.is_empty() {
            return;
        }
        let (id, class) = self.asked.swap_remove(position % self.asked.len());
        let class = class.parse().expect("an id");
        self.apply(&Event::Calibrated { worker: id, class, lanes: lanes(width), lane_steps_per_second: 1.0 }, fate);
    }

    /// What a worker that lives and tells the truth does with a lease.
    fn run(&mut self, given: &Given) {
        let deadly = given.keys().into_iter().any(|key| nature(key, self.salt) == Nature::KillsItsExecutor);
        if !deadly {
            for (position, key) in given.keys().into_iter().enumerate() {
                let outcome = truth(key, nature(key, self.salt));
                self.apply(&given.report(position, outcome), Fate::Lives);
            }
        }
        self.apply(&given.ended(deadly.then(|| failure(FailureClass::Executor))), Fate::Lives);
    }

    fn random_lease(&self, number: usize) -> Option<Given> {
        // The newer ones more often.
        let from = if number.is_multiple_of(3) { 0 } else { self.leases.len().saturating_sub(4) };
        let choice = &self.leases[from..];
        (!choice.is_empty()).then(|| choice[number % choice.len()].clone())
    }

    pub(super) fn act(&mut self, action: u8, a: usize, b: usize) {
        let fate = match b % 41 {
            0 => Fate::DiesBefore,
            1 => Fate::DiesAfter,
            _ => Fate::Lives,
        };
        self.lab.now += (b % 100) as u64;
        let given = self.random_lease(a);
        let some_worker = (!self.workers.is_empty()).then(|| self.workers[a % self.workers.len().max(1)].clone());
        match (action % 35, given, some_worker) {
            (0 | 1, ..) => self.join(1 + (a % 3) as u32, fate),
            (2 | 3, ..) => self.submit(a, fate),
            (4 | 5, ..) => self.answer(a, 1 + (b % 6) as u32, fate),
            (6, _, Some(id)) => {
                let departure = [Departure::Lost, Departure::Drained, Departure::Disconnected][b % 3];
                self.apply(&Event::WorkerLeft { worker: id.clone(), departure }, fate);
                self.workers.retain(|known| *known != id);
                if departure == Departure::Disconnected {
                    self.asked.retain(|(asked, _)| *asked != id);
                    self.away.push(id);
                }
            }
            (7..=9, Some(given), _) => {
                let position = b % given.stages.len();
                let key = given.stages[position].0;
                let nature = nature(key, self.salt);
                // Its executor does not get to report anything.
                if nature != Nature::KillsItsExecutor {
                    self.apply(&given.report(position, truth(key, nature)), fate);
                }
            }
            (10..=13, Some(given), _) => self.run(&given),
            (14, Some(given), _) => self.apply(&given.ended(None), fate),
            (15, Some(given), _) => self.apply(&given.ended(Some(failure(FailureClass::Executor))), fate),
            (16, Some(given), _) => {
                let outcome = if b.is_multiple_of(3) {
                    StageOutcome::Cancelled
                } else {
                    StageOutcome::Failed(failure(FailureClass::Storage))
                };
                self.apply(&given.report(b % given.stages.len(), outcome), fate);
            }
            (17, Some(given), Some(id)) if id != given.worker => {
                // A liar: says of another worker's lease that all is lost, and invents results.
                let forged = Given { worker: id, ..given };
                let position = b % forged.stages.len();
                self.apply(&forged.report(position, StageOutcome::Failed(failure(FailureClass::Input))), fate);
                self.apply(&forged.ended(None), fate);
                let plan = &self.plans[a % self.plans.len()];
                let key = plan.key(b % plan.stage_count());
                if matches!(self.lab.core.stage(&key), None | Some(StageStatus::Waiting { .. })) {
                    let forged = Given { stages: vec![(key, 1)], ..forged };
                    self.lab.rejects(&forged.report(0, completed(key)));
                }
            }
            (18, ..) => {
                let sweep = self.plans[a % self.plans.len()].sweep.id.clone();
                let event = if b.is_multiple_of(2) {
                    Event::SweepDrainAsked { sweep }
                } else {
                    Event::SweepCancelled { sweep }
                };
                self.apply(&event, fate);
            }
            (19, Some(given), _) => {
                let full = failure(FailureClass::NoSpace);
                let stage = given.stages[b % given.stages.len()].0;
                match a % 4 {
                    3 => self.apply(&Event::RoomChecked { is_enough: b.is_multiple_of(2) }, fate),
                    0 => self.apply(&given.ended(Some(full)), fate),
                    1 => self.apply(&given.report(b % given.stages.len(), StageOutcome::Failed(full)), fate),
                    _ => self.apply(&Event::ResultWaits { worker: given.worker, stage, bytes: 1 }, fate),
                }
            }
            (20 | 21, ..) => {
                let jump = [1, 5_000, 14_000, 16_000, 3_600_000][a % 5];
                self.lab.now = if b.is_multiple_of(11) { self.lab.now / 2 } else { self.lab.now + jump };
                self.apply(&Event::Tick, fate);
            }
            (22, _, Some(id)) => self.apply(&Event::Heartbeat { worker: id }, fate),
            (28, ..) => {
                let sweep = self.plans[a % self.plans.len()].sweep.id.clone();
                self.apply(&Event::SweepRetried { sweep }, fate);
            }
            (24 | 25, ..) => self.rejoin(a, b, fate),
            (26, _, Some(id)) => self.apply(&Event::WorkerDraining { worker: id }, fate),
            (27, Some(given), _) => {
                let stage = given.stages[b % given.stages.len()].0;
                self.apply(&Event::Progressed { worker: given.worker, stage }, fate);
            }
            (31, Some(given), _) => {
                let position = b % given.stages.len();
                let (key, epoch) = (given.stages[position].0, 1 + (a % 9) as u32);
                self.taken.insert((key, epoch));
                self.apply(&given.checkpointed(position, epoch), fate);
                // From whoever it comes who is there.
                let known = self.lab.core.checkpoint(&key).map_or(0, |checkpoint| checkpoint.epoch);
                let is_open =
                    matches!(self.lab.core.stage(&key), Some(StageStatus::Ready | StageStatus::Leased { .. }));
                if fate == Fate::Lives && is_open && self.workers.contains(&given.worker) {
                    assert!(known >= epoch, "{known} is kept and not {epoch}");
                }
            }
            (23, ..) => {
                // The last event was written in part. A life's beginning is on disk before anything is done in it.
                let begun = self.lab.journal.iter().rposition(|line| line.contains(r#"{"record":"started"}"#));
                let written = self.lab.journal.len().saturating_sub(a % 4);
                let least = begun.map_or(0, |begun| begun + 1).max(self.lab.beginning());
                self.lab.journal.truncate(written.max(least));
                self.restart();
            }
            (29, ..) => {
                let sweep = self.plans[a % self.plans.len()].sweep.id.clone();
                self.apply(&Event::SweepForgotten { sweep }, fate);
            }
            (30, ..) => {
                let sweep = self.plans[a % self.plans.len()].sweep.id.clone();
                self.apply(&Event::SweepShareChanged { sweep, share: Self::some_share(b) }, fate);
            }
            (32 | 33, ..) => self.extend(a, b, fate),
            (34, ..) => self.close(a, fate),
            // It dies within, or lives on.
            (31, ..) => {
                self.lab.take_snapshot(if b.is_multiple_of(3) { a % 7 } else { usize::MAX }, b.is_multiple_of(2));
                if b.is_multiple_of(5) {
                    self.restart();
                }
            }
            _ => {}
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

    /// How a stage must have ended: by its nature, unless something above it did not complete.
    fn oracle(&self, plan: &PackedPlan, key: StageKey) -> (&'static str, Option<FailureClass>) {
        let place = plan.keys().position(|stage| stage == key).expect("in the plan");
        for parent in plan.spec(place).parents() {
            match self.oracle(plan, parent).0 {
                "completed" => {}
                "failed" => return ("failed", Some(FailureClass::Upstream)),
                other => return (other, None),
            }
        }
        if let Some(StageOutcome::Failed(failure)) = self.lab.core.outcome(&key)
            && (failure.class.is_retryable() || failure.class == FailureClass::Poison)
        {
            assert_ne!(failure.class, FailureClass::NoSpace, "{key:?}");
            assert!(self.alone[&key] >= 3, "{key:?} was given up after {} leases alone", self.alone[&key]);
            return ("failed", Some(failure.class));
        }
        match nature(key, self.salt) {
            Nature::Completes => ("completed", None),
            Nature::Diverges => ("diverged", None),
            Nature::Collapses => ("collapsed", None),
            Nature::HasBadInput => ("failed", Some(FailureClass::Input)),
            Nature::KillsItsExecutor => panic!("{key:?} kills its executor and was not given up"),
        }
    }

    pub(super) fn check(&self) {
        for plan in &self.plans {
            let id = &plan.sweep.id;
            let status = self.lab.core.sweep(id).expect("submitted");
            assert_eq!(status.state, SweepState::Completed, "{status:?}");
            assert!(self.ended_sweeps.contains(id));
            assert_eq!(status.stages_ended, status.stages);
            let trials: usize = self.lab.core.plan_parts(id).expect("submitted").map(|plan| plan.trial_count()).sum();
            assert_eq!(status.trials, trials as u64);
            for (trial, status) in self.lab.core.trials(id).expect("submitted") {
                let announced = self.announced.get(&(id.clone(), trial.id.clone())).expect("was announced");
                assert_eq!(status, TrialStatus::Ended(announced.clone()));
                let last = *trial.stages.last().expect("has stages");
                let class = if let StageOutcome::Failed(failure) = announced { Some(failure.class) } else { None };
                let parts = self.lab.core.plan_parts(id).expect("submitted");
                let plan = parts.into_iter().find(|plan| plan.keys().any(|key| key == last)).expect("it is listed");
                assert_eq!((announced.name(), class), self.oracle(plan, last), "{} of {id}", trial.id);
            }
        }
    }
}
