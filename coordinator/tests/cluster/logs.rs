//! What workers said of attempts, as a person reads it.

use std::fs;

use crate::common::{LONG_SWEEP, Lab, SWEEP, Server, until};
use serde_json::Value;

/// The id of some trial of the only sweep, whose stages end with one of that kind.
fn trial(lab: &Lab, server: &Server) -> String {
    let way = ["--coordinator", &server.address, "--output", "json"];
    let sweeps = lab.run(&[&["ls"], &way[..]].concat()).expect(0).json();
    let sweep = sweeps[0]["sweep_id"].as_str().expect("an id");
    let shown = lab.run(&[&["show", sweep], &way[..]].concat()).expect(0).json();
    let trials = shown["trials_detail"].as_array().expect("trials");
    let pruned = trials.iter().find(|trial| trial["stages"].as_array().is_some_and(|stages| stages.len() > 2));
    pruned.expect("something is pruned")["id"].as_str().expect("an id").to_owned()
}

fn texts(document: &Value, kind: &str) -> Vec<String> {
    let lines = document.as_array().expect("lines").iter().filter(|line| line["kind"] == kind);
    lines.map(|line| line["text"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn every_epoch_of_a_trial_can_be_read_after_it() {
    let lab = Lab::new(SWEEP, 400);
    let server = Server::start(&lab);
    let _worker = server.worker(&lab, "first");
    let way = ["--coordinator", &server.address];
    lab.run(&[&["submit", "sweep.yaml", "--wait"], &way[..]].concat()).expect(0);
    let trial = trial(&lab, &server);
    let logs = |further: &[&str]| lab.run(&[&["logs", &trial], &way[..], further].concat()).expect(0);
    let document = logs(&["--output", "json"]).json();
    for (kind, epochs) in [("dense", 4), ("prune", 2)] {
        let texts = texts(&document, kind);
        let begins =
            |epoch: u32| texts.iter().filter(|text| text.starts_with(&format!("epoch {epoch} of {epochs}: "))).count();
        assert!((0..=epochs).all(|epoch| begins(epoch) == 1), "{kind}: {texts:?}");
        assert!(texts.iter().any(|text| text.contains("auc@validation 0.")), "{kind}: {texts:?}");
        assert_eq!(texts.last().map(String::as_str), Some("completed"), "{kind}");
    }
    assert!(document.as_array().expect("lines").iter().all(|line| line["attempt"] == 1 && line["worker"] == "first"));
    let text = logs(&[]).stdout;
    assert_eq!(text.lines().count(), document.as_array().expect("lines").len());
    assert!(text.contains("attempt 1 on first: epoch 1 of 4"), "{text}");
    // A stage by the beginning of its key; an attempt that there was not; and what there is not.
    let key = document[0]["stage"].as_str().expect("a key")[..12].to_owned();
    assert_ne!(lab.run(&[&["logs", &key], &way[..]].concat()).expect(0).stdout, "");
    assert_eq!(logs(&["--attempt", "2"]).stdout, "");
    let none = lab.run(&[&["logs", "nothing"], &way[..]].concat()).expect(2);
    assert!(none.stderr.contains("no trial") && none.stderr.contains("secateur show"), "{}", none.stderr);
    // They outlive the coordinator.
    let Server { process, address } = server;
    process.kill();
    let server = Server::start_on(&lab, &address);
    assert_eq!(lab.run(&["logs", &trial, "--coordinator", &server.address]).expect(0).stdout, text);
}

#[test]
fn who_follows_hears_what_comes_and_why_an_attempt_failed() {
    let lab = Lab::new(LONG_SWEEP, 600);
    let server = Server::start(&lab);
    lab.run(&["submit", "sweep.yaml", "--coordinator", &server.address]).expect(0);
    let trial = trial(&lab, &server);
    let mut following = lab.start(&["logs", &trial, "--follow", "--coordinator", &server.address]);
    let mut worker = server.worker(&lab, "first");
    for _ in 0..2 {
        worker.kill_executor_at_work();
    }
    following.wait_for_output(&["dense", "failed: the executor process died"]);
    // A coordinator that comes back tells the rest, and nothing again.
    let address = server.address.clone();
    server.process.kill();
    following.wait_for(&["waiting up to"]);
    let _server = Server::start_on(&lab, &address);
    let ended = following.end().expect(0);
    let failed = ended.stdout.lines().filter(|line| line.contains("attempt 1 on first: failed: ")).count();
    assert_eq!(failed, 1, "{}", ended.stdout);
    for words in ["epoch 40 of 40", "epoch 25 of 25", "prune", "completed"] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
}

#[test]
fn a_trial_that_several_sweeps_have_is_named_with_its_sweep() {
    let lab = Lab::new(SWEEP, 100);
    fs::write(lab.path("other.yaml"), SWEEP.replace("epochs: 4", "epochs: 5")).expect("writes");
    let server = Server::start(&lab);
    let way = ["--coordinator", &server.address];
    lab.run(&[&["submit", "sweep.yaml"], &way[..]].concat()).expect(0);
    let trial = trial(&lab, &server);
    lab.run(&[&["explain", &trial], &way[..]].concat()).expect(0);
    lab.run(&[&["submit", "other.yaml"], &way[..]].concat()).expect(0);
    let sweeps = lab.run(&[&["ls", "--output", "json"], &way[..]].concat()).expect(0).json();
    let ids: Vec<&str> = (0..2).map(|number| sweeps[number]["sweep_id"].as_str().expect("an id")).collect();
    for verb in ["explain", "logs"] {
        let refused = lab.run(&[&[verb, &trial], &way[..]].concat()).expect(2).stderr;
        for id in &ids {
            let named = format!("{id}/{trial}");
            assert!(refused.contains(&named), "{refused}");
            lab.run(&[&[verb, &named], &way[..]].concat()).expect(0);
            lab.run(&[&[verb, &format!("0{named}")], &way[..]].concat()).expect(2);
            let begun = format!("{}/{trial}", &id[..8]);
            let told = lab.run(&[&[verb, &begun], &way[..]].concat()).expect(0).stdout;
            assert!(verb == "logs" || told.contains(*id), "{told}");
        }
    }
}

#[test]
fn what_was_said_of_a_forgotten_sweep_is_removed() {
    let lab = Lab::new(SWEEP, 200);
    let server = Server::start(&lab);
    let _worker = server.worker(&lab, "w");
    let way = ["--coordinator", &server.address, "--output", "json"];
    let submit = || lab.run(&[&["submit", "sweep.yaml", "--wait"], &way[..]].concat()).expect(0).json();
    let id_of = |status: Value| status["sweep_id"].as_str().expect("an id").to_owned();
    let sweep = id_of(submit());
    lab.write("sweep.yaml", SWEEP.replace("seeds: 2", "seeds: 1"));
    let smaller = id_of(submit());
    let forget = |id: &str| lab.run(&[&["forget", id], &way[..]].concat()).expect(0);
    forget(&sweep);
    // What the smaller one lists, too, stays.
    let kept = lab.run(&[&["logs", &trial(&lab, &server)], &way[..]].concat()).expect(0).json();
    assert_ne!(texts(&kept, "prune"), [""; 0]);
    forget(&smaller);
    let count = || fs::read_dir(lab.path("data/logs")).expect("a folder").count();
    until("all lines are removed", || (count() == 0).then_some(()));
}
