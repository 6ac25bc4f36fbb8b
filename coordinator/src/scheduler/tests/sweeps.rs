//! Sweeps: from submission to their end, cancelled, stopped, resumed, and sharing stages.

use super::*;
use crate::scheduler::{StageStatus, SweepState, TrialStatus};

#[test]
fn a_chain_runs_from_parent_to_child_and_ends_its_trial_once() {
    // prepare ──▶ dense ──▶ prune
    let mut plan = PlanBuilder::default();
    let prepare = plan.prepare("y");
    let dense = plan.dense(prepare, 1);
    let prune = plan.prune(prepare, dense, 5);
    plan.trial(&[prepare, dense, prune]);
    let mut lab = Lab::new(Policy::default());
    lab.submit(&plan.build("s"));
    assert_eq!(lab.core.stage(&prune), Some(StageStatus::Waiting { missing: 2 }));
    lab.join("w", 1);

    let first = lab.next_lease();
    assert_eq!(first.stages, [(prepare, 1)]);
    lab.complete(&first);
    lab.calibrate("w", "dense", 4);
    let second = lab.next_lease();
    assert_eq!(second.stages, [(dense, 1)]);
    lab.apply(&second.report(0, completed(dense)));
    // The slot is taken until the lease has ended.
    lab.expect_nothing();
    lab.apply(&second.ended(None));
    lab.calibrate("w", "prune", 4);
    let third = lab.next_lease();
    let inputs = lab.core.stage_with_inputs(&prune).expect("a stage").inputs;
    assert_eq!(inputs[&Role::Checkpoint].hash, dense.0, "the later parent's file counts");
    lab.complete(&third);
    lab.expect_trial("s", 0, &completed(prune));
    lab.expect_sweep("s", SweepState::Completed);

    let status = lab.core.sweep(&sweep("s")).expect("a sweep");
    assert_eq!((status.trials, status.trials_completed, status.trials_failed), (1, 1, 0));
    assert_eq!((status.stages, status.stages_ended, status.stages_leased, status.stages_computed), (3, 3, 0, 3));
    assert_eq!((status.lane_steps, status.lane_steps_ended), (30, 30));
    lab.finish();
}

#[test]
fn a_sweep_that_runs_or_has_completed_is_left_alone() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    let lines = lab.journal.len();
    lab.submit(&plan);
    assert_eq!(lab.journal.len(), lines);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", SweepState::Completed);
    lab.submit(&plan);
    let cancel = Event::SweepCancelled { sweep: sweep("s"), by: None };
    assert_eq!(lab.rejects(&cancel), Rejection::NotRunning { sweep: sweep("s"), state: "completed" });
    lab.finish();
}

#[test]
fn a_sweep_whose_stages_are_known_completes_at_once_and_computes_nothing() {
    let mut lab = Lab::new(Policy::default());
    let (first, prepare, dense) = fan("first", 1);
    lab.submit(&first);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.calibrate("w", "dense", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.expect_trial("first", 0, &completed(dense[0]));
    lab.expect_sweep("first", SweepState::Completed);

    let (second, ..) = fan("second", 1);
    lab.submit(&second);
    lab.expect_trial("second", 0, &completed(dense[0]));
    lab.expect_sweep("second", SweepState::Completed);
    assert_eq!(lab.core.sweep(&sweep("second")).expect("a sweep").stages_ended, 2);
    assert_eq!(lab.core.sweeps_of(&prepare), [sweep("first"), sweep("second")]);
    lab.finish();
}

#[test]
fn two_sweeps_share_an_open_stage_and_one_may_be_cancelled() {
    let mut lab = Lab::new(Policy::default());
    let (first, key) = single("first", "y");
    let (second, _) = single("second", "y");
    lab.submit(&first);
    lab.join("w", 2);
    let given = lab.next_lease();
    lab.submit(&second);
    lab.expect_nothing();
    assert_eq!(lab.core.sweep(&sweep("second")).expect("a sweep").stages_leased, 1);
    lab.apply(&Event::SweepCancelled { sweep: sweep("first"), by: None });
    lab.expect_trial("first", 0, &StageOutcome::Cancelled);
    lab.expect_sweep("first", SweepState::Cancelled);
    // The second sweep still wants it: no revocation.
    lab.expect_nothing();
    lab.complete(&given);
    lab.expect_trial("second", 0, &completed(key));
    lab.expect_sweep("second", SweepState::Completed);
    lab.finish();
}

#[test]
fn cancelling_ends_trials_once_revokes_leases_and_keeps_late_results() {
    let mut lab = Lab::new(Policy::default());
    let (plan, prepare, dense) = fan("s", 2);
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    lab.expect_trial("s", 0, &StageOutcome::Cancelled);
    lab.expect_trial("s", 1, &StageOutcome::Cancelled);
    lab.expect_revoke(&given);
    lab.expect_sweep("s", SweepState::Cancelled);
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    lab.expect_nothing();
    // The worker had finished when the revocation reached it.
    lab.complete(&given);
    assert_eq!(lab.core.outcome(&prepare), Some(completed(prepare)));
    assert_eq!(lab.core.stage(&dense[0]), Some(StageStatus::Parked));

    lab.submit(&plan);
    lab.calibrate("w", "dense", 2);
    let given = lab.next_lease();
    assert_eq!(given.keys(), dense);
    lab.complete(&given);
    lab.expect_trial("s", 0, &completed(dense[0]));
    lab.expect_trial("s", 1, &completed(dense[1]));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_stopped_sweep_says_why_keeps_its_trials_open_and_goes_on_when_submitted_again() {
    let mut lab = Lab::new(Policy::default());
    let mut plan = PlanBuilder::default();
    let keys = ["x", "y"].map(|target| plan.prepare(target));
    plan.trial(&[keys[0]]).trial(&[keys[1]]);
    let plan = plan.build("s");
    lab.submit(&plan);
    lab.join("a", 1);
    lab.join("b", 1);
    let (given, full) = (lab.next_lease(), lab.next_lease());
    let lines = lab.journal.len();
    lab.apply(&full.ended(Some(Failure::new(FailureClass::NoSpace, "no space left"))));
    assert_eq!(lab.journal.len(), lines + 1, "no attempt has failed");
    let reason = "on worker b.example: no space left: free some space, then run the same command again".to_owned();
    let stopped = SweepState::Stopped { reason };
    lab.expect_revoke(&given);
    lab.expect_sweep("s", stopped.clone());
    // The result comes all the same; the trial ends when the sweep runs again.
    lab.complete(&given);
    lab.expect_nothing();
    assert_eq!(lab.core.sweep(&sweep("s")).expect("a sweep").state, stopped);
    let open = lab.core.trials(&sweep("s")).expect("a sweep").all(|(_, status)| status == TrialStatus::Open);
    assert!(open);
    lab.restart();
    lab.submit(&plan);
    lab.expect_trial("s", 0, &completed(keys[0]));
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.expect_trial("s", 1, &completed(keys[1]));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_stopped_sweep_can_be_cancelled() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _) = single("s", "y");
    lab.submit(&plan);
    lab.stop("s");
    lab.expect_sweep("s", SweepState::Stopped { reason: "no room".to_owned() });
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    lab.expect_trial("s", 0, &StageOutcome::Cancelled);
    lab.expect_sweep("s", SweepState::Cancelled);
    lab.finish();
}

#[test]
fn the_older_sweep_goes_first() {
    let mut lab = Lab::new(Policy::default());
    let (first, a) = single("first", "a");
    let (second, b) = single("second", "b");
    lab.submit(&first);
    lab.submit(&second);
    lab.join("w", 2);
    assert_eq!(lab.next_lease().keys(), [a]);
    assert_eq!(lab.next_lease().keys(), [b]);
    lab.finish();
}

#[test]
fn a_sweep_without_trials_has_completed() {
    let mut lab = Lab::new(Policy::default());
    lab.submit(&PlanBuilder::default().build("s"));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_plan_that_differs_and_a_sweep_that_is_unknown_are_refused() {
    let mut lab = Lab::new(Policy::default());
    let plan = |trials: usize| {
        let mut plan = PlanBuilder::default();
        let prepare = plan.prepare("y");
        let dense = plan.dense(prepare, 1);
        (0..trials).for_each(|_| _ = plan.trial(&[prepare, dense]));
        plan.build("s")
    };
    lab.submit(&plan(1));
    lab.submit(&plan(1));
    let rejection =
        lab.rejects(&Event::SweepSubmitted { plan: plan(2), share: ShareChange::default(), open: false, by: None });
    assert_eq!(rejection, Rejection::PlanDiffers(sweep("s")));
    let unknown = Event::SweepCancelled { sweep: sweep("t"), by: None };
    assert_eq!(lab.rejects(&unknown), Rejection::UnknownSweep(sweep("t")));
    lab.finish();
}
