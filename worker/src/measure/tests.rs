use std::time::Duration;

use proptest::prelude::*;
use secateur_proto::spec::{Activation, Engine};

use super::*;
use crate::serve::tests::{net, rounded, table};

fn model(inputs: u32, hidden: Vec<u32>) -> ModelSpec {
    ModelSpec::Mlp { inputs, hidden, outputs: 1, activation: Activation::Relu, batch_norm: false }
}

fn float(model: ModelSpec, tensors: Vec<Vec<f32>>) -> NetFile {
    NetFile { model, parameters: Parameters { tensors }, quantized: None }
}

/// Counted by hand: 2 × 3 weights of which 4 are not zero, and 1 × 2 of which 1 is not; 2 and 1 biases.
#[test]
fn sizes_are_those_of_the_formats() {
    let net =
        float(model(3, vec![2]), vec![vec![1.0, 0.0, 2.0, 0.0, 3.0, 4.0], vec![0.5, 0.0], vec![1.0, 0.0], vec![0.1]]);
    let sizes = Sizes::of(&net, 7);
    assert_eq!(
        sizes,
        Sizes {
            onnx_file: 7,
            dense: 4 * (6 + 2 + 2 + 1),
            // Values, columns of 2 bytes, beginnings of 2 + 1 and 1 + 1 rows, biases.
            csr: 4 * 5 + 2 * 5 + 4 * (3 + 2) + 4 * 3,
            bitmask: 4 * 5 + 1 + 4 * 3,
            // A scale for each of three units, three biases, and two numbers for the inputs of each layer.
            int8: 8 + 4 * (3 + 3 + 4),
            int8_bitmask: 5 + 1 + 4 * (3 + 3 + 4),
        }
    );
}

#[test]
fn sizes_of_a_quantized_net_are_those_of_its_own_count() {
    for batch_norm in [false, true] {
        let model =
            ModelSpec::Mlp { inputs: 9, hidden: vec![12, 6], outputs: 1, activation: Activation::Silu, batch_norm };
        let quantized = rounded(&model, 8);
        let file = NetFile { parameters: quantized.parameters.clone(), model, quantized: Some(quantized) };
        let own = file.quantized.as_ref().map(|net| net.size_bytes(&file.model));
        assert_eq!(Some(Sizes::of(&file, 0).int8_bitmask), own);
    }
}

proptest! {
    #[test]
    fn quantiles_are_times_that_were_taken(times in prop::collection::vec(1_u64..1_000_000, 1..300)) {
        let times: Vec<Duration> = times.into_iter().map(Duration::from_nanos).collect();
        let found = Quantiles::of(&times);
        let at_most = |value: f64| times.iter().filter(|time| time.as_secs_f64() * 1e6 <= value).count();
        prop_assert!(2 * at_most(found.p50_us) >= times.len() && 100 * at_most(found.p99_us) >= 99 * times.len());
        let is_one = |value: f64| times.iter().any(|time| time.as_secs_f64() * 1e6 == value);
        prop_assert!(is_one(found.p50_us) && is_one(found.p99_us));
    }
}

#[test]
fn both_take_turns_and_the_first_of_a_turn_alternates() {
    let order = std::cell::RefCell::new(String::new());
    let limits = Limits { warm_up: 2, fewest: 4, most: 4, time: Duration::ZERO };
    let times = in_turns::<()>(
        limits,
        &mut || {
            order.borrow_mut().push('a');
            Ok(())
        },
        &mut || {
            order.borrow_mut().push('b');
            Ok(())
        },
    )
    .expect("nothing fails");
    assert_eq!(order.into_inner(), "abba".repeat(3));
    assert_eq!((times.first.len(), times.second.len()), (4, 4));
    let mut calls = 0;
    let failed = in_turns(
        limits,
        &mut || {
            calls += 1;
            if calls == 3 { Err("broken") } else { Ok(()) }
        },
        &mut || Ok(()),
    );
    assert_eq!(failed.err(), Some("broken"));
}

fn settings(engine: Engine) -> MeasureSettings {
    MeasureSettings { engine, batch: vec![1, 7] }
}

/// Rows for a table's net that every engine has to answer alike for.
fn rows(width: usize) -> Vec<f32> {
    (0..width * 5).map(|place| ((place * 37 % 19) as f32 - 9.0) / 6.0).collect()
}

#[test]
fn every_engine_that_is_built_answers_with_the_net() {
    let preparation = table();
    let width = preparation.width();
    let inputs = u32::try_from(width).expect("a width");
    let dense = model(inputs, vec![12, 6]);
    for engine in Engine::ALL {
        let nets = Activation::ALL.iter().flat_map(|activation| {
            let mlp = |batch_norm| ModelSpec::Mlp {
                inputs,
                hidden: vec![12, 6],
                outputs: 1,
                activation: *activation,
                batch_norm,
            };
            let residual = ModelSpec::ResidualMlp { inputs, width: 9, blocks: 2, outputs: 1, activation: *activation };
            [mlp(false), mlp(true), residual]
        });
        for model in nets {
            let quantized = rounded(&model, 8);
            let files = [
                float(model.clone(), net(&model).tensors),
                NetFile { parameters: quantized.parameters.clone(), model, quantized: Some(quantized) },
            ];
            for file in files {
                let measured = measure(&preparation, &file, &dense, &settings(*engine), &rows(width));
                if !is_built(*engine) {
                    let error = measured.expect_err("it is not there");
                    assert!(matches!(error, MeasureError::Engine(EngineError::NotBuilt(_))), "{error}");
                    continue;
                }
                let measured = measured.unwrap_or_else(|error| panic!("{engine} {:?}: {error}", file.model));
                let metrics = measured.metrics();
                for metric in Metric::ALL.iter().filter(|metric| metric.needs_measuring()) {
                    let value = metrics.value(&metric.on(Split::Validation));
                    assert!(value.is_some_and(|value| value.is_finite() && value > 0.0), "{metric} {value:?}");
                }
                assert_eq!(metrics.iter().count(), Metric::ALL.iter().filter(|one| one.needs_measuring()).count());
                assert!(measured.compact_difference < 1e-5, "{measured:?}");
                if file.quantized.is_none() {
                    assert!(measured.largest_difference < 1e-5, "{engine} {:?} {measured:?}", file.model);
                }
            }
        }
    }
}

#[test]
fn images_are_measured_too() {
    let preparation = serde_json::json!({
        "format": 3, "target": {"column": null, "classes": ["0", "1", "2"]}, "train_rows": 10, "columns": [],
        "image": {"shape": [1, 17, 16], "scale": {"mean": 0.13, "sd": 0.31}},
    });
    let preparation = Preparation::from_json(preparation.to_string().as_bytes()).expect("a preparation");
    for model in [
        ModelSpec::Lenet5 { image: [1, 17, 16], outputs: 3 },
        ModelSpec::ResidualCnn { image: [1, 17, 16], channels: vec![2, 3], blocks: 1, outputs: 3 },
    ] {
        let file = float(model.clone(), net(&model).tensors);
        for engine in Engine::ALL.iter().filter(|engine| is_built(**engine)) {
            let one = MeasureSettings { engine: *engine, batch: vec![2] };
            // On an untrained net of few rows: it is right, however long it takes.
            let measured = measure(&preparation, &file, &model, &one, &rows(17 * 16)).expect("it answers");
            assert!(measured.largest_difference < 1e-5, "{engine} {measured:?}");
        }
    }
}

#[test]
fn no_rows_are_nothing_to_measure_with() {
    let preparation = table();
    let model = model(u32::try_from(preparation.width()).expect("a width"), vec![4]);
    let file = float(model.clone(), net(&model).tensors);
    let measured = measure(&preparation, &file, &model, &settings(Engine::Score), &[]);
    assert!(matches!(measured, Err(MeasureError::NoRows)));
}
