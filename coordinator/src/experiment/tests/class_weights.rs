//! `training.class_weight`: what the weights come to, and what is no weight.

use std::collections::BTreeSet;

use insta::assert_snapshot;

use super::*;
use crate::experiment::plan::Control;

fn weighted(value: &str) -> String {
    small_with(&[&format!("training: {{optimizer: {{kind: adam}}, epochs: 20, class_weight: {value}}}")])
}

/// The different weights of all trainings of a plan.
fn weights(plan: &Plan) -> BTreeSet<String> {
    let trainings = plan.stages.iter().filter_map(|stage| stage.spec.training());
    trainings.map(|training| format!("{:.6?}", training.spec.class_weights)).collect()
}

/// 480 and 120 of 600 train rows.
#[test]
fn weights_are_one_on_the_mean_over_the_train_rows() {
    let of = |value: &str| weights(&planned(&weighted(value)));
    let one = |weights: [f64; 2]| BTreeSet::from([format!("{:.6?}", weights)]);
    // scikit-learn: n / (k · n_k).
    assert_eq!(of("balanced"), one([600.0 / (2.0 * 480.0), 600.0 / (2.0 * 120.0)]));
    // 480 + 5 · 120 = 1080 rows where rows of class 1 stand five times.
    assert_eq!(of("{\"1\": 5}"), one([600.0 / 1080.0, 5.0 * 600.0 / 1080.0]));
    assert_eq!(of("{1: 5}"), of("{\"1\": 5}"));
    // Ratios alone matter, and 1.0 is the class 1.
    assert_eq!(of("{\"1.0\": 10, \"0\": 2}"), of("{\"1\": 5}"));
    assert_eq!(of("none"), BTreeSet::from(["[]".to_owned()]));
    // What weighs nothing differently leaves the keys of stages as they are.
    assert_eq!(planned(&weighted("{\"0\": 3, \"1\": 3}")).stages, planned(SMALL).stages);
}

#[test]
fn several_weights_are_an_axis() {
    let plan = planned(&weighted("[none, balanced, {\"1\": 4}, {\"1\": 9}]"));
    let of_file: Vec<_> = plan.cells.iter().filter(|cell| cell.control.is_none()).collect();
    let named: Vec<_> = of_file.iter().map(|cell| cell.settings["training.class_weight"].clone()).collect();
    assert_eq!(named, ["none", "balanced", "{1: 9}"]);
    // 480 rows of one class and 120 of the other: balanced is a weight of four.
    assert_snapshot!(plan.merged[0].reason);
    // Every cell is compared with a dense net of its own loss.
    let dense: BTreeSet<_> = of_file.iter().map(|cell| cell.dense_control.clone()).collect();
    assert_eq!(dense.len(), 3);
    assert_eq!(plan.cells.iter().filter(|cell| cell.control == Some(Control::Dense)).count(), 3);
    assert!(plan.cautions().iter().any(|caution| caution.contains("training.class_weight")));
}

#[test]
fn what_is_no_class_weight_has_its_place() {
    let mut told = String::new();
    for value in [
        "balance",
        "2",
        "{}",
        "{\"1\": 0}",
        "{\"1\": -1}",
        "{\"1\": .inf}",
        "{\"1\": many}",
        "{1: 5, 1: 6}",
        "{1.0: 5}",
        "[]",
    ] {
        told += &format!("{value}\n{}\n", problems(&weighted(value)).join("\n"));
    }
    for value in
        ["{\"bad\": 5}", "{\"1\": 5, \"2\": 5}", "{\"1\": 5, \"1.0\": 6}", "[balanced, {\"yes\": 2}]", "{baad: 2}"]
    {
        let text = weighted(value);
        let spec = SweepSpec::parse("sweep.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        told += &format!("{value}\n{}\n", plan(&spec, &text, table()).expect_err("is refused"));
    }
    assert_snapshot!(told);
}
