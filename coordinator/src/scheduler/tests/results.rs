//! Results that are late, doubled, forged or mad.

use super::*;
use crate::scheduler::SweepState;

/// A lab with one stage, leased to `a` first, lost, then leased to `b`.
fn leased_twice() -> (Lab, StageKey, Given, Given) {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("a", 1);
    let old = lab.next_lease();
    lab.leave("a", Departure::Lost);
    lab.join("b", 1);
    let new = lab.next_lease();
    assert_eq!((old.stages[0].1, new.stages[0].1), (1, 2));
    (lab, key, old, new)
}

#[test]
fn a_late_result_is_welcome_and_the_newer_lease_is_revoked() {
    let (mut lab, key, old, new) = leased_twice();
    lab.apply(&old.report(0, completed(key)));
    lab.expect_revoke(&new);
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", SweepState::Completed);
    // What the newer attempt still says changes nothing.
    lab.apply(&new.report(0, StageOutcome::Diverged { step: 1 }));
    lab.apply(&new.ended(None));
    assert_eq!(lab.core.outcome(&key), Some(completed(key)));
    assert!(!lab.core.workers().any(|worker| worker.leaving), "it handed back what had been revoked");
    lab.finish();
}

#[test]
fn a_result_that_comes_twice_counts_once() {
    let (mut lab, key, old, new) = leased_twice();
    lab.complete(&new);
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", SweepState::Completed);
    lab.apply(&new.report(0, completed(key)));
    lab.apply(&old.report(0, completed(key)));
    assert_eq!(lab.core.sweep(&sweep("s")).expect("a sweep").stages_computed, 1);
    assert_eq!(lab.rejects(&new.ended(None)), Rejection::UnknownLease(new.lease.clone()));
    lab.finish();
}

#[test]
fn a_failure_of_an_old_attempt_is_ignored() {
    let (mut lab, key, _, new) = leased_twice();
    let mut old_attempt = new.clone();
    old_attempt.stages[0].1 = 1;
    lab.apply(&old_attempt.report(0, StageOutcome::Failed(failure(FailureClass::Input))));
    assert_eq!(lab.core.outcome(&key), None);
    lab.expect_nothing();
    lab.finish();
}

#[test]
fn only_the_holder_of_a_lease_can_fail_or_end_it() {
    let (mut lab, key, old, new) = leased_twice();
    lab.join("c", 1);
    let forged = Given { worker: worker("c"), ..new.clone() };
    let not_the_owner = Rejection::NotTheOwner { worker: worker("c"), lease: new.lease.clone() };
    let failed = StageOutcome::Failed(failure(FailureClass::Input));
    assert_eq!(lab.rejects(&forged.report(0, failed.clone())), not_the_owner);
    assert_eq!(lab.rejects(&forged.report(0, StageOutcome::Cancelled)), not_the_owner);
    assert_eq!(lab.rejects(&forged.ended(None)), not_the_owner);
    assert_eq!(lab.rejects(&old.report(0, failed)), Rejection::UnknownWorker(worker("a")));
    assert_eq!(lab.rejects(&old.ended(None)), Rejection::UnknownWorker(worker("a")));
    // The same process, attached anew, may bring what it had computed.
    lab.apply(&forged.report(0, completed(key)));
    lab.expect_revoke(&new);
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn results_of_stages_that_cannot_have_run_are_refused() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _, dense) = fan("s", 1);
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    let forged = Given { stages: vec![(dense[0], 1)], ..given.clone() };
    assert_eq!(lab.rejects(&forged.report(0, completed(dense[0]))), Rejection::ParentsMissing(dense[0]));
    let nowhere = StageKey(ContentHash::of(b"nowhere"));
    let forged = Given { stages: vec![(nowhere, 1)], ..given };
    assert_eq!(lab.rejects(&forged.report(0, completed(nowhere))), Rejection::UnknownStage(nowhere));
    for lease in ["0-0", "1-1", "01-0", "1-00", "1-", "-", "1-99999999999999999999", "x"] {
        let event = Event::LeaseEnded { worker: worker("w"), lease: lease.parse().expect("an id"), failure: None };
        assert!(matches!(lab.rejects(&event), Rejection::UnknownLease(_)), "{lease}");
    }
    lab.finish();
}

#[test]
fn a_parent_that_diverged_or_collapsed_shows_in_the_trial() {
    // prepare ──▶ dense 0 (diverges) ──▶ prune
    //        └──▶ dense 1 (collapses) ──▶ prune
    let mut plan = PlanBuilder::default();
    let prepare = plan.prepare("y");
    for seed in 0..2 {
        let dense = plan.dense(prepare, seed);
        let prune = plan.prune(prepare, dense, 1);
        plan.trial(&[prepare, dense, prune]);
    }
    let mut lab = Lab::new(Policy::default());
    lab.submit(&plan.build("s"));
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.calibrate("w", "dense", 2);
    let given = lab.next_lease();
    let diverged = StageOutcome::Diverged { step: 7 };
    let collapsed = StageOutcome::Collapsed { layer: "layers.0".to_owned() };
    lab.apply(&given.report(0, diverged.clone()));
    lab.expect_trial("s", 0, &diverged);
    lab.apply(&given.report(1, collapsed.clone()));
    lab.expect_trial("s", 1, &collapsed);
    lab.expect_sweep("s", SweepState::Completed);
    lab.apply(&given.ended(None));
    let status = lab.core.sweep(&sweep("s")).expect("a sweep");
    assert_eq!((status.trials_completed, status.trials_failed, status.stages_ended), (0, 2, 5));
    lab.finish();
}

/// As where a stage measures a net that an earlier one left.
#[test]
fn a_trial_has_the_results_of_all_stages_since_its_net() {
    let mut plan = PlanBuilder::default();
    let prepare = plan.prepare("y");
    let early =
        DenseSpec { prepare, model: model(), training: training(), regularization: None, stop_after: Some(1), seed: 0 };
    let last = plan.add(StageSpec::Dense(early), None);
    plan.trial(&[prepare, last]);
    let mut lab = Lab::new(Policy::default());
    lab.submit(&plan.build("s"));
    lab.join("w", 1);
    let result = |metrics: &[(Metric, f64)], role: Role| {
        let metrics = metrics.iter().map(|(metric, value)| (metric.on(Split::Test), (*value).into())).collect();
        StageResult { metrics, artifacts: Artifacts::from([(role, Artifact { hash: prepare.0, size: 1 })]) }
    };
    let given = lab.next_lease();
    let first = result(&[(Metric::Auc, 0.5), (Metric::Brier, 0.25)], Role::Prepared);
    lab.apply(&given.report(0, StageOutcome::Completed(first)));
    lab.apply(&given.ended(None));
    let given = lab.next_lease();
    let second = result(&[(Metric::Auc, 0.75), (Metric::Ks, 0.5)], Role::EarlyCheckpoint);
    lab.apply(&given.report(0, StageOutcome::Completed(second)));
    let mut all = result(&[(Metric::Auc, 0.75), (Metric::Brier, 0.25), (Metric::Ks, 0.5)], Role::Prepared);
    all.artifacts.insert(Role::EarlyCheckpoint, Artifact { hash: prepare.0, size: 1 });
    let all = StageOutcome::Completed(all);
    lab.expect_trial("s", 0, &all);
    let results = lab.core.results(&sweep("s")).expect("a sweep");
    assert_eq!(results.outcomes().collect::<Vec<_>>(), [Some(all)]);
    lab.expect_sweep("s", SweepState::Completed);
    lab.apply(&given.ended(None));
    lab.finish();
}
