use secateur_proto::{
    ids::{ContentHash, StageKey},
    spec::Removal,
};

use super::*;
use crate::{
    net::{LayerParameters, Mask},
    prune::plan::PruningPlan,
    train::tests::{adam, dataset, device, mlp, reference::Net, training},
};

const TRAIN_ROWS: usize = 40;

/// The scores of a net of seed 1 on its train rows, by a criterion whose random numbers are those of `seed`.
fn scores_of(criterion: &CriterionSpec, parameters: &Parameters, batch_size: u32, seed: u64) -> Vec<Vec<f32>> {
    let device = device();
    let data = DeviceData::load(dataset(1, 5, TRAIN_ROWS), &device);
    let training = training(adam(1e-3), batch_size, 1);
    scores(criterion, &Subject { model: &model(), parameters, training: &training, data: &data, device: &device, seed })
}

fn model() -> ModelSpec {
    mlp(5, &[6, 4])
}

fn net() -> Parameters {
    Parameters::initial(&model(), 1)
}

fn mask(removal: &Removal, scores: &[Vec<f32>]) -> Mask {
    let dense = StageKey(ContentHash::of(b"dense"));
    let plan = PruningPlan::make(&model(), dense, None, removal, scores).expect("a plan");
    plan.mask(&model()).expect("a mask")
}

const EVERY: [CriterionSpec; 3] =
    [CriterionSpec::Random {}, CriterionSpec::Magnitude {}, CriterionSpec::Taylor { batches: 2 }];

#[test]
fn scores_are_repeatable_and_one_for_each_prunable_weight() {
    for criterion in EVERY {
        let scores = scores_of(&criterion, &net(), 8, 3);
        assert_eq!(scores, scores_of(&criterion, &net(), 8, 3));
        assert_eq!(scores.iter().map(Vec::len).collect::<Vec<_>>(), [30, 24]);
        assert!(scores.iter().flatten().all(|score| score.is_finite() && *score >= 0.0));
    }
}

#[test]
fn only_what_is_random_depends_on_the_seed() {
    for (criterion, random) in EVERY.into_iter().zip([true, false, true]) {
        let same = scores_of(&criterion, &net(), 8, 3) == scores_of(&criterion, &net(), 8, 4);
        assert_eq!(same, !random, "{criterion:?}");
    }
}

#[test]
fn random_scores_are_uniform_and_know_nothing_of_the_net() {
    let other = Parameters::initial(&model(), 2);
    let mut sum = 0.0;
    for seed in 0..50 {
        let scores = scores_of(&CriterionSpec::Random {}, &net(), 8, seed);
        assert_eq!(scores, scores_of(&CriterionSpec::Random {}, &other, 8, seed));
        assert!(scores.iter().flatten().all(|score| (0.0..1.0).contains(score)));
        sum += scores.iter().flatten().sum::<f32>();
    }
    // 2700 draws: the mean has a standard deviation of 0.0056.
    assert!((sum / 2700.0 - 0.5).abs() < 0.025, "{}", sum / 2700.0);
}

#[test]
fn the_masks_of_a_seed_are_nested_over_sparsities() {
    for criterion in EVERY {
        let scores = scores_of(&criterion, &net(), 8, 3);
        let global = |count| mask(&Removal::Global { count }, &scores);
        let local = |first, second| mask(&Removal::PerLayer { counts: vec![first, second] }, &scores);
        for (sparser, denser) in [(global(20), global(9)), (local(20, 15), local(9, 15)), (local(3, 3), local(0, 1))] {
            assert!(sparser.removed() > denser.removed());
            let nested = sparser.kept.iter().flatten().zip(denser.kept.iter().flatten());
            assert!(nested.into_iter().all(|(sparser, denser)| *denser || !*sparser));
        }
    }
}

#[test]
fn magnitude_is_the_absolute_weight() {
    let mut net = net();
    net.layers[0].weight[..4].copy_from_slice(&[-3.0, 2.0, -0.0, 0.5]);
    let scores = scores_of(&CriterionSpec::Magnitude {}, &net, 8, 3);
    assert_eq!(scores[0][..4], [3.0, 2.0, 0.0, 0.5]);
    assert!(scores[1].iter().zip(&net.layers[1].weight).all(|(score, weight)| *score == weight.abs()));
}

/// The same function with the units of the first hidden layer in another order.
fn permuted(net: &Parameters, order: &[usize]) -> Parameters {
    let [first, second, third] = net.layers.as_slice() else { panic!("three layers") };
    let rows = order.iter().flat_map(|unit| first.weight[unit * 5..][..5].to_vec());
    let columns = second.weight.chunks_exact(6).flat_map(|row| order.iter().map(|unit| row[*unit]).collect::<Vec<_>>());
    Parameters {
        layers: vec![
            LayerParameters { weight: rows.collect(), bias: order.iter().map(|unit| first.bias[*unit]).collect() },
            LayerParameters { weight: columns.collect(), bias: second.bias.clone() },
            third.clone(),
        ],
    }
}

#[test]
fn permuting_hidden_units_permutes_the_mask() {
    let order = [3, 0, 5, 1, 4, 2];
    let other = permuted(&net(), &order);
    for criterion in [CriterionSpec::Magnitude {}, CriterionSpec::Taylor { batches: 5 }] {
        let removal = Removal::Global { count: 25 };
        let kept = mask(&removal, &scores_of(&criterion, &net(), 8, 3)).kept;
        let found = mask(&removal, &scores_of(&criterion, &other, 8, 3)).kept;
        let rows = order.iter().flat_map(|unit| kept[0][unit * 5..][..5].to_vec());
        let columns = kept[1].chunks_exact(6).flat_map(|row| order.iter().map(|unit| row[*unit]).collect::<Vec<_>>());
        assert_eq!(found, [rows.collect::<Vec<_>>(), columns.collect()]);
    }
}

/// With batches for all rows their order does not count, though the last batch is a short one.
#[test]
fn taylor_is_the_weight_times_the_slope_of_the_loss_over_the_rows() {
    let net = net();
    let reference = Net::of(&net);
    let train = dataset(1, 5, TRAIN_ROWS).train;
    let all: Vec<i32> = (0..TRAIN_ROWS as i32).collect();
    for (batch_size, batches) in [(16, 3), (8, 5), (40, 1), (100, 1), (7, 1000)] {
        let scores = scores_of(&CriterionSpec::Taylor { batches }, &net, batch_size, 3);
        for (layer, scores) in scores.iter().enumerate() {
            let weights = &reference.layers[layer].0;
            let inputs = weights[0].len();
            for (place, score) in scores.iter().enumerate() {
                let (output, input) = (place / inputs, place % inputs);
                let slope = reference.slope(&train, &all, layer, output, Some(input));
                let expected = (weights[output][input] * slope).abs();
                assert!((f64::from(*score) - expected).abs() < 1e-7, "{score} instead of {expected}");
            }
        }
    }
}

#[test]
fn taylor_looks_at_no_more_batches_than_it_is_told() {
    let one = scores_of(&CriterionSpec::Taylor { batches: 1 }, &net(), 8, 3);
    let all = scores_of(&CriterionSpec::Taylor { batches: 5 }, &net(), 8, 3);
    assert_ne!(one, all);
    // Two batches of eight are one of sixteen: the same rows, drawn without replacement.
    let two = scores_of(&CriterionSpec::Taylor { batches: 2 }, &net(), 8, 3);
    let wide = scores_of(&CriterionSpec::Taylor { batches: 1 }, &net(), 16, 3);
    for (two, wide) in two.iter().flatten().zip(wide.iter().flatten()) {
        assert!((two - wide).abs() < 1e-7);
    }
}
