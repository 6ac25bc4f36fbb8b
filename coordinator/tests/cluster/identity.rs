//! A coordinator is known by its journal: a worker keeps its work for it, whoever else answers at its address.

use crate::common::{LONG_SWEEP, Lab, PATIENT, Server, free_port, report};

#[test]
fn a_stranger_at_the_same_address_does_not_get_the_work() {
    let lab = Lab::new(LONG_SWEEP, 600);
    lab.run(&["run", "sweep.yaml", "--out", "undisturbed", "--lanes", "2"]).expect(0);
    let port = free_port();
    let own = ["serve", "--listen", &port, "--data-dir", "data"];
    let mut process = lab.start(&[&own[..], &PATIENT[..]].concat());
    let named = process.wait_for(&["new coordinator", "folder=/"]);
    let id = |line: &str| -> String {
        let id = line.split("coordinator=").nth(1).and_then(|rest| rest.split_whitespace().next());
        id.expect("an identity").to_owned()
    };
    let first = id(&named);
    let server = Server::of(process);
    let mut working = server.worker(&lab, "w");
    let coordinator = ["--coordinator", server.address.as_str()];
    let submitted =
        lab.run(&[&["submit", "sweep.yaml", "--output", "json"], &coordinator[..]].concat()).expect(0).json();
    let sweep = submitted["sweep_id"].as_str().expect("an id").to_owned();
    working.wait_for(&["training a bundle"]);
    let address = server.address.clone();
    server.process.kill();
    // Somebody starts it in another folder.
    let mut stranger = lab.start(&[&["serve", "--listen", &address, "--data-dir", "other"], &PATIENT[..]].concat());
    let second = id(&stranger.wait_for(&["new coordinator"]));
    assert_ne!(first, second);
    working.wait_for(&["not attached", &format!("coordinator {second}"), &format!("coordinator {first}")]);
    stranger.wait_for(&["refusing a worker that holds work of another coordinator", &first]);
    stranger.kill();
    let mut back = lab.start(
        &[&["serve", "--listen", &address, "--data-dir", "data", "--reattach-within", "30"], &PATIENT[..]].concat(),
    );
    assert_eq!(id(&back.wait_for(&["continuing the coordinator"])), first);
    let server = Server::of(back);
    working.wait_for(&["attached", "worker=", &first]);
    let coordinator = ["--coordinator", server.address.as_str()];
    lab.run(&[&["watch", &sweep], &coordinator[..]].concat()).expect(0);
    lab.run(&[&["report", &sweep, "--out", "report"], &coordinator[..]].concat()).expect(0);
    assert!(report(&lab.path("report")) == report(&lab.path("undisturbed")), "the report differs");
    // A second coordinator in the same folder is refused.
    let refused = lab.run(&own).expect(2);
    assert!(refused.stderr.contains("is in use by another secateur"), "{}", refused.stderr);
    // A worker that holds nothing works for anybody.
    working.dismiss();
}
