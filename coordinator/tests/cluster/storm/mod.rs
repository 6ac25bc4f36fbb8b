//! A storm: workers and the coordinator are killed, stopped and cut off one after the other while a sweep runs, and the report is the
//! undisturbed one, bit for bit. Where the machine allows it each has a network namespace of its own, and otherwise a TCP proxy.
//!
//! What happens is decided by a seed, and each blow falls when a worker has completed another stage, so that there is always work
//! under way: a sweep that ends before the storm does is followed by one with more seeds. `SECATEUR_STORM_SEED` replays one,
//! `SECATEUR_STORM_BLOWS` says how many there are, and `SECATEUR_STORM_SWEEP` names another sweep file, which has to be long enough.

mod namespaces;
mod wires;

use std::{path::Path, process::Command};

use crate::common::{LONG_SWEEP, Lab, Process, Server, report, signal};
use namespaces::Namespaces;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use wires::Wires;

/// Where the coordinator listens.
const PORT: u16 = 7400;
const WORKERS: usize = 3;
const BLOWS: usize = 16;
/// The seeds of each sweep, beyond those of the one before it: some 100 stages.
const SEEDS: usize = 12;

/// What lies between the coordinator and its workers.
trait Network {
    /// Where the coordinator listens.
    fn listen(&self) -> String;
    /// The program on the coordinator's machine.
    fn at_coordinator(&self, lab: &Lab, arguments: &[&str]) -> Command;
    /// The program on a worker's machine.
    fn at_worker(&self, lab: &Lab, worker: usize, arguments: &[&str]) -> Command;
    /// Where a command on the coordinator's machine finds it.
    fn at_home(&self) -> String;
    /// Where a worker finds the coordinator.
    fn coordinator_of(&self, worker: usize) -> String;
    /// Breaks a worker's connection for a moment.
    fn cut(&self, worker: usize);
    /// Lets nothing through from and to a worker.
    fn stall(&self, worker: usize);
    /// Lets everything through again.
    fn mend(&self, worker: usize);
}

#[expect(clippy::print_stderr, reason = "whoever runs it wants to know on what network")]
fn network() -> Box<dyn Network> {
    match Namespaces::new(WORKERS) {
        Ok(namespaces) => Box::new(namespaces),
        Err(reason) => {
            assert!(std::env::var_os("SECATEUR_TEST_EVERYTHING").is_none(), "no network namespaces here: {reason}");
            eprintln!("no network namespaces here ({reason}): proxies stand in for them");
            Box::new(Wires::new(WORKERS))
        }
    }
}

/// A sweep under way on machines that are hit.
struct Cluster<'a> {
    lab: &'a Lab,
    network: Box<dyn Network>,
}

impl Cluster<'_> {
    fn server(&self) -> Server {
        let listen = self.network.listen();
        let own = ["serve", "--listen", &listen, "--data-dir", "data", "--reattach-within", "5"];
        let tls = ["--tls-cert", "certs/server.pem", "--tls-key", "certs/server.key"];
        Server::of(Process::start(self.network.at_coordinator(self.lab, &[&own[..], &tls[..]].concat())))
    }

    fn worker(&self, number: usize) -> Process {
        let (address, name) = (self.network.coordinator_of(number), format!("w{number}"));
        let way = ["worker", "--coordinator", &address, "--ca", "certs/ca.pem", "--token-file", "gpus.token"];
        let own = ["--name", &name, "--cache-dir", &name, "--slots", "1", "--lanes", "2", "--grace", "60"];
        Process::start(self.network.at_worker(self.lab, number, &[&way[..], &own[..]].concat()))
    }

    fn submit(&self, sweep: &str, further: &[&str]) -> Process {
        let address = self.network.at_home();
        let own = ["submit", sweep, "--output", "json", "--coordinator", &address];
        let way = ["--ca", "certs/ca.pem", "--token-file", "alice.token"];
        Process::start(self.network.at_coordinator(self.lab, &[&own[..], &way[..], further].concat()))
    }
}

/// What the cluster is given to do.
struct Work<'a> {
    cluster: &'a Cluster<'a>,
    /// Another sweep file than the test's own.
    given: Option<String>,
    seeds: usize,
    waiting: Process,
}

impl<'a> Work<'a> {
    /// Submits the first sweep.
    fn begin(cluster: &'a Cluster<'a>, given: Option<String>) -> Self {
        let sweep = given.clone().unwrap_or_else(|| own_sweep(cluster.lab, SEEDS));
        Self { waiting: cluster.submit(&sweep, &["--wait"]), cluster, given, seeds: SEEDS }
    }

    fn sweep(&self) -> String {
        self.given.clone().unwrap_or_else(|| own_sweep(self.cluster.lab, self.seeds))
    }

    /// Submits another sweep if the last one has completed.
    fn keep_up(&mut self) {
        if self.waiting.has_ended() {
            assert!(self.given.is_none(), "the sweep ended before the storm: fewer blows, or a longer sweep");
            self.seeds += SEEDS;
            let next = self.cluster.submit(&self.sweep(), &["--wait"]);
            std::mem::replace(&mut self.waiting, next).end().expect(0);
        }
    }

    /// Blocks until the worker has completed another stage.
    fn wait_for_stage(&mut self, worker: &mut Process) {
        worker.wait_for_while(&["a stage ended", "completed"], || self.keep_up());
    }
}

/// Writes the test's own sweep with so many seeds, and names its file.
fn own_sweep(lab: &Lab, seeds: usize) -> String {
    let name = format!("sweep-{seeds}.yaml");
    lab.write(&name, LONG_SWEEP.replace("seeds: 5", &format!("seeds: {seeds}")));
    name
}

fn failed_attempts(log: &str) -> u64 {
    log.lines().filter(|line| line.contains("an attempt failed")).count() as u64
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |number| number.parse().expect("a number"))
}

#[test]
#[expect(clippy::print_stdout, reason = "whoever runs it wants to see which storm it was, and what it cost")]
fn a_storm_changes_nothing_in_the_report() {
    let lab = Lab::new(LONG_SWEEP, 600);
    let given = std::env::var("SECATEUR_STORM_SWEEP").ok().map(|path| {
        let path = Path::new(&path).canonicalize().expect("there is such a file");
        path.into_os_string().into_string().expect("a path that is text")
    });
    let seed = number("SECATEUR_STORM_SEED", 1);
    let blows = number("SECATEUR_STORM_BLOWS", BLOWS);
    let mut random = ChaCha8Rng::seed_from_u64(seed as u64);
    println!("SECATEUR_STORM_SEED={seed}");
    let cluster = Cluster { lab: &lab, network: network() };
    let hosts: Vec<String> = (0..WORKERS)
        .map(|worker| cluster.network.coordinator_of(worker))
        .chain([cluster.network.at_home()])
        .map(|address| address.rsplit_once(':').expect("an address").0.to_owned())
        .collect();
    lab.run(&["cert", "init", "--host", &hosts.join(",")]).expect(0);
    for (name, role) in [("gpus", "worker"), ("alice", "submit")] {
        let made = lab.run(&["token", "create", name, "--role", role, "--data-dir", "data"]).expect(0);
        lab.write(&format!("{name}.token"), made.stdout);
    }
    let mut server = cluster.server();
    let mut work = Work::begin(&cluster, given);
    let mut workers: Vec<Process> = (0..WORKERS).map(|number| cluster.worker(number)).collect();
    let (mut completed, mut failed) = (0, 0);
    for _ in 0..blows {
        let [hit, watched] = [(); 2].map(|()| random.random_range(0..WORKERS));
        let blow = random.random_range(0..6);
        let others = || (1..WORKERS).map(|other| (hit + other) % WORKERS);
        work.wait_for_stage(&mut workers[watched]);
        match blow {
            0 => {
                completed += workers.remove(hit).kill().completed();
                workers.insert(hit, cluster.worker(hit));
            }
            1 | 2 => {
                // The others work on, or wait with what they have.
                failed += failed_attempts(&server.process.kill().stderr);
                server = cluster.server();
                // One that does not come within the time that is waited for would find its work given to others.
                for _ in 0..WORKERS {
                    server.process.wait_for(&["a worker attached"]);
                }
            }
            3 => {
                signal(workers[hit].id(), "STOP");
                for other in others() {
                    work.wait_for_stage(&mut workers[other]);
                }
                signal(workers[hit].id(), "CONT");
            }
            4 => cluster.network.cut(hit),
            _ => {
                cluster.network.stall(hit);
                for other in others() {
                    work.wait_for_stage(&mut workers[other]);
                }
                cluster.network.mend(hit);
            }
        }
    }
    let sweep = work.sweep();
    let status = cluster.submit(&sweep, &["--wait", "--out", "out"]).end().expect(0).json();
    assert_eq!(status["state"], "completed");
    let calm = lab.run(&["run", &sweep, "--out", "calm", "--lanes", "2", "--output", "json"]);
    let stages = calm.expect(0).json()["stages"].as_u64().expect("a number");
    assert!(report(&lab.path("out")) == report(&lab.path("calm")), "the report differs from the undisturbed one");
    for worker in workers {
        completed += worker.dismiss().completed();
    }
    failed += failed_attempts(&server.process.kill().stderr);
    let again = completed - stages;
    println!("{stages} stages, {blows} blows, {failed} attempts failed, {again} stages computed again");
    // What a worker had that was killed, or away for longer than it is waited for, is begun again, and nothing else.
    assert!(again <= failed, "{again} stages were computed again after {failed} failed attempts");
}
