//! Nets of which a removal or a penalty would leave nothing.

use secateur_proto::spec::Activation;

use super::*;
use crate::net::weight_tensors;

fn collapsed(layer: &str) -> StageOutcome {
    StageOutcome::Collapsed { layer: layer.into() }
}

#[test]
fn a_pruning_that_empties_a_layer_collapses_alone() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let magnitude = Some(magnitude());
    let stages = [
        fixture.prune(key, magnitude.clone(), Removal::PerLayer { counts: vec![30, 3] }),
        fixture.prune(key, magnitude.clone(), Removal::PerLayer { counts: vec![3, 24] }),
        fixture.prune(key, magnitude.clone(), Removal::global(54)),
        fixture.prune(key, magnitude, Removal::PerLayer { counts: vec![29, 23] }),
    ]
    .map(|spec| fixture.prune_stage(spec, &dense));
    let found = fixture.outcomes(&stages);
    assert_eq!(found[..3], [collapsed("layers.0"), collapsed("layers.1"), collapsed("layers.0")]);
    let kept = completed(found[3].clone());
    assert_eq!(kept.metrics.value(&Metric::Sparsity.on(Split::Test)), Some(52.0 / 54.0));
}

#[test]
fn a_penalty_that_leaves_nothing_collapses_its_lane_alone() {
    let mut fixture = Fixture::new();
    for kind in [RegularizationKind::L1, RegularizationKind::GroupLasso] {
        let bundle = [1e-3, 1e4].map(|strength| {
            let regularization = Some(RegularizationSpec { kind, strength, warm_up_epochs: 0, healing_epochs: 0 });
            fixture.dense_stage(DenseSpec { regularization, ..fixture.dense(1) })
        });
        let found = fixture.outcomes(&bundle);
        completed(found[0].clone());
        assert_eq!(found[1], collapsed("layers.0"), "{kind:?}");
    }
}

/// What goes round an empty layer still tells rows apart.
#[test]
fn an_empty_block_of_a_residual_net_is_no_collapse() {
    let mut fixture = Fixture::new();
    let model = ModelSpec::ResidualMlp { inputs: WIDTH, width: 6, blocks: 2, outputs: 1, activation: Activation::Relu };
    let mut net = Parameters::initial(&model, 1);
    let mut outcome = |fixture: &mut Fixture, emptied: usize| {
        let weight = weight_tensors(&model)[emptied].expect("a layer with weights");
        net.tensors[weight].fill(0.0);
        let file = checkpoint::write_parameters(&model, &net).expect("writes");
        let weights = fixture.stages.workspace.store.put(&file).expect("room");
        let mut inputs = fixture.prepared.clone();
        inputs.insert(Role::Weights, weights);
        let spec =
            ImportSpec { prepare: fixture.prepare.key, model: model.clone(), weights: weights.hash, masked: false };
        one(&mut fixture.stages, &stage(StageSpec::Import(spec), inputs))
    };
    completed(outcome(&mut fixture, 1));
    let last = model.layers().len() - 1;
    assert_eq!(outcome(&mut fixture, last), collapsed(&model.layers()[1].name), "the first empty one");
}
