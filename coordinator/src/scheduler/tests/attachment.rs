//! Workers that come back: with their work, without it, too late, to another life, or as somebody else.

use super::*;

const WITHIN: u64 = 10_000;

fn policy() -> Policy {
    Policy { reattach_ms: WITHIN, ..Policy::default() }
}

/// A lab in which a worker of one slot has a bundle of all `count` dense stages.
fn at_work(policy: Policy, count: u64) -> (Lab, Given) {
    let mut lab = Lab::new(policy);
    let (plan, _, dense) = fan("s", count);
    lab.submit(&plan);
    lab.join("w", 1);
    let prepare = lab.next_lease();
    lab.apply(&prepare.report(0, completed(prepare.stages[0].0)));
    lab.apply(&prepare.ended(None));
    lab.calibrate("w", "dense", 64);
    let given = lab.next_lease();
    assert_eq!(given.keys(), dense);
    lab.expect_nothing();
    (lab, given)
}

/// The same lease, in the hands of the worker under its new id.
fn of(given: &Given, id: &str) -> Given {
    Given { worker: worker(id), ..given.clone() }
}

#[test]
fn a_worker_that_comes_back_in_time_goes_on_with_what_it_has() {
    let (mut lab, given) = at_work(policy(), 3);
    lab.leave("w", Departure::Disconnected);
    // Another one finds nothing to do meanwhile.
    lab.join("other", 1);
    lab.tick_after(WITHIN - 1);
    lab.expect_nothing();
    assert!(lab.core.workers().next().expect("is listed").away);
    lab.apply(&joins("w2", "w", 1, std::slice::from_ref(&given)));
    lab.expect_nothing();
    let status = lab.core.workers().find(|status| status.id == worker("w2")).expect("is listed");
    assert_eq!((status.away, status.busy_slots, status.leased_stages, status.stages_completed), (false, 1, 3, 1));
    assert_eq!(status.measured.len(), 1, "what was measured is known");
    let given = of(&given, "w2");
    for position in 0..3 {
        lab.apply(&given.report(position, completed(given.stages[position].0)));
        lab.expect_trial("s", position as u64, &completed(given.stages[position].0));
    }
    lab.expect_sweep("s", crate::scheduler::SweepState::Completed);
    lab.apply(&given.ended(None));
    lab.finish();
}

#[test]
fn a_worker_that_does_not_come_back_was_lost() {
    let (mut lab, given) = at_work(policy(), 1);
    lab.leave("w", Departure::Disconnected);
    lab.tick_after(0);
    lab.tick_after(WITHIN);
    lab.join("other", 1);
    lab.expect_nothing();
    lab.tick_after(1);
    lab.calibrate("other", "dense", 64);
    let again = lab.next_lease();
    assert_eq!((again.keys(), again.stages[0].1), (given.keys(), 2));
    // Now it comes, and what it holds is somebody else's.
    lab.apply(&joins("w2", "w", 1, std::slice::from_ref(&given)));
    lab.expect_revoke(&of(&given, "w2"));
    // What it has done is welcome all the same, and the other one is spared the rest.
    lab.apply(&of(&given, "w2").report(0, completed(given.stages[0].0)));
    lab.expect_revoke(&again);
    lab.expect_trial("s", 0, &completed(given.stages[0].0));
    lab.expect_sweep("s", crate::scheduler::SweepState::Completed);
    lab.finish();
}

#[test]
fn another_life_of_the_coordinator_gives_workers_what_they_hold() {
    let (mut lab, given) = at_work(policy(), 3);
    lab.restart();
    lab.join("other", 1);
    lab.tick_after(WITHIN - 1);
    // Two of the three: the end of the third was recorded nowhere, nor is it under way.
    let held = Given { stages: given.stages[..2].to_vec(), ..given.clone() };
    lab.apply(&joins("w2", "w", 1, &[held]));
    lab.expect_nothing();
    lab.tick_after(1);
    lab.calibrate("other", "dense", 64);
    let rest = lab.next_lease();
    assert_eq!(rest.keys(), given.keys()[2..]);
    let given = of(&given, "w2");
    for position in 0..2 {
        lab.apply(&given.report(position, completed(given.stages[position].0)));
        lab.expect_trial("s", position as u64, &completed(given.stages[position].0));
    }
    // The very id that an earlier life gave out.
    lab.apply(&given.ended(None));
    lab.finish();
}

#[test]
fn a_life_that_finds_nothing_under_way_waits_for_nobody() {
    let mut lab = Lab::new(policy());
    lab.restart();
    let (plan, prepare, _) = fan("s", 1);
    lab.submit(&plan);
    lab.join("w", 1);
    assert_eq!(lab.next_lease().keys(), [prepare]);
    lab.finish();
}

#[test]
fn a_lease_that_never_arrived_is_handed_out_again_and_costs_no_attempt() {
    let (mut lab, given) = at_work(policy(), 2);
    lab.leave("w", Departure::Disconnected);
    lab.apply(&joins("w2", "w", 1, &[]));
    let again = lab.next_lease();
    assert_eq!(again.keys(), given.keys());
    assert_ne!(again.lease, given.lease);
    assert!(!lab.journal.iter().any(|line| line.contains("attempt_failed")));
    lab.finish();
}

#[test]
fn a_worker_may_be_back_before_anybody_notices_that_it_was_gone() {
    let (mut lab, given) = at_work(policy(), 2);
    lab.apply(&joins("w2", "w", 1, std::slice::from_ref(&given)));
    let Effect::Detach { worker: detached, .. } = lab.next() else { panic!("the first attachment stays") };
    assert_eq!(detached, worker("w"));
    // The end of the old stream is noticed now.
    lab.leave("w", Departure::Disconnected);
    lab.apply(&of(&given, "w2").ended(None));
    assert_eq!(lab.core.ready_stages(), 2);
    lab.finish();
}

#[test]
fn nobody_gets_what_another_one_holds_or_what_was_never_given_out() {
    let (mut lab, given) = at_work(policy(), 2);
    let life = given.lease.as_str().split('-').next().expect("a life").parse::<u32>().expect("a number");
    let lease = |text: String| Given { lease: text.parse().expect("an id"), ..given.clone() };
    let future = [lease(format!("{life}-999")), lease(format!("{}-0", life + 1)), lease("x".to_owned())];
    lab.apply(&joins("thief", "thief", 4, &[&future[..], std::slice::from_ref(&given)].concat()));
    // Of what is no lease at all nothing needs to be said.
    for given in [&given, &future[0], &future[1]] {
        lab.expect_revoke(&of(given, "thief"));
    }
    assert_eq!(lab.core.stages_of(&given.lease), given.keys());
    assert_eq!(lab.core.workers().find(|status| status.name == "thief.example").expect("is there").busy_slots, 0);
    lab.finish();
}

#[test]
fn a_revocation_that_got_lost_is_said_again() {
    let (mut lab, given) = at_work(policy(), 2);
    lab.leave("w", Departure::Disconnected);
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    for number in 0..2 {
        lab.expect_trial("s", number, &StageOutcome::Cancelled);
    }
    lab.expect_revoke(&given);
    lab.expect_sweep("s", crate::scheduler::SweepState::Cancelled);
    lab.apply(&joins("w2", "w", 1, std::slice::from_ref(&given)));
    lab.expect_revoke(&of(&given, "w2"));
    lab.apply(&of(&given, "w2").ended(None));
    lab.finish();
}

#[test]
fn a_worker_that_does_not_confirm_a_revocation_is_taken_for_dead() {
    let (mut lab, given) = at_work(Policy { unconfirmed_ms: 5_000, ..policy() }, 1);
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    lab.effects.clear();
    lab.tick_after(0);
    lab.tick_after(1_000);
    lab.tick_after(5_000);
    lab.heartbeat("w");
    lab.expect_nothing();
    lab.tick_after(1);
    let Effect::Detach { worker: detached, .. } = lab.next() else { panic!("it stays") };
    assert_eq!(detached, given.worker);
    lab.finish();
}

#[test]
fn a_draining_worker_gets_nothing_new_and_its_results_count() {
    let (mut lab, given) = at_work(policy(), 2);
    lab.apply(&Event::WorkerDraining { worker: worker("w") });
    let (more, prepare) = single("t", "z");
    lab.submit(&more);
    lab.apply(&given.report(0, completed(given.stages[0].0)));
    lab.expect_trial("s", 0, &completed(given.stages[0].0));
    lab.apply(&given.ended(None));
    lab.leave("w", Departure::Disconnected);
    lab.expect_nothing();
    assert_eq!(lab.core.workers().count(), 0, "nothing is kept for it");
    assert!(!lab.journal.iter().any(|line| line.contains("attempt_failed")));
    lab.join("next", 2);
    // The sweep that has had nothing yet goes first.
    assert_eq!(lab.next_lease().keys(), [prepare]);
    lab.calibrate("next", "dense", 64);
    assert!(lab.next_lease().keys().contains(&given.stages[1].0));
    lab.finish();
}

#[test]
fn progress_is_a_sign_of_life_of_its_lease() {
    let (mut lab, given) = at_work(Policy { stuck_ms: Some(8_000), ..policy() }, 1);
    lab.tick_after(0);
    for _ in 0..4 {
        lab.tick_after(5_000);
        lab.apply(&Event::Progressed { worker: worker("w"), stage: given.stages[0].0 });
    }
    lab.expect_nothing();
    for _ in 0..2 {
        lab.tick_after(5_000);
        lab.heartbeat("w");
    }
    lab.expect_revoke(&given);
    lab.finish();
}

#[test]
fn a_worker_that_had_dropped_what_is_taken_for_its_own_again_still_gets_work() {
    let (mut lab, given) = at_work(policy(), 2);
    lab.restart();
    // It was told to drop the lease by an attachment that broke before it could say so, and says both now.
    lab.apply(&joins("w2", "w", 1, std::slice::from_ref(&given)));
    lab.apply(&of(&given, "w2").ended(None));
    assert!(!lab.core.workers().next().expect("is there").leaving);
    lab.tick_after(0);
    for _ in 0..3 {
        lab.tick_after(WITHIN / 2);
        lab.heartbeat("w2");
    }
    lab.calibrate("w2", "dense", 64);
    assert_eq!(lab.next_lease().keys(), given.keys());
    lab.finish();
}

#[test]
fn a_failure_counts_once_however_often_it_is_said_and_whoever_hears_it() {
    let whole = |given: &Given| given.ended(Some(failure(FailureClass::Executor)));
    let alone = |given: &Given| given.report(0, StageOutcome::Failed(failure(FailureClass::Storage)));
    for (count, said) in [(3, &whole as &dyn Fn(&Given) -> Event), (1, &alone)] {
        let (mut lab, given) = at_work(policy(), count);
        let counted = |lab: &Lab| -> Vec<u32> {
            let keys = given.keys();
            keys.iter().map(|key| lab.core.stage_detail(key).expect("is known").failed_attempts).collect()
        };
        // The answer does not get through: the stream breaks, or the coordinator dies.
        lab.apply(&said(&given));
        lab.effects.clear();
        for life in 0..3 {
            lab.restart();
            let id = format!("w{life}");
            lab.apply(&joins(&id, "w", 1, std::slice::from_ref(&given)));
            lab.expect_nothing();
            lab.apply(&said(&of(&given, &id)));
            assert_eq!(counted(&lab), vec![1; given.stages.len()]);
        }
        lab.leave("w2", Departure::Lost);
        // Another attempt is another one.
        lab.join("other", 1);
        lab.tick_after(WITHIN);
        lab.calibrate("other", "dense", 64);
        let again = lab.next_lease();
        assert_ne!(again.lease, given.lease);
        lab.apply(&said(&again));
        assert_eq!(counted(&lab)[0], 2);
        lab.effects.clear();
        lab.finish();
    }
}
