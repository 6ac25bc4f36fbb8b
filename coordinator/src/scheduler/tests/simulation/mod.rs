//! Whole lives, simulated: the real core, the protocol of the workers, and a network, disk and clock that fail. A life is made of its
//! number alone, so that any can be lived again: `SECATEUR_LIFE=17`.
//!
//! Messages are late; connections break between any two of them, and each end notices in its own time; a worker that attaches again
//! overtakes what its old connection still carries; the coordinator dies before, within and after any write; workers die, freeze, drain
//! and hang; disks are full; clocks jump. What must hold is worked out afresh all along: see [`oracle`].

mod coordinator;
mod lives;
mod machine;
mod oracle;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use self::{
    coordinator::Crash,
    machine::{Machine, Said, Told},
    oracle::Violation,
};
use super::{
    world::{self, Nature},
    *,
};
use crate::scheduler::fault_injection::Fault;

/// Faults happen within so many milliseconds of the beginning.
const FAULTS_WITHIN: u64 = 60_000;

/// So long a life may last, in its own milliseconds: an hour.
const LONGEST: u64 = 3_600_000;

/// Three sweeps over overlapping parts of one grid, of 55 trials together.
static PLANS: LazyLock<Vec<Arc<PackedPlan>>> = LazyLock::new(|| {
    vec![grid("a", &["x"], 0..5, 0..4), grid("b", &["x", "y"], 3..6, 2..5), grid("c", &["y"], 0..3, 0..1)]
});

/// What each of them is extended by, in order: stages that it has, and new ones.
static PARTS: LazyLock<Vec<Vec<Arc<PackedPlan>>>> = LazyLock::new(|| {
    vec![
        vec![grid_part("a", 100, &["x"], 4..6, 3..5)],
        vec![grid_part("b", 100, &["y"], 2..3, 0..2), grid_part("b", 200, &["x"], 6..7, 0..0)],
        vec![],
    ]
});

/// Something that happens at its time.
#[derive(Debug)]
enum What {
    /// A message of a worker arrives at the coordinator.
    Said(usize, Said),
    /// A message of the coordinator arrives at a worker.
    Told(usize, Told),
    /// The coordinator notices that a connection is gone.
    ClosedHere(usize),
    /// The worker does.
    ClosedThere(usize),
    /// A worker's process tries to connect.
    Connects(usize, u32),
    /// A stage of a lease has been worked on.
    Done { machine: usize, process: u32, lease: LeaseId, stage: StageKey, attempt: u32 },
    /// A stage of a lease has been worked on in part, for so many epochs.
    Keeps { machine: usize, process: u32, lease: LeaseId, stage: StageKey, epochs: u32 },
    /// All stages of a lease have.
    Over { machine: usize, process: u32, lease: LeaseId },
    /// The process of a lease dies of what it works on.
    Killed { machine: usize, process: u32, lease: LeaseId },
    /// A worker says that it lives.
    Beats(usize, u32),
    /// The coordinator writes what has happened.
    Writes(u32),
    /// The coordinator looks at its clock.
    Ticks(u32),
    /// The coordinator starts again.
    Restarts,
    /// A person submits a sweep.
    Submits(usize),
    /// A person extends it by all there is, or part of that.
    Extends(usize),
    /// And closes it, if it has all.
    Closes(usize),
    /// A person uncordons a worker.
    Uncordons(usize),
    /// Something goes wrong.
    Fails,
}

/// What a stage truly comes to: most complete, so that there is much to do.
fn nature(key: StageKey, salt: u8) -> Nature {
    let gentle = ContentHash::of(&[key.0.as_bytes().as_slice(), &[salt], b"gentle"].concat());
    if gentle.as_bytes()[0].is_multiple_of(4) { world::nature(key, salt) } else { Nature::Completes }
}

struct Connection {
    machine: usize,
    process: u32,
    worker: Option<WorkerId>,
    open_here: bool,
    open_there: bool,
    /// When the last message to either end arrives: there is one order.
    last: [u64; 2],
    /// Nothing arrives after that.
    cut_at: u64,
}

struct Life {
    number: u64,
    random: ChaCha8Rng,
    salt: u8,
    now: u64,
    next: u64,
    queue: BTreeMap<(u64, u64), What>,
    connections: Vec<Connection>,
    machines: Vec<Machine>,
    coordinator: coordinator::Coordinator,
    oracle: oracle::Oracle,
    /// Stages that fail to store what they made, and such that never end.
    spoiled: BTreeSet<(LeaseId, StageKey)>,
    hung: BTreeSet<LeaseId>,
    /// Results for which the coordinator had no room.
    waiting: BTreeSet<(LeaseId, StageKey)>,
    faults: u32,
}

/// What became of a life, or of many.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    faults: u64,
    computed: u64,
    repeated: u64,
    snapshots: u64,
}

impl Life {
    fn new(number: u64, faults: bool, bug: Option<Fault>) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(number);
        let policy = Policy {
            reattach_ms: if random.random_bool(0.7) { 10_000 } else { 0 },
            stuck_ms: random.random_bool(0.5).then_some(40_000),
            calibration_ms: 20_000,
            unconfirmed_ms: 30_000,
            quarantine_after: random.random_bool(0.3).then(|| lanes(2)),
            quarantine_ms: 20_000,
            pause_ms: 1000 * u64::from(random.random_bool(0.5)),
            ..Policy::default()
        };
        let salt = random.random();
        let mut life = Self {
            number,
            salt,
            now: 0,
            next: 0,
            queue: BTreeMap::new(),
            connections: vec![],
            machines: vec![],
            coordinator: coordinator::Coordinator::new(policy, bug),
            oracle: oracle::Oracle::default(),
            spoiled: BTreeSet::new(),
            hung: BTreeSet::new(),
            waiting: BTreeSet::new(),
            faults: 0,
            random,
        };
        life.at(0, What::Restarts);
        for machine in 0..life.random.random_range(2..=4) {
            let slots = life.random.random_range(1..=3);
            life.machines.push(Machine::new(format!("m{machine}"), slots));
            let start = life.random.random_range(1..5_000);
            life.at(start, What::Connects(machine, 0));
        }
        for sweep in 0..PLANS.len() {
            let start = life.random.random_range(1..20_000);
            life.at(start, What::Submits(sweep));
            let (extends, closes) = (life.random.random_range(1..60_000), life.random.random_range(1..90_000));
            life.at(start + extends, What::Extends(sweep));
            life.at(start + closes, What::Closes(sweep));
        }
        let faults = if faults { life.random.random_range(5..=12) } else { 0 };
        for _ in 0..faults {
            let time = life.random.random_range(1..FAULTS_WITHIN);
            life.at(time, What::Fails);
        }
        life
    }

    /// Lives it to the end.
    fn live(mut self) -> Result<Sum, Violation> {
        while let Some(((time, _), what)) = self.queue.pop_first() {
            self.now = time;
            if time > LONGEST {
                let workers: Vec<_> = self.coordinator.core().into_iter().flat_map(Core::workers).collect();
                return Err(Violation(format!("it does not come to an end: {workers:?}, {:?}", self.machines)));
            }
            self.happens(what)?;
            if time > FAULTS_WITHIN && self.coordinator.is_done() {
                self.oracle.check_end(&self.coordinator, self.salt)?;
                let (computed, repeated) = self.oracle.work();
                let snapshots = self.coordinator.snapshots;
                return Ok(Sum { faults: self.faults.into(), computed, repeated, snapshots });
            }
        }
        Err(Violation("nothing happens any more".to_owned()))
    }

    fn at(&mut self, time: u64, what: What) {
        self.queue.insert((time, self.next), what);
        self.next += 1;
    }

    fn after(&mut self, least: u64, most: u64, what: What) {
        let time = self.now + self.random.random_range(least..=most);
        self.at(time, what);
    }

    fn happens(&mut self, what: What) -> Result<(), Violation> {
        if let Some(machine) = self.machine_of(&what)
            && self.machines[machine].frozen_until > self.now
        {
            let thaws = self.machines[machine].frozen_until;
            self.at(thaws, what);
            return Ok(());
        }
        match what {
            What::Restarts => self.restarts()?,
            What::Writes(process) => self.writes(process)?,
            What::Ticks(process) if self.coordinator.runs(process) => {
                self.event(Event::Tick, None);
                self.after(3_000, 3_000, What::Ticks(process));
            }
            What::Said(connection, said) => self.said(connection, said),
            What::ClosedHere(connection) => self.closed_here(connection),
            What::Submits(sweep) => self.submits(sweep),
            What::Extends(sweep) => self.extends(sweep),
            What::Closes(sweep) => self.closes(sweep),
            What::Uncordons(machine) => self.uncordons(machine),
            What::Fails => self.fails(),
            What::Told(connection, told) => self.told(connection, told),
            What::ClosedThere(connection) => {
                let Connection { machine, process, .. } = self.connections[connection];
                self.connections[connection].open_there = false;
                let closed = &mut self.machines[machine];
                if closed.process == process && closed.connection == Some(connection) {
                    closed.connection = None;
                    self.after(100, 3_000, What::Connects(machine, process));
                }
            }
            What::Connects(machine, process) => self.connects(machine, process),
            What::Beats(machine, process) if self.machines[machine].process == process => {
                self.say(machine, vec![Said::Beat]);
                self.after(4_000, 5_000, What::Beats(machine, process));
            }
            What::Done { machine, process, lease, stage, attempt } if self.works(machine, process, &lease) => {
                let mut outcome = world::truth(stage, nature(stage, self.salt));
                if self.machines[machine].full_until > self.now {
                    outcome = StageOutcome::Failed(failure(FailureClass::NoSpace));
                } else if matches!(outcome, StageOutcome::Completed(_)) && self.coordinator.full_until > self.now {
                    self.waiting.insert((lease.clone(), stage));
                    self.say(machine, vec![Said::Waits { stage }]);
                    self.after(100, 5_000, What::Done { machine, process, lease, stage, attempt });
                    return Ok(());
                } else if self.spoiled.remove(&(lease.clone(), stage)) {
                    outcome = StageOutcome::Failed(failure(FailureClass::Storage));
                    self.oracle.spoiled(stage);
                } else {
                    self.oracle.computed(stage);
                }
                self.waiting.remove(&(lease.clone(), stage));
                let said = self.machines[machine].reports(&lease, stage, attempt, outcome);
                self.say(machine, said);
            }
            What::Keeps { machine, process, lease, stage, epochs } if self.works(machine, process, &lease) => {
                let epoch = self.machines[machine].done(&lease, stage) + epochs;
                self.oracle.taken(stage, epoch);
                let said = self.machines[machine].keeps(stage, epoch);
                self.say(machine, said);
            }
            What::Over { machine, process, lease }
                if self.works(machine, process, &lease) && self.waiting.iter().any(|(of, _)| *of == lease) =>
            {
                self.after(100, 5_000, What::Over { machine, process, lease });
            }
            What::Over { machine, process, lease } if self.works(machine, process, &lease) => {
                let said = self.machines[machine].ends(&lease, None);
                self.say(machine, said);
            }
            What::Killed { machine, process, lease } if self.works(machine, process, &lease) => {
                let said = self.machines[machine].ends(&lease, Some(failure(FailureClass::Executor)));
                self.say(machine, said);
            }
            What::Ticks(_)
            | What::Beats(..)
            | What::Done { .. }
            | What::Keeps { .. }
            | What::Over { .. }
            | What::Killed { .. } => {}
        }
        Ok(())
    }

    /// The machine on which something happens.
    fn machine_of(&self, what: &What) -> Option<usize> {
        match what {
            What::Told(connection, _) | What::ClosedThere(connection) => Some(self.connections[*connection].machine),
            What::Connects(machine, _)
            | What::Beats(machine, _)
            | What::Done { machine, .. }
            | What::Keeps { machine, .. }
            | What::Over { machine, .. }
            | What::Killed { machine, .. } => Some(*machine),
            _ => None,
        }
    }

    fn works(&self, machine: usize, process: u32, lease: &LeaseId) -> bool {
        let at = &self.machines[machine];
        at.process == process && at.works_on(lease).is_some() && !self.hung.contains(lease)
    }

    fn connects(&mut self, machine: usize, process: u32) {
        let at = &self.machines[machine];
        if at.process != process || at.connection.is_some() {
            return;
        }
        if !self.coordinator.is_up() {
            return self.after(200, 1_000, What::Connects(machine, process));
        }
        let connection = self.connections.len();
        let (worker, last, cut_at) = (None, [0; 2], u64::MAX);
        self.connections.push(Connection { machine, process, worker, open_here: true, open_there: true, last, cut_at });
        self.machines[machine].connection = Some(connection);
        let said = self.machines[machine].attach();
        self.say(machine, said);
        self.after(1_000, 2_000, What::Beats(machine, process));
    }

    /// When the next message on a connection arrives; nothing: it does not.
    fn arrives(&mut self, connection: usize, end: usize) -> Option<u64> {
        let late = if self.random.random_bool(0.05) { 2_000 } else { 40 };
        let time = self.now + self.random.random_range(1..=late);
        let at = &mut self.connections[connection];
        at.last[end] = at.last[end].max(time);
        (at.last[end] <= at.cut_at).then_some(at.last[end])
    }

    /// A machine says something, if it is connected.
    fn say(&mut self, machine: usize, said: Vec<Said>) {
        let Some(connection) = self.machines[machine].connection else { return };
        for said in said {
            if let Some(time) = self.arrives(connection, 0) {
                self.at(time, What::Said(connection, said));
            }
        }
    }

    fn told(&mut self, connection: usize, told: Told) {
        let Connection { machine, process, open_there, .. } = self.connections[connection];
        if !open_there || self.machines[machine].process != process {
            return;
        }
        let width = 1 + (machine as u32 * 2 + u32::from(self.salt)) % 6;
        let (said, begins) = self.machines[machine].hears(told, width);
        self.say(machine, said);
        if let Some(lease) = begins {
            self.begins(machine, process, &lease);
        }
        self.ends_if_drained(machine);
    }

    fn ends_if_drained(&mut self, machine: usize) {
        if self.machines[machine].is_drained() {
            self.dies(machine);
        }
    }

    /// A lease is worked on: its stages come to their ends one after the other, or its process dies of one of them.
    fn begins(&mut self, machine: usize, process: u32, lease: &LeaseId) {
        let stages = self.machines[machine].works_on(lease).unwrap_or_default().to_vec();
        let time = self.now + self.random.random_range(100..8_000);
        if stages.iter().any(|(key, _)| nature(*key, self.salt) == Nature::KillsItsExecutor) {
            return self.at(time, What::Killed { machine, process, lease: lease.clone() });
        }
        let mut time = time;
        for (stage, attempt) in stages {
            for epochs in 1..=self.random.random_range(0..=2) {
                let keeps = self.now + (time - self.now) * u64::from(epochs) / 3;
                self.at(keeps, What::Keeps { machine, process, lease: lease.clone(), stage, epochs });
            }
            self.at(time, What::Done { machine, process, lease: lease.clone(), stage, attempt });
            time += self.random.random_range(0..50);
        }
        self.at(time, What::Over { machine, process, lease: lease.clone() });
    }

    /// Nothing arrives on a connection any more. Each end notices in its own time, the coordinator perhaps by the silence alone.
    fn cut(&mut self, connection: usize) {
        let at = &mut self.connections[connection];
        at.cut_at = at.cut_at.min(self.now + self.random.random_range(0..50));
        let noticed = self.connections[connection].cut_at;
        let here = noticed + self.random.random_range(0..20_000);
        self.at(here, What::ClosedHere(connection));
        let there = noticed + self.random.random_range(0..3_000);
        self.at(there, What::ClosedThere(connection));
    }

    fn dies(&mut self, machine: usize) {
        if let Some(connection) = self.machines[machine].connection {
            self.cut(connection);
        }
        self.machines[machine].dies();
        let process = self.machines[machine].process;
        self.after(500, 20_000, What::Connects(machine, process));
    }

    /// A person wants something of the worker that runs on a machine, if one is attached.
    fn manages(&mut self, machine: usize, action: WorkerAction) {
        let connection = self.machines[machine].connection;
        if let Some(worker) = connection.and_then(|connection| self.connections[connection].worker.clone()) {
            self.event(Event::WorkerManaged { worker, action }, None);
        }
    }

    fn uncordons(&mut self, machine: usize) {
        self.manages(machine, WorkerAction::Uncordon);
        // Nobody knows whether it was taken; a person looks again.
        let is_cordoned = |core: &Core| core.workers().any(|worker| worker.cordoned_by.is_some());
        if self.machines[machine].cordoned || self.coordinator.core().is_none_or(is_cordoned) {
            self.after(5_000, 20_000, What::Uncordons(machine));
        }
    }

    fn fails(&mut self) {
        self.faults += 1;
        let machine = self.random.random_range(0..self.machines.len());
        let at_work = self.machines[machine].at_work();
        let lease = (!at_work.is_empty()).then(|| at_work[self.random.random_range(0..at_work.len())].clone());
        match (self.random.random_range(0..14), lease) {
            (0, _) => self.dies(machine),
            (1, _) => self.machines[machine].frozen_until = self.now + self.random.random_range(1_000..30_000),
            (2 | 3, _) => {
                if let Some(connection) = self.machines[machine].connection {
                    self.cut(connection);
                }
            }
            (4, _) => self.crash(),
            (5, _) => {
                let points = [Crash::BeforeWrite, Crash::WithinWrite, Crash::AfterWrite, Crash::AmidEffects];
                self.coordinator.crash_at = Some(points[self.random.random_range(0..points.len())]);
            }
            (6, _) => {
                let jump = self.random.random_range(0..7_200_000);
                self.coordinator.skew = jump;
            }
            (7, Some(lease)) => {
                let said = self.machines[machine].ends(&lease, Some(failure(FailureClass::Executor)));
                self.say(machine, said);
            }
            (8, Some(lease)) => {
                let stages = self.machines[machine].works_on(&lease).unwrap_or_default();
                let spoiled = stages.last().map(|(key, _)| (lease, *key));
                self.spoiled.extend(spoiled);
            }
            (9, Some(lease)) if self.coordinator.policy.stuck_ms.is_some() => _ = self.hung.insert(lease),
            (10, _) => {
                let said = self.machines[machine].drain();
                self.say(machine, said);
                self.ends_if_drained(machine);
            }
            (11, _) => self.coordinator.full_until = self.now + self.random.random_range(1_000..40_000),
            (12, _) => self.machines[machine].full_until = self.now + self.random.random_range(1_000..40_000),
            (13, _) => {
                let by = "a person".to_owned();
                let drains = self.random.random_bool(0.3);
                self.manages(machine, if drains { WorkerAction::Drain } else { WorkerAction::Cordon { by } });
                self.after(1_000, 30_000, What::Uncordons(machine));
            }
            _ => {
                let sweep = self.random.random_range(0..PLANS.len());
                let id = PLANS[sweep].sweep.id.clone();
                let drains = self.random.random_bool(0.5);
                let event = if drains {
                    Event::SweepDrainAsked { sweep: id, by: None }
                } else {
                    Event::SweepCancelled { sweep: id, by: None }
                };
                self.event(event, None);
                self.after(1_000, 10_000, What::Submits(sweep));
            }
        }
    }
}
