//! What is packed is what is unpacked, in memory and as text, and what contradicts itself is not packed.

use proptest::prelude::*;
use secateur_proto::ids::StageKey;

use super::{properties::files, *};
use crate::experiment::plan::{InvalidPlan, PackedPlan, Packer};

fn packed(plan: &Plan) -> PackedPlan {
    PackedPlan::of(plan).expect("a plan of the planner's does not contradict itself")
}

fn pieces(plan: &PackedPlan) -> impl Iterator<Item = String> {
    (0..plan.piece_count()).map(|number| plan.piece(number).expect("is counted"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn nothing_is_lost(text in files()) {
        let spec = SweepSpec::parse("sweep.yaml", &text).expect("a good file");
        let Ok(packed) = plan(&spec, &text, table()) else { return Ok(()) };
        let plan = packed.unpack();
        prop_assert_eq!(&PackedPlan::of(&plan).expect("a plan"), &packed);
        let json = serde_json::to_string(&plan).expect("plain data");
        prop_assert_eq!(&serde_json::to_string(&packed).expect("plain data"), &json);
        let mut copied = vec![];
        packed.write_json(&mut copied).expect("memory takes it");
        prop_assert_eq!(&String::from_utf8(copied).expect("a text"), &json);
        prop_assert_eq!(&serde_json::from_str::<PackedPlan>(&json).expect("a plan"), &packed);
        prop_assert_eq!(packed.piece(packed.piece_count()), None);
        let mut packer = Packer::default();
        pieces(&packed).try_for_each(|piece| packer.read_piece(&piece)).expect("pieces");
        prop_assert_eq!(&packer.finish(packed.sweep.clone()), &packed);

        prop_assert_eq!((packed.stage_count(), packed.trial_count()), (plan.stages.len(), plan.trials.len()));
        for (place, stage) in plan.stages.iter().enumerate() {
            prop_assert_eq!((packed.key(place), packed.lane_steps(place)), (stage.key, stage.lane_steps));
            prop_assert_eq!(packed.spec(place), stage.spec.clone());
            prop_assert_eq!(packed.given(place), stage.given.clone());
            prop_assert_eq!(packed.shared_class(place), stage.bundled.then_some(&stage.bundle_class));
            let parents: Vec<StageKey> = packed.parents(place).map(|parent| packed.key(parent)).collect();
            prop_assert_eq!(parents, stage.spec.parents());
        }
        for (place, trial) in plan.trials.iter().enumerate() {
            prop_assert_eq!(packed.find_trial(&trial.id), Some(place));
            prop_assert_eq!(Some(packed.key(packed.last_stage(place))), trial.stages.last().copied());
            // Every link of today leaves a net.
            prop_assert_eq!(packed.result_stages(place).collect::<Vec<_>>(), [packed.last_stage(place)]);
        }
    }
}

#[test]
fn a_plan_that_contradicts_itself_is_not_packed() {
    type Break = fn(&mut Plan);
    let broken: [(&str, Break); 8] = [
        ("before its parent", |plan| plan.stages.reverse()),
        ("without it", |plan| drop(plan.stages.remove(0))),
        ("is there twice", |plan| plan.stages.push(plan.stages[0].clone())),
        ("is there twice", |plan| plan.trials.push(plan.trials[0].clone())),
        ("has no stage", |plan| plan.trials[0].stages.clear()),
        ("not in the plan", |plan| plan.trials[0].stages[0] = StageKey(ContentHash::of(b"other"))),
        ("does not wait for its stage", |plan| plan.trials[0].stages.reverse()),
        ("as no trial", |plan| plan.trials[0].seed = 99),
    ];
    let good = planned(SMALL);
    for (message, breaks) in broken {
        let mut plan = good.clone();
        breaks(&mut plan);
        let error: InvalidPlan = PackedPlan::of(&plan).expect_err(message);
        assert!(error.to_string().contains(message), "{error}");
        // The same where it is read.
        let json = serde_json::to_string(&plan).expect("plain data");
        let unread = serde_json::from_str::<PackedPlan>(&json).expect_err(message);
        assert!(unread.to_string().contains(message), "{unread}");
    }
}

#[test]
fn a_text_that_is_no_piece_of_a_plan_is_refused() {
    let text = packed(&planned(SMALL)).piece(0).expect("there are stages");
    for damaged in ["", "?", "AAAA", &text[..text.len() / 2], &text[4..]] {
        assert!(Packer::default().read_piece(damaged).is_err(), "{damaged:?}");
        assert!(PackedPlan::from_text(damaged).is_err(), "{damaged:?}");
    }
    // The stages that trials are of come first, and each once.
    let plan = packed(&planned(SMALL));
    let trials = plan.piece(1).expect("there are trials");
    assert!(Packer::default().read_piece(&trials).expect_err("no stages").to_string().contains("not in the plan"));
    let mut packer = Packer::default();
    packer.read_piece(&text).expect("stages");
    assert!(packer.read_piece(&text).expect_err("twice").to_string().contains("is there twice"));
}

#[test]
fn a_long_plan_is_short_texts() {
    let plan = packed(&planned(&small_with(&["seeds: 500"])));
    let json = serde_json::to_string(&plan).expect("plain data");
    let length: usize = pieces(&plan).map(|piece| piece.len()).sum();
    assert!(length * 8 < json.len(), "{} bytes of JSON are texts of {length}", json.len());
}
