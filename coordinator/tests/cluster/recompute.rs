//! Every trial of a small sweep, recomputed from its artifacts by `recompute.py`, which shares no code with the program.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/recompute.py");
const SWEEP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/german-credit.yaml");

/// What the recomputation lacks here, if anything.
fn missing() -> Option<&'static str> {
    match Command::new("python3").args(["-c", "import numpy"]).output() {
        Err(_) => Some("there is no python3"),
        Ok(output) if !output.status.success() => Some("python3 has no numpy"),
        Ok(_) => None,
    }
}

fn recompute(report: &Path, store: &Path, which: &[&str]) -> Output {
    let mut command = Command::new("python3");
    command.arg(SCRIPT).arg("--report").arg(report).arg("--store").arg(store).args(which);
    command.output().expect("python3 runs")
}

/// Asserts that the recomputation ends with `code` and says `text` on standard error.
fn assert_ends(output: &Output, code: i32, text: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(text), "{text:?} is not in {said:?}");
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

/// Changes one tensor of a trial's artifact for as long as `look` takes.
fn changed(store: &Path, trial: &Value, role: &str, tensor: &str, change: impl Fn(&mut [u8]), look: impl Fn()) {
    let hash = trial["artifacts"][role].as_str().expect("a hash");
    let path = store.join(&hash[..2]).join(hash);
    let original = fs::read(&path).expect("an artifact");
    let (length, rest) = original.split_first_chunk().expect("eight bytes");
    let length = usize::try_from(u64::from_le_bytes(*length)).expect("a length");
    let header: Value = serde_json::from_slice(&rest[..length]).expect("a header");
    let offset = |index: usize| {
        let offset = header[tensor]["data_offsets"][index].as_u64().expect("an offset");
        8 + length + usize::try_from(offset).expect("a place in memory")
    };
    let mut bytes = original.clone();
    change(&mut bytes[offset(0)..offset(1)]);
    assert_ne!(bytes, original, "the test changes nothing");
    fs::write(&path, bytes).expect("written");
    look();
    fs::write(&path, original).expect("written");
}

#[test]
fn every_trial_is_what_its_artifacts_say() {
    if let Some(missing) = missing() {
        // Whoever must test everything, as .ci/run must, says so.
        assert!(std::env::var_os("SECATEUR_TEST_EVERYTHING").is_none(), "{missing}");
        eprintln!("not checked: {missing}");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let run = Command::new(env!("CARGO_BIN_EXE_secateur")).args(["run", SWEEP, "--out"]).arg(&out).output();
    let run = run.expect("the program runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let (report, store) = (out.join("report.json"), out.join(".secateur/artifacts"));
    let content = read(&report);
    let trials = content["trials"].as_array().expect("trials");
    let checked = recompute(&report, &store, &["--all"]);
    assert_ends(&checked, 0, "");
    let table = String::from_utf8_lossy(&checked.stdout);
    assert!(table.contains(&format!("{0} of {0} trials are right; 0 did not", trials.len())), "{table}");

    // It would see what is wrong: a number, a mask, a removed weight, a plan, a score.
    let magnitude = (content["cells"].as_array().expect("cells").iter())
        .find(|cell| cell["settings"]["pruning.strategy"] == "magnitude")
        .expect("a cell of magnitude");
    let trial = trials.iter().find(|trial| trial["cell"] == magnitude["id"]).expect("a trial of it");
    let id = trial["id"].as_str().expect("an id");
    let other_report = folder.path().join("other.json");
    let mut other = content.clone();
    let place = trials.iter().position(|trial| trial["id"] == id).expect("it is there");
    let brier = trial["metrics"]["brier"]["test"].as_f64().expect("a number");
    other["trials"][place]["metrics"]["brier"]["test"] = (brier + 1e-4).into();
    fs::write(&other_report, other.to_string()).expect("written");
    assert_ends(&recompute(&other_report, &store, &["--trial", id]), 1, "brier is");

    let fails = |text: &'static str| {
        let (report, store) = (&report, &store);
        move || assert_ends(&recompute(report, store, &["--trial", id]), 1, text)
    };
    changed(&store, trial, "mask", "layers.0.weight", |byte| byte[0] ^= 1, fails("is not what the plan says"));
    let revive = |weights: &mut [u8]| {
        let zero = weights.as_chunks_mut::<4>().0.iter_mut().find(|bytes| **bytes == [0; 4]);
        *zero.expect("half of the weights are removed") = 1.0_f32.to_le_bytes();
    };
    changed(&store, trial, "checkpoint", "layers.0.weight", revive, fails("1 removed weights of layer 0 are not zero"));
    // The lowest score stays the lowest, and is that of no net any more.
    let lowest = |scores: &mut [u8]| scores[..8].fill(0);
    changed(&store, trial, "plan", "removed.score", lowest, fails("no net in the store has the weights"));
    let high = |logits: &mut [u8]| logits[..4].copy_from_slice(&9.0_f32.to_le_bytes());
    changed(&store, trial, "scores", "test.logits", high, fails("the logits differ"));
    fails_to_look(&recompute(&report, &store, &["--trial", "nobody"]));
    fails_to_look(&recompute(&out.join("nothing.json"), &store, &["--all"]));
    assert_ends(&recompute(&report, &store, &["--trial", id]), 0, "");
}

fn fails_to_look(output: &Output) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
