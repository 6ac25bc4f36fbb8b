//! What differs between two files and between their plans.

use serde_json::{Value as Json, json};

use super::*;
use crate::experiment::difference::{Counts, WorkDifference, input_differences, setting_differences};

fn settings(before: &str, after: &str) -> Vec<(String, Option<Json>, Option<Json>)> {
    let found = setting_differences(before, after).expect("both are YAML");
    found.into_iter().map(|found| (found.path, found.before, found.after)).collect()
}

#[test]
fn spelling_and_written_defaults_are_no_difference() {
    let order = "\
# The same file.
seeds: [0, 1]
pruning: {retrain: {epochs: 10}, sparsity: 5.0e-1, strategy: [magnitude], scope: global}
name: small
version: 1
data:
  split: {seed: 42, kind: stratified, test: 0.2, train: 0.60, validation: 0.2}
  task: binary
  target: y
  path: table.csv
training: {epochs: 20, optimizer: {kind: adam, lr: 0.001}}
model: {hidden: [64, 32], kind: mlp}
objectives: [{maximize: auc}, {minimize: nonzero_parameters}]
";
    assert_eq!(settings(SMALL, order), []);
    assert!(WorkDifference::between(&planned(SMALL), &planned(order)).is_same());
}

#[test]
fn settings_are_compared_by_their_keys() {
    let other = small_with(&[
        "seeds: 3",
        "training: {optimizer: {kind: sgd, lr: 0.1}, epochs: 20}",
        "objectives: [{minimize: brier}]",
    ])
    .replace("sparsity: 0.5", "sparsity: [0.5, 0.9]")
    .replace("seed: 42", "seed: 43");
    let found = settings(SMALL, &other);
    let of = |path: &str| {
        let (_, before, after) =
            found.iter().find(|(found, _, _)| found == path).unwrap_or_else(|| panic!("{found:#?}"));
        (before.clone(), after.clone())
    };
    assert_eq!(of("seeds"), (Some(json!(2)), Some(json!(3))));
    assert_eq!(of("pruning.sparsity"), (Some(json!(0.5)), Some(json!([0.5, 0.9]))));
    assert_eq!(of("data.split.seed"), (Some(json!(42)), Some(json!(43))));
    assert_eq!(of("training.optimizer.kind"), (Some(json!("adam")), Some(json!("sgd"))));
    let objectives = json!([{"maximize": "auc"}, {"minimize": "nonzero_parameters"}]);
    assert_eq!(of("objectives"), (Some(objectives), Some(json!([{"minimize": "brier"}]))));
    let margin = small_with(&["objectives: [{maximize: auc, margin: 0.02}]"]);
    assert!(settings(SMALL, &margin).iter().any(|(path, _, after)| {
        path == "objectives" && after.as_ref().is_some_and(|after| after[0]["margin"] == 0.02)
    }));
    // What the other optimizer does not have is not there.
    assert!(found.iter().any(|(_, before, after)| before.is_none() || after.is_none()), "{found:#?}");
    // The other way around, the same.
    let back: Vec<_> = settings(&other, SMALL).into_iter().map(|(path, before, after)| (path, after, before)).collect();
    assert_eq!(back, found);
}

/// A file of another version may have keys that this one does not know.
#[test]
fn a_file_that_cannot_be_checked_is_compared_as_it_is_written() {
    let other = format!("{SMALL}future: {{a: 1}}\n");
    let found = settings(SMALL, &other);
    assert!(found.contains(&("future.a".to_owned(), None, Some(json!(1)))), "{found:#?}");
    assert!(setting_differences(SMALL, "a: [").is_err());
}

#[test]
fn work_is_shared_by_what_is_computed() {
    let before = planned(SMALL);
    // A setting that begins to vary comes into the names of all cells: none of the old ones is computed again.
    let grown = small_with(&["seeds: 3"]).replace("  sparsity: 0.5", "  scope: [global, local]\n  sparsity: 0.5");
    let after = planned(&grown);
    let work = WorkDifference::between(&before, &after);
    let (old, new) = (before.cells.len() as u64, after.cells.len() as u64);
    assert_eq!(work.cells, Counts { only_before: 0, shared: old, only_after: new - old });
    assert_eq!(work.trials.only_before, 0);
    assert_eq!((work.trials.shared, work.trials.only_after), (2 * old, 3 * new - 2 * old));
    assert_eq!(work.stages.shared, before.stages.len() as u64);
    assert_eq!((work.gone.len(), work.new.len() as u64), (0, new - old));
    assert!(work.pairs.iter().all(|pair| pair.is_same_work));
    // The other way around, what was new is gone.
    let back = WorkDifference::between(&after, &before);
    assert_eq!((back.trials.only_before, back.trials.only_after), (work.trials.only_after, 0));
    assert_eq!(back.gone, work.new);
}

#[test]
fn cells_of_the_same_settings_and_other_work_are_pairs_of_another_kind() {
    let (before, after) = (planned(SMALL), planned(&SMALL.replace("epochs: 20", "epochs: 21")));
    let work = WorkDifference::between(&before, &after);
    assert_eq!((work.cells.shared, work.trials.shared), (0, 0));
    assert_eq!(work.pairs.len(), before.cells.len());
    assert!(work.pairs.iter().all(|pair| !pair.is_same_work && pair.before == pair.after));
    // The prepared table is the same.
    assert_eq!(work.stages.shared, 1);
    assert!(input_differences(&before, &after).is_empty());
    let mut other = after.clone();
    other.sweep.data.hash = ContentHash::of(b"other");
    let inputs = input_differences(&before, &other);
    assert_eq!(inputs.iter().map(|found| found.input).collect::<Vec<_>>(), ["data"]);
}
