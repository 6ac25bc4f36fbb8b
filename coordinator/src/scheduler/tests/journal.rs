//! The journal: versions, damage, and what a new life does not take over.

use super::*;
use crate::scheduler::{Record, SweepState};

#[test]
fn a_journal_of_another_version_is_refused_by_its_number() {
    let line = Entry::new(Timestamp(1), Record::Started).to_json();
    assert_eq!(line, r#"{"version":6,"at":1,"record":{"record":"started"}}"#);
    let of_version = |version: &str| line.replace("\"version\":6", &format!("\"version\":{version}"));
    for other in ["1", "7"] {
        let error = Entry::from_json(&of_version(other)).expect_err("another version").to_string();
        assert_eq!(error, format!("the journal entry is of version {other}, and this secateur reads versions 2 to 6"));
    }
    for older in ["2", "3", "4", "5"] {
        assert_eq!(Entry::from_json(&of_version(older)).expect("an older version").record, Record::Started);
    }
    for damaged in ["", "{", "null", "{\"version\":6}", &line[..line.len() - 1], &line.replace("at", "when")] {
        assert!(Entry::from_json(damaged).is_err(), "{damaged:?}");
    }
}

#[test]
fn a_long_plan_is_written_as_a_short_text_and_read_however_it_was_written() {
    for (trials, is_text) in [(3, false), (3_000, true)] {
        let (plan, ..) = fan("s", trials);
        let json = serde_json::to_string(&*plan).expect("plain data");
        let record = Record::SweepSubmitted { plan };
        let entry = Entry::new(Timestamp(1), record.clone());
        let written = entry.to_json();
        assert_eq!(!written.contains(&json), is_text);
        assert!(!is_text || written.len() * 5 < json.len(), "{} of {}", written.len(), json.len());
        assert_eq!(Entry::from_json(&written).expect("an entry"), entry);
        let older = format!(r#"{{"version":5,"at":1,"record":{{"record":"sweep_submitted","plan":{json}}}}}"#);
        assert_eq!(Entry::from_json(&older).expect("an entry").record, record);
    }
}

#[test]
fn a_journal_that_contradicts_itself_is_refused() {
    let (plan, key) = single("s", "y");
    let (_, _, dense) = fan("t", 1);
    let ended = |stage| Record::StageEnded { stage, outcome: completed(key) };
    let submitted = || Record::SweepSubmitted { plan: Arc::clone(&plan) };
    let restore = |records: Vec<Record>| {
        let entries = records.into_iter().map(|record| Entry::new(Timestamp(0), record));
        Core::restore(Policy::default(), entries).err()
    };
    assert_eq!(restore(vec![submitted(), ended(key)]), None);
    assert_eq!(restore(vec![ended(key)]), Some(Rejection::UnknownStage(key)));
    assert_eq!(restore(vec![submitted(), ended(key), ended(key)]), Some(Rejection::EndedAlready(key)));
    assert!(matches!(restore(vec![submitted(), submitted()]), Some(Rejection::InvalidPlan { .. })));
    let resumed = Record::SweepResumed { sweep: sweep("s") };
    assert!(matches!(restore(vec![submitted(), resumed]), Some(Rejection::NotRunning { .. })));
    let (fan, ..) = fan("t", 1);
    let failure = failure(FailureClass::Executor);
    let early = Record::AttemptFailed { stage: dense[0], lanes: 1, failure, worker: None, attempt: None };
    let submitted = Record::SweepSubmitted { plan: fan };
    assert_eq!(restore(vec![submitted, early]), Some(Rejection::ParentsMissing(dense[0])));
}

#[test]
fn a_lease_of_an_earlier_life_is_not_taken_for_one_of_this_life() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    let old = lab.next_lease();
    lab.restart();
    assert_eq!(lab.core.workers().count(), 0);
    lab.join("w", 1);
    let new = lab.next_lease();
    assert_ne!(old.lease, new.lease);
    assert_eq!(lab.rejects(&old.ended(None)), Rejection::UnknownLease(old.lease.clone()));
    lab.apply(&old.report(0, StageOutcome::Failed(failure(FailureClass::Input))));
    lab.expect_nothing();
    // But what the earlier life's lease computed is as good as anything.
    lab.apply(&old.report(0, completed(key)));
    lab.expect_revoke(&new);
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", SweepState::Completed);
    lab.restart();
    assert_eq!(lab.core.sweep(&sweep("s")).expect("a sweep").stages_computed, 0);
    lab.submit(&plan);
    lab.finish();
}

#[test]
fn a_restart_while_alive_is_the_same_as_one_from_the_journal() {
    let mut lab = Lab::new(Policy::default());
    let (plan, _, _) = fan("s", 3);
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.calibrate("w", "dense", 2);
    let given = lab.next_lease();
    lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
    lab.next_lease();
    lab.apply(&Event::Started);
    assert_eq!(lab.core.ready_stages(), 3);
    lab.finish();
}

#[test]
fn a_changed_policy_does_not_change_what_the_journal_says() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    for _ in 0..2 {
        let given = lab.next_lease();
        lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
    }
    lab.policy.max_attempts = NonZeroU32::MIN;
    lab.restart();
    assert_eq!(lab.core.outcome(&key), None);
    lab.finish();
}
