//! Artifacts in a bucket, with the real program on both sides and a real server for S3's protocol: sweeps give what they give with files,
//! whoever can reach the storage, and whatever happens to it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use crate::common::{
    Ended, LONG_SWEEP, Lab, PATIENT, Process, SWEEP, Server,
    fake::{FakeWorker, hello, with_token},
    files, free_port, postgres,
    s3::{self, S3},
};
use secateur_proto::{
    ids::ContentHash,
    v1::{
        ArtifactRef, CommitRequest, LocateRequest, StatRequest, artifact_service_client::ArtifactServiceClient,
        worker_message::Message,
    },
};
use secateur_worker::direct::Direct;
use serde_json::Value;
use tonic::{Code, transport::Channel};

/// `secateur` with these arguments, which knows the storage.
fn start(lab: &Lab, s3: &S3, arguments: &[&str]) -> Process {
    let mut command = lab.secateur(arguments);
    command.envs(s3.environment());
    Process::start(command)
}

/// A coordinator with its artifacts in the bucket.
fn serve(lab: &Lab, s3: &S3, further: &[&str]) -> Server {
    let own = ["serve", "--listen", &free_port(), "--data-dir", "data", "--artifacts", &s3.url()];
    Server::of(start(lab, s3, &[&own[..], &PATIENT, further].concat()))
}

fn submit(lab: &Lab, server: &Server, out: &str) -> Ended {
    lab.run(&["submit", "sweep.yaml", "--coordinator", &server.address, "--wait", "--out", out, "--output", "json"])
}

/// What a run by files leaves: the report, the nets of the front and everything else of it.
fn alone(lab: &Lab) -> BTreeMap<std::path::PathBuf, Option<ContentHash>> {
    lab.run(&["run", "sweep.yaml", "--out", "alone", "--lanes", "2"]).expect(0);
    output(&lab.path("alone"))
}

fn output(folder: &Path) -> BTreeMap<std::path::PathBuf, Option<ContentHash>> {
    let mut found = files(folder);
    found.retain(|path, hash| hash.is_some() && !path.starts_with(".secateur"));
    assert!(found.keys().any(|path| path.starts_with("models")) && found.contains_key(Path::new("report.json")));
    found
}

#[test]
fn a_bucket_gives_what_files_give_and_workers_use_it_themselves() {
    let Some(s3) = S3::start() else { return };
    let lab = Lab::new(SWEEP, 400);
    let expected = alone(&lab);
    let server = serve(&lab, &s3, &[]);
    let workers = ["one", "other"].map(|name| server.worker(&lab, name));
    submit(&lab, &server, "out").expect(0);
    assert_eq!(output(&lab.path("out")), expected);
    let put = s3.requests("PUT", true);
    submit(&lab, &server, "again").expect(0);
    assert_eq!(output(&lab.path("again")), expected);
    assert_eq!(s3.requests("PUT", true), put, "something was computed again");
    // They have no credentials, and came with addresses that the coordinator signed. How much each reads of the other's is chance.
    assert!(s3.requests("GET", true) > 0 && s3.requests("PUT", true) > 5);
    let said = workers.map(|worker| worker.kill().stderr).concat();
    assert!(said.contains("read and written directly") && !said.contains("through the coordinator"), "{said}");
    assert!(!said.contains("X-Amz-Signature"), "an address is a secret: {said}");
    // Nothing is kept beside the bucket, and nothing in it but artifacts.
    assert!(!lab.path("data/artifacts").exists());
    let spool = files(&lab.path("data/spool"));
    assert!(!spool.values().any(Option::is_some), "{spool:?}");
    let there = files(&s3.place());
    for (path, hash) in there.iter().filter_map(|(path, hash)| Some((path, (*hash)?))) {
        assert_eq!(path.to_string_lossy(), format!("{}/{hash}", hash.short(2)));
    }
    // A coordinator that starts again finds all of it, and one that is told something else does not begin anew by mistake.
    let address = server.address.clone();
    let ended = server.process.kill();
    assert!(!ended.stderr.contains(s3::SECRET) && !ended.stderr.contains("X-Amz-Signature"), "{}", ended.stderr);
    let refused = lab.run(&["serve", "--listen", &address, "--data-dir", "data"]).expect(2);
    assert!(refused.stderr.contains(&format!("--artifacts {}", s3.url())), "{}", refused.stderr);
    let server = serve(&lab, &s3, &[]);
    let again = submit(&lab, &server, "later").expect(0).json();
    assert_eq!(again["stages_computed"], 0, "{again}");
    assert_eq!(output(&lab.path("later")), expected);
}

#[test]
fn a_worker_that_cannot_reach_the_storage_works_through_the_coordinator() {
    let Some(s3) = S3::start() else { return };
    let lab = Lab::new(SWEEP, 400);
    let expected = alone(&lab);
    // Nobody listens there.
    let server = serve(&lab, &s3, &["--artifacts-for-workers", "http://127.0.0.1:1"]);
    let worker = server.worker(&lab, "far");
    let other = server.worker(&lab, "farther");
    submit(&lab, &server, "out").expect(0);
    assert_eq!(output(&lab.path("out")), expected);
    assert_eq!(s3.requests("GET", true) + s3.requests("PUT", true), 0);
    assert!(s3.requests("GET", false) > 0 && s3.requests("PUT", false) > 5);
    for worker in [worker, other] {
        let said = worker.kill().stderr;
        assert_eq!(said.matches("through the coordinator for now").count(), 1, "it is told once: {said}");
        assert!(!said.contains("a lease failed") && !said.contains("X-Amz-Signature"), "{said}");
    }
}

#[test]
fn a_storage_that_is_away_for_a_while_costs_a_sweep_nothing() {
    let Some(mut s3) = S3::start() else { return };
    let lab = Lab::new(LONG_SWEEP, 600);
    let expected = alone(&lab);
    let mut server = serve(&lab, &s3, &["--reattach-within", "60"]);
    let mut worker = server.worker(&lab, "w");
    let submitted = ["submit", "sweep.yaml", "--coordinator", &server.address, "--wait", "--out", "out"];
    let submitted = lab.start(&[&submitted[..], &["--output", "json"]].concat());
    for _ in 0..4 {
        worker.wait_for(&["a stage ended", "completed"]);
    }
    s3.kill();
    server.process.wait_for(&["the bucket failed"]);
    s3.run();
    let status = submitted.end().expect(0).json();
    assert_eq!(status["state"], "completed", "{status}");
    assert_eq!(output(&lab.path("out")), expected);
    assert_eq!(status["stages_computed"], status["stages"], "{status}");
    let said = worker.kill();
    assert!(!said.stderr.contains("a result is lost") && !said.stderr.contains("a lease failed"), "{}", said.stderr);
}

/// A token of that role.
fn token(lab: &Lab, name: &str, role: &str) -> String {
    let made = lab.run(&["token", "create", name, "--role", role, "--data-dir", "data"]).expect(0);
    lab.write(&format!("{name}.token"), &made.stdout);
    made.stdout.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_for_what_leases_need_and_what_is_put_there_is_checked() {
    let Some(s3) = S3::start() else { return };
    let lab = Lab::new(SWEEP, 400);
    let [gpus, bob, alice] = [("gpus", "worker"), ("bob", "read"), ("alice", "submit")].map(|(n, r)| token(&lab, n, r));
    let server = serve(&lab, &s3, &["--max-artifact-size", "1MiB"]);
    let way = ["--coordinator", &server.address, "--token-file"];
    lab.run(&[&["submit", "sweep.yaml"], &way[..], &["alice.token"]].concat()).expect(0);
    let channel = Channel::from_shared(format!("http://{}", server.address)).expect("an address");
    let channel = channel.connect().await.expect("connects");
    let client = ArtifactServiceClient::new(channel.clone());
    let table = ContentHash::of(&fs::read(lab.path("table.csv")).expect("reads")).to_string();
    let locate = async |token: &str, hash: &str| {
        let request = with_token(token, LocateRequest { hash: hash.to_owned() });
        let reply = client.clone().locate(request).await.map_err(|status| status.code())?;
        Ok::<_, Code>(reply.into_inner().direct.expect("an address"))
    };
    assert!(locate(&alice, &table).await.is_ok());
    assert_eq!(locate(&gpus, &table).await, Err(Code::PermissionDenied), "no lease needs it");
    assert_eq!(locate(&bob, &table).await, Err(Code::PermissionDenied));
    assert_eq!(locate(&bob, &ContentHash::of(b"nothing").to_string()).await, Err(Code::PermissionDenied));
    // Its first lease prepares the table.
    let mut working = FakeWorker::attach(&channel, Some(&gpus), Message::Hello(hello("gpu"))).await.expect("is let in");
    working.lease().await;
    let address = locate(&gpus, &table).await.expect("a lease needs it");
    let direct = Direct::new().expect("certificates");
    let mut pieces = direct.get(address.try_into().expect("an address"), 0).await.expect("opens");
    assert!(
        fs::read(lab.path("table.csv"))
            .expect("reads")
            .starts_with(&pieces.next().await.expect("reads").expect("bytes"))
    );
    assert_eq!(locate(&bob, &table).await, Err(Code::PermissionDenied));
    drop(working);

    // What a worker says of a file that it put there is not believed.
    let bytes = b"what a stage left".as_slice();
    let (hash, size) = (ContentHash::of(bytes).to_string(), bytes.len() as u64);
    let stat = async |size: u64| {
        let request = with_token(&gpus, StatRequest { hash: hash.clone(), direct_size: Some(size) });
        client.clone().stat(request).await.expect("answers").into_inner()
    };
    let commit = async |token: &str, size: u64| {
        let artifact = Some(ArtifactRef { hash: hash.clone(), size });
        client.clone().commit(with_token(token, CommitRequest { artifact })).await.map(drop).map_err(|s| s.code())
    };
    assert_eq!(commit(&gpus, size).await, Err(Code::NotFound), "nothing is there");
    // What is too large for this coordinator is too large for its bucket.
    let too_large = (1 << 20) + 1;
    assert_eq!(stat(too_large).await.direct, None);
    assert_eq!(commit(&gpus, too_large).await, Err(Code::OutOfRange));
    assert!(stat(too_large - 1).await.direct.is_some());
    let address = stat(size).await.direct.expect("an address");
    direct.put(address.try_into().expect("an address"), size, b"what nobody left!".as_slice()).await.expect("arrives");
    assert_eq!(commit(&gpus, size).await, Err(Code::DataLoss));
    assert_eq!(stat(size).await.held, None);
    let address = stat(size).await.direct.expect("an address");
    direct.put(address.clone().try_into().expect("an address"), size, bytes).await.expect("arrives");
    assert_eq!(commit(&bob, size).await, Err(Code::PermissionDenied));
    assert_eq!(commit(&gpus, size).await, Ok(()));
    let there = stat(size).await;
    assert_eq!(there.held.map(|held| held.size), Some(size));
    assert_eq!(there.direct, None, "who holds it already needs no address");
    // An address that is used again does not touch what is held.
    direct.put(address.try_into().expect("an address"), size, b"what nobody left!".as_slice()).await.expect("arrives");
    assert_eq!(commit(&gpus, size).await, Ok(()));
    assert_eq!(fs::read(s3.place().join(&hash[..2]).join(&hash)).expect("is there"), bytes);
}

/// Makes every file below a folder look as if it had been put so many hours ago.
fn age(folder: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    for (path, _) in files(folder).into_iter().filter(|(_, hash)| hash.is_some()) {
        File::open(folder.join(path)).and_then(|file| file.set_modified(then)).expect("sets the time");
    }
}

/// Hashes of the files that a collection says are gone.
fn gone(collected: &Value) -> Vec<String> {
    let files = collected["gone"].as_array().expect("a list").iter();
    let mut hashes: Vec<_> = files.map(|file| file["hash"].as_str().expect("a hash").to_owned()).collect();
    hashes.sort_unstable();
    hashes
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_goes_from_a_bucket_and_nothing_else_does() {
    let Some(s3) = S3::start() else { return };
    let lab = Lab::new(SWEEP, 200);
    let server = serve(&lab, &s3, &[]);
    let at = ["--coordinator", server.address.as_str()];
    let worker = server.worker(&lab, "w");
    let id = submit(&lab, &server, "out").expect(0).json()["sweep_id"].as_str().expect("an id").to_owned();
    let expected = output(&lab.path("out"));
    // One that nobody asks for, one that somebody does, and one that a worker put there and never spoke of.
    let folder = s3.place();
    let [stray, asked, arrived] = [b"stray--", b"asked--", b"arrived"].map(|bytes| {
        let hash = ContentHash::of(bytes);
        let place = if bytes == b"arrived" { "incoming".to_owned() } else { hash.short(2) };
        fs::create_dir_all(folder.join(&place)).expect("makes a folder");
        fs::write(folder.join(place).join(hash.to_string()), bytes).expect("writes");
        hash.to_string()
    });
    age(&folder, 48);
    drop(worker);
    // What the coordinator has touched since it began is young to it; another one has touched nothing.
    let address = server.address.clone();
    server.process.kill();
    let server =
        Server::of(start(&lab, &s3, &["serve", "--listen", &address, "--data-dir", "data", "--artifacts", &s3.url()]));
    let channel = Channel::from_shared(format!("http://{}", server.address)).expect("an address");
    let mut client = ArtifactServiceClient::new(channel.connect().await.expect("connects"));
    let held = client.stat(StatRequest { hash: asked.clone(), direct_size: None }).await.expect("answers").into_inner();
    assert!(held.held.is_some());
    let gc = |further: &[&str]| lab.run(&[&["gc", "--output", "json"], &at[..], further].concat()).expect(0).json();
    let mut both = vec![stray.clone(), arrived.clone()];
    both.sort_unstable();
    assert_eq!(gone(&gc(&["--grace", "3days"])), [""; 0]);
    assert_eq!(gone(&gc(&["--dry-run"])), both);
    let collected = gc(&[]);
    assert_eq!(gone(&collected), both);
    assert_eq!(collected["kept"]["young"]["files"], 1, "{collected}");
    let left: Vec<String> = files(&folder).into_values().flatten().map(|hash| hash.to_string()).collect();
    assert!(left.contains(&asked) && !left.contains(&stray) && !left.contains(&arrived));
    lab.run(&["report", &id, "--out", "later", at[0], at[1]]).expect(0);
    assert_eq!(output(&lab.path("later")), expected);
    // Forgotten, and the coordinator stopped: its folder knows where the files are.
    lab.run(&["forget", &id, at[0], at[1]]).expect(0);
    server.process.kill();
    let stopped = start(&lab, &s3, &["gc", "data", "--output", "json", "--grace", "1h"]).end().expect(0).json();
    assert!(gone(&stopped).contains(&asked) && gone(&stopped).len() > 20, "{stopped}");
    assert_eq!(files(&folder).values().flatten().count(), 0);
}

#[test]
fn one_that_stands_by_needs_no_folder_of_the_other() {
    let Some(s3) = S3::start() else { return };
    let Some(database) = postgres::Server::start() else { return };
    let url = database.url("postgres");
    let lab = Lab::new(LONG_SWEEP, 600);
    let expected = alone(&lab);
    let serve = |address: &str, folder: &str| {
        let own = ["serve", "--listen", address, "--data-dir", folder, "--artifacts", &s3.url(), "--journal", &url];
        start(&lab, &s3, &[&own[..], &PATIENT].concat())
    };
    let first = Server::of(serve(&free_port(), "here"));
    let address = first.address.clone();
    let mut second = serve(&address, "there");
    second.wait_for(&["standing by"]);
    let submitted = ["submit", "sweep.yaml", "--wait", "--out", "out", "--output", "json", "--coordinator", &address];
    let submitted = lab.start(&submitted);
    let mut worker = first.worker(&lab, "w");
    for _ in 0..6 {
        worker.wait_for(&["a stage ended", "completed"]);
    }
    first.process.kill();
    let _second = Server::of(second);
    let status = submitted.end().expect(0).json();
    assert_eq!(status["state"], "completed", "{status}");
    assert_eq!(output(&lab.path("out")), expected);
}

#[test]
fn a_bucket_that_cannot_be_used_is_told_at_the_start() {
    let Some(s3) = S3::start() else { return };
    let lab = Lab::empty();
    let refused = |artifacts: &str, changes: &[(&str, &str)], code: i32, words: &[&str]| {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--artifacts", artifacts];
        let mut command = lab.secateur(&arguments);
        command.envs(s3.environment()).envs(changes.iter().copied());
        let ended = Process::start(command).end().expect(code);
        for word in words {
            assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains(s3::SECRET) && !ended.stderr.contains("another-secret"), "{}", ended.stderr);
    };
    let url = s3.url();
    refused("gs://bucket", &[], 2, &["s3://bucket/prefix"]);
    refused(&url, &[("AWS_SECRET_ACCESS_KEY", "another-secret")], 2, &["AWS_ACCESS_KEY_ID"]);
    refused(&url, &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")], 1, &["AWS_ENDPOINT_URL"]);
    refused(&url, &[("AWS_ENDPOINT_URL", "http://storage.example")], 2, &["AWS_ALLOW_HTTP"]);
    assert!(!lab.path("data").exists(), "nothing was begun");
    // Files that are there already would be forgotten.
    drop(Server::start(&lab));
    fs::create_dir_all(lab.path("data/artifacts/ab")).expect("makes a folder");
    fs::write(lab.path("data/artifacts/ab").join(format!("ab{}", "0".repeat(62))), b"a file").expect("writes");
    refused(&url, &[], 2, &["data/artifacts", "aws s3 sync"]);
}
