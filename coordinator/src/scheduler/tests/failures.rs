//! Attempts that fail: whose failure it was, and when it is enough.

use super::*;
use crate::scheduler::SweepState;

#[test]
fn a_stage_that_fails_alone_is_tried_so_many_times() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    for attempt in 1..=3 {
        let given = lab.next_lease();
        assert_eq!(given.stages, [(key, attempt)]);
        lab.apply(&given.report(0, StageOutcome::Failed(failure(FailureClass::Storage))));
        if attempt < 3 {
            lab.apply(&given.ended(None));
        }
    }
    let message = "it broke (attempt 3 alone, the last one allowed)";
    let outcome = StageOutcome::Failed(Failure::new(FailureClass::Storage, message));
    lab.expect_trial("s", 0, &outcome);
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_failure_that_another_attempt_would_meet_again_ends_the_stage_and_those_below_it() {
    // prepare (fails) ──▶ dense ──▶ prune
    let mut plan = PlanBuilder::default();
    let prepare = plan.prepare("y");
    let dense = plan.dense(prepare, 0);
    let prune = plan.prune(prepare, dense, 1);
    plan.trial(&[prepare, dense, prune]);
    let mut lab = Lab::new(Policy::default());
    lab.submit(&plan.build("s"));
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&given.report(0, StageOutcome::Failed(failure(FailureClass::Input))));
    let message = format!("stage {}, which this one reads, failed: it broke", prepare.0.short(12));
    let upstream = StageOutcome::Failed(Failure::new(FailureClass::Upstream, message));
    assert_eq!(lab.core.outcome(&dense), Some(upstream.clone()));
    lab.expect_trial("s", 0, &upstream);
    lab.expect_sweep("s", SweepState::Completed);
    lab.apply(&given.ended(None));
    // A sweep that comes later and has new stages below it ends at once.
    let mut plan = PlanBuilder::default();
    plan.prepare("y");
    let other = plan.dense(prepare, 1);
    plan.trial(&[prepare, other]);
    lab.submit(&plan.build("later"));
    lab.expect_trial("later", 0, &upstream);
    lab.expect_sweep("later", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_poisonous_lane_ends_alone_and_its_neighbours_complete() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _, dense) = fan("s", 8);
    let poison = dense[3];
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.calibrate("w", "dense", 8);
    let mut widths_of_poison = vec![];
    let mut failed = 0;
    while let Some(effect) = lab.effects.pop_front() {
        match effect {
            Effect::Lease { worker, lease, stages } => {
                let given = Given { worker, lease, stages };
                if given.keys().contains(&poison) {
                    widths_of_poison.push(given.stages.len());
                    // The executor dies before any lane is done.
                    lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
                } else {
                    lab.complete(&given);
                }
            }
            Effect::TrialEnded { trial: ended, outcome, .. } => {
                let is_poison = ended == trial(3);
                assert_eq!(matches!(outcome, StageOutcome::Failed(_)), is_poison, "{ended}: {outcome:?}");
                failed += u32::from(is_poison);
            }
            Effect::SweepEnded { state, .. } => assert_eq!(state, SweepState::Completed),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(widths_of_poison, [8, 4, 2, 1, 1, 1]);
    assert_eq!(failed, 1);
    lab.finish();
}

#[test]
fn a_bundle_that_fails_for_good_is_taken_apart_before_anyone_is_blamed() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _, dense) = fan("s", 2);
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.calibrate("w", "dense", 2);
    let both = lab.next_lease();
    assert_eq!(both.keys(), dense);
    lab.apply(&both.ended(Some(failure(FailureClass::Internal))));
    let first = lab.next_lease();
    assert_eq!(first.stages, [(dense[0], 2)]);
    lab.apply(&first.ended(Some(failure(FailureClass::Internal))));
    lab.expect_trial("s", 0, &StageOutcome::Failed(failure(FailureClass::Internal)));
    let second = lab.next_lease();
    lab.complete(&second);
    lab.expect_trial("s", 1, &completed(dense[1]));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_lane_that_fails_by_itself_leaves_its_bundle_alone() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _, dense) = fan("s", 2);
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.calibrate("w", "dense", 2);
    let both = lab.next_lease();
    lab.apply(&both.report(0, StageOutcome::Failed(failure(FailureClass::Executor))));
    lab.apply(&both.report(1, completed(dense[1])));
    lab.expect_trial("s", 1, &completed(dense[1]));
    lab.apply(&both.ended(None));
    let again = lab.next_lease();
    assert_eq!(again.stages, [(dense[0], 2)]);
    lab.complete(&again);
    lab.expect_trial("s", 0, &completed(dense[0]));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_stage_that_kills_its_workers_ends() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _) = single("s", "y");
    lab.submit(&plan);
    for number in 0..3 {
        let id = format!("w{number}");
        lab.join(&id, 1);
        lab.next_lease();
        lab.leave(&id, Departure::Lost);
    }
    let message = "worker w2.example (w2) was lost (attempt 3 alone, the last one allowed)";
    lab.expect_trial("s", 0, &StageOutcome::Failed(Failure::new(FailureClass::Executor, message)));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_drained_worker_and_a_restart_count_for_nothing() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    for number in 0..5 {
        let id = format!("w{number}");
        lab.join(&id, 1);
        lab.next_lease();
        lab.leave(&id, Departure::Drained);
        lab.join("other", 1);
        lab.next_lease();
        lab.restart();
    }
    lab.join("last", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}
