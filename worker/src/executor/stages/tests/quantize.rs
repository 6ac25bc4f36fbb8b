//! Nets that are quantized after their training.

use secateur_proto::{
    metrics::{Over, Quantity},
    spec::{Calibration, QuantizationSpec, QuantizeSpec},
};

use super::*;

fn quantize(fixture: &Fixture, subject: Subject, weight_bits: u8, result: &StageResult) -> StageWithInputs {
    let spec = QuantizeSpec {
        prepare: fixture.prepare.key,
        subject,
        model: mlp(WIDTH, &[6, 4]),
        layers: vec![0, 1],
        quantization: QuantizationSpec { weight_bits, calibration: Calibration::Percentile },
    };
    let spec = StageSpec::Quantize(spec);
    let files = spec.reads().into_iter().filter_map(|role| Some((role, *result.artifacts.get(&role)?)));
    let inputs = fixture.prepared.iter().map(|(role, file)| (*role, *file)).chain(files).collect();
    stage(spec, inputs)
}

fn size(result: &StageResult) -> f64 {
    let size = Quantity::new(Metric::SizeBytes, Over::Net).expect("a metric of the net");
    result.metrics.value(&size).expect("a size")
}

#[test]
fn a_pruned_net_is_quantized_with_its_mask() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let prune = fixture.prune_stage(fixture.prune(key, Some(magnitude()), Removal::global(20)), &dense);
    let pruned = completed(one(&mut fixture.stages, &prune));
    let eight = quantize(&fixture, Subject::Pruned { stage: prune.key }, 8, &pruned);
    let four = quantize(&fixture, Subject::Pruned { stage: prune.key }, 4, &pruned);
    let [eight, four] = [eight, four].map(|stage| completed(one(&mut fixture.stages, &stage)));
    for role in [Role::Mask, Role::Plan] {
        assert_eq!(eight.artifacts[&role], pruned.artifacts[&role]);
    }
    let auc = |result: &StageResult| result.metrics.value(&Metric::Auc.on(Split::Validation)).expect("an AUC");
    assert!((auc(&eight) - auc(&pruned)).abs() < 0.01, "{} and {}", auc(&eight), auc(&pruned));
    assert!(size(&four) < size(&eight) && size(&eight) < size(&pruned));
    let read = |role| fixture.stages.workspace.store.get(eight.artifacts[&role].hash).expect("it was made");
    let model = mlp(WIDTH, &[6, 4]);
    let mask = checkpoint::read_mask(&model, &read(Role::Mask)).expect("a mask");
    let net = checkpoint::read_parameters(&model, &read(Role::Checkpoint)).expect("a net");
    assert_eq!(mask.violations(&net), 0);
    // The file of whole numbers is the same net.
    let file = read(Role::Quantized);
    let file = safetensors::SafeTensors::deserialize(&file).expect("safetensors");
    let steps = file.tensor("layers.0.weight").expect("weights").data();
    let scales = crate::tensors::finite_f32(&file, "layers.0.weight_scale", &[6]).expect("scales");
    let weights: Vec<f32> = steps
        .chunks_exact(WIDTH as usize)
        .zip(scales)
        .flat_map(|(unit, scale)| unit.iter().map(move |step| f32::from(step.cast_signed()) * scale))
        .collect();
    assert_eq!(weights, net.tensors[0]);
}

#[test]
fn a_dense_net_is_quantized_and_equal_stages_are_equal() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let stage = quantize(&fixture, Subject::Dense { stage: key }, 8, &dense);
    let result = completed(one(&mut fixture.stages, &stage));
    assert_eq!(completed(one(&mut fixture.stages, &stage)), result);
    assert!(!result.artifacts.contains_key(&Role::Mask));
    assert!(size(&result) < size(&dense));
    let mut without = stage;
    without.inputs.remove(&Role::Checkpoint);
    assert_failed(&one(&mut fixture.stages, &without), FailureClass::Input);
}
