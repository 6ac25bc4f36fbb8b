//! Metrics by the levels of a column that the sweep file names as a group.

use secateur_proto::metrics::{Measured, NotMeasurable, Over, Quantity};

use super::{super::*, *};
use crate::metrics;

/// Two numbers, and a place that hardly any row has.
fn places(row: usize) -> &'static str {
    if row.is_multiple_of(60) { "rare" } else { ["north", "south east"][row % 2] }
}

#[test]
fn each_level_of_a_group_is_measured_on_validation_and_test() {
    let mut fixture = Fixture::new();
    let mut table = String::from("x1,x2,place,y\n");
    for row in 0..400 {
        let (x1, x2) = ((row as f64 * 1.7).sin(), (row as f64 * 0.9).cos());
        let y = u8::from(x1 + 0.5 * x2 + (row as f64 * 5.3).sin() > 0.0);
        let _ = writeln!(table, "{x1:.4},{x2:.4},{},{y}", places(row));
    }
    let mut prepare = prepare_stage(&fixture.stages, &table);
    let StageSpec::Prepare(spec) = &mut prepare.spec else { panic!("it prepares") };
    spec.data.groups = vec!["place".to_owned()];
    let prepare = stage(prepare.spec, prepare.inputs);
    let prepared = completed(one(&mut fixture.stages, &prepare)).artifacts;
    // The place is no input.
    let dense = DenseSpec { prepare: prepare.key, model: mlp(2, &[4]), ..fixture.dense(1) };
    let result = completed(one(&mut fixture.stages, &stage(StageSpec::Dense(dense), prepared)));

    // The score of every row says the same.
    let scores = fixture.stages.workspace.store.get(result.artifacts[&Role::Scores].hash).expect("it was made");
    let scores = safetensors::SafeTensors::deserialize(&scores).expect("scores");
    for split in Split::ALL {
        let bytes = |name: &str| scores.tensor(&format!("{split}.{name}")).expect("a tensor").data().to_vec();
        let floats = |name: &str| -> Vec<f32> {
            bytes(name).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        let (logits, targets) = (floats("logits"), floats("targets"));
        let rows: Vec<u32> = bytes("rows").as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        for level in ["north", "south east"] {
            let of_level = |values: &[f32]| -> Vec<f32> {
                let pairs = rows.iter().zip(values).filter(|(row, _)| places(**row as usize) == level);
                pairs.map(|(_, value)| *value).collect()
            };
            let expected = metrics::of_scores(&of_level(&logits), &of_level(&targets)).expect("scores");
            for (quantity, measured) in expected.over(&Over::slice(split, "place", level)) {
                assert!(measured.value().is_some(), "{quantity}");
                assert_eq!(result.metrics.get(&quantity), Some(&measured), "{quantity}");
            }
        }
        let rare = Quantity::new(Metric::Brier, Over::slice(split, "place", "rare")).expect("of rows");
        assert_eq!(result.metrics.get(&rare), Some(&Measured::Not(NotMeasurable::FewRows)));
    }
}
