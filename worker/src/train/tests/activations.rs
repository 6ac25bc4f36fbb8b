//! Inputs and activations of layers on a device, as criteria see them: against PyTorch, and against a convolution
//! unfolded by hand.

use std::collections::BTreeMap;

use secateur_proto::spec::{Granularity, ModelSpec};

use super::{device, training};
use crate::{
    data::{Dataset, Part},
    net::Parameters,
    prune::criteria::{Context, Definition, Scores, tests::given::Golden},
    train::{data::DeviceData, probe::NetProbe, tests::adam},
};

/// A dataset in which every part has these rows.
fn dataset(inputs: &[Vec<f64>], targets: &[f64]) -> Dataset {
    let part = Part {
        rows: (0..targets.len() as u32).collect(),
        inputs: inputs.concat().iter().map(|value| *value as f32).collect(),
        targets: targets.iter().map(|value| *value as f32).collect(),
        groups: vec![],
    };
    let features = (0..inputs[0].len()).map(|index| format!("x{index}")).collect();
    let like = super::dataset(1, 1, 2);
    Dataset { features, train: part.clone(), validation: part.clone(), test: part, ..like }
}

/// The scores of a criterion with these parameters, over all rows.
fn scores(name: &str, given: &[(&str, f64)], model: &ModelSpec, net: &Parameters, dataset: Dataset) -> Vec<Vec<f64>> {
    let device = device();
    let data = DeviceData::load(dataset, &device);
    let given: BTreeMap<String, f64> = given.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let (definition, arguments) =
        Definition::of(&Definition::named(name).expect("a criterion").spec(&given)).expect("arguments");
    let mut context = Context {
        model,
        layers: &model.prunable(),
        net,
        removed: None,
        count: None,
        counts: None,
        granularity: Granularity::Weight,
        training: &training(adam(1e-3), 8, 1),
        seed: 1,
        probe: &mut NetProbe::new(model, &data, &device),
    };
    match (definition.scores)(&mut context, &arguments).expect("scores") {
        Scores::Weights(scores) | Scores::Units(scores) | Scores::Conditioned(scores, _) => scores,
    }
}

#[test]
fn wanda_scores_and_masks_are_those_of_pytorch() {
    for (name, inputs, hidden, outputs) in [("mlp", 12, vec![16, 8], 1), ("mlp10", 20, vec![24, 16], 10)] {
        let model = ModelSpec::Mlp {
            inputs,
            hidden,
            outputs,
            activation: secateur_proto::spec::Activation::Relu,
            batch_norm: false,
        };
        let golden = Golden::open(name);
        let tensors = model
            .tensors()
            .into_iter()
            .map(|tensor| golden.numbers(&tensor.name).into_iter().map(|value| value as f32).collect::<Vec<_>>());
        let net = Parameters { tensors: tensors.collect() };
        let data = || dataset(&golden.matrix("inputs"), &golden.numbers("targets"));
        let raw = scores("wanda", &[("per_row", 0.0)], &model, &net, data());
        let ranks = scores("wanda", &[], &model, &net, data());
        for (layer, (raw, ranks)) in raw.iter().zip(&ranks).enumerate() {
            let expected = golden.numbers(&format!("scores.wanda.layers.{layer}.weight"));
            for (found, expected) in raw.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-5 * expected.max(1.0), "{found} instead of {expected}");
            }
            let kept: Vec<bool> = ranks.iter().map(|rank| *rank > 0.5).collect();
            let mask = golden.numbers(&format!("mask.s50.wanda.layers.{layer}.weight"));
            assert_eq!(kept, mask.iter().map(|kept| *kept == 1.0).collect::<Vec<_>>(), "{name} {layer}");
        }
    }
}

/// Column c · 25 + y · 5 + x of the first layer of LeNet-5 is the input at (x, y) of its kernels in channel c.
#[test]
fn a_convolution_is_given_its_unfolded_images() {
    let model = ModelSpec::Lenet5 { image: [2, 16, 16], outputs: 2 };
    let mut net = Parameters::initial(&model, 1);
    net.tensors[0].fill(1.0);
    let images: Vec<Vec<f64>> =
        (0..3).map(|image| (0..512).map(|place| f64::from((place * 7 + image * 3) % 11) - 5.0).collect()).collect();
    let found = scores("wanda", &[("per_row", 0.0)], &model, &net, dataset(&images, &[0.0, 1.0, 1.0]));
    for channel in 0..2 {
        for (y, x) in (0..5).flat_map(|y| (0..5).map(move |x| (y, x))) {
            let meets = |image: &Vec<f64>| {
                let places = (y..y + 12).flat_map(|row| (x..x + 12).map(move |column| (row, column)));
                places.map(|(row, column)| image[channel * 256 + row * 16 + column].powi(2)).sum::<f64>()
            };
            let expected = images.iter().map(meets).sum::<f64>().sqrt();
            let score = found[0][channel * 25 + y * 5 + x];
            assert!((score - expected).abs() < 1e-9 * expected, "{score} instead of {expected}");
        }
    }
}
