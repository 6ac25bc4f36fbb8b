//! The sweep file of one trial plans that trial.

use std::{collections::BTreeSet, fs, path::Path};

use super::*;
use crate::experiment::recipe::recipe;

/// Each trial of the file that is no control, and whether its recipe ends in the same stage.
fn check(text: &str, facts: &InputFacts) -> usize {
    let spec = SweepSpec::parse("sweep.yaml", text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    let all = plan(&spec, text, facts.clone()).unwrap_or_else(|problems| panic!("{text}\n{problems}")).unpack();
    let mut checked = 0;
    for trial in &all.trials {
        let cell = all.cells.iter().find(|cell| cell.id == trial.cell).expect("a cell");
        let alone = recipe("sweep.yaml", text, &cell.settings, trial.seed).expect("a sweep file");
        let Some(alone) = alone else {
            assert!(cell.control.is_some(), "{:?} has no recipe", cell.settings);
            continue;
        };
        let spec = SweepSpec::parse("alone.yaml", &alone).unwrap_or_else(|problems| panic!("{alone}\n{problems}"));
        let one = plan(&spec, &alone, facts.clone()).unwrap_or_else(|problems| panic!("{alone}\n{problems}")).unpack();
        let ends: BTreeSet<_> = one.trials.iter().filter_map(|trial| trial.stages.last()).collect();
        if cell.control.is_none() {
            assert_eq!(ends, BTreeSet::from([trial.stages.last().expect("a stage")]), "{:?}\n{alone}", cell.settings);
            checked += 1;
        }
    }
    checked
}

#[test]
fn the_recipe_of_a_trial_computes_that_trial() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    for name in ["german-credit", "quantization"] {
        let text = fs::read_to_string(folder.join(format!("{name}.yaml"))).expect("a config can be read");
        assert!(check(&text, &table()) > 0, "{name}");
    }
    let text = small_with(&[
        "model: {kind: mlp, hidden: [[8, 4], [16]], activation: tanh}",
        "search: {sampler: random, trials: 6, seed: 1}",
        "training: {optimizer: {kind: adam, lr: {low: 1.0e-4, high: 1.0e-1, log: true}}, epochs: 3}",
    ]);
    assert!(check(&text, &table()) > 0);
    let text = small_with(&["pruning: {strategy: [magnitude, wanda], sparsity: [0.5, 0.9], retrain: {epochs: 2}, \
        schedule: [one_shot, {gradual: {shape: linear}}]}"])
    .replace("  strategy: magnitude\n  sparsity: 0.5\n  retrain: {epochs: 10}\n", "");
    assert!(check(&text, &table()) > 0);
}
