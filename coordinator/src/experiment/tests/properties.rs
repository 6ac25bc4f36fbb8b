use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::experiment::setting::pruning;

/// A sweep file with random axes, as text.
pub(super) fn files() -> impl Strategy<Value = String> {
    let subset = |names: &'static [&'static str]| prop::sample::subsequence(names, 1..=names.len());
    (
        subset(&["[64, 32]", "[16]", "[4, 2]"]),
        subset(&["random", "magnitude", "taylor", "{taylor: {batches: 3}}"]),
        subset(&["global", "local"]),
        subset(&["0", "0.0001", "0.5", "0.5001", "0.9", "0.97", "0.9999"]),
        subset(&["l1", "l2", "none"]),
        subset(&["0", "1.0e-5", "0.1"]),
        subset(&["dense", "retrain", "both"]),
        prop::option::of(prop::sample::select(vec!["auto", "none"])),
        1..3_u32,
        any::<bool>(),
    )
        .prop_map(|(hidden, strategy, scope, sparsity, kind, strength, phase, controls, seeds, exclude)| {
            let list = |values: Vec<&str>| format!("[{}]", values.join(", "));
            let exclude = if exclude { format!("[{{pruning.sparsity: {}}}]", sparsity[0]) } else { "[]".to_owned() };
            small_with(&[
                &format!("model: {{kind: mlp, hidden: {}}}", list(hidden)),
                &format!("  strategy: {}\n  scope: {}", list(strategy), list(scope)),
                &format!("  sparsity: {}", list(sparsity)),
                &format!(
                    "regularization: {{kind: {}, strength: {}, phase: {}}}",
                    list(kind),
                    list(strength),
                    list(phase)
                ),
                &format!("controls: {}", controls.unwrap_or("auto")),
                &format!("seeds: {seeds}"),
                &format!("exclude: {exclude}"),
            ])
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn plans_hold_together(text in files()) {
        let spec = SweepSpec::parse("sweep.yaml", &text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        let points = spec.points().count();
        let shares: usize = spec.exclude.iter().map(|_| spec.grid.len() as usize / spec.grid.listed(&pruning::SPARSITY).len()).sum();
        prop_assert_eq!(points, spec.grid.len() as usize - shares);
        let Ok(plan) = plan(&spec, &text, table()) else { return Ok(()) };
        let plan = plan.unpack();

        // Every point of the grid is a cell, merged or refused; so can a control of it be.
        let asked = plan.cells.iter().filter(|cell| cell.control.is_none()).count();
        let refused = plan.refused.iter().filter(|refused| !refused.reason.starts_with("no control ")).count();
        prop_assert_eq!(asked + plan.merged.len() + refused, points);
        let ids: HashSet<_> = plan.cells.iter().map(|cell| &cell.id).collect();
        prop_assert_eq!(ids.len(), plan.cells.len());
        prop_assert!(plan.merged.iter().all(|merged| ids.contains(&merged.into) && !merged.reason.is_empty()));
        prop_assert!(plan.merged.iter().all(|merged| merged.reason != "both come to the same stages"));

        // Keys are equal exactly where specs are; parents come before children.
        let mut by_key = HashMap::new();
        for stage in &plan.stages {
            prop_assert_eq!(stage.key, stage.spec.key());
            prop_assert!(stage.spec.parents().iter().all(|parent| by_key.contains_key(parent)));
            prop_assert!(by_key.insert(stage.key, stage).is_none());
        }
        let specs: HashSet<_> = plan.stages.iter().map(|stage| stage.spec.canonical()).collect();
        prop_assert_eq!(specs.len(), plan.stages.len());

        // Trials are cells × seeds, no two of them the same work, and every stage belongs to one.
        prop_assert_eq!(plan.trials.len(), plan.cells.len() * spec.seeds.len());
        let last: HashSet<_> = plan.trials.iter().filter_map(|trial| trial.stages.last()).collect();
        prop_assert_eq!(last.len(), plan.trials.len());
        let used: HashSet<_> = plan.trials.iter().flat_map(|trial| trial.stages.iter().copied()).collect();
        prop_assert_eq!(used.len(), plan.stages.len());

        // What is planned can be read by whoever is to do it.
        for stage in &plan.stages {
            prop_assert!(secateur_proto::spec::StageSpec::parse(&stage.spec.canonical(), stage.key).is_ok());
        }
    }

    #[test]
    fn any_text_is_answered_with_positions_in_the_file(text in any_text()) {
        if let Err(problems) = SweepSpec::parse("x", &text) {
            prop_assert!(!problems.list.is_empty());
            // YAML breaks lines at carriage returns too.
            let lines: Vec<&str> = text.split(['\n', '\r']).collect();
            for problem in &problems.list {
                prop_assert!((1..=lines.len()).contains(&problem.mark.line), "{problem} in {text:?}");
                prop_assert!(problem.mark.column >= 1);
                prop_assert!(problem.mark.column <= text.chars().count() + 1, "{problem} in {text:?}");
                prop_assert!(!problem.to_string().contains('\n'));
            }
        }
    }
}

/// Arbitrary text, text of YAML's own characters, and a right file with a piece replaced.
fn any_text() -> impl Strategy<Value = String> {
    let damaged = (0..SMALL.len(), 0..40_usize, "[ \\t\\n\\[\\]{}:,&*!#a-c0-9.\"'|>-]{0,6}").prop_map(
        |(start, length, piece)| {
            let end = (start + length).min(SMALL.len());
            format!("{}{piece}{}", &SMALL[..start], &SMALL[end..])
        },
    );
    prop_oneof![any::<String>(), "[ \\t\\r\\n\\[\\]{}:,&*!#?%@a-c0-9.\"'|><~-]{0,60}", damaged]
}
