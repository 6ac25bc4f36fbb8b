//! Certificates and tokens over their lives, with a coordinator that runs meanwhile.

use std::fs;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use time::{Duration, OffsetDateTime};

use super::security::{audit, encrypted, token, with_token, worker};
use crate::common::{LONG_SWEEP, Lab, Process, Server, report, signal, until};

/// Signs a certificate by the authority in `certs`, for the key of `name`, as no command would: it ends so many days from now.
fn sign(lab: &Lab, name: &str, hosts: &[&str], days: i64, usage: ExtendedKeyUsagePurpose) {
    let read = |file: &str| fs::read_to_string(lab.path(file)).expect("reads");
    let key = |file: &str| KeyPair::from_pem(&read(file)).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(&read("certs/ca.pem"), key("certs/ca.key")).expect("an authority");
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names");
    let now = OffsetDateTime::now_utc();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now - Duration::days(100);
    params.not_after = now + Duration::days(days);
    params.extended_key_usages = vec![usage];
    let signed = params.signed_by(&key(&format!("certs/{name}.key")), &issuer).expect("signs");
    lab.write(&format!("certs/{name}.pem"), signed.pem());
}

fn reload(server: &mut Server) {
    signal(server.process.id(), "HUP");
    server.process.wait_for(&["SIGHUP", "read again"]);
}

#[test]
fn certificates_are_renewed_under_load_and_no_stream_breaks() {
    let lab = Lab::new(LONG_SWEEP, 600);
    lab.run(&["run", "sweep.yaml", "--out", "undisturbed", "--lanes", "2"]).expect(0);
    for (name, role) in [("alice", "submit"), ("gpus", "worker")] {
        token(&lab, name, role);
    }
    let mut server = encrypted(&lab, &[]);
    let mut working = worker(&lab, &server, &["--token-file", "gpus.token"]);
    working.wait_for(&["attached", "worker="]);
    let way = ["--coordinator", &server.address, "--ca", "certs/ca.pem", "--token-file", "alice.token"];
    let submitting = lab.start(&[&["submit", "sweep.yaml", "--wait", "--out", "report"], &way[..]].concat());
    working.wait_for(&["training a bundle"]);
    let list = |lab: &Lab, server: &Server| with_token(lab, server, &["ls"], "alice");

    lab.run(&["cert", "renew", "--days", "20"]).expect(0);
    reload(&mut server);
    server.process.wait_for(&["certs/server.pem", "expires on", "19 days left"]);
    list(&lab, &server).expect(0);
    let listed = lab.run(&["cert", "list", "--output", "json"]).expect(0).json();
    let left = |name: &str| {
        let files = listed.as_array().expect("a list");
        let file = files.iter().find(|file| file["file"] == format!("certs/{name}.pem")).expect("is listed");
        file["days_left"].as_i64().expect("a number")
    };
    assert_eq!([left("server"), left("worker"), left("ca")], [19, 19, 3649]);

    // New connections see what each file says; each reason has words of its own.
    let server_auth = || ExtendedKeyUsagePurpose::ServerAuth;
    for (hosts, days, words) in [
        (&["127.0.0.1"][..], -1, "the coordinator's certificate expired 1day"),
        (&["head.example"], 10, "the coordinator's certificate is for head.example, not for 127.0.0.1"),
    ] {
        sign(&lab, "server", hosts, days, server_auth());
        reload(&mut server);
        let refused = list(&lab, &server).expect(3);
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    lab.run(&["cert", "init", "--dir", "others"]).expect(0);
    fs::copy(lab.path("others/server.pem"), lab.path("certs/server.pem")).expect("copies");
    // The certificate does not fit the key: what was read before stays in use.
    signal(server.process.id(), "HUP");
    server.process.wait_for(&["cannot read the certificates again", "stay in use"]);
    let still = list(&lab, &server).expect(3);
    assert!(still.stderr.contains("head.example"), "{}", still.stderr);
    fs::copy(lab.path("others/server.key"), lab.path("certs/server.key")).expect("copies");
    reload(&mut server);
    let foreign = list(&lab, &server).expect(3);
    assert!(foreign.stderr.contains("was not signed by the authority in --ca"), "{}", foreign.stderr);

    // What was up has noticed nothing of all that.
    submitting.end().expect(0);
    assert!(report(&lab.path("report")) == report(&lab.path("undisturbed")), "the report differs");
    assert!(!working.said().contains("not attached"), "{}", working.said());
}

#[test]
fn a_client_certificate_is_refused_for_what_it_is() {
    let lab = Lab::empty();
    token(&lab, "root", "admin");
    let mut server = encrypted(&lab, &["--client-ca", "certs/ca.pem"]);
    let with = |folder: &str, name: &str| {
        let (certificate, key) = (format!("{folder}/{name}.pem"), format!("{folder}/{name}.key"));
        worker(&lab, &server, &["--cert", &certificate, "--key", &key])
    };
    let refused = |mut working: Process, words: &str| {
        working.wait_for(&["not attached", words]);
        working.kill();
    };
    for name in ["gpu-1", "gpu-2"] {
        lab.run(&["cert", "issue", "--client", name]).expect(0);
    }
    let mut working = with("certs", "gpu-1");
    working.wait_for(&["attached", "worker="]);
    lab.run(&["cert", "revoke", "certs/gpu-1.pem", "--data-dir", "data"]).expect(0);
    working.wait_for(&["not attached", "certificate", "revoked"]);
    // A reconnection does not help, and another certificate does.
    working.wait_for(&["not attached", "the certificate was revoked"]);
    working.kill();
    let mut other = with("certs", "gpu-2");
    other.wait_for(&["attached", "worker="]);
    other.kill();
    let revoked = |audit: &[serde_json::Value]| audit.iter().any(|entry| entry["did"] == "revoke-certificate");
    assert!(revoked(&audit(&lab)));

    sign(&lab, "gpu-2", &[], -1, ExtendedKeyUsagePurpose::ClientAuth);
    refused(with("certs", "gpu-2"), "it has expired");
    sign(&lab, "gpu-2", &[], 10, ExtendedKeyUsagePurpose::ClientAuth);
    let mut soon = with("certs", "gpu-2");
    soon.wait_for(&["attached", "worker="]);
    soon.kill();
    lab.run(&["cert", "init", "--dir", "others"]).expect(0);
    refused(with("others", "worker"), "its --client-ca did not sign it");
    server.process.wait_for(&["the certificate of a client ends soon", "gpu-2"]);
}

#[test]
fn a_token_is_rotated_and_one_that_ends_says_so() {
    let lab = Lab::empty();
    let create = |name: &str, role: &str, further: &[&str]| {
        let file = format!("{name}.token");
        let own = ["token", "create", name, "--role", role, "--data-dir", "data", "--out", &file];
        lab.run(&[&own[..], further].concat())
    };
    create("alice", "read", &[]).expect(0);
    create("gpus", "worker", &["--expires", "90days"]).expect(0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |file: &str| fs::metadata(lab.path(file)).expect("is there").permissions().mode() & 0o777;
        assert_eq!((mode("alice.token"), mode("data")), (0o600, 0o700));
        // Everybody can read it: said, as ssh does.
        fs::set_permissions(lab.path("alice.token"), fs::Permissions::from_mode(0o644)).expect("changes");
    }
    // No file is replaced, and no token is made that nobody has.
    let bob = ["token", "create", "bob", "--role", "read", "--data-dir", "data", "--out", "alice.token"];
    lab.run(&bob).expect(2);
    let listed = lab.run(&["token", "list", "--data-dir", "data"]).expect(0).stdout;
    assert!(listed.contains("gpus") && !listed.contains("bob"), "{listed}");
    let server = encrypted(&lab, &[]);
    let warned = with_token(&lab, &server, &["ls"], "alice").expect(0);
    assert!(warned.stderr.contains("everybody on this machine can read the token"), "{}", warned.stderr);
    let mut working = worker(&lab, &server, &["--token-file", "gpus.token"]);
    working.wait_for(&["attached", "worker="]);
    // The worker reads its file at the next connection, and the old text ends at once.
    let rotated = lab.run(&["token", "rotate", "gpus", "--overlap", "0s", "--data-dir", "data", "--out", "new.token"]);
    rotated.expect(0);
    working.wait_for(&["not attached", "token"]);
    fs::rename(lab.path("new.token"), lab.path("gpus.token")).expect("renames");
    working.wait_for(&["attached", "worker="]);
    create("short", "read", &["--expires", "1s"]).expect(0);
    let said = until("a token ends", || {
        let ended = with_token(&lab, &server, &["ls"], "short");
        ended.stderr.contains("the token short expired on").then_some(ended)
    });
    said.expect(2);
    // A token made since the start names its coordinator, and another one says whose it is.
    let other = Lab::empty();
    token(&other, "root", "admin");
    let stranger = encrypted(&other, &[]);
    fs::copy(lab.path("short.token"), other.path("short.token")).expect("copies");
    let strange = with_token(&other, &stranger, &["ls"], "short").expect(2);
    assert!(strange.stderr.contains("the token is for coordinator"), "{}", strange.stderr);
}

#[test]
fn with_certificates_nobody_is_an_administrator_for_nothing() {
    let lab = Lab::empty();
    lab.run(&["cert", "init"]).expect(0);
    let own = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"];
    let tls = ["--tls-cert", "certs/server.pem", "--tls-key", "certs/server.key"];
    let refused = lab.run(&[&own[..], &tls[..]].concat()).expect(2);
    assert!(refused.stderr.contains("secateur token create"), "{}", refused.stderr);
    let server = Server::of(lab.start(&[&own[..], &tls[..], &["--insecure"]].concat()));
    lab.run(&["ls", "--coordinator", &server.address, "--ca", "certs/ca.pem"]).expect(0);
}
