//! Criteria of whole units: by hand, against PyTorch, and for nets without separate units.

use std::collections::BTreeMap;

use secateur_proto::{
    outcome::{Failure, FailureClass},
    spec::{Activation, Granularity, ModelSpec},
};

use crate::{
    net::{Mask, Parameters},
    prune::criteria::{
        ALL, Context, Definition, Needs, Scores,
        tests::{
            given::{Given, Golden},
            scores_of_weights, training,
        },
    },
};

fn perceptron(activation: Activation, batch_norm: bool) -> ModelSpec {
    ModelSpec::Mlp { inputs: 2, hidden: vec![3, 2], outputs: 1, activation, batch_norm }
}

/// Scores, with the defaults, of all prunable layers.
fn scores(name: &str, model: &ModelSpec, net: &Parameters, removed: Option<&Mask>) -> Result<Vec<Vec<f64>>, Failure> {
    let (definition, arguments) =
        Definition::of(&Definition::named(name).expect("a criterion").spec(&BTreeMap::new())).expect("defaults");
    let of_layer = |layer: &secateur_proto::spec::Layer| match model.prunable().is_empty() {
        true => Vec::new(),
        false => (0..layer.outputs()).map(|unit| vec![0.0, f64::from(unit), -1.0, 0.5]).collect(),
    };
    let mut probe = Given { rows: 4, activations: model.layers().iter().map(of_layer).collect(), ..Given::nothing() };
    let training = training();
    let layers = model.prunable();
    let mut context = Context {
        model,
        layers: &layers,
        net,
        removed,
        count: None,
        counts: None,
        granularity: Granularity::Weight,
        training: &training,
        seed: 1,
        probe: &mut probe,
    };
    match (definition.scores)(&mut context, &arguments)? {
        Scores::Units(scores) => Ok(scores),
        Scores::Weights(_) | Scores::Conditioned(..) => panic!("scores of units"),
    }
}

/// Of the units 3, 4 and 0, 0 and −3, −4; the second layer is all ones.
fn net(model: &ModelSpec) -> Parameters {
    let mut net = Parameters::initial(model, 1);
    for (values, tensor) in net.tensors.iter_mut().zip(model.tensors()) {
        match tensor.name.as_str() {
            "layers.0.weight" => values.copy_from_slice(&[3.0, 4.0, 0.0, 0.0, -3.0, -4.0]),
            "layers.0.bias" => values.copy_from_slice(&[0.5, 1.0, 2.0]),
            "norms.0.weight" => values.copy_from_slice(&[-2.0, 0.25, 1.0]),
            "norms.0.bias" => values.copy_from_slice(&[0.0, 3.0, 0.0]),
            _ => values.fill(1.0),
        }
    }
    net
}

#[test]
fn scores_of_units_are_those_worked_out_by_hand() {
    let model = perceptron(Activation::Relu, false);
    let normed = perceptron(Activation::Relu, true);
    let expect = |name: &str, model: &ModelSpec, expected: [&[f64]; 2]| {
        let found = scores(name, model, &net(model), None).expect("scores");
        assert_eq!(found, expected, "{name}");
    };
    expect("filter_norm", &model, [&[3.5, 0.0, 3.5], &[1.0, 1.0]]);
    expect("fpgm", &model, [&[15.0, 10.0, 15.0], &[0.0, 0.0]]);
    expect("bn_scale", &normed, [&[2.0, 0.25, 1.0], &[1.0, 1.0]]);
    // Own weights and bias, two weights that read it, and with a normalisation its scale and shift.
    expect("neuron_grouped", &model, [&[27.25, 3.0, 31.0], &[5.0, 5.0]]);
    expect("neuron_grouped", &normed, [&[31.25, 12.0625, 32.0], &[7.0, 7.0]]);
    // Values 0, the unit's number, −1 and ½ leave each activation.
    expect("apoz", &model, [&[0.5, 0.75, 0.75], &[0.5, 0.75]]);
    expect("mean_activation", &model, [&[0.375, 0.625, 0.875], &[0.375, 0.625]]);
}

#[test]
fn a_unit_that_is_gone_is_no_neighbour() {
    let model = perceptron(Activation::Relu, false);
    let mut removed = Mask::full(&model, &model.prunable());
    removed.remove(0, 2, 6);
    removed.remove(0, 3, 6);
    let found = scores("fpgm", &model, &net(&model), Some(&removed)).expect("scores");
    assert_eq!(found[0], [10.0, 0.0, 10.0]);
}

/// `torch.nn.utils.prune.ln_structured` with n = 1 and 2.
#[test]
fn the_smallest_units_are_those_that_pytorch_removes() {
    let golden = Golden::open("mlp");
    let model = ModelSpec::mlp(12, vec![16, 8]);
    let tensors = model
        .tensors()
        .into_iter()
        .map(|tensor| golden.numbers(&tensor.name).into_iter().map(|value| value as f32).collect::<Vec<_>>());
    let net = Parameters { tensors: tensors.collect() };
    let (definition, layers) = (Definition::named("filter_norm").expect("a criterion"), model.prunable());
    for power in [1.0, 2.0] {
        let spec = definition.spec(&BTreeMap::from([("p".to_owned(), power)]));
        let (definition, arguments) = Definition::of(&spec).expect("arguments");
        let training = training();
        let mut context = Context {
            model: &model,
            layers: &layers,
            net: &net,
            removed: None,
            count: None,
            counts: None,
            granularity: Granularity::Weight,
            training: &training,
            seed: 1,
            probe: &mut Given::nothing(),
        };
        let Scores::Units(scores) = (definition.scores)(&mut context, &arguments).expect("scores") else {
            panic!("scores of units")
        };
        for (layer, scores) in scores.iter().enumerate() {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|one, two| scores[*one].total_cmp(&scores[*two]));
            let mask = golden.matrix(&format!("mask.s50.ln{power}_structured.layers.{layer}.weight"));
            let mut removed: Vec<usize> = order[..scores.len() / 2].to_vec();
            removed.sort_unstable();
            let expected: Vec<usize> = (0..scores.len()).filter(|unit| mask[*unit][0] == 0.0).collect();
            assert_eq!(removed, expected, "layer {layer}, p = {power}");
        }
    }
}

#[test]
fn a_net_that_lacks_what_a_criterion_needs_is_an_input_that_does_not_fit() {
    let residual = ModelSpec::ResidualMlp { inputs: 2, width: 3, blocks: 1, outputs: 1, activation: Activation::Relu };
    let lenet = ModelSpec::Lenet5 { image: [1, 16, 16], outputs: 2 };
    let units = ["filter_norm", "fpgm", "bn_scale", "apoz", "mean_activation", "neuron_grouped"];
    let tied =
        units.map(|name| (name, residual.clone(), "layers.0 does not have units that can be removed separately"));
    let others = [
        ("bn_scale", perceptron(Activation::Relu, false), "layers.0 does not have a batch normalisation"),
        ("apoz", perceptron(Activation::Tanh, false), "only the relu activation gives"),
    ];
    for (name, model, problem) in tied.into_iter().chain(others) {
        let failure = scores(name, &model, &Parameters::initial(&model, 1), None).expect_err(name);
        assert_eq!(failure.class, FailureClass::Input);
        assert!(failure.message.contains(problem), "{name}: {failure}");
    }
    // Filters of LeNet-5 have scores of their weights, but there are no activations to measure.
    assert!(scores("filter_norm", &lenet, &Parameters::initial(&lenet, 1), None).is_ok());
    let mut probe = Given { rows: 1, activations: vec![Vec::new(); 4], ..Given::nothing() };
    let failure = probe
        .first_layer(
            "mean_activation",
            &[],
            (&lenet, &Parameters::initial(&lenet, 1), None),
            |definition, context, arguments| (definition.scores)(context, arguments),
        )
        .expect_err("no activation");
    assert!(failure.message.contains("layers.0 does not have an activation"), "{failure}");
}

#[test]
fn criteria_of_weights_alone_ask_for_nothing_else() {
    let model = perceptron(Activation::Relu, true);
    // The flow through a net of weights comes from a probe, but needs no data.
    let blind = |criterion: &&&Definition| criterion.needs == Needs::Weights && criterion.name != "synflow";
    for criterion in ALL.iter().filter(blind) {
        scores_of_weights(criterion.name, &model, &net(&model), 1);
    }
}
