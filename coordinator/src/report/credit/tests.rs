//! Scores that the tests of all subjects share, and the whole of the section.

use super::*;
use crate::report::{SplitScores, build, example, html, markdown};

/// 24 rows with ties, drawn once.
pub(super) fn loans() -> SplitScores {
    let logits = [
        -0.34, -0.69, -3.02, -0.04, 0.45, -0.04, -1.03, -0.98, -1.48, -1.31, 1.56, 1.56, 0.47, 0.38, -1.08, -0.61,
        -0.39, -0.44, -1.73, -0.42, 1.86, -1.05, 0.36, 0.62,
    ];
    let targets = [0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1];
    SplitScores { logits: logits.to_vec(), targets: targets.map(|target| target as f32).to_vec() }
}

/// 40 rows without ties: of row i the log-odds ((37 i mod 40) − 19.5) / 8, and positive if 13 i mod 7 is below 2, or below 4 with positive
/// log-odds.
pub(super) fn forty() -> SplitScores {
    let logits: Vec<f32> = (0..40).map(|i| (((i * 37) % 40) as f32 - 19.5) / 8.0).collect();
    let targets = (0..40).map(|i| f32::from((i * 13) % 7 < if logits[i] > 0.0 { 4 } else { 2 }));
    SplitScores { targets: targets.collect(), logits }
}

/// A net for each of `tests`, all with the validation scores of [`forty`].
pub(super) fn nets(tests: &[SplitScores]) -> Nets {
    let net = |test: &SplitScores| TrialScores { validation: forty(), test: test.clone() };
    (0..).zip(tests.iter().map(net)).collect()
}

pub(super) fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9 * (1.0 + expected.abs()), "{found} is not {expected}");
}

/// The same rows with another order of some scores.
pub(super) fn turned(scores: &SplitScores, by: usize) -> SplitScores {
    let mut logits = scores.logits.clone();
    let count = logits.len().min(8);
    logits[..count].rotate_left(by);
    SplitScores { logits, targets: scores.targets.clone() }
}

/// The report of made-up trials whose scores are those of [`forty`] in an order that depends on the trial.
fn reported(decision: Option<Decision>) -> Report {
    let (mut plan, outcomes) = example::realistic();
    plan.sweep.data.rows = [120, 40, 40];
    plan.sweep.decision = decision;
    let report = build(&plan, &outcomes);
    let mut read = |hash: ContentHash| {
        let by = usize::from(hash.as_bytes()[0]) % 8;
        Some(TrialScores { validation: turned(&forty(), by), test: turned(&forty(), by) })
    };
    let of_rows = (0..40).map(|row| u32::from(row % 3 == 0)).collect();
    let levels = vec!["north".to_owned(), "<b>south".to_owned()];
    let columns = [GroupColumn { name: "region".to_owned(), levels, of_rows }];
    let credit = credit(&report, &columns, &mut read);
    assert!(credit.is_some());
    report.with_credit(credit)
}

#[test]
fn every_form_of_the_report_has_the_section() {
    let report = reported(Some(Decision::Approve(0.7)));
    let credit = report.credit.as_ref().expect("there are scores");
    assert_eq!(credit.cells[0].cell, report.baseline.as_ref().expect("a dense net").cell);
    assert!(credit.cells.iter().all(|cell| cell.groups.len() == 2 && cell.decisions.len() == 1));
    assert_eq!(serde_json::from_str::<Report>(&report.to_json()).expect("a report"), report);
    let section = |text: String, from: &str, to: &str| {
        let (_, after) = text.split_once(from).expect("the section");
        after.split_once(to).expect("the next section").0.to_owned()
    };
    let page = html(&report);
    let found = section(page, "id=\"decisions\"", "<section id=\"sparsity\"");
    assert!(found.contains("&lt;b&gt;south") && !found.contains("<b>south") && found.contains("<svg"));
    let page = markdown(&report);
    assert!(page.plots.iter().any(|(name, _)| name == "reliability.svg"));
    let sentences =
        report.findings().into_iter().filter(|text| text.starts_with("Decisions") || text.starts_with("By group"));
    let text = sentences.map(|text| format!("- {text}\n")).collect::<String>();
    insta::assert_snapshot!(text + &section(page.text, "## Decisions, groups and calibration", "## Against sparsity"));
}

#[test]
fn without_a_decision_none_is_assumed() {
    let report = reported(None);
    assert!(report.findings().iter().all(|text| !text.starts_with("Decisions")));
    let text = markdown(&report).text;
    assert!(
        text.contains("### Decisions at several approval rates") && !text.contains("### Approval and errors by group")
    );
}

#[test]
fn scores_that_are_gone_or_of_other_rows_are_left_out() {
    let (plan, outcomes) = example::realistic();
    let report = build(&plan, &outcomes);
    assert_eq!(credit(&report, &[], &mut |_| None), None);
    // Of forty rows, where the data has more.
    let mut read = |_| Some(TrialScores { validation: forty(), test: forty() });
    assert_eq!(credit(&report, &[], &mut read), None);
}
