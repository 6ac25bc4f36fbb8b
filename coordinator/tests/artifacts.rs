//! The life of files, with the real program on both sides: a cache that is bounded.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{Ended, Lab, Process, SWEEP, Server, files, report};

/// A worker whose cache is bounded, attached.
fn worker(lab: &Lab, server: &Server, name: &str, cache_size: &str) -> Process {
    let coordinator = ["worker", "--coordinator", &server.address, "--name", name, "--cache-dir", name];
    let mut worker =
        lab.start(&[&coordinator[..], &["--slots", "2", "--lanes", "2", "--cache-size", cache_size]].concat());
    worker.wait_for(&["attached", "worker="]);
    worker
}

fn submit(lab: &Lab, server: &Server, out: &str) -> Ended {
    lab.run(&["submit", "sweep.yaml", "--coordinator", &server.address, "--wait", "--out", out, "--output", "json"])
}

/// Bytes of the files by hash below a folder.
fn stored(folder: &Path) -> u64 {
    let is_hash = |path: &&PathBuf| path.file_name().is_some_and(|name| name.len() == 64);
    let found = files(folder);
    let sizes = found.keys().filter(is_hash).map(|path| fs::metadata(folder.join(path)).expect("is there").len());
    sizes.sum()
}

#[test]
fn a_worker_with_a_small_cache_computes_the_same_and_stays_small() {
    let lab = Lab::new(SWEEP, 400);
    lab.run(&["run", "sweep.yaml", "--out", "alone", "--lanes", "2"]).expect(0);
    let server = Server::start(&lab);
    let bounded = worker(&lab, &server, "bounded", "60KB");
    submit(&lab, &server, "out").expect(0);
    assert_eq!(report(&lab.path("out")), report(&lab.path("alone")));
    let all = stored(&lab.path("data/artifacts"));
    assert!(all > 120_000, "{all} bytes are no test of a bound of 60 kB");
    // The last lease lets go of its files a moment after its last report.
    let kept =
        common::until("the cache has shrunk", || Some(stored(&lab.path("bounded"))).filter(|bytes| *bytes <= 60_000));
    assert!(kept > 20_000, "only {kept} bytes are kept of the 60 kB that may be");
    let said = bounded.kill().stderr;
    assert!(said.contains("evicted"), "{said}");
    assert!(!said.contains("a lease failed"), "{said}");
    // The folders of its executors go when it starts again.
    let again = worker(&lab, &server, "bounded", "30KB");
    assert!(stored(&lab.path("bounded")) <= 30_000);
    let folders = files(&lab.path("bounded/incoming")).into_iter().filter(|(_, hash)| hash.is_none()).count();
    assert_eq!(folders, 0);
    drop(again);
}

#[test]
fn a_cache_that_is_too_small_fails_what_does_not_fit_and_says_so() {
    let lab = Lab::new(SWEEP, 400);
    let server = Server::start(&lab);
    let tiny = worker(&lab, &server, "tiny", "1KB");
    submit(&lab, &server, "out").expect(1);
    let ls = lab.run(&["ls", "--coordinator", &server.address, "--output", "json"]).expect(0).json();
    assert_eq!(ls[0]["state"], "completed", "{ls}");
    assert_eq!(ls[0]["trials_failed"], ls[0]["trials"], "{ls}");
    let report = String::from_utf8(report(&lab.path("out"))).expect("JSON is text");
    assert!(report.contains("--cache-size") && report.contains("1.0 kB"), "{report}");
    let said = tiny.kill().stderr;
    assert_eq!(
        said.matches("a lease failed").count(),
        3,
        "three attempts at the first stage, and then it is over: {said}"
    );
    for (size, message) in
        [("0", "room for the inputs"), ("some", "not a size such as 20GB"), ("-1", "20GB"), ("5 parsecs", "20GB")]
    {
        let wrong = lab.run(&["worker", &format!("--cache-size={size}")]).expect(2);
        assert!(wrong.stderr.contains(message), "{size}: {}", wrong.stderr);
    }
}
