use futures::{FutureExt as _, StreamExt as _};
use secateur_proto::{
    outcome::FailureClass,
    v1::{self, Completed, Failed, Heartbeat, LeaseEnded, Progress},
};

use super::*;
use crate::{
    cache::Cache,
    store::{Durability, Store},
};

fn report(lease: &str, stage: &str, outcome: Outcome) -> Message {
    Message::Report(StageReport {
        lease_id: lease.to_owned(),
        stage_key: stage.to_owned(),
        attempt: 1,
        outcome: Some(v1::StageOutcome { outcome: Some(outcome) }),
    })
}

fn done(lease: &str, stage: &str) -> Message {
    report(lease, stage, Outcome::Completed(Completed::default()))
}

fn ended(lease: &str) -> Message {
    Message::LeaseEnded(LeaseEnded { lease_id: lease.to_owned(), failure: None })
}

fn end(lease: &str, stage: &str) -> SettledEnd {
    SettledEnd { lease_id: lease.to_owned(), stage_key: stage.to_owned() }
}

/// Everything that is in the stream now.
fn all(stream: &mut (impl Stream<Item = WorkerMessage> + Unpin)) -> Vec<Message> {
    std::iter::from_fn(|| stream.next().now_or_never().flatten()).filter_map(|message| message.message).collect()
}

const HELLO: Message = Message::Heartbeat(Heartbeat {});

#[test]
fn what_is_not_settled_is_said_again_at_every_attachment() {
    let outbox = Arc::new(Outbox::open(None).expect("opens"));
    outbox.put(done("1-0", "a"));
    let mut first = Box::pin(outbox.stream(HELLO));
    outbox.put(done("1-0", "b"));
    outbox.put(ended("1-0"));
    assert_eq!(all(&mut first), [HELLO, done("1-0", "a"), done("1-0", "b"), ended("1-0")]);
    outbox.settle(&end("1-0", "a"));
    // Of another lease, or of no lease.
    outbox.settle(&end("1-1", "b"));
    outbox.settle(&end("1-0", "c"));
    let mut second = Box::pin(outbox.stream(HELLO));
    assert_eq!(all(&mut second), [HELLO, done("1-0", "b"), ended("1-0")]);
    assert_eq!(first.next().now_or_never(), Some(None), "the first attachment is over");
    outbox.settle(&end("1-0", "b"));
    outbox.settle(&end("1-0", ""));
    assert!(outbox.is_settled());
}

fn with_files(lease: &str, stage: &str) -> Message {
    let file = ArtifactRef { hash: "0".repeat(64), size: 1 };
    let artifacts = [("mask".to_owned(), file)].into();
    report(lease, stage, Outcome::Completed(Completed { artifacts, ..Completed::default() }))
}

#[test]
fn a_result_waits_for_its_files_and_its_lease_with_it() {
    let outbox = Arc::new(Outbox::open(None).expect("opens"));
    for message in [with_files("1-0", "a"), done("1-0", "b"), ended("1-0"), with_files("1-1", "c"), done("1-2", "d")] {
        outbox.put(message);
    }
    let mut stream = Box::pin(outbox.stream(HELLO));
    assert_eq!(all(&mut stream), [HELLO, done("1-2", "d")]);
    let (first, _) = outbox.to_carry(0).now_or_never().expect("waits to be carried");
    let (second, _) = outbox.to_carry(first + 1).now_or_never().expect("waits to be carried");
    assert_eq!(outbox.to_carry(second + 1).now_or_never(), None);
    outbox.carried(first);
    assert_eq!(all(&mut stream), [with_files("1-0", "a"), done("1-0", "b"), ended("1-0")]);
    outbox.not_carried(second, &Failure::new(FailureClass::Storage, "refused"));
    let failed = Failed { class: v1::FailureClass::Storage.into(), message: "refused".to_owned() };
    assert_eq!(all(&mut stream), [report("1-1", "c", Outcome::Failed(failed))]);
}

#[test]
fn of_a_stage_the_newest_checkpoint_is_said_once_when_its_file_is_there_and_none_when_the_stage_has_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Store::open(folder.path(), Durability::Cached).expect("a store"));
    let cache = Arc::new(Cache::open(store, None).expect("a cache"));
    let outbox = Arc::new(Outbox::open(None).expect("opens"));
    let taken = |stage: &str, epoch: u32| Checkpointed {
        lease_id: "1-0".to_owned(),
        stage_key: stage.to_owned(),
        attempt: 1,
        checkpoint: Some(v1::Checkpoint {
            epoch,
            state: Some(ArtifactRef { hash: format!("{stage}{epoch}"), size: 1 }),
        }),
    };
    let put = |stage: &str, epoch: u32| outbox.put_checkpoint(taken(stage, epoch), cache.hold_nothing());
    let waiting = || outbox.to_carry_checkpoint().now_or_never().map(|(number, state)| (number, state.hash));
    put("a", 1);
    put("b", 1);
    let (old, file) = waiting().expect("waits");
    assert_eq!(file, "a1");
    put("a", 2);
    // Its file was uploaded, but it is outdated.
    outbox.checkpoint_carried(old);
    let mut stream = Box::pin(outbox.stream(HELLO));
    assert_eq!(all(&mut stream), [HELLO]);
    // The one that has waited longest is next.
    let (other, file) = waiting().expect("waits");
    assert_eq!(file, "b1");
    outbox.drop_checkpoint(other);
    let (newest, file) = waiting().expect("waits");
    assert_eq!(file, "a2");
    outbox.put(ended("1-0"));
    outbox.checkpoint_carried(newest);
    assert_eq!(all(&mut stream), [Message::Checkpointed(taken("a", 2)), ended("1-0")]);
    assert_eq!(waiting(), None);
    put("c", 1);
    let (number, _) = waiting().expect("waits");
    outbox.checkpoint_carried(number);
    outbox.put(done("1-0", "c"));
    assert_eq!(all(&mut stream), [done("1-0", "c")], "a stage that has ended needs no checkpoint");
    assert_eq!(all(&mut Box::pin(outbox.stream(HELLO))), [HELLO, ended("1-0"), done("1-0", "c")]);
    outbox.settle(&end("1-0", ""));
    outbox.settle(&end("1-0", "c"));
    put("d", 1);
    assert!(outbox.is_settled(), "nobody waits for a checkpoint");
}

#[test]
fn progress_is_for_who_is_attached() {
    let outbox = Arc::new(Outbox::open(None).expect("opens"));
    let progress = |epoch| Message::Progress(Progress { epoch, ..Progress::default() });
    outbox.pass(progress(1));
    let mut first = Box::pin(outbox.stream(HELLO));
    outbox.pass(progress(2));
    assert_eq!(all(&mut first), [HELLO, progress(2)]);
    for epoch in 0..2 * PASSING as u32 {
        outbox.pass(progress(epoch));
    }
    assert_eq!(all(&mut first).len(), PASSING, "what nobody reads does not pile up");
    outbox.detach();
    outbox.pass(progress(3));
    assert_eq!(all(&mut Box::pin(outbox.stream(HELLO))), [HELLO]);
}

#[test]
fn results_outlive_the_process_and_nothing_else_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Arc::new(Outbox::open(Some(folder.path().to_owned())).expect("opens"));
    let failed = report("1-0", "c", Outcome::Failed(Failed { class: 1, message: "died".to_owned() }));
    let outbox = open();
    for message in [done("1-0", "a"), done("1-0", "b"), failed, ended("1-0")] {
        outbox.put(message);
    }
    outbox.settle(&end("1-0", "a"));
    drop(outbox);
    let outbox = open();
    outbox.put(done("1-1", "d"));
    assert_eq!(all(&mut Box::pin(outbox.stream(HELLO))), [HELLO, done("1-0", "b"), done("1-1", "d")]);
    outbox.settle(&end("1-0", "b"));
    outbox.settle(&end("1-1", "d"));
    assert_eq!(fs::read_dir(folder.path()).expect("reads").count(), 0);
}

#[test]
fn a_report_that_was_cut_or_altered_is_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Arc::new(Outbox::open(Some(folder.path().to_owned())).expect("opens"));
    let outbox = open();
    for stage in ["a", "b", "c"] {
        outbox.put(done("1-0", stage));
    }
    drop(outbox);
    let path = |number: u64| folder.path().join(number.to_string());
    let mut bytes = fs::read(path(0)).expect("reads");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(path(0), &bytes).expect("writes");
    fs::write(path(1), &bytes[..CHECKSUM - 1]).expect("writes");
    fs::write(folder.path().join("7.draft"), "begun").expect("writes");
    assert_eq!(all(&mut Box::pin(open().stream(HELLO))), [HELLO, done("1-0", "c")]);
    assert_eq!(fs::read_dir(folder.path()).expect("reads").count(), 1);
}

#[test]
fn the_end_of_a_lease_that_was_taken_back_does_not_wait_for_results_that_cannot_get_across() {
    let outbox = Arc::new(Outbox::open(None).expect("opens"));
    outbox.put(with_files("1-0", "a"));
    outbox.put(ended("1-1"));
    outbox.put_dropped("1-0".to_owned());
    let mut stream = Box::pin(outbox.stream(HELLO));
    assert_eq!(all(&mut stream), [HELLO, ended("1-1"), ended("1-0")]);
    // The result is still kept.
    let (number, _) = outbox.to_carry(0).now_or_never().expect("waits to be carried");
    outbox.carried(number);
    assert_eq!(all(&mut stream), [with_files("1-0", "a")]);
}

#[test]
fn at_the_end_a_result_that_was_refused_stays_and_its_lease_ends_without_it() {
    let outbox = Arc::new(Outbox::open(None).expect("opens"));
    for message in [with_files("1-0", "a"), ended("1-0"), with_files("1-1", "b"), ended("1-1")] {
        outbox.put(message);
    }
    let mut stream = Box::pin(outbox.stream(HELLO));
    let (refused, _) = outbox.to_carry(0).now_or_never().expect("waits to be carried");
    let (other, _) = outbox.to_carry(refused + 1).now_or_never().expect("waits to be carried");
    outbox.refused(refused, 9);
    let waits = Message::ResultWaits(ResultWaits { stage_key: "a".to_owned(), bytes: 9 });
    assert_eq!(all(&mut stream), [HELLO, waits]);
    assert_eq!(outbox.staying(), 0);
    outbox.hand_back();
    // The other one is being uploaded and is waited for.
    assert_eq!(all(&mut stream), [ended("1-0")]);
    outbox.settle(&end("1-0", ""));
    assert_eq!((outbox.staying(), outbox.is_settled()), (1, false));
    outbox.carried(other);
    assert_eq!(all(&mut stream), [with_files("1-1", "b"), ended("1-1")]);
    outbox.settle(&end("1-1", "b"));
    outbox.settle(&end("1-1", ""));
    assert!(outbox.is_settled());
    // There is space after all.
    outbox.carried(refused);
    assert_eq!(all(&mut stream), [with_files("1-0", "a")]);
    assert!(!outbox.is_settled());
}

#[test]
fn a_result_that_is_here_is_that_of_a_new_lease_of_its_stage() {
    let outbox = Arc::new(Outbox::open(None).expect("opens"));
    outbox.put(with_files("1-0", "a"));
    outbox.put(ended("1-0"));
    assert!(!outbox.take_up("b", "2-0", 3));
    assert!(outbox.take_up("a", "2-0", 3));
    outbox.put(ended("2-0"));
    let mut stream = Box::pin(outbox.stream(HELLO));
    // The new lease waits for it, and the old one does not.
    assert_eq!(all(&mut stream), [HELLO, ended("1-0")]);
    let (number, carried) = outbox.to_carry(0).now_or_never().expect("waits to be carried");
    assert_eq!((carried.lease_id.as_str(), carried.attempt), ("2-0", 3));
    outbox.carried(number);
    let Message::Report(report) = with_files("2-0", "a") else { panic!("a report") };
    let said = Message::Report(StageReport { attempt: 3, ..report });
    assert_eq!(all(&mut stream), [said, ended("2-0")]);
    // A sent result is not taken up.
    assert!(!outbox.take_up("a", "3-0", 1));
    outbox.settle(&end("2-0", "a"));
    assert_eq!(outbox.to_carry(0).now_or_never(), None);
}
