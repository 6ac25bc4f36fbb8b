//! What can happen in the world: people, workers and time act, each with a fate of the coordinator's.

use super::*;

impl World {
    pub(in crate::scheduler::tests) fn submit(&mut self, number: usize, fate: Fate) {
        let plan = Arc::clone(&self.plans[number % self.plans.len()]);
        let open = (number / self.plans.len()).is_multiple_of(2);
        self.apply(&Event::SweepSubmitted { plan, share: Self::some_share(number), open, by: None }, fate);
    }

    /// A part comes, perhaps again, of a sweep that is there or not. One part may come before an earlier one.
    pub(in crate::scheduler::tests) fn extend(&mut self, number: usize, part: usize, fate: Fate) {
        let parts = &self.parts[number % self.parts.len()];
        if !parts.is_empty() {
            let part = Arc::clone(&parts[part % parts.len()]);
            self.apply(&Event::SweepExtended { part }, fate);
        }
    }

    pub(in crate::scheduler::tests) fn close(&mut self, number: usize, fate: Fate) {
        let sweep = self.plans[number % self.plans.len()].sweep.id.clone();
        self.apply(&Event::SweepClosed { sweep }, fate);
    }

    /// Some are changed, some are not; no sweep is held up for good.
    fn some_share(number: usize) -> ShareChange {
        let priority = (!number.is_multiple_of(4)).then_some((number % 3) as i32 - 1);
        ShareChange { priority, max_workers: number.is_multiple_of(2).then_some((number % 5) as u32) }
    }

    pub(in crate::scheduler::tests) fn join(&mut self, slots: u32, fate: Fate) {
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

    pub(in crate::scheduler::tests) fn answer(&mut self, position: usize, width: u32, fate: Fate) {
        if self.asked.is_empty() {
            return;
        }
        let (id, class) = self.asked.swap_remove(position % self.asked.len());
        let class = class.parse().expect("an id");
        self.apply(&Event::Calibrated { worker: id, class, lanes: lanes(width), lane_steps_per_second: 1.0 }, fate);
    }

    /// What a worker that lives and tells the truth does with a lease.
    pub(in crate::scheduler::tests) fn run(&mut self, given: &Given) {
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

    pub(in crate::scheduler::tests) fn act(&mut self, action: u8, a: usize, b: usize) {
        let fate = match b % 41 {
            0 => Fate::DiesBefore,
            1 => Fate::DiesAfter,
            _ => Fate::Lives,
        };
        self.lab.now += (b % 100) as u64;
        let given = self.random_lease(a);
        let some_worker = (!self.workers.is_empty()).then(|| self.workers[a % self.workers.len().max(1)].clone());
        match (action % 38, given, some_worker) {
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
                    Event::SweepDrainAsked { sweep, by: None }
                } else {
                    Event::SweepCancelled { sweep, by: None }
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
            (37, _, Some(worker)) => {
                let by = "somebody".to_owned();
                let action =
                    [WorkerAction::Cordon { by }, WorkerAction::Uncordon, WorkerAction::Drain].into_iter().nth(b % 3);
                let action = action.expect("one of three");
                self.apply(&Event::WorkerManaged { worker, action }, fate);
            }
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
            (35 | 36, ..) => {
                self.lab.take_snapshot(if b.is_multiple_of(3) { a % 7 } else { usize::MAX }, b.is_multiple_of(2));
                if b.is_multiple_of(5) {
                    self.restart();
                }
            }
            _ => {}
        }
    }
}
