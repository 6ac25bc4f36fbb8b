//! The simulated shell of the coordinator: what happened is applied, written in batches, and then carried out; and it dies anywhere.

use super::{oracle::Watch, *};
use crate::scheduler::SweepState;

/// Where the coordinator dies in its next write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Crash {
    BeforeWrite,
    WithinWrite,
    AfterWrite,
    AmidEffects,
}

/// Records between two snapshots.
const BETWEEN_SNAPSHOTS: u64 = 30;

/// Whom an end is to be settled with, and which end.
type Settles = (usize, LeaseId, Option<StageKey>);

pub(super) struct Coordinator {
    pub(super) policy: Policy,
    /// Nothing while it is dead.
    core: Option<Core>,
    process: u32,
    disk: Vec<Entry>,
    inbox: Vec<(Event, Option<Settles>)>,
    writes: bool,
    pub(super) crash_at: Option<Crash>,
    /// What its clock is ahead by.
    pub(super) skew: u64,
    /// It has no room for results until then.
    pub(super) full_until: u64,
    connections: BTreeMap<WorkerId, usize>,
    workers: u64,
    applied: u64,
    /// Snapshots of which all lines were written.
    pub(super) snapshots: u64,
}

impl Coordinator {
    pub(super) fn new(policy: Policy, bug: Option<Fault>) -> Self {
        let policy = Policy { fault: bug, ..policy };
        Self {
            policy,
            core: None,
            process: 0,
            disk: vec![],
            inbox: vec![],
            writes: false,
            crash_at: None,
            skew: 0,
            full_until: 0,
            connections: BTreeMap::new(),
            workers: 0,
            applied: 0,
            snapshots: 0,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        self.core.is_some()
    }

    pub(super) const fn runs(&self, process: u32) -> bool {
        self.core.is_some() && self.process == process
    }

    pub(super) const fn core(&self) -> Option<&Core> {
        self.core.as_ref()
    }

    /// Whether all sweeps have completed, and all of that is written.
    pub(super) fn is_done(&self) -> bool {
        let core = self.core.as_ref();
        self.inbox.is_empty()
            && core.is_some_and(|core| {
                let parts = core.sweeps().filter_map(|sweep| core.plan_parts(&sweep.id)).flatten().count();
                core.sweeps().count() == PLANS.len()
                    && parts == PLANS.len() + PARTS.iter().flatten().count()
                    && core.sweeps().all(|sweep| sweep.state == SweepState::Completed)
            })
    }

    fn restore(&self) -> Result<Core, Violation> {
        let entries = self.disk.iter().cloned();
        Core::restore(self.policy.clone(), entries).map_err(|error| Violation(error.to_string()))
    }
}

impl Life {
    pub(super) fn restarts(&mut self) -> Result<(), Violation> {
        if self.coordinator.is_up() {
            return Ok(());
        }
        // Every so often what is on the disk goes through JSON.
        if self.number.is_multiple_of(64) {
            for entry in &mut self.coordinator.disk {
                *entry = as_text(entry.clone())?;
            }
        }
        let core = self.coordinator.restore()?;
        self.oracle.restarted(&core)?;
        self.coordinator.core = Some(core);
        self.coordinator.process += 1;
        self.coordinator.writes = false;
        self.coordinator.inbox.clear();
        self.coordinator.connections.clear();
        let process = self.coordinator.process;
        // Nothing happens before a life has begun on the disk.
        self.coordinator.inbox.push((Event::Started, None));
        let crash_at = self.coordinator.crash_at.take();
        self.writes(process)?;
        self.coordinator.crash_at = crash_at;
        self.after(1_000, 1_000, What::Ticks(process));
        Ok(())
    }

    /// The coordinator dies.
    pub(super) fn crash(&mut self) {
        if self.coordinator.core.take().is_none() {
            return;
        }
        self.coordinator.inbox.clear();
        self.coordinator.crash_at = None;
        for connection in 0..self.connections.len() {
            if std::mem::take(&mut self.connections[connection].open_here) {
                self.cut(connection);
            }
        }
        self.after(100, 15_000, What::Restarts);
    }

    /// Something happens to the coordinator; it is written in a while, with whatever comes until then.
    pub(super) fn event(&mut self, event: Event, settles: Option<Settles>) {
        if !self.coordinator.is_up() {
            return;
        }
        self.coordinator.inbox.push((event, settles));
        if !std::mem::replace(&mut self.coordinator.writes, true) {
            self.after(0, 5, What::Writes(self.coordinator.process));
        }
    }

    pub(super) fn said(&mut self, connection: usize, said: Said) {
        if !self.connections[connection].open_here {
            return;
        }
        if let Said::Hello { instance, slots, held, cordoned } = said {
            self.coordinator.workers += 1;
            let id = worker(&format!("w{}", self.coordinator.workers));
            self.connections[connection].worker = Some(id.clone());
            self.coordinator.connections.insert(id.clone(), connection);
            let joined = Event::WorkerJoined {
                worker: id,
                name: instance.clone(),
                instance: instance.parse().expect("an id"),
                device: "cpu".to_owned(),
                slots: lanes(slots),
                held,
                cordoned_by: cordoned.then(|| "a person".to_owned()),
            };
            return self.event(joined, None);
        }
        let Some(worker) = self.connections[connection].worker.clone() else { return };
        match said {
            Said::Hello { .. } => {}
            Said::Beat => self.event(Event::Heartbeat { worker }, None),
            Said::Waits { stage } => self.event(Event::ResultWaits { worker, stage, bytes: 1 }, None),
            Said::Draining => self.event(Event::WorkerDraining { worker }, None),
            Said::Calibrated { class, lanes: width } => {
                let class = class.parse().expect("an id");
                self.event(Event::Calibrated { worker, class, lanes: lanes(width), lane_steps_per_second: 1.0 }, None);
            }
            Said::Report { lease, stage, attempt, outcome } => {
                let settles = Some((connection, lease.clone(), Some(stage)));
                self.event(Event::StageReported { worker, lease, stage, attempt, outcome }, settles);
            }
            Said::Checkpointed { stage, epoch } => {
                let checkpoint = checkpoint(stage, epoch);
                self.event(Event::Checkpointed { worker, stage, checkpoint }, None);
            }
            Said::Ended { lease, failure } => {
                let settles = Some((connection, lease.clone(), None));
                self.event(Event::LeaseEnded { worker, lease, failure }, settles);
            }
        }
    }

    pub(super) fn closed_here(&mut self, connection: usize) {
        if std::mem::take(&mut self.connections[connection].open_here)
            && let Some(worker) = self.connections[connection].worker.clone()
        {
            self.event(Event::WorkerLeft { worker, departure: Departure::Disconnected }, None);
        }
    }

    pub(super) fn extends(&mut self, sweep: usize) {
        for part in &PARTS[sweep] {
            self.event(Event::SweepExtended { part: Arc::clone(part) }, None);
        }
        // Nobody knows whether it was taken; a person asks again.
        self.after(20_000, 60_000, What::Extends(sweep));
    }

    pub(super) fn closes(&mut self, sweep: usize) {
        self.event(Event::SweepClosed { sweep: PLANS[sweep].sweep.id.clone() }, None);
        self.after(20_000, 60_000, What::Closes(sweep));
    }

    pub(super) fn submits(&mut self, sweep: usize) {
        let share = ShareChange { priority: Some((self.number % 3) as i32 - sweep as i32), max_workers: None };
        let open = self.number.is_multiple_of(2);
        self.event(Event::SweepSubmitted { plan: Arc::clone(&PLANS[sweep]), share, open, by: None }, None);
        // Nobody knows whether it was taken; a person asks again.
        self.after(20_000, 30_000, What::Submits(sweep));
    }

    pub(super) fn writes(&mut self, process: u32) -> Result<(), Violation> {
        if !self.coordinator.runs(process) {
            return Ok(());
        }
        self.coordinator.writes = false;
        let at = Timestamp(1_000 + self.now + self.coordinator.skew);
        let (mut decisions, mut settled) = (vec![], vec![]);
        for (event, settles) in std::mem::take(&mut self.coordinator.inbox) {
            let Some(core) = &mut self.coordinator.core else { return Ok(()) };
            let watch = Watch::of(core, &event);
            // What makes no sense is refused, and there is enough of it.
            if let Ok(Decision { records, effects }) = core.apply(at, &event) {
                let entries: Vec<Entry> = records.into_iter().map(|record| Entry::new(at, record)).collect();
                decisions.push((entries, effects));
            }
            watch.check(core, &event)?;
            self.coordinator.applied += 1;
            if self.coordinator.applied.is_multiple_of(16) {
                core.check_invariants().map_err(|error| Violation(error.to_string()))?;
            }
            settled.extend(settles);
        }
        if self.coordinator.policy.fault == Some(Fault::EffectsFirst) {
            for (_, effects) in &mut decisions {
                self.carry_out(std::mem::take(effects))?;
            }
        }
        let count: usize = decisions.iter().map(|(entries, _)| entries.len()).sum();
        let crash = if count == 0 { None } else { self.coordinator.crash_at.take() };
        let mut writable = match crash {
            Some(Crash::BeforeWrite) => 0,
            Some(Crash::WithinWrite) => self.random.random_range(0..=count),
            Some(Crash::AfterWrite | Crash::AmidEffects) | None => count,
        };
        for (entries, _) in &mut decisions {
            entries.truncate(writable);
            writable -= entries.len();
            self.coordinator.disk.extend(entries.iter().cloned());
        }
        let effective = match crash {
            None => decisions.len(),
            Some(Crash::AmidEffects) => decisions.len() / 2,
            Some(_) => 0,
        };
        for (number, (entries, effects)) in decisions.into_iter().enumerate() {
            self.oracle.written(&entries)?;
            if number < effective {
                self.carry_out(effects)?;
            }
        }
        if crash.is_some() {
            self.crash();
            return Ok(());
        }
        for (connection, lease, stage) in settled {
            self.tell(connection, Told::Settled { lease, stage });
        }
        self.takes_snapshot()
    }

    /// Writes a snapshot if it is time, in which the coordinator may die at any line, or before what is older is removed.
    fn takes_snapshot(&mut self) -> Result<(), Violation> {
        let Some(core) = &mut self.coordinator.core else { return Ok(()) };
        if core.since_snapshot() < BETWEEN_SNAPSHOTS {
            return Ok(());
        }
        // Text takes most of a life's time, so that some alone are written as such.
        let is_text = self.random.random_bool(0.1);
        let snapshot = core.snapshot();
        let entries = snapshot.entries(Timestamp(1_000 + self.now));
        let entries = entries.map(|entry| if is_text { as_text(entry) } else { Ok(entry) });
        let mut entries = entries.collect::<Result<Vec<Entry>, _>>()?;
        core.snapshot_taken();
        let before = self.coordinator.disk.len();
        if self.faults > 0 && self.random.random_bool(0.2) {
            entries.truncate(self.random.random_range(0..=entries.len()));
            self.coordinator.disk.extend(entries);
            self.crash();
        } else {
            self.coordinator.disk.extend(entries);
            self.coordinator.disk.drain(..before);
            self.coordinator.snapshots += 1;
        }
        Ok(())
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), Violation> {
        for effect in effects {
            match effect {
                Effect::Calibrate { worker, class, .. } => {
                    self.tell_worker(&worker, Told::Calibrate { class: class.to_string() });
                }
                Effect::Lease { worker, lease, stages } => {
                    self.oracle.leased(&lease)?;
                    let mut done = vec![];
                    for (stage, _) in &stages {
                        done.push(self.oracle.goes_on(self.coordinator.core(), *stage)?);
                    }
                    self.tell_worker(&worker, Told::Lease { lease, stages, done });
                }
                Effect::Revoke { worker, lease } => self.tell_worker(&worker, Told::Revoke { lease }),
                Effect::Detach { worker, .. } => {
                    if let Some(connection) = self.coordinator.connections.get(&worker).copied() {
                        self.connections[connection].open_here = false;
                        self.cut(connection);
                    }
                }
                Effect::Cordon { worker, by } => {
                    self.tell_worker(&worker, Told::Cordon { cordoned: by.is_some() });
                }
                Effect::Drain { worker } => self.tell_worker(&worker, Told::Drain),
                Effect::Quarantined { .. } | Effect::Full(_) | Effect::SweepEnded { .. } => {}
                Effect::TrialEnded { sweep, trial, outcome } => {
                    self.oracle.announced(sweep, trial, outcome.unpack())?
                }
            }
        }
        Ok(())
    }

    fn tell_worker(&mut self, worker: &WorkerId, told: Told) {
        if let Some(connection) = self.coordinator.connections.get(worker).copied() {
            self.tell(connection, told);
        }
    }

    fn tell(&mut self, connection: usize, told: Told) {
        if self.connections[connection].open_here
            && let Some(time) = self.arrives(connection, 1)
        {
            self.at(time, What::Told(connection, told));
        }
    }
}

/// An entry as it is once it was written and read.
fn as_text(entry: Entry) -> Result<Entry, Violation> {
    let mut read = entries(entry.into_lines());
    let entry = read.next().ok_or_else(|| Violation("an entry is none once it is written".to_owned()))?;
    entry.map_err(|error| Violation(error.to_string()))
}
