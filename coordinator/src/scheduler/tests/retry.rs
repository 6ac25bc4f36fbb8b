//! What failed is opened again, and nothing else.

use super::*;
use crate::scheduler::{StageStatus, SweepState};

/// A sweep of `prepare → dense → prune, prune` whose dense stage failed with bad input, and is completed so.
fn failed() -> (Lab, Arc<PackedPlan>, [StageKey; 4]) {
    let mut plan = PlanBuilder::default();
    let prepare = plan.prepare("x");
    let dense = plan.dense(prepare, 0);
    let prunes = [1, 2].map(|count| plan.prune(prepare, dense, count));
    for prune in prunes {
        plan.trial(&[prepare, dense, prune]);
    }
    let plan = plan.build("s");
    let mut lab = Lab::new(Policy::default());
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&given.report(0, completed(prepare)));
    lab.apply(&given.ended(None));
    lab.calibrate("w", "dense", 4);
    let given = lab.next_lease();
    lab.apply(&given.report(0, StageOutcome::Failed(failure(FailureClass::Input))));
    lab.apply(&given.ended(None));
    lab.effects.clear();
    assert_eq!(lab.core.sweep(&sweep("s")).expect("is there").state, SweepState::Completed);
    (lab, plan, [prepare, dense, prunes[0], prunes[1]])
}

fn retry(lab: &mut Lab, id: &str) {
    lab.apply(&Event::SweepRetried { sweep: sweep(id) });
}

#[test]
fn a_completed_sweep_runs_again_with_what_failed_and_what_hung_on_it() {
    let (mut lab, _, [prepare, dense, prune, other]) = failed();
    assert_eq!(lab.core.failed(&sweep("s")), Some(vec![dense]));
    retry(&mut lab, "s");
    let status = lab.core.sweep(&sweep("s")).expect("is there");
    assert_eq!((status.state, status.trials_failed, status.stages_ended), (SweepState::Running, 0, 1));
    assert!(matches!(lab.core.stage(&prepare), Some(StageStatus::Ended(_))), "what completed stays");
    assert!(matches!(lab.core.stage(&prune), Some(StageStatus::Waiting { missing: 1 })));
    let given = lab.next_lease();
    assert_eq!(given.keys(), [dense]);
    lab.apply(&given.report(0, completed(dense)));
    lab.apply(&given.ended(None));
    lab.calibrate("w", "prune", 4);
    let given = lab.next_lease();
    assert_eq!(given.keys(), [prune, other]);
    for (number, key) in [(0, prune), (1, other)] {
        lab.apply(&given.report(number, completed(key)));
        lab.expect_trial("s", number as u64, &completed(key));
    }
    lab.expect_sweep("s", SweepState::Completed);
    lab.apply(&given.ended(None));
    // Nothing is left to be tried again.
    let lines = lab.journal.len();
    retry(&mut lab, "s");
    assert_eq!(lab.journal.len(), lines);
    lab.finish();
}

#[test]
fn a_stage_that_killed_its_executors_has_all_its_attempts_again() {
    let mut lab = Lab::new(Policy::default());
    let (plan, prepare) = single("s", "x");
    lab.submit(&plan);
    lab.join("w", 1);
    for _ in 0..2 {
        for _ in 0..3 {
            let given = lab.next_lease();
            lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
        }
        assert!(matches!(lab.next(), Effect::TrialEnded { .. }));
        lab.expect_sweep("s", SweepState::Completed);
        retry(&mut lab, "s");
    }
    assert_eq!(lab.next_lease().keys(), [prepare]);
    lab.finish();
}

#[test]
fn what_diverged_stays() {
    let mut lab = Lab::new(Policy::default());
    let (plan, prepare) = single("s", "x");
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&given.report(0, StageOutcome::Diverged { step: 1 }));
    lab.apply(&given.ended(None));
    lab.effects.clear();
    retry(&mut lab, "s");
    assert_eq!(lab.core.outcome(&prepare), Some(StageOutcome::Diverged { step: 1 }));
    lab.finish();
}

#[test]
fn other_sweeps_of_a_stage_go_on_with_it_or_not_as_they_are() {
    let (mut lab, plan, [prepare, dense, prune, _]) = failed();
    let mut share = PlanBuilder::default();
    assert_eq!((share.prepare("x"), share.dense(prepare, 0)), (prepare, dense));
    let of = |id: &str| {
        let mut plan = PlanBuilder::default();
        let prepare = plan.prepare("x");
        let dense = plan.dense(prepare, 0);
        let prune = plan.prune(prepare, dense, 1);
        let more = plan.prepare("y");
        plan.trial(&[prepare, dense, prune]).trial(&[more]);
        plan.build(id)
    };
    // One that still runs, one that was given up, and one that was stopped, each with a trial that has failed.
    for id in ["running", "cancelled", "stopped"] {
        lab.submit(&of(id));
    }
    lab.apply(&Event::SweepCancelled { sweep: sweep("cancelled"), by: None });
    lab.stop("stopped");
    retry(&mut lab, "s");
    let states = ["s", "running", "cancelled", "stopped"].map(|id| {
        let status = lab.core.sweep(&sweep(id)).expect("is there");
        (status.state.name(), status.trials_failed)
    });
    assert_eq!(states, [("running", 0), ("running", 0), ("cancelled", 2), ("stopped", 0)]);
    assert!(matches!(lab.core.stage(&prune), Some(StageStatus::Waiting { .. })));
    // A stopped one that is retried goes on.
    retry(&mut lab, "stopped");
    assert_eq!(lab.core.sweep(&sweep("stopped")).expect("is there").state, SweepState::Running);
    assert_eq!(plan.trial_count(), 2);
    lab.effects.clear();
    lab.finish();
}

#[test]
fn only_what_failed_by_itself_can_be_opened() {
    let (lab, _, [prepare, dense, prune, _]) = failed();
    for key in [prepare, prune] {
        let entry = Entry::new(Timestamp(1), Record::StagesReopened { stages: vec![dense, key] });
        let entries = entries(&lab.journal).map(|entry| entry.expect("an entry")).chain([entry]);
        let refused = Core::restore(Policy::default(), entries).map(|_| ());
        assert_eq!(refused, Err(Rejection::NotFailed(key)));
    }
}
