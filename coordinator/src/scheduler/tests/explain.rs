//! What is said of sweeps and workers, against what the core was told.

use super::*;
use crate::explain;

fn of_sweep(lab: &Lab) -> String {
    explain::sweep(&lab.core, &sweep("s")).expect("is there").join("\n")
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for words in words {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}

#[test]
fn a_sweep_says_why_it_waits() {
    let mut lab = Lab::new(Policy { reattach_ms: 10_000, ..Policy::default() });
    let (plan, _, dense) = fan("s", 3);
    lab.submit(&plan);
    says(
        &of_sweep(&lab),
        &["0 of 3 trials", "1 stage is ready, and no worker is attached", "3 stages wait for others"],
    );
    lab.join("w", 1);
    let given = lab.next_lease();
    says(&of_sweep(&lab), &["1 stage is with worker w.example (w)", "3 stages wait"]);
    lab.apply(&given.report(0, completed(given.stages[0].0)));
    lab.apply(&given.ended(None));
    lab.calibrate("w", "dense", 2);
    let given = lab.next_lease();
    assert_eq!(given.keys(), dense[..2]);
    says(&of_sweep(&lab), &["2 stages are with worker", "1 stage is ready, and all 1 slots of 1 worker are busy"]);
    lab.leave("w", Departure::Disconnected);
    says(&of_sweep(&lab), &["whose connection broke and who is waited for"]);
    lab.restart();
    says(&of_sweep(&lab), &["3 stages are ready; the coordinator has just begun"]);
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
    let text = of_sweep(&lab);
    says(&text, &["2 stages failed (input;", "no such column", "secateur retry s", "1 trial diverged"]);
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
    says(&explain::worker(&lab.core, &status).join("\n"), &["1 of 1 slots busy with 1 stage,", "0 stages completed"]);
}
