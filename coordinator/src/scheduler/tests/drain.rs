//! Sweeps that drain: what is under way ends, nothing more begins, and then they are cancelled.

use super::*;
use crate::scheduler::{StageStatus, SweepState};

/// A sweep of `count` stages that run alone and wait for nothing.
fn alone(id: &str, count: usize) -> (Arc<PackedPlan>, Vec<StageKey>) {
    let mut plan = PlanBuilder::default();
    let keys: Vec<_> = (0..count).map(|number| plan.prepare(&number.to_string())).collect();
    for key in &keys {
        plan.trial(&[*key]);
    }
    (plan.build(id), keys)
}

fn drain(id: &str) -> Event {
    Event::SweepDrainAsked { sweep: sweep(id), by: None }
}

fn drains(lab: &Lab, id: &str) -> bool {
    lab.core.sweep(&sweep(id)).expect("is there").share.drains
}

#[test]
fn what_is_under_way_ends_and_nothing_else_begins() {
    let mut lab = Lab::new(Policy::default());
    let (plan, keys) = alone("s", 4);
    lab.submit(&plan);
    lab.join("w", 2);
    let (first, second) = (lab.next_lease(), lab.next_lease());
    lab.apply(&drain("s"));
    assert!(drains(&lab, "s"));
    lab.expect_nothing();
    lab.complete(&first);
    lab.expect_trial("s", 0, &completed(keys[0]));
    // A slot is free, and stays so; also for whoever else comes.
    lab.join("v", 3);
    lab.tick_after(1);
    lab.expect_nothing();
    // What fails is not tried again.
    lab.apply(&second.ended(Some(failure(FailureClass::Executor))));
    lab.expect_nothing();
    lab.tick_after(1);
    for number in 1..4 {
        lab.expect_trial("s", number, &StageOutcome::Cancelled);
    }
    lab.expect_sweep("s", SweepState::Cancelled);
    assert!(!drains(&lab, "s"));
    lab.finish();
}

#[test]
fn a_sweep_for_which_nothing_runs_is_cancelled_at_once() {
    let mut lab = Lab::new(Policy::default());
    let (plan, keys) = alone("s", 1);
    assert_eq!(lab.rejects(&drain("s")), Rejection::UnknownSweep(sweep("s")));
    lab.submit(&plan);
    lab.apply(&drain("s"));
    lab.expect_trial("s", 0, &StageOutcome::Cancelled);
    lab.expect_sweep("s", SweepState::Cancelled);
    lab.apply(&drain("s"));
    lab.expect_nothing();
    lab.submit(&plan);
    lab.stop("s");
    lab.expect_sweep("s", SweepState::Stopped { reason: "no room".to_owned() });
    lab.apply(&drain("s"));
    lab.expect_trial("s", 0, &StageOutcome::Cancelled);
    lab.expect_sweep("s", SweepState::Cancelled);
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&drain("s"));
    // It completes, since that was all.
    lab.complete(&given);
    lab.expect_trial("s", 0, &completed(keys[0]));
    lab.expect_sweep("s", SweepState::Completed);
    assert_eq!(lab.rejects(&drain("s")), Rejection::NotRunning { sweep: sweep("s"), state: "completed" });
    lab.finish();
}

#[test]
fn submitted_again_or_retried_it_goes_on_and_cancelled_it_ends_at_once() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _) = alone("s", 3);
    lab.submit(&plan);
    lab.join("w", 1);
    let first = lab.next_lease();
    lab.apply(&drain("s"));
    // Another share is no reason to go on.
    lab.apply(&Event::SweepShareChanged {
        sweep: sweep("s"),
        share: ShareChange { priority: Some(7), ..ShareChange::default() },
    });
    assert!(drains(&lab, "s"));
    lab.submit(&plan);
    assert!(!drains(&lab, "s"));
    lab.complete(&first);
    lab.next();
    let second = lab.next_lease();
    lab.apply(&drain("s"));
    lab.apply(&Event::SweepRetried { sweep: sweep("s") });
    assert!(!drains(&lab, "s"));
    lab.complete(&second);
    lab.next();
    let third = lab.next_lease();
    lab.apply(&drain("s"));
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    lab.expect_trial("s", 2, &StageOutcome::Cancelled);
    lab.expect_revoke(&third);
    lab.expect_sweep("s", SweepState::Cancelled);
    lab.finish();
}

#[test]
fn a_stage_that_another_sweep_wants_too_runs_for_that_one_and_is_waited_for() {
    let mut lab = Lab::new(Policy::default());
    let ((first, keys), (second, _)) = (alone("first", 3), alone("second", 2));
    lab.submit(&first);
    lab.submit(&second);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&drain("first"));
    lab.complete(&given);
    lab.expect_trial("first", 0, &completed(keys[0]));
    lab.expect_trial("second", 0, &completed(keys[0]));
    let given = lab.next_lease();
    assert_eq!((given.keys(), lab.core.sweep(&sweep("first")).expect("is there").workers), (vec![keys[1]], 0));
    lab.tick_after(1);
    lab.tick_after(1);
    lab.expect_nothing();
    lab.complete(&given);
    lab.expect_trial("first", 1, &completed(keys[1]));
    lab.expect_trial("second", 1, &completed(keys[1]));
    lab.expect_sweep("second", SweepState::Completed);
    lab.tick_after(1);
    lab.expect_trial("first", 2, &StageOutcome::Cancelled);
    lab.expect_sweep("first", SweepState::Cancelled);
    lab.finish();
}

/// The lease was given out for a sweep that is gone, or that drains, too.
#[test]
fn a_stage_that_began_for_another_sweep_ends_first() {
    for other_drains in [false, true] {
        let mut lab = Lab::new(Policy::default());
        let ((first, keys), (second, _)) = (alone("first", 1), alone("second", 1));
        lab.submit(&first);
        lab.submit(&second);
        lab.join("w", 1);
        let given = lab.next_lease();
        if other_drains {
            lab.apply(&drain("first"));
        } else {
            lab.apply(&Event::SweepCancelled { sweep: sweep("first"), by: None });
            lab.expect_trial("first", 0, &StageOutcome::Cancelled);
            lab.expect_sweep("first", SweepState::Cancelled);
        }
        lab.apply(&drain("second"));
        lab.tick_after(1);
        lab.tick_after(1);
        lab.expect_nothing();
        lab.complete(&given);
        for id in if other_drains { &["first", "second"][..] } else { &["second"] } {
            lab.expect_trial(id, 0, &completed(keys[0]));
            lab.expect_sweep(id, SweepState::Completed);
        }
        lab.finish();
    }
}

/// What drains is no reason for wider bundles: the stages that are handed out are shared out evenly.
#[test]
fn slots_share_what_is_handed_out() {
    let nets = |id: &str, count| {
        let mut plan = PlanBuilder::default();
        let prepare = plan.prepare(id);
        for seed in 0..count {
            let dense = plan.dense(prepare, seed);
            plan.trial(&[prepare, dense]);
        }
        plan.build(id)
    };
    let mut lab = Lab::new(Policy::default());
    lab.submit(&nets("drained", 40));
    lab.join("u", 1);
    let prepared = lab.next_lease();
    lab.complete(&prepared);
    lab.calibrate("u", "dense", 8);
    assert_eq!(lab.next_lease().stages.len(), 8);
    lab.apply(&drain("drained"));
    assert_eq!(lab.core.ready_stages(), 0);
    lab.submit(&nets("wanted", 4));
    lab.join("v", 1);
    lab.join("w", 1);
    let prepared = lab.next_lease();
    lab.complete(&prepared);
    // Four among three slots, and then two.
    for (name, width) in [("w", 2), ("v", 1)] {
        lab.calibrate(name, "dense", 8);
        let given = lab.effects.pop_back().expect("a lease");
        assert!(matches!(&given, Effect::Lease { stages, .. } if stages.len() == width), "{given:?}");
    }
    lab.finish();
}

#[test]
fn a_restart_waits_for_who_works_on_it_and_goes_on_draining() {
    let mut lab = Lab::new(Policy { reattach_ms: 10_000, ..Policy::default() });
    let (plan, keys) = alone("s", 2);
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&drain("s"));
    lab.restart();
    assert!(drains(&lab, "s"));
    lab.tick_after(1);
    lab.tick_after(5_000);
    lab.expect_nothing();
    lab.apply(&joins("again", "w", 1, std::slice::from_ref(&given)));
    lab.tick_after(6_000);
    lab.heartbeat("again");
    lab.tick_after(1);
    lab.expect_nothing();
    assert!(matches!(lab.core.stage(&keys[0]), Some(StageStatus::Leased { .. })));
    let given = Given { worker: worker("again"), ..given };
    lab.complete(&given);
    lab.expect_trial("s", 0, &completed(keys[0]));
    lab.tick_after(1);
    lab.expect_trial("s", 1, &StageOutcome::Cancelled);
    lab.expect_sweep("s", SweepState::Cancelled);
    lab.finish();
}

#[test]
fn a_share_of_a_journal_that_knows_no_draining_is_read() {
    let share: Share = serde_json::from_str(r#"{"priority":3,"max_workers":null}"#).expect("a share");
    assert_eq!(share, Share { priority: 3, ..Share::default() });
    assert_eq!(serde_json::to_string(&share).expect("text"), r#"{"priority":3,"max_workers":null}"#);
}
