//! Whatever dies, and whenever: the same command again gives the same report, and computes only what is missing.

use std::sync::OnceLock;

use crate::common::{self, Ended, LONG_SWEEP, Lab, Process, Server, free_port, is_alive, report, until};
use serde_json::Value;

const ROWS: u32 = 600;
const RUN: [&str; 8] = ["run", "sweep.yaml", "--out", "out", "--lanes", "2", "--output", "json"];

/// The report of a run that nobody disturbed, and its numbers.
fn undisturbed() -> &'static (Vec<u8>, Value) {
    static UNDISTURBED: OnceLock<(Vec<u8>, Value)> = OnceLock::new();
    UNDISTURBED.get_or_init(|| {
        let lab = Lab::new(LONG_SWEEP, ROWS);
        let status = lab.run(&RUN).expect(0).json();
        (report(&lab.path("out")), status)
    })
}

/// Asserts that the process finished the sweep with the undisturbed report, and gives the stages that it computed.
#[track_caller]
fn same_report(ended: Ended, lab: &Lab) -> u64 {
    let (expected, numbers) = undisturbed();
    let status = ended.expect(0).json();
    assert_eq!((&status["state"], &status["trials_completed"]), (&"completed".into(), &numbers["trials"]));
    assert!(report(&lab.path("out")) == *expected, "the report differs from the undisturbed one");
    status["stages_computed"].as_u64().expect("a number")
}

fn all_stages() -> u64 {
    undisturbed().1["stages"].as_u64().expect("a number")
}

/// Waits until so many stages have ended.
fn stages_end(process: &mut Process, count: u64) {
    for _ in 0..count {
        process.wait_for(&["a stage ended", "completed"]);
    }
}

#[test]
fn a_run_killed_at_any_moment_goes_on_where_it_stopped() {
    let lab = Lab::new(LONG_SWEEP, ROWS);
    let stages = all_stages();
    // Before and after the first result, while work is handed out, and at moments that a fixed seed picks.
    let mut seed = 7_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    type Moment<'a> = &'a dyn Fn(&mut Process, u64);
    let moments: [Moment<'_>; 6] = [
        &|process, _| drop(process.wait_for(&["listening"])),
        &|process, _| drop(process.wait_for(&["leased"])),
        &|process, _| drop(process.wait_for(&["training a bundle"])),
        &|process, _| stages_end(process, 1),
        &|process, count| stages_end(process, count),
        &|process, count| {
            stages_end(process, count);
            process.wait_for(&["training a bundle"]);
        },
    ];
    for moment in moments {
        let mut process = lab.start(&RUN);
        moment(&mut process, 2 + random(stages / 8));
        let executors = process.executors();
        let killed = process.kill();
        assert_eq!(killed.code, None, "the kill came too late: {}", killed.stderr);
        until("executors end with their worker", || executors.iter().all(|id| !is_alive(*id)).then_some(()));
        assert!(!lab.path("out/report.json").exists());
    }
    let computed = same_report(lab.run(&RUN), &lab);
    assert!(0 < computed && computed < stages, "{computed} of {stages} stages computed");
}

#[test]
fn every_life_of_a_run_computes_exactly_what_its_journal_lacks() {
    let lab = Lab::new(LONG_SWEEP, ROWS);
    let stages = all_stages();
    let entries = |line: &str| -> u64 {
        let number = line.split("entries=").nth(1).and_then(|rest| rest.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("a number of entries")
    };
    const KILLED: u64 = 4;
    for life in 0..KILLED {
        let mut process = lab.start(&RUN);
        if life > 0 {
            process.wait_for(&["replayed the journal"]);
        }
        stages_end(&mut process, stages / 12);
        process.kill();
    }
    let mut process = lab.start(&RUN);
    // One that the sweep was submitted, one for each life, and one for each stage that has ended.
    let ended = entries(&process.wait_for(&["replayed the journal"])) - 1 - KILLED;
    assert!(ended >= KILLED, "{ended} stages are in the journal");
    assert_eq!(same_report(process.end(), &lab), stages - ended);
}

#[test]
fn a_run_killed_while_it_writes_its_report_writes_it_anew() {
    let lab = Lab::new(LONG_SWEEP, ROWS);
    let mut process = lab.start(&RUN);
    process.wait_for(&["completed after"]);
    process.kill();
    assert_eq!(same_report(lab.run(&RUN), &lab), 0);
}

#[test]
fn an_executor_that_dies_costs_an_attempt_and_nothing_else() {
    let lab = Lab::new(LONG_SWEEP, ROWS);
    undisturbed();
    let mut process = lab.start(&[&RUN[..], &["--workers", "1"]].concat());
    for stages in [0, 3, 5] {
        stages_end(&mut process, stages);
        process.kill_executor_at_work();
    }
    let computed = same_report(process.end(), &lab);
    assert_eq!(computed, all_stages());
}

#[test]
fn an_interrupted_run_says_so_and_goes_on() {
    let lab = Lab::new(LONG_SWEEP, ROWS);
    undisturbed();
    let mut process = lab.start(&RUN);
    stages_end(&mut process, 4);
    let executors = process.executors();
    process.interrupt();
    let ended = process.end().expect(130);
    assert!(ended.stderr.contains("interrupted"), "{}", ended.stderr);
    assert_eq!(ended.json()["error"]["exit_code"], 130);
    until("executors end with their worker", || executors.iter().all(|id| !is_alive(*id)).then_some(()));
    assert!(same_report(lab.run(&RUN), &lab) < all_stages());
}

fn submit(lab: &Lab, server: &Server) -> Process {
    submit_with(lab, server, &[])
}

fn submit_with(lab: &Lab, server: &Server, options: &[&str]) -> Process {
    let own = ["submit", "sweep.yaml", "--wait", "--out", "out", "--output", "json"];
    lab.start(&[&own[..], &["--coordinator", server.address.as_str()], options].concat())
}

#[test]
fn a_worker_that_dies_with_a_lease_is_replaced_by_the_other() {
    let lab = Lab::new(LONG_SWEEP, ROWS);
    undisturbed();
    let server = Server::waiting_for_workers(&lab, &free_port(), 1);
    let submitted = submit(&lab, &server);
    let mut first = server.worker(&lab, "first");
    let _second = server.worker(&lab, "second");
    stages_end(&mut first, 2);
    first.wait_for(&["training a bundle"]);
    let executors = first.executors();
    assert!(!executors.is_empty());
    first.kill();
    until("executors end with their worker", || executors.iter().all(|id| !is_alive(*id)).then_some(()));
    same_report(submitted.end(), &lab);
}

/// Whether some attempt has failed, as the journal of the lab's coordinator says.
fn some_attempt_failed(lab: &Lab) -> bool {
    let files =
        ["data/journal.db", "data/journal.db-wal"].map(|name| std::fs::read(lab.path(name)).unwrap_or_default());
    files.concat().windows(b"attempt_failed".len()).any(|window| window == b"attempt_failed")
}

/// Stops the executors of a worker while it has work for them, so that nothing of it can end until they are let go; and how many stages
/// that are.
fn hold(worker: &mut Process) -> (Vec<u32>, u64) {
    let executors = worker.executors();
    assert!(!executors.is_empty());
    let under_way = until("a lease is under way", || {
        executors.iter().for_each(|executor| common::signal(*executor, "STOP"));
        let log = worker.said();
        let lines = || log.lines();
        let begun = lines()
            .filter(|line| line.contains("working on a lease"))
            .filter_map(|line| line.split("stages=").nth(1)?.split_whitespace().next()?.parse::<u64>().ok());
        let ended = lines().filter(|line| line.contains("a stage ended")).count() as u64;
        let under_way = begun.sum::<u64>() - ended;
        if under_way == 0 {
            // Stopped between two leases, perhaps before it could say that the first was done, which the second waits for.
            let_go(&executors);
        }
        (under_way > 0).then_some(under_way)
    });
    (executors, under_way)
}

fn let_go(executors: &[u32]) {
    executors.iter().for_each(|executor| common::signal(*executor, "CONT"));
}

#[test]
fn workers_train_on_while_the_coordinator_is_away_and_nothing_is_computed_twice() {
    let lab = Lab::new(LONG_SWEEP, ROWS);
    undisturbed();
    let server = Server::start(&lab);
    let submitted = submit(&lab, &server);
    let mut workers = [server.worker(&lab, "first"), server.worker(&lab, "second")];
    for worker in &mut workers {
        stages_end(worker, 3);
    }
    let (executors, under_way) = hold(&mut workers[0]);
    let Server { process, address } = server;
    process.kill();
    for worker in &mut workers {
        worker.wait_for(&["not attached; retrying"]);
    }
    let_go(&executors);
    stages_end(&mut workers[0], under_way);
    let _server = Server::start_on(&lab, &address);
    for worker in &mut workers {
        worker.wait_for(&["attached", "worker="]);
    }
    let followed = submitted.end();
    assert!(followed.stderr.contains("reconnected"), "{}", followed.stderr);
    same_report(followed, &lab);
    let ended = workers.map(Process::dismiss);
    assert_eq!(ended.iter().map(Ended::completed).sum::<u64>(), all_stages());
    assert!(!some_attempt_failed(&lab));
}

#[test]
fn what_a_worker_completed_for_a_coordinator_that_was_away_outlives_the_worker() {
    let lab = Lab::new(LONG_SWEEP, ROWS);
    undisturbed();
    let server = Server::start(&lab);
    let submitted = submit_with(&lab, &server, &["--reconnect-within", "0"]);
    let mut worker = server.worker(&lab, "first");
    stages_end(&mut worker, 3);
    let (executors, under_way) = hold(&mut worker);
    let Server { process, address } = server;
    process.kill();
    // Nobody waits for it here.
    let lost = submitted.end().expect(3);
    assert!(lost.stderr.contains("coordinator"), "{}", lost.stderr);
    worker.wait_for(&["not attached; retrying"]);
    let_go(&executors);
    stages_end(&mut worker, under_way);
    let before = worker.kill();
    let server = Server::waiting_for_workers(&lab, &address, 1);
    let worker = server.worker(&lab, "first");
    same_report(submit(&lab, &server).end(), &lab);
    let after = worker.dismiss();
    let logs = || format!("{}\n{}", before.stderr, after.stderr);
    assert_eq!(before.completed() + after.completed(), all_stages(), "{}", logs());
    assert_eq!(std::fs::read_dir(lab.path("first/outbox/cpu")).expect("reads").count(), 0);
}

#[test]
fn a_worker_that_is_asked_to_end_finishes_what_it_is_at() {
    let lab = Lab::new(LONG_SWEEP, ROWS);
    undisturbed();
    let server = Server::start(&lab);
    let submitted = submit(&lab, &server);
    let mut first = server.worker(&lab, "first");
    let second = server.worker(&lab, "second");
    stages_end(&mut first, 2);
    first.wait_for(&["training a bundle"]);
    // Slurm signals every process of a job.
    first.executors().into_iter().chain([first.id()]).for_each(|process| common::signal(process, "TERM"));
    let first = first.end().expect(130);
    assert!(first.stderr.contains("draining"), "{}", first.stderr);
    same_report(submitted.end(), &lab);
    assert_eq!(first.completed() + second.dismiss().completed(), all_stages());
    assert!(!some_attempt_failed(&lab));
}

#[test]
fn what_is_not_done_within_the_grace_goes_back_and_costs_no_attempt() {
    let lab = Lab::new(LONG_SWEEP, ROWS);
    undisturbed();
    let server = Server::start(&lab);
    let submitted = submit(&lab, &server);
    let mut first = server.worker_with(&lab, "first", &["--grace", "0"]);
    stages_end(&mut first, 2);
    first.wait_for(&["training a bundle"]);
    let executors = first.executors();
    common::signal(first.id(), "TERM");
    first.end().expect(130);
    until("executors end with their worker", || executors.iter().all(|id| !is_alive(*id)).then_some(()));
    let _second = server.worker(&lab, "second");
    same_report(submitted.end(), &lab);
    assert!(!some_attempt_failed(&lab));
}

/// A sweep of few stages that take seconds each.
fn slow_sweep() -> String {
    LONG_SWEEP
        .replace("epochs: 40", "epochs: 4000")
        .replace("epochs: 25", "epochs: 1000")
        .replace("strategy: [magnitude, taylor]", "strategy: magnitude")
        .replace("sparsity: [0.5, 0.8]", "sparsity: 0.8")
        .replace("seeds: 5", "seeds: 1")
}

/// The report of that when nobody disturbs it.
fn slow_report() -> &'static [u8] {
    static UNDISTURBED: OnceLock<Vec<u8>> = OnceLock::new();
    UNDISTURBED.get_or_init(|| {
        let lab = Lab::new(&slow_sweep(), ROWS);
        lab.run(&RUN).expect(0);
        report(&lab.path("out"))
    })
}

#[track_caller]
fn same_slow_report(ended: Ended, lab: &Lab) {
    ended.expect(0);
    assert!(report(&lab.path("out")) == slow_report(), "the report differs from the undisturbed one");
}

#[test]
fn a_stage_whose_worker_is_killed_goes_on_from_its_checkpoint_elsewhere() {
    let lab = Lab::new(&slow_sweep(), ROWS);
    let mut server = Server::waiting_for_workers(&lab, &free_port(), 1);
    let submitted = submit(&lab, &server);
    let first = server.worker_with(&lab, "first", &["--checkpoint-every", "20ms"]);
    server.process.wait_for(&["a checkpoint was recorded"]);
    first.kill();
    let mut second = server.worker_with(&lab, "second", &["--checkpoint-every", "0s"]);
    second.wait_for(&["resuming from a checkpoint"]);
    same_slow_report(submitted.end(), &lab);
}

#[test]
fn a_run_that_is_killed_in_the_middle_of_a_stage_goes_on_in_the_middle_of_it() {
    let lab = Lab::new(&slow_sweep(), ROWS);
    let run = [&RUN[..], &["--checkpoint-every", "20ms"]].concat();
    let mut process = lab.start(&run);
    process.wait_for(&["a checkpoint was recorded"]);
    process.kill();
    let mut process = lab.start(&run);
    process.wait_for(&["resuming from a checkpoint"]);
    same_slow_report(process.end(), &lab);
}

#[test]
fn what_a_worker_hands_back_when_its_grace_is_over_goes_on_from_there() {
    let lab = Lab::new(&slow_sweep(), ROWS);
    let server = Server::start(&lab);
    let submitted = submit(&lab, &server);
    // With a bounded cache executors leave what they make in folders of their own.
    let bounded = ["--cache-size", "50MB"];
    let mut first =
        server.worker_with(&lab, "first", &[&["--grace", "1", "--checkpoint-every", "1h"], &bounded[..]].concat());
    first.wait_for(&["training a bundle"]);
    let executors = first.executors();
    common::signal(first.id(), "TERM");
    first.wait_for(&["a checkpoint was taken"]);
    // Whatever a second is on this machine, the stage is not done within it.
    executors.iter().for_each(|executor| common::signal(*executor, "STOP"));
    first.end().expect(130);
    let mut second = server.worker_with(&lab, "second", &bounded);
    second.wait_for(&["resuming from a checkpoint"]);
    same_slow_report(submitted.end(), &lab);
    assert!(!some_attempt_failed(&lab));
}

#[test]
fn a_worker_that_ends_while_its_coordinator_is_away_does_not_say_that_anything_was_handed_back() {
    let lab = Lab::new(LONG_SWEEP, ROWS);
    let server = Server::start(&lab);
    lab.run(&["submit", "sweep.yaml", "--coordinator", &server.address]).expect(0);
    let mut worker = server.worker_with(&lab, "first", &["--grace", "0"]);
    worker.wait_for(&["training a bundle"]);
    server.process.kill();
    worker.wait_for(&["not attached; retrying"]);
    worker.interrupt();
    let ended = worker.end().expect(130);
    assert!(ended.stderr.contains("cannot be reached, so no work was returned"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("the returned work"), "{}", ended.stderr);
}

#[test]
fn workers_and_coordinators_end_when_told_to() {
    let lab = Lab::new(LONG_SWEEP, ROWS);
    let server = Server::start(&lab);
    let worker = server.worker(&lab, "first");
    worker.interrupt();
    worker.end().expect(130);
    let Server { process, .. } = server;
    assert!(lab.path("data/journal.db-wal").exists());
    common::signal(process.id(), "TERM");
    let ended = process.end().expect(130);
    assert!(ended.stderr.contains("the same command resumes"), "{}", ended.stderr);
    assert!(!lab.path("data/journal.db-wal").exists(), "the journal was not closed");
}
