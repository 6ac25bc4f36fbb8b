//! What an operator does and sees, with the real program: owners of sweeps, workers that are managed from the head, metrics, and the
//! command at the end of a sweep.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::Value;

use crate::common::{Lab, PATIENT, SWEEP, Server, until};

fn rows(ended: &crate::common::Ended) -> Vec<Value> {
    ended.json().as_array().expect("a list").clone()
}

/// What `/metrics` says.
fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("asks");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    text
}

#[test]
fn sweeps_belong_to_whoever_submits_them() {
    let lab = Lab::new(SWEEP, 200);
    for (name, role) in [("alice", "submit"), ("bob", "submit"), ("root", "admin")] {
        let made = lab.run(&["token", "create", name, "--role", role, "--data-dir", "data"]).expect(0);
        lab.write(&format!("{name}.token"), &made.stdout);
    }
    let server = Server::start(&lab);
    let as_user = |name: &str, verb: &[&str]| {
        let file = format!("{name}.token");
        lab.run(&[verb, &["--coordinator", &server.address, "--token-file", &file, "--output", "json"]].concat())
    };
    as_user("alice", &["submit", "sweep.yaml"]).expect(0);
    let listed = rows(&as_user("bob", &["ls"]).expect(0));
    assert_eq!(
        (&listed[0]["submitted_by"]["name"], &listed[0]["submitted_by"]["is_claimed"]),
        (&"alice".into(), &false.into())
    );
    assert_eq!(rows(&as_user("bob", &["ls", "--mine"]).expect(0)), [] as [Value; 0]);
    assert_eq!(rows(&as_user("alice", &["ls", "--mine", "--state", "running", "--since", "1d"]).expect(0)).len(), 1);
    assert_eq!(rows(&as_user("alice", &["ls", "--name", "other"]).expect(0)), [] as [Value; 0]);
    // The name serves as the id. What is another's can be followed, but not changed.
    as_user("bob", &["submit", "sweep.yaml"]).expect(0);
    for verb in [
        &["cancel", "small"][..],
        &["share", "small", "--priority", "5"],
        &["retry", "small"],
        &["extend", "small", "sweep.yaml"],
        &["submit", "sweep.yaml", "--priority", "5"],
    ] {
        let refused = as_user("bob", verb).expect(2);
        let error = refused.json();
        assert_eq!(error["error"]["kind"], "permission_denied", "{verb:?}");
        assert!(error["error"]["message"].as_str().is_some_and(|text| text.contains("belongs to alice")), "{error}");
    }
    as_user("root", &["cancel", "smal"]).expect(0);
    let shown = as_user("bob", &["show", "small"]).expect(0).json();
    assert_eq!((&shown["submitted_by"]["name"], &shown["cancelled_by"]["name"]), (&"alice".into(), &"root".into()));
    as_user("alice", &["submit", "sweep.yaml"]).expect(0);
    assert_eq!(as_user("bob", &["show", "small"]).expect(0).json()["cancelled_by"], Value::Null);
}

#[test]
fn workers_are_managed_from_the_head_and_everything_is_counted() {
    let lab = Lab::new(SWEEP, 200);
    let options = [
        "serve",
        "--listen",
        &crate::common::free_port(),
        "--data-dir",
        "data",
        "--metrics-listen",
        &crate::common::free_port(),
        "--on-sweep-end",
        "echo $SECATEUR_SWEEP_NAME $SECATEUR_SWEEP_STATE $SECATEUR_SWEEP_TRIALS_FAILED >ended",
    ];
    let mut server = Server::of(lab.start(&[&options[..], &PATIENT[..]].concat()));
    let line = server.process.wait_for(&["serving metrics", "address="]);
    let metrics = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
    let of = |verb: &[&str]| lab.run(&[verb, &["--coordinator", &server.address]].concat());
    let worker = server.worker(&lab, "gpu");
    of(&["workers", "cordon", "gpu"]).expect(0);
    of(&["submit", "sweep.yaml"]).expect(0);
    let explained = of(&["explain", "small"]).expect(0);
    assert!(explained.stdout.contains("is cordoned by"), "{}", explained.stdout);
    assert!(scrape(metrics).contains("secateur_workers{state=\"cordoned\"} 1"));
    assert!(scrape(metrics).contains("secateur_attempts_total{outcome=\"completed\"} 0"), "nothing runs");
    of(&["workers", "uncordon", "gp"]).expect(0);
    of(&["watch", "small"]).expect(0);
    let text = scrape(metrics);
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}:\n{text}"));
        line.trim().parse().expect("a number")
    };
    assert!(value("secateur_attempts_total{outcome=\"completed\"}") >= 10.0);
    assert!(value("secateur_lane_steps_total") > 100.0 && value("secateur_journal_append_seconds_count") > 1.0);
    assert!((value("secateur_slots"), value("secateur_sweeps{state=\"completed\"}")) == (1.0, 1.0));
    let ended = until("the command has run", || {
        std::fs::read_to_string(lab.path("ended")).ok().filter(|text| !text.is_empty())
    });
    assert_eq!(ended, "small completed 0\n");
    // A second one of the same name: both are told apart by their ids.
    let second = ["worker", "--coordinator", &server.address, "--name", "gpu", "--cache-dir", "other", "--slots", "1"];
    let mut other = lab.start(&second);
    other.wait_for(&["attached", "worker="]);
    let ambiguous = of(&["workers", "drain", "gpu"]).expect(2);
    assert!(ambiguous.stderr.contains("is ambiguous: use one of the ids w-"), "{}", ambiguous.stderr);
    let listed = rows(&of(&["workers", "--output", "json"]).expect(0));
    for worker in &listed {
        of(&["workers", "drain", worker["id"].as_str().expect("an id")]).expect(0);
    }
    // They end by themselves, as on SIGTERM.
    for drained in [worker, other] {
        let said = drained.end().expect(130).stderr;
        assert!(said.contains("drained: all work is reported or returned"), "{said}");
    }
    until("nobody is attached", || rows(&of(&["workers", "--output", "json"])).is_empty().then_some(()));
}

#[test]
fn metrics_do_not_leave_the_machine_by_accident() {
    let lab = Lab::empty();
    let refused = lab.run(&["serve", "--data-dir", "data", "--metrics-listen", "0.0.0.0:0"]).expect(2);
    assert!(refused.stderr.contains("--metrics-insecure"), "{}", refused.stderr);
}
