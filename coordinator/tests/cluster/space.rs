//! Folders: one that is full, one that somebody else uses, one that is another sweep's.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::Command,
};

use crate::common::{self, Lab, SWEEP, Server, files, report};

/// A small file system of its own. Dropped, it is gone.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Nothing, and a word of it, where the user may not mount one: whoever must test everything, as .ci/run must, fails then.
    fn mount(path: PathBuf, megabytes: u32) -> Option<Self> {
        fs::create_dir(&path).expect("makes a folder");
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self { path });
        }
        assert!(std::env::var_os("SECATEUR_TEST_EVERYTHING").is_none(), "this user may not mount a small disk");
        eprintln!("this user may not mount a small disk: nothing to test");
        None
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Fills the disk up to so many kibibytes.
    fn leave(&self, kibibytes: u64) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).expect("opens the ballast");
        while file.write_all(&[0; 4096]).is_ok() {}
        let size = file.metadata().expect("has a size").len();
        file.set_len(size.saturating_sub(kibibytes << 10)).expect("shortens the ballast");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process of a test that failed may still be there.
        let unmounted = Command::new("umount").arg("-l").arg(&self.path).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()));
    }
}

/// Needs the right to mount a file system: elsewhere it says so and shows nothing.
#[test]
fn a_full_disk_stops_a_sweep_with_the_reason_and_room_lets_it_go_on() {
    let sweep = SWEEP.replace("hidden: [8, 4]", "hidden: [64, 32]");
    let lab = Lab::new(&sweep, 400);
    let Some(disk) = SmallDisk::mount(lab.path("disk"), 16) else { return };
    lab.run(&["run", "sweep.yaml", "--out", "roomy", "--lanes", "4"]).expect(0);
    let results = |folder: &str| {
        let folder = lab.path(folder);
        let mut results = if folder.exists() { files(&folder) } else { BTreeMap::new() };
        results.retain(|path, _| !path.starts_with(".secateur"));
        results
    };
    let roomy = results("roomy");
    let run = ["run", "sweep.yaml", "--out", "disk/out", "--lanes", "2", "--output", "json"];
    // Each time a little more room: it runs out at the lock, in each of the journal's files, in an artifact, in the report.
    let mut stops = 0;
    let mut finished = false;
    for room in (0..64).step_by(8).chain((64..2048).step_by(64)) {
        disk.leave(room);
        let ended = lab.run(&run);
        if ended.code == Some(0) {
            finished = true;
            break;
        }
        stops += 1;
        let ended = ended.expect(1);
        let message =
            ended.json()["error"]["message"].as_str().map_or_else(|| ended.json()["reason"].to_string(), str::to_owned);
        assert!(message.to_lowercase().contains("no space left"), "with {room} KiB: {message}\n{}", ended.stderr);
        assert!(message.contains("free some space, then run the same command again"), "with {room} KiB: {message}");
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        for (path, hash) in results("disk/out") {
            assert_eq!(roomy.get(&path), Some(&hash), "with {room} KiB {} is not whole", path.display());
        }
    }
    assert!(stops >= 8, "the disk was full {stops} times only");
    fs::remove_file(disk.ballast()).expect("removes the ballast");
    let status = lab.run(&run).expect(0).json();
    assert!(finished || status["stages_computed"].as_u64() < status["stages"].as_u64());
    assert_eq!(results("disk/out"), roomy);
}

/// The report of the sweep as a run makes it that nothing disturbs.
fn undisturbed(lab: &Lab) -> Vec<u8> {
    lab.run(&["run", "sweep.yaml", "--out", "undisturbed", "--lanes", "2"]).expect(0);
    report(&lab.path("undisturbed"))
}

#[test]
fn while_a_coordinator_has_no_room_workers_keep_their_results_and_nothing_is_computed_twice() {
    let lab = Lab::new(SWEEP, 4000);
    let Some(disk) = SmallDisk::mount(lab.path("disk"), 24) else { return };
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "disk/data", "--keep-free", "8MiB"];
    let mut server = Server::of(lab.start(&serve));
    let at = ["--coordinator", server.address.as_str()];
    let submitted = lab.run(&[&["submit", "sweep.yaml", "--output", "json"], &at[..]].concat()).expect(0).json();
    let id = submitted["sweep_id"].as_str().expect("an id");
    // More than is kept free, but no room for a file.
    disk.leave((8 << 10) + 32);
    let mut watch = lab.start(&[&["watch", id], &at[..]].concat());
    let mut worker = server.worker_with(&lab, "w", &["--grace", "0"]);
    worker.wait_for(&["no space for a result; it waits"]);
    server.process.wait_for(&["no disk space for results"]);
    watch.wait_for(&["held: the coordinator's disk is full"]);
    let show = [&["show", id, "--output", "json"], &at[..]].concat();
    let shown = lab.run(&show).expect(0).json();
    assert_eq!((shown["state"].as_str(), shown["trials_failed"].as_u64()), (Some("running"), Some(0)));
    assert!(shown["held"].as_str().expect("is held").contains("disk is full"), "{shown}");
    let why = lab.run(&[&["explain", id], &at[..]].concat()).expect(0).stdout;
    assert!(why.contains("it is held: the coordinator's disk is full"), "{why}");
    // What does not fit is refused to people, too.
    lab.write("other.yaml", SWEEP.replace("table.csv", "other.csv"));
    lab.write("other.csv", common::table(3000));
    let refused = lab.run(&[&["submit", "other.yaml"], &at[..]].concat()).expect(1);
    assert!(refused.stderr.contains("no space left on the coordinator's disk: free some"), "{}", refused.stderr);
    // A worker that is asked to end hands the stage back, and keeps the result for the next one over the same folder.
    worker.interrupt();
    let ended = worker.end().expect(130);
    assert!(ended.stderr.contains("they are kept in the cache folder"), "{}", ended.stderr);
    let worker = server.worker(&lab, "w");
    fs::remove_file(disk.ballast()).expect("removes the ballast");
    watch.wait_for(&["no longer held"]);
    watch.end().expect(0);
    assert!(!server.process.said().contains("an attempt failed"));
    lab.run(&[&["report", id, "--out", "out"], &at[..]].concat()).expect(0);
    assert_eq!(report(&lab.path("out")), undisturbed(&lab));
    let shown = lab.run(&show).expect(0).json();
    assert_eq!(shown["held"], "");
    assert_eq!(Some(ended.completed() + worker.dismiss().completed()), shown["stages"].as_u64());
}

#[test]
fn what_a_worker_has_no_room_for_another_one_does() {
    let lab = Lab::new(SWEEP, 400);
    let Some(disk) = SmallDisk::mount(lab.path("disk"), 16) else { return };
    let mut server = Server::start(&lab);
    let at = ["--coordinator", server.address.as_str()];
    let submitted = lab.run(&[&["submit", "sweep.yaml", "--output", "json"], &at[..]].concat()).expect(0).json();
    let id = submitted["sweep_id"].as_str().expect("an id");
    let named = ["worker", "--name", "full", "--cache-dir", "disk/cache", "--slots", "1", "--lanes", "2"];
    fs::create_dir(lab.path("disk/cache")).expect("makes a folder");
    fs::create_dir(lab.path("disk/cache/incoming")).expect("makes a folder");
    disk.leave(12);
    let mut full = lab.start(&[&named[..], &at[..]].concat());
    full.wait_for(&["attached", "worker="]);
    server.process.wait_for(&["a worker is quarantined", "its disk is full"]);
    let show = [&["show", id, "--output", "json"], &at[..]].concat();
    let shown = lab.run(&show).expect(0).json();
    assert_eq!((shown["state"].as_str(), shown["trials_failed"].as_u64()), (Some("running"), Some(0)));
    assert!(shown["held"].as_str().expect("is held").contains("its disk is full"), "{shown}");
    // The first one that has room does all of it.
    let good = server.worker(&lab, "good");
    lab.run(&[&["watch", id], &at[..]].concat()).expect(0);
    lab.run(&[&["report", id, "--out", "out"], &at[..]].concat()).expect(0);
    assert_eq!(report(&lab.path("out")), undisturbed(&lab));
    assert_eq!(Some(good.dismiss().completed()), lab.run(&show).expect(0).json()["stages"].as_u64());
}

#[test]
fn two_runs_at_once_into_one_folder() {
    let lab = Lab::new(&SWEEP.replace("epochs: 4", "epochs: 40"), 400);
    let run = ["run", "sweep.yaml", "--out", "out", "--lanes", "4", "--output", "json"];
    let mut first = lab.start(&run);
    first.wait_for(&["listening"]);
    // It is not done before the second one has come.
    common::signal(first.id(), "STOP");
    let second = lab.run(&run).expect(2);
    common::signal(first.id(), "CONT");
    let message = second.json()["error"]["message"].to_string();
    assert!(message.contains("out/.secateur is in use by another secateur"), "{message}");
    let status = first.end().expect(0).json();
    assert_eq!(status["stages_computed"], status["stages"]);
    lab.run(&["run", "sweep.yaml", "--out", "alone", "--lanes", "4"]).expect(0);
    assert_eq!(report(&lab.path("out")), report(&lab.path("alone")));
}

#[test]
fn two_coordinators_over_one_folder() {
    let lab = Lab::empty();
    let _first = common::Server::start(&lab);
    let second = lab.run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]).expect(2);
    assert!(second.stderr.contains("data is in use by another secateur"), "{}", second.stderr);
}

#[test]
fn a_folder_belongs_to_one_sweep() {
    let lab = Lab::new(SWEEP, 200);
    let id = lab.run(&["run", "sweep.yaml", "--out", "out", "--lanes", "4", "--output", "json"]).expect(0).json()["sweep_id"].clone();
    let held = || {
        let mut held = files(&lab.path("out"));
        // An empty log and its index, which SQLite leaves once it has read a journal.
        held.retain(|path, _| !path.ends_with("journal.db-wal") && !path.ends_with("journal.db-shm"));
        held
    };
    let before = held();
    let refuse = |what: &str| {
        let ended = lab.run(&["run", "sweep.yaml", "--out", "out"]).expect(2);
        let id = id.as_str().expect("an id");
        assert!(
            ["out holds another sweep", id, "--out"].iter().all(|word| ended.stderr.contains(word)),
            "{what}: {}",
            ended.stderr
        );
        assert_eq!(held(), before, "{what}");
    };
    lab.write("sweep.yaml", SWEEP.replace("seeds: 2", "seeds: 1"));
    refuse("a file that asks for less");
    lab.write("sweep.yaml", SWEEP.replace("epochs: 4", "epochs: 5"));
    refuse("a file that asks for something else");
    lab.write("sweep.yaml", SWEEP);
    lab.write("table.csv", common::table(201));
    refuse("another table");
}

#[test]
fn a_folder_that_cannot_be_made_is_wrong_input() {
    let lab = Lab::new(SWEEP, 200);
    lab.write("file", "not a folder");
    let before = lab.files();
    let ended = lab.run(&["run", "sweep.yaml", "--out", "file/out"]).expect(2);
    assert!(ended.stderr.contains("file/out"), "{}", ended.stderr);
    assert_eq!(lab.files(), before);
}
