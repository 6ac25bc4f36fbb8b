//! Measurements of a probe against a naive net in double precision, and scores of criteria from them.

use std::collections::BTreeMap;

use secateur_proto::spec::{CriterionSpec, Granularity, ModelSpec};

use super::{adam, dataset, device, mlp, reference::Net, training};
use crate::{
    net::Parameters,
    prune::{
        criteria::{ALL, Context, Definition, Needs, Scores},
        probe::{Loss, Probe as _},
    },
    train::{data::DeviceData, probe::NetProbe},
};

const TRAIN_ROWS: usize = 40;

fn model() -> ModelSpec {
    mlp(5, &[6, 4])
}

/// The scores of a net on the train rows of dataset 1, by a criterion with random numbers of `seed`.
fn scores_of(criterion: &CriterionSpec, net: &Parameters, batch_size: u32, seed: u64) -> Scores {
    let (model, device) = (model(), device());
    let data = DeviceData::load(dataset(1, 5, TRAIN_ROWS), &device);
    let training = training(adam(1e-3), batch_size, 1);
    let (definition, arguments) = Definition::of(criterion).expect("a criterion");
    let mut context = Context {
        model: &model,
        layers: &model.prunable(),
        net,
        removed: None,
        count: Some(20),
        counts: None,
        granularity: Granularity::Weight,
        training: &training,
        seed,
        probe: &mut NetProbe::new(&model, &data, &device),
    };
    (definition.scores)(&mut context, &arguments).expect("scores")
}

fn weights(scores: Scores) -> Vec<Vec<f64>> {
    match scores {
        Scores::Weights(scores) | Scores::Units(scores) | Scores::Conditioned(scores, _) => scores,
    }
}

fn net() -> Parameters {
    Parameters::initial(&model(), 1)
}

/// Criteria that apply to a net without batch normalisation.
fn measurable() -> impl Iterator<Item = &'static Definition> {
    ALL.iter().copied().filter(|criterion| criterion.needs != Needs::Training && criterion.name != "bn_scale")
}

#[test]
fn every_criterion_is_repeatable_and_finite() {
    for criterion in measurable() {
        let spec = criterion.spec(&BTreeMap::new());
        let scores = scores_of(&spec, &net(), 8, 3);
        assert_eq!(scores, scores_of(&spec, &net(), 8, 3), "{}", criterion.name);
        let expected = match scores {
            Scores::Weights(_) | Scores::Conditioned(..) => [30, 24],
            Scores::Units(_) => [6, 4],
        };
        let scores = weights(scores);
        assert_eq!(scores.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{}", criterion.name);
        assert!(scores.iter().flatten().all(|score| score.is_finite()), "{}", criterion.name);
    }
}

#[test]
fn a_gradient_is_the_slope_of_the_loss_whatever_the_chunks() {
    let (model, device, net) = (model(), device(), net());
    let dataset = dataset(1, 5, 300);
    let train = dataset.train.clone();
    let data = DeviceData::load(dataset, &device);
    let mut probe = NetProbe::new(&model, &data, &device);
    let rows: Vec<u32> = (0..299).collect();
    let gradient = probe.gradient(&net, &rows, Loss::default()).expect("a gradient");
    let signed: Vec<i32> = (0..299).collect();
    let reference = Net::of(&net);
    for (layer, (weight, bias)) in reference.layers.iter().enumerate() {
        let inputs = weight[0].len();
        for output in 0..bias.len() {
            for input in 0..inputs {
                let expected = reference.slope(&train, &signed, layer, output, Some(input));
                let found = gradient[2 * layer][output * inputs + input];
                assert!((found - expected).abs() < 1e-8, "{found} instead of {expected}");
            }
            let expected = reference.slope(&train, &signed, layer, output, None);
            assert!((gradient[2 * layer + 1][output] - expected).abs() < 1e-8);
        }
    }
}

#[test]
fn gradients_of_single_rows_have_the_mean_gradient_as_their_mean() {
    let (model, device, net) = (model(), device(), net());
    let data = DeviceData::load(dataset(1, 5, TRAIN_ROWS), &device);
    let mut probe = NetProbe::new(&model, &data, &device);
    let rows: Vec<u32> = (0..TRAIN_ROWS as u32).collect();
    let mean = probe.gradient(&net, &rows, Loss::default()).expect("a gradient").concat();
    let mut sum = vec![0.0; mean.len()];
    let mut count = 0;
    let mut add = |gradient: &[Vec<f64>]| {
        sum.iter_mut().zip(gradient.concat()).for_each(|(sum, value)| *sum += value);
        count += 1;
    };
    probe.sample_gradients(&net, &rows, &mut add).expect("gradients");
    assert_eq!(count, TRAIN_ROWS);
    for (sum, mean) in sum.iter().zip(&mean) {
        assert!((sum / TRAIN_ROWS as f64 - mean).abs() < 1e-14);
    }
}

/// With batches for all rows their order does not matter, although the last batch is smaller.
#[test]
fn taylor_is_the_weight_times_the_slope_of_the_loss_over_the_rows() {
    let net = net();
    let reference = Net::of(&net);
    let train = dataset(1, 5, TRAIN_ROWS).train;
    let all: Vec<i32> = (0..TRAIN_ROWS as i32).collect();
    for (batch_size, batches) in [(16, 3.0), (8, 5.0), (100, 1.0), (7, 1000.0)] {
        let scores = weights(scores_of(&CriterionSpec::new("taylor", &[("batches", batches)]), &net, batch_size, 3));
        for (layer, scores) in scores.iter().enumerate() {
            let weights = &reference.layers[layer].0;
            let inputs = weights[0].len();
            for (place, score) in scores.iter().enumerate() {
                let (output, input) = (place / inputs, place % inputs);
                let slope = reference.slope(&train, &all, layer, output, Some(input));
                let expected = (weights[output][input] * slope).abs();
                assert!((score - expected).abs() < 1e-8, "{score} instead of {expected}");
            }
        }
    }
}

#[test]
fn taylor_looks_at_no_more_batches_than_it_is_told() {
    let taylor =
        |batches, size| weights(scores_of(&CriterionSpec::new("taylor", &[("batches", batches)]), &net(), size, 3));
    assert_ne!(taylor(1.0, 8), taylor(5.0, 8));
    // Two batches of eight equal one of sixteen: the same rows, drawn without replacement.
    for (two, wide) in taylor(2.0, 8).iter().flatten().zip(taylor(1.0, 16).iter().flatten()) {
        assert!((two - wide).abs() < 1e-12);
    }
}

/// The same function, with the units of the first hidden layer in another order.
fn permuted(net: &Parameters, order: &[usize]) -> Parameters {
    let [first, bias, second, rest @ ..] = net.tensors.as_slice() else { panic!("three layers") };
    let rows = order.iter().flat_map(|unit| first[unit * 5..][..5].to_vec()).collect();
    let columns = second.chunks_exact(6).flat_map(|row| order.iter().map(|unit| row[*unit]).collect::<Vec<_>>());
    let bias = order.iter().map(|unit| bias[*unit]).collect();
    Parameters { tensors: [vec![rows, bias, columns.collect()], rest.to_vec()].concat() }
}

#[test]
fn permuting_hidden_units_permutes_the_scores() {
    let order = [3, 0, 5, 1, 4, 2];
    let other = permuted(&net(), &order);
    // In sparsegpt, compensation depends on the order of columns.
    let ordered = |name: &str| name.starts_with("random") || name == "sparsegpt";
    for criterion in measurable().filter(|criterion| !ordered(criterion.name)) {
        let spec = criterion.spec(&BTreeMap::new());
        let (scores, found) = (scores_of(&spec, &net(), 8, 3), scores_of(&spec, &other, 8, 3));
        let expected = match scores {
            Scores::Weights(scores) | Scores::Conditioned(scores, _) => {
                let rows = order.iter().flat_map(|unit| scores[0][unit * 5..][..5].to_vec()).collect();
                let columns =
                    scores[1].chunks_exact(6).flat_map(|row| order.iter().map(|unit| row[*unit]).collect::<Vec<_>>());
                [rows, columns.collect::<Vec<_>>()]
            }
            Scores::Units(scores) => [order.iter().map(|unit| scores[0][*unit]).collect(), scores[1].clone()],
        };
        for (found, expected) in weights(found).concat().iter().zip(expected.concat()) {
            let scale = found.abs().max(1e-3);
            assert!((found - expected).abs() < 1e-6 * scale, "{}: {found} instead of {expected}", criterion.name);
        }
    }
}
