//! What schedules, granularities, ablations and controls come to: chains of stages and what they share.

use secateur_proto::spec::{
    Ablation, Along, Granularity, Growth, PruneSpec, Ramp, Ranking, Removal, Schedule, StageSpec, Start, Subject,
};
use serde_json::json;

use super::*;
use crate::experiment::{
    plan::{Cell, Control},
    setting::pruning,
};

/// [`SMALL`] with lines added to `pruning`.
fn with(lines: &[&str], strategy: &str, sparsity: &str) -> String {
    let added: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    SMALL
        .replace("  strategy: magnitude\n", &format!("{added}  strategy: {strategy}\n"))
        .replace("  sparsity: 0.5\n", &format!("  sparsity: {sparsity}\n"))
}

fn specs<'a>(plan: &'a Plan, cell: &Cell) -> Vec<&'a StageSpec> {
    let trial = plan.trials.iter().find(|trial| trial.cell == cell.id).expect("a trial");
    let spec = |key| &plan.stages.iter().find(|stage| stage.key == key).expect("planned").spec;
    trial.stages.iter().map(|key| spec(*key)).collect()
}

fn prunings<'a>(plan: &'a Plan, cell: &Cell) -> Vec<&'a PruneSpec> {
    let pruning = |spec: &'a StageSpec| if let StageSpec::Prune(spec) = spec { Some(spec) } else { None };
    specs(plan, cell).into_iter().filter_map(pruning).collect()
}

fn count(removal: &Removal) -> u64 {
    match removal {
        Removal::Global { count, .. } => *count,
        other => panic!("{other:?}"),
    }
}

fn dense_control<'a>(plan: &'a Plan, cell: &Cell) -> &'a Cell {
    let id = cell.dense_control.as_ref().expect("a dense control");
    plan.cells.iter().find(|cell| cell.id == *id).expect("it is planned")
}

#[test]
fn a_ladder_to_a_higher_sparsity_goes_over_the_levels_of_the_lower_one() {
    let plan = planned(&with(&["schedule: iterative"], "magnitude", "[0.5, 0.9]"));
    let (low, high) = (prunings(&plan, &plan.cells[0]), prunings(&plan, &plan.cells[1]));
    // 1 − 0.8ⁿ of 3264 weights: .2, .36, .488, then .5; and on to .9 in eleven levels.
    let counts = |levels: &[&PruneSpec]| levels.iter().map(|level| count(&level.removal)).collect::<Vec<_>>();
    assert_eq!(counts(&low), [653, 1175, 1593, 1632]);
    assert_eq!(counts(&high)[..3], counts(&low)[..3]);
    assert_eq!((high.len(), counts(&high)[10]), (11, 2938));
    assert_eq!(low[..3], high[..3]);
    assert!(matches!(low[0].subject, Subject::Dense { .. }));
    for (level, before) in low[1..].iter().zip(&low) {
        let key = StageSpec::Prune((*before).clone()).key();
        assert_eq!(level.subject, Subject::Pruned { stage: key });
    }
    // Two seeds: prepare, dense, 4 + 8 levels; their dense controls retrain as often and share as well; random ladders; small
    // nets are trained once.
    let levels = |cell: &Cell| prunings(&plan, cell).len();
    assert_eq!(levels(dense_control(&plan, &plan.cells[0])), 4);
    assert_eq!(levels(dense_control(&plan, &plan.cells[1])), 11);
    assert_eq!(plan.stages.len(), 1 + 2 * (1 + (4 + 8) + 11 + (4 + 8) + 2));
}

#[test]
fn a_rewound_level_begins_where_the_dense_training_was() {
    for (then, start_of, skip) in [
        ("weight_rewind", "initial", 0),
        ("weight_rewind, rewind_to: 7", "rewound", 7),
        ("lr_rewind", "scored", 0),
        ("reinitialize", "other", 0),
    ] {
        let schedule = format!("schedule: {{iterative: {{rounds: 2, then: {then}}}}}");
        let plan = planned(&with(&[&schedule], "magnitude", "0.75"));
        let levels = prunings(&plan, &plan.cells[0]);
        assert_eq!(levels.iter().map(|level| count(&level.removal)).collect::<Vec<_>>(), [1632, 2448]);
        for level in levels {
            let start = match level.start {
                Start::Scored {} => "scored",
                Start::Initial {} => "initial",
                Start::Rewound { .. } => "rewound",
                Start::Reinitialized {} => "other",
            };
            assert_eq!((start, level.skip_steps), (start_of, skip), "{then}");
            // Trained as the dense net is.
            assert_eq!(level.training.epochs, 20);
        }
    }
    // The point that is gone back to is a stage of its own, which ends there.
    let plan = planned(&with(&["schedule: {iterative: {then: weight_rewind, rewind_to: 7}}"], "magnitude", "0.5"));
    let early = specs(&plan, &plan.cells[0])
        .into_iter()
        .filter(|spec| spec.training().is_some_and(|training| training.stop_after == Some(7)));
    assert_eq!(early.count(), 1);
}

#[test]
fn an_ablation_changes_the_last_level_alone() {
    let schedule = "schedule: {iterative: {rounds: 3, then: weight_rewind}}";
    let plan = planned(&with(&[schedule, "ablation: [none, shuffle, reinitialize]"], "magnitude", "0.9"));
    let [plain, shuffled, other] = [0, 1, 2].map(|cell| prunings(&plan, &plan.cells[cell]));
    assert_eq!((plain[..2] == shuffled[..2], plain[..2] == other[..2]), (true, true));
    assert_eq!((plain[2].ablation, shuffled[2].ablation), (None, Some(Ablation::ShuffleMask)));
    assert_eq!((other[2].start, other[2].ablation), (Start::Reinitialized {}, None));
    assert_eq!(shuffled[2].start, Start::Initial {});
}

#[test]
fn what_prunes_before_training_has_no_dense_net_and_trains_for_all_epochs() {
    let plan = planned(&with(&["schedule: {rigl: {every: 2}}", "scope: erk"], "random", "0.8"));
    let stages = specs(&plan, &plan.cells[0]);
    assert_eq!(stages.len(), 2, "prepare and prune");
    let level = prunings(&plan, &plan.cells[0])[0];
    assert_eq!((level.subject, level.start), (Subject::Initial {}, Start::Scored {}));
    // 20 + 10 epochs of 3 steps; three quarters of 90 are 67.5.
    assert_eq!(level.training.epochs, 30);
    assert_eq!(level.schedule, Schedule::Dynamic { growth: Growth::Gradient, fraction: 0.3, every: 2, end: 68 });
    let control = prunings(&plan, dense_control(&plan, &plan.cells[0]))[0];
    assert_eq!((control.subject, control.training.epochs), (Subject::Initial {}, 30));
    assert!(control.removal.is_none());
}

#[test]
fn a_schedule_that_would_never_come_to_its_first_step_is_refused() {
    // Retraining has 10 epochs of 3 steps.
    for (schedule, strategy) in [
        ("schedule: {gradual: {every: 100}}", "magnitude"),
        ("schedule: {gradual: {times: 100}}", "magnitude"),
        ("schedule: rigl", "random"),
        ("schedule: set", "random"),
        ("schedule: ac_dc", "magnitude"),
    ] {
        let text = with(&[schedule], strategy, "0.5");
        let spec = SweepSpec::parse("sweep.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let problems = plan(&spec, &text, table()).expect_err("refused").to_string();
        assert!(problems.contains("would never come") || problems.contains("removals take"), "{schedule}: {problems}");
    }
    let plan = planned(&with(&["schedule: {gradual: {times: 5, shape: linear}}"], "magnitude", "0.5"));
    let level = prunings(&plan, &plan.cells[0])[0];
    // From 0 to ¾ of 30 steps, first and last included.
    assert_eq!(level.schedule, Schedule::Gradual { shape: Ramp::Linear, begin: 0, every: 5, times: 5 });
}

#[test]
fn scopes_and_granularities_come_to_removals() {
    let level = |lines: &[&str], strategy: &str, sparsity: &str| {
        let plan = planned(&with(lines, strategy, sparsity));
        prunings(&plan, &plan.cells[0])[0].clone()
    };
    assert_eq!(level(&["scope: lamp"], "magnitude", "0.5").ranking, Ranking::Lamp);
    assert_eq!(level(&[], "lamp", "0.5").ranking, Ranking::Lamp);
    assert_eq!(level(&[], "magnitude_global_l2", "0.5").ranking, Ranking::LayerNorm);
    assert_eq!(level(&[], "random_layerwise_matched", "0.5").ablation, Some(Ablation::RandomMatched));
    assert_eq!(level(&["scope: sensitivity"], "magnitude", "0.5").removal, Removal::Sensitivity { count: 1632 });
    assert_eq!(
        level(&["granularity: \"2:4\""], "magnitude", "0.5").removal,
        Removal::Grouped { keep: 2, group: 4, along: Along::Flat }
    );
    let units = level(&["granularity: neuron", "scope: local"], "magnitude", "0.5");
    assert_eq!((units.granularity, units.removal), (Granularity::Unit, Removal::PerLayer { counts: vec![32, 16] }));
    // Sums over a layer's units or weights compete by their share of the layer's mean, where layers compete.
    for strategy in ["fpgm", "neuron_grouped"] {
        let ranking = |lines: &[&str]| level(&[&["granularity: neuron"], lines].concat(), strategy, "0.5").ranking;
        assert_eq!(ranking(&[]), Ranking::LayerMean);
        assert_eq!(ranking(&["scope: local"]), Ranking::Raw);
        assert_eq!(ranking(&["layers: {exclude: [layers.0]}"]), Ranking::Raw);
    }
    assert_eq!(level(&["granularity: neuron"], "filter_norm", "0.5").ranking, Ranking::Raw);
    assert_eq!(level(&["layers: {exclude: [layers.0]}"], "magnitude", "0.5").layers, [1]);
    assert_eq!(level(&["layers: {include: [layers.1, layers.2]}"], "magnitude", "0.5").layers, [1, 2]);
    assert_eq!(
        level(&["max_layer_sparsity: 0.6"], "magnitude", "0.5").removal,
        Removal::Global { count: 1632, caps: Some(vec![729, 1228]) }
    );
}

/// Neurons are units of linear layers; filters are those and the filters of convolutions, which `layers` can choose among.
#[test]
fn neurons_are_of_linear_layers_alone() {
    let images = InputFacts { image: Some([1, 28, 28]), inputs: 784, ..table() };
    let layers = |lines: &[&str]| {
        let text = with(lines, "magnitude", "0.5").replace("{kind: mlp, hidden: [64, 32]}", "{kind: lenet5}");
        let spec = SweepSpec::parse("sweep.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let plan = plan(&spec, &text, images.clone()).unwrap_or_else(|problems| panic!("{problems}")).unpack();
        prunings(&plan, &plan.cells[0])[0].layers.clone()
    };
    assert_eq!(layers(&["granularity: neuron"]), [2]);
    assert_eq!(layers(&["granularity: filter"]), [0, 1, 2]);
    assert_eq!(layers(&["granularity: channel", "layers: {exclude: [layers.2]}"]), [0, 1]);
}

#[test]
fn what_a_penalty_removes_is_not_known_before_and_the_sparsity_decides_nothing() {
    let text = with(&[], "[regularized, magnitude]", "[0.5, 0.9]") + "regularization: {kind: l1, strength: 0.1}\n";
    let plan = planned(&text);
    let free: Vec<&Cell> =
        plan.cells.iter().filter(|cell| cell.settings["pruning.strategy"] == "regularized").collect();
    assert_eq!(free.len(), 1);
    assert_eq!((free[0].removed_weights, prunings(&plan, free[0])[0].removal.clone()), (None, Removal::Zeros {}));
    assert!(plan.merged.iter().any(|point| point.reason.contains("the penalty decides")), "{:?}", plan.merged);
}

#[test]
fn controls_can_be_asked_for_by_name() {
    let text = with(&[], "magnitude", "0.9") + "controls: all\n";
    let plan = planned(&text);
    let controls: Vec<_> = plan.cells.iter().filter_map(|cell| cell.control).collect();
    assert_eq!(
        controls,
        [
            Control::Dense,
            Control::Random,
            Control::RandomMatched,
            Control::Shuffle,
            Control::Reinitialize,
            Control::ScratchEpochs,
            Control::ScratchCompute
        ]
    );
    let of = |control| {
        let cell = plan.cells.iter().find(|cell| cell.control == Some(control)).expect("a control");
        prunings(&plan, cell)[0].clone()
    };
    let scratch = of(Control::ScratchEpochs);
    // 3361 parameters and 96 of them biases; 2938 of the weights go, so 423 are left.
    let dense = prunings(&plan, &plan.cells[0])[0].model.clone();
    let left = dense.parameters() - 2938;
    assert!(scratch.model.parameters().abs_diff(left) * 30 <= left, "{:?}, not {left}", scratch.model);
    assert_eq!((scratch.subject, scratch.training.epochs), (Subject::Initial {}, 30));
    assert!(of(Control::ScratchCompute).training.epochs > 100);
    assert_eq!(of(Control::RandomMatched).ablation, Some(Ablation::RandomMatched));
    assert_eq!(of(Control::Reinitialize).start, Start::Reinitialized {});
    // What is trained to compare with is named by the cell that it stands beside.
    let named = &plan.cells[0].other_controls;
    let others = [Control::RandomMatched, Control::Shuffle, Control::Reinitialize, Control::ScratchCompute];
    for control in others {
        let cell = plan.cells.iter().find(|cell| cell.control == Some(control)).expect("a control");
        assert_eq!(named.get(&control), Some(&cell.id), "{control:?}");
    }
}

/// A small net is trained for as long as the pruned one has been, all levels counted, and one that is given more compute for longer.
#[test]
fn small_nets_are_trained_for_as_many_epochs() {
    // 20 epochs, and 10 of retraining.
    for (schedule, strategy, epochs) in [
        ("one_shot", "magnitude", 30),
        ("one_shot", "snip", 30),
        ("{iterative: {rounds: 3}}", "magnitude", 20 + 3 * 10),
        ("{iterative: {rounds: 3, then: lr_rewind}}", "magnitude", 20 + 3 * 20),
        ("{iterative: {rounds: 3, then: weight_rewind}}", "magnitude", 20),
        ("{iterative: {rounds: 3, then: reinitialize}}", "magnitude", 20),
        ("{gradual: {times: 2}}", "magnitude", 30),
        ("{rigl: {every: 2}}", "random", 30),
    ] {
        let text = with(&[&format!("schedule: {schedule}")], strategy, "0.9")
            + "controls: [scratch_epochs, scratch_compute]\n";
        let plan = planned(&text);
        let of = |control| {
            let cell = plan.cells.iter().find(|cell| cell.control == Some(control)).expect("a small net");
            prunings(&plan, cell)[0].clone()
        };
        let (small, longer) = (of(Control::ScratchEpochs), of(Control::ScratchCompute));
        assert_eq!(small.training.epochs, epochs, "{schedule} {strategy}");
        let large = prunings(&plan, &plan.cells[0])[0].model.macs();
        let ratio = (large as f64 / longer.model.macs() as f64).min(10.0);
        assert_eq!(f64::from(longer.training.epochs), (f64::from(epochs) * ratio).round(), "{schedule} {strategy}");
    }
}

/// Where units go, the small net has the widths that are left.
#[test]
fn small_nets_are_of_the_form_of_the_large_one() {
    let plan = planned(&with(&["granularity: neuron", "scope: local"], "magnitude", "0.5"));
    let small = plan.cells.iter().find(|cell| cell.control == Some(Control::ScratchEpochs)).expect("a small net");
    assert_eq!(small.settings["control.hidden"], json!([32, 16]));
    assert_eq!(small.settings["model.hidden"], json!([64, 32]));
    assert!(!small.settings.contains_key("pruning.scope"));
    assert_eq!(plan.cells[0].scratch_control.as_ref(), Some(&small.id));
    // One small net stands for both strategies, and each of them names it.
    let plan = planned(&with(&[], "[magnitude, taylor]", "0.5"));
    let small: Vec<_> = plan.cells.iter().filter(|cell| cell.control == Some(Control::ScratchEpochs)).collect();
    assert_eq!(small.len(), 1);
    assert!(plan.cells[..2].iter().all(|cell| cell.scratch_control.as_ref() == Some(&small[0].id)));
}

/// Nothing removed is the dense control of the same strategy and schedule.
#[test]
fn a_sparsity_of_zero_is_the_dense_control_of_its_own_way() {
    for (schedule, strategy) in [
        ("one_shot", "magnitude"),
        ("one_shot", "snip"),
        ("{iterative: {rounds: 3}}", "magnitude"),
        ("{iterative: {rounds: 3, then: lr_rewind}}", "magnitude"),
        ("{rigl: {every: 2}}", "random"),
    ] {
        let plan = planned(&with(&[&format!("schedule: {schedule}")], strategy, "[0, 0.5]"));
        let dense: Vec<_> = plan.cells.iter().filter(|cell| cell.control == Some(Control::Dense)).collect();
        assert_eq!(dense.len(), 1, "{schedule} {strategy}");
        let pruned = prunings(&plan, &plan.cells[0]);
        let control = prunings(&plan, dense[0]);
        assert_eq!(
            pruned.iter().map(|level| level.training.epochs).collect::<Vec<_>>(),
            control.iter().map(|level| level.training.epochs).collect::<Vec<_>>(),
            "{schedule} {strategy}"
        );
        let zero = plan.merged.iter().find(|merged| merged.settings["pruning.sparsity"] == json!(0.0));
        assert_eq!(zero.expect("it is merged").into, dense[0].id);
        assert_eq!(plan.cells[0].dense_control.as_ref(), Some(&dense[0].id));
    }
}

#[test]
fn other_names_of_a_strategy_are_known_wherever_one_is_named() {
    let text = with(&["scope: [global, local]"], "[obd, {mean_act: {rows: 64}}, magnitude]", "0.5");
    let text = text + "exclude: [{pruning.strategy: [obd, mean_act], pruning.scope: global}]\n";
    let spec = SweepSpec::parse("sweep.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<_> = spec.grid.listed(&pruning::STRATEGY).iter().map(|strategy| strategy.name).collect();
    assert_eq!(names, ["fisher_diag", "mean_activation", "magnitude"]);
    assert_eq!(spec.points().count(), 2 * 3 - 2);
}

/// A net that is too small to be had is told to who asked for it, and to nobody else.
#[test]
fn a_small_net_that_there_is_not_is_refused_if_it_was_asked_for() {
    let text = with(&[], "magnitude", "0.9").replace("[64, 32]", "[2, 2]");
    let refused = |controls: &str| -> Vec<String> {
        planned(&format!("{text}controls: {controls}\n")).refused.into_iter().map(|point| point.reason).collect()
    };
    assert_eq!(refused("auto"), Vec::<String>::new());
    let reasons = refused("[dense, scratch_epochs]");
    assert!(
        reasons.len() == 1
            && reasons[0].starts_with("no control scratch (as many epochs): ")
            && reasons[0].contains("the nearest net of this form"),
        "{reasons:?}"
    );
}

/// What a penalty drove to zero goes, however much of a layer that is.
#[test]
fn a_cap_of_layers_and_the_zeros_of_a_penalty_do_not_go_together() {
    let text = with(&["max_layer_sparsity: 0.5"], "[magnitude, regularized]", "0.4");
    let plan = planned(&format!("{text}regularization: {{kind: l1, strength: 0.1, phase: dense}}\n"));
    let reasons: Vec<_> = plan.refused.iter().map(|refused| refused.reason.as_str()).collect();
    assert!(matches!(reasons[..], [reason] if reason.contains("leave max_layer_sparsity out")), "{reasons:?}");
}

#[test]
fn zeros_are_counted_where_there_are_any() {
    let text = with(&["granularity: neuron", "scope: local"], "apoz", "0.5");
    assert_eq!(planned(&text).refused, []);
    let text = text.replace("hidden: [64, 32]", "hidden: [64, 32], activation: tanh");
    let spec = SweepSpec::parse("sweep.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    let problems = plan(&spec, &text, table()).expect_err("refused").to_string();
    assert!(problems.contains("use mean_activation"), "{problems}");
}

#[test]
fn what_does_not_go_together_is_refused_with_the_reason() {
    for (lines, strategy, reason) in [
        (&["granularity: \"2:4\"", "scope: local"][..], "magnitude", "removes a share of 0.5"),
        (&["granularity: neuron", "scope: erk"], "magnitude", "erk shares out weights"),
        (&["layers: {exclude: [layers.7]}"], "magnitude", "the net has no layer layers.7"),
        (&["max_layer_sparsity: 0.5"], "magnitude", "the cap of each layer allows"),
        (&["schedule: gradual"], "regularized", "take the schedule one_shot"),
        (
            &["schedule: {gradual: {times: 2}}", "ablation: shuffle"],
            "magnitude",
            "an ablation changes a mask that there is",
        ),
        (
            &["schedule: {rigl: {every: 2}}", "ablation: reinitialize"],
            "random",
            "an ablation changes a mask that there is",
        ),
        (&["schedule: {ac_dc: {every: 2}}"], "obs", "changes the net that it scores"),
        (&["schedule: {gradual: {times: 2}}"], "movement", "changes the net that it scores"),
        (&["scope: lamp"], "grasp", "ranks by signs"),
        (&["granularity: neuron", "scope: local"], "wanda", "take {wanda: {per_row: 0}}"),
        (&[], "filter_norm", "take the granularity neuron or filter"),
        (&[], "regularized", "take l1 or group_lasso"),
        (&["granularity: neuron"], "movement", "trains a choice of single weights"),
        (&["granularity: neuron", "scope: local"], "bn_scale", "with batch normalisation after"),
        (&["scope: {per_layer: {layers.7: 0.5}}"], "magnitude", "there is no prunable layer layers.7"),
        (&["schedule: {iterative: {then: weight_rewind, rewind_to: 200}}"], "magnitude", "no step 200 to rewind to"),
    ] {
        let text = with(lines, strategy, "0.9");
        let spec = SweepSpec::parse("sweep.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let problems = plan(&spec, &text, table()).expect_err("refused").to_string();
        assert!(problems.contains(reason), "{lines:?}: {problems}");
    }
}
