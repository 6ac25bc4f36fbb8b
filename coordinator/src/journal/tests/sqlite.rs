//! The suite on SQLite, and tests of SQLite only.

use std::{
    fs,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::{Journal, JournalError, Lab, read, reopen, six, suite, texts};
use crate::journal::{Damage, Sqlite};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("journal.db")
    }

    /// Makes a journal from before checksums.
    async fn of_format_0(&self) {
        let options = SqliteConnectOptions::new().filename(self.path()).create_if_missing(true);
        options.connect().await.expect("makes").close().await.expect("closes");
        self.execute("CREATE TABLE journal (sequence INTEGER PRIMARY KEY, entry TEXT NOT NULL) STRICT").await;
        self.execute("INSERT INTO journal (entry) VALUES ('a'), (CAST(x'ff00' AS TEXT)), ('c'), ('d')").await;
    }

    /// All files in the folder, by name, without empty logs.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.0.path()).expect("lists");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).expect("reads"))).collect();
        files.retain(|(path, bytes)| path.extension().is_none_or(|end| end != "db-shm") && !bytes.is_empty());
        files.sort();
        files
    }
}

async fn entries(path: &Path) -> Vec<String> {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.expect("opens");
    let entries = sqlx::query_scalar("SELECT entry FROM journal ORDER BY sequence").fetch_all(&mut connection).await;
    connection.close().await.expect("closes");
    entries.expect("reads")
}

#[async_trait]
impl Lab for Folder {
    async fn open(&self) -> Result<Box<dyn Journal>, JournalError> {
        Ok(Box::new(Sqlite::open(&self.path()).await?))
    }

    async fn open_idle(&self) -> Result<Box<dyn Journal>, JournalError> {
        Ok(Box::new(Sqlite::open_idle(&self.path()).await?))
    }

    async fn execute(&self, statement: &'static str) {
        let mut connection = SqliteConnectOptions::new().filename(self.path()).connect().await.expect("opens");
        sqlx::query(statement).execute(&mut connection).await.expect("executes");
        connection.close().await.expect("closes");
    }

    async fn copied(&self, copy: &str) -> Vec<String> {
        entries(Path::new(copy)).await
    }

    async fn seize(&self) -> Box<dyn Journal> {
        super::open(self).await
    }
}

suite!(async { Some(Folder::new()) });

#[tokio::test]
async fn a_journal_without_checksums_gets_them_in_its_place() {
    let folder = Folder::new();
    folder.of_format_0().await;
    let before = folder.files();
    let mut idle = folder.open_idle().await.expect("opens");
    let looked_at = read(&mut *idle).await;
    idle.close().await.expect("closes");
    assert_eq!(folder.files(), before, "looking changed something");
    for _ in 0..2 {
        let mut journal = folder.open().await.expect("opens");
        let reading = read(&mut *journal).await;
        assert_eq!(reading.damages, []);
        assert_eq!(reading.lines, looked_at.lines);
        assert_eq!(reading.lines[1].entry, [0xff, 0]);
        journal.close().await.expect("closes");
    }
    let mut journal = folder.open().await.expect("opens");
    read(&mut *journal).await;
    journal.append(texts(&["e"])).await.expect("appends");
    assert_eq!(read(&mut *journal).await.damages, []);
}

#[tokio::test]
async fn what_the_old_format_has_lost_is_found_after_the_change_of_format() {
    let folder = Folder::new();
    folder.of_format_0().await;
    folder.execute("DELETE FROM journal WHERE sequence = 3").await;
    let mut journal = folder.open().await.expect("opens");
    let reading = read(&mut *journal).await;
    assert_eq!(reading.damages, [Damage::Missing { first: 3, last: 3 }]);
}

#[tokio::test]
async fn a_journal_that_has_all_its_lines_becomes_one_that_need_not() {
    let folder = Folder::new();
    six(&folder).await;
    folder.execute("PRAGMA user_version = 1").await;
    let (mut journal, entries) = reopen(&folder).await;
    assert_eq!(entries.len(), 6);
    journal.begin_with(texts(&["g"])).await.expect("begins");
    journal.close().await.expect("closes");
    let mut connection = SqliteConnectOptions::new().filename(folder.path()).connect().await.expect("opens");
    let format: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.expect("has a format");
    assert_eq!(format, 2, "an earlier secateur must not take it for damaged");
}

#[tokio::test]
async fn a_later_format_is_refused() {
    let folder = Folder::new();
    six(&folder).await;
    folder.execute("PRAGMA user_version = 3").await;
    let before = folder.files();
    for opened in [folder.open().await, folder.open_idle().await] {
        let error = opened.expect_err("is refused");
        assert!(matches!(error, JournalError::Newer { found: 3, .. }), "{error}");
    }
    assert_eq!(folder.files(), before);
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_refused() {
    let folder = Folder::new();
    fs::write(folder.path(), "not a database, but long enough to look at ".repeat(50)).expect("writes");
    let before = folder.files();
    for opened in [folder.open().await, folder.open_idle().await] {
        let error = opened.expect_err("is refused");
        assert!(matches!(error, JournalError::Unreadable { .. }), "{error:?}");
        assert!(error.to_string().contains("restore a backup"), "{error}");
    }
    assert_eq!(folder.files(), before);
}

#[tokio::test]
async fn a_database_of_something_else_is_refused_and_an_empty_one_is_begun() {
    let folder = Folder::new();
    fs::write(folder.path(), "").expect("writes");
    folder.execute("CREATE TABLE people (name TEXT)").await;
    let before = folder.files();
    for opened in [folder.open().await, folder.open_idle().await] {
        let error = opened.expect_err("is refused");
        assert!(matches!(error, JournalError::Foreign(_)), "{error:?}");
    }
    assert_eq!(folder.files(), before);
    let empty = Folder::new();
    fs::write(empty.path(), "").expect("writes");
    assert!(matches!(empty.open_idle().await, Err(JournalError::Foreign(_))));
    assert_eq!(read(&mut *empty.open().await.expect("begins")).await.lines, []);
}

#[tokio::test]
async fn of_a_file_that_was_cut_off_all_that_is_left_can_be_read() {
    let folder = Folder::new();
    let (mut journal, _) = reopen(&folder).await;
    let many: Vec<String> = (0..400).map(|number| format!("entry {number} {}", "x".repeat(200))).collect();
    journal.append(many.clone()).await.expect("appends");
    journal.close().await.expect("closes");
    let whole = fs::read(folder.path()).expect("reads");
    for missing in [1, 100, 4096, 3 * 4096 + 7] {
        fs::write(folder.path(), &whole[..whole.len() - missing]).expect("writes");
        if missing < 4096 {
            // A part of the last page counts as a whole page, padded with zeros.
            let opened = Sqlite::open_to_repair(&folder.path()).await.expect("opens");
            let good = read(&mut *(Box::new(opened) as Box<dyn Journal>)).await.lines.len();
            assert!(good >= 400 - 20, "{missing}: {good}");
            continue;
        }
        let before = folder.files();
        for opened in [folder.open().await, folder.open_idle().await] {
            let error = opened.expect_err("is refused").to_string();
            assert!(error.contains(&format!("its last {missing} bytes are missing")), "{error}");
            assert!(error.contains("journal repair"), "{error}");
        }
        assert_eq!(folder.files(), before, "looking changed something");
        let mut journal: Box<dyn Journal> = Box::new(Sqlite::open_to_repair(&folder.path()).await.expect("opens"));
        let copy = journal.copy_aside().await.expect("was copied");
        assert_eq!(fs::read(&copy).expect("reads"), before[0].1, "the copy is of what there was");
        let reading = read(&mut *journal).await;
        let good = reading.lines.len();
        // A page has about twenty of them.
        assert!(good >= 400 - (missing / 4096 + 2) * 20, "{missing}: {good}");
        let sound = reading.lines.iter().zip(&many).take_while(|(line, text)| line.entry == text.as_bytes()).count();
        assert!(sound + 20 >= good, "{missing}: {sound} of {good}");
        journal.replace(many[..sound].to_vec()).await.expect("replaces");
        assert_eq!(reopen(&folder).await.1, many[..sound]);
        fs::remove_file(copy).expect("removes");
    }
}

#[tokio::test]
async fn a_log_without_its_file_is_left_alone_and_can_be_read() {
    for gone in [false, true] {
        let (folder, whole) = (Folder::new(), Folder::new());
        let (mut journal, _) = reopen(&whole).await;
        journal.append(texts(&["a", "b"])).await.expect("appends");
        // While the journal is open, all of it is in the log.
        let log = |folder: &Folder| folder.0.path().join("journal.db-wal");
        fs::copy(log(&whole), log(&folder)).expect("copies");
        journal.close().await.expect("closes");
        if !gone {
            fs::write(folder.path(), "").expect("writes");
        }
        let before = folder.files();
        assert_eq!(before.len(), 1, "the log");
        for opened in [folder.open().await, folder.open_idle().await] {
            let error = opened.expect_err("is refused");
            assert!(matches!(error, JournalError::LogAlone { .. }), "{error:?}");
        }
        assert_eq!(folder.files(), before, "looking changed something");
        let mut journal: Box<dyn Journal> = Box::new(Sqlite::open_to_repair(&folder.path()).await.expect("opens"));
        let reading = read(&mut *journal).await;
        assert_eq!(reading.lines.iter().map(|line| &line.entry[..]).collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(reading.damages, []);
        journal.close().await.expect("closes");
        assert_eq!(reopen(&folder).await.1, ["a", "b"]);
    }
}

#[tokio::test]
async fn each_repair_of_a_log_without_its_file_has_a_copy_of_its_own() {
    let (folder, whole) = (Folder::new(), Folder::new());
    let (mut journal, _) = reopen(&whole).await;
    journal.append(texts(&["a", "b"])).await.expect("appends");
    let log = fs::read(whole.0.path().join("journal.db-wal")).expect("reads");
    journal.close().await.expect("closes");
    let beside = |suffix: &str| folder.0.path().join(format!("journal.db{suffix}"));
    for _ in 0..2 {
        for suffix in ["", "-wal", "-shm"] {
            // SQLite leaves some of them only while it is open.
            let _ = fs::remove_file(beside(suffix));
        }
        fs::write(beside("-wal"), &log).expect("writes");
        let journal = Sqlite::open_to_repair(&folder.path()).await.expect("opens");
        (Box::new(journal) as Box<dyn Journal>).close().await.expect("closes");
    }
    for copy in [".aside-1-wal", ".aside-2-wal"] {
        assert_eq!(fs::read(beside(copy)).expect("is there"), log, "{copy}");
    }
}

#[tokio::test]
async fn a_page_that_is_damaged_ends_the_reading_and_what_is_before_it_can_take_its_place() {
    let folder = Folder::new();
    let (mut journal, _) = reopen(&folder).await;
    let many: Vec<String> = (0..400).map(|number| format!("entry {number} {}", "x".repeat(200))).collect();
    journal.append(many.clone()).await.expect("appends");
    journal.close().await.expect("closes");
    let mut bytes = fs::read(folder.path()).expect("reads");
    let half = bytes.len() / 2 / 4096 * 4096;
    bytes[half..half + 4096].fill(0xa5);
    fs::write(folder.path(), bytes).expect("writes");
    let mut journal = folder.open_idle().await.expect("opens");
    let reading = read(&mut *journal).await;
    let [Damage::Stops { sequence, .. }] = &reading.damages[..] else { panic!("{:?}", reading.damages) };
    assert!(100 < *sequence && *sequence < 300, "{sequence}");
    assert!(!reading.torn);
    let good = reading.lines.len();
    journal.copy_aside().await.expect("copies");
    journal.replace(many[..good].to_vec()).await.expect("replaces");
    let (_, entries) = reopen(&folder).await;
    assert_eq!(entries, many[..good]);
}
