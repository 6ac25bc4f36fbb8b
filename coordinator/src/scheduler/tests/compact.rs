//! Compacting: what goes, what stays, and that a difference is seen.

use super::*;
use crate::scheduler::{Record, needed};

/// The positions of the entries that may go.
fn superfluous(journal: &[String]) -> Vec<usize> {
    let entries: Vec<Entry> = journal.iter().map(|line| Entry::from_json(line).expect("an entry")).collect();
    let needed = needed(&entries);
    (0..entries.len()).filter(|position| !needed[*position]).collect()
}

#[test]
fn failed_attempts_stay_until_their_stage_has_ended() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    for _ in 0..2 {
        let given = lab.next_lease();
        lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
    }
    assert_eq!(superfluous(&lab.journal), [0; 0]);
    let given = lab.next_lease();
    lab.complete(&given);
    // A life, the sweep, two attempts, the end.
    assert_eq!((superfluous(&lab.journal), lab.journal.len()), (vec![2, 3], 5));
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", super::super::SweepState::Completed);
    lab.restart();
    // Lives stay: a lease of the first is not to be taken for one of the second.
    assert_eq!(superfluous(&lab.journal), [2, 3]);
    lab.finish();
}

#[test]
fn halts_that_are_over_go_unless_a_stage_ended_meanwhile() {
    let stop = || Event::SweepStopped { sweep: sweep("s"), reason: "no space".to_owned() };
    let cancel = || Event::SweepCancelled { sweep: sweep("s") };
    // Entry 2 is the first that is written after the sweep was submitted.
    for (halts, resumed, expected) in [
        (vec![stop()], false, vec![]),
        (vec![cancel()], false, vec![]),
        (vec![stop()], true, vec![2, 3]),
        (vec![cancel()], true, vec![2, 3]),
        (vec![stop(), cancel()], false, vec![2]),
        (vec![stop(), cancel()], true, vec![2, 3, 4]),
    ] {
        let mut lab = Lab::new(Policy::default());
        let (plan, _) = single("s", "y");
        lab.submit(&plan);
        halts.iter().for_each(|halt| lab.apply(halt));
        if resumed {
            lab.submit(&plan);
        }
        lab.effects.clear();
        assert_eq!(superfluous(&lab.journal), expected, "{halts:?}, resumed: {resumed}");
        lab.finish();
    }
}

#[test]
fn a_halt_in_which_a_stage_ended_stays() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.now += 1;
    lab.apply(&Event::SweepStopped { sweep: sweep("s"), reason: String::new() });
    lab.now += 1;
    lab.apply(&given.report(0, completed(key)));
    lab.now += 1;
    lab.submit(&plan);
    lab.effects.clear();
    // Without the halt the sweep would have ended when its stage did.
    assert_eq!(superfluous(&lab.journal), [0; 0]);
    assert_eq!(lab.core.sweep(&sweep("s")).and_then(|status| status.ended_at), Some(Timestamp(lab.now)));
    lab.finish();
}

#[test]
fn of_an_open_stage_the_newest_checkpoint_stays_and_of_one_that_has_ended_none() {
    let mut lab = Lab::new(Policy::default());
    let (plan, key) = single("s", "y");
    lab.submit(&plan);
    lab.join("w", 1);
    let given = lab.next_lease();
    for epoch in [1, 2, 5] {
        lab.apply(&given.checkpointed(0, epoch));
    }
    // A life, the sweep, three checkpoints.
    assert_eq!((superfluous(&lab.journal), lab.journal.len()), (vec![2, 3], 5));
    lab.complete(&given);
    assert_eq!(superfluous(&lab.journal), [2, 3, 4]);
    lab.expect_trial("s", 0, &completed(key));
    lab.expect_sweep("s", super::super::SweepState::Completed);
    lab.finish();
}

#[test]
fn a_difference_in_what_is_durable_is_seen() {
    let (plan, key) = single("s", "y");
    let submitted = || Record::SweepSubmitted { plan: Arc::clone(&plan) };
    let attempt =
        |lanes| Record::AttemptFailed { stage: key, lanes, failure: failure(FailureClass::Executor), worker: None };
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
