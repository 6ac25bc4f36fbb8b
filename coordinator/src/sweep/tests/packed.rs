//! What is packed is what is unpacked, in memory and as text, and what contradicts itself is not packed.

use proptest::prelude::*;
use secateur_proto::ids::StageKey;

use super::{properties::files, *};
use crate::sweep::plan::{InvalidPlan, PackedPlan};

fn packed(plan: &Plan) -> PackedPlan {
    PackedPlan::of(plan).expect("a plan of the planner's does not contradict itself")
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
        prop_assert_eq!(&serde_json::from_str::<PackedPlan>(&json).expect("a plan"), &packed);
        prop_assert_eq!(&PackedPlan::from_text(&packed.as_text().to_string()).expect("a plan"), &packed);

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
        }
    }
}

#[test]
fn a_plan_that_contradicts_itself_is_not_packed() {
    type Break = fn(&mut Plan);
    let broken: [(&str, Break); 7] = [
        ("before its parent", |plan| plan.stages.reverse()),
        ("without it", |plan| drop(plan.stages.remove(0))),
        ("is there twice", |plan| plan.stages.push(plan.stages[0].clone())),
        ("is there twice", |plan| plan.trials.push(plan.trials[0].clone())),
        ("has no stage", |plan| plan.trials[0].stages.clear()),
        ("not in the plan", |plan| plan.trials[0].stages[0] = StageKey(ContentHash::of(b"other"))),
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
fn a_text_that_is_no_plan_is_refused() {
    let text = packed(&planned(SMALL)).as_text().to_string();
    for damaged in ["", "?", "AAAA", &text[..text.len() / 2], &text[4..]] {
        assert!(PackedPlan::from_text(damaged).is_err(), "{damaged:?}");
    }
}

#[test]
fn a_long_plan_is_a_short_text() {
    let plan = planned(&small_with(&["seeds: 500"]));
    let (json, text) = (serde_json::to_string(&plan).expect("plain data"), packed(&plan).as_text().to_string());
    assert!(text.len() * 5 < json.len(), "{} bytes of JSON are a text of {}", json.len(), text.len());
}
