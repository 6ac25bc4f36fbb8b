//! Backups of a coordinator under load, and what is restored from them.

use std::fs;

use crate::common::{LONG_SWEEP, Lab, PATIENT, SWEEP, Server, files, free_port, report};

#[test]
fn a_backup_under_load_continues_elsewhere() {
    let lab = Lab::new(LONG_SWEEP, 600);
    lab.run(&["run", "sweep.yaml", "--out", "undisturbed", "--lanes", "2"]).expect(0);
    let server = Server::start(&lab);
    let mut working = server.worker(&lab, "w");
    let coordinator = ["--coordinator", server.address.as_str()];
    let submitted =
        lab.run(&[&["submit", "sweep.yaml", "--output", "json"], &coordinator[..]].concat()).expect(0).json();
    let sweep = submitted["sweep_id"].as_str().expect("an id").to_owned();
    for _ in 0..5 {
        working.wait_for(&["a stage ended", "completed"]);
    }
    let backup = |into: &str, further: &[&str]| {
        lab.run(&[&["backup", into, "--data-dir", "data", "--output", "json"], further].concat())
    };
    let linked = backup("linked", &[]).expect(0).json();
    let copied = backup("copied", &["--copy"]).expect(0).json();
    for manifest in [&linked, &copied] {
        assert_eq!((&manifest["sweeps"], &manifest["lost"]), (&1.into(), &serde_json::json!([])));
        assert!(manifest["entries"].as_u64() > Some(2) && manifest["artifacts"].as_u64() > Some(1), "{manifest}");
    }
    // The coordinator goes on meanwhile, and is lost with all that it has.
    working.wait_for(&["a stage ended", "completed"]);
    working.kill();
    server.process.kill();
    fs::remove_dir_all(lab.path("data")).expect("removes");

    for (from, into) in [("linked", "one"), ("copied", "two")] {
        lab.run(&["restore", from, "--data-dir", into]).expect(0);
        lab.run(&["journal", "check", into]).expect(0);
        let port = free_port();
        let own = ["serve", "--listen", &port, "--data-dir", into, "--reattach-within", "0"];
        let server = Server::of(lab.start(&[&own[..], &PATIENT[..]].concat()));
        let working = server.worker(&lab, &format!("worker-{into}"));
        let coordinator = ["--coordinator", server.address.as_str()];
        let out = format!("report-{into}");
        lab.run(&[&["watch", &sweep], &coordinator[..]].concat()).expect(0);
        lab.run(&[&["report", &sweep, "--out", &out], &coordinator[..]].concat()).expect(0);
        assert!(report(&lab.path(&out)) == report(&lab.path("undisturbed")), "the report differs");
        working.dismiss();
    }
    // A restored coordinator is the same one.
    let id = |folder: &str| fs::read_to_string(lab.path(folder).join("coordinator.id")).expect("reads");
    assert_eq!(id("one"), id("two"));
}

#[test]
fn what_is_no_backup_or_a_damaged_one_is_not_restored() {
    let lab = Lab::new(SWEEP, 200);
    lab.run(&["run", "sweep.yaml", "--out", "out", "--lanes", "4"]).expect(0);
    lab.run(&["backup", "copy", "--data-dir", "out/.secateur", "--copy"]).expect(0);
    let before = files(&lab.path("copy"));
    let restore = |into: &str, code: i32, words: &str| {
        let ended = lab.run(&["restore", "copy", "--data-dir", into]).expect(code);
        assert!(words.is_empty() || ended.stderr.contains(words), "{words}: {}", ended.stderr);
    };
    restore("good", 0, "");
    restore("good", 2, "is not empty");
    let refused = lab.run(&["backup", "copy", "--data-dir", "out/.secateur"]).expect(2);
    assert!(refused.stderr.contains("is not empty"), "{}", refused.stderr);
    assert_eq!(files(&lab.path("copy")), before, "nothing of a backup is touched");
    // Any file that lacks a bit, or is missing, is found.
    let artifacts: Vec<_> =
        before.iter().filter(|(path, hash)| path.starts_with("artifacts") && hash.is_some()).collect();
    let (artifact, _) = artifacts.first().expect("there are some");
    for (number, path) in [artifact.to_path_buf(), "journal.db".into()].into_iter().enumerate() {
        let path = lab.path("copy").join(path);
        let whole = fs::read(&path).expect("reads");
        let mut damaged = whole.clone();
        if let Some(byte) = damaged.last_mut() {
            *byte ^= 1;
        }
        fs::write(&path, damaged).expect("writes");
        restore(&format!("damaged-{number}"), 1, "is damaged");
        fs::write(&path, whole).expect("writes");
    }
    let path = lab.path("copy").join(artifact);
    fs::rename(&path, lab.path("aside")).expect("renames");
    restore("missing", 1, "are missing from the backup");
    fs::rename(lab.path("aside"), &path).expect("renames");
    fs::remove_file(lab.path("copy/backup.json")).expect("removes");
    restore("interrupted", 2, "not a complete backup");
    let none = lab.run(&["backup", "none", "--data-dir", "copy/artifacts"]).expect(2);
    assert!(none.stderr.contains("has no journal.db"), "{}", none.stderr);
}
