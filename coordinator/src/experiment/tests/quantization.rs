//! Quantization as an axis: what is shared, what is compared with what, and what changes nothing.

use std::collections::BTreeMap;

use secateur_proto::spec::{Calibration, QuantizationSpec, StageSpec, Subject};

use super::*;
use crate::experiment::plan::Control;

fn stages(plan: &Plan) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    plan.stages.iter().for_each(|stage| *counts.entry(stage.spec.kind()).or_default() += 1);
    counts
}

fn keys(plan: &Plan) -> Vec<secateur_proto::ids::StageKey> {
    plan.stages.iter().map(|stage| stage.key).collect()
}

#[test]
fn all_quantizations_share_what_was_trained() {
    let plain = planned(&small_with(&["controls: none"]));
    assert_eq!(keys(&planned(&small_with(&["controls: none", "quantization: none"]))), keys(&plain));
    let plan = planned(&small_with(&[
        "controls: none",
        "quantization: [none, int8, {int8: {calibration: minmax}}, {int4: {calibration: none}}]",
    ]));
    assert_eq!(stages(&plain), BTreeMap::from([("prepare", 1), ("dense", 2), ("prune", 2)]));
    assert_eq!(stages(&plan), BTreeMap::from([("prepare", 1), ("dense", 2), ("prune", 2), ("quantize", 6)]));
    let quantized: Vec<QuantizationSpec> = (plan.stages.iter())
        .filter_map(|stage| match &stage.spec {
            StageSpec::Quantize(spec) => {
                let Subject::Pruned { stage } = spec.subject else { panic!("{spec:?}") };
                assert!(keys(&plain).contains(&stage));
                Some(spec.quantization)
            }
            _ => None,
        })
        .collect();
    let of = |weight_bits, calibration| QuantizationSpec { weight_bits, calibration };
    for spec in [of(8, Calibration::Percentile), of(8, Calibration::MinMax), of(4, Calibration::None)] {
        assert_eq!(quantized.iter().filter(|found| **found == spec).count(), 2, "{spec:?}");
    }
}

#[test]
fn a_quantized_net_is_compared_with_the_dense_one_and_with_that_one_quantized() {
    let plan = planned(&small_with(&["quantization: int8"]));
    let cell = plan.cells.iter().find(|cell| cell.control.is_none()).expect("the cell that was asked for");
    let of = |control| plan.cells.iter().find(|cell| cell.control == Some(control)).expect("a control");
    let kind = |id: &secateur_proto::ids::CellId| {
        let trial = plan.trials.iter().find(|trial| trial.cell == *id).expect("a trial");
        let last = plan.stages.iter().find(|stage| Some(&stage.key) == trial.stages.last()).expect("a stage");
        last.spec.kind()
    };
    assert_eq!(cell.dense_control.as_ref(), Some(&of(Control::Dense).id));
    assert_eq!(cell.other_controls.get(&Control::DenseQuantized), Some(&of(Control::DenseQuantized).id));
    assert_eq!(kind(&of(Control::Dense).id), "prune");
    // Whatever else it is compared with is quantized as it is.
    for control in [Control::DenseQuantized, Control::Random, Control::ScratchEpochs] {
        assert_eq!(kind(&of(control).id), "quantize", "{control:?}");
    }
    assert_eq!(of(Control::Dense).settings["quantization"], "none");
    assert_eq!(cell.settings["quantization"], "int8 (percentile)");
}

#[test]
fn a_dense_net_that_is_quantized_is_no_control_and_has_only_the_dense_one() {
    let text = small_with(&["quantization: [none, int8]"]).replace("sparsity: 0.5", "sparsity: 0");
    let plan = planned(&text);
    let asked: Vec<_> = plan.cells.iter().filter(|cell| cell.control.is_none()).collect();
    let [asked] = asked.as_slice() else { panic!("{} cells", asked.len()) };
    assert_eq!(asked.settings["quantization"], "int8 (percentile)");
    let controls: Vec<_> = plan.cells.iter().filter_map(|cell| cell.control).collect();
    assert_eq!(controls, [Control::Dense]);
    assert_eq!(
        asked.dense_control.as_ref(),
        plan.cells.iter().find(|cell| cell.control.is_some()).map(|cell| &cell.id)
    );
}

#[test]
fn quantizations_are_excluded_by_name() {
    let quantization = "quantization: [none, int8, {int8: {calibration: mse}}]";
    let asked = |exclude: &str| {
        let plan = planned(&small_with(&["controls: none", quantization, exclude]));
        plan.cells
            .iter()
            .map(|cell| cell.settings["quantization"].as_str().expect("text").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(asked("exclude: [{quantization: int8}]"), ["none"]);
    assert_eq!(asked("exclude: [{quantization: int8 (mse)}]"), ["none", "int8 (percentile)"]);
    assert_eq!(asked("exclude: [{quantization: none}]"), ["int8 (percentile)", "int8 (mse)"]);
}

#[test]
fn what_is_no_quantization_is_named() {
    let said: Vec<String> = [
        "quantization: int9",
        "quantization: {int8: {calibration: median}}",
        "quantization: {int8: {bits: 3}}",
        "quantization: {int8: {}, int4: {}}",
        "quantization: {float16: {}}",
        "quantization: [int8, {int8: {calibration: percentile}}]",
    ]
    .into_iter()
    .flat_map(|line| problems(&small_with(&[line])))
    .collect();
    insta::assert_snapshot!(said.join("\n"));
}
