use proptest::prelude::*;
use secateur_proto::spec::{ModelSpec, Ranking, Removal};

use super::*;
use crate::{
    net::Mask,
    prune::{
        criteria::{Scores, tests::given::Given},
        select::candidates,
    },
};

fn model() -> ModelSpec {
    ModelSpec::mlp(5, vec![4, 5])
}

fn ones() -> Parameters {
    Parameters { tensors: model().tensors().iter().map(|tensor| vec![1.0; tensor.numel()]).collect() }
}

/// The number of zeros of a tensor.
fn zeros(net: &Parameters, tensor: usize) -> f64 {
    net.tensors[tensor].iter().filter(|weight| **weight == 0.0).count() as f64
}

/// The curves of a net of ones whose layers are both of 20 weights, scored by their places.
fn measured(
    loss: fn(&Parameters) -> f64,
    removed: Option<&Mask>,
    granularity: Granularity,
) -> Result<Vec<Curve>, Failure> {
    let (model, mut net) = (model(), ones());
    removed.into_iter().for_each(|mask| mask.apply(&mut net));
    let removal = Removal::Sensitivity { count: 0 };
    let request = Request {
        model: &model,
        layers: &[0, 1],
        granularity,
        ranking: Ranking::Raw,
        removal: &removal,
        net: &net,
        removed,
    };
    let scores = Scores::Weights(vec![(0..20).map(f64::from).collect(), (0..20).map(f64::from).collect()]);
    let candidates = candidates(&request, &scores).expect("candidates");
    curves(&request, &candidates, &mut Given { loss, ..Given::nothing() })
}

#[test]
fn a_curve_is_what_the_loss_rises_by_when_a_layer_alone_loses_its_lowest() {
    let loss =
        |net: &Parameters| 7.0 + zeros(net, 0).powi(2) + 100.0 * zeros(net, 2) + f64::from(net.tensors[0][19] == 0.0);
    let found = measured(loss, None, Granularity::Weight).expect("curves");
    let counts = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 19];
    let expected = |rise: fn(f64) -> f64| counts.iter().map(|count| (*count, rise(*count as f64))).collect::<Vec<_>>();
    assert_eq!(found[0], Curve { layer: "layers.0".into(), points: expected(|count| count.powi(2)) });
    assert_eq!(found[1], Curve { layer: "layers.1".into(), points: expected(|count| 100.0 * count) });
}

#[test]
fn what_is_gone_already_is_where_a_curve_begins() {
    let mut removed = Mask::full(&model(), &[0, 1]);
    [3, 4, 5].iter().for_each(|place| removed.remove(0, *place, 20));
    let loss = |net: &Parameters| zeros(net, 0);
    let found = measured(loss, Some(&removed), Granularity::Weight).expect("curves");
    assert_eq!(found[0].points[..3], [(3, 0.0), (4, 1.0), (6, 3.0)]);
    assert_eq!(share(&found, 4).expect("counts"), [3, 1]);
    assert!(matches!(share(&found, 2), Err(NoSelection::Unfit(_))));
}

/// A unit is removed with the weights that read it.
#[test]
fn units_are_measured_as_units() {
    let loss = |net: &Parameters| zeros(net, 0) + 1000.0 * zeros(net, 2);
    let found = measured(loss, None, Granularity::Unit).expect("curves");
    let points = |unit: f64, units: u64| (0..units).map(|count| (count, unit * count as f64)).collect::<Vec<_>>();
    // Four units of five weights that five others read, and five of four.
    assert_eq!(found[0].points, points(5.0 + 5.0 * 1000.0, 4));
    assert_eq!(found[1].points, points(4.0 * 1000.0, 5));
}

#[test]
fn the_layer_that_bears_more_loses_more_until_both_cost_the_same() {
    let loss = |net: &Parameters| zeros(net, 0) + 3.0 * zeros(net, 2);
    let found = measured(loss, None, Granularity::Weight).expect("curves");
    // Fifteen at 1 each cost what five at 3 each do.
    assert_eq!(share(&found, 20).expect("counts"), [15, 5]);
    assert_eq!(share(&found, 38).expect("counts"), [19, 19]);
    assert_eq!(share(&found, 39), Err(NoSelection::Collapsed { layer: "layers.0".into() }));
}

#[test]
fn what_costs_nothing_is_shared_equally_and_a_loss_that_is_no_number_is_the_dearest() {
    let found = measured(|_| 1.0, None, Granularity::Weight).expect("curves");
    assert_eq!(share(&found, 20).expect("counts"), [10, 10]);
    let loss = |net: &Parameters| if zeros(net, 0) > 9.0 { f64::NAN } else { zeros(net, 2) };
    let found = measured(loss, None, Granularity::Weight).expect("curves");
    assert_eq!(share(&found, 26).expect("counts"), [8, 18]);
    assert_eq!(share(&found, 30).expect("counts"), [11, 19]);
    let failure = measured(|_| f64::NAN, None, Granularity::Weight).expect_err("no loss to begin with");
    assert!(failure.message.contains("not finite"), "{failure}");
}

fn curve() -> impl Strategy<Value = Curve> {
    (0..5_u64, proptest::collection::vec((1..6_u64, 0..4_u8), 1..5)).prop_map(|(gone, steps)| {
        let mut points = vec![(gone, 0.0)];
        for (length, rise) in steps {
            let (count, cost) = points[points.len() - 1];
            points.push((count + length, cost + f64::from(rise)));
        }
        Curve { layer: "a layer".into(), points }
    })
}

proptest! {
    #[test]
    fn counts_are_exact_rise_with_the_total_and_cost_layers_the_same(
        curves in proptest::collection::vec(curve(), 1..5),
    ) {
        let least: u64 = curves.iter().map(Curve::gone).sum();
        let most: u64 = curves.iter().map(Curve::most).sum();
        let mut before: Option<Vec<u64>> = None;
        for count in least..=most {
            let counts = share(&curves, count).expect("counts");
            prop_assert_eq!(counts.iter().sum::<u64>(), count);
            for (curve, count) in curves.iter().zip(&counts) {
                prop_assert!((curve.gone()..=curve.most()).contains(count));
            }
            if let Some(before) = before {
                prop_assert!(before.iter().zip(&counts).all(|(before, now)| before <= now));
            }
            // No remaining place would have been cheaper than a removed one.
            let costs: Vec<Vec<f64>> = curves.iter().map(|curve| curve.costs().collect()).collect();
            let taken = |layer: usize| (counts[layer] - curves[layer].gone()) as usize;
            let dearest = (0..curves.len()).flat_map(|layer| costs[layer][..taken(layer)].iter().copied());
            let cheapest = (0..curves.len()).flat_map(|layer| costs[layer][taken(layer)..].iter().copied());
            let dearest = dearest.fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(dearest <= cheapest.fold(f64::INFINITY, f64::min) + 1e-12);
            before = Some(counts);
        }
        prop_assert!(share(&curves, most + 1).is_err());
    }
}
