//! Properties of criteria that hold for any net: sums, conservation, invariances, and each score against slopes of a
//! naive net.

use std::collections::BTreeMap;

use proptest::prelude::*;
use secateur_proto::{
    outcome::FailureClass,
    spec::{Activation, Granularity, ModelSpec, Ranking, Removal},
};

use super::{dataset, device, mask, mlp, reference::Net, sgd, training};
use crate::{
    net::{Mask, Parameters, units::units},
    prune::{
        criteria::{Context, Definition, Scores},
        probe::{Loss, Probe as _},
        select::{NoSelection, Place, Request, candidates, select},
    },
    train::{data::DeviceData, probe::NetProbe},
};

const ROWS: usize = 40;

/// The input of a criterion: a net, what was removed of it, how many will be removed in total, and rows in a batch.
struct Asked<'a> {
    model: &'a ModelSpec,
    net: &'a Parameters,
    removed: Option<&'a Mask>,
    count: Option<u64>,
    batch_size: u32,
}

impl<'a> Asked<'a> {
    const fn of(model: &'a ModelSpec, net: &'a Parameters) -> Self {
        Self { model, net, removed: None, count: None, batch_size: 8 }
    }

    /// The scores on rows of dataset 1.
    fn scores(&self, name: &str, parameters: &[(&str, f64)]) -> Vec<Vec<f64>> {
        let device = device();
        let data = DeviceData::load(dataset(1, self.model.inputs() as usize, ROWS), &device);
        let parameters: BTreeMap<String, f64> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let spec = Definition::named(name).expect("a criterion").spec(&parameters);
        let (definition, arguments) = Definition::of(&spec).expect("its parameters");
        let mut context = Context {
            model: self.model,
            layers: &self.model.prunable(),
            net: self.net,
            removed: self.removed,
            count: self.count,
            counts: None,
            granularity: Granularity::Weight,
            training: &training(sgd(0.1), self.batch_size, 1),
            seed: 3,
            probe: &mut NetProbe::new(self.model, &data, &device),
        };
        match (definition.scores)(&mut context, &arguments).expect("scores") {
            Scores::Weights(scores) | Scores::Units(scores) | Scores::Conditioned(scores, _) => scores,
        }
    }

    /// The places that are removed if `count` of all weights are.
    fn selected(&self, scores: &[Vec<f64>], count: u64) -> Result<Vec<Place>, NoSelection> {
        let (removal, layers) = (Removal::global(count), self.model.prunable());
        let request = Request {
            model: self.model,
            layers: &layers,
            granularity: Granularity::Weight,
            ranking: Ranking::Raw,
            removal: &removal,
            net: self.net,
            removed: self.removed,
        };
        select(&request, &candidates(&request, &Scores::Weights(scores.to_vec())).expect("candidates"))
    }
}

fn assert_near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1e-3), "{found} instead of {expected}");
}

/// For each weight of a layer its value, and the slope of the loss of each single row.
fn slopes(net: &Parameters, layer: usize) -> Vec<(f64, Vec<f64>)> {
    let (reference, train) = (Net::of(net), dataset(1, 5, ROWS).train);
    let places = reference.layers[layer].0.iter().enumerate();
    let places = places.flat_map(|(output, row)| row.iter().enumerate().map(move |(input, w)| (output, input, *w)));
    let of_rows = |output, input| {
        (0..ROWS as i32).map(|row| reference.slope(&train, &[row], layer, output, Some(input))).collect()
    };
    places.map(|(output, input, weight)| (weight, of_rows(output, input))).collect()
}

#[test]
fn fisher_is_half_the_squared_weight_times_the_mean_of_the_squared_slopes_of_single_rows() {
    let model = mlp(5, &[6, 4]);
    let net = Parameters::initial(&model, 1);
    for (layer, scores) in Asked::of(&model, &net).scores("fisher_diag", &[]).iter().enumerate() {
        for (score, (weight, slopes)) in scores.iter().zip(slopes(&net, layer)) {
            let square = slopes.iter().map(|slope| slope * slope).sum::<f64>() / ROWS as f64;
            assert_near(*score, 0.5 * weight * weight * square, 1e-5);
        }
    }
}

#[test]
fn first_order_taylor_is_the_mean_over_batches_of_the_squared_change() {
    let model = mlp(5, &[6, 4]);
    let net = Parameters::initial(&model, 1);
    let scores = |batch_size, batches| {
        Asked { batch_size, ..Asked::of(&model, &net) }.scores("taylor_fo", &[("batches", batches)])
    };
    // Batches of one row: the mean of squares. One batch of all: the square of the mean.
    let (single, whole) = (scores(1, ROWS as f64), scores(ROWS as u32, 1.0));
    for layer in 0..2 {
        for (place, (weight, slopes)) in slopes(&net, layer).into_iter().enumerate() {
            let mean = slopes.iter().sum::<f64>() / ROWS as f64;
            let square = slopes.iter().map(|slope| slope * slope).sum::<f64>() / ROWS as f64;
            assert_near(single[layer][place], weight * weight * square, 1e-5);
            assert_near(whole[layer][place], (weight * mean).powi(2), 1e-5);
        }
    }
}

/// For a unit with ReLU, the sum of weight times gradient over its readers equals that over its own weights, so the sum
/// over both is twice as large.
#[test]
fn the_group_of_a_unit_counts_what_it_has_and_what_reads_it() {
    let model = mlp(5, &[6, 4]);
    let net = Parameters::initial(&model, 1);
    let (reference, train) = (Net::of(&net), dataset(1, 5, ROWS).train);
    let all: Vec<i32> = (0..ROWS as i32).collect();
    let asked = Asked { batch_size: ROWS as u32, ..Asked::of(&model, &net) };
    let scores = asked.scores("taylor_group", &[("batches", 1.0)]);
    assert_eq!(scores.iter().map(Vec::len).collect::<Vec<_>>(), [6, 4]);
    for (layer, scores) in scores.iter().enumerate() {
        let (weight, bias) = &reference.layers[layer];
        for (unit, score) in scores.iter().enumerate() {
            let slope = |input| reference.slope(&train, &all, layer, unit, input);
            let own: f64 = weight[unit].iter().enumerate().map(|(input, weight)| weight * slope(Some(input))).sum();
            let own = own + bias[unit] * slope(None);
            assert_near(*score, (2.0 * own).powi(2), 1e-5);
        }
    }
}

#[test]
fn units_that_cannot_go_alone_have_no_group() {
    let model = ModelSpec::ResidualMlp { inputs: 5, width: 4, blocks: 1, outputs: 1, activation: Activation::Relu };
    let (net, device) = (Parameters::initial(&model, 1), device());
    let data = DeviceData::load(dataset(1, 5, ROWS), &device);
    let (definition, arguments) = Definition::named("taylor_group")
        .and_then(|definition| Definition::of(&definition.spec(&BTreeMap::new())).ok())
        .expect("a criterion");
    let scored = |layers: &[u32]| {
        let mut context = Context {
            model: &model,
            layers,
            net: &net,
            removed: None,
            count: None,
            counts: None,
            granularity: Granularity::Weight,
            training: &training(sgd(0.1), 8, 1),
            seed: 3,
            probe: &mut NetProbe::new(&model, &data, &device),
        };
        (definition.scores)(&mut context, &arguments)
    };
    let failure = scored(&[0, 1]).expect_err("the first layer is added to");
    assert_eq!(failure.class, FailureClass::Input);
    assert!(failure.message.contains("layers.0"), "{}", failure.message);
    assert!(matches!(scored(&[1]), Ok(Scores::Units(scores)) if scores[0].len() == 4));
}

#[test]
fn scores_of_snip_sum_to_one_and_a_dead_net_has_none() {
    let model = mlp(5, &[6, 4]);
    let net = Parameters::initial(&model, 1);
    let asked = Asked::of(&model, &net);
    let scores = |batch_size| asked.scores("snip", &[("batch_size", batch_size)]);
    for batch_size in [1.0, 7.0, 128.0] {
        assert!((scores(batch_size).iter().flatten().sum::<f64>() - 1.0).abs() < 1e-12);
    }
    assert_ne!(scores(7.0), scores(8.0));
    assert_eq!(scores(40.0), scores(128.0), "there are 40 rows");
    let dead = Parameters { tensors: net.tensors.iter().map(|values| vec![0.0; values.len()]).collect() };
    assert!(Asked::of(&model, &dead).scores("snip", &[]).iter().flatten().all(|score| *score == 0.0));
}

/// Logistic regression has the Hessian Xᵀ diag(p (1 − p)) X / n, with a column of ones in X for the bias. A temperature
/// divides logits.
#[test]
fn the_hessian_of_a_logistic_regression_is_the_one_of_the_textbooks() {
    let model = mlp(5, &[]);
    let (net, device) = (Parameters::initial(&model, 1), device());
    let train = dataset(1, 5, ROWS).train;
    let data = DeviceData::load(dataset(1, 5, ROWS), &device);
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let direction = vec![vec![0.3, -1.0, 0.0, 2.0, 0.5], vec![-0.7]];
    for temperature in [1.0, 200.0] {
        let mut probe = NetProbe::new(&model, &data, &device);
        let found = probe.hessian_vector(&net, &rows, &direction, Loss { temperature }).expect("a product").concat();
        let mut expected = [0.0; 6];
        for row in train.inputs.chunks_exact(5) {
            let x: Vec<f64> = row.iter().map(|x| f64::from(*x)).chain([1.0]).collect();
            let probability = 1.0 / (1.0 + (-Net::of(&net).logit(row) / temperature).exp());
            let along: f64 = x.iter().zip(direction.iter().flatten()).map(|(x, direction)| x * direction).sum();
            let curvature = probability * (1.0 - probability) * along / temperature.powi(2) / ROWS as f64;
            expected.iter_mut().zip(x).for_each(|(expected, x)| *expected += curvature * x);
        }
        let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6 * largest, "{found} instead of {expected}");
        }
    }
}

#[test]
fn flow_is_conserved_by_layers_and_neurons() {
    let model = mlp(5, &[6, 4, 3]);
    let net = Parameters::initial(&model, 1);
    let scores = Asked::of(&model, &net).scores("synflow", &[]);
    let sums: Vec<f64> = scores.iter().map(|layer| layer.iter().sum()).collect();
    sums.iter().for_each(|sum| assert_near(*sum, sums[0], 1e-12));
    for (layer, (inputs, outputs)) in [(5, 6), (6, 4)].into_iter().enumerate() {
        for unit in 0..outputs {
            let into: f64 = scores[layer][unit * inputs..(unit + 1) * inputs].iter().sum();
            let out: f64 = scores[layer + 1].iter().skip(unit).step_by(outputs).sum();
            assert_near(into, out, 1e-12);
        }
    }
}

#[test]
fn scaling_a_layer_and_unscaling_the_next_changes_global_magnitude_and_not_synflow() {
    let model = mlp(5, &[6, 4, 3]);
    let net = Parameters::initial(&model, 1);
    let mut scaled = net.clone();
    // Powers of two change no mantissa. Biases do not flow.
    scaled.tensors[0].iter_mut().for_each(|weight| *weight *= 8.0);
    scaled.tensors[2].iter_mut().for_each(|weight| *weight /= 8.0);
    let selected = |net, criterion| {
        // Few enough that magnitude does not empty the second layer.
        let asked = Asked { count: Some(15), ..Asked::of(&model, net) };
        let scores = asked.scores(criterion, &[]);
        let mut places: Vec<(u32, u32)> =
            asked.selected(&scores, 15).expect("a selection").iter().map(|place| (place.layer, place.index)).collect();
        places.sort_unstable();
        places
    };
    assert_eq!(selected(&net, "synflow"), selected(&scaled, "synflow"));
    assert_ne!(selected(&net, "magnitude"), selected(&scaled, "magnitude"));
    let scores = |net| Asked::of(&model, net).scores("synflow", &[]).concat();
    scores(&scaled).into_iter().zip(scores(&net)).for_each(|(found, expected)| assert_near(found, expected, 1e-12));
}

#[test]
fn what_went_before_counts_and_does_not_go_again() {
    let model = mlp(5, &[6, 4]);
    let mut net = Parameters::initial(&model, 1);
    let removed = mask(&model, 4, 0.3);
    removed.apply(&mut net);
    let count = removed.removed() + 12;
    let asked = Asked { removed: Some(&removed), count: Some(count), ..Asked::of(&model, &net) };
    let scores = asked.scores("synflow", &[]);
    assert_eq!(scores.iter().flatten().filter(|score| **score < 0.0).count(), 12);
    let places = asked.selected(&scores, count).expect("a selection");
    let (new, old): (Vec<Place>, Vec<Place>) =
        places.into_iter().partition(|place| removed.keeps(2 * place.layer as usize, place.index as usize));
    assert_eq!((new.len(), old.len() as u64), (12, removed.removed()));
    assert!(new.iter().all(|place| scores[place.layer as usize][place.index as usize] < 0.0));
    // Fewer than are already removed: nothing is cut.
    let asked = Asked { count: Some(3), ..asked };
    assert!(asked.scores("synflow", &[]).iter().flatten().all(|score| *score >= 0.0));
}

#[test]
fn a_flow_too_large_for_numbers_orders_nothing() {
    let model = mlp(1, &[1; 9]);
    let mut net = Parameters::initial(&model, 1);
    // Ten weights in a row: 10³⁸⁰.
    net.tensors.iter_mut().step_by(2).for_each(|weight| weight[0] = 1e38);
    let asked = Asked { count: Some(3), ..Asked::of(&model, &net) };
    let scores = Scores::Weights(asked.scores("synflow", &[]));
    let (removal, layers) = (Removal::global(3), model.prunable());
    let request = Request {
        model: &model,
        layers: &layers,
        granularity: Granularity::Weight,
        ranking: Ranking::Raw,
        removal: &removal,
        net: &net,
        removed: None,
    };
    assert_eq!(candidates(&request, &scores).map(|_| ()), Err(NoSelection::NotFinite));
}

/// Weights that earlier levels removed are not in the net whose gradient flow is measured.
#[test]
fn grasp_knows_no_weight_that_is_gone() {
    let model = mlp(5, &[6, 4]);
    let mut net = Parameters::initial(&model, 1);
    // A unit of the first layer is removed with what reads it, so that the rest is a net of five units.
    let mut removed = Mask::full(&model, &model.prunable());
    units(&model)[0].as_ref().expect("units").remove(&model, &mut removed, 5);
    removed.apply(&mut net);
    let removed = &removed;
    let scores = Asked { removed: Some(removed), ..Asked::of(&model, &net) }.scores("grasp", &[]);
    let smaller = mlp(5, &[5, 4]);
    let kept = net.tensors.iter().zip(&removed.kept).map(|(values, kept)| match kept {
        Some(kept) => values.iter().zip(kept).filter(|(_, kept)| **kept).map(|(value, _)| *value).collect(),
        None => values.clone(),
    });
    let small = Parameters { tensors: kept.collect() };
    let expected = Asked::of(&smaller, &small).scores("grasp", &[]);
    let inside: Vec<f64> = (scores.iter().zip([0, 2]))
        .flat_map(|(scores, tensor)| {
            let places = scores.iter().enumerate();
            places.filter(move |(place, _)| removed.keeps(tensor, *place)).map(|(_, score)| *score).collect::<Vec<_>>()
        })
        .collect();
    let largest = inside.iter().fold(0.0_f64, |largest, score| largest.max(score.abs()));
    assert!(largest > 0.0);
    for (found, expected) in inside.iter().zip(expected.concat()) {
        assert!((found - expected).abs() < 1e-6 * largest, "{found} instead of {expected}");
    }
}

#[test]
fn a_threshold_in_standard_deviations_is_one_number_for_all_layers() {
    let model = mlp(2, &[2, 2]);
    let mut net = Parameters::initial(&model, 1);
    // Standard deviations of 2 and of 0.2.
    net.tensors[0] = vec![-1.0, 3.0, -1.0, 3.0];
    net.tensors[2] = vec![0.3, -0.1, -0.1, 0.3];
    let scores = Asked::of(&model, &net).scores("han_threshold", &[]);
    let expected = [[0.5, 1.5, 0.5, 1.5], [1.5, 0.5, 0.5, 1.5]];
    scores.concat().iter().zip(expected.concat()).for_each(|(found, expected)| assert_near(*found, expected, 1e-6));
}

#[test]
fn equal_weights_have_no_deviation_to_measure_by() {
    let model = mlp(2, &[2, 2]);
    let mut net = Parameters::initial(&model, 1);
    net.tensors[2] = vec![0.5; 4];
    let (definition, arguments) = Definition::named("han_threshold")
        .and_then(|definition| Definition::of(&definition.spec(&BTreeMap::new())).ok())
        .expect("a criterion");
    let device = device();
    let data = DeviceData::load(dataset(1, 2, ROWS), &device);
    let mut context = Context {
        model: &model,
        layers: &[0, 1],
        net: &net,
        removed: None,
        count: None,
        counts: None,
        granularity: Granularity::Weight,
        training: &training(sgd(0.1), 8, 1),
        seed: 3,
        probe: &mut NetProbe::new(&model, &data, &device),
    };
    // A layer that a penalty drove to zero is not an error: its weights have equal scores.
    let Scores::Weights(scores) = (definition.scores)(&mut context, &arguments).expect("scores") else {
        panic!("scores of weights")
    };
    assert!(scores[0].iter().all(|score| *score > 0.0));
    assert_eq!(scores[1], [0.0; 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Few different weights, so that nearly all scores are ties, and dead ends with scores of 0.
    #[test]
    fn synflow_cuts_exactly_the_count_under_ties_and_that_is_what_goes(
        weights in prop::collection::vec(-1_i8..=1, 5 * 6 + 6 * 4 + 4),
        count in 0_u64..=54,
        iterations in 1_u32..=12,
    ) {
        let model = mlp(5, &[6, 4]);
        let mut net = Parameters::initial(&model, 1);
        let mut weights = weights.into_iter().map(|weight| f32::from(weight) / 2.0);
        for tensor in [0, 2, 4] {
            net.tensors[tensor].iter_mut().zip(&mut weights).for_each(|(old, new)| *old = new);
        }
        let asked = Asked { count: Some(count), ..Asked::of(&model, &net) };
        let scores = asked.scores("synflow", &[("iterations", f64::from(iterations))]);
        let cut = scores.iter().flatten().filter(|score| **score < 0.0).count() as u64;
        prop_assert_eq!(cut, count);
        match asked.selected(&scores, count) {
            Ok(places) => {
                prop_assert_eq!(places.len() as u64, count);
                prop_assert!(places.iter().all(|place| place.score < 0.0));
            }
            Err(NoSelection::Collapsed { .. }) => {
                prop_assert!(scores.iter().any(|layer| layer.iter().all(|score| *score < 0.0)));
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
