//! The device of these tests beside the reference: of another backend the same plans and nearly the same nets.

use super::*;
use crate::device::reference;

const SEEDS: u64 = 5;

/// What a seed comes to: the plan, and the validation AUC of the pruned net.
fn pruned(fixture: &mut Fixture, dense: &StageResult, key: StageKey, criterion: &str, seed: u64) -> (ContentHash, f64) {
    let spec = fixture.prune(key, Some(with_defaults(criterion)), Removal::global(20));
    let stage = fixture.prune_stage(PruneSpec { seed, ..spec }, dense);
    let result = completed(one(&mut fixture.stages, &stage));
    let auc = result.metrics.value(&Metric::Auc.on(Split::Validation)).expect("it was measured");
    (result.artifacts[&Role::Plan].hash, auc)
}

#[test]
fn backends_agree_on_plans_and_nearly_on_nets() {
    let (mut here, mut there) = (Fixture::new(), Fixture::on(reference()));
    assert_eq!(here.prepare.key, there.prepare.key);
    for criterion in ["random", "magnitude", "synflow"] {
        let mut difference = 0.0;
        for seed in 0..SEEDS {
            // One dense net for both, so that what differs comes from the pruned net's training.
            let stage = there.dense_stage(there.dense(seed));
            let dense = completed(one(&mut there.stages, &stage));
            let net = there.stages.workspace.store.get(dense.artifacts[&Role::Checkpoint].hash).expect("it was made");
            here.stages.workspace.store.put(&net).expect("room");
            let (plan, auc) = pruned(&mut here, &dense, stage.key, criterion, seed);
            let (expected_plan, expected_auc) = pruned(&mut there, &dense, stage.key, criterion, seed);
            assert_eq!(plan, expected_plan, "{criterion}");
            difference += (auc - expected_auc) / SEEDS as f64;
        }
        assert!(difference.abs() < 0.003, "{criterion}: the mean AUC differs by {difference}");
    }
}
