//! Whatever bytes a reader is given, it neither panics nor hangs: the targets of `coordinator/fuzz` over good inputs and some thousand
//! mutations of them, the same in each run. `SECATEUR_FUZZ_RUNS` says how many of each; `SECATEUR_FUZZ_SEEDS` names a folder to which
//! the good inputs are written, for `cargo fuzz` to begin with.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::{
    fs,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use self::targets::Target;
use crate::common;
use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use secateur::{
    admission::{self, Input, Limits},
    experiment::plan::PackedPlan,
    scheduler::{Core, Entry, Event, JOURNAL_VERSION, Policy, Record, ShareChange, Timestamp, entries},
};
use secateur_proto::{
    convert::StageWithInputs,
    ids::ContentHash,
    outcome::{Artifact, Failure, FailureClass, Role, StageOutcome, StageResult},
    spec::{DataSettings, ModelSpec, SplitSpec, StageSpec, TableFormat, Task},
    v1,
};
use secateur_worker::{
    data::{self, idx},
    net::{Mask, Parameters, checkpoint},
    prune::plan::PruningPlan,
};
use serde_json::json;

/// Mutations of each target's inputs.
const RUNS: u32 = 3_000;

fn table() -> String {
    common::table(60)
}

fn plan() -> PackedPlan {
    let table = table();
    let admitted = admission::admit("sweep.yaml", common::SWEEP, Input::of(table.as_bytes()), None, Limits::NONE);
    admitted.unwrap_or_else(|problems| panic!("{problems}"))
}

/// `kind` before `body`.
fn of_kind(kind: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    [&[kind], body.as_ref()].concat()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).expect("writes");
    writer.finish().expect("writes")
}

fn sweep_files() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let configs = fs::read_dir(folder).expect("there are configs").filter_map(|entry| {
        let path = entry.expect("reads").path();
        (path.extension()? == "yaml").then(|| fs::read(path).expect("reads"))
    });
    let mut files: Vec<_> = configs.chain([common::SWEEP.into(), common::LONG_SWEEP.into()]).collect();
    files.sort();
    files
}

fn messages() -> Vec<Vec<u8>> {
    let plan = plan();
    let artifact = Artifact { hash: ContentHash::of(b"a"), size: 7 };
    let completed = StageOutcome::Completed(StageResult {
        artifacts: [(Role::Checkpoint, artifact), (Role::Mask, artifact)].into(),
        ..StageResult::default()
    });
    let failed = StageOutcome::Failed(Failure::new(FailureClass::Storage, "no room".to_owned()));
    let mut messages = vec![of_kind(4, v1::ArtifactRef::from(artifact).encode_to_vec())];
    for outcome in [completed, failed, StageOutcome::Diverged { step: 9 }] {
        let message = v1::StageOutcome::from(&outcome);
        messages.push(of_kind(1, message.encode_to_vec()));
        let report = v1::StageReport {
            lease_id: "1-2".to_owned(),
            stage_key: plan.key(0).to_string(),
            attempt: 1,
            outcome: Some(message),
        };
        let message = v1::WorkerMessage { message: Some(v1::worker_message::Message::Report(report)) };
        messages.push(of_kind(0, message.encode_to_vec()));
    }
    for (place, key) in plan.keys().enumerate().take(8) {
        let spec = plan.spec(place);
        let inputs = spec.reads().into_iter().map(|role| (role, artifact)).collect();
        let stage = v1::Stage::from(&StageWithInputs { key, spec, inputs });
        messages.push(of_kind(2, stage.encode_to_vec()));
        let leased = v1::LeasedStage { stage: Some(stage), attempt: 1, checkpoint: None };
        let lease = v1::Lease { lease_id: "1-2".to_owned(), stages: vec![leased] };
        messages.push(of_kind(3, lease.encode_to_vec()));
    }
    messages
}

/// A submission as it would be written if its plan were long.
fn in_pieces(event: &Event) -> Vec<String> {
    let Event::SweepSubmitted { plan, .. } = event else { panic!("it submits nothing") };
    let piece = |number| {
        let text = plan.piece(number).expect("is counted");
        json!({"version": JOURNAL_VERSION, "at": 2, "piece": {"sweep": plan.sweep.id, "number": number, "text": text}})
    };
    let record = json!({"record": "sweep_submitted", "plan": plan.nothing_of()});
    let own = json!({"version": JOURNAL_VERSION, "at": 2, "pieces": plan.piece_count(), "record": record});
    (0..plan.piece_count()).map(piece).chain([own]).map(|line| line.to_string()).collect()
}

/// What a coordinator writes that takes a sweep, and gives it up.
fn journals() -> Vec<Vec<u8>> {
    let plan = plan();
    let sweep = plan.sweep.id.clone();
    let mut core = Core::new(Policy::default());
    let events = [
        Event::Started,
        Event::SweepSubmitted { plan: Arc::new(plan), share: ShareChange::default(), open: false, by: None },
        Event::SweepDrainAsked { sweep: sweep.clone(), by: None },
        Event::SweepCancelled { sweep: sweep.clone(), by: None },
        Event::SweepForgotten { sweep },
    ];
    let (mut lines, mut running) = (Vec::new(), vec![]);
    let in_pieces = in_pieces(&events[1]);
    for (now, event) in (1..).zip(&events) {
        let decision = core.apply(Timestamp(now), event).unwrap_or_else(|rejection| panic!("{rejection}"));
        let entries = decision.records.into_iter().map(|record| Entry::new(Timestamp(now), record));
        lines.extend(entries.flat_map(Entry::into_lines));
        if now == 2 {
            running = core.snapshot().lines(Timestamp(now));
        }
    }
    // A snapshot alone and one amid the history, each with more behind it.
    let started: Vec<String> = Entry::new(Timestamp(9), Record::Started).into_lines().collect();
    let alone = [&running[..], &started].concat();
    let amid = [&lines[..2], &running[..], &lines[2..]].concat();
    let short: Vec<String> = lines.iter().filter(|line| line.len() < 1_000).cloned().collect();
    // As if the plan were a long one.
    let long = [&lines[..1], &in_pieces[..], &lines[2..]].concat();
    [&lines, &short, &alone, &amid, &long]
        .into_iter()
        .flat_map(|lines| [0, 1, 2, 3, 7].map(|harm| of_kind(harm, lines.join("\n"))))
        .collect()
}

fn settings(format: TableFormat) -> DataSettings {
    let split = SplitSpec::Stratified { train: 0.5, validation: 0.25, test: 0.25, seed: 1 };
    let settings = DataSettings::of_table(format, "y", Task::Binary, split);
    DataSettings { groups: vec!["place".to_owned()], ..settings }
}

fn artifacts() -> Vec<Vec<u8>> {
    let prepared = data::prepare(&settings(TableFormat::Csv), table().as_bytes()).expect("can be prepared");
    let model = ModelSpec::mlp(3, vec![4, 2]);
    let net = Parameters::initial(&model, 1);
    let plan = plan();
    let mut specs = (0..plan.stage_count()).map(|place| plan.spec(place));
    let pruned = specs.find_map(|spec| if let StageSpec::Prune(spec) = spec { Some(spec) } else { None });
    let mut spec = pruned.expect("something is pruned");
    spec.model = model.clone();
    spec.layers = model.prunable();
    let pruning = PruningPlan::of_gone(&spec, &net, None).expect("fits");
    let parameters = checkpoint::write_parameters(&model, &net).expect("can be written");
    vec![
        of_kind(0, prepared.dataset.to_safetensors().expect("can be written")),
        of_kind(1, pruning.write().expect("can be written")),
        of_kind(2, prepared.preparation.to_json().expect("can be written")),
        of_kind(3, &parameters),
        of_kind(4, checkpoint::write_mask(&model, &Mask::full(&model, &model.prunable())).expect("can be written")),
        of_kind(5, &parameters),
    ]
}

fn tables() -> Vec<Vec<u8>> {
    let table = table();
    let split = table.lines().enumerate().map(|(row, line)| match row {
        0 => format!("{line},part\n"),
        _ => format!("{line},{}\n", ["train", "validation", "test"][row % 3]),
    });
    let idx = |shape: &[u32], values: usize| {
        let mut file = vec![0, 0, 8, u8::try_from(shape.len()).expect("is small")];
        file.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
        file.extend((0..values).map(|value| (value % 2) as u8));
        file
    };
    let (images, labels) = (idx(&[8, 2, 2], 32), idx(&[8], 8));
    let gz = gzipped(&labels);
    let files = [("a", &images[..]), ("b", &labels), ("c", &images), ("d.gz", &gz)];
    let packed = idx::pack(files).expect("can be packed");
    vec![
        of_kind(0, &table),
        of_kind(1, gzipped(table.as_bytes())),
        of_kind(2, split.collect::<String>()),
        of_kind(3, &table),
        of_kind(4, packed),
        of_kind(5, [&images[..], &gz, &images, &labels].concat()),
    ]
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "sweep_file" => sweep_files(),
        "message" => messages(),
        "journal" => journals(),
        "artifact" => artifacts(),
        "table" => tables(),
        other => panic!("no good inputs of {other}"),
    }
}

/// Changes some bytes, as files and wires and people do.
fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut ChaCha8Rng) {
    const TELLING: [&[u8]; 14] = [
        b"\0",
        b"\xff",
        b"\n",
        b"\"",
        b"-1",
        b"1e999",
        b"18446744073709551616",
        b"NaN",
        b": [",
        b"{",
        b",,",
        b"\xef\xbb\xbf",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"../",
    ];
    for _ in 0..random.random_range(1..=6) {
        let place = random.random_range(0..=bytes.len());
        let length = random.random_range(0..=(bytes.len() - place).min(64));
        match random.random_range(0..7) {
            0 if place < bytes.len() => bytes[place] ^= 1 << random.random_range(0..8_u32),
            1 if place < bytes.len() => bytes[place] = random.random(),
            2 => drop(bytes.drain(place..place + length)),
            3 => bytes.truncate(place),
            4 => drop(bytes.splice(place..place, TELLING[random.random_range(0..TELLING.len())].iter().copied())),
            5 => {
                let again = bytes[place..place + length].to_vec();
                bytes.splice(place..place, again);
            }
            _ => {
                let other = &others[random.random_range(0..others.len())];
                let from = random.random_range(0..=other.len());
                bytes.truncate(place);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
}

/// Gives the target the bytes; they are kept in a file if it panics or takes too long.
fn give(name: &str, target: Target, bytes: &[u8]) {
    let begun = Instant::now();
    let survived = catch_unwind(AssertUnwindSafe(|| target(bytes)));
    let elapsed = begun.elapsed();
    if survived.is_err() || elapsed > common::PATIENCE {
        let path = std::env::temp_dir().join(format!("secateur-{name}-{}", ContentHash::of(bytes).short(12)));
        fs::write(&path, bytes).expect("writes");
        let how = if survived.is_err() { "panics" } else { "takes too long" };
        panic!("{name} {how} with the bytes in {}", path.display());
    }
}

fn run(name: &str) {
    let (_, target) = targets::ALL.into_iter().find(|(other, _)| *other == name).expect("there is such a target");
    let seeds = seeds(name);
    if let Some(folder) = std::env::var_os("SECATEUR_FUZZ_SEEDS") {
        let folder = PathBuf::from(folder).join(name);
        fs::create_dir_all(&folder).expect("makes a folder");
        for seed in &seeds {
            fs::write(folder.join(ContentHash::of(seed).short(16)), seed).expect("writes");
        }
    }
    seeds.iter().for_each(|seed| give(name, target, seed));
    give(name, target, &[]);
    let runs = std::env::var("SECATEUR_FUZZ_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number"));
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..runs {
        let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
        mutate(&mut bytes, &seeds, &mut random);
        give(name, target, &bytes);
    }
}

#[test]
fn sweep_files_of_any_bytes() {
    run("sweep_file");
}

#[test]
fn messages_of_any_bytes() {
    run("message");
}

#[test]
fn journals_of_any_bytes() {
    run("journal");
}

#[test]
fn artifacts_of_any_bytes() {
    run("artifact");
}

#[test]
fn tables_of_any_bytes() {
    run("table");
}

/// The good inputs are good: a target that refuses all it is given finds nothing.
#[test]
fn the_seeds_are_read() {
    for seed in sweep_files() {
        let text = std::str::from_utf8(&seed).expect("is text");
        secateur::experiment::SweepSpec::parse("sweep.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
    }
    for seed in messages().iter().filter(|seed| seed[0] == 2) {
        StageWithInputs::try_from(v1::Stage::decode(&seed[1..]).expect("a message")).expect("a stage");
    }
    for journal in journals().iter().step_by(5) {
        let lines = journal[1..].split(|byte| *byte == b'\n');
        let lines = lines.map(|line| std::str::from_utf8(line).expect("is text"));
        let entries: Vec<Entry> = entries(lines).collect::<Result<_, _>>().expect("entries");
        assert!(!entries.is_empty());
    }
    let artifacts = artifacts();
    data::Dataset::from_safetensors(&artifacts[0][1..]).expect("a dataset");
    PruningPlan::read(&artifacts[1][1..]).expect("a plan");
    for (seed, format) in tables().iter().zip([TableFormat::Csv, TableFormat::CsvGz]) {
        data::prepare(&settings(format), &seed[1..]).expect("a table");
    }
}
