//! The journal: versions, damage, and what a new life does not take over.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::DeflateEncoder};

use super::*;
use crate::scheduler::{Record, SweepState, UnreadableEntry, entries};

/// The only entry of these lines.
fn only(lines: &[impl AsRef<str>]) -> Result<Entry, UnreadableEntry> {
    let mut found: Vec<Entry> = entries(lines).collect::<Result<_, _>>()?;
    assert_eq!(found.len(), 1);
    Ok(found.remove(0))
}

#[test]
fn a_journal_of_another_version_is_refused_by_its_number() {
    let line: String = Entry::new(Timestamp(1), Record::Started).into_lines().collect();
    assert_eq!(line, r#"{"version":10,"at":1,"record":{"record":"started"}}"#);
    let of_version = |version: &str| line.replace("\"version\":10", &format!("\"version\":{version}"));
    for other in ["1", "11"] {
        let error = only(&[of_version(other)]).expect_err("another version").to_string();
        assert_eq!(error, format!("the journal entry has version {other}; this release supports versions 2 to 10"));
    }
    for older in ["2", "3", "4", "5", "6", "7", "8", "9"] {
        assert_eq!(only(&[of_version(older)]).expect("an older version").record, Record::Started);
    }
    for damaged in ["", "{", "null", "{\"version\":10}", &line[..line.len() - 1], &line.replace("at", "when")] {
        assert!(only(&[damaged]).is_err(), "{damaged:?}");
    }
}

/// Base64 of deflated JSON, as versions before wrote a long plan.
fn as_one_text(json: &str) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(json.as_bytes()).expect("memory takes all that is written");
    STANDARD.encode(encoder.finish().expect("memory takes all that is written"))
}

#[test]
fn a_plan_is_read_however_it_was_written() {
    for (trials, is_long) in [(3, false), (9_000, true)] {
        let (plan, ..) = fan("s", trials);
        let json = serde_json::to_string(&*plan).expect("plain data");
        let record = Record::SweepSubmitted { plan, open: false, by: None };
        let entry = Entry::new(Timestamp(1), record.clone());
        let written: Vec<String> = entry.clone().into_lines().collect();
        if is_long {
            let length: usize = written.iter().map(String::len).sum();
            assert!(length * 5 < json.len(), "{length} of {}", json.len());
            assert!(written.len() > 4 && written.iter().all(|line| line.len() < 400_000));
        } else {
            assert!(written[0].contains(&json));
        }
        assert_eq!(only(&written).expect("an entry"), entry);
        for (version, plan) in [(5, json.clone()), (8, json.clone()), (6, format!("\"{}\"", as_one_text(&json)))] {
            let older =
                format!(r#"{{"version":{version},"at":1,"record":{{"record":"sweep_submitted","plan":{plan}}}}}"#);
            assert_eq!(only(&[older]).expect("an entry").record, record);
        }
    }
}

#[test]
fn pieces_of_a_plan_that_are_not_all_there_are_no_plan() {
    let lines = |sweep: &str| -> Vec<String> {
        Entry::new(Timestamp(1), Record::SweepSubmitted { plan: fan(sweep, 9_000).0, open: false, by: None })
            .into_lines()
            .collect()
    };
    let (a, b) = (lines("a"), lines("b"));
    let started = || Entry::new(Timestamp(1), Record::Started).into_lines();
    let count = a.len();
    let missing = |lines: &[String]| {
        let found: Result<Vec<Entry>, _> = entries(lines).collect();
        matches!(found, Err(UnreadableEntry::PiecesMissing { sweep }) if sweep.as_str() == "a")
    };
    assert!(missing(&a[1..]));
    assert!(missing(&a[count - 1..]));
    assert!(missing(&[&a[..count - 2], &a[count - 1..]].concat()), "the last of them");
    assert!(missing(&[&a[..1], &a[2..]].concat()));
    assert!(missing(&[&b[..count - 1], &a[count - 1..]].concat()), "another plan's");
    let between: Vec<String> = a[..2].iter().cloned().chain(started()).chain(a[2..].iter().cloned()).collect();
    assert!(missing(&between), "something else is between them");
    // Whoever wrote them died; the rest of the journal is as it is, and they may be written again.
    for torn in 0..count - 1 {
        let lines: Vec<String> = a[..torn].iter().cloned().chain(started()).chain(a.clone()).collect();
        let read: Vec<Entry> = entries(&lines).collect::<Result<_, _>>().expect("entries");
        assert_eq!(read.len(), 2);
        let lines = [&a[..torn], &b[..]].concat();
        assert_eq!(only(&lines).expect("an entry"), only(&b).expect("an entry"));
    }
}

#[test]
fn a_journal_that_contradicts_itself_is_refused() {
    let (plan, key) = single("s", "y");
    let (_, _, dense) = fan("t", 1);
    let ended = |stage| Record::StageEnded { stage, outcome: completed(key) };
    let submitted = || Record::SweepSubmitted { plan: Arc::clone(&plan), open: false, by: None };
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
    let submitted = Record::SweepSubmitted { plan: fan, open: false, by: None };
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
