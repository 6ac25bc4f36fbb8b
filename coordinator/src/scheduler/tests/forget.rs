//! Sweeps that are forgotten: what goes with them, what others keep, and what happens to late results.

use std::collections::HashSet;

use super::*;
use crate::scheduler::SweepState;

/// Hands out and completes everything that is ready.
fn complete_all(lab: &mut Lab) {
    while let Some(effect) = lab.effects.pop_front() {
        match effect {
            Effect::Lease { worker, lease, stages } => lab.complete(&Given { worker, lease, stages }),
            Effect::Calibrate { worker, class, .. } => lab.answer(worker.as_str(), class.as_str(), 4),
            _ => {}
        }
    }
}

impl Lab {
    /// Every file that a sweep refers to.
    pub(super) fn files(&self) -> HashSet<ContentHash> {
        let of_stages = (0..).step_by(2).map_while(|begin| self.core.files_of_stages(begin..begin + 2)).flatten();
        of_stages.chain(self.core.plans().flat_map(|plan| plan.files())).collect()
    }
}

fn forget(id: &str) -> Event {
    Event::SweepForgotten { sweep: sweep(id) }
}

/// The hash of the data, and those of the results: a stage's file is named by its key here.
fn files_of(plan: &PackedPlan, completed: &[StageKey]) -> HashSet<ContentHash> {
    completed.iter().map(|key| key.0).chain([plan.sweep.data.hash]).collect()
}

#[test]
fn a_sweep_that_is_forgotten_is_new_when_it_comes_again() {
    let mut lab = Lab::new(Policy::default());
    let (plan, prepare, dense) = fan("s", 3);
    let all = [&[prepare], &dense[..]].concat();
    lab.submit(&plan);
    assert_eq!(lab.files(), files_of(&plan, &[]));
    lab.join("w", 1);
    assert_eq!(lab.rejects(&forget("s")), Rejection::StillRunning(sweep("s")));
    complete_all(&mut lab);
    assert_eq!(lab.files(), files_of(&plan, &all));
    lab.apply(&forget("s"));
    assert_eq!(lab.core.sweeps().count(), 0);
    assert_eq!(
        (lab.core.sweep(&sweep("s")), lab.core.stage(&prepare), lab.core.generation(&sweep("s"))),
        (None, None, None)
    );
    assert_eq!(lab.files(), HashSet::new());
    assert_eq!(lab.core.is_published(prepare.0, 0..100), Some(false));
    assert_eq!(lab.core.is_published(prepare.0, 100..200), None);
    assert_eq!(lab.rejects(&forget("s")), Rejection::UnknownSweep(sweep("s")));
    lab.restart();
    assert_eq!(lab.core.sweeps().count(), 0);
    lab.join("w2", 1);
    lab.submit(&plan);
    complete_all(&mut lab);
    let status = lab.core.sweep(&sweep("s")).expect("a sweep");
    assert_eq!((status.state, status.stages_computed, status.stages), (SweepState::Completed, 4, 4));
    assert_eq!(lab.files(), files_of(&plan, &all));
    lab.finish();
}

#[test]
fn what_another_sweep_lists_stays_with_it() {
    let mut lab = Lab::new(Policy::default());
    // The first brings the stages that both list, and one of its own.
    let (first, prepare, dense) = fan("first", 3);
    let (second, _, shared) = fan("second", 2);
    assert_eq!(dense[..2], shared);
    lab.submit(&first);
    lab.join("w", 1);
    complete_all(&mut lab);
    lab.submit(&second);
    complete_all(&mut lab);
    lab.apply(&forget("first"));
    assert_eq!(lab.core.outcome(&prepare), Some(completed(prepare)));
    assert_eq!(lab.core.outcome(&shared[1]), Some(completed(shared[1])));
    assert_eq!(lab.core.outcome(&dense[2]), None);
    assert_eq!(lab.files(), files_of(&second, &[prepare, shared[0], shared[1]]));
    assert_eq!(lab.core.sweeps_of(&prepare), [sweep("second")]);
    let inputs = lab.core.stage_with_inputs(&shared[0]).expect("a stage").inputs;
    assert_eq!(inputs[&Role::Checkpoint].hash, prepare.0);
    lab.restart();
    lab.join("w2", 1);
    lab.submit(&first);
    complete_all(&mut lab);
    assert_eq!(lab.core.sweep(&sweep("first")).expect("a sweep").stages_computed, 1, "only what was forgotten");
    lab.apply(&forget("second"));
    assert_eq!(lab.core.outcome(&shared[0]), Some(completed(shared[0])));
    lab.finish();
}

#[test]
fn a_late_result_of_a_forgotten_sweep_is_nobodys() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    lab.expect_trial("s", 0, &StageOutcome::Cancelled);
    lab.expect_revoke(&given);
    lab.expect_sweep("s", SweepState::Cancelled);
    lab.apply(&forget("s"));
    assert_eq!(lab.rejects(&given.report(0, completed(key))), Rejection::UnknownStage(key));
    lab.apply(&given.ended(None));
    lab.expect_nothing();
    // It wants the stage again, and a result of before is as good as a new one.
    lab.leave("w", Departure::Drained);
    lab.submit(&plan);
    lab.apply(&given.report(0, completed(key)));
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}
