//! Workers: calibrated, given their share, silent, stuck, leaving.

use super::*;
use crate::scheduler::SweepState;

/// A lab in which `count` dense stages are ready and nobody is there.
fn ready(policy: Policy, count: u64) -> (Lab, Vec<StageKey>) {
    let mut lab = Lab::new(policy);
    let (plan, _, dense) = fan("s", count);
    lab.submit(&plan);
    lab.join("first", 1);
    let given = lab.next_lease();
    lab.apply(&given.report(0, completed(given.stages[0].0)));
    lab.leave("first", Departure::Drained);
    lab.expect_nothing();
    (lab, dense)
}

#[test]
fn a_class_is_calibrated_once_and_takes_a_slot_meanwhile() {
    let (mut lab, dense) = ready(Policy::default(), 10);
    lab.join("w", 2);
    let Effect::Calibrate { stage, .. } = lab.next() else { panic!("no calibration") };
    assert_eq!(stage, dense[0]);
    lab.expect_nothing();
    assert_eq!(lab.core.workers().next().expect("a worker").busy_slots, 1);
    lab.answer("w", "dense", 3);
    assert_eq!(lab.next_lease().keys(), dense[..3]);
    assert_eq!(lab.next_lease().keys(), dense[3..6]);
    lab.expect_nothing();
    lab.finish();
}

#[test]
fn a_slot_gets_no_more_than_its_share() {
    let (mut lab, dense) = ready(Policy::default(), 10);
    lab.join("a", 2);
    lab.join("b", 1);
    lab.calibrate("a", "dense", 64);
    // Ten stages, three slots: one of them not calibrated yet, and counted all the same.
    assert_eq!(lab.next(), calibration("b", dense[0]));
    assert_eq!(lab.next_lease().keys(), dense[..4]);
    assert_eq!(lab.next_lease().keys(), dense[4..8]);
    lab.answer("b", "dense", 64);
    assert_eq!(lab.next_lease().keys(), dense[8..9]);
    lab.finish();
}

fn calibration(id: &str, stage: StageKey) -> Effect {
    Effect::Calibrate { worker: worker(id), class: "dense".parse().expect("an id"), stage }
}

#[test]
fn calibrations_nobody_asked_for_are_refused() {
    let (mut lab, dense) = ready(Policy::default(), 1);
    lab.join("w", 1);
    assert_eq!(lab.next(), calibration("w", dense[0]));
    let answer = |class: &str, speed| Event::Calibrated {
        worker: worker("w"),
        class: class.parse().expect("an id"),
        lanes: lanes(1),
        lane_steps_per_second: speed,
    };
    for event in
        [answer("prune", 1.0), answer("dense", f64::NAN), answer("dense", -1.0), answer("dense", f64::INFINITY)]
    {
        assert!(matches!(lab.rejects(&event), Rejection::InvalidCalibration { .. }), "{event:?}");
    }
    lab.answer("w", "dense", 1);
    assert_eq!(lab.next_lease().keys(), dense);
    lab.finish();
}

#[test]
fn a_calibration_that_is_not_answered_in_time_means_single_lanes() {
    let (mut lab, dense) = ready(Policy { calibration_ms: 10_000, ..Policy::default() }, 4);
    lab.join("w", 1);
    assert_eq!(lab.next(), calibration("w", dense[0]));
    lab.tick_after(0);
    lab.tick_after(10_000);
    lab.heartbeat("w");
    lab.tick_after(1);
    let given = lab.next_lease();
    assert_eq!(given.keys(), dense[..1]);
    // The answer comes after all.
    lab.answer("w", "dense", 2);
    lab.complete(&given);
    lab.expect_trial("s", 0, &completed(dense[0]));
    assert_eq!(lab.next_lease().keys(), dense[1..3]);
    lab.finish();
}

#[test]
fn a_silent_worker_is_detached_and_its_attempt_has_failed() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.tick_after(0);
    lab.join("silent", 1);
    lab.join("well", 1);
    lab.next_lease();
    lab.tick_after(10_000);
    lab.heartbeat("well");
    lab.tick_after(5_000);
    lab.expect_nothing();
    lab.tick_after(1);
    let reason = "it was silent for more than 15000 ms".to_owned();
    assert_eq!(lab.next(), Effect::Detach { worker: worker("silent"), reason });
    let given = lab.next_lease();
    assert_eq!((given.worker.as_str(), given.stages[0]), ("well", (key, 2)));
    // Its stream ends now; the core knows already.
    lab.leave("silent", Departure::Lost);
    assert_eq!(lab.rejects(&Event::Heartbeat { worker: worker("silent") }), Rejection::UnknownWorker(worker("silent")));
    lab.finish();
}

#[test]
fn a_coordinator_that_slept_does_not_blame_the_workers() {
    let mut lab = Lab::new(Policy { stuck_ms: Some(20_000), ..Policy::default() });
    let (plan, _) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    lab.next_lease();
    lab.tick_after(0);
    lab.tick_after(3_600_000);
    lab.now -= 1_800_000;
    lab.tick_after(0);
    lab.tick_after(15_000);
    lab.expect_nothing();
    lab.tick_after(1);
    assert!(matches!(lab.next(), Effect::Detach { .. }));
    lab.finish();
}

#[test]
fn what_seems_to_have_happened_in_the_future_happened_now() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    lab.next_lease();
    lab.tick_after(0);
    // The clock is set twice between two ticks.
    lab.now += 7_200_000;
    lab.heartbeat("w");
    lab.now -= 7_195_000;
    lab.tick_after(0);
    lab.tick_after(15_000);
    lab.expect_nothing();
    lab.tick_after(1);
    assert!(matches!(lab.next(), Effect::Detach { .. }));
    lab.finish();
}

#[test]
fn a_lease_without_progress_is_taken_back_and_its_slot_stays_taken_until_it_ends() {
    let mut lab = Lab::new(Policy { stuck_ms: Some(12_000), ..Policy::default() });
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.tick_after(0);
    lab.join("w", 1);
    let stuck = lab.next_lease();
    lab.tick_after(12_000);
    lab.heartbeat("w");
    lab.expect_nothing();
    lab.tick_after(1);
    lab.expect_revoke(&stuck);
    lab.expect_nothing();
    lab.apply(&stuck.ended(None));
    let given = lab.next_lease();
    assert_eq!(given.stages, [(key, 2)]);
    lab.complete(&given);
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_lease_that_has_reported_everything_and_does_not_end_is_taken_back_too() {
    let mut lab = Lab::new(Policy { stuck_ms: Some(12_000), ..Policy::default() });
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.tick_after(0);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&given.report(0, completed(key)));
    lab.effects.clear();
    lab.tick_after(12_000);
    lab.heartbeat("w");
    lab.expect_nothing();
    lab.tick_after(1);
    lab.expect_revoke(&given);
    lab.tick_after(1);
    lab.expect_nothing();
    assert!(!lab.journal.iter().any(|line| line.contains("attempt_failed")));
    lab.finish();
}

#[test]
fn a_worker_that_hands_work_back_by_itself_gets_no_more() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("a", 2);
    let given = lab.next_lease();
    lab.apply(&given.ended(None));
    lab.expect_nothing();
    assert!(lab.core.workers().next().expect("a worker").leaving);
    lab.join("b", 1);
    let given = lab.next_lease();
    // Not a failed attempt either.
    lab.apply(&given.report(0, StageOutcome::Cancelled));
    lab.apply(&given.ended(None));
    lab.expect_nothing();
    lab.join("c", 1);
    assert_eq!(lab.next_lease().stages, [(key, 3)]);
    lab.finish();
}

#[test]
fn the_first_event_is_the_start_and_ids_are_not_used_twice() {
    let mut core = Core::new(Policy::default());
    assert_eq!(core.apply(Timestamp(0), &Event::Tick), Err(Rejection::NotStarted));
    let mut lab = Lab::new(Policy::default());
    lab.join("w", 1);
    assert_eq!(lab.rejects(&joins("w", "other", 1, &[])), Rejection::DuplicateWorker(worker("w")));
    lab.finish();
}
