//! Nets that were trained elsewhere.

use super::*;
use crate::import::ForeignNet;

/// A net from elsewhere is measured as one that was trained here, and what hangs on the dense net goes on from it.
#[test]
fn an_imported_net_stands_for_the_dense_one() {
    let mut fixture = Fixture::new();
    let (_, dense) = fixture.trained();
    let weights = dense.artifacts[&Role::Checkpoint];
    let model = mlp(WIDTH, &[6, 4]);
    let import =
        ImportSpec { prepare: fixture.prepare.key, model: model.clone(), weights: weights.hash, masked: false };
    let mut inputs = fixture.prepared.clone();
    inputs.insert(Role::Weights, weights);
    let import = stage(StageSpec::Import(import), inputs);
    let imported = completed(one(&mut fixture.stages, &import));
    assert_eq!(imported.metrics, dense.metrics);
    for role in [Role::Checkpoint, Role::Scores] {
        assert_eq!(imported.artifacts[&role], dense.artifacts[&role]);
    }
    let prune = |fixture: &mut Fixture, from: StageKey, result: &StageResult| {
        let stage = fixture.prune_stage(fixture.prune(from, Some(magnitude()), Removal::global(9)), result);
        completed(one(&mut fixture.stages, &stage)).metrics
    };
    let from_import = prune(&mut fixture, import.key, &imported);
    let dense_key = fixture.trained().0;
    assert_eq!(from_import, prune(&mut fixture, dense_key, &dense));
    // Another net's file.
    let other = checkpoint::write_parameters(&mlp(WIDTH, &[6, 5]), &Parameters::initial(&mlp(WIDTH, &[6, 5]), 1));
    let other = fixture.stages.workspace.store.put(&other.expect("writes")).expect("room");
    let spec = ImportSpec { prepare: fixture.prepare.key, model, weights: other.hash, masked: false };
    let mut inputs = fixture.prepared.clone();
    inputs.insert(Role::Weights, other);
    assert_failed(&one(&mut fixture.stages, &stage(StageSpec::Import(spec), inputs)), FailureClass::Input);
}

/// What was gone of a net when it came is gone after every pruning and training, dense controls too.
#[test]
fn the_mask_of_an_imported_net_holds() {
    let mut fixture = Fixture::new();
    let model = mlp(WIDTH, &[6, 4]);
    let parameters = Parameters::initial(&model, 1);
    let kept: Vec<bool> = (0..30).map(|place| place % 3 != 0).collect();
    let tensors =
        model.tensors().into_iter().zip(parameters.tensors).map(|(spec, values)| (spec.name, (spec.shape, values)));
    let net = ForeignNet {
        tensors: tensors.collect(),
        masks: [("layers.0.weight".to_owned(), kept.clone())].into(),
        notes: vec![],
    };
    let weights = fixture.stages.workspace.store.put(&net.to_safetensors().expect("writes")).expect("room");
    let spec = ImportSpec { prepare: fixture.prepare.key, model: model.clone(), weights: weights.hash, masked: true };
    let mut inputs = fixture.prepared.clone();
    inputs.insert(Role::Weights, weights);
    let import = stage(StageSpec::Import(spec), inputs);
    let imported = completed(one(&mut fixture.stages, &import));
    for (criterion, removal) in [(None, Removal::NONE), (Some(magnitude()), Removal::global(25))] {
        let count = removal.total(&[]).expect("is known").max(10);
        let spec = PruneSpec {
            subject: Subject::Pruned { stage: import.key },
            ..fixture.prune(import.key, criterion, removal)
        };
        let mut pruning = fixture.prune_stage(spec, &imported);
        pruning.inputs.insert(Role::Mask, imported.artifacts[&Role::Mask]);
        let pruned = completed(one(&mut fixture.stages, &pruning));
        let store = &fixture.stages.workspace.store;
        let read = |role: Role| store.get(pruned.artifacts[&role].hash).expect("reads");
        let mask = checkpoint::read_mask(&model, &read(Role::Mask)).expect("a mask");
        assert_eq!(mask.removed(), count);
        let net = checkpoint::read_parameters(&model, &read(Role::Checkpoint)).expect("a net");
        assert!((0..30).all(|place| kept[place] || !mask.keeps(0, place) && net.tensors[0][place] == 0.0));
    }
}
