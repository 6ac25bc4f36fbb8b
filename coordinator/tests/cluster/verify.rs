//! `secateur verify` on the folder of a run: whole, with any file changed, with a chain that was broken by somebody who knows of manifests,
//! and with a trial computed again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use secateur_proto::ids::ContentHash;
use serde_json::Value;

use crate::common::{Lab, SWEEP};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// A small measured sweep of one strategy, in `out`.
fn measured() -> Lab {
    let sweep = SWEEP
        .replace("strategy: [magnitude, taylor]", "strategy: filter_norm\n  granularity: neuron\n  scope: local")
        .replace("strength: [0, 1.0e-3]", "strength: 0");
    let lab = Lab::new(&format!("{sweep}measure: {{engine: score, batch: [1, 3]}}\n"), 300);
    lab.run(&["run", "sweep.yaml", "--out", "out"]).expect(0);
    lab
}

fn parse(lab: &Lab, file: &str) -> Value {
    serde_json::from_slice(&fs::read(lab.path(file)).expect("the file is there")).expect("the file is JSON")
}

#[test]
fn a_folder_is_whole_and_a_change_of_any_file_is_found() {
    let lab = measured();
    let whole = lab.run(&["verify", "out", "--output", "json"]).expect(0).json();
    let report = parse(&lab, "out/report.json");
    let trials = report["trials"].as_array().expect("trials");
    assert_eq!((&whole["trials"], &whole["rows_of_journal"]), (&trials.len().into(), &trials.len().into()));
    // Every net of the sweep was measured here, and the report says where.
    for trial in trials {
        assert!(trial["metrics"]["latency_ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{trial}");
    }
    assert_eq!(report["machines"][0]["nets"], trials.len());
    assert!(report["inputs_read"]["columns"].as_array().is_some_and(|columns| !columns.is_empty()));

    let found = |what: &str, name: &str| {
        let said = lab.run(&["verify", "out", "--output", "json"]).expect(1).json();
        let message = said["error"]["message"].as_str().expect("a message");
        assert!(message.contains(name), "{what}: {message}");
    };
    let folder = lab.path("out");
    let all = files(&folder);
    assert!(all.iter().any(|path| path.ends_with("journal.db")) && all.len() > 20, "{all:?}");
    for path in all {
        let name = path.strip_prefix(&folder).expect("below it").display().to_string();
        let bytes = fs::read(&path).expect("a file");
        if !bytes.is_empty() {
            let mut flipped = bytes.clone();
            flipped[bytes.len() / 2] ^= 1;
            fs::write(&path, flipped).expect("written");
            found("a flipped bit", &name);
            fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
            found("a cut", &name);
        }
        fs::remove_file(&path).expect("removed");
        found("removed", name.rsplit('/').next().expect("a name"));
        fs::write(&path, &bytes).expect("as it was");
    }
    for name in ["new.txt", "models/new.txt", ".secateur/artifacts/new.txt"] {
        fs::write(folder.join(name), "new").expect("written");
        found("added", name);
        fs::remove_file(folder.join(name)).expect("removed");
    }
    assert_eq!(lab.run(&["verify", "out", "--output", "json"]).expect(0).json(), whole);
    let other = "0".repeat(64);
    lab.run(&["verify", "out", "--manifest", &other]).expect(1);
    lab.run(&["verify", "out", "--manifest", whole["manifest"].as_str().expect("a hash")]).expect(0);
    lab.run(&["verify", "sweep.yaml"]).expect(2);
    // Run again, it computes nothing, and measures nothing.
    lab.run(&["run", "sweep.yaml", "--out", "out"]).expect(0);
    assert_eq!(parse(&lab, "out/report.json"), report);
    lab.run(&["verify", "out", "--manifest", whole["manifest"].as_str().expect("a hash")]).expect(0);
}

/// What becomes of the bytes of a file.
type Change<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// Changes a file as somebody does who knows of manifests.
fn forge(lab: &Lab, name: &str, change: Change<'_>) {
    let path = lab.path(&format!("out/{name}"));
    let bytes = fs::read(&path).expect("a file");
    let forged = change(&bytes);
    assert!(forged != bytes && forged.len() == bytes.len(), "{name}");
    fs::write(&path, &forged).expect("written");
    let manifest = lab.path("out/manifest.json");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let hash = |bytes: &[u8]| ContentHash::of(bytes).to_string();
    let text = text.replace(&hash(&bytes), &hash(&forged));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let whole = serde_json::to_vec(&(&value["format"], &value["sweep"], &value["files"])).expect("JSON");
    let text = text.replace(value["blake3"].as_str().expect("a hash"), &hash(&whole));
    fs::write(manifest, text).expect("written");
}

fn replaced(from: &'static str, to: &'static str) -> impl Fn(&[u8]) -> Vec<u8> {
    move |bytes| String::from_utf8_lossy(bytes).replacen(from, to, 1).into_bytes()
}

#[test]
fn a_forged_manifest_does_not_mend_the_chain() {
    let lab = measured();
    let whole = lab.run(&["verify", "out", "--output", "json"]).expect(0).json();
    let report = parse(&lab, "out/report.json");
    let cell = report["front"][0].as_str().expect("a cell");
    let net = format!("models/{cell}-0.safetensors");
    let net = if lab.path(&format!("out/{net}")).exists() { net } else { net.replace("-0.", "-1.") };
    let last = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let place = bytes.len() - 2;
        bytes[place] ^= 1;
        bytes
    };
    let cases: [(&str, Change<'_>, &str); 5] = [
        (&net, &last, "is not the file that the row of"),
        ("models/preparation.json", &replaced("train_rows", "train_r0ws"), "is not the file that the row of"),
        ("plan.json", &replaced("\"batch_size\": 32", "\"batch_size\": 33"), "has another spec than its key says"),
        ("report.json", &replaced("epochs: 4", "epochs: 5"), "the sweep file in report.json is not the one"),
        (
            "report.json",
            &replaced("\"auc\": {\n          \"validation\": 0.", "\"auc\": {\n          \"validation\": 1."),
            "is not that of the journal",
        ),
    ];
    for (name, change, why) in cases {
        let before = ["manifest.json", name].map(|name| fs::read(lab.path(&format!("out/{name}"))).expect("a file"));
        forge(&lab, name, change);
        let said = lab.run(&["verify", "out", "--output", "json"]).expect(1).json();
        let message = said["error"]["message"].as_str().expect("a message");
        assert!(message.contains(why), "{name}: {message}");
        // Who has kept the hash of the manifest sees that without a chain.
        lab.run(&["verify", "out", "--manifest", whole["manifest"].as_str().expect("a hash")]).expect(1);
        for (name, bytes) in ["manifest.json", name].into_iter().zip(before) {
            fs::write(lab.path(&format!("out/{name}")), bytes).expect("as it was");
        }
    }
    lab.run(&["verify", "out"]).expect(0);
}

#[test]
fn a_trial_computed_again_gives_the_same_bits() {
    let lab = measured();
    let report = parse(&lab, "out/report.json");
    let trial = report["trials"][0]["id"].as_str().expect("an id");
    let again = lab.run(&["verify", "out", "--retrain", trial, "--output", "json"]).expect(0).json();
    let stages = report["trials"][0]["stages"].as_array().expect("stages").len();
    assert_eq!(again["stages_retrained"], stages - 1, "all but the measuring");
    lab.run(&["verify", "out", "--retrain", "000000000000-1"]).expect(2);
    // It wrote nothing.
    lab.run(&["verify", "out"]).expect(0);
}
