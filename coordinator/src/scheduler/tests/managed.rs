//! Workers that people manage: cordoned, uncordoned, drained.

use super::*;

/// A sweep of `count` stages that run alone.
fn alone(id: &str, count: usize) -> Arc<PackedPlan> {
    let mut plan = PlanBuilder::default();
    let keys: Vec<_> = (0..count).map(|number| plan.prepare(&number.to_string())).collect();
    for key in &keys {
        plan.trial(&[*key]);
    }
    plan.build(id)
}

fn manage(id: &str, action: WorkerAction) -> Event {
    Event::WorkerManaged { worker: worker(id), action }
}

fn cordon(id: &str) -> Event {
    manage(id, WorkerAction::Cordon { by: "ada".to_owned() })
}

fn told(id: &str, by: Option<&str>) -> Effect {
    Effect::Cordon { worker: worker(id), by: by.map(str::to_owned) }
}

fn policy() -> Policy {
    Policy { reattach_ms: 10_000, quarantine_after: Some(lanes(1)), ..Policy::default() }
}

fn cordoned_by(lab: &Lab) -> Vec<Option<String>> {
    lab.core.workers().map(|worker| worker.cordoned_by).collect()
}

#[test]
fn a_cordoned_worker_keeps_what_it_has_and_gets_nothing_new() {
    let mut lab = Lab::new(policy());
    lab.submit(&alone("s", 3));
    lab.join("w", 1);
    let first = lab.next_lease();
    lab.apply(&cordon("w"));
    assert_eq!(lab.next(), told("w", Some("ada")));
    lab.apply(&cordon("w"));
    lab.expect_nothing();
    lab.apply(&first.report(0, completed(first.keys()[0])));
    lab.expect_trial("s", 0, &completed(first.keys()[0]));
    lab.apply(&first.ended(None));
    lab.tick_after(1);
    lab.expect_nothing();
    let held = lab.core.sweep(&sweep("s")).expect("a sweep").held.expect("a reason");
    assert!(held.contains("cordoned by ada"), "{held}");
    // Another worker is not affected.
    lab.join("v", 1);
    assert_eq!(lab.next_lease().worker, worker("v"));
    lab.apply(&manage("w", WorkerAction::Uncordon));
    assert_eq!(lab.next(), told("w", None));
    assert_eq!(lab.next_lease().worker, worker("w"));
    lab.finish();
}

#[test]
fn a_cordon_outlives_connections_and_coordinators() {
    let mut lab = Lab::new(policy());
    lab.submit(&alone("s", 2));
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.leave("w", Departure::Disconnected);
    // While nobody can tell it.
    lab.apply(&cordon("w"));
    assert_eq!(lab.next(), told("w", Some("ada")));
    lab.apply(&joins("w2", "w", 1, std::slice::from_ref(&given)));
    assert_eq!(lab.next(), told("w2", Some("ada")));
    assert_eq!(cordoned_by(&lab), [Some("ada".to_owned())]);
    lab.restart();
    // Another life knows it from the worker itself.
    let mut again = joins("w3", "w", 1, &[]);
    if let Event::WorkerJoined { cordoned_by, .. } = &mut again {
        *cordoned_by = Some("ada".to_owned());
    }
    lab.apply(&again);
    assert_eq!(cordoned_by(&lab), [Some("ada".to_owned())]);
    lab.tick_after(0);
    lab.tick_after(10_001);
    lab.expect_nothing();
    lab.finish();
}

#[test]
fn a_person_ends_a_quarantine() {
    let mut lab = Lab::new(policy());
    lab.submit(&alone("s", 3));
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
    assert!(matches!(lab.next(), Effect::Quarantined { .. }));
    lab.tick_after(1);
    lab.expect_nothing();
    lab.apply(&manage("w", WorkerAction::Uncordon));
    assert_eq!(lab.next_lease().worker, worker("w"));
    assert!(lab.core.workers().all(|worker| worker.quarantined.is_none()));
    lab.finish();
}

#[test]
fn a_worker_is_asked_to_drain_if_it_can_be_told() {
    let mut lab = Lab::new(policy());
    lab.submit(&alone("s", 2));
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&manage("w", WorkerAction::Drain));
    assert_eq!(lab.next(), Effect::Drain { worker: worker("w") });
    lab.apply(&given.report(0, completed(given.keys()[0])));
    lab.expect_trial("s", 0, &completed(given.keys()[0]));
    lab.apply(&given.ended(None));
    lab.expect_nothing();
    assert!(lab.core.workers().all(|worker| worker.leaving));
    lab.join("v", 1);
    let other = lab.next_lease();
    lab.leave("v", Departure::Disconnected);
    assert_eq!(lab.rejects(&manage("v", WorkerAction::Drain)), Rejection::WorkerAway(other.worker));
    let unknown = manage("nobody", WorkerAction::Uncordon);
    assert_eq!(lab.rejects(&unknown), Rejection::UnknownWorker(worker("nobody")));
    lab.finish();
}

#[test]
fn the_overview_counts_each_worker_and_sweep_once() {
    let mut lab = Lab::new(policy());
    lab.submit(&alone("s", 5));
    lab.submit(&alone("t", 1));
    for id in ["a", "b", "c"] {
        lab.join(id, 1);
    }
    lab.apply(&cordon("b"));
    lab.leave("c", Departure::Disconnected);
    lab.now += 500;
    let overview = lab.core.overview();
    assert_eq!((overview.sweeps.running, overview.running.len()), (2, 2));
    assert_eq!((overview.workers.attached, overview.workers.cordoned, overview.workers.away), (1, 1, 1));
    assert_eq!((overview.slots, overview.busy_slots), (2, 2));
    assert_eq!((overview.leases, overview.leased_stages, overview.ready_alone), (3, 3, 2));
    // `t` repeats a stage of `s`, which counts once.
    assert_eq!(overview.oldest_lease, Some(Timestamp(lab.now - 500)));
    lab.effects.clear();
    lab.finish();
}
