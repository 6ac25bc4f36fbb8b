//! What is said of sweeps and workers, against what the core was told.

use super::*;
use crate::queries::explanation;

fn of_sweep(lab: &Lab) -> String {
    explanation::sweep::Standing::of(&lab.core, &sweep("s")).expect("is there").sentences().join("\n")
}

#[test]
fn a_sweep_says_why_it_waits() {
    let mut lab = Lab::new(Policy { reattach_ms: 10_000, ..Policy::default() });
    let (plan, _, dense) = fan("s", 3);
    lab.submit(&plan);
    let mut said = format!("without a worker:\n{}\n", of_sweep(&lab));
    lab.join("w", 1);
    let given = lab.next_lease();
    said += &format!("\nwith a worker at work:\n{}\n", of_sweep(&lab));
    lab.apply(&given.report(0, completed(given.stages[0].0)));
    lab.apply(&given.ended(None));
    lab.calibrate("w", "dense", 2);
    let given = lab.next_lease();
    assert_eq!(given.keys(), dense[..2]);
    said += &format!("\nwith more to do than slots:\n{}\n", of_sweep(&lab));
    lab.leave("w", Departure::Disconnected);
    said += &format!("\nwith a worker that is away:\n{}\n", of_sweep(&lab));
    lab.restart();
    said += &format!("\nafter a restart:\n{}\n", of_sweep(&lab));
    insta::assert_snapshot!(said);
    lab.finish();
}

#[test]
fn failures_are_told_together_and_results_apart() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _, dense) = fan("s", 4);
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&given.report(0, completed(given.stages[0].0)));
    lab.apply(&given.ended(None));
    lab.calibrate("w", "dense", 4);
    let given = lab.next_lease();
    assert_eq!(given.keys(), dense);
    let input = StageOutcome::Failed(Failure::new(FailureClass::Input, "no such column"));
    lab.apply(&given.report(0, input.clone()));
    lab.apply(&given.report(1, input));
    lab.apply(&given.report(2, StageOutcome::Diverged { step: 3 }));
    lab.apply(&given.report(3, StageOutcome::Cancelled));
    lab.effects.clear();
    insta::assert_snapshot!(of_sweep(&lab));
    let detail = lab.core.stage_detail(&dense[3]).expect("is there");
    assert_eq!((detail.failed_attempts, detail.attempts), (0, vec![]));
}

#[test]
fn a_stage_remembers_why_its_attempts_failed() {
    let mut lab = Lab::new(Policy::default());
    let (plan, prepare) = single("s", "x");
    lab.submit(&plan);
    lab.join("w", 1);
    for _ in 0..2 {
        let given = lab.next_lease();
        lab.apply(&given.ended(Some(Failure::new(FailureClass::Executor, "out of memory"))));
    }
    let detail = lab.core.stage_detail(&prepare).expect("is there");
    assert_eq!((detail.failed_attempts, detail.width_limit), (2, Some(1)));
    let last = detail.attempts.last().expect("is kept");
    assert_eq!(
        (last.failure.message.as_str(), last.worker.as_deref(), last.lanes),
        ("out of memory", Some("w.example"), 1)
    );
    assert_eq!(detail.worker, Some(worker("w")));
    let status = lab.core.workers().next().expect("is there");
    insta::assert_snapshot!(explanation::worker::sentences(&lab.core, &status).join("\n"));
}
