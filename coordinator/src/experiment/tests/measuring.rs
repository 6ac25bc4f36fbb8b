//! Measuring: what it adds to the chains of trials, and what it leaves as it is.

use std::collections::BTreeSet;

use secateur_proto::spec::{Engine, MeasureSettings, MeasureSpec, StageSpec};

use super::*;
use crate::experiment::plan::Control;

fn measured(plan: &Plan) -> Vec<&MeasureSpec> {
    let specs = plan.stages.iter().map(|stage| &stage.spec);
    specs.filter_map(|spec| if let StageSpec::Measure(spec) = spec { Some(spec) } else { None }).collect()
}

#[test]
fn what_is_measured_is_trained_as_it_was() {
    let plain = planned(SMALL);
    assert_eq!(planned(&small_with(&["measure: false"])).stages, plain.stages);
    let plan = planned(&small_with(&["measure: true"]));
    let keys = |plan: &Plan| -> BTreeSet<_> {
        let others = plan.stages.iter().filter(|stage| stage.spec.kind() != "measure");
        others.map(|stage| stage.key).collect()
    };
    assert_eq!(keys(&plan), keys(&plain));
    assert_eq!((plan.cells.len(), plan.trials.len()), (plain.cells.len(), plain.trials.len()));
    // The last stage of each trial, and the result is still that of the net.
    for (trial, before) in plan.trials.iter().zip(&plain.trials) {
        let (last, rest) = trial.stages.split_last().expect("stages");
        assert_eq!(rest, before.stages);
        let spec = plan.stages.iter().find(|stage| stage.key == *last).map(|stage| &stage.spec);
        let Some(StageSpec::Measure(spec)) = spec else { panic!("{spec:?}") };
        assert_eq!(Some(&spec.net), before.stages.last());
        assert_eq!(spec.settings, MeasureSettings::default());
    }
}

#[test]
fn every_net_is_timed_beside_the_dense_one_of_the_file() {
    let plan = planned(&small_with(&["quantization: [none, int8]", "measure: {engine: score, batch: [64, 1]}"]));
    let dense = measured(&plan).first().map(|spec| spec.dense.clone()).expect("a measured net");
    for spec in measured(&plan) {
        assert_eq!(spec.dense, dense);
        assert_eq!(spec.settings, MeasureSettings { engine: Engine::Score, batch: vec![1, 64] });
    }
    let of_control = |control: Control| {
        let cell = plan.cells.iter().find(|cell| cell.control == Some(control)).expect("a control");
        let last = plan.trials.iter().find(|trial| trial.cell == cell.id).and_then(|trial| trial.stages.last());
        let spec = plan.stages.iter().find(|stage| Some(&stage.key) == last).map(|stage| &stage.spec);
        let Some(StageSpec::Measure(spec)) = spec else { panic!("{spec:?}") };
        spec
    };
    assert_eq!(of_control(Control::Dense).model, dense);
    assert!(of_control(Control::ScratchEpochs).model.weights() < dense.weights());
    assert!(of_control(Control::DenseQuantized).quantized && !of_control(Control::Dense).quantized);
}

#[test]
fn times_and_sizes_are_goals_of_measured_nets_alone() {
    let goals = [
        "objectives: [{maximize: auc}, {minimize: latency_p50_us}]",
        "constraints: [{metric: file_bytes, max: 9000}, {metric: latency_ratio, min: 1.5}]",
    ];
    let cautions = |lines: &[&str]| planned(&small_with(lines)).cautions().len();
    // Sizes are exact, times are not.
    let without = cautions(&["measure: true", "constraints: [{metric: file_bytes, max: 9000}]"]);
    assert_eq!(cautions(&[goals[0], goals[1], "measure: true"]), without + 1);
    assert_eq!(problems(&small_with(&goals)).len(), 3);
}
