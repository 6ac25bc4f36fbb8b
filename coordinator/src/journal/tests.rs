//! The contract of every kind of journal: one suite, and for each kind a database to run it on.

mod postgres;
mod sqlite;

use async_trait::async_trait;

use super::{Damage, Journal, JournalError, Line, Verification};

/// A database with a journal, and ways to tamper with it.
#[async_trait]
trait Lab: Sync {
    /// Opens it as a coordinator does.
    async fn open(&self) -> Result<Box<dyn Journal>, JournalError>;

    /// Opens it as a maintenance command does.
    async fn open_idle(&self) -> Result<Box<dyn Journal>, JournalError>;

    /// Runs a statement on the table `journal`, while another connection may have it open.
    async fn execute(&self, statement: &'static str);

    /// The entries of a copy, in order.
    async fn copied(&self, copy: &str) -> Vec<String>;

    /// Takes it over although it has an owner, as if the lock had failed.
    async fn seize(&self) -> Box<dyn Journal>;
}

fn texts(entries: &[&str]) -> Vec<String> {
    entries.iter().map(|entry| (*entry).to_owned()).collect()
}

async fn open(lab: &dyn Lab) -> Box<dyn Journal> {
    lab.open().await.expect("opens")
}

/// All that a journal returns.
struct Reading {
    /// Lines with entries.
    lines: Vec<Line>,
    /// Whether lines before them were removed.
    shortened: bool,
    damages: Vec<Damage>,
    torn: bool,
}

async fn read(journal: &mut dyn Journal) -> Reading {
    let (mut verification, mut lines) = (Verification::default(), vec![]);
    let taken = &mut |line| {
        if verification.take(&line) {
            lines.push(line);
        }
    };
    let stopped = journal.read(taken).await.expect("reads");
    let shortened = verification.is_shortened();
    let (damages, torn) = verification.end(stopped);
    Reading { lines, shortened, damages, torn }
}

/// Opens and reads a healthy journal.
async fn reopen(lab: &dyn Lab) -> (Box<dyn Journal>, Vec<String>) {
    let mut journal = open(lab).await;
    let reading = read(&mut *journal).await;
    assert_eq!(reading.damages, []);
    let text = |line: Line| String::from_utf8(line.entry).expect("text");
    (journal, reading.lines.into_iter().map(text).collect())
}

/// Makes a closed journal with six entries.
async fn six(lab: &dyn Lab) {
    let (mut journal, _) = reopen(lab).await;
    journal.append(texts(&["a", "b", "c", "d", "e", "f"])).await.expect("appends");
    journal.close().await.expect("closes");
}

async fn what_was_appended_is_there_in_its_order_after_a_crash(lab: &dyn Lab) {
    let (mut journal, entries) = reopen(lab).await;
    assert_eq!(entries, [""; 0]);
    let odd = r#"{"quotes":"'\"","escape":"\\u0000","more":"żółć 🌱 \n"}"#;
    journal.append(texts(&["first", odd])).await.expect("appends");
    let many: Vec<String> = (0..2500).map(|number| format!("entry {number}")).collect();
    journal.append(many.clone()).await.expect("appends");
    journal.append(texts(&["last"])).await.expect("appends");
    // Not closed, as after a crash.
    drop(journal);
    let (journal, entries) = reopen(lab).await;
    assert_eq!(entries, [texts(&["first", odd]), many, texts(&["last"])].concat());
    journal.close().await.expect("closes");
}

async fn an_append_is_all_or_nothing_and_so_is_its_order(lab: &dyn Lab) {
    let (mut journal, _) = reopen(lab).await;
    journal.append(texts(&["a"])).await.expect("appends");
    // The third of the next three lines exists already.
    lab.execute("INSERT INTO journal SELECT 4, 'another one''s', checksum FROM journal WHERE sequence = 1").await;
    let error = journal.append(texts(&["b", "c", "d"])).await.expect_err("cannot be written");
    assert!(matches!(error, JournalError::Fenced(_)), "{error:?}");
    drop(journal);
    lab.execute("DELETE FROM journal WHERE sequence = 4").await;
    let (mut journal, entries) = reopen(lab).await;
    assert_eq!(entries, ["a"]);
    journal.append(texts(&["b"])).await.expect("appends");
    drop(journal);
    assert_eq!(reopen(lab).await.1, ["a", "b"]);
}

async fn whatever_happens_to_a_line_is_found(lab: &dyn Lab) {
    let altered = |sequence| Damage::Altered { sequence };
    let missing = |first, last| Damage::Missing { first, last };
    for (statement, damages, torn) in [
        ("UPDATE journal SET entry = 'x' WHERE sequence = 3", vec![altered(3)], false),
        ("UPDATE journal SET entry = 'x' WHERE sequence = 6", vec![altered(6)], true),
        ("UPDATE journal SET entry = '' WHERE sequence >= 4", vec![altered(4), altered(5), altered(6)], true),
        ("DELETE FROM journal WHERE sequence IN (2, 3)", vec![missing(2, 3)], false),
        ("DELETE FROM journal WHERE sequence = 1", vec![missing(1, 1)], false),
        (
            "UPDATE journal SET entry = CASE sequence WHEN 2 THEN 'c' ELSE 'b' END WHERE sequence IN (2, 3)",
            vec![altered(2), altered(3)],
            false,
        ),
    ] {
        six(lab).await;
        lab.execute(statement).await;
        let mut journal = lab.open_idle().await.expect("opens");
        let reading = read(&mut *journal).await;
        assert_eq!((reading.damages, reading.torn), (damages, torn), "{statement}");
        journal.close().await.expect("closes");
        lab.execute("DELETE FROM journal").await;
    }
}

async fn other_entries_take_the_place_of_all(lab: &dyn Lab) {
    six(lab).await;
    let mut journal = lab.open_idle().await.expect("opens");
    read(&mut *journal).await;
    journal.replace(texts(&["a", "d"])).await.expect("replaces");
    let (mut journal, entries) = reopen(lab).await;
    assert_eq!(entries, ["a", "d"]);
    journal.append(texts(&["g"])).await.expect("appends");
    drop(journal);
    let (journal, entries) = reopen(lab).await;
    assert_eq!(entries, ["a", "d", "g"]);
    journal.close().await.expect("closes");
}

async fn what_is_before_a_new_beginning_is_removed_and_the_chain_goes_on(lab: &dyn Lab) {
    let (mut journal, _) = reopen(lab).await;
    // There are no lines to remove before the first and second line.
    journal.begin_with(texts(&["a"])).await.expect("begins");
    journal.begin_with(texts(&["b"])).await.expect("begins");
    drop(journal);
    let (mut journal, entries) = reopen(lab).await;
    assert_eq!(entries, ["a", "b"]);
    for (number, before) in [3, 6, 9].into_iter().zip(["c", "d", "e"]) {
        journal.append(texts(&[before])).await.expect("appends");
        journal.begin_with(texts(&["first", "second"])).await.expect("begins");
        let Reading { lines, shortened, damages, .. } = read(&mut *journal).await;
        assert_eq!(damages, []);
        assert_eq!((lines.len(), lines[0].sequence, shortened), (2, number + 1, true));
    }
    journal.append(texts(&["last"])).await.expect("appends");
    drop(journal);
    let (mut journal, entries) = reopen(lab).await;
    assert_eq!(entries, ["first", "second", "last"]);
    // The remaining lines are as safe as before.
    lab.execute("DELETE FROM journal WHERE sequence = 10").await;
    assert_eq!(read(&mut *journal).await.damages, [Damage::Missing { first: 10, last: 10 }]);
    drop(journal);
    // Replaced entries are numbered again.
    let mut journal = lab.open_idle().await.expect("opens");
    read(&mut *journal).await;
    journal.replace(texts(&["x", "y"])).await.expect("replaces");
    let (mut journal, entries) = reopen(lab).await;
    assert_eq!(entries, ["x", "y"]);
    let reading = read(&mut *journal).await;
    assert_eq!((reading.lines[0].sequence, reading.shortened), (1, false));
    journal.close().await.expect("closes");
}

async fn a_beginning_that_cannot_be_written_removes_nothing(lab: &dyn Lab) {
    six(lab).await;
    let (mut journal, entries) = reopen(lab).await;
    lab.execute("INSERT INTO journal SELECT 8, 'another one''s', checksum FROM journal WHERE sequence = 1").await;
    let error = journal.begin_with(texts(&["first", "second"])).await.expect_err("cannot be written");
    assert!(matches!(error, JournalError::Fenced(_)), "{error:?}");
    drop(journal);
    lab.execute("DELETE FROM journal WHERE sequence = 8").await;
    assert_eq!(reopen(lab).await.1, entries);
}

async fn a_copy_has_all_that_the_journal_has(lab: &dyn Lab) {
    let (mut journal, _) = reopen(lab).await;
    journal.append(texts(&["a", "b"])).await.expect("appends");
    // Not closed: SQLite has not moved this into its file yet.
    drop(journal);
    let mut journal = lab.open_idle().await.expect("opens");
    let first = journal.copy_aside().await.expect("copies");
    let second = journal.copy_aside().await.expect("copies");
    assert_ne!(first, second);
    journal.replace(texts(&["c"])).await.expect("replaces");
    assert_eq!(lab.copied(&first).await, ["a", "b"]);
    assert_eq!(lab.copied(&second).await, ["a", "b"]);
    let (journal, entries) = reopen(lab).await;
    assert_eq!(entries, ["c"]);
    journal.close().await.expect("closes");
}

async fn who_looks_for_a_journal_makes_none(lab: &dyn Lab) {
    for _ in 0..2 {
        assert!(matches!(lab.open_idle().await, Err(JournalError::None(_))));
    }
}

async fn a_second_writer_fences_the_first(lab: &dyn Lab) {
    six(lab).await;
    let (mut first, _) = reopen(lab).await;
    first.confirm().await.expect("is the owner");
    let mut second = lab.seize().await;
    read(&mut *second).await;
    second.append(texts(&["second"])).await.expect("appends");
    for _ in 0..2 {
        let error = first.append(texts(&["first"])).await.expect_err("is fenced");
        assert!(matches!(error, JournalError::Fenced(_)), "{error:?}");
        assert!(error.to_string().contains("another one has taken it over"), "{error}");
        let error = first.begin_with(texts(&["first"])).await.expect_err("is fenced");
        assert!(matches!(error, JournalError::Fenced(_)), "{error:?}");
    }
    second.append(texts(&["again"])).await.expect("appends");
    drop((first, second));
    assert_eq!(reopen(lab).await.1, ["a", "b", "c", "d", "e", "f", "second", "again"]);
}

/// The whole suite for one kind: `$lab` returns a new lab, or `None` if there is no such database.
macro_rules! suite {
    ($lab:expr; $($test:ident)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                if let Some(lab) = $lab.await {
                    super::$test(&lab).await;
                }
            }
        )*
    };
    ($lab:expr) => {
        suite! {
            $lab;
            what_was_appended_is_there_in_its_order_after_a_crash
            an_append_is_all_or_nothing_and_so_is_its_order
            whatever_happens_to_a_line_is_found
            other_entries_take_the_place_of_all
            what_is_before_a_new_beginning_is_removed_and_the_chain_goes_on
            a_beginning_that_cannot_be_written_removes_nothing
            a_copy_has_all_that_the_journal_has
            who_looks_for_a_journal_makes_none
            a_second_writer_fences_the_first
        }
    };
}
use suite;
