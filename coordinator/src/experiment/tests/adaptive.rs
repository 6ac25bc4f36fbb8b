//! Seeds that are added while results come in: what a file may say, and what a round comes to.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::experiment::{
    adaptive::{self, AdaptiveSeeds, ContestedCell, SeedRound, Until, Why},
    extension::{NotAnExtension, extension},
    plan::PackedPlan,
};

const ADAPTIVE: &str = "seeds: {min: 3, max: 9, until: front_settled}";

/// A round that gives every cell this number of seeds.
fn round_of_all(plan: &Plan, seeds: u32) -> SeedRound {
    let contest = |cell| ContestedCell { cell, why: BTreeSet::from([Why::Front]), rival: None };
    let mut cells = plan.cells.iter().map(|cell| cell.id.clone());
    SeedRound {
        number: 1,
        seeds,
        contested: cells.next().map(contest).into_iter().collect(),
        compared: cells.collect(),
        front: vec![],
        smallest: None,
    }
}

fn grown(plan: &Plan, round: SeedRound) -> Plan {
    let part = adaptive::part(plan, round).expect("it does not contradict itself").unpack();
    let grown = Plan::of_parts([plan.clone(), part]).expect("two parts");
    PackedPlan::of(&grown).expect("it does not contradict itself");
    grown
}

#[test]
fn what_the_file_leaves_out_has_a_default() {
    let spec = SweepSpec::parse("sweep.yaml", &small_with(&["seeds: {max: 20}"])).expect("it is well-formed");
    let expected = AdaptiveSeeds { min: 3, max: 20, step: 2, until: Until::FrontSettled };
    assert_eq!((spec.seeds, spec.adaptive), (vec![0, 1, 2], Some(expected)));
}

#[test]
fn a_round_plans_what_a_file_with_more_seeds_would() {
    let penalty = "regularization: {kind: l1, strength: [0, 1.0e-4]}";
    for lines in [
        &["controls: all", penalty][..],
        &["  sparsity: [0, 0.5, 0.9]", "references: [logistic, boosting]"],
        &["  strategy: [magnitude, snip, taylor]"],
        &[
            "  sparsity: 0.9\n  schedule: {iterative: {rounds: 3, then: weight_rewind}}\n  ablation: [none, reinitialize]",
        ],
        &["quantization: [none, int8]"],
    ] {
        let [first, expected] = [ADAPTIVE, "seeds: 5"].map(|seeds| planned(&small_with(&[lines, &[seeds]].concat())));
        let grown = grown(&first, round_of_all(&first, 5));
        assert!(grown.trials.len() > first.trials.len() && grown.cells == expected.cells, "{lines:?}");
        let trials =
            |plan: &Plan| plan.trials.iter().map(|trial| (trial.id.clone(), trial.clone())).collect::<BTreeMap<_, _>>();
        assert_eq!(trials(&grown), trials(&expected));
        let stages =
            |plan: &Plan| plan.stages.iter().map(|stage| (stage.key, stage.clone())).collect::<BTreeMap<_, _>>();
        assert_eq!(stages(&grown), stages(&expected));
    }
}

#[test]
fn rounds_are_added_to_what_was_decided_before() {
    let first = planned(&small_with(&[ADAPTIVE]));
    let second = grown(&first, round_of_all(&first, 5));
    let third = grown(&second, SeedRound { number: 2, ..round_of_all(&first, 7) });
    let numbers: Vec<u32> = third.sweep.rounds.iter().map(|round| round.number).collect();
    assert_eq!((numbers, third.trials.len()), (vec![1, 2], first.trials.len() / 3 * 7));
    let said = third.sweep.seeds_so_far();
    insta::assert_snapshot!([first.sweep.seeds_so_far(), said].map(Option::unwrap_or_default).join("\n"));
}

#[test]
fn the_same_file_adds_nothing_and_others_do_not_extend() {
    let adaptive = planned(&small_with(&[ADAPTIVE]));
    let grown = adaptive::part(&adaptive, round_of_all(&adaptive, 5)).expect("a part").unpack();
    assert_eq!(extension(&adaptive, &[&adaptive, &grown]), Ok(None));
    let other = planned(&small_with(&["seeds: {min: 3, max: 30}"]));
    let fixed = planned(&small_with(&["seeds: 3"]));
    for (file, sweep) in [(&other, &adaptive), (&fixed, &adaptive), (&adaptive, &fixed)] {
        let refused = extension(file, &[sweep]).expect_err("it does not extend the sweep");
        assert!(matches!(refused, NotAnExtension::Adaptive { .. }), "{refused}");
    }
}

proptest! {
    /// The last round reaches the maximum, and no round goes beyond it.
    #[test]
    fn rounds_end_at_the_maximum(min in 3..50_u32, more in 1..200_u32, step in 1..40_u32) {
        let seeds = AdaptiveSeeds { min, max: min + more, step, until: Until::FrontSettled };
        prop_assert_eq!((seeds.after(0), seeds.after(seeds.rounds())), (min, min + more));
        prop_assert!((0..seeds.rounds()).all(|round| seeds.after(round) < seeds.after(round + 1)));
    }
}
