//! Sweep files and what they name, as people have them.

use super::*;

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("writes");
    }
    folder
}

fn table() -> String {
    let rows = (0..60).map(|row| format!("{}.5,{},{},{}\n", row * 7 % 31, 20 + row * 11 % 17, row % 5, row % 2));
    std::iter::once("income,age,dep,y\n".to_owned()).chain(rows).collect()
}

fn sweep(weights: &str) -> String {
    format!(
        "version: 1\nname: t\ndata: {{path: c.csv, target: y, task: binary, split: {{kind: stratified, train: 0.6, validation: 0.2, \
         test: 0.2, seed: 1}}}}\nmodel: {{kind: mlp, hidden: [8], weights: {weights}}}\ntraining: {{optimizer: {{kind: sgd, lr: \
         1.0e-2}}, batch_size: 32, epochs: 1}}\npruning: {{strategy: [magnitude], sparsity: [0.5], retrain: {{epochs: 1}}}}\nseeds: 2\n"
    )
}

fn checkpoint(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../worker/tests/golden/checkpoints");
    fs::read(folder.join(name)).expect("reads")
}

/// A sweep over the net of a file, which lies beside it under a name.
fn planned(name: &str, bytes: &[u8], weights: &str) -> Result<LocalSweep, CliError> {
    let text = sweep(weights);
    let folder = folder(&[("c.csv", table().as_bytes()), (name, bytes), ("sweep.yaml", text.as_bytes())]);
    LocalSweep::read_blocking(&folder.path().join("sweep.yaml"))
}

/// What training loops of PyTorch and Lightning leave is planned from as it is, and what is left aside is in the plan.
#[test]
fn public_checkpoints_are_planned_from() {
    let cases = [
        ("plain.pt", "plain.pt", "plain.pt", 0),
        ("checkpoint.pth", "checkpoint.pth", "checkpoint.pth", 2),
        ("checkpoint.pth", "checkpoint.pth.tar", "checkpoint.pth.tar", 2),
        ("checkpoint.pth", "c", "{path: c, rename: {state_dict.module: ''}}", 1),
        ("checkpoint.pth", "c", "{path: c, key: state_dict}", 2),
        ("lightning.ckpt", "lightning.ckpt", "lightning.ckpt", 2),
        ("extra-buffers.pt", "extra-buffers.pt", "extra-buffers.pt", 1),
    ];
    let mut hashes = Vec::new();
    for (golden, name, weights, notes) in cases {
        let sweep = planned(name, &checkpoint(golden), weights).unwrap_or_else(|error| panic!("{}", error.message()));
        let info = &sweep.plan.sweep;
        assert_eq!(info.data.notes.len(), notes, "{name}: {:?}", info.data.notes);
        hashes.push((golden, info.weights.as_ref().expect("are named").hash));
    }
    // The name of the file and the way that its dictionary is named decide nothing.
    assert!(hashes.iter().all(|(name, hash)| hashes.iter().all(|(other, same)| name != other || hash == same)));
}

#[test]
fn what_is_no_checkpoint_is_a_problem_at_its_place() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5355\n";
    for (bytes, weights) in [
        (&pointer[..], "net.pt"),
        (&checkpoint("two.pt"), "net.pt"),
        (&checkpoint("plain.pt"), "{path: net.pt, key: ema}"),
    ] {
        let Err(CliError::Sweep(problems)) = planned("net.pt", bytes, weights) else { panic!("is refused") };
        let [problem] = &problems.list[..] else { panic!("{problems}") };
        assert_eq!((problem.path.as_str(), problem.mark.line), ("model.weights", 4));
    }
}
