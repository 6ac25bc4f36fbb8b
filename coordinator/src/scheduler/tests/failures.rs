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
    let message = "it broke (attempt 3 alone, the last allowed)";
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
                let (is_poison, outcome) = (ended == trial(3), outcome.unpack());
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
    let lost = |id: &str| format!("on {id}.example: worker {id}.example ({id}) was lost");
    let evidence = ["w0", "w1", "w2"].map(lost).join("; ");
    let message = format!("it failed permanently after 3 attempts alone, on 3 workers: {evidence}");
    lab.expect_trial("s", 0, &StageOutcome::Failed(Failure::new(FailureClass::Poison, message)));
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

#[test]
fn a_stage_that_failed_goes_to_another_worker_if_there_is_one() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("a", 2);
    let fails = |lab: &mut Lab, given: &Given| lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
    let given = lab.next_lease();
    fails(&mut lab, &given);
    // There is no other.
    let given = lab.next_lease();
    assert_eq!((given.worker.as_str(), given.stages[0]), ("a", (key, 2)));
    lab.join("b", 1);
    fails(&mut lab, &given);
    let given = lab.next_lease();
    assert_eq!((given.worker.as_str(), given.stages[0]), ("b", (key, 3)));
    // Handed back is not failed: it may be the other's again.
    lab.leave("b", Departure::Drained);
    let given = lab.next_lease();
    assert_eq!(given.worker.as_str(), "a");
    lab.complete(&given);
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_worker_on_which_a_stage_failed_does_other_work_first_and_takes_it_when_the_others_are_busy() {
    let mut lab = Lab::new(Policy::default());
    let mut plan = PlanBuilder::default();
    let keys = ["0", "1", "2"].map(|target| plan.prepare(target));
    for key in keys {
        plan.trial(&[key]);
    }
    lab.submit(&plan.build("s"));
    lab.join("a", 1);
    lab.join("b", 1);
    let (first, second) = (lab.next_lease(), lab.next_lease());
    assert_eq!([first.keys(), second.keys()], [vec![keys[0]], vec![keys[1]]]);
    let fails = |lab: &mut Lab, given: &Given| lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
    fails(&mut lab, &first);
    let other = lab.next_lease();
    assert_eq!((other.worker.as_str(), other.keys()), ("a", vec![keys[2]]));
    // The other worker is busy, and nothing else is left.
    lab.complete(&other);
    lab.effects.retain(|effect| matches!(effect, Effect::Lease { .. }));
    let again = lab.next_lease();
    assert_eq!((again.worker.as_str(), again.keys()), ("a", vec![keys[0]]));
}

#[test]
fn a_sweep_says_how_often_its_stages_are_tried_by_what_they_fail_with() {
    let with = |id: &str, storage: Option<u32>| {
        let (plan, key) = single(id, "y");
        let mut plan = Arc::unwrap_or_clone(plan);
        plan.sweep.attempts = Attempts { storage: storage.map(lanes), ..Attempts::default() };
        (Arc::new(plan), key)
    };
    let tries = |plans: &[(Arc<PackedPlan>, StageKey)], classes: &[FailureClass]| {
        let mut lab = Lab::new(Policy::default());
        plans.iter().for_each(|(plan, _)| lab.submit(plan));
        lab.join("w", 1);
        let mut tried = 0;
        while let Some(Effect::Lease { worker, lease, stages }) = lab.effects.pop_front() {
            let class = classes[tried % classes.len()];
            tried += 1;
            lab.apply(&Given { worker, lease, stages }.ended(Some(failure(class))));
        }
        tried
    };
    use FailureClass::{Executor, Storage};
    assert_eq!(tries(&[with("s", None)], &[Storage]), 3);
    assert_eq!(tries(&[with("s", Some(1))], &[Storage]), 1);
    assert_eq!(tries(&[with("s", Some(1))], &[Executor]), 3);
    assert_eq!(tries(&[with("s", Some(5))], &[Storage]), 5);
    // Each class has its own.
    assert_eq!(tries(&[with("s", Some(5))], &[Storage, Executor]), 6);
    // Of sweeps that share a stage the most patient decides.
    assert_eq!(tries(&[with("s", Some(1)), with("t", Some(4))], &[Storage]), 4);
}

#[test]
fn what_does_not_fit_into_memory_is_tried_narrower_and_the_workers_bundles_are_narrower_from_then_on() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _, dense) = fan("s", 12);
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.calibrate("w", "dense", 8);
    let given = lab.next_lease();
    assert_eq!(given.keys(), dense[..8]);
    lab.apply(&given.ended(Some(failure(FailureClass::OutOfMemory))));
    // Those eight may still be four together; the others might have been eight, but not on this worker.
    let mut widths = vec![];
    while let Some(effect) = lab.effects.pop_front() {
        if let Effect::Lease { worker, lease, stages } = effect {
            widths.push(stages.len());
            lab.complete(&Given { worker, lease, stages });
        }
    }
    assert_eq!(widths, [4, 4, 4]);
    assert_eq!(lab.core.workers().next().expect("is there").measured[0].1, 4);
    assert_eq!(lab.core.sweep(&sweep("s")).expect("is there").state, SweepState::Completed);
}

/// A lab with a worker on which the first `count` bundles, of one stage each, fail; what else happened is forgotten.
fn faulty(count: u32) -> (Lab, Policy) {
    let policy = Policy { quarantine_after: Some(lanes(3)), quarantine_ms: 12_000, ..Policy::default() };
    let mut lab = Lab::new(policy.clone());
    let mut plan = PlanBuilder::default();
    for number in 0..10 {
        let key = plan.prepare(&format!("{number}"));
        plan.trial(&[key]);
    }
    lab.submit(&plan.build("s"));
    lab.join("bad", 1);
    lab.join("good", 1);
    lab.tick_after(0);
    for _ in 0..count {
        let lease = lab
            .effects
            .iter()
            .position(|effect| matches!(effect, Effect::Lease { worker, .. } if worker.as_str() == "bad"));
        let Some(Effect::Lease { worker, lease, stages }) = lab.effects.remove(lease.expect("it has one")) else {
            panic!("it was one")
        };
        lab.apply(&Given { worker, lease, stages }.ended(Some(failure(FailureClass::Executor))));
    }
    (lab, policy)
}

fn state_of(lab: &Lab, id: &str) -> Option<String> {
    lab.core.workers().find(|status| status.id == worker(id)).expect("is there").quarantined
}

#[test]
fn a_worker_on_which_bundle_after_bundle_fails_gets_nothing_for_a_while() {
    let (lab, _) = faulty(2);
    assert_eq!(state_of(&lab, "bad"), None);
    let (mut lab, policy) = faulty(3);
    let reason = state_of(&lab, "bad").expect("it is in quarantine");
    assert!(reason.contains("it broke"), "{reason}");
    let announced = Effect::Quarantined { worker: worker("bad"), reason };
    assert_eq!(lab.effects.pop_back(), Some(announced), "and no lease after it");
    // The other one has it all, what failed first.
    let Some(Effect::Lease { worker: good, lease, stages }) = lab.effects.pop_front() else { panic!("no lease") };
    lab.complete(&Given { worker: good, lease, stages });
    lab.effects.clear();
    // After a while it is tried again, and one more failure is enough.
    for _ in 0..2 {
        lab.tick_after(policy.quarantine_ms / 2 + 1);
        lab.heartbeat("bad");
        lab.heartbeat("good");
    }
    lab.tick_after(0);
    assert_eq!(state_of(&lab, "bad"), None);
    let given = lab.next_lease();
    assert_eq!(given.worker, worker("bad"));
    lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
    assert!(state_of(&lab, "bad").is_some());
    // Started again it is another one.
    lab.leave("bad", Departure::Drained);
    lab.effects.clear();
    lab.join("better", 1);
    assert_eq!(lab.next_lease().worker, worker("better"));
}

#[test]
fn a_worker_that_completes_something_is_well_again() {
    let (mut lab, _) = faulty(2);
    let lease = lab
        .effects
        .iter()
        .position(|effect| matches!(effect, Effect::Lease { worker, .. } if worker.as_str() == "bad"));
    let Some(Effect::Lease { worker: bad, lease, stages }) = lab.effects.remove(lease.expect("it has one")) else {
        panic!("it was one")
    };
    lab.complete(&Given { worker: bad, lease, stages });
    let Some(Effect::Lease { worker: bad, lease, stages }) = lab.effects.pop_back() else { panic!("no lease") };
    assert_eq!(bad, worker("bad"));
    lab.apply(&Given { worker: bad, lease, stages }.ended(Some(failure(FailureClass::Executor))));
    assert_eq!(state_of(&lab, "bad"), None);
}

#[test]
fn a_stage_that_fails_wherever_it_runs_brings_no_worker_into_disrepute() {
    let policy = Policy { quarantine_after: Some(lanes(2)), max_attempts: lanes(8), ..Policy::default() };
    let mut lab = Lab::new(policy);
    let (plan, _) = single("s", "y");
    lab.submit(&plan);
    lab.join("a", 1);
    lab.join("b", 1);
    for _ in 0..8 {
        let given = lab.next_lease();
        lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
    }
    assert_eq!((state_of(&lab, "a"), state_of(&lab, "b")), (None, None));
    assert!(matches!(lab.next(), Effect::TrialEnded { .. }));
}

#[test]
fn a_worker_that_is_not_fit_for_a_stage_uses_up_none_of_its_attempts_while_there_is_another() {
    let policy = Policy { quarantine_after: Some(lanes(3)), max_attempts: lanes(1), ..Policy::default() };
    let mut lab = Lab::new(policy);
    let mut plan = PlanBuilder::default();
    let [first, second] = ["x", "y"].map(|table| plan.prepare(table));
    plan.trial(&[first]).trial(&[second]);
    lab.submit(&plan.build("s"));
    lab.join("good", 1);
    lab.join("small", 1);
    let (good, small) = (lab.next_lease(), lab.next_lease());
    assert_eq!((small.worker.clone(), small.keys()), (worker("small"), vec![second]));
    // The other one is busy: the stage waits for it, though the one that is not fit is free.
    let lines = lab.journal.len();
    lab.apply(&small.ended(Some(failure(FailureClass::Unfit))));
    assert_eq!(lab.journal.len(), lines, "nothing has failed");
    let Effect::Quarantined { worker: quarantined, reason } = lab.next() else { panic!("no quarantine") };
    assert_eq!(quarantined, worker("small"));
    assert!(reason.contains("it broke"), "{reason}");
    assert!(lab.effects.is_empty(), "{:?}", lab.effects);
    lab.complete(&good);
    lab.effects.retain(|effect| matches!(effect, Effect::Lease { .. }));
    let given = lab.next_lease();
    assert_eq!((given.worker.clone(), given.keys()), (worker("good"), vec![second]));
    // Nobody is left who could make up for it.
    lab.apply(&given.ended(Some(failure(FailureClass::Unfit))));
    let Some(StageOutcome::Failed(failed)) = lab.core.outcome(&second) else { panic!("it has not failed") };
    assert_eq!(failed.class, FailureClass::Storage);
    assert!(failed.message.starts_with("it broke"), "{}", failed.message);
    lab.effects.clear();
    lab.finish();
}
