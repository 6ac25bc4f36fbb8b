//! What must neither panic nor hang nor swell, whatever bytes it is given: everything that comes from a file or from the wire.
//!
//! Each target is a plain function of bytes. `cargo fuzz` runs them in `fuzz_targets/`, guided by coverage, for as long as one likes;
//! `tests/service/fuzz.rs` runs them on its seeds and some thousand mutations of those in every test run.

use secateur::{
    experiment::{self, ClassRows, InputFacts, SweepSpec, plan::PackedPlan},
    journal::{Chain, Line},
    scheduler::Policy,
    upkeep::Examination,
};
use secateur_proto::{
    convert::StageWithInputs,
    ids::ContentHash,
    outcome::{Artifact, Failure, StageOutcome},
    spec::{DataSettings, ModelSpec, Reading, SplitSpec, TableFormat, Task},
    v1::{self, worker_message::Message as FromWorker},
};
use secateur_worker::{
    data::{self, Asked, Dataset, Preparation, Table, idx},
    import::{self, Checkpoint, Wanted},
    net::checkpoint,
    prune::plan::PruningPlan,
};

/// A target.
pub(crate) type Target = fn(&[u8]);

/// All of them, by name.
pub(crate) const ALL: [(&str, Target); 5] =
    [("sweep_file", sweep_file), ("message", message), ("journal", journal), ("artifact", artifact), ("table", table)];

/// Points of a grid that are planned here at most: planning more takes its time, which says nothing.
const MOST_POINTS: usize = 512;

/// A sweep file: read, and planned if it is one. What is planned survives being written and read.
pub(crate) fn sweep_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let spec = match SweepSpec::parse("sweep.yaml", text) {
        Ok(spec) => spec,
        Err(problems) => {
            assert!(!problems.to_string().is_empty(), "a file is refused without a reason");
            return;
        }
    };
    if spec.points().nth(MOST_POINTS).is_some() || spec.seeds.len() > 8 {
        return;
    }
    let rows = |count: u64| ClassRows { name: count.to_string(), rows: [count, count / 3, count / 3] };
    let facts = InputFacts {
        artifact: Artifact { hash: ContentHash::of(b"table"), size: 5 },
        rows: [900, 300, 300],
        classes: vec![rows(600), rows(300)],
        columns: 10,
        inputs: 19,
        image: None,
        reading: Reading::default(),
        periods: None,
        notes: vec![],
        weights: None,
    };
    if let Ok(plan) = experiment::plan(&spec, text, facts) {
        let written = serde_json::to_string(&plan).expect("a plan can be written");
        let read: PackedPlan = serde_json::from_str(&written).expect("a plan can be read");
        assert!(read == plan, "a plan is another one after it was written and read");
    }
}

/// A message, of the kind that its first byte says, with all that is converted of it.
pub(crate) fn message(bytes: &[u8]) {
    fn decode<M: prost::Message + Default>(bytes: &[u8]) -> M {
        M::decode(bytes).unwrap_or_default()
    }
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 8 {
        0 => match decode::<v1::WorkerMessage>(body).message {
            Some(FromWorker::Report(report)) => outcome(report.outcome),
            Some(FromWorker::LeaseEnded(ended)) => _ = ended.failure.map(Failure::try_from),
            Some(FromWorker::Hello(hello)) => _ = hello.instance.parse::<secateur_proto::ids::InstanceId>(),
            _ => {}
        },
        1 => outcome(Some(decode(body))),
        2 => stage(decode(body)),
        3 => decode::<v1::Lease>(body).stages.into_iter().filter_map(|leased| leased.stage).for_each(stage),
        4 => _ = Artifact::try_from(decode::<v1::ArtifactRef>(body)),
        5 => _ = decode::<v1::SubmitRequest>(body),
        6 => _ = decode::<v1::PutRequest>(body),
        _ => _ = decode::<v1::ExecutorReply>(body),
    }
}

fn outcome(message: Option<v1::StageOutcome>) {
    let Some(Ok(outcome)) = message.map(StageOutcome::try_from) else { return };
    let again = v1::StageOutcome::from(&outcome);
    assert_eq!(StageOutcome::try_from(again).expect("what was sent can be received"), outcome);
}

fn stage(message: v1::Stage) {
    let Ok(stage) = StageWithInputs::try_from(message) else { return };
    let again = StageWithInputs::try_from(v1::Stage::from(&stage)).expect("what was sent can be received");
    assert_eq!((again.key, again.inputs), (stage.key, stage.inputs));
}

/// A journal: lines with checksums that fit, but for what its first byte harms. Whatever is good of it is replayed.
pub(crate) fn journal(bytes: &[u8]) {
    let Some((harm, body)) = bytes.split_first() else { return };
    let mut chain = Chain::default();
    let mut lines: Vec<Line> = (body.split(|byte| *byte == b'\n'))
        .map(|entry| {
            let (sequence, checksum) = chain.add(entry);
            Line { sequence, entry: entry.to_vec(), checksum }
        })
        .collect();
    let place = usize::from(harm >> 2) % lines.len();
    match harm % 4 {
        1 => lines[place].sequence = i64::from(*harm) - 9,
        2 => lines[place].checksum.truncate(place),
        3 => _ = lines.remove(place),
        _ => {}
    }
    let count = lines.len();
    let stopped = (*harm == u8::MAX).then(|| "no more".to_owned());
    let mut examination = Examination::new(&Policy::default());
    lines.iter().for_each(|line| examination.take(line));
    let examined = examination.end(stopped);
    let lines = examined.entries + examined.rest + u64::from(examined.shortened);
    assert_eq!(lines, count as u64, "a line is neither good nor left over");
    assert!(
        examined.damages.is_empty() == (examined.rest == 0) || *harm == u8::MAX || examined.shortened,
        "damage without a line, or a line without"
    );
}

/// A file of a stage, of the kind that its first byte says. What can be read can be written, and read again.
pub(crate) fn artifact(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let model = ModelSpec::mlp(3, vec![4, 2]);
    match kind % 7 {
        0 => {
            if let Ok(dataset) = Dataset::from_safetensors(body) {
                let again = dataset.to_safetensors().expect("can be written");
                assert!(Dataset::from_safetensors(&again).expect("can be read") == dataset);
            }
        }
        1 => {
            if let Ok(plan) = PruningPlan::read(body) {
                _ = plan.mask(&model, &model.prunable());
                let again = plan.write().expect("can be written");
                assert!(PruningPlan::read(&again).expect("can be read") == plan);
            }
        }
        2 => {
            if let Ok(preparation) = Preparation::from_json(body) {
                let mut row = Vec::new();
                _ = preparation.apply(|_| Some("1"), &mut row);
                _ = preparation.apply_image(&[0; 4], &mut row);
            }
        }
        3 => _ = checkpoint::read_parameters(&model, body),
        4 => _ = checkpoint::read_mask(&model, body),
        5 => _ = import::contents(body),
        _ => {
            let Ok(mut checkpoint) = Checkpoint::from_bytes(body.to_vec()) else { return };
            let classes = ["no".to_owned(), "yes".to_owned()];
            let wanted = Wanted {
                model: &ModelSpec::mlp(3, vec![8]),
                classes: &classes,
                path: "net.pt",
                key: None,
                rename: &[],
            };
            if let Ok(net) = checkpoint.fit(&wanted) {
                let written = net.to_safetensors().expect("can be written");
                let contents = import::contents(&written).expect("can be read");
                assert!(contents.tensors.len() == net.tensors.len() && contents.removed.len() == net.masks.len());
            }
        }
    }
}

/// A table, or images, of the kind that its first byte says, prepared.
pub(crate) fn table(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let halves = SplitSpec::Stratified { train: 0.5, validation: 0.25, test: 0.25, seed: 1 };
    let (format, split) = match kind % 6 {
        0 => (TableFormat::Csv, halves),
        1 => (TableFormat::CsvGz, halves),
        2 => (TableFormat::Csv, SplitSpec::Column { column: "part".to_owned() }),
        3 => (TableFormat::Csv, SplitSpec::Time { column: "a".to_owned(), train: 0.5, validation: 0.25, test: 0.25 }),
        4 => (TableFormat::Idx, SplitSpec::Files { validation: 0.25, seed: 1 }),
        _ => {
            let quarter = body.len() / 4;
            let [one, two, three, four] = [0, 1, 2, 3].map(|part| &body[part * quarter..(part + 1) * quarter]);
            _ = idx::pack([("a", one), ("b.gz", two), ("c", three), ("d", four)]);
            return;
        }
    };
    _ = Table::read(format, &Reading::default(), body);
    _ = data::inspect(&Reading::default(), body, Asked { target: Some("y"), split: None });
    for task in [Task::Binary, Task::Multiclass] {
        let mut settings = DataSettings::of_table(format, "y", task, split.clone());
        if format == TableFormat::Idx {
            settings.target = None;
        }
        // What is found in the text is as good as what is said of it.
        let settings = data::resolve(&settings, body).map_or(settings, |resolved| resolved.settings);
        if let Ok(prepared) = data::prepare(&settings, body) {
            let (facts, dataset) = (prepared.facts(), &prepared.dataset);
            assert_eq!(facts.width, dataset.width());
            let again = dataset.to_safetensors().expect("can be written");
            assert!(Dataset::from_safetensors(&again).expect("can be read") == *dataset);
            _ = prepared.preparation.to_json().expect("can be written");
        }
    }
}
