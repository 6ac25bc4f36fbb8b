//! Snapshots: what they hold, what is none, and that nothing is different after one.

use super::*;
use crate::scheduler::{EntryReader, SweepState};

impl Lab {
    fn restore<'a>(&self, lines: impl Iterator<Item = &'a String>) -> Result<Core, Rejection> {
        let entries = entries(lines).map(|entry| entry.expect("an entry"));
        Core::restore(self.policy.clone(), entries)
    }

    /// What the journal comes to is what a snapshot of its first `cut` lines and the rest come to, and it goes on alike.
    pub(super) fn goes_on_alike_from_a_snapshot(&self, mut cut: usize) {
        // Not within another snapshot.
        let is_within = |line: &String| line.contains(r#","snapshot":{"#) && !line.contains(r#""begin""#);
        while self.journal.get(cut).is_some_and(is_within) {
            cut += 1;
        }
        let before = self.restore(self.journal[..cut].iter()).expect("the journal fits itself");
        let snapshot = before.snapshot().lines(Timestamp(self.now));
        let mut whole = self.restore(self.journal.iter()).expect("the journal fits itself");
        let mut short = self.restore(snapshot.iter().chain(&self.journal[cut..])).expect("a snapshot and the rest");
        assert!(short.says_the_same_as(&whole), "from {cut} of {:?}", self.journal);
        let sweeps: Vec<SweepId> = whole.sweeps().map(|sweep| sweep.id).collect();
        let mut events = VecDeque::from([Event::Started, joins("n0", "n0", 2, &[]), joins("n1", "n1", 3, &[])]);
        events.extend(sweeps.into_iter().map(|sweep| Event::SweepRetried { sweep }));
        let mut now = self.now;
        for step in 0..200_u32 {
            let Some(event) = events.pop_front() else { break };
            // Nobody is waited for.
            now += 20_000;
            let decision = whole.apply(Timestamp(now), &event);
            assert_eq!(short.apply(Timestamp(now), &event), decision, "{event:?}");
            for effect in decision.into_iter().flat_map(|decision| decision.effects) {
                match effect {
                    Effect::Calibrate { worker, class, .. } => {
                        let lanes = lanes(1 + step % 5);
                        events.push_back(Event::Calibrated { worker, class, lanes, lane_steps_per_second: 1.0 });
                    }
                    Effect::Lease { worker, lease, stages } => {
                        let given = Given { worker, lease, stages };
                        let fails = step.is_multiple_of(3);
                        let reports = given.keys().into_iter().enumerate().filter(|_| !fails);
                        events.extend(reports.map(|(position, key)| given.report(position, completed(key))));
                        events.push_back(given.ended(fails.then(|| failure(FailureClass::Executor))));
                    }
                    _ => {}
                }
            }
        }
        assert_eq!(durable(&short), durable(&whole));
    }
}

/// A lab in which one of three stages below the first has completed, another one has failed once in company.
fn lab() -> (Lab, SweepId) {
    let mut lab = Lab::new(Policy::default());
    let (plan, ..) = fan("s", 3);
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.complete(&given);
    lab.calibrate("w", "dense", 2);
    let given = lab.next_lease();
    lab.apply(&given.report(0, completed(given.stages[0].0)));
    lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
    lab.effects.clear();
    (lab, plan.sweep.id.clone())
}

#[test]
fn a_snapshot_is_a_few_lines_however_long_the_history() {
    let (mut lab, sweep) = lab();
    let lines = |lab: &Lab| lab.core.snapshot().lines(Timestamp(7)).len();
    let (before, records) = (lines(&lab), lab.core.since_snapshot());
    for _ in 0..100 {
        lab.stop("s");
        lab.apply(&Event::SweepRetried { sweep: sweep.clone() });
        lab.apply(&Event::Started);
    }
    // Its beginning and end, the sweep, its stages.
    assert_eq!((lines(&lab), before), (4, 4));
    assert_eq!(lab.core.since_snapshot(), records + 300);
    let restored = lab.by_snapshot(&lab.core);
    assert_eq!(restored.since_snapshot(), 0);
    lab.effects.clear();
    lab.finish();
}

#[test]
fn lines_of_a_snapshot_are_entries_of_the_journal() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&given.report(0, StageOutcome::Failed(failure(FailureClass::Storage))));
    let lines = lab.core.snapshot().lines(Timestamp(7));
    assert_eq!(
        lines[0],
        r#"{"version":10,"at":7,"snapshot":{"begin":{"life":1,"forgotten":0,"sweeps":1,"stages":1}}}"#
    );
    assert!(lines[1].starts_with(r#"{"version":10,"at":7,"snapshot":{"sweep":{"plan":{"sweep":{"#), "{}", lines[1]);
    let end = r#""state":"running","submitted_at":1000,"ended_at":null,"share":{"priority":0,"max_workers":null},"trials":"o","stages":[[0,1]]}}}"#;
    assert!(lines[1].ends_with(end), "{}", lines[1]);
    let failed = r#"{"worker":"w.example","lanes":1,"failure":{"class":"storage","message":"it broke"}}"#;
    let counted = r#"{"lease":"1-0","number":1}"#;
    let trouble = format!(r#"{{"failed":1,"alone":{{"storage":1}},"attempts":[{failed}],"counted":[{counted}]}}"#);
    let stages = format!(r#"[{{"stage":0,"width_limit":1,"trouble":{trouble}}}]"#);
    assert_eq!(lines[2], format!(r#"{{"version":10,"at":7,"snapshot":{{"stages":{stages}}}}}"#));
    assert_eq!(lines[3], r#"{"version":10,"at":7,"snapshot":{"end":{}}}"#);
    for line in &lines {
        let later = line.replace(r#""version":10"#, r#""version":11"#);
        let error = EntryReader::default().read(&later).expect_err("another version");
        assert!(error.to_string().contains("has version 11"), "{error}");
    }
    lab.apply(&given.ended(None));
    let given = lab.next_lease();
    lab.complete(&given);
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", SweepState::Completed);
    lab.finish();
}

#[test]
fn a_snapshot_without_its_end_is_none() {
    let (lab, _) = lab();
    let snapshot = lab.core.snapshot().lines(Timestamp(lab.now));
    let started: Vec<String> = Entry::new(Timestamp(lab.now), Record::Started).into_lines().collect();
    let expected = lab.restore(lab.journal.iter().chain(&started)).expect("fits itself");
    for length in 0..snapshot.len() {
        let torn = lab.journal.iter().chain(&snapshot[..length]).chain(&started);
        assert!(lab.restore(torn).expect("the older history is there").says_the_same_as(&expected), "{length}");
        // What is written after it may be another one.
        let again = lab.journal.iter().chain(&snapshot[..length]).chain(&snapshot).chain(&started);
        assert!(lab.restore(again).expect("the second one is whole").says_the_same_as(&expected), "{length}");
        let alone = snapshot[..length].iter();
        assert_eq!(lab.restore(alone.clone()).expect("nothing").lacks_the_end_of_a_snapshot(), length > 0);
        if length > 0 {
            let refused = lab.restore(alone.chain(&started)).expect_err("nothing is known");
            assert!(matches!(refused, Rejection::InvalidSnapshot { .. }), "{refused:?}");
            let refused = lab.restore(snapshot[length..].iter()).expect_err("it has no beginning");
            assert!(matches!(refused, Rejection::InvalidSnapshot { .. }), "{refused:?}");
        }
    }
    assert!(lab.restore(snapshot.iter().chain(&started)).expect("a snapshot").says_the_same_as(&expected));
}

#[test]
fn a_snapshot_that_contradicts_itself_is_refused() {
    let (lab, _) = lab();
    let snapshot = lab.core.snapshot().lines(Timestamp(lab.now));
    for (from, to) in [
        (r#""life":1"#, r#""life":0"#),
        (r#""sweeps":1"#, r#""sweeps":2"#),
        (r#""stages":3}"#, r#""stages":4000000000}"#),
        (r#""trials":"eoo""#, r#""trials":"eo""#),
        (r#""trials":"eoo""#, r#""trials":"eox""#),
        // The sweep runs, and that trial has ended, or has not.
        (r#""trials":"eoo""#, r#""trials":"ooo""#),
        (r#""trials":"eoo""#, r#""trials":"eoe""#),
        (r#""state":"running""#, r#""state":"completed""#),
        (r#""stages":[[0,4]]"#, r#""stages":[[0,3]]"#),
        (r#""stages":[[0,4]]"#, r#""stages":[[0,4000000000]]"#),
        (r#""stages":[[0,4]]"#, r#""stages":[[1,4]]"#),
        (r#""stages":[[0,4]]"#, r#""stages":[[4294967295,4]]"#),
        (r#""stages":[[0,4]]"#, r#""stages":[[0,3],[2,1]]"#),
        // A parent comes first.
        (r#""stages":[[0,4]]"#, r#""stages":[[1,1],[0,1],[2,2]]"#),
        (r#"{"stage":1,"#, r#"{"stage":0,"#),
        (r#"{"stage":2,"#, r#"{"stage":9,"#),
        // The end of what all others hang below is not there.
        (r#""stages":[{"stage":0,"outcome""#, r#""stages":[{"stage":0,"width_limit":3},{"stage":0,"outcome""#),
    ] {
        let harmed: Vec<String> = snapshot.iter().map(|line| line.replacen(from, to, 1)).collect();
        assert_ne!(harmed, snapshot, "{from} is not there: {snapshot:?}");
        let refused = lab.restore(harmed.iter()).expect_err(to);
        assert!(matches!(refused, Rejection::InvalidSnapshot { .. }), "{to}: {refused:?}");
    }
}

#[test]
fn of_what_was_forgotten_only_the_number_is_kept() {
    let mut lab = Lab::new(Policy::default());
    for name in ["a", "b", "c"] {
        let (plan, ..) = fan(name, 2);
        lab.submit(&plan);
        lab.apply(&Event::SweepCancelled { sweep: sweep(name), by: None });
    }
    for name in ["a", "c", "b"] {
        lab.apply(&Event::SweepForgotten { sweep: sweep(name) });
        let restored = lab.by_snapshot(&lab.core);
        assert!(restored.says_the_same_as(&lab.restored()));
        let stages = |core: &Core| core.parts().ledger.stages().len() as u64;
        assert_eq!(stages(&restored), lab.core.stage_count());
    }
    let restored = lab.by_snapshot(&lab.core);
    assert_eq!((restored.sweeps().count(), restored.stage_count(), restored.has_had_sweeps()), (0, 0, true));
    assert_eq!(restored.snapshot().lines(Timestamp(1)).len(), 2);
    lab.effects.clear();
    lab.finish();
}

#[test]
fn a_difference_in_what_is_durable_is_seen() {
    let (plan, key) = single("s", "y");
    let part = grid_part("s", 1, &["y"], 0..1, 0..0);
    let submitted = || Record::SweepSubmitted { plan: Arc::clone(&plan), open: false, by: None };
    let failed = failure(FailureClass::Executor);
    let attempt = |lanes| {
        let failure = failed.clone();
        Record::AttemptFailed { stage: key, lanes, failure, worker: None, attempt: None }
    };
    let checkpointed = |epoch| Record::Checkpointed { stage: key, checkpoint: checkpoint(key, epoch) };
    let ended = || Record::StageEnded { stage: key, outcome: completed(key) };
    let stopped = || Record::SweepStopped { sweep: sweep("s"), reason: "no space".to_owned() };
    let journals = [
        vec![submitted()],
        vec![Record::Started, submitted()],
        vec![submitted(), attempt(1)],
        vec![submitted(), attempt(4)],
        vec![submitted(), checkpointed(1)],
        vec![submitted(), checkpointed(2)],
        vec![submitted(), ended()],
        vec![submitted(), stopped()],
        vec![submitted(), stopped(), ended()],
        vec![Record::SweepSubmitted { plan: Arc::clone(&plan), open: true, by: None }],
        vec![submitted(), Record::SweepExtended { part: Arc::clone(&part) }],
        vec![submitted(), stopped(), Record::SweepForgotten { sweep: sweep("s") }],
        vec![],
    ];
    let restore = |records: &Vec<Record>| {
        let entries = records.iter().map(|record| Entry::new(Timestamp(0), record.clone()));
        Core::restore(Policy::default(), entries).expect("fits itself")
    };
    for (one, records) in journals.iter().enumerate() {
        for (other, others) in journals.iter().enumerate() {
            let same = restore(records).says_the_same_as(&restore(others));
            assert_eq!(same, one == other, "{records:?} and {others:?}");
        }
    }
    assert!(restore(&vec![submitted(), attempt(1), ended()]).says_the_same_as(&restore(&vec![submitted(), ended()])));
}

#[test]
fn a_snapshot_of_a_long_plan_that_is_torn_anywhere_is_none() {
    let mut lab = Lab::new(Policy::default());
    let (plan, ..) = fan("s", 9_000);
    lab.submit(&plan);
    lab.effects.clear();
    let snapshot = lab.core.snapshot().lines(Timestamp(lab.now));
    assert!(snapshot.len() > 6, "its plan is in pieces: {}", snapshot.len());
    assert!(snapshot.iter().all(|line| line.len() < 400_000));
    let started: Vec<String> = Entry::new(Timestamp(lab.now), Record::Started).into_lines().collect();
    let expected = lab.restore(lab.journal.iter().chain(&started)).expect("fits itself");
    for length in 0..=snapshot.len() {
        let torn = lab.journal.iter().chain(&snapshot[..length]).chain(&started);
        assert!(lab.restore(torn).expect("the history, or the snapshot").says_the_same_as(&expected), "{length}");
    }
    let again = snapshot[..4].iter().chain(&snapshot).chain(&started);
    assert!(lab.restore(again).expect("the second one is whole").says_the_same_as(&expected));
}
