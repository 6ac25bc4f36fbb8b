//! Seeds that are added while results come in: decided by the coordinator, the same however often it is killed.

use serde_json::Value;

use crate::{
    common::{Lab, Process, SWEEP, Server, report},
    growing::kill_group,
};

/// Eight cells, of which many are alike.
fn adaptive() -> String {
    SWEEP.replace("seeds: 2", "seeds: {min: 3, max: 8, until: front_settled}").replace("[dense, random]", "[dense]")
}

fn run(out: &str) -> [&str; 10] {
    ["run", "sweep.yaml", "--out", out, "--lanes", "2", "--workers", "2", "--output", "json"]
}

fn parsed(report: &[u8]) -> Value {
    serde_json::from_slice(report).expect("json")
}

#[test]
fn a_run_that_is_killed_at_any_moment_adds_the_same_seeds() {
    let lab = Lab::new(&adaptive(), 300);
    let whole = lab.run(&run("undisturbed")).expect(0);
    assert!(whole.stderr.contains("seeds: round 1 gives contested cells 5 seeds (up to 8)"), "{}", whole.stderr);
    let expected = report(&lab.path("undisturbed"));
    let seeds = &parsed(&expected)["seeds"];
    assert!(["settled", "exhausted"].map(Value::from).contains(&seeds["state"]), "{seeds}");
    let trials = whole.json()["trials"].as_u64().expect("a number");
    // Each cell has three seeds, and some have more; nobody has more than eight.
    assert!(trials > 3 * 10 && trials <= 8 * 10, "{trials} trials");

    // Around each decision, and at moments between them.
    let moments: [&[&[&str]]; 6] = [
        &[&["listening"]],
        &[&["a stage ended", "completed"], &["a stage ended", "completed"]],
        &[&["adding seeds"]],
        &[&["a stage ended", "completed"]],
        &[&["adding seeds"], &["a stage ended", "completed"]],
        &[&["a stage ended", "completed"], &["a stage ended", "completed"]],
    ];
    for moment in moments {
        let mut command = lab.secateur(&run("killed"));
        let mut process = Process::start({
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
            command
        });
        for words in moment {
            process.wait_for(words);
        }
        let killed = kill_group(process);
        assert_eq!(killed.code, None, "the kill came too late: {}", killed.stderr);
    }
    let ended = lab.run(&run("killed")).expect(0).json();
    assert_eq!(ended["trials"].as_u64(), Some(trials));
    assert!(report(&lab.path("killed")) == expected, "the report differs");

    // The same file again is complete, and a file with other seeds is another sweep.
    assert_eq!(lab.run(&run("killed")).expect(0).json()["stages_computed"], 0);
    lab.write("sweep.yaml", adaptive().replace("max: 8", "max: 9"));
    let refused = lab.run(&run("killed"));
    assert!(refused.stderr.contains("cannot be extended"), "{}", refused.stderr);
}

#[test]
fn a_coordinator_adds_seeds_by_itself() {
    let lab = Lab::new(&adaptive(), 300);
    lab.run(&run("undisturbed")).expect(0);
    let server = Server::start(&lab);
    let _worker = server.worker(&lab, "w");
    let at = ["--coordinator", server.address.as_str()];
    // Nobody follows it.
    let id = lab.run(&[&["submit", "sweep.yaml", "--output", "json"], &at[..]].concat()).expect(0).json();
    let id = id["sweep_id"].as_str().expect("an id").to_owned();
    let shown = lab.run(&[&["show", id.as_str(), "--output", "json"], &at[..]].concat()).expect(0).json();
    assert!(shown["seeds"].as_str().is_some_and(|said| said.contains("up to 8")) || shown["state"] == "completed");
    lab.run(&[&["watch", id.as_str()], &at[..]].concat()).expect(0);
    lab.run(&[&["report", id.as_str(), "--out", "served"], &at[..]].concat()).expect(0);
    assert!(report(&lab.path("served")) == report(&lab.path("undisturbed")), "the report differs");
}
