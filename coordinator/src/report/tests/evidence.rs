//! How sure the front is, as the report has it.

use super::*;
use crate::report::{Evidence, html, markdown};

fn evidence(report: &Report) -> &Evidence {
    report.evidence.as_ref().expect("there are results")
}

#[test]
fn cells_of_the_front_have_probabilities_and_rivals() {
    let (mut plan, mut outcomes) = small();
    let (more, _) = sweep(vec![cell("c", Some("magnitude"), 0.4, None)], 2);
    plan.cells.insert(2, more.cells[0].clone());
    plan.trials.extend(more.trials);
    // Of the same quality as `b` on average, but without its noise, and hardly larger.
    for (trial, auc) in [("c-1", 0.809), ("c-2", 0.809)] {
        outcomes.insert(trial.parse().expect("an id"), outcome(&plan.cells[2], 1));
        change(&mut outcomes, trial, Metric::Auc, Split::Validation, auc);
        change(&mut outcomes, trial, Metric::NonzeroParameters, Split::Validation, 51.0);
    }
    let report = build(&plan, &outcomes);
    assert_eq!(front(&report), ["a", "b"]);
    let [a, b] = &evidence(&report).front[..] else { panic!("{:?}", report.evidence) };
    // Nothing is as small as `a`, and of two seeds it is certain by how much.
    assert_eq!((a.cell.as_str(), a.probability, &a.rival, a.seeds), ("a", 1.0, &None, 2));
    // A larger cell cannot dominate `b`, however noisy it is.
    assert_eq!((b.probability, &b.rival), (1.0, &None));
    // If it were smaller, it would: `b` leads by 0.001 with a standard error of 0.01, which is t = 0.1 with one degree of freedom.
    for trial in ["c-1", "c-2"] {
        change(&mut outcomes, trial, Metric::NonzeroParameters, Split::Validation, 49.0);
    }
    let report = build(&plan, &outcomes);
    assert_eq!(front(&report), ["a", "c", "b"]);
    let b = &evidence(&report).front[2];
    let expected = 0.5 + (0.1_f64).atan() / std::f64::consts::PI;
    assert!((b.probability - expected).abs() < 0.05, "{} is not {expected}", b.probability);
    assert_eq!(b.rival.as_ref().map(|rival| rival.as_str()), Some("c"));
    assert!((b.rival_probability + b.probability - 1.0).abs() < 1e-12);
}

#[test]
fn every_form_of_the_report_says_how_sure_the_front_is() {
    let (plan, outcomes) = realistic();
    let report = build(&plan, &outcomes);
    let found = evidence(&report);
    assert_eq!(
        found.front.iter().map(|found| &found.cell).collect::<Vec<_>>(),
        report.front.iter().collect::<Vec<_>>()
    );
    for found in &found.importance {
        let explained: f64 = found.settings.iter().map(|share| share.share).sum();
        assert!((explained + found.rest - 1.0).abs() < 1e-6, "{found:?}");
        assert!(found.settings.is_sorted_by(|one, two| one.share >= two.share));
    }
    let volume = found.hypervolume.as_ref().expect("two objectives that differ");
    let [low, high] = volume.share.ci95.expect("three seeds");
    assert!(0.0 < low && low <= volume.share.mean && volume.share.mean <= high && high <= 1.0);
    // The same trials give the same bytes, and what is written is read.
    assert_eq!(build(&plan, &outcomes), report);
    assert_eq!(serde_json::from_str::<Report>(&report.to_json()).expect("reads"), report);
    let (page, text) = (html(&report), markdown(&report).text);
    for said in ["How sure is the front", "What explains the results", "interactions and noise"] {
        assert!(page.contains(said) && text.contains(said), "{said}");
    }
    let sentence = report.findings().into_iter().find(|sentence| sentence.starts_with("Of the variance"));
    insta::assert_snapshot!(sentence.expect("a finding"));
}

/// Sizes are counted from the sparsity asked for and the strength of the penalty, and from nothing else.
#[test]
fn settings_explain_what_they_decide() {
    let (plan, outcomes) = realistic();
    let report = build(&plan, &outcomes);
    let sizes =
        evidence(&report).importance.iter().find(|found| found.quantity.metric().is_of_net()).expect("an objective");
    let share = |key: &str| {
        let found = sizes.settings.iter().find(|share| share.settings == [key]);
        found.unwrap_or_else(|| panic!("{sizes:?}")).share
    };
    assert_eq!(sizes.settings[0].settings, ["pruning.sparsity"]);
    assert!(share("pruning.sparsity") > 0.95 && share("pruning.strategy").abs() < 0.01, "{sizes:?}");
}

#[test]
fn one_seed_says_nothing_of_seeds() {
    let (mut plan, outcomes) = small();
    plan.trials.retain(|trial| trial.seed == 1);
    let report = build(&plan, &outcomes);
    let found = evidence(&report);
    assert!(found.front.is_empty());
    assert_eq!(found.hypervolume.as_ref().expect("a front").share.ci95, None);
    assert!(build(&plan, &BTreeMap::new()).evidence.is_none());
}

/// More points than are drawn: the rest of the evidence is there.
#[test]
fn a_large_front_has_no_probabilities() {
    let cells: Vec<Cell> = (0..150).map(|place| cell(&format!("c{place}"), Some("magnitude"), 0.5, None)).collect();
    let (plan, mut outcomes) = sweep(cells, 2);
    for place in 0..150_u32 {
        for seed in 1..=2 {
            let trial = format!("c{place}-{seed}");
            change(&mut outcomes, &trial, Metric::Auc, Split::Validation, 0.5 + f64::from(place) / 1_000.0);
            change(&mut outcomes, &trial, Metric::NonzeroParameters, Split::Validation, f64::from(place + 1));
        }
    }
    let report = build(&plan, &outcomes);
    assert_eq!(report.front.len(), 150);
    assert!(evidence(&report).front.is_empty() && evidence(&report).hypervolume.is_some());
}
