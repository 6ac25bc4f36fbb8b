//! Nets that were trained elsewhere.

use super::*;

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
