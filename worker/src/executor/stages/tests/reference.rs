//! Reference models through the executor.

use secateur_proto::spec::{BoostingSpec, LogisticSpec, ReferenceModel, ReferenceSpec, ScoresSpec};

use super::{super::*, *};
use crate::metrics;

fn reference(fixture: &Fixture, model: ReferenceModel) -> StageWithInputs {
    let spec = ReferenceSpec { prepare: fixture.prepare.key, model, class_weights: Vec::new() };
    // The stage reads the prepared rows alone.
    let inputs = Artifacts::from([(Role::Prepared, fixture.prepared[&Role::Prepared])]);
    stage(StageSpec::from(spec), inputs)
}

const MODELS: [ReferenceModel; 2] = [
    ReferenceModel::Logistic(LogisticSpec { l2: 1.0 }),
    ReferenceModel::Boosting(BoostingSpec {
        trees: 60,
        learning_rate: 0.1,
        leaves: 8,
        min_rows: 10,
        bins: 255,
        l2: 0.0,
        patience: 20,
    }),
];

#[test]
fn scores_and_metrics_are_those_that_nets_have() {
    let mut fixture = Fixture::new();
    let (_, net) = fixture.trained();
    let of_rows = |result: &StageResult| {
        let quantities = result.metrics.iter().map(|(quantity, _)| quantity.clone());
        quantities.filter(|quantity| !quantity.metric().is_of_net()).collect::<BTreeSet<_>>()
    };
    for model in MODELS {
        let stage = reference(&fixture, model.clone());
        let result = completed(one(&mut fixture.stages, &stage));
        assert_eq!(of_rows(&result), of_rows(&net));
        for metric in [Metric::Parameters, Metric::NonzeroParameters, Metric::SizeBytes] {
            assert!(result.metrics.value(&metric.on(Split::Test)).is_some_and(|value| value > 0.0), "{metric}");
        }
        let file = |result: &StageResult| {
            fixture.stages.workspace.store.get(result.artifacts[&Role::Scores].hash).expect("it was made")
        };
        let (own, other) = (file(&result), file(&net));
        let [own, other] = [&own, &other].map(|bytes| safetensors::SafeTensors::deserialize(bytes).expect("scores"));
        for split in Split::ALL {
            for name in ["rows", "targets"] {
                let name = format!("{split}.{name}");
                let [own, other] = [&own, &other].map(|file| file.tensor(&name).expect("a tensor").data().to_vec());
                assert_eq!(own, other, "{name}");
            }
            let floats = |name: &str| -> Vec<f32> {
                let tensor = own.tensor(&format!("{split}.{name}")).expect("a tensor");
                tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
            };
            let expected = metrics::of_scores(&floats("logits"), &floats("targets")).expect("scores");
            assert_eq!(result.metrics.value(&Metric::Auc.on(split)), expected.value(Metric::Auc));
            // The target is made of both numbers and a pattern that no model sees.
            assert!(expected.value(Metric::Auc).is_some_and(|auc| auc > 0.7), "{model:?}: {expected:?}");
        }
    }
}

#[test]
fn the_same_stage_gives_the_same_bytes() {
    for model in MODELS {
        let results = [0, 1].map(|_| {
            let mut fixture = Fixture::new();
            let stage = reference(&fixture, model.clone());
            completed(one(&mut fixture.stages, &stage))
        });
        assert_eq!(results[0], results[1]);
    }
}

#[test]
fn class_weights_move_the_log_odds() {
    let mut fixture = Fixture::new();
    let mean = |fixture: &mut Fixture, class_weights: Vec<f64>| {
        let spec = ReferenceSpec { prepare: fixture.prepare.key, model: MODELS[0].clone(), class_weights };
        let stage = stage(StageSpec::from(spec), fixture.prepared.clone());
        let result = completed(one(&mut fixture.stages, &stage));
        let file = fixture.stages.workspace.store.get(result.artifacts[&Role::Reference].hash).expect("it was made");
        let model: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
        assert_eq!(model["features"].as_array().map(Vec::len), Some(WIDTH as usize));
        model["model"]["logistic"]["intercept"].as_f64().expect("an intercept")
    };
    assert!(mean(&mut fixture, vec![0.5, 1.5]) > mean(&mut fixture, Vec::new()) + 0.5);
}

/// Scores that stand in the table are those of its rows, whatever the split.
#[test]
fn scores_of_the_table_are_evaluated_like_those_of_a_net() {
    let mut fixture = Fixture::new();
    let share = |row: usize| (row as f64 * 0.37).sin().abs();
    let text: String = (table(400, 0.0).lines().enumerate())
        .map(|(line, text)| match line.checked_sub(1) {
            None => format!("{text},champion\n"),
            Some(row) => format!("{text},{}\n", share(row)),
        })
        .collect();
    let mut prepare = prepare_stage(&fixture.stages, &text);
    let StageSpec::Prepare(spec) = &mut prepare.spec else { panic!("it prepares") };
    spec.data.drop = vec!["champion".to_owned()];
    let prepare = stage(prepare.spec, prepare.inputs);
    let prepared = completed(one(&mut fixture.stages, &prepare)).artifacts;
    let scores = |column: &str| ReferenceSpec {
        prepare: prepare.key,
        model: ReferenceModel::Scores(ScoresSpec {
            column: column.to_owned(),
            format: TableFormat::Csv,
            reading: secateur_proto::spec::Reading::default(),
        }),
        class_weights: Vec::new(),
    };
    let inputs: Artifacts =
        [(Role::Prepared, prepared[&Role::Prepared]), (Role::Table, prepare.inputs[&Role::Table])].into();
    let result = completed(one(&mut fixture.stages, &stage(StageSpec::from(scores("champion")), inputs.clone())));
    assert_eq!(result.artifacts.keys().collect::<Vec<_>>(), [&Role::Scores]);
    assert_eq!(result.metrics.value(&Metric::Parameters.on(Split::Test)), None);
    let file = fixture.stages.workspace.store.get(result.artifacts[&Role::Scores].hash).expect("it was made");
    let file = safetensors::SafeTensors::deserialize(&file).expect("scores");
    let bytes = |name: &str| file.tensor(name).expect("a tensor").data().to_vec();
    let (rows, logits) = (bytes("test.rows"), bytes("test.logits"));
    assert!(!rows.is_empty());
    for (row, logit) in rows.as_chunks().0.iter().zip(logits.as_chunks().0) {
        let (row, logit) = (u32::from_le_bytes(*row) as usize, f32::from_le_bytes(*logit));
        let probability = 1.0 / (1.0 + (-f64::from(logit)).exp());
        assert!((probability - share(row)).abs() < 1e-6, "row {row}: {probability} instead of {}", share(row));
    }
    // A column of words has no scores.
    let outcome = one(&mut fixture.stages, &stage(StageSpec::from(scores("c")), inputs));
    assert!(matches!(&outcome, StageOutcome::Failed(failure) if failure.class == FailureClass::Input), "{outcome:?}");
}
