//! Nets that are measured.

use secateur_proto::spec::{
    Calibration, Engine, MeasureSettings, MeasureSpec, ModelSpec, QuantizationSpec, QuantizeSpec,
};

use super::*;
use crate::measure::is_built;

fn measure(fixture: &Fixture, net: StageKey, quantized: bool, engine: Engine, result: &StageResult) -> StageWithInputs {
    let spec = StageSpec::Measure(MeasureSpec {
        prepare: fixture.prepare.key,
        net,
        model: mlp(WIDTH, &[6, 4]),
        quantized,
        dense: mlp(WIDTH, &[6, 4]),
        settings: MeasureSettings { engine, batch: vec![1, 8] },
    });
    let files = spec.reads().into_iter().filter_map(|role| Some((role, *result.artifacts.get(&role)?)));
    let inputs = fixture.prepared.iter().map(|(role, file)| (*role, *file)).chain(files).collect();
    stage(spec, inputs)
}

fn value(result: &StageResult, metric: Metric) -> f64 {
    result.metrics.value(&metric.on(Split::Validation)).unwrap_or_else(|| panic!("{metric}"))
}

#[test]
fn a_net_and_its_quantized_form_are_measured() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let prune = fixture.prune_stage(fixture.prune(key, Some(magnitude()), Removal::global(20)), &dense);
    let pruned = completed(one(&mut fixture.stages, &prune));
    let spec = StageSpec::Quantize(QuantizeSpec {
        prepare: fixture.prepare.key,
        subject: Subject::Pruned { stage: prune.key },
        model: mlp(WIDTH, &[6, 4]),
        layers: vec![0, 1],
        quantization: QuantizationSpec { weight_bits: 8, calibration: Calibration::Percentile },
    });
    let files = spec.reads().into_iter().filter_map(|role| Some((role, *pruned.artifacts.get(&role)?)));
    let inputs = fixture.prepared.iter().map(|(role, file)| (*role, *file)).chain(files).collect();
    let quantize = stage(spec, inputs);
    let quantized = completed(one(&mut fixture.stages, &quantize));
    let of = |fixture: &mut Fixture, key, is_quantized, result: &StageResult| {
        let stage = measure(fixture, key, is_quantized, Engine::Score, result);
        completed(one(&mut fixture.stages, &stage))
    };
    let float = of(&mut fixture, prune.key, false, &pruned);
    let int8 = of(&mut fixture, quantize.key, true, &quantized);
    assert!(value(&float, Metric::BitmaskBytes) < value(&float, Metric::DenseBytes));
    // Weights that were rounded to 0 are not kept.
    assert!(value(&int8, Metric::Int8BitmaskBytes) <= value(&float, Metric::Int8BitmaskBytes));
    for result in [&float, &int8] {
        assert!(value(result, Metric::LatencyP50Us) <= value(result, Metric::LatencyP99Us));
        let throughput = 8e6 / value(result, Metric::BatchLatencyP50Us);
        assert!((value(result, Metric::Throughput) - throughput).abs() < 1e-6 * throughput);
        let file = fixture.stages.workspace.store.get(result.artifacts[&Role::Measurement].hash).expect("it was made");
        let file: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
        assert_eq!(file["batches"][1]["rows"], 8);
        assert!(file["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0), "{file}");
        assert_eq!(file["sizes"]["onnx_file"], value(result, Metric::FileBytes) as u64);
    }
}

#[test]
fn what_cannot_be_measured_says_why() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let whole = measure(&fixture, key, false, Engine::Score, &dense);
    for role in [Role::Prepared, Role::Preparation, Role::Checkpoint] {
        let mut without = whole.clone();
        without.inputs.remove(&role);
        assert_failed(&one(&mut fixture.stages, &without), FailureClass::Input);
    }
    if !is_built(Engine::Rten) {
        let other = measure(&fixture, key, false, Engine::Rten, &dense);
        assert_failed(&one(&mut fixture.stages, &other), FailureClass::Unfit);
    }
}

#[test]
fn a_net_is_not_measured_beside_one_of_another_task() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let stage = measure(&fixture, key, false, Engine::Score, &dense);
    let with = |change: &dyn Fn(&mut MeasureSpec)| {
        let StageSpec::Measure(mut spec) = stage.spec.clone() else { unreachable!("made as one") };
        change(&mut spec);
        let spec = StageSpec::from(spec);
        StageSpec::parse(&spec.canonical(), spec.key()).is_ok()
    };
    assert!(with(&|_| {}));
    assert!(!with(&|spec| spec.dense = ModelSpec::mlp(WIDTH + 1, vec![4])));
    assert!(!with(&|spec| spec.settings.batch = vec![]));
    assert!(!with(&|spec| spec.settings.batch = vec![8, 1]));
    assert!(!with(&|spec| spec.settings.batch = vec![0]));
    assert!(!with(&|spec| spec.settings.batch = vec![5000]));
}
