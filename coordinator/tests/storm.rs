//! A storm: workers and the coordinator are killed, stopped and cut off one after the other while a sweep runs, and the report is the
//! undisturbed one, bit for bit.
//!
//! What happens is decided by a seed, and each blow falls when a worker has completed another stage, so that there is always work
//! under way. `SECATEUR_STORM_SEED` replays one.

mod common;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use common::{LONG_SWEEP, Lab, Process, Server, report, signal};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const WORKERS: usize = 3;
const BLOWS: usize = 16;

/// The wire between a worker and the coordinator.
struct Wire {
    address: String,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    stalls: Arc<AtomicBool>,
}

impl Wire {
    fn to(coordinator: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let connections = Arc::new(Mutex::new(vec![]));
        let stalls = Arc::new(AtomicBool::new(false));
        let (kept, stalled, coordinator) = (Arc::clone(&connections), Arc::clone(&stalls), coordinator.to_owned());
        thread::spawn(move || {
            for near in listener.incoming() {
                let Ok(near) = near else { return };
                // Nobody is there while the coordinator is down: the near end is closed then, as by a machine that refuses.
                let Ok(far) = TcpStream::connect(&coordinator) else { continue };
                let copy = |stream: &TcpStream| stream.try_clone().expect("a handle");
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend([copy(&near), copy(&far)]);
                pour(copy(&near), copy(&far), Arc::clone(&stalled));
                pour(far, near, Arc::clone(&stalled));
            }
        });
        Self { address, connections, stalls }
    }

    fn cut(&self) {
        for connection in self.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // The other half may have closed it.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn pour(mut from: TcpStream, mut to: TcpStream, stalled: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut bytes = [0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            while stalled.load(Ordering::Relaxed) {
                thread::park_timeout(std::time::Duration::from_millis(5));
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn worker(lab: &Lab, wire: &Wire, name: &str) -> Process {
    let own = ["--name", name, "--cache-dir", name, "--slots", "1", "--lanes", "2", "--grace", "60"];
    lab.start(&[&["worker", "--coordinator", wire.address.as_str()], &own[..]].concat())
}

fn failed_attempts(log: &str) -> u64 {
    log.lines().filter(|line| line.contains("an attempt failed")).count() as u64
}

#[test]
#[expect(clippy::print_stdout, reason = "whoever runs it wants to see which storm it was, and what it cost")]
fn a_storm_changes_nothing_in_the_report() {
    // Some 150 stages.
    let sweep = LONG_SWEEP.replace("seeds: 5", "seeds: 18");
    let calm = Lab::new(&sweep, 600);
    let run = ["run", "sweep.yaml", "--out", "out", "--lanes", "2", "--output", "json"];
    let stages = calm.run(&run).expect(0).json()["stages"].as_u64().expect("a number");

    let seed = std::env::var("SECATEUR_STORM_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    println!("SECATEUR_STORM_SEED={seed}");
    let lab = Lab::new(&sweep, 600);
    let mut server = Server::start(&lab);
    let address = server.address.clone();
    let submit = ["submit", "sweep.yaml", "--coordinator", address.as_str(), "--output", "json"];
    lab.run(&submit).expect(0);
    let wires: Vec<Wire> = (0..WORKERS).map(|_| Wire::to(&address)).collect();
    let names: Vec<String> = (0..WORKERS).map(|number| format!("w{number}")).collect();
    let mut workers: Vec<Process> = (0..WORKERS).map(|number| worker(&lab, &wires[number], &names[number])).collect();
    let (mut completed, mut failed) = (0, 0);
    for _ in 0..BLOWS {
        let [hit, watched] = [(); 2].map(|()| random.random_range(0..WORKERS));
        let blow = random.random_range(0..6);
        let lasting = || (1..WORKERS).map(|other| (hit + other) % WORKERS);
        workers[watched].wait_for(&["a stage ended", "completed"]);
        match blow {
            0 => {
                completed += workers.remove(hit).kill().completed();
                workers.insert(hit, worker(&lab, &wires[hit], &names[hit]));
            }
            1 | 2 => {
                // The others work on, or wait with what they have.
                failed += failed_attempts(&server.process.kill().stderr);
                server = Server::start_on(&lab, &address);
                // One that does not come within the time that is waited for would find its work given to others.
                for _ in 0..WORKERS {
                    server.process.wait_for(&["a worker attached"]);
                }
            }
            3 => {
                signal(workers[hit].id(), "STOP");
                for other in lasting() {
                    workers[other].wait_for(&["a stage ended", "completed"]);
                }
                signal(workers[hit].id(), "CONT");
            }
            4 => wires[hit].cut(),
            _ => {
                wires[hit].stalls.store(true, Ordering::Relaxed);
                for other in lasting() {
                    workers[other].wait_for(&["a stage ended", "completed"]);
                }
                wires[hit].stalls.store(false, Ordering::Relaxed);
            }
        }
    }
    let wait = ["--wait", "--out", "out"];
    let status = lab.run(&[&submit[..], &wait[..]].concat()).expect(0).json();
    assert_eq!(status["state"], "completed");
    assert!(report(&lab.path("out")) == report(&calm.path("out")), "the report differs from the undisturbed one");
    for worker in workers {
        worker.interrupt();
        completed += worker.end().expect(130).completed();
    }
    failed += failed_attempts(&server.process.kill().stderr);
    let again = completed - stages;
    println!("{stages} stages, {BLOWS} blows, {failed} attempts failed, {again} stages computed again");
    // What a worker had that was killed, or away for longer than it is waited for, is begun again, and nothing else.
    assert!(again <= failed, "{again} stages were computed again after {failed} failed attempts");
}
