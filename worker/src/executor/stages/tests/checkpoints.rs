//! Stages that go on from checkpoints: on another machine, with nothing but their inputs and that file, they leave the same.

use std::time::Duration;

use proptest::prelude::*;
use secateur_proto::spec::{Activation, Granularity, Growth, Ramp, Schedule};

use super::{super::*, *};

/// Four steps each.
const EPOCHS: u32 = 5;

/// Masks that change within epochs and at their ends, and settle in the third or fourth.
const SCHEDULES: [Schedule; 4] = [
    Schedule::Gradual { shape: Ramp::Cubic, begin: 0, every: 4, times: 4 },
    Schedule::Dynamic { growth: Growth::Random, fraction: 0.4, every: 4, end: 13 },
    Schedule::Dynamic { growth: Growth::Gradient, fraction: 0.4, every: 3, end: 13 },
    Schedule::Alternating { every: 3, end: 14 },
];

/// What came of a bundle.
#[derive(Default)]
struct Course {
    outcomes: BTreeMap<StageKey, StageOutcome>,
    checkpoints: Vec<(StageKey, Checkpoint)>,
    epochs: BTreeMap<StageKey, Vec<u32>>,
}

impl Course {
    /// The checkpoint of a stage at the end of an epoch.
    fn at(&self, stage: StageKey, epoch: u32) -> Checkpoint {
        let found = self.checkpoints.iter().find(|(key, checkpoint)| *key == stage && checkpoint.epoch == epoch);
        found.expect("it was taken").1
    }
}

/// Runs a bundle and takes checkpoints of all lanes at the end of every epoch.
fn run(stages: &mut Stages, bundle: &[StageWithInputs], begun: &Checkpoints) -> Course {
    stages.pace.every = Some(Duration::ZERO);
    let mut course = Course::default();
    stages.run(bundle, begun, &mut |event| match event {
        BundleEvent::Progress(progress) => {
            let stage = progress.stage_key.parse().expect("a key");
            course.epochs.entry(stage).or_default().push(progress.epoch);
        }
        BundleEvent::Checkpointed(stage, checkpoint) => course.checkpoints.push((stage, checkpoint)),
        BundleEvent::Done(stage, outcome) => {
            assert!(course.outcomes.insert(stage, outcome).is_none(), "{stage} ended twice");
        }
    });
    course
}

/// Stages on a machine that has nothing but the inputs of `bundle` and `files`.
fn elsewhere(fixture: &Fixture, bundle: &[StageWithInputs], files: &[&[u8]]) -> (tempfile::TempDir, Stages) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), Durability::Cached).expect("a store");
    for input in bundle.iter().flat_map(|stage| stage.inputs.values()) {
        store.put(&fixture.stages.workspace.store.get(input.hash).expect("an input")).expect("room");
    }
    for file in files {
        store.put(file).expect("room");
    }
    (folder, Stages::new(store, device()))
}

/// Goes on from every checkpoint of a stage.
fn assert_goes_on(fixture: &mut Fixture, stage: &StageWithInputs) {
    let bundle = std::slice::from_ref(stage);
    let expected = run(&mut fixture.stages, bundle, &Checkpoints::new());
    completed(expected.outcomes[&stage.key].clone());
    assert_eq!(expected.epochs[&stage.key], (0..=EPOCHS).collect::<Vec<_>>());
    for epoch in 1..EPOCHS {
        let checkpoint = expected.at(stage.key, epoch);
        let state = fixture.stages.workspace.store.get(checkpoint.state.hash).expect("it was left");
        let (_folder, mut stages) = elsewhere(fixture, bundle, &[&state]);
        let found = run(&mut stages, bundle, &Checkpoints::from([(stage.key, checkpoint)]));
        assert_eq!(found.epochs[&stage.key], (epoch + 1..=EPOCHS).collect::<Vec<_>>(), "{:?}", stage.spec);
        assert_same(&found.outcomes[&stage.key], &expected.outcomes[&stage.key]);
        if one_is_like_many() {
            let later: Vec<_> = expected.checkpoints.iter().filter(|(_, later)| later.epoch > epoch).collect();
            assert_eq!(found.checkpoints.iter().collect::<Vec<_>>(), later, "from epoch {epoch} of {:?}", stage.spec);
        }
        // All that the result names is there.
        for artifact in completed(found.outcomes[&stage.key].clone()).artifacts.values() {
            assert!(stages.workspace.store.get(artifact.hash).is_ok());
        }
    }
}

fn long(mut spec: PruneSpec) -> PruneSpec {
    spec.training.epochs = EPOCHS;
    spec
}

fn long_dense(fixture: &Fixture, seed: u64) -> StageWithInputs {
    let mut spec = fixture.dense(seed);
    spec.training.epochs = EPOCHS;
    fixture.dense_stage(spec)
}

#[test]
fn dense_nets_go_on() {
    let mut fixture = Fixture::new();
    let stage = long_dense(&fixture, 3);
    assert_goes_on(&mut fixture, &stage);
    let mut spec = fixture.dense(3);
    let (hidden, activation) = (vec![6, 4], Activation::Relu);
    spec.model = ModelSpec::Mlp { inputs: WIDTH, hidden, outputs: 1, activation, batch_norm: true };
    spec.training = TrainingSpec { epochs: EPOCHS, dropout: 0.2, ..spec.training };
    let kind = RegularizationKind::L1;
    spec.regularization = Some(RegularizationSpec { kind, strength: 1.0, warm_up_epochs: 1, healing_epochs: 2 });
    let stage = fixture.dense_stage(spec);
    assert_goes_on(&mut fixture, &stage);
}

#[test]
fn prunings_go_on_without_scoring_again() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    for criterion in [magnitude(), taylor(1.0), with_defaults("movement"), with_defaults("admm")] {
        let stage = fixture.prune_stage(long(fixture.prune(key, Some(criterion), Removal::global(30))), &dense);
        assert_goes_on(&mut fixture, &stage);
    }
    let mut units = fixture.prune(key, Some(with_defaults("filter_norm")), Removal::PerLayer { counts: vec![2, 1] });
    units.granularity = Granularity::Unit;
    let stage = fixture.prune_stage(long(units), &dense);
    assert_goes_on(&mut fixture, &stage);
}

#[test]
fn masks_that_change_go_on_from_any_epoch() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let first = fixture.prune_stage(fixture.prune(key, Some(magnitude()), Removal::global(12)), &dense);
    let level = completed(one(&mut fixture.stages, &first));
    for schedule in SCHEDULES {
        for removal in [Removal::global(33), Removal::PerLayer { counts: vec![20, 11] }] {
            let spec = PruneSpec { schedule, ..fixture.prune(key, Some(taylor(1.0)), removal) };
            let stage = fixture.prune_stage(long(spec.clone()), &dense);
            assert_goes_on(&mut fixture, &stage);
            let mut next = long(spec);
            next.subject = Subject::Pruned { stage: first.key };
            let mut stage = fixture.prune_stage(next, &level);
            stage.inputs.insert(Role::Mask, level.artifacts[&Role::Mask]);
            assert_goes_on(&mut fixture, &stage);
        }
    }
}

#[test]
fn lanes_of_a_bundle_go_on_from_different_epochs_and_from_none() {
    let mut fixture = Fixture::new();
    let bundle: Vec<StageWithInputs> = (0..4).map(|seed| long_dense(&fixture, seed)).collect();
    let expected = run(&mut fixture.stages, &bundle, &Checkpoints::new());
    let begun: Checkpoints =
        [(0, 2), (1, 4), (3, 2)].map(|(lane, epoch)| (bundle[lane].key, expected.at(bundle[lane].key, epoch))).into();
    let found = run(&mut fixture.stages, &bundle, &begun);
    for (stage, first) in bundle.iter().zip([3, 5, 0, 3]) {
        assert_same(&found.outcomes[&stage.key], &expected.outcomes[&stage.key]);
        assert_eq!(found.epochs[&stage.key], (first..=EPOCHS).collect::<Vec<_>>());
    }
}

#[test]
fn checkpoints_are_taken_when_it_is_time_or_somebody_is_in_a_hurry() {
    let mut fixture = Fixture::new();
    let bundle = [long_dense(&fixture, 1)];
    let mut epochs = |pace: Pace| {
        fixture.stages.pace = pace;
        let mut epochs = vec![];
        fixture.stages.run(&bundle, &Checkpoints::new(), &mut |event| {
            if let BundleEvent::Checkpointed(_, checkpoint) = event {
                epochs.push(checkpoint.epoch);
            }
        });
        epochs
    };
    let in_a_hurry = || std::sync::Arc::new(true.into());
    assert_eq!(epochs(Pace { every: None, hurry: in_a_hurry() }), [0; 0]);
    assert_eq!(epochs(Pace { every: Some(Duration::MAX), ..Pace::default() }), [0; 0]);
    assert_eq!(epochs(Pace { every: Some(Duration::MAX), hurry: in_a_hurry() }), [1]);
    assert_eq!(epochs(Pace { every: Some(Duration::ZERO), ..Pace::default() }), [1, 2, 3, 4]);
}

/// The state of a stage at the end of its second epoch, read, changed and written again.
fn changed(fixture: &mut Fixture, stage: &StageWithInputs, change: impl FnOnce(&mut TrainingState)) -> Vec<u8> {
    let course = run(&mut fixture.stages, std::slice::from_ref(stage), &Checkpoints::new());
    let bytes = fixture.stages.workspace.store.get(course.at(stage.key, 2).state.hash).expect("it was left");
    let (mut state, plans) = TrainingState::read(&bytes, stage.key, &stage.spec, 2).expect("a state");
    let model = stage.spec.model().expect("a net");
    assert_eq!(state.write(stage.key, model, plans.as_ref()).expect("writes"), bytes, "a state survives its file");
    change(&mut state);
    state.write(stage.key, model, plans.as_ref()).expect("writes")
}

#[test]
fn a_file_that_cannot_be_used_is_the_beginning_and_no_failure() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let spec = |count| long(fixture.prune(key, Some(magnitude()), Removal::global(count)));
    let (stage, other) = (fixture.prune_stage(spec(30), &dense), fixture.prune_stage(spec(29), &dense));
    let gradual = PruneSpec { schedule: SCHEDULES[0], ..spec(30) };
    let (gradual, plain) = (fixture.prune_stage(gradual, &dense), long_dense(&fixture, 1));
    let good = changed(&mut fixture, &stage, |_| ());
    type Change = fn(&mut TrainingState);
    let changes: [(&StageWithInputs, Change); 14] = [
        (&stage, |state| state.parameters.tensors[0][3] = f32::NAN),
        (&stage, |state| state.moments[1].tensors[0][3] = f32::INFINITY),
        (&stage, |state| _ = state.moments.pop()),
        (&stage, |state| state.mask = None),
        (&stage, |state| state.parameters.tensors[0].fill(1.0)),
        (&stage, |state| state.mask.iter_mut().for_each(|mask| mask.kept[0] = Some(vec![true; 30]))),
        (&stage, |state| state.best.iter_mut().for_each(|(_, best)| best.tensors[0].fill(1.0))),
        (&stage, |state| state.best.iter_mut().for_each(|(epoch, _)| *epoch = 7)),
        (&stage, |state| state.epoch = 3),
        (&stage, |state| state.steps = -1),
        (&stage, |state| _ = state.curve.pop()),
        (&stage, |state| _ = state.curve[1].validation.insert(Metric::Auc, f64::NAN)),
        (&gradual, |state| state.plan = None),
        (&plain, |state| state.mask = Some(Mask::none(6))),
    ];
    let mut cases: Vec<(&StageWithInputs, Vec<u8>)> =
        changes.into_iter().map(|(stage, change)| (stage, changed(&mut fixture, stage, change))).collect();
    let of_other = changed(&mut fixture, &other, |_| ());
    let parameters = fixture.stages.workspace.store.get(dense.artifacts[&Role::Checkpoint].hash).expect("a net");
    let text = String::from_utf8_lossy(&good);
    assert!(text.contains(r#"\"format\":1"#), "the format is in the file");
    let of_other_format: Vec<u8> = {
        let place = good.windows(12).position(|bytes| bytes == br#"\"format\":1"#).expect("it is there");
        let mut bytes = good.clone();
        bytes[place + 11] = b'2';
        bytes
    };
    let cut = good[..good.len() - 1].to_vec();
    for bytes in [of_other, parameters, of_other_format, cut, good[..7].to_vec(), vec![], vec![0xff; 100]] {
        cases.push((&stage, bytes));
    }
    for (stage, bytes) in &cases {
        let bundle = std::slice::from_ref(*stage);
        let expected = run(&mut fixture.stages, bundle, &Checkpoints::new());
        let (_folder, mut stages) = elsewhere(&fixture, bundle, &[bytes]);
        let state = Artifact { hash: ContentHash::of(bytes), size: bytes.len() as u64 };
        let found = run(&mut stages, bundle, &Checkpoints::from([(stage.key, Checkpoint { epoch: 2, state })]));
        assert_eq!(found.epochs[&stage.key], (0..=EPOCHS).collect::<Vec<_>>());
        assert_same(&found.outcomes[&stage.key], &expected.outcomes[&stage.key]);
    }
    // Nor is a file that is gone one, or the right file under a wrong epoch.
    let bundle = std::slice::from_ref(&stage);
    let state = Artifact { hash: ContentHash::of(&good), size: good.len() as u64 };
    let missing = Artifact { hash: ContentHash::of(b"nowhere"), size: 7 };
    for checkpoint in [Checkpoint { epoch: 2, state: missing }, Checkpoint { epoch: 3, state }] {
        let (_folder, mut stages) = elsewhere(&fixture, bundle, &[&good]);
        let found = run(&mut stages, bundle, &Checkpoints::from([(stage.key, checkpoint)]));
        assert_eq!(found.epochs[&stage.key], (0..=EPOCHS).collect::<Vec<_>>());
    }
}

#[test]
fn no_byte_of_a_state_can_make_a_stage_fail() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let spec = PruneSpec { schedule: SCHEDULES[2], ..fixture.prune(key, Some(magnitude()), Removal::global(30)) };
    let stage = fixture.prune_stage(long(spec), &dense);
    let good = changed(&mut fixture, &stage, |_| ());
    let bundle = std::slice::from_ref(&stage);
    let (_folder, stages) = elsewhere(&fixture, bundle, &[]);
    let stages = std::cell::RefCell::new(stages);
    proptest!(ProptestConfig::with_cases(200), |(place in 0..good.len(), other in any::<u8>())| {
        let mut bytes = good.clone();
        bytes[place] = other;
        let mut stages = stages.borrow_mut();
        let state = stages.workspace.store.put(&bytes).expect("room");
        let found = run(&mut stages, bundle, &Checkpoints::from([(stage.key, Checkpoint { epoch: 2, state })]));
        prop_assert!(!matches!(found.outcomes[&stage.key], StageOutcome::Failed(_)), "{:?}", found.outcomes);
    });
}
