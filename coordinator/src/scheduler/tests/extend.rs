//! Sweeps whose plans grow: what is extended, what is closed, and what is computed of it.

use super::*;
use crate::scheduler::{StageStatus, SweepState};

impl Lab {
    /// Submits a sweep to which parts are to be added.
    fn submit_open(&mut self, plan: &Arc<PackedPlan>) {
        self.apply(&Event::SweepSubmitted {
            plan: Arc::clone(plan),
            share: ShareChange::default(),
            open: true,
            by: None,
        });
    }

    fn extend(&mut self, part: &Arc<PackedPlan>) {
        self.apply(&Event::SweepExtended { part: Arc::clone(part) });
    }
}

/// `prepare`, dense 0 and its trial.
fn first_part() -> Arc<PackedPlan> {
    grid_part("s", 0, &["y"], 0..1, 0..0)
}

/// Behind it, dense 1 below the same `prepare`.
fn second_part() -> Arc<PackedPlan> {
    let mut plan = PlanBuilder { first_trial: 1, ..PlanBuilder::default() };
    let prepare = plan.prepare("y");
    let dense = plan.dense(prepare, 1);
    plan.trial(&[prepare, dense]);
    plan.build("s")
}

fn closes(lab: &mut Lab, id: &str) {
    lab.apply(&Event::SweepClosed { sweep: sweep(id) });
}

/// Lets worker `w` answer everything, with bundles of one lane, and drops what is announced.
fn complete_all(lab: &mut Lab) -> Vec<StageKey> {
    let mut computed = vec![];
    while let Some(effect) = lab.effects.pop_front() {
        match effect {
            Effect::Calibrate { worker, class, .. } => lab.answer(worker.as_str(), class.as_str(), 1),
            Effect::Lease { worker, lease, stages } => {
                let given = Given { worker, lease, stages };
                computed.extend(given.keys());
                lab.complete(&given);
            }
            _ => {}
        }
    }
    computed
}

#[test]
fn an_open_sweep_completes_when_it_is_closed() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit_open(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_nothing();
    lab.restart();
    let status = lab.core.sweep(&sweep("s")).expect("a sweep");
    assert_eq!((status.state, status.open, status.trials_completed), (SweepState::Running, true, 1));
    closes(&mut lab, "s");
    lab.expect_sweep("s", SweepState::Completed);
    // Asked twice is done once.
    let lines = lab.journal.len();
    closes(&mut lab, "s");
    assert_eq!(lab.journal.len(), lines);
    lab.finish();
}

#[test]
fn only_what_is_new_is_computed() {
    let mut lab = Lab::new(Policy::default());
    let first = first_part();
    let second = second_part();
    lab.submit_open(&first);
    lab.join("w", 1);
    assert_eq!(complete_all(&mut lab).len(), 2);
    lab.extend(&second);
    assert_eq!(complete_all(&mut lab), [second.key(1)]);
    let status = lab.core.sweep(&sweep("s")).expect("a sweep");
    // The stage that both parts list is one.
    assert_eq!((status.stages, status.stages_ended, status.lane_steps), (3, 3, 30));
    assert_eq!((status.trials, status.trials_completed, status.state), (2, 2, SweepState::Running));
    lab.restart();
    closes(&mut lab, "s");
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_completed_sweep_that_is_extended_runs_again_and_stays_closed() {
    let mut lab = Lab::new(Policy::default());
    let first = first_part();
    let second = second_part();
    lab.submit(&first);
    lab.join("w", 1);
    complete_all(&mut lab);
    assert_eq!(lab.core.sweep(&sweep("s")).expect("a sweep").state, SweepState::Completed);
    lab.extend(&second);
    assert_eq!(lab.core.sweep(&sweep("s")).expect("a sweep").state, SweepState::Running);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.expect_trial("s", 1, &completed(second.key(1)));
    lab.expect_sweep("s", SweepState::Completed);
    // Asked twice is done once.
    let lines = lab.journal.len();
    lab.extend(&second);
    lab.submit(&first);
    assert_eq!(lab.journal.len(), lines);
    lab.finish();
}

#[test]
fn a_part_of_which_all_has_been_computed_completes_at_once() {
    let mut lab = Lab::new(Policy::default());
    let first = first_part();
    let second = second_part();
    lab.submit(&first);
    // Another sweep computes what the part lists.
    lab.submit(&grid("t", &["y"], 0..2, 0..0));
    lab.join("w", 1);
    complete_all(&mut lab);
    lab.extend(&second);
    lab.expect_trial("s", 1, &completed(second.key(1)));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn parts_that_overlap_or_have_no_sweep_are_rejected() {
    let mut lab = Lab::new(Policy::default());
    let first = first_part();
    let extended = |part| Event::SweepExtended { part };
    assert_eq!(lab.rejects(&extended(second_part())), Rejection::UnknownSweep(sweep("s")));
    assert_eq!(lab.rejects(&Event::SweepClosed { sweep: sweep("s") }), Rejection::UnknownSweep(sweep("s")));
    lab.submit(&first);
    // Its first trial is known, its second is not.
    let overlaps = grid_part("s", 0, &["y"], 0..2, 0..0);
    let expected = Rejection::PartOverlaps { sweep: sweep("s"), trial: trial(0) };
    assert_eq!(lab.rejects(&extended(overlaps.clone())), expected);
    let journal =
        [Record::SweepSubmitted { plan: first, open: false, by: None }, Record::SweepExtended { part: overlaps }];
    let entries = journal.into_iter().map(|record| Entry::new(Timestamp(0), record));
    assert_eq!(Core::restore(Policy::default(), entries).err(), Some(expected));
    lab.finish();
}

#[test]
fn a_sweep_that_was_given_up_goes_on_when_it_is_extended() {
    let mut lab = Lab::new(Policy::default());
    let first = first_part();
    lab.submit(&first);
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    lab.extend(&second_part());
    let status = lab.core.sweep(&sweep("s")).expect("a sweep");
    assert_eq!((status.state, status.trials, status.trials_failed), (SweepState::Running, 2, 0));
    lab.join("w", 1);
    assert_eq!(complete_all(&mut lab).len(), 3);
    assert_eq!(lab.core.sweep(&sweep("s")).expect("a sweep").trials_completed, 2);
    lab.finish();
}

#[test]
fn a_part_without_trials_is_news_once() {
    let mut lab = Lab::new(Policy::default());
    let first = first_part();
    lab.submit(&first);
    lab.join("w", 1);
    complete_all(&mut lab);
    let mut goals = first.nothing_of();
    goals.sweep.name = "renamed".to_owned();
    let goals = Arc::new(goals);
    let before = lab.core.generation(&sweep("s"));
    lab.now += 1;
    lab.extend(&goals);
    lab.expect_sweep("s", SweepState::Completed);
    assert!(lab.core.generation(&sweep("s")) > before);
    let lines = lab.journal.len();
    lab.extend(&goals);
    assert_eq!(lab.journal.len(), lines);
    // And when it was added is durable.
    for core in [&lab.core, &lab.by_snapshot(&lab.core)] {
        let results = core.results(&sweep("s")).expect("a sweep");
        let times: Vec<_> = results.parts.iter().map(|part| part.added_at).collect();
        assert_eq!(times, [Some(Timestamp(lab.now - 1)), Some(Timestamp(lab.now))]);
        assert_eq!(core.sweep(&sweep("s")).expect("a sweep").name, "renamed");
        assert_eq!(results.outcomes().len(), 1);
    }
    // The goals of before are news again.
    lab.extend(&Arc::new(first.nothing_of()));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn what_failed_in_a_part_is_retried() {
    let mut lab = Lab::new(Policy::default());
    let first = first_part();
    let second = second_part();
    lab.submit(&first);
    lab.join("w", 1);
    complete_all(&mut lab);
    lab.extend(&second);
    let given = lab.next_lease();
    lab.apply(&given.report(0, StageOutcome::Failed(failure(FailureClass::Input))));
    lab.apply(&given.ended(None));
    lab.effects.clear();
    assert_eq!(lab.core.failed(&sweep("s")), Some(vec![second.key(1)]));
    lab.apply(&Event::SweepRetried { sweep: sweep("s") });
    let given = lab.next_lease();
    assert_eq!(given.keys(), [second.key(1)]);
    lab.complete(&given);
    lab.expect_trial("s", 1, &completed(second.key(1)));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn what_a_forgotten_sweep_was_extended_by_becomes_whoever_lists_it() {
    let mut lab = Lab::new(Policy::default());
    let first = first_part();
    let second = second_part();
    lab.submit(&first);
    lab.extend(&second);
    lab.submit(&grid("t", &["y"], 1..2, 0..0));
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    lab.effects.clear();
    lab.apply(&Event::SweepForgotten { sweep: sweep("s") });
    assert_eq!(lab.core.stage(&first.key(1)), None);
    assert_eq!(lab.core.stage(&second.key(0)), Some(StageStatus::Ready));
    lab.join("w", 1);
    assert_eq!(complete_all(&mut lab).len(), 2);
    lab.finish();
}

#[test]
fn parts_are_entries_and_snapshots_have_them() {
    let mut lab = Lab::new(Policy::default());
    let (first, ..) = fan("s", 3);
    let part = grid_part("s", 3, &["y"], 3..1_500, 0..0);
    lab.submit_open(&first);
    lab.extend(&part);
    assert!(lab.journal.len() > 4, "the part is in pieces");
    let read: Vec<Entry> = entries(&lab.journal).collect::<Result<_, _>>().expect("entries");
    assert_eq!(read.last().map(|entry| &entry.record), Some(&Record::SweepExtended { part: Arc::clone(&part) }));
    let restored = lab.by_snapshot(&lab.core);
    let parts: Vec<_> = restored.plan_parts(&sweep("s")).expect("a sweep").cloned().collect();
    assert_eq!(parts, [first, part]);
    // A part without its sweep is none.
    let mut lines = lab.core.snapshot().lines(Timestamp(1));
    assert!(lines[1].contains(r#""open":true"#), "{}", lines[1]);
    lines.remove(1);
    let entries = entries(&lines).map(|entry| entry.expect("an entry"));
    let refused = Core::restore(Policy::default(), entries).expect_err("the sweep is missing");
    assert!(matches!(refused, Rejection::InvalidSnapshot { .. }), "{refused:?}");
    lab.finish();
}

#[test]
fn a_cancelled_sweep_of_which_all_trials_have_ended_does_not_complete_before_it_is_extended() {
    let mut lab = Lab::new(Policy::default());
    let second = second_part();
    lab.submit_open(&first_part());
    lab.join("w", 1);
    complete_all(&mut lab);
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    lab.expect_sweep("s", SweepState::Cancelled);
    closes(&mut lab, "s");
    lab.extend(&second);
    // It goes on, and says nothing of an end before there is one.
    let given = lab.next_lease();
    lab.complete(&given);
    lab.expect_trial("s", 1, &completed(second.key(1)));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

/// Says of the results of an open sweep how it continues.
fn decision(lab: &Lab, part: Option<&Arc<PackedPlan>>) -> Event {
    let generation = lab.core.generation(&sweep("s")).expect("a sweep");
    Event::SweepDecided { sweep: sweep("s"), generation, part: part.map(Arc::clone) }
}

#[test]
fn a_decision_extends_or_closes_a_sweep_that_waits_for_it() {
    let mut lab = Lab::new(Policy::default());
    lab.submit_open(&first_part());
    lab.join("w", 1);
    let outdated = Rejection::DecisionOutdated(sweep("s"));
    // A trial is open.
    assert!(!lab.core.awaits_decision(&sweep("s")));
    let early = decision(&lab, None);
    assert_eq!(lab.rejects(&early), outdated);
    complete_all(&mut lab);
    assert!(lab.core.awaits_decision(&sweep("s")));
    // It is about other results.
    assert_eq!(lab.rejects(&early), outdated);
    let second = second_part();
    let extends = decision(&lab, Some(&second));
    lab.apply(&extends);
    assert_eq!(lab.rejects(&extends), outdated);
    assert_eq!(complete_all(&mut lab), [second.key(1)]);
    lab.restart();
    assert!(lab.core.awaits_decision(&sweep("s")));
    let closes = decision(&lab, None);
    lab.apply(&closes);
    lab.expect_sweep("s", SweepState::Completed);
    assert_eq!(lab.rejects(&closes), outdated);
    lab.finish();
}

#[test]
fn a_decision_does_not_resume_what_a_person_stopped() {
    let mut lab = Lab::new(Policy::default());
    lab.submit_open(&first_part());
    lab.join("w", 1);
    complete_all(&mut lab);
    let extends = decision(&lab, Some(&second_part()));
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    lab.expect_sweep("s", SweepState::Cancelled);
    assert_eq!(lab.rejects(&extends), Rejection::DecisionOutdated(sweep("s")));
    assert!(!lab.core.awaits_decision(&sweep("s")));
    // Submitted again, it waits for a decision again.
    lab.submit(&first_part());
    assert!(lab.core.awaits_decision(&sweep("s")));
    lab.finish();
}
