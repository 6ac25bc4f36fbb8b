//! What attempts can go on from: the newest of an open stage, whoever brought it, and nothing of one that has ended.

use super::*;
use crate::scheduler::SweepState;

#[test]
fn the_newest_is_kept_from_whatever_attempt_and_outlives_the_coordinator() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("a", 1);
    let old = lab.next_lease();
    assert_eq!(lab.core.checkpoint(&key), None);
    lab.apply(&old.checkpointed(0, 2));
    lab.leave("a", Departure::Disconnected);
    lab.join("b", 1);
    let new = lab.next_lease();
    assert_eq!((new.stages[0].1, lab.core.checkpoint(&key)), (2, Some(checkpoint(key, 2))));
    // The worker that was lost comes back, and had got further.
    lab.join("a2", 1);
    let late = Given { worker: worker("a2"), ..old };
    lab.apply(&late.checkpointed(0, 4));
    let lines = lab.journal.len();
    for epoch in [1, 3, 4] {
        lab.apply(&new.checkpointed(0, epoch));
    }
    assert_eq!((lab.journal.len(), lab.core.checkpoint(&key)), (lines, Some(checkpoint(key, 4))));
    lab.apply(&new.checkpointed(0, 5));
    lab.restart();
    assert_eq!(lab.core.checkpoint(&key), Some(checkpoint(key, 5)));
    assert_eq!(lab.core.stage_detail(&key).and_then(|detail| detail.checkpoint), Some(checkpoint(key, 5)));
    lab.finish();
}

#[test]
fn a_stage_that_has_ended_has_none_and_a_retry_begins_anew() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&given.checkpointed(0, 2));
    lab.apply(&given.report(0, StageOutcome::Failed(failure(FailureClass::Input))));
    lab.apply(&given.ended(None));
    lab.effects.clear();
    let lines = lab.journal.len();
    lab.apply(&given.checkpointed(0, 3));
    assert_eq!((lab.core.checkpoint(&key), lab.journal.len()), (None, lines));
    lab.apply(&Event::SweepRetried { sweep: sweep("s") });
    lab.next_lease();
    assert_eq!(lab.core.checkpoint(&key), None);
    lab.finish();
}

#[test]
fn one_that_makes_no_sense_is_refused() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _, dense) = fan("s", 1);
    let (_, unknown) = single("t", "z");
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    let of = |stage| Given { stages: vec![(stage, 1)], ..given.clone() }.checkpointed(0, 1);
    assert_eq!(lab.rejects(&of(unknown)), Rejection::UnknownStage(unknown));
    assert_eq!(lab.rejects(&of(dense[0])), Rejection::ParentsMissing(dense[0]));
    let stranger = Given { worker: worker("stranger"), ..given };
    assert_eq!(lab.rejects(&stranger.checkpointed(0, 1)), Rejection::UnknownWorker(worker("stranger")));
    lab.finish();
}

#[test]
fn the_file_of_the_newest_is_needed_until_the_stage_ends_or_is_forgotten() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    let needs = |lab: &Lab, epoch| lab.files().contains(&checkpoint(key, epoch).state.hash);
    lab.apply(&given.checkpointed(0, 1));
    assert!(needs(&lab, 1));
    lab.apply(&given.checkpointed(0, 2));
    assert!(needs(&lab, 2) && !needs(&lab, 1));
    // Nobody works on it, and it may be gone on with.
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    assert!(needs(&lab, 2));
    lab.apply(&given.ended(None));
    lab.effects.clear();
    lab.apply(&Event::SweepForgotten { sweep: sweep("s") });
    assert!(!needs(&lab, 2));
    lab.submit(&plan);
    assert_eq!(lab.core.checkpoint(&key), None);
    lab.join("v", 1);
    let given = lab.next_lease();
    lab.apply(&given.checkpointed(0, 1));
    lab.complete(&given);
    assert!(!needs(&lab, 1));
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn taking_one_is_a_sign_of_life() {
    let mut lab = Lab::new(Policy { stuck_ms: Some(20_000), ..Policy::default() });
    let (plan, _) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&Event::Tick);
    for epoch in 1..10 {
        lab.now += 9_000;
        lab.apply(&given.checkpointed(0, epoch));
        lab.apply(&Event::Tick);
        lab.expect_nothing();
    }
    for _ in 0..3 {
        lab.heartbeat("w");
        lab.tick_after(9_000);
    }
    lab.expect_revoke(&given);
    lab.finish();
}
