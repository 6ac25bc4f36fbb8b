//! One life: hosts, faults at their times, and what must hold when all is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use secateur_proto::{
    ids::{ContentHash, StageKey},
    outcome::StageOutcome,
    v1::StageReport,
};
use tempfile::TempDir;
use tokio::sync::Notify;
use turmoil::Sim;

use super::{
    SWEEP,
    disk::{Crash, at_once},
    executor::{Nature, nature},
    hosts::{self, COORDINATOR, Machine},
    scene::Scene,
    wire::Breaks,
};
use crate::{
    journal::{Journal as _, Sqlite},
    scheduler::{Policy, SweepState, TrialStatus, fault_injection::Fault},
    server::DataDir,
};

/// The simulated network and clocks go on by so much at a time.
const STEP: Duration = Duration::from_millis(40);

/// Messages take at most so long, unless a link is slow.
const LATENCY: Duration = Duration::from_millis(100);

/// Faults happen within so many milliseconds.
const FAULTS_WITHIN: u64 = 30_000;

/// Then everything is well again.
const HEALED_AT: u64 = 36_000;

/// So many milliseconds a life may last: half an hour.
const LONGEST: u64 = 1_800_000;

/// Bytes of the checksum before a result that waits on a worker's disk.
const CHECKSUM: usize = 32;

const CLIENT: &str = "client";

/// What may go wrong in a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Faults {
    None,
    /// Connections break and are slow; nothing that is under way is lost.
    Gentle,
    All,
}

/// Something that happens at its time.
#[derive(Debug)]
enum What {
    Fails,
    /// A link is as it was.
    Mended(&'static str, String),
    Bounces(String),
    Heals,
}

/// What became of a life, or of many.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sum {
    pub(super) faults: u64,
    pub(super) done: u64,
    pub(super) repeated: u64,
    /// Snapshots before which the journal was removed.
    pub(super) snapshots: u64,
    /// Attempts that went on from a checkpoint.
    pub(super) gone_on: u64,
    /// Simulated milliseconds.
    pub(super) lasted: u64,
}

/// A life that came to its end.
#[derive(Debug)]
pub(super) struct Lived {
    pub(super) sum: Sum,
    /// What happened, as one number.
    pub(super) trace: ContentHash,
    /// Trials, cells and front of the report, without how often what failed was tried, and by whom.
    pub(super) results: serde_json::Value,
}

pub(super) struct Life<'a> {
    random: ChaCha8Rng,
    faults: Faults,
    scene: Arc<Scene>,
    sim: Sim<'a>,
    machines: Vec<Machine>,
    person: Breaks,
    cancel: Arc<Notify>,
    queue: BTreeMap<(u64, u64), What>,
    next: u64,
    /// Hosts that are down until they bounce.
    down: BTreeSet<String>,
    /// Results that wait on the disks of workers.
    waiting: BTreeMap<PathBuf, (String, StageKey)>,
    sum: Sum,
    folder: TempDir,
}

/// Salts that a life may have.
pub(super) const SALTS: u8 = 8;

/// The salt of a life, which decides what its stages come to.
pub(super) const fn salt(number: u64) -> u8 {
    (number % SALTS as u64) as u8
}

/// A folder for the files of a life; in memory where the system has one for that, since disks are not what is tested.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a temporary folder")
}

impl Life<'_> {
    pub(super) fn new(number: u64, faults: Faults, bug: Option<Fault>) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(number);
        let policy = Policy {
            reattach_ms: if faults != Faults::All || random.random_bool(0.7) { 10_000 } else { 0 },
            stuck_ms: random.random_bool(0.5).then_some(20_000),
            calibration_ms: 15_000,
            unconfirmed_ms: 15_000,
            quarantine_after: random.random_bool(0.3).then(|| NonZeroU32::MIN.saturating_add(2)),
            quarantine_ms: 10_000,
            pause_ms: 1000 * u64::from(random.random_bool(0.5)),
            fault: bug,
            ..Policy::default()
        };
        let scene = Arc::new(Scene::new(number, salt(number), faults == Faults::All, policy));
        let folder = scratch();
        let mut sim = turmoil::Builder::new()
            .rng_seed(number)
            .epoch(UNIX_EPOCH + Duration::from_secs(1_700_000_000))
            .tick_duration(STEP)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(LATENCY)
            .simulation_duration(Duration::from_millis(2 * LONGEST))
            .enable_random_order()
            .build();
        hosts::skew(Duration::ZERO);
        let (at, of) = (folder.path().join(COORDINATOR), Arc::clone(&scene));
        sim.host(COORDINATOR, move || hosts::coordinator(Arc::clone(&of), at.clone()));
        let mut machines = vec![];
        for number in 0..random.random_range(2..=3) {
            let machine = Machine {
                name: format!("w{number}"),
                folder: folder.path().join(format!("w{number}")),
                slots: random.random_range(1..=2),
                lanes: random.random_bool(0.5).then(|| random.random_range(1..=4)),
                breaks: Breaks::default(),
                drain: Arc::default(),
                processes: Arc::default(),
            };
            let (of, on) = (Arc::clone(&scene), machine.clone());
            sim.host(machine.name.as_str(), move || hosts::worker(Arc::clone(&of), on.clone()));
            machines.push(machine);
        }
        let (person, cancel) = (Breaks::default(), Arc::new(Notify::new()));
        sim.client(CLIENT, hosts::person(Arc::clone(&scene), person.clone(), Arc::clone(&cancel)));
        let mut life = Self {
            faults,
            scene,
            sim,
            machines,
            person,
            cancel,
            queue: BTreeMap::new(),
            next: 0,
            down: BTreeSet::new(),
            waiting: BTreeMap::new(),
            sum: Sum::default(),
            folder,
            random,
        };
        if faults != Faults::None {
            for _ in 0..life.random.random_range(4..=10) {
                let time = life.random.random_range(300..FAULTS_WITHIN);
                life.at(time, What::Fails);
            }
            life.at(HEALED_AT, What::Heals);
        }
        life
    }

    /// Lives it to the end.
    pub(super) fn live(mut self) -> Result<Lived, String> {
        let mut steps = 0_u64;
        loop {
            let now = self.now();
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= now) {
                let what = entry.remove();
                self.happens(what);
            }
            let done = self.sim.step().map_err(|error| format!("a host failed: {error}\n{}", self.scene.told()))?;
            self.bury();
            steps += 1;
            if steps.is_multiple_of(4) || done {
                self.look_at_outboxes();
            }
            if let Some(violation) = self.scene.violation() {
                return Err(violation);
            }
            if done {
                return self.ends();
            }
            if now > LONGEST {
                return Err(format!("it does not come to an end\n{}", self.scene.told()));
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn at(&mut self, time: u64, what: What) {
        self.queue.insert((time, self.next), what);
        self.next += 1;
    }

    fn after(&mut self, least: u64, most: u64, what: What) {
        let time = self.now() + self.random.random_range(least..=most);
        self.at(time, what);
    }

    fn happens(&mut self, what: What) {
        self.scene.note(format_args!("{} {what:?}", self.now()));
        match what {
            What::Fails => {
                self.sum.faults += 1;
                if self.faults == Faults::Gentle { self.fails_gently() } else { self.fails() }
            }
            What::Mended(end, other) => {
                self.sim.release(end, other.as_str());
                self.sim.set_link_max_message_latency(end, other.as_str(), LATENCY);
            }
            What::Bounces(host) => self.bounces(&host),
            What::Heals => self.heals(),
        }
    }

    fn bounces(&mut self, host: &str) {
        if self.down.remove(host) {
            self.sim.bounce(host);
        }
    }

    fn heals(&mut self) {
        self.scene.heal();
        for other in self.others() {
            self.happens(What::Mended(COORDINATOR, other));
        }
        for host in std::mem::take(&mut self.down) {
            self.sim.bounce(host.as_str());
        }
    }

    /// Whoever talks to the coordinator.
    fn others(&self) -> Vec<String> {
        self.machines.iter().map(|machine| machine.name.clone()).chain([CLIENT.to_owned()]).collect()
    }

    /// A host crashes, and comes back.
    fn crashes(&mut self, host: &str) {
        if !self.down.insert(host.to_owned()) {
            return;
        }
        // A process that dies leaves a system that says so; a machine that dies does not. Either way nothing is to depend on the order
        // in which tokio drops tasks: it comes from numbers that it counts through the whole test program.
        let is_heard = self.random.random_bool(0.5);
        self.scene.note(format_args!("{} {host} crashes, heard {is_heard}", self.now()));
        let others = if host == COORDINATOR { self.others() } else { vec![COORDINATOR.to_owned()] };
        for other in &others {
            if is_heard { self.sim.hold(host, other.as_str()) } else { self.sim.partition(host, other.as_str()) }
        }
        self.sim.crash(host);
        for other in &others {
            self.sim.release(host, other.as_str());
        }
        self.after(200, 12_000, What::Bounces(host.to_owned()));
    }

    /// Who has ended stays down for a while.
    fn bury(&mut self) {
        for host in self.scene.take_ended() {
            self.crashes(&host);
        }
    }

    /// Somebody who talks to the coordinator: a worker, or at times the client.
    fn somebody(&mut self) -> String {
        let number = self.random.random_range(0..=self.machines.len());
        self.machines.get(number).map_or_else(|| CLIENT.to_owned(), |machine| machine.name.clone())
    }

    fn breaks(&mut self, host: &str) {
        match self.machines.iter().find(|machine| machine.name == host) {
            Some(machine) => machine.breaks.add(),
            None => self.person.add(),
        }
    }

    fn slow(&mut self, host: &str, milliseconds: u64) {
        self.sim.set_link_max_message_latency(COORDINATOR, host, Duration::from_millis(milliseconds));
        self.after(1_000, 8_000, What::Mended(COORDINATOR, host.to_owned()));
    }

    fn holds(&mut self, host: &str, longest: u64) {
        self.sim.hold(COORDINATOR, host);
        self.after(100, longest, What::Mended(COORDINATOR, host.to_owned()));
    }

    /// What a worker's attachment gets over without losing anything.
    fn fails_gently(&mut self) {
        let host = self.somebody();
        match self.random.random_range(0..3) {
            0 => self.breaks(&host),
            1 => self.slow(&host, 600),
            _ => self.holds(&host, 2_000),
        }
    }

    fn fails(&mut self) {
        let host = self.somebody();
        let machine = self.random.random_range(0..self.machines.len());
        let worker = self.machines[machine].name.clone();
        match self.random.random_range(0..14) {
            0 => self.breaks(&host),
            1 => self.slow(&host, 1_500),
            2 => self.holds(&host, 25_000),
            kind @ 3..=5 => {
                match kind {
                    3 => self.sim.partition(COORDINATOR, host.as_str()),
                    4 => self.sim.partition_oneway(COORDINATOR, host.as_str()),
                    _ => self.sim.partition_oneway(host.as_str(), COORDINATOR),
                }
                self.after(100, 20_000, What::Mended(COORDINATOR, host));
            }
            6 => self.crashes(&worker),
            7 => self.crashes(COORDINATOR),
            8 => self.scene.crash_at(Crash::BeforeWrite),
            9 => self.scene.crash_at(Crash::AfterWrite),
            10 => self.scene.kill(&worker),
            11 if self.scene.policy().stuck_ms.is_some() => self.scene.hang(&worker),
            11 => hosts::skew(Duration::from_millis(self.random.random_range(0..7_200_000))),
            12 => self.machines[machine].drain.notify_waiters(),
            _ => self.cancel.notify_waiters(),
        }
    }

    /// What is gone from a worker's disk, the coordinator has told it to forget.
    fn look_at_outboxes(&mut self) {
        let mut found = BTreeMap::new();
        for machine in &self.machines {
            let files = std::fs::read_dir(machine.outbox().join("cpu")).into_iter().flatten().flatten();
            for path in files.map(|file| file.path()).filter(|path| path.extension().is_none()) {
                let known = self.waiting.remove(&path).or_else(|| {
                    let bytes = std::fs::read(&path).ok()?;
                    let report = StageReport::decode(bytes.get(CHECKSUM..)?).ok()?;
                    Some((machine.name.clone(), report.stage_key.parse().ok()?))
                });
                found.extend(known.map(|known| (path, known)));
            }
        }
        for (worker, key) in std::mem::replace(&mut self.waiting, found).into_values() {
            self.scene.settled(&worker, key);
        }
    }

    /// The client has its report. The journal, read anew, says the same, and the truth.
    fn ends(mut self) -> Result<Lived, String> {
        self.sim.crash(COORDINATOR);
        let path = DataDir::journal_in(&self.folder.path().join(COORDINATOR));
        let mut lines = vec![];
        let read = async { Sqlite::open_idle(&path).await?.read(&mut |line| lines.push(line)).await };
        let stopped = at_once(read).map_err(|error| error.to_string())?;
        self.scene.read(&lines, stopped);
        let core = self.scene.replayed()?;
        let plan = &SWEEP.plan;
        if core.sweep(&plan.sweep.id).map(|status| status.state) != Some(SweepState::Completed) {
            return Err(format!("a client was told of the end of a sweep that has not ended\n{}", self.scene.told()));
        }
        for (trial, status) in core.trials(&plan.sweep.id).into_iter().flatten() {
            let places = trial.stages.iter().filter_map(|key| plan.keys().position(|stage| stage == *key));
            let first = places
                .map(|place| nature(&plan.spec(place), self.scene.salt()))
                .find(|nature| *nature != Nature::Completes);
            let is_true = matches!(
                (&status, first),
                (TrialStatus::Ended(StageOutcome::Completed(_)), None)
                    | (TrialStatus::Ended(StageOutcome::Diverged { .. }), Some(Nature::Diverges))
                    | (
                        TrialStatus::Ended(StageOutcome::Failed(_)),
                        Some(Nature::HasBadInput | Nature::KillsItsExecutor)
                    )
            );
            if !is_true {
                return Err(format!("{} ended as {status:?}, and truly {first:?}\n{}", trial.id, self.scene.told()));
            }
        }
        if let Some(violation) = self.scene.violation() {
            return Err(violation);
        }
        (self.sum.done, self.sum.repeated) = self.scene.work();
        self.sum.snapshots = self.scene.snapshots();
        self.sum.gone_on = self.scene.gone_on();
        self.sum.lasted = self.now();
        let report = self.scene.finished().ok_or("the client has no report")?;
        let report: serde_json::Value = serde_json::from_slice(&report).map_err(|error| error.to_string())?;
        let mut results = serde_json::json!([report["trials"], report["cells"], report["front"]]);
        for trial in results[0].as_array_mut().into_iter().flatten() {
            trial["reason"].take();
        }
        Ok(Lived { sum: self.sum, trace: self.scene.trace(), results })
    }
}
