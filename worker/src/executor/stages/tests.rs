mod backends;
mod checkpoints;
mod collapse;
mod import;
mod measure;
mod quantize;
mod reference;
mod schedules;
mod slices;

use std::{collections::BTreeSet, fmt::Write as _};

use secateur_proto::{
    metrics::{Metric, Split},
    spec::{
        CriterionSpec, DataSettings, DenseSpec, Granularity, ImportSpec, OptimizerSpec, PrepareSpec, PruneSpec,
        Ranking, RegularizationKind, RegularizationSpec, Removal, Schedule, SplitSpec, StageSpec, Start, Subject,
        TableFormat, Task,
    },
};

use super::*;
use crate::{
    data::Dataset,
    net::{Mask, checkpoint},
    prune::plan::PruningPlan,
    store::Durability,
    tensors::{f32_bytes, u32_bytes},
    train::tests::{adam, device, mlp, one_is_like_many, reference::Net, sgd, training},
};

/// Stages, and what has been made so far.
struct Fixture {
    stages: Stages,
    // Removed when the fixture goes.
    _folder: tempfile::TempDir,
    prepare: StageWithInputs,
    prepared: Artifacts,
}

const WIDTH: u32 = 5;

fn random() -> CriterionSpec {
    CriterionSpec::new("random", &[])
}

fn magnitude() -> CriterionSpec {
    CriterionSpec::new("magnitude", &[])
}

fn taylor(batches: f64) -> CriterionSpec {
    CriterionSpec::new("taylor", &[("batches", batches)])
}

fn with_defaults(name: &str) -> CriterionSpec {
    crate::prune::criteria::Definition::named(name).expect("a criterion").spec(&std::collections::BTreeMap::new())
}

/// Two numbers and a category of three levels: five inputs.
fn table(rows: usize, shift: f64) -> String {
    let mut text = String::from("x1,x2,c,y\n");
    for row in 0..rows {
        let (x1, x2) = ((row as f64 * 1.7 + shift).sin(), (row as f64 * 0.9 + shift).cos());
        let y = u8::from(x1 + 0.5 * x2 + (row as f64 * 5.3).sin() > 0.0);
        let _ = writeln!(text, "{x1:.4},{x2:.4},{},{y}", ["a", "b", "c"][row % 3]);
    }
    text
}

impl Fixture {
    fn new() -> Self {
        Self::on(device())
    }

    fn on(device: Device) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), Durability::Cached).expect("a store");
        let mut stages = Stages::new(store, device);
        let prepare = prepare_stage(&stages, &table(400, 0.0));
        let prepared = completed(one(&mut stages, &prepare)).artifacts;
        Self { stages, _folder: folder, prepare, prepared }
    }

    fn dense(&self, seed: u64) -> DenseSpec {
        DenseSpec {
            prepare: self.prepare.key,
            model: mlp(WIDTH, &[6, 4]),
            training: training(adam(1e-2), 64, 2),
            regularization: None,
            stop_after: None,
            seed,
        }
    }

    fn dense_stage(&self, spec: DenseSpec) -> StageWithInputs {
        stage(StageSpec::Dense(spec), self.prepared.clone())
    }

    /// A pruning of the dense net that `made` is the result of.
    fn prune(&self, dense: StageKey, criterion: Option<CriterionSpec>, removal: Removal) -> PruneSpec {
        PruneSpec {
            prepare: self.prepare.key,
            subject: Subject::Dense { stage: dense },
            model: mlp(WIDTH, &[6, 4]),
            layers: vec![0, 1],
            criterion,
            granularity: Granularity::Weight,
            ranking: Ranking::Raw,
            removal,
            ablation: None,
            start: Start::Scored {},
            schedule: Schedule::OneShot,
            training: training(adam(1e-2), 64, 2),
            skip_steps: 0,
            regularization: None,
            seed: 1,
        }
    }

    fn prune_stage(&self, spec: PruneSpec, dense: &StageResult) -> StageWithInputs {
        let mut inputs = self.prepared.clone();
        inputs.insert(Role::Checkpoint, dense.artifacts[&Role::Checkpoint]);
        stage(StageSpec::Prune(spec), inputs)
    }

    fn outcomes(&mut self, bundle: &[StageWithInputs]) -> Vec<StageOutcome> {
        outcomes(&mut self.stages, bundle)
    }

    /// A dense net and its key.
    fn trained(&mut self) -> (StageKey, StageResult) {
        let stage = self.dense_stage(self.dense(1));
        (stage.key, completed(one(&mut self.stages, &stage)))
    }
}

fn stage(spec: StageSpec, inputs: Artifacts) -> StageWithInputs {
    StageWithInputs { key: spec.key(), spec, inputs }
}

fn prepare_stage(stages: &Stages, table: &str) -> StageWithInputs {
    let table = stages.workspace.store.put(table.as_bytes()).expect("room");
    let spec = PrepareSpec {
        table: table.hash,
        data: DataSettings::of_table(
            TableFormat::Csv,
            "y",
            Task::Binary,
            SplitSpec::Stratified { train: 0.6, validation: 0.2, test: 0.2, seed: 1 },
        ),
    };
    stage(StageSpec::Prepare(spec), Artifacts::from([(Role::Table, table)]))
}

/// The outcomes in the order of the bundle; each stage must have exactly one.
fn outcomes(stages: &mut Stages, bundle: &[StageWithInputs]) -> Vec<StageOutcome> {
    let mut done = Vec::new();
    stages.run(bundle, &Checkpoints::new(), &mut |event| {
        if let BundleEvent::Done(key, outcome) = event {
            done.push((key, outcome));
        }
    });
    assert_eq!(done.len(), bundle.len(), "{done:?}");
    let find =
        |stage: &StageWithInputs| done.iter().find(|(key, _)| *key == stage.key).map(|(_, outcome)| outcome.clone());
    bundle.iter().map(|stage| find(stage).expect("an outcome for every stage")).collect()
}

fn one(stages: &mut Stages, stage: &StageWithInputs) -> StageOutcome {
    outcomes(stages, std::slice::from_ref(stage)).remove(0)
}

fn completed(outcome: StageOutcome) -> StageResult {
    match outcome {
        StageOutcome::Completed(result) => result,
        other => panic!("the stage ended as {other:?}"),
    }
}

/// The same files, where a lane computes the same bits in any company; elsewhere the same way to end.
fn assert_same(found: &StageOutcome, expected: &StageOutcome) {
    if one_is_like_many() {
        assert_eq!(found, expected);
    } else {
        assert_eq!(found.name(), expected.name());
    }
}

fn assert_failed(outcome: &StageOutcome, class: FailureClass) {
    match outcome {
        StageOutcome::Failed(failure) => {
            assert_eq!(failure.class, class, "{failure:?}");
            assert!(!failure.message.is_empty());
        }
        other => panic!("the stage ended as {other:?}"),
    }
}

fn roles(result: &StageResult) -> Vec<Role> {
    result.artifacts.keys().copied().collect()
}

#[test]
fn from_a_table_to_a_pruned_net() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.prepared.keys().copied().collect::<Vec<_>>(), [Role::Prepared, Role::Preparation]);
    let (key, dense) = fixture.trained();
    assert_eq!(roles(&dense), [Role::Prepared, Role::Preparation, Role::Checkpoint, Role::Scores, Role::Curve]);
    let fixed = Removal::PerLayer { counts: vec![20, 11] };
    let shared = Removal::Sensitivity { count: 31 };
    let made = [
        (random(), fixed.clone()),
        (magnitude(), shared.clone()),
        (taylor(2.0), fixed.clone()),
        (with_defaults("obs"), shared),
        (with_defaults("sparsegpt"), fixed),
    ];
    for (criterion, removal) in made {
        let spec = fixture.prune(key, Some(criterion.clone()), removal);
        let stage = fixture.prune_stage(spec, &dense);
        let mut epochs = Vec::new();
        let mut results = Vec::new();
        fixture.stages.run(std::slice::from_ref(&stage), &Checkpoints::new(), &mut |event| match event {
            BundleEvent::Progress(progress) => {
                assert_eq!((progress.stage_key.as_str(), progress.epochs), (stage.key.to_string().as_str(), 2));
                epochs.push(progress.epoch);
            }
            BundleEvent::Checkpointed(..) => panic!("nobody asked for checkpoints"),
            BundleEvent::Done(_, outcome) => results.push(completed(outcome)),
        });
        assert_eq!(epochs, [0, 1, 2]);
        let result = results.remove(0);
        let others =
            [Role::Table, Role::Weights, Role::EarlyCheckpoint, Role::Quantized, Role::Reference, Role::Measurement];
        let all: Vec<Role> = Role::ALL.iter().copied().filter(|role| !others.contains(role)).collect();
        assert_eq!(roles(&result), all);
        for metric in Metric::ALL.iter().filter(|metric| !metric.needs_measuring()) {
            for split in Split::ALL {
                let value = result.metrics.value(&metric.on(split)).unwrap_or_else(|| panic!("{metric} is missing"));
                assert!(value.is_finite());
            }
        }
        assert_eq!(result.metrics.value(&Metric::Sparsity.on(Split::Test)), Some(31.0 / 54.0));

        // The files say the same.
        let model = mlp(WIDTH, &[6, 4]);
        let read = |role: Role| fixture.stages.workspace.store.get(result.artifacts[&role].hash).expect("it was made");
        let plan = PruningPlan::read(&read(Role::Plan)).expect("a plan");
        assert_eq!(plan.summary.criterion, Some(criterion));
        let mask = plan.mask(&model, &[0, 1]).expect("a mask");
        assert_eq!(checkpoint::write_mask(&model, &mask).expect("writes"), read(Role::Mask));
        let parameters = checkpoint::read_parameters(&model, &read(Role::Checkpoint)).expect("a net");
        assert_eq!((mask.removed(), mask.violations(&parameters)), (31, 0));
        let dataset = Dataset::from_safetensors(&read(Role::Prepared)).expect("data");
        let scores = read(Role::Scores);
        let scores = safetensors::SafeTensors::deserialize(&scores).expect("scores");
        let net = Net::of(&parameters);
        for (split, part) in [("validation", &dataset.validation), ("test", &dataset.test)] {
            let bytes = |name: &str| scores.tensor(&format!("{split}.{name}")).expect("a tensor").data().to_vec();
            assert_eq!(bytes("rows"), u32_bytes(&part.rows));
            assert_eq!(bytes("targets"), f32_bytes(&part.targets));
            let logits = bytes("logits");
            assert_eq!(logits.len(), part.rows.len() * 4);
            for (bytes, row) in logits.as_chunks().0.iter().zip(part.inputs.chunks_exact(WIDTH as usize)) {
                assert!((f64::from(f32::from_le_bytes(*bytes)) - net.logit(row)).abs() < 1e-5);
            }
        }
        let curve: serde_json::Value = serde_json::from_slice(&read(Role::Curve)).expect("json");
        assert_eq!(curve["epochs"].as_array().map(Vec::len), Some(3));
        let best = curve["best_epoch"].as_u64().expect("a number") as usize;
        let auc = curve["epochs"][best]["validation"]["auc"].as_f64();
        assert_eq!(auc, result.metrics.value(&Metric::Auc.on(Split::Validation)));
    }
}

/// Zeros that a penalty leaves are no pruning: they are not in the mask, and the next level does not count them as removed.
#[test]
fn what_healing_keeps_at_zero_is_not_what_was_removed() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let healing = |mut spec: PruneSpec| {
        spec.training.epochs = 4;
        let kind = RegularizationKind::L1;
        spec.regularization = Some(RegularizationSpec { kind, strength: 2.0, warm_up_epochs: 0, healing_epochs: 2 });
        spec
    };
    let first = fixture.prune_stage(healing(fixture.prune(key, Some(magnitude()), Removal::global(5))), &dense);
    let level = completed(one(&mut fixture.stages, &first));
    let mut next = healing(fixture.prune(key, Some(magnitude()), Removal::global(9)));
    next.subject = Subject::Pruned { stage: first.key };
    let mut next = fixture.prune_stage(next, &level);
    next.inputs.insert(Role::Mask, level.artifacts[&Role::Mask]);
    let next = completed(one(&mut fixture.stages, &next));
    let model = mlp(WIDTH, &[6, 4]);
    for (result, asked) in [(&level, 5), (&next, 9)] {
        let read = |role| fixture.stages.workspace.store.get(result.artifacts[&role].hash).expect("it was made");
        let mask = checkpoint::read_mask(&model, &read(Role::Mask)).expect("a mask");
        let net = checkpoint::read_parameters(&model, &read(Role::Checkpoint)).expect("a net");
        let zeros = [0, 2].into_iter().flat_map(|weight| &net.tensors[weight]).filter(|weight| **weight == 0.0);
        assert_eq!(mask.removed(), asked);
        assert!(zeros.count() as u64 > asked, "the penalty leaves no zeros of its own");
    }
}

#[test]
fn a_bundle_makes_the_files_that_its_stages_make_alone() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let mut bundle: Vec<StageWithInputs> = [0, 9, 30]
        .map(|count| {
            let criterion = (count > 0).then_some(magnitude());
            fixture.prune_stage(fixture.prune(key, criterion, Removal::global(count)), &dense)
        })
        .to_vec();
    let mut wild = fixture.prune(key, Some(random()), Removal::global(5));
    wild.training.optimizer = adam(1e30);
    bundle.push(fixture.prune_stage(wild, &dense));
    let together = fixture.outcomes(&bundle);
    assert_eq!(together[3], StageOutcome::Diverged { step: 2 });
    for (stage, found) in bundle.iter().zip(together) {
        let mut alone = Fixture::new();
        let _ = alone.trained();
        assert_same(&one(&mut alone.stages, stage), &found);
    }
}

#[test]
fn stages_of_several_classes_are_refused_as_a_bundle() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let other_table = prepare_stage(&fixture.stages, &table(400, 0.3));
    let other_prepared = completed(one(&mut fixture.stages, &other_table)).artifacts;
    let first = fixture.dense_stage(fixture.dense(2));
    let with = |change: &dyn Fn(&mut TrainingSpec)| {
        let mut spec = fixture.dense(3);
        change(&mut spec.training);
        fixture.dense_stage(spec)
    };
    let mut wider = fixture.dense(3);
    wider.model = mlp(WIDTH, &[6, 5]);
    let mut of_other_data = fixture.dense(3);
    of_other_data.prepare = other_table.key;
    let (betas, eps, weight_decay) = ([0.9, 0.999], 1e-8, 0.0);
    let penalised = |warm_up_epochs| {
        let penalty =
            RegularizationSpec { kind: RegularizationKind::L1, strength: 1e-3, warm_up_epochs, healing_epochs: 0 };
        fixture.dense_stage(DenseSpec { regularization: Some(penalty), ..fixture.dense(3) })
    };
    let warmed_up = [penalised(0), penalised(1)];
    let others = [
        with(&|training| training.epochs = 3),
        with(&|training| training.batch_size = 32),
        with(&|training| training.clip_gradient_norm = Some(1.0)),
        with(&|training| training.optimizer = sgd(1e-2)),
        with(&|training| training.optimizer = OptimizerSpec::AdamW { lr: 1e-2, betas, eps, weight_decay }),
        with(&|training| training.optimizer = OptimizerSpec::Adam { lr: 1e-2, betas: [0.5, 0.9], eps, weight_decay }),
        with(&|training| training.optimizer = OptimizerSpec::Adam { lr: 1e-2, betas, eps, weight_decay: 0.1 }),
        penalised(0),
        fixture.dense_stage(wider),
        stage(StageSpec::Dense(of_other_data), other_prepared),
        fixture.prune_stage(fixture.prune(key, None, Removal::global(0)), &dense),
    ];
    for other in others {
        for outcome in fixture.outcomes(&[first.clone(), other]) {
            assert_failed(&outcome, FailureClass::Input);
        }
    }
    for outcome in fixture.outcomes(&warmed_up) {
        assert_failed(&outcome, FailureClass::Input);
    }
    // The numbers that lanes have of their own do not matter.
    let lanes = [(4, 1e-2, 0.01), (5, 0.5, 0.1)].map(|(seed, lr, weight_decay)| {
        let mut spec = fixture.dense(seed);
        spec.training.optimizer = OptimizerSpec::Adam { lr, betas, eps, weight_decay };
        fixture.dense_stage(spec)
    });
    fixture.outcomes(&lanes).into_iter().for_each(|outcome| drop(completed(outcome)));
}

#[test]
fn inputs_that_are_wrong_fail_the_stage_and_nothing_else() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let good = fixture.prune_stage(fixture.prune(key, Some(magnitude()), Removal::global(7)), &dense);
    let expected = one(&mut fixture.stages, &good);
    let mut serial = 100;
    let mut bad = |role: Role, artifact: Option<Artifact>| {
        let mut stage = good.clone();
        let StageSpec::Prune(spec) = &mut stage.spec else { panic!("a pruning") };
        serial += 1;
        spec.seed = serial;
        stage.key = stage.spec.key();
        match artifact {
            Some(artifact) => stage.inputs.insert(role, artifact),
            None => stage.inputs.remove(&role),
        };
        stage
    };
    let other_net = |hidden: &[u32]| {
        let model = mlp(WIDTH, hidden);
        let bytes = checkpoint::write_parameters(&model, &Parameters::initial(&model, 1)).expect("writes");
        fixture.stages.workspace.store.put(&bytes).expect("room")
    };
    let model = mlp(WIDTH, &[6, 4]);
    let mut not_finite = Parameters::initial(&model, 1);
    not_finite.tensors[2][3] = f32::NAN;
    let not_finite = checkpoint::write_parameters(&model, &not_finite).expect("writes");
    let put = |bytes: &[u8]| fixture.stages.workspace.store.put(bytes).expect("room");
    // Rows of another width: one level less.
    let narrow = prepare_stage(&fixture.stages, &table(400, 0.0).replace(",c,", ",a,"));
    let mut narrow_stages =
        Stages::new(Store::open(fixture.stages.workspace.store.root(), Durability::Cached).expect("a store"), device());
    let narrow = completed(one(&mut narrow_stages, &narrow)).artifacts[&Role::Prepared];
    // Rows of the right width, and another table.
    let other = prepare_stage(&fixture.stages, &table(400, 0.3));
    let other = completed(one(&mut narrow_stages, &other)).artifacts[&Role::Prepared];
    let missing = Artifact { hash: ContentHash::of(b"nowhere"), size: 7 };
    let mut other_without_checkpoint = bad(Role::Prepared, Some(other));
    other_without_checkpoint.inputs.remove(&Role::Checkpoint);

    let cases = [
        (bad(Role::Checkpoint, None), FailureClass::Input),
        (bad(Role::Checkpoint, Some(other_net(&[4, 6]))), FailureClass::Input),
        (bad(Role::Checkpoint, Some(other_net(&[6, 4, 2]))), FailureClass::Input),
        (bad(Role::Checkpoint, Some(put(&not_finite))), FailureClass::Input),
        (bad(Role::Checkpoint, Some(put(b""))), FailureClass::Input),
        (bad(Role::Checkpoint, Some(put(b"no safetensors at all"))), FailureClass::Input),
        (bad(Role::Checkpoint, Some(fixture.prepared[&Role::Prepared])), FailureClass::Input),
        (bad(Role::Checkpoint, Some(missing)), FailureClass::Storage),
        (bad(Role::Prepared, None), FailureClass::Input),
        (bad(Role::Prepared, Some(put(&[0xff; 64]))), FailureClass::Input),
        (bad(Role::Prepared, Some(dense.artifacts[&Role::Checkpoint])), FailureClass::Input),
        (bad(Role::Prepared, Some(narrow)), FailureClass::Input),
        (bad(Role::Prepared, Some(missing)), FailureClass::Storage),
        (other_without_checkpoint, FailureClass::Input),
    ];
    for (stage, class) in cases {
        for bundle in [vec![stage.clone()], vec![good.clone(), stage.clone()], vec![stage.clone(), good.clone()]] {
            for (stage, outcome) in bundle.iter().zip(fixture.outcomes(&bundle)) {
                if stage.key == good.key {
                    assert_eq!(outcome, expected);
                } else {
                    assert_failed(&outcome, class);
                }
            }
        }
    }
}

#[test]
fn a_table_that_cannot_be_prepared_fails_the_stage() {
    let mut fixture = Fixture::new();
    for text in ["", "x1,x2,c,y\n", "x1,y\n1,0\n2\n", "x1,z\n1,0\n2,1\n"] {
        let stage = prepare_stage(&fixture.stages, text);
        assert_failed(&one(&mut fixture.stages, &stage), FailureClass::Input);
    }
    let mut stage = fixture.prepare.clone();
    stage.inputs.clear();
    assert_failed(&one(&mut fixture.stages, &stage), FailureClass::Input);
}

#[test]
fn a_net_whose_scores_overflow_diverges() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let model = mlp(WIDTH, &[6, 4]);
    let mut huge = Parameters::initial(&model, 1);
    [0, 2, 4].into_iter().for_each(|weight| huge.tensors[weight].fill(1e30));
    let huge = checkpoint::write_parameters(&model, &huge).expect("writes");
    let spec = fixture.prune(key, Some(taylor(1.0)), Removal::global(7));
    let mut stage = fixture.prune_stage(spec, &dense);
    stage.inputs.insert(Role::Checkpoint, fixture.stages.workspace.store.put(&huge).expect("room"));
    assert_eq!(one(&mut fixture.stages, &stage), StageOutcome::Diverged { step: 0 });
}

#[test]
fn equal_stages_make_equal_files_and_other_seeds_others() {
    let mut fixture = Fixture::new();
    let hashes: BTreeSet<ContentHash> = (0..3)
        .map(|seed| {
            let stage = fixture.dense_stage(fixture.dense(seed));
            let result = completed(one(&mut fixture.stages, &stage));
            assert_eq!(completed(one(&mut fixture.stages, &stage)), result);
            result.artifacts[&Role::Checkpoint].hash
        })
        .collect();
    assert_eq!(hashes.len(), 3);
}
