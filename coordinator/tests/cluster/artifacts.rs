//! The life of files, with the real program on both sides: a cache that is bounded, and the collection of garbage.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::common::{self, Ended, Lab, Process, SWEEP, Server, files, report};
use secateur_proto::{
    ids::ContentHash,
    v1::{
        ArtifactRef, PutRequest, PutStart, StatReply, StatRequest, artifact_service_client::ArtifactServiceClient,
        put_request::Part,
    },
};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

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
    for size in ["0", "some", "-1", "5 parsecs"] {
        let wrong = lab.run(&["worker", &format!("--cache-size={size}")]).expect(2);
        assert!(wrong.stderr.contains("--cache-size"), "{size}: {}", wrong.stderr);
    }
}

/// Makes every file below a folder look as if it had last been used so many hours ago.
fn age(folder: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    for (path, hash) in files(folder) {
        if hash.is_some() {
            File::open(folder.join(path)).and_then(|file| file.set_modified(then)).expect("sets the time");
        }
    }
}

/// `secateur gc` with these arguments.
fn gc(lab: &Lab, arguments: &[&str]) -> Value {
    lab.run(&[&["gc", "--output", "json"], arguments].concat()).expect(0).json()
}

/// Hashes of the files that a collection says are gone.
fn gone(collected: &Value) -> Vec<String> {
    let files = collected["gone"].as_array().expect("a list").iter();
    let mut hashes: Vec<_> = files.map(|file| file["hash"].as_str().expect("a hash").to_owned()).collect();
    hashes.sort_unstable();
    hashes
}

fn artifact(bytes: &[u8]) -> ArtifactRef {
    ArtifactRef { hash: ContentHash::of(bytes).to_string(), size: bytes.len() as u64 }
}

fn data(bytes: &[u8]) -> PutRequest {
    PutRequest { part: Some(Part::Data(bytes.to_vec())) }
}

fn start(bytes: &[u8]) -> PutRequest {
    PutRequest { part: Some(Part::Start(PutStart { artifact: Some(artifact(bytes)), offset: 0 })) }
}

async fn put(client: &mut ArtifactServiceClient<Channel>, bytes: &[u8]) {
    client.put(tokio_stream::iter([start(bytes), data(bytes)])).await.expect("puts");
}

async fn stat(client: &mut ArtifactServiceClient<Channel>, bytes: &[u8]) -> StatReply {
    let request = StatRequest { hash: ContentHash::of(bytes).to_string(), direct_size: None };
    client.stat(request).await.expect("answers").into_inner()
}

async fn client(server: &Server) -> ArtifactServiceClient<Channel> {
    let channel = Channel::from_shared(format!("http://{}", server.address)).expect("an address");
    ArtifactServiceClient::new(channel.connect().await.expect("connects"))
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_what_no_sweep_refers_to_and_nobody_is_about_to() {
    let lab = Lab::new(SWEEP, 200);
    let server = Server::start(&lab);
    let at = ["--coordinator", server.address.as_str()];
    let _worker = server.worker(&lab, "w");
    let id = submit(&lab, &server, "out").expect(0).json()["sweep_id"].as_str().expect("an id").to_owned();
    let artifacts = lab.path("data/artifacts");
    let of_the_sweep = files(&artifacts);
    let sweep_files = of_the_sweep.values().flatten().count();
    // One that nobody has asked for since, one that somebody asks for, and one whose upload stopped long ago.
    let mut client = client(&server).await;
    put(&mut client, b"stray").await;
    put(&mut client, b"asked for").await;
    client.put(tokio_stream::iter([start(b"cut off"), data(b"cut")])).await.expect_err("bytes are missing");
    // And one whose upload is under way, and waits for its rest.
    let (sender, parts) = mpsc::channel(4);
    let mut uploader = client.clone();
    let upload = tokio::spawn(async move { uploader.put(ReceiverStream::new(parts)).await });
    sender.send(start(b"under way")).await.expect("is taken");
    sender.send(data(b"under")).await.expect("is taken");
    let slow = artifacts.join("incoming").join(ContentHash::of(b"under way").to_string());
    common::until("the upload has begun", || fs::metadata(&slow).ok().filter(|file| file.len() == 5));

    // Young as all of it is, nothing goes.
    let collected = gc(&lab, &at);
    assert_eq!(gone(&collected), [""; 0], "{collected}");
    assert_eq!(collected["kept"]["referred"]["files"], sweep_files, "{collected}");
    assert_eq!(collected["kept"]["young"]["files"], 4, "{collected}");
    age(&artifacts, 48);
    assert_eq!(gone(&gc(&lab, &[&at[..], &["--grace", "3days"]].concat())), [""; 0]);
    assert!(stat(&mut client, b"asked for").await.held.is_some());
    let mut expected = [b"stray".as_slice(), b"cut off"].map(|bytes| ContentHash::of(bytes).to_string());
    expected.sort_unstable();
    let dry = gc(&lab, &[&at[..], &["--dry-run"]].concat());
    assert_eq!((gone(&dry), &dry["gone_bytes"]), (expected.to_vec(), &Value::from(8)), "{dry}");
    let text = lab.run(&[&["gc", "--dry-run"], &at[..]].concat()).expect(0).stdout;
    assert!(text.contains("would remove 2 files") && text.contains("48 h"), "{text}");
    assert!(
        stat(&mut client, b"stray").await.held.is_some(),
        "a dry run removed it, or a question did not make it young"
    );
    age(&artifacts, 48);
    assert!(stat(&mut client, b"asked for").await.held.is_some());
    assert_eq!(gone(&gc(&lab, &at)), expected);
    assert_eq!(stat(&mut client, b"stray").await, StatReply::default());
    assert_eq!(stat(&mut client, b"cut off").await, StatReply::default());
    assert!(stat(&mut client, b"asked for").await.held.is_some());
    sender.send(data(b" way")).await.expect("is taken");
    drop(sender);
    upload.await.expect("ends").expect("the upload goes on as if nothing had been");
    for (path, hash) in &of_the_sweep {
        assert!(hash.is_none() || artifacts.join(path).exists(), "{} of the sweep is gone", path.display());
    }
    lab.run(&[&["report", &id, "--out", "later"], &at[..]].concat()).expect(0);
    assert_eq!(files(&lab.path("later")), files(&lab.path("out")));

    let hasty = lab.run(&[&["gc", "--grace", "59s"], &at[..]].concat()).expect(2);
    assert!(hasty.stderr.contains("at least 60 s"), "{}", hasty.stderr);
    for grace in ["soon", "-1h", "", "1000000000000years"] {
        lab.run(&[&["gc", &format!("--grace={grace}")], &at[..]].concat()).expect(2);
    }
    age(&artifacts, 48);
    assert_eq!(gone(&gc(&lab, &[&at[..], &["--grace", "10000000000years"]].concat())), [""; 0]);
}

#[test]
fn a_forgotten_sweep_leaves_nothing_and_can_come_again() {
    let lab = Lab::new(SWEEP, 200);
    let server = Server::start(&lab);
    let at = ["--coordinator", server.address.as_str()];
    let on = |words: &[&str]| lab.run(&[words, &at[..]].concat());
    let worker = server.worker(&lab, "w");
    let status = submit(&lab, &server, "out").expect(0).json();
    let id = status["sweep_id"].as_str().expect("an id");
    // Another sweep that shares all but the cells of one seed.
    lab.write("sweep.yaml", SWEEP.replace("seeds: 2", "seeds: 1"));
    submit(&lab, &server, "smaller").expect(0);
    lab.write("sweep.yaml", SWEEP);
    let artifacts = lab.path("data/artifacts");
    let before = stored(&artifacts);
    let forgotten = on(&["forget", &id[..8], "--output", "json"]).expect(0).json();
    assert_eq!(forgotten["sweep_id"], id);
    assert!(on(&["show", id]).expect(2).stderr.contains("no sweep"));
    assert!(on(&["forget", id]).expect(2).stderr.contains("no sweep"));
    age(&artifacts, 48);
    // While it runs its folder is its own.
    let refused = lab.run(&["gc", "data"]).expect(2);
    assert!(refused.stderr.contains("--coordinator"), "{}", refused.stderr);
    let collected = gc(&lab, &at);
    assert!(!gone(&collected).is_empty());
    assert_eq!(stored(&artifacts), before - collected["gone_bytes"].as_u64().expect("a number"));
    assert_eq!(collected["kept"]["referred"]["bytes"], stored(&artifacts));
    // The sweep that shares most of it is whole.
    let smaller = on(&["ls", "--output", "json"]).expect(0).json()[0]["sweep_id"].as_str().expect("an id").to_owned();
    on(&["report", &smaller, "--out", "smaller again"]).expect(0);
    assert_eq!(files(&lab.path("smaller again")), files(&lab.path("smaller")));
    // Nothing of it is believed to be there: it is computed again where it was only its own, also after a restart.
    drop(worker);
    let Server { process, address } = server;
    process.kill();
    assert_eq!(gone(&gc(&lab, &["data", "--grace", "0s"])), [""; 0], "a stopped coordinator knows the same");
    let server = Server::start_on(&lab, &address);
    let worker = server.worker(&lab, "other");
    let again = submit(&lab, &server, "again").expect(0).json();
    let computed = again["stages_computed"].as_u64().expect("a number");
    assert!(0 < computed && computed < again["stages"].as_u64().expect("a number"), "{again}");
    assert_eq!(files(&lab.path("again")), files(&lab.path("out")));
    // A worker that goes on would leave files, whatever becomes of the sweep.
    worker.dismiss();
    // Both forgotten, and the coordinator stopped: nothing stays but what is too young.
    for id in [id, &smaller] {
        lab.run(&["forget", id, "--coordinator", &server.address]).expect(0);
    }
    server.process.kill();
    age(&artifacts, 1);
    assert_eq!(gone(&gc(&lab, &["data"])), [""; 0], "all of it is young");
    let dry = gc(&lab, &["data", "--grace", "0s", "--dry-run"]);
    let collected = gc(&lab, &["data", "--grace", "0s"]);
    assert_eq!(gone(&dry), gone(&collected));
    assert_eq!(stored(&artifacts), 0);
    // A journal that was emptied, or another one, says nothing of what is there.
    let server = Server::start_on(&lab, &address);
    lab.run(&["submit", "sweep.yaml", "--coordinator", &server.address]).expect(0);
    server.process.kill();
    age(&artifacts, 48);
    let before = stored(&artifacts);
    for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        // The last two may be there or not.
        let _ = std::fs::remove_file(lab.path("data").join(name));
    }
    let server = Server::start_on(&lab, &address);
    let refused = lab.run(&["gc", "--coordinator", &server.address]).expect(2);
    assert!(refused.stderr.contains("never had a sweep"), "{}", refused.stderr);
    server.process.kill();
    let refused = lab.run(&["gc", "data", "--grace", "0s"]).expect(2);
    assert!(refused.stderr.contains("never had a sweep"), "{}", refused.stderr);
    assert_eq!(stored(&artifacts), before);
    let nowhere = lab.run(&["gc", "out"]).expect(2);
    assert!(nowhere.stderr.contains("journal.db"), "{}", nowhere.stderr);
    assert!(!lab.path("out/journal.db").exists() && !lab.path("out/lock").exists());
}

#[test]
fn a_sweep_that_runs_is_not_forgotten() {
    let lab = Lab::new(SWEEP, 200);
    let server = Server::start(&lab);
    let at = ["--coordinator", server.address.as_str()];
    let id = lab.run(&[&["submit", "sweep.yaml", "--output", "json"], &at[..]].concat()).expect(0).json()["sweep_id"]
        .clone();
    let id = id.as_str().expect("an id");
    let refused = lab.run(&[&["forget", id], &at[..]].concat()).expect(2);
    assert!(refused.stderr.contains("cancel it first"), "{}", refused.stderr);
    // Old, and needed by a sweep that has not begun.
    age(&lab.path("data/artifacts"), 48);
    assert_eq!(gone(&gc(&lab, &at)), [""; 0]);
    lab.run(&[&["cancel", id], &at[..]].concat()).expect(0);
    age(&lab.path("data/artifacts"), 48);
    assert_eq!(gone(&gc(&lab, &at)), [""; 0], "a cancelled sweep can go on");
    lab.run(&[&["forget", id], &at[..]].concat()).expect(0);
    assert_eq!(gone(&gc(&lab, &at)).len(), 1, "its table");
}

#[test]
fn a_journal_that_knows_nothing_of_the_files_beside_it_is_told() {
    let lab = Lab::new(SWEEP, 200);
    let run = ["run", "sweep.yaml", "--out", "out"];
    let words = "has never had a sweep";
    let first = lab.run(&run).expect(0);
    assert!(!first.stderr.contains(words), "{}", first.stderr);
    for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        // SQLite leaves some of them only while it is open.
        let _ = fs::remove_file(lab.path("out/.secateur").join(name));
    }
    let again = lab.run(&run).expect(0);
    assert!(again.stderr.contains(words), "{}", again.stderr);
    assert!(!lab.run(&run).expect(0).stderr.contains(words), "it knows of a sweep again");
}

#[test]
fn a_result_that_is_too_large_is_made_once() {
    let lab = Lab::new(SWEEP, 60);
    // The table is just small enough; what is prepared of it has its numbers and more.
    let limit = format!("{}B", fs::metadata(lab.path("table.csv")).expect("is there").len());
    let own = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--max-artifact-size", &limit];
    let server = Server::of(lab.start(&own));
    let worker = server.worker(&lab, "w");
    let submitted = lab.run(&["submit", "sweep.yaml", "--wait", "--coordinator", &server.address]).expect(1);
    assert!(submitted.stderr.contains("--max-artifact-size") || submitted.stdout.contains("--max-artifact-size"));
    let said = worker.kill().stderr;
    assert_eq!(said.matches("a result is lost").count(), 1, "{said}");
}

#[test]
fn a_file_that_is_lost_is_named_with_what_helps_and_that_does() {
    let small =
        SWEEP.replace("[magnitude, taylor]", "magnitude").replace("[0, 1.0e-3]", "0").replace("seeds: 2", "seeds: 1");
    let lab = Lab::new(&small, 200);
    lab.write("other.yaml", small.replace("name: small", "name: other").replace("[0.5, 0.8]", "0.6"));
    let server = Server::start(&lab);
    let at = ["--coordinator", server.address.as_str()];
    let run = |arguments: &[&str]| lab.run(&[arguments, &at].concat());
    let first = server.worker(&lab, "first");
    run(&["submit", "sweep.yaml", "--wait"]).expect(0);
    first.kill();
    // What every other stage reads, damaged after its stage has ended; and a worker that has no copy of it.
    let artifacts = lab.path("data/artifacts");
    let bytes = |name: &Path| fs::read(artifacts.join(name)).expect("reads");
    let names = files(&artifacts).into_iter().filter_map(|(name, hash)| hash.map(|_| name));
    let is_prepared = |name: &PathBuf| bytes(name).windows(12).any(|window| window == b"train.inputs");
    let prepared: Vec<PathBuf> = names.filter(is_prepared).collect();
    let [prepared] = prepared.as_slice() else { panic!("{prepared:?}") };
    let mut damaged = bytes(prepared);
    *damaged.last_mut().expect("is not empty") ^= 1;
    fs::write(artifacts.join(prepared), damaged).expect("writes");
    let _second = server.worker(&lab, "second");
    let failed = run(&["submit", "other.yaml", "--wait"]).expect(1);
    let said = [failed.stdout, failed.stderr].concat();
    assert!(said.contains("cannot get its input `prepared`") && said.contains("`secateur explain`"), "{said}");
    assert!(!artifacts.join(prepared).exists(), "what is damaged is not kept, so that it can be made again");
    let ids = run(&["ls", "--output", "json"]).expect(0).json();
    let ids: Vec<&str> =
        ids.as_array().expect("a list").iter().filter_map(|sweep| sweep["sweep_id"].as_str()).collect();
    let explained = run(&["explain", ids[1]]).expect(0).stdout;
    let words = ["the file `prepared` of prepare ", "is missing", prepared.to_str().expect("UTF-8")];
    assert!(words.iter().all(|word| explained.contains(word)), "{explained}");
    let retried = run(&["retry", ids[1]]).expect(0).stdout;
    assert!(retried.contains("note: the file `prepared` of prepare "), "{retried}");
    run(&["watch", ids[1]]).expect(1);
    // What was said is done.
    for id in ids {
        assert!(explained.contains(&format!("`secateur forget {id}`")), "{explained}");
        run(&["forget", id]).expect(0);
    }
    run(&["submit", "other.yaml", "--wait"]).expect(0);
    assert!(artifacts.join(prepared).exists());
}
