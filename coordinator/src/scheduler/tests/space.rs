//! Full disks, and the pause before what failed on a worker is tried there again.

use super::*;
use crate::{
    queries::explanation,
    scheduler::{StageStatus, SweepState, SweepStatus},
};

/// Two stages, each with a worker of its own.
fn two(policy: Policy) -> (Lab, Arc<PackedPlan>, [Given; 2]) {
    let mut lab = Lab::new(policy);
    let mut plan = PlanBuilder::default();
    let keys = ["x", "y"].map(|target| plan.prepare(target));
    plan.trial(&[keys[0]]).trial(&[keys[1]]);
    let plan = plan.build("s");
    lab.submit(&plan);
    lab.join("a", 1);
    lab.join("b", 1);
    let given = [lab.next_lease(), lab.next_lease()];
    lab.tick_after(0);
    (lab, plan, given)
}

fn cluster() -> Policy {
    Policy { quarantine_after: Some(lanes(3)), max_attempts: lanes(1), ..Policy::default() }
}

fn full() -> StageOutcome {
    StageOutcome::Failed(Failure::new(FailureClass::NoSpace, "no space left"))
}

fn status(lab: &Lab) -> SweepStatus {
    lab.core.sweep(&sweep("s")).expect("is there")
}

/// What was handed out.
fn leases(lab: &mut Lab) -> Vec<Given> {
    let effects = std::mem::take(&mut lab.effects).into_iter();
    let lease = |effect| match effect {
        Effect::Lease { worker, lease, stages } => Some(Given { worker, lease, stages }),
        _ => None,
    };
    effects.filter_map(lease).collect()
}

#[test]
fn what_one_worker_has_no_room_for_another_one_does() {
    let (mut lab, _, [a, b]) = two(cluster());
    let lines = lab.journal.len();
    lab.apply(&a.report(0, full()));
    lab.apply(&a.ended(None));
    assert_eq!(lab.journal.len(), lines, "nobody's attempt has failed");
    let reason = "its disk is full: no space left".to_owned();
    assert_eq!(lab.next(), Effect::Quarantined { worker: worker("a"), reason });
    lab.expect_nothing();
    assert_eq!(status(&lab).held, None, "another one works");
    lab.complete(&b);
    let given = leases(&mut lab);
    assert_eq!((given.len(), given[0].worker.as_str(), given[0].keys()), (1, "b", a.keys()));
    lab.complete(&given[0]);
    assert_eq!(status(&lab).state, SweepState::Completed);
    lab.effects.clear();
    lab.finish();
}

#[test]
fn where_all_disks_are_full_the_sweep_waits_and_says_so_and_nothing_fails() {
    let (mut lab, plan, [a, b]) = two(cluster());
    lab.apply(&a.ended(Some(failure(FailureClass::NoSpace))));
    lab.apply(&b.ended(Some(failure(FailureClass::NoSpace))));
    assert!(leases(&mut lab).is_empty());
    assert_eq!(status(&lab).state, SweepState::Running);
    let held = "worker a.example is quarantined: its disk is full: it broke (and all other workers, 1, are cordoned or quarantined)";
    assert_eq!(status(&lab).held.as_deref(), Some(held));
    // A person says that there is room.
    lab.apply(&Event::SweepRetried { sweep: plan.sweep.id.clone() });
    assert_eq!(status(&lab).held, None);
    let given = leases(&mut lab);
    assert_eq!(given.len(), 2);
    // Nobody says so, and time passes.
    for given in given {
        lab.apply(&given.ended(Some(failure(FailureClass::NoSpace))));
    }
    assert!(leases(&mut lab).is_empty());
    for _ in 0..70 {
        lab.tick_after(9_000);
        lab.heartbeat("a");
        lab.heartbeat("b");
    }
    for given in leases(&mut lab) {
        assert_eq!(given.stages[0].1, 3, "two attempts, none of which has failed");
        lab.complete(&given);
    }
    assert_eq!(status(&lab).state, SweepState::Completed);
    lab.effects.clear();
    lab.finish();
}

#[test]
fn while_results_wait_for_room_nothing_is_handed_out_and_what_is_under_way_goes_on() {
    let (mut lab, _, [a, b]) = two(cluster());
    let (more, other) = single("more", "z");
    let waits = Event::ResultWaits { worker: worker("a"), stage: a.stages[0].0, bytes: 1 };
    lab.apply(&waits);
    assert_eq!(lab.next(), Effect::Full(true));
    lab.submit(&more);
    lab.complete(&b);
    assert!(leases(&mut lab).is_empty(), "b is free, and the coordinator has no room");
    assert!(status(&lab).held.expect("is held").contains("coordinator's disk is full"));
    let workers: Vec<_> = lab.core.workers().collect();
    let said = explanation::worker::sentences(&lab.core, &workers[1]).join(" ");
    assert!(said.contains("work is held"), "{said}");
    // It is said again, and so it stays.
    for _ in 0..10 {
        lab.tick_after(5_000);
        lab.heartbeat("b");
        lab.apply(&waits);
    }
    lab.expect_nothing();
    // There is room: the result comes.
    lab.complete(&a);
    assert_eq!(status(&lab).state, SweepState::Completed);
    assert!(lab.effects.contains(&Effect::Full(false)));
    assert_eq!(leases(&mut lab)[0].keys(), [other]);
    // What waits of a stage that has ended holds up nobody.
    lab.apply(&waits);
    assert!(!lab.core.is_full());
    lab.finish();
}

#[test]
fn a_worker_that_said_that_a_result_waits_and_is_silent_holds_up_nobody_for_long() {
    let (mut lab, _, [a, b]) = two(cluster());
    let (more, other) = single("more", "z");
    lab.submit(&more);
    lab.apply(&Event::ResultWaits { worker: worker("a"), stage: a.stages[0].0, bytes: 1 });
    lab.complete(&b);
    lab.effects.clear();
    for _ in 0..3 {
        lab.tick_after(5_000);
        lab.heartbeat("b");
        lab.expect_nothing();
    }
    lab.tick_after(1);
    assert!(lab.effects.contains(&Effect::Full(false)));
    assert!(leases(&mut lab).iter().any(|given| given.worker == worker("b") && given.keys() == [other]));
    lab.finish();
}

#[test]
fn a_result_that_waits_is_one_of_a_known_worker_and_a_known_stage() {
    let (mut lab, _, [a, _]) = two(cluster());
    let (_, unknown) = single("other", "z");
    let stage = a.stages[0].0;
    let refused = lab.rejects(&Event::ResultWaits { worker: worker("nobody"), stage, bytes: 1 });
    assert_eq!(refused, Rejection::UnknownWorker(worker("nobody")));
    let refused = lab.rejects(&Event::ResultWaits { worker: worker("a"), stage: unknown, bytes: 1 });
    assert_eq!(refused, Rejection::UnknownStage(unknown));
}

#[test]
fn what_failed_on_the_only_worker_is_tried_again_after_a_pause_that_doubles() {
    let mut lab = Lab::new(Policy { pause_ms: 1_000, max_attempts: lanes(4), ..Policy::default() });
    let (plan, key) = single("s", "x");
    lab.submit(&plan);
    lab.join("w", 1);
    lab.tick_after(0);
    for pause in [1_000, 2_000, 4_000] {
        let given = lab.next_lease();
        lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
        lab.tick_after(pause - 1);
        lab.expect_nothing();
        assert_eq!(lab.core.stage(&key), Some(StageStatus::Ready));
        let said = explanation::sweep::Standing::of(&lab.core, &sweep("s")).expect("is there").sentences().join(" ");
        assert!(said.contains("failed stages are retried on worker w.example (w) in a moment"), "{said}");
        lab.tick_after(1);
    }
    let given = lab.next_lease();
    lab.complete(&given);
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_worker_that_rests_does_other_work_and_another_worker_need_not_wait() {
    let mut lab = Lab::new(Policy { pause_ms: 1_000, ..Policy::default() });
    let (plan, key) = single("s", "x");
    let (more, other) = single("more", "y");
    lab.submit(&plan);
    lab.join("a", 1);
    let given = lab.next_lease();
    lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
    lab.expect_nothing();
    lab.submit(&more);
    assert_eq!(lab.next_lease().keys(), [other]);
    lab.join("b", 1);
    assert_eq!(lab.next_lease().keys(), [key]);
    lab.finish();
}

#[test]
fn while_the_coordinators_disk_is_nearly_full_nothing_is_handed_out() {
    let (mut lab, _, [a, b]) = two(cluster());
    let (more, other) = single("more", "z");
    let checked = |is_enough| Event::RoomChecked { is_enough };
    lab.apply(&checked(true));
    lab.expect_nothing();
    lab.apply(&checked(false));
    assert_eq!(lab.next(), Effect::Full(true));
    lab.submit(&more);
    lab.complete(&a);
    lab.complete(&b);
    assert!(leases(&mut lab).is_empty());
    // It stays so as long as it is said, and a result that waits is another matter.
    for _ in 0..5 {
        lab.tick_after(5_000);
        lab.heartbeat("a");
        lab.heartbeat("b");
        lab.apply(&checked(false));
        lab.expect_nothing();
    }
    lab.apply(&Event::ResultWaits { worker: worker("a"), stage: other, bytes: 1 });
    lab.apply(&checked(true));
    lab.expect_nothing();
    lab.apply(&checked(false));
    lab.apply(&checked(true));
    assert_eq!(lab.next(), Effect::Full(false));
    assert_eq!(lab.next_lease().keys(), [other]);
    lab.finish();
}

#[test]
fn room_is_wanted_for_the_largest_file_that_found_none_until_there_is_some() {
    let (mut lab, _, [a, b]) = two(cluster());
    for (given, bytes) in [(&a, 7), (&b, 5)] {
        lab.apply(&Event::ResultWaits { worker: given.worker.clone(), stage: given.stages[0].0, bytes });
    }
    assert_eq!(lab.core.room_wanted(), 7);
    // Whoever keeps it may be gone.
    lab.leave("a", Departure::Drained);
    lab.leave("b", Departure::Drained);
    lab.apply(&Event::RoomChecked { is_enough: false });
    assert_eq!(lab.core.room_wanted(), 7);
    lab.apply(&Event::RoomChecked { is_enough: true });
    assert_eq!((lab.core.is_full(), lab.core.room_wanted()), (false, 0));
}

#[test]
fn stages_that_failed_together_are_tried_again_together() {
    let mut lab = Lab::new(Policy { pause_ms: 1_000, ..Policy::default() });
    let mut plan = PlanBuilder::default();
    let keys = ["x", "y", "z"].map(|table| plan.prepare(table));
    for key in keys {
        plan.trial(&[key]);
    }
    lab.submit(&plan.build("s"));
    lab.join("w", 1);
    lab.tick_after(0);
    // Three attempts each, and two pauses in all.
    for pause in [1_000, 2_000, 0] {
        let mut failed = vec![];
        for _ in keys {
            let lease = leases(&mut lab).pop().expect("the next one at once");
            failed.extend(lease.keys());
            lab.apply(&lease.ended(Some(failure(FailureClass::Storage))));
        }
        assert_eq!(failed, keys);
        lab.tick_after(pause);
    }
    assert_eq!(status(&lab).state, SweepState::Completed);
    lab.effects.clear();
    lab.finish();
}
