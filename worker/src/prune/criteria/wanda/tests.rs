use secateur_proto::spec::{Granularity, ModelSpec, Ranking, Removal};

use super::*;
use crate::{
    net::{Mask, Parameters},
    prune::{
        criteria::tests::given::Given,
        select::{Request, candidates, select},
    },
};

/// Three units of four inputs, of which the second is always zero.
fn scored(removed: Option<&Mask>, per_row: f64, scale: f32) -> Result<Scores, Failure> {
    let (model, mut net) = net();
    net.tensors[0][..4].iter_mut().for_each(|weight| *weight *= scale);
    let inputs = [vec![3.0, 0.0, 1.0, 2.0], vec![-4.0, 0.0, 1.0, 0.0]];
    Given::inputs(&inputs).first_layer(
        "wanda",
        &[("per_row", per_row)],
        (&model, &net, removed),
        |definition, context, arguments| (definition.scores)(context, arguments),
    )
}

fn net() -> (ModelSpec, Parameters) {
    let model = ModelSpec::mlp(4, vec![3]);
    let mut net = Parameters::initial(&model, 1);
    net.tensors[0] = vec![1.0, 9.0, -2.0, 3.0, 0.1, 9.0, 0.3, 0.2, -1.0, 1.0, 100.0, 1.0];
    (model, net)
}

fn weights(scores: Result<Scores, Failure>) -> Vec<f64> {
    let Scores::Weights(mut scores) = scores.expect("scores") else { panic!("scores of weights") };
    scores.remove(0)
}

#[test]
fn a_score_is_the_weight_times_the_norm_of_its_input() {
    let root = 2.0_f64.sqrt();
    let expected = [5.0, 0.0, 2.0 * root, 6.0, 0.5, 0.0, 0.3 * root, 0.4, 5.0, 0.0, 100.0 * root, 2.0];
    for (found, expected) in weights(scored(None, 0.0, 1.0)).iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} instead of {expected}");
    }
}

#[test]
fn within_rows_the_order_alone_counts() {
    let expected = [0.75, 0.25, 0.5, 1.0, 1.0, 0.25, 0.75, 0.5, 0.75, 0.25, 1.0, 0.5];
    assert_eq!(weights(scored(None, 1.0, 1.0)), expected);
    assert_eq!(weights(scored(None, 1.0, 1000.0)), expected);
}

#[test]
fn any_selection_takes_the_same_of_every_row_and_counts_what_is_gone() {
    let (model, net) = net();
    let mut removed = Mask::full(&model, &[0]);
    removed.remove(0, 3, 12);
    for removed in [None, Some(&removed)] {
        let scores = scored(removed, 1.0, 1.0).expect("scores");
        for removal in [Removal::global(6), Removal::PerLayer { counts: vec![6] }] {
            let request = Request {
                model: &model,
                layers: &[0],
                granularity: Granularity::Weight,
                ranking: Ranking::Raw,
                removal: &removal,
                net: &net,
                removed,
            };
            let places = select(&request, &candidates(&request, &scores).expect("candidates")).expect("a selection");
            let mut of_row = [0; 3];
            places.iter().for_each(|place| of_row[place.index as usize / 4] += 1);
            assert_eq!(of_row, [2, 2, 2]);
        }
    }
}

#[test]
fn an_input_that_is_not_finite_stays_seen() {
    let (model, net) = net();
    let scores = Given::inputs(&[vec![1.0, f64::NAN, 1.0, 1.0]]).first_layer(
        "wanda",
        &[],
        (&model, &net, None),
        |definition, context, arguments| (definition.scores)(context, arguments),
    );
    assert!(weights(scores)[1].is_nan());
}
