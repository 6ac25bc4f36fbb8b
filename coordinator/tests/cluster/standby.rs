//! The journal in PostgreSQL, with the real program on both sides of it: a coordinator that dies, and the one that stood by.

use std::time::Instant;

use crate::common::{LONG_SWEEP, Lab, PATIENT, Process, SWEEP, Server, free_port, postgres, report, signal};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

/// A server with a database for this test, or nothing where there is none.
fn database() -> Option<(postgres::Server, String)> {
    let server = postgres::Server::start()?;
    let url = server.url("postgres");
    Some((server, url))
}

/// Starts a coordinator over `data`, which may have to stand by.
fn serve(lab: &Lab, address: &str, url: &str) -> Process {
    lab.start(&[&["serve", "--listen", address, "--data-dir", "data", "--journal", url], &PATIENT[..]].concat())
}

fn submit(lab: &Lab, address: &str) -> Process {
    lab.start(&["submit", "sweep.yaml", "--wait", "--out", "out", "--output", "json", "--coordinator", address])
}

fn execute(url: &str, statement: impl Into<String>) {
    let statement = statement.into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await.expect("connects");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.expect("executes");
        connection.close().await.expect("closes");
    });
}

#[test]
fn the_one_that_stood_by_takes_over_and_the_report_is_the_same() {
    let Some((_database, url)) = database() else { return };
    let lab = Lab::new(LONG_SWEEP, 600);
    lab.run(&["run", "sweep.yaml", "--out", "alone", "--lanes", "2"]).expect(0);
    let first = Server::of(serve(&lab, &free_port(), &url));
    let address = first.address.clone();
    let mut second = serve(&lab, &address, &url);
    second.wait_for(&["standing by"]);
    // Commands that look after the journal leave it alone meanwhile.
    let refused = lab.run(&["journal", "check", &url]).expect(2).stderr;
    assert!(refused.contains("is in use by a coordinator"), "{refused}");
    let submitted = submit(&lab, &address);
    let mut worker = first.worker(&lab, "worker");
    for _ in 0..6 {
        worker.wait_for(&["a stage ended", "completed"]);
    }
    first.process.kill();
    second.wait_for(&["taking over"]);
    second.wait_for(&["replayed the journal"]);
    let second = Server::of(second);
    assert_eq!(second.address, address);
    // Whoever waits for the sweep follows, too.
    let status = submitted.end().expect(0).json();
    assert_eq!(status["state"], "completed");
    let computed = status["stages_computed"].as_u64().expect("a number");
    assert!(computed < status["stages"].as_u64().expect("a number"), "all was computed anew");
    assert!(report(&lab.path("out")) == report(&lab.path("alone")), "the report differs");
    worker.kill();

    // Whatever takes a coordinator's journal from it stops it, and soon: nothing else happens here.
    execute(&url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'secateur'");
    let ended = second.process.end().expect(1);
    assert!(ended.stderr.contains("the journal is lost; stopping"), "{}", ended.stderr);
    let third = Server::of(serve(&lab, "127.0.0.1:0", &url));
    execute(&url, "UPDATE secateur.owner SET epoch = epoch + 1");
    let ended = third.process.end().expect(1);
    assert!(ended.stderr.contains("another one has taken it over"), "{}", ended.stderr);

    let journal = |verb: &str| -> Value { lab.run(&["journal", verb, &url, "--output", "json"]).expect(0).json() };
    let checked = journal("check");
    assert_eq!((&checked["healthy"], &checked["stages_ended"]), (&true.into(), &status["stages"]));
    assert_eq!(journal("repair")["repaired"], false);
    // The attempts that the crash cost have ended meanwhile.
    let compacted = journal("compact");
    assert_eq!(compacted["before"]["entries"], checked["entries"]);
    assert_eq!(journal("check")["sweeps"], checked["sweeps"]);
    // Lives more, behind the snapshot: of the last two the second fits the first, so that something good follows what is missing.
    let entries = compacted["after"]["entries"].as_i64().expect("a number");
    for _ in 0..3 {
        let server = Server::of(serve(&lab, "127.0.0.1:0", &url));
        // It answers when its beginning is written.
        lab.run(&["ls", "--coordinator", &server.address]).expect(0);
        server.process.kill();
    }
    let next = entries + 1;
    execute(&url, format!("DELETE FROM secateur.journal WHERE sequence = {next}"));
    let refused = serve(&lab, "127.0.0.1:0", &url).end().expect(1).stderr;
    let cut = format!("--cut-at {next}");
    assert!(refused.contains(&format!("entry {next} is missing")) && refused.contains(&cut), "{refused}");
    let repair = ["journal", "repair", &url, "--cut-at", &next.to_string(), "--output", "json"];
    let repaired = lab.run(&repair).expect(0).json();
    let copy = "the table secateur.journal_aside_1";
    assert_eq!((&repaired["entries"], &repaired["copy"]), (&entries.into(), &copy.into()));
    journal("check");
    // Of what was before the snapshot nothing is left.
    execute(&url, "DELETE FROM secateur.journal WHERE sequence = 2");
    let refused = serve(&lab, "127.0.0.1:0", &url).end().expect(1).stderr;
    assert!(refused.contains("an incomplete snapshot") && refused.contains("--cut-at"), "{refused}");
}

/// One coordinator after the other dies in the middle of the work of three workers, and of bundles, and of a sweep that somebody waits for.
#[test]
#[expect(clippy::print_stdout, reason = "whoever runs it wants to see how long nobody coordinated")]
fn takeovers_under_load_lose_nothing() {
    const TAKEOVERS: usize = 3;
    let Some((_database, url)) = database() else { return };
    let lab = Lab::new(&LONG_SWEEP.replace("seeds: 5", "seeds: 8"), 600);
    let alone = lab.run(&["run", "sweep.yaml", "--out", "alone", "--lanes", "2", "--output", "json"]).expect(0).json();
    let mut first = Server::of(serve(&lab, &free_port(), &url));
    let address = first.address.clone();
    let submitted = submit(&lab, &address);
    let mut workers = ["one", "two", "three"].map(|name| {
        let own = ["worker", "--coordinator", &address, "--name", name, "--cache-dir", name];
        lab.start(&[&own[..], &["--slots", "2", "--lanes", "2"]].concat())
    });
    let mut failed = 0;
    for takeover in 0..TAKEOVERS {
        let mut second = serve(&lab, &address, &url);
        second.wait_for(&["standing by"]);
        for _ in 0..4 {
            workers[takeover % workers.len()].wait_for(&["a stage ended", "completed"]);
        }
        let begun = Instant::now();
        let ended = first.process.kill();
        failed += ended.stderr.lines().filter(|line| line.contains("an attempt failed")).count();
        second.wait_for(&["replayed the journal"]);
        first = Server::of(second);
        for _ in &workers {
            first.process.wait_for(&["a worker attached"]);
        }
        println!("takeover {takeover}: all workers were back after {:.2} s", begun.elapsed().as_secs_f64());
    }
    let status = submitted.end().expect(0).json();
    assert_eq!((&status["state"], &status["stages"]), (&"completed".into(), &alone["stages"]), "{status}");
    assert!(report(&lab.path("out")) == report(&lab.path("alone")), "the report differs");
    // Whoever held a lease kept it: no attempt failed, and nothing was computed twice.
    let completed: u64 = workers.into_iter().map(|worker| worker.dismiss().completed()).sum();
    failed += first.process.kill().stderr.lines().filter(|line| line.contains("an attempt failed")).count();
    assert_eq!(failed, 0, "attempts failed");
    assert_eq!(Some(completed), alone["stages"].as_u64(), "stages were lost, or computed twice");
}

#[test]
fn a_coordinator_that_slept_through_the_loss_of_its_journal_writes_nothing_and_makes_room() {
    let Some((_database, url)) = database() else { return };
    let lab = Lab::new(LONG_SWEEP, 600);
    let first = Server::of(serve(&lab, "127.0.0.1:0", &url));
    let mut second = serve(&lab, "127.0.0.1:0", &url);
    second.wait_for(&["standing by"]);
    signal(first.process.id(), "STOP");
    execute(&url, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted");
    second.wait_for(&["taking over"]);
    // The folder is still the sleeper's, who may be in the middle of a file.
    second.wait_for(&["waiting for it"]);
    signal(first.process.id(), "CONT");
    let ended = first.process.end().expect(1);
    assert!(ended.stderr.contains("the journal") && ended.stderr.contains("stopping"), "{}", ended.stderr);
    let second = Server::of(second);
    lab.run(&["submit", "sweep.yaml", "--coordinator", &second.address]).expect(0);
    second.process.kill();
    let checked = lab.run(&["journal", "check", &url, "--output", "json"]).expect(0).json();
    // One life, another, and the sweep.
    assert_eq!((&checked["entries"], &checked["healthy"]), (&3.into(), &true.into()));
}

#[test]
fn a_journal_that_cannot_be_had_is_told() {
    let lab = Lab::empty();
    for (url, code, words) in [
        ("mysql://me:secret@db/x", 2, "must start with postgres://"),
        ("postgres://me:secret@db.example", 2, "does not name a database"),
        ("postgres://me:secret@127.0.0.1:1/x", 1, "cannot connect to the journal postgres://me@127.0.0.1:1/x"),
    ] {
        let ended = lab.run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--journal", url]).expect(code);
        assert!(ended.stderr.contains(words) && !ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    lab.run(&["journal", "check", "postgres://me:secret@127.0.0.1:1/x"]).expect(1);
    // A coordinator that has worked without it does not begin anew by mistake.
    drop(Server::start(&lab));
    let ended = lab.run(&["serve", "--data-dir", "data", "--journal", "postgres://me@127.0.0.1:1/x"]).expect(2);
    assert!(ended.stderr.contains("data/journal.db already holds a journal"), "{}", ended.stderr);
}

#[test]
fn one_that_hangs_is_taken_over_from_and_writes_nothing_once_it_wakes_up() {
    let Some((_database, url)) = database() else { return };
    let lab = Lab::new(SWEEP, 400);
    let first = Server::of(serve(&lab, "127.0.0.1:0", &url));
    let submitted = lab.run(&["submit", "sweep.yaml", "--output", "json", "--coordinator", &first.address]);
    let id = submitted.expect(0).json()["sweep_id"].as_str().expect("an id").to_owned();
    let mut second = lab.start(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--journal", &url]);
    second.wait_for(&["standing by"]);
    signal(first.process.id(), "STOP");
    second.wait_for(&["the other coordinator hangs"]);
    second.wait_for(&["taking over"]);
    let second = Server::of(second);
    let shown = lab.run(&["show", &id, "--output", "json", "--coordinator", &second.address]).expect(0).json();
    assert_eq!(shown["state"], "running");
    signal(first.process.id(), "CONT");
    let ended = first.process.end().expect(1);
    assert!(ended.stderr.contains("the journal is lost; stopping"), "{}", ended.stderr);
}
