pub(crate) mod given;

use secateur_proto::spec::{Granularity, OptimizerSpec, SelectBy};

use super::*;

pub(crate) fn training() -> TrainingSpec {
    TrainingSpec {
        optimizer: OptimizerSpec::Sgd { lr: 0.1, momentum: 0.0, weight_decay: 0.0, nesterov: false },
        batch_size: 8,
        epochs: 1,
        select_by: SelectBy::Last,
        ..TrainingSpec::default()
    }
}

/// The scores of a criterion that only looks at weights, with its defaults.
pub(crate) fn scores_of_weights(name: &str, model: &ModelSpec, net: &Parameters, seed: u64) -> Scores {
    scores_for(Granularity::Weight, name, model, net, seed)
}

fn scores_for(granularity: Granularity, name: &str, model: &ModelSpec, net: &Parameters, seed: u64) -> Scores {
    let definition = Definition::named(name).expect("a criterion");
    assert_eq!(definition.needs, Needs::Weights, "{name}");
    let (definition, arguments) = Definition::of(&definition.spec(&BTreeMap::new())).expect("defaults");
    let training = training();
    let mut context = Context {
        model,
        layers: &model.prunable(),
        net,
        removed: None,
        count: None,
        counts: None,
        granularity,
        training: &training,
        seed,
        probe: &mut given::Given::nothing(),
    };
    (definition.scores)(&mut context, &arguments).expect("scores")
}

fn model() -> ModelSpec {
    ModelSpec::mlp(5, vec![6, 4])
}

/// Among 200 units with 50 inputs and 200 units with 200, the lowest scores are from both layers alike. A sum over
/// weights would prefer the first.
#[test]
fn chance_does_not_see_how_many_weights_a_unit_has() {
    let model = ModelSpec::mlp(50, vec![200, 200]);
    let scores = scores_for(Granularity::Unit, "random", &model, &Parameters::initial(&model, 1), 7);
    let Scores::Units(layers) = scores else { panic!("not of units") };
    assert_eq!(layers.iter().map(Vec::len).collect::<Vec<_>>(), [200, 200]);
    let mut all: Vec<(f64, usize)> =
        layers.iter().enumerate().flat_map(|(layer, scores)| scores.iter().map(move |score| (*score, layer))).collect();
    all.sort_by(|one, two| one.0.total_cmp(&two.0));
    let first = all[..200].iter().filter(|(_, layer)| *layer == 0).count();
    // Within five standard deviations of half of them.
    assert!((75..=125).contains(&first), "{first} of 200");
}

#[test]
fn names_and_parameters_are_unique_and_defaults_allowed() {
    for (place, criterion) in ALL.iter().enumerate() {
        assert!(ALL[..place].iter().all(|other| other.name != criterion.name), "{}", criterion.name);
        for (place, parameter) in criterion.parameters.iter().enumerate() {
            assert!(parameter.allows(parameter.default), "{} {}", criterion.name, parameter.name);
            assert!(criterion.parameters[..place].iter().all(|other| other.name != parameter.name));
        }
    }
}

#[test]
fn a_criterion_that_there_is_not_is_refused() {
    for (spec, problem) in [
        (CriterionSpec::new("magnitud", &[]), "is not known"),
        (CriterionSpec::new("magnitude", &[("batches", 1.0)]), "has no parameter \"batches\""),
        (CriterionSpec::new("taylor", &[]), "came without its \"batches\""),
        (CriterionSpec::new("taylor", &[("batches", 0.5)]), "cannot have batches 0.5"),
        (CriterionSpec::new("taylor", &[("batches", f64::NAN)]), "cannot have batches NaN"),
    ] {
        let error = Definition::of(&spec).expect_err("refused").to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn random_scores_are_uniform_and_depend_on_the_seed_alone() {
    let mut sum = 0.0;
    for seed in 0..50 {
        let Scores::Weights(scores) = scores_of_weights("random", &model(), &Parameters::initial(&model(), 1), seed)
        else {
            panic!("scores of weights")
        };
        let other = scores_of_weights("random", &model(), &Parameters::initial(&model(), 2), seed);
        assert_eq!(Scores::Weights(scores.clone()), other);
        assert!(scores.iter().flatten().all(|score| (0.0..1.0).contains(score)));
        sum += scores.iter().flatten().sum::<f64>();
    }
    // 2700 draws: the mean has a standard deviation of 0.0056.
    assert!((sum / 2700.0 - 0.5).abs() < 0.025, "{}", sum / 2700.0);
}

#[test]
fn magnitude_is_the_absolute_weight() {
    let mut net = Parameters::initial(&model(), 1);
    net.tensors[0][..4].copy_from_slice(&[-3.0, 2.0, -0.0, 0.5]);
    let Scores::Weights(scores) = scores_of_weights("magnitude", &model(), &net, 3) else {
        panic!("scores of weights")
    };
    assert_eq!(scores[0][..4], [3.0, 2.0, 0.0, 0.5]);
    assert!(scores[1].iter().zip(&net.tensors[2]).all(|(score, weight)| *score == f64::from(weight.abs())));
}
