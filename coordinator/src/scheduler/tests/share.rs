//! Turns between sweeps: nobody starves, priorities go first, and no sweep has more workers than it may.

use super::*;
use crate::scheduler::SweepState;

/// A sweep of `count` stages that run alone and wait for nothing.
fn alone(id: &str, count: usize) -> (Arc<PackedPlan>, Vec<StageKey>) {
    let mut plan = PlanBuilder::default();
    let keys: Vec<_> = (0..count).map(|number| plan.prepare(&format!("{id}-{number}"))).collect();
    for key in &keys {
        plan.trial(&[*key]);
    }
    (plan.build(id), keys)
}

/// Which sweep each lease that has just been given out is for, by the stages of the sweeps.
fn leased(lab: &mut Lab, sweeps: &[(&str, &[StageKey])]) -> Vec<(String, Given)> {
    let mut leased = vec![];
    while let Some(effect) = lab.effects.pop_front() {
        if let Effect::Lease { worker, lease, stages } = effect {
            let given = Given { worker, lease, stages };
            let owner = sweeps.iter().find(|(_, keys)| keys.contains(&given.stages[0].0)).expect("one of them");
            leased.push((owner.0.to_owned(), given));
        }
    }
    leased
}

fn names(leased: &[(String, Given)]) -> String {
    leased.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_small_sweep_gets_slots_beside_a_big_one_that_came_first() {
    let mut lab = Lab::new(Policy::default());
    let ((big, of_big), (small, of_small)) = (alone("b", 100), alone("s", 4));
    let sweeps = [("b", of_big.as_slice()), ("s", of_small.as_slice())];
    lab.submit(&big);
    lab.join("w", 4);
    let mut out = leased(&mut lab, &sweeps);
    assert_eq!(names(&out), "bbbb");
    lab.submit(&small);
    // Every slot that becomes free goes to the sweep that has fewer.
    let mut order = String::new();
    for _ in 0..10 {
        let (_, given) = out.remove(0);
        lab.complete(&given);
        let next = leased(&mut lab, &sweeps);
        order.push_str(&names(&next));
        out.extend(next);
    }
    assert_eq!(order, "ssbbssbbbb");
    let held = |id: &str| lab.core.sweep(&sweep(id)).expect("is there").stages_leased;
    assert_eq!((held("b"), held("s")), (4, 0));
    assert_eq!(lab.core.sweep(&sweep("s")).expect("is there").state, SweepState::Completed);
}

#[test]
fn with_one_slot_sweeps_take_turns() {
    let mut lab = Lab::new(Policy::default());
    let plans: Vec<_> = ["a", "b", "c"].map(|id| (id, alone(id, 3))).into();
    let sweeps: Vec<_> = plans.iter().map(|(id, (_, keys))| (*id, keys.as_slice())).collect();
    plans.iter().for_each(|(_, (plan, _))| lab.submit(plan));
    lab.join("w", 1);
    let mut order = String::new();
    while let Some((name, given)) = leased(&mut lab, &sweeps).pop() {
        order.push_str(&name);
        lab.complete(&given);
    }
    assert_eq!(order, "abcabcabc");
}

#[test]
fn a_higher_priority_goes_first_also_when_it_comes_later() {
    let mut lab = Lab::new(Policy::default());
    let ((first, of_first), (later, of_later)) = (alone("f", 3), alone("l", 2));
    let sweeps = [("f", of_first.as_slice()), ("l", of_later.as_slice())];
    lab.submit(&first);
    lab.join("w", 1);
    let mut out = leased(&mut lab, &sweeps);
    lab.submit_with(&later, 5, 0);
    let mut order = String::new();
    while let Some((name, given)) = out.pop() {
        order.push_str(&name);
        lab.complete(&given);
        out = leased(&mut lab, &sweeps);
    }
    assert_eq!(order, "fllff");
    assert_eq!(lab.core.sweep(&sweep("l")).expect("is there").share, Share { priority: 5, ..Share::default() });
}

#[test]
fn a_limited_sweep_has_so_many_workers_and_no_more() {
    let mut lab = Lab::new(Policy::default());
    let (limited, keys) = alone("l", 20);
    let sweeps = [("l", keys.as_slice())];
    lab.submit_with(&limited, 0, 2);
    for name in ["u", "v", "w"] {
        lab.join(name, 2);
    }
    let workers = |leased: &[(String, Given)]| -> Vec<String> {
        leased.iter().map(|(_, given)| given.worker.to_string()).collect()
    };
    let mut out = leased(&mut lab, &sweeps);
    assert_eq!(workers(&out), ["u", "u", "v", "v"]);
    let status = lab.core.sweep(&sweep("l")).expect("is there");
    assert_eq!((status.workers, status.at_limit), (2, true));
    // A worker of it may go on; and when it leaves, another takes its place.
    lab.complete(&out.remove(0).1);
    let next = leased(&mut lab, &sweeps);
    assert_eq!(workers(&next), ["u"]);
    lab.leave("u", Departure::Drained);
    assert_eq!(workers(&leased(&mut lab, &sweeps)), ["w", "w"]);
    // Without a limit all of them take part.
    lab.join("x", 1);
    assert!(leased(&mut lab, &sweeps).is_empty());
    let share = ShareChange { max_workers: Some(0), ..ShareChange::default() };
    lab.apply(&Event::SweepShareChanged { sweep: sweep("l"), share });
    assert_eq!(workers(&leased(&mut lab, &sweeps)), ["x"]);
}

#[test]
fn a_bundle_is_filled_with_stages_of_other_sweeps() {
    let mut lab = Lab::new(Policy::default());
    let plan = |id: &str, seeds: std::ops::Range<u64>| {
        let mut plan = PlanBuilder::default();
        let prepare = plan.prepare("y");
        for seed in seeds {
            let dense = plan.dense(prepare, seed);
            plan.trial(&[prepare, dense]);
        }
        plan.build(id)
    };
    lab.submit(&plan("a", 0..3));
    lab.submit(&plan("b", 3..5));
    lab.join("w", 1);
    let prepare = lab.next_lease();
    lab.complete(&prepare);
    lab.calibrate("w", "dense", 8);
    let given = lab.next_lease();
    assert_eq!(given.stages.len(), 5, "all of both sweeps");
    let leases = |id: &str| lab.core.sweep(&sweep(id)).expect("is there").workers;
    assert_eq!((leases("a"), leases("b")), (1, 1));
}

#[test]
fn a_shared_stage_runs_for_the_sweep_that_gets_it_done_soonest() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("low", "y");
    let mut twin = PlanBuilder::default();
    let same = twin.prepare("y");
    twin.trial(&[same]);
    assert_eq!(same, key);
    let (other, keys) = alone("o", 2);
    lab.submit(&other);
    lab.submit_with(&plan, -1, 0);
    lab.submit_with(&twin.build("high"), 1, 0);
    lab.join("w", 1);
    let given = lab.next_lease();
    assert_eq!(given.keys(), [key], "as the sweep of the higher priority wants it");
    // That one is given up: the stage runs for the other, which is the last in turn.
    lab.apply(&given.ended(None));
    lab.apply(&Event::SweepCancelled { sweep: sweep("high"), by: None });
    lab.effects.clear();
    lab.join("v", 1);
    assert_eq!(lab.next_lease().keys(), keys[..1]);
}

#[test]
fn no_more_sweeps_run_than_may() {
    let mut lab = Lab::new(Policy { max_running_sweeps: NonZeroU32::MIN, ..Policy::default() });
    let ((first, _), (second, _)) = (single("first", "x"), single("second", "y"));
    lab.submit(&first);
    let submitted =
        Event::SweepSubmitted { plan: Arc::clone(&second), share: ShareChange::default(), open: false, by: None };
    assert_eq!(lab.rejects(&submitted), Rejection::TooManySweeps { limit: 1 });
    // The running one is no other.
    lab.submit(&first);
    lab.apply(&Event::SweepCancelled { sweep: sweep("first"), by: None });
    lab.apply(&submitted);
    lab.effects.clear();
    let resumed = Event::SweepSubmitted { plan: first, share: ShareChange::default(), open: false, by: None };
    assert_eq!(lab.rejects(&resumed), Rejection::TooManySweeps { limit: 1 });
    assert_eq!(lab.rejects(&Event::SweepRetried { sweep: sweep("first") }), Rejection::TooManySweeps { limit: 1 });
    lab.finish();
}

#[test]
fn a_share_outlives_the_coordinator_and_what_is_unknown_has_none() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _) = single("s", "y");
    lab.submit_with(&plan, 3, 4);
    let change = |priority| ShareChange { priority, max_workers: None };
    lab.apply(&Event::SweepShareChanged { sweep: sweep("s"), share: change(Some(-2)) });
    let lines = lab.journal.len();
    lab.apply(&Event::SweepShareChanged { sweep: sweep("s"), share: change(None) });
    assert_eq!(lab.journal.len(), lines, "nothing changed");
    lab.restart();
    let share = lab.core.sweep(&sweep("s")).expect("is there").share;
    assert_eq!(share, Share { priority: -2, max_workers: NonZeroU32::new(4), drains: false });
    let unknown = Event::SweepShareChanged { sweep: sweep("t"), share: change(Some(1)) };
    assert_eq!(lab.rejects(&unknown), Rejection::UnknownSweep(sweep("t")));
    lab.finish();
}
