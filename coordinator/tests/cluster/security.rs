//! The door of a coordinator, with the real program on both sides of it: TLS, tokens, roles, and what is written down.

use std::{fs, process::Command};

use crate::common::{
    self, Ended, Lab, PATIENT, Process, SWEEP, Server,
    fake::{self, FakeWorker, hello},
    until,
};
use secateur_proto::{
    ids::ContentHash,
    v1::{
        GetArtifactRequest, LogsRequest, artifact_service_client::ArtifactServiceClient,
        sweep_service_client::SweepServiceClient, worker_message::Message,
    },
};
use serde_json::Value;
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig},
};

/// Makes a token and writes it into a file of its name.
pub(super) fn token(lab: &Lab, name: &str, role: &str) -> String {
    let made = lab.run(&["token", "create", name, "--role", role, "--data-dir", "data"]).expect(0);
    lab.write(&format!("{name}.token"), &made.stdout);
    made.stdout.trim().to_owned()
}

/// A coordinator with certificates of its own authority, on a free port.
pub(super) fn encrypted(lab: &Lab, further: &[&str]) -> Server {
    lab.run(&["cert", "init"]).expect(0);
    let own = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"];
    let tls = ["--tls-cert", "certs/server.pem", "--tls-key", "certs/server.key"];
    Server::of(lab.start(&[&own[..], &tls[..], &PATIENT[..], further].concat()))
}

/// A command against `server`, over TLS, with the token in that file.
pub(super) fn with_token(lab: &Lab, server: &Server, arguments: &[&str], name: &str) -> Ended {
    let file = format!("{name}.token");
    let way = ["--coordinator", &server.address, "--ca", "certs/ca.pem", "--token-file", &file];
    lab.run(&[arguments, &way[..]].concat())
}

pub(super) fn worker(lab: &Lab, server: &Server, further: &[&str]) -> Process {
    let way = ["worker", "--coordinator", &server.address, "--ca", "certs/ca.pem"];
    let own = ["--cache-dir", "cache", "--slots", "1", "--lanes", "4", "--name", "gpu"];
    lab.start(&[&way[..], &own[..], further].concat())
}

/// A connection to `server`, over TLS.
async fn channel(lab: &Lab, server: &Server) -> Channel {
    let authority = Certificate::from_pem(fs::read(lab.path("certs/ca.pem")).expect("reads"));
    let channel = Channel::from_shared(format!("https://{}", server.address)).expect("an address");
    let channel = channel.tls_config(ClientTlsConfig::new().ca_certificate(authority)).expect("a certificate");
    channel.connect().await.expect("connects")
}

pub(super) fn audit(lab: &Lab) -> Vec<Value> {
    let log = fs::read_to_string(lab.path("data/audit.jsonl")).expect("there is a log");
    log.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

#[test]
fn a_sweep_goes_through_and_nobody_may_more_than_their_role() {
    let lab = Lab::new(SWEEP, 400);
    let tokens =
        [("alice", "submit"), ("gpus", "worker"), ("bob", "read"), ("root", "admin")].map(|(n, r)| token(&lab, n, r));
    let server = encrypted(&lab, &[]);
    let mut working = worker(&lab, &server, &["--token-file", "gpus.token"]);
    working.wait_for(&["attached", "worker="]);
    with_token(&lab, &server, &["submit", "sweep.yaml", "--wait", "--out", "report"], "alice").expect(0);
    let sweep = with_token(&lab, &server, &["ls", "--output", "json"], "bob").expect(0).json();
    let sweep = sweep[0]["sweep_id"].as_str().expect("an id").to_owned();
    // A reader gets the same report, with the nets of the front.
    with_token(&lab, &server, &["report", &sweep, "--out", "again"], "bob").expect(0);
    assert_eq!(common::report(&lab.path("again")), common::report(&lab.path("report")));
    for (who, verb) in [
        ("bob", &["cancel", &sweep][..]),
        ("bob", &["submit", "sweep.yaml"]),
        ("gpus", &["ls"]),
        ("gpus", &["submit", "sweep.yaml"]),
        ("gpus", &["report", &sweep, "--out", "stolen"]),
    ] {
        let refused = with_token(&lab, &server, verb, who).expect(2);
        assert!(refused.stderr.contains("may not call"), "{who} {verb:?}: {}", refused.stderr);
    }
    with_token(&lab, &server, &["workers"], "root").expect(0);

    // No token, a wrong one, no certificate that is trusted, no TLS.
    let way = ["ls", "--coordinator", &server.address];
    let nothing = lab.run(&[&way[..], &["--ca", "certs/ca.pem"]].concat()).expect(2);
    assert!(nothing.stderr.contains("requires a token"), "{}", nothing.stderr);
    lab.write("wrong.token", "secateur_admin_0000000000000000000000000000000000000000000000000000000000000000");
    let wrong = with_token(&lab, &server, &["ls"], "wrong").expect(2);
    assert!(wrong.stderr.contains("unknown token"), "{}", wrong.stderr);
    lab.run(&["cert", "init", "--dir", "others"]).expect(0);
    lab.run(&[&way[..], &["--ca", "others/ca.pem", "--token-file", "root.token"]].concat()).expect(3);
    let clear = lab.run(&[&way[..], &["--token-file", "root.token"]].concat()).expect(3);
    assert!(clear.stderr.contains("https://"), "{}", clear.stderr);
    let mut clear = lab.start(&["worker", "--coordinator", &server.address, "--cache-dir", "clear"]);
    clear.wait_for(&["not attached", "uses TLS"]);
    clear.kill();
    let strange = ["--ca", "others/ca.pem", "--cache-dir", "strange"];
    let mut strange = lab.start(&[&["worker", "--coordinator", &server.address], &strange[..]].concat());
    strange.wait_for(&["not attached", "was not signed by the authority in --ca"]);
    strange.kill();

    // Who did what is written down, and no token is written anywhere.
    let done = |who: &str, what: &str| audit(&lab).iter().any(|entry| entry["who"] == who && entry["did"] == what);
    let all_done = || done("alice", "submit") && done("gpus", "attach") && done("bob", "report");
    until("all of it is written down", || all_done().then_some(()));
    let refused = |who: &str, verb: &str| {
        let is_it = |entry: &Value| entry["who"] == who && entry["refused"].as_str().is_some_and(|m| m.ends_with(verb));
        audit(&lab).iter().any(is_it)
    };
    until("refusals are, too", || (refused("bob", "Cancel") && refused("gpus", "List")).then_some(()));
    server.process.interrupt();
    working.interrupt();
    let logs = [server.process.end().stderr, working.end().stderr].concat();
    for secret in &tokens {
        let random = secret.rsplit('_').next().expect("a random part");
        assert!(!logs.contains(random), "a token is in a log");
        let found =
            Command::new("grep").args(["-rl", random, "data", "report", "cache"]).current_dir(lab.path(".")).output();
        assert_eq!(String::from_utf8_lossy(&found.expect("greps").stdout), "", "a token is in a file");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_reads_what_its_leases_need_and_a_reader_no_data() {
    let lab = Lab::new(SWEEP, 400);
    let [gpus, bob, alice] = [("gpus", "worker"), ("bob", "read"), ("alice", "submit")].map(|(n, r)| token(&lab, n, r));
    let server = encrypted(&lab, &[]);
    with_token(&lab, &server, &["submit", "sweep.yaml"], "alice").expect(0);
    let channel = channel(&lab, &server).await;
    let client = ArtifactServiceClient::new(channel.clone());
    let table = ContentHash::of(&fs::read(lab.path("table.csv")).expect("reads")).to_string();
    let get = async |token: &str, hash: &str| {
        let request = GetArtifactRequest { hash: hash.to_owned(), offset: 0 };
        client.clone().get(fake::with_token(token, request)).await.map(drop).map_err(|status| status.code())
    };
    assert_eq!(get(&alice, &table).await, Ok(()));
    assert_eq!(get(&gpus, &table).await, Err(Code::PermissionDenied), "no lease needs it");
    assert_eq!(get(&bob, &table).await, Err(Code::PermissionDenied));
    // What is not there is refused in the same words: a stranger is not to learn which data a bank has.
    assert_eq!(get(&bob, &ContentHash::of(b"nothing").to_string()).await, Err(Code::PermissionDenied));
    // Its first lease prepares the table.
    let mut working = FakeWorker::attach(&channel, Some(&gpus), Message::Hello(hello("gpu"))).await.expect("is let in");
    working.lease().await;
    assert_eq!(get(&gpus, &table).await, Ok(()));
    assert_eq!(get(&bob, &table).await, Err(Code::PermissionDenied));
    drop(working);
}

#[test]
fn a_token_is_exchanged_without_a_restart_and_a_revoked_one_ends_a_session() {
    let lab = Lab::empty();
    token(&lab, "gpus", "worker");
    let server = encrypted(&lab, &[]);
    let mut working = worker(&lab, &server, &["--token-file", "gpus.token"]);
    working.wait_for(&["attached", "worker="]);
    lab.run(&["token", "revoke", "gpus", "--data-dir", "data"]).expect(0);
    working.wait_for(&["not attached", "token"]);
    token(&lab, "gpus", "worker");
    working.wait_for(&["attached", "worker="]);
    let list = lab.run(&["token", "list", "--data-dir", "data", "--output", "json"]).expect(0).json();
    assert_eq!((list[0]["name"].as_str(), list.as_array().map(Vec::len)), (Some("gpus"), Some(1)));
    // Another role's token is no worker's: that will not change by trying again.
    token(&lab, "bob", "read");
    drop(working);
    let refused = worker(&lab, &server, &["--token-file", "bob.token"]);
    let refused = refused.end().expect(2);
    assert!(
        refused.stderr.contains("the role read may not call Attach: use a token with the role worker or admin"),
        "{}",
        refused.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_what_was_being_followed_with_it() {
    let lab = Lab::new(SWEEP, 100);
    let [_, bob, _] = [("alice", "submit"), ("bob", "read"), ("carol", "read")].map(|(n, r)| token(&lab, n, r));
    let server = encrypted(&lab, &[]);
    with_token(&lab, &server, &["submit", "sweep.yaml"], "alice").expect(0);
    let listed = with_token(&lab, &server, &["ls", "--output", "json"], "alice").expect(0).json();
    let sweep = listed[0]["sweep_id"].as_str().expect("an id").to_owned();
    let shown = with_token(&lab, &server, &["show", &sweep, "--output", "json"], "alice").expect(0).json();
    let trial = shown["trials_detail"][0]["id"].as_str().expect("a trial").to_owned();
    let watch = |name: &str| {
        let file = format!("{name}.token");
        let way = ["--coordinator", &server.address, "--ca", "certs/ca.pem", "--token-file", &file];
        let mut process = lab.start(&[&["watch", &sweep], &way[..]].concat());
        process.wait_for(&["trials"]);
        process
    };
    let (bobs, mut carols) = (watch("bob"), watch("carol"));
    let mut client = SweepServiceClient::new(channel(&lab, &server).await);
    let request = LogsRequest { subject: trial, follow: true, attempt: 0 };
    let mut lines = client.logs(fake::with_token(&bob, request)).await.expect("is let in").into_inner();
    lab.run(&["token", "revoke", "bob", "--data-dir", "data"]).expect(0);
    let ended = lines.message().await.expect_err("no worker says anything");
    assert_eq!(ended.code(), Code::Unauthenticated);
    let ended = bobs.end().expect(2);
    assert!(ended.stderr.contains("was revoked"), "{}", ended.stderr);
    assert!(!carols.has_ended(), "another token is as good as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_is_not_blamed_for_a_token_that_was_revoked() {
    let lab = Lab::new(SWEEP, 100);
    let [_, gpus] = [("alice", "submit"), ("gpus", "worker")].map(|(name, role)| token(&lab, name, role));
    let server = encrypted(&lab, &[]);
    with_token(&lab, &server, &["submit", "sweep.yaml"], "alice").expect(0);
    let channel = channel(&lab, &server).await;
    let mut working = FakeWorker::attach(&channel, Some(&gpus), Message::Hello(hello("gpu"))).await.expect("is let in");
    let lease = working.lease().await;
    lab.run(&["token", "revoke", "gpus", "--data-dir", "data"]).expect(0);
    let ended = working.end().await;
    assert_eq!(ended.code(), Code::Unauthenticated);
    let key = &lease.stages[0].stage.as_ref().expect("a stage").key;
    let listed = with_token(&lab, &server, &["ls", "--output", "json"], "alice").expect(0).json();
    let sweep = listed[0]["sweep_id"].as_str().expect("an id").to_owned();
    let shown = with_token(&lab, &server, &["show", &sweep, "--output", "json"], "alice").expect(0).json();
    let trial = shown["trials_detail"][0]["id"].as_str().expect("a trial").to_owned();
    let explain = || with_token(&lab, &server, &["explain", &trial], "alice").expect(0).stdout;
    let explained = until("the stage is ready again", || Some(explain()).filter(|told| told.contains("ready")));
    assert!(explained.contains(&key[..12]), "{explained}");
    assert!(!explained.contains("failed"), "{explained}");
}

#[test]
fn a_certificate_lets_a_worker_in_and_nobody_else() {
    let lab = Lab::new(SWEEP, 400);
    token(&lab, "alice", "submit");
    let server = encrypted(&lab, &["--client-ca", "certs/ca.pem"]);
    let certificate = ["--cert", "certs/worker.pem", "--key", "certs/worker.key"];
    let mut working = worker(&lab, &server, &certificate);
    working.wait_for(&["attached", "worker="]);
    with_token(&lab, &server, &["submit", "sweep.yaml", "--wait", "--out", "report"], "alice").expect(0);
    let way = ["ls", "--coordinator", &server.address, "--ca", "certs/ca.pem"];
    let refused = lab.run(&[&way[..], &certificate[..]].concat()).expect(2);
    assert!(refused.stderr.contains("the role worker may not call List"), "{}", refused.stderr);
    let attached =
        until("the session is written down", || audit(&lab).into_iter().find(|entry| entry["did"] == "attach"));
    assert!(attached["who"].as_str().is_some_and(|who| who.starts_with("certificate-")), "{attached}");
}

#[test]
fn nothing_listens_off_loopback_without_encryption_and_tokens() {
    let lab = Lab::empty();
    let serve = |further: &[&str]| {
        let own = ["serve", "--listen", "0.0.0.0:0", "--data-dir", "data"];
        lab.secateur(&[&own[..], further].concat())
    };
    let refused = |further: &[&str], words: &[&str]| {
        let ended = Process::start(serve(further)).end().expect(2);
        for word in words {
            assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
        }
    };
    refused(&[], &["--tls-cert", "secateur cert init", "secateur token create", "--insecure"]);
    lab.run(&["cert", "init", "--host", "localhost"]).expect(0);
    let tls = ["--tls-cert", "certs/server.pem", "--tls-key", "certs/server.key"];
    refused(&tls, &["secateur token create"]);
    token(&lab, "root", "admin");
    refused(&[], &["--tls-cert"]);
    refused(&["--tls-cert", "certs/server.pem", "--tls-key", "certs/worker.key"], &["belong together"]);
    refused(&["--tls-cert", "certs/none.pem", "--tls-key", "certs/server.key"], &["certs/none.pem"]);
    drop(Server::of(Process::start(serve(&tls))));
    let mut insecure = Process::start(serve(&["--insecure"]));
    insecure.wait_for(&["INSECURE", "--tls-cert"]);
    // Tokens are wanted even so.
    let server = Server::of(insecure);
    let port = server.address.rsplit(':').next().expect("a port").to_owned();
    let here = format!("127.0.0.1:{port}");
    lab.run(&["ls", "--coordinator", &here]).expect(2);
    lab.run(&["ls", "--coordinator", &here, "--token-file", "root.token"]).expect(0);
    // A token does not leave this machine in the clear.
    let clear = lab.run(&["ls", "--coordinator", "head.example:7400", "--token-file", "root.token"]).expect(2);
    assert!(clear.stderr.contains("unencrypted"), "{}", clear.stderr);
}
