//! The journal in an SQLite file. Only this file and `file`, which handles its bytes, name SQLite.

mod file;

use std::{
    io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use sqlx::{
    ConnectOptions as _, Connection as _, QueryBuilder, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tracing::{info, warn};

use super::{Chain, DatabaseError, Journal, JournalError, Line, Place};

/// Version of the tables, in the file's `user_version`. 0 is a new file, or one whose lines have no checksums. Version
/// 1 never removes lines.
const FORMAT: i64 = 2;

/// SQLITE_FULL; SQLITE_IOERR_WRITE, which some file systems return instead; and SQLITE_IOERR_SHMSIZE, if not even the
/// index of the log fits.
const FULL: [&str; 3] = ["13", "778", "4874"];

/// SQLITE_CORRUPT, the lowest byte of its codes.
const CORRUPT: i32 = 11;
/// SQLITE_NOTADB.
const NO_DATABASE: i32 = 26;

/// The size of a page in bytes. A database has at least one page.
const PAGE: u64 = 4096;

/// Lines in one statement, which may have 32,766 parameters.
const ROWS: usize = 1_000;
/// The size in bytes at which a statement is long enough, because the database copies all of it.
const BYTES: usize = 1 << 20;

const TABLE: &str =
    "CREATE TABLE journal (sequence INTEGER PRIMARY KEY, entry TEXT NOT NULL, checksum BLOB NOT NULL) STRICT";

/// The identity of the coordinator, in at most one row.
const COORDINATOR: &str =
    "CREATE TABLE IF NOT EXISTS coordinator (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL) STRICT";

/// An open journal. The lock of the folder ensures a single process.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    place: Place,
    connection: SqliteConnection,
    format: i64,
    chain: Chain,
    /// What it contained when it was opened.
    holds: Holds,
    /// The copy of a truncated file, made before it was padded.
    copy_of_cut: Option<PathBuf>,
    /// Whether the file has been copied, so that deleting it loses nothing.
    copied: bool,
}

/// What a database contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Journal,
    SomethingElse,
}

fn failed<E: Into<DatabaseError>>(operation: &'static str, path: &Path) -> impl FnOnce(E) -> JournalError {
    let place = Place::File(path.to_owned());
    move |source| {
        let source = source.into();
        let code = source.downcast_ref::<sqlx::Error>().and_then(code);
        let system = source.downcast_ref::<io::Error>().map(io::Error::kind);
        if code.is_some_and(|code| FULL.contains(&code.as_str()))
            || matches!(system, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
        {
            return JournalError::Full { place, source };
        }
        JournalError::Database { operation, place, source }
    }
}

/// Converts the error for a file that cannot be opened. A file that is not a database cannot be repaired.
fn not_opened(path: &Path) -> impl FnOnce(sqlx::Error) -> JournalError {
    let place = Place::File(path.to_owned());
    let failed = failed("open", path);
    move |error| match kind(&error) {
        // Not checked earlier: opening and closing a file releases all locks of this process on it.
        Some(CORRUPT | NO_DATABASE) => match file::missing(path) {
            Ok(missing @ 1..) => JournalError::CutOff { place, missing, source: error.into() },
            _ => JournalError::Unreadable { place, source: error.into() },
        },
        _ => failed(error),
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}

/// The lowest byte of an error's code: its kind.
fn kind(error: &sqlx::Error) -> Option<i32> {
    Some(code(error)?.parse::<i32>().ok()? & 0xff)
}

impl Sqlite {
    /// Opens the file, and creates it if it does not exist. Lines of earlier formats are converted.
    ///
    /// # Errors
    /// If it cannot be opened or set up, or has a newer format.
    pub async fn open(path: &Path) -> Result<Self, JournalError> {
        // A rollback journal beside it requires recovery, which a read-only connection cannot do.
        if file::exists(path) && !file::beside(path, "-journal").exists() {
            // Before anything is changed, check that the file is a journal.
            let looked_at = Self::connect(SqliteConnectOptions::new().filename(path).read_only(true), path).await?;
            let (holds, path) = (looked_at.holds, looked_at.path.clone());
            looked_at.connection.close().await.map_err(failed("close", &path))?;
            if holds == Holds::SomethingElse {
                return Err(JournalError::Foreign(Place::File(path)));
            }
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode only FULL flushes to the disk at every commit.
            .synchronous(SqliteSynchronous::Full);
        let mut journal = Self::connect(options, path).await?;
        if journal.format < FORMAT {
            let brought = journal.bring_up_to_date().await.map_err(failed("set up", path))?;
            if brought > 0 {
                info!(lines = brought, journal = %path.display(), "added checksums to the lines of the journal");
            }
            journal.format = FORMAT;
        }
        Ok(journal)
    }

    /// Whether a journal, or a part of one, exists.
    #[must_use]
    pub fn is_there(path: &Path) -> bool {
        file::exists(path)
    }

    /// Opens an existing file to read it, without changing anything.
    ///
    /// # Errors
    /// If it does not exist, cannot be opened, or has a newer format.
    pub async fn open_idle(path: &Path) -> Result<Self, JournalError> {
        if !file::exists(path) {
            return Err(JournalError::None(Place::File(path.to_owned())));
        }
        let journal = Self::connect(SqliteConnectOptions::new().filename(path).read_only(true), path).await?;
        if journal.holds == Holds::Journal { Ok(journal) } else { Err(JournalError::Foreign(journal.place)) }
    }

    /// Opens an existing file to repair it. A truncated file is copied, then padded with zeros to its former length, so
    /// that the rest can be read.
    ///
    /// # Errors
    /// As [`Sqlite::open_idle`], or if it cannot be copied or padded.
    pub async fn open_to_repair(path: &Path) -> Result<Self, JournalError> {
        let missing = match Self::open_idle(path).await {
            Err(JournalError::CutOff { missing, .. }) => missing,
            // Enough to read the log.
            Err(JournalError::LogAlone { .. }) => PAGE,
            opened => return opened,
        };
        let copy = file::copy_aside(path).map_err(failed("copy", path))?;
        file::lengthen(path, missing).map_err(failed("lengthen", path))?;
        warn!(zeros = missing, copy = %copy.display(), "the file is truncated; it was copied and padded, so that the rest can be read");
        Ok(Self { copy_of_cut: Some(copy), ..Self::open_idle(path).await? })
    }

    /// Writes the state of a journal at one moment to a new file. The journal may be in use, and is not changed.
    ///
    /// # Errors
    /// If it cannot be read, or the new file cannot be written.
    pub async fn copy_while_used(path: &Path, to: &Path) -> Result<(), JournalError> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let mut journal = Self::connect(options, path).await?;
        if journal.holds != Holds::Journal {
            return Err(JournalError::Foreign(journal.place));
        }
        // One read transaction, which does not block the writer of a journal with a write-ahead log.
        let written = sqlx::query("VACUUM INTO ?").bind(to.to_string_lossy().into_owned());
        written.execute(&mut journal.connection).await.map_err(failed("copy", path))?;
        journal.connection.close().await.map_err(failed("close", path))?;
        std::fs::File::open(to).and_then(|file| file.sync_all()).map_err(failed("flush", to))
    }

    async fn connect(options: SqliteConnectOptions, path: &Path) -> Result<Self, JournalError> {
        let log = file::log_alone(path);
        if log > 0 {
            return Err(JournalError::LogAlone { place: Place::File(path.to_owned()), log });
        }
        let mut connection = options.connect().await.map_err(not_opened(path))?;
        let format: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.map_err(not_opened(path))?;
        let place = Place::File(path.to_owned());
        if format > FORMAT {
            connection.close().await.map_err(failed("close", path))?;
            return Err(JournalError::Newer { place, found: format, known: FORMAT });
        }
        let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .fetch_all(&mut connection)
            .await
            .map_err(not_opened(path))?;
        let holds = match &tables[..] {
            [] => Holds::Nothing,
            tables if tables.iter().any(|table| table == "journal") => Holds::Journal,
            _ => Holds::SomethingElse,
        };
        let (path, chain) = (path.to_owned(), Chain::default());
        Ok(Self { path, place, connection, format, holds, chain, copy_of_cut: None, copied: false })
    }

    /// Creates the table, or adds checksums to the lines of an old one, in one transaction. Returns the number of those
    /// lines.
    async fn bring_up_to_date(&mut self) -> Result<usize, sqlx::Error> {
        if self.format == 1 {
            sqlx::query("PRAGMA user_version = 2").execute(&mut self.connection).await?;
            return Ok(0);
        }
        let mut transaction = self.connection.begin().await?;
        let old: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'journal')")
            .fetch_one(&mut *transaction)
            .await?;
        let mut brought = 0;
        if old {
            sqlx::query("ALTER TABLE journal RENAME TO journal_0").execute(&mut *transaction).await?;
        }
        sqlx::query(TABLE).execute(&mut *transaction).await?;
        if old {
            let lines: Vec<(i64, Vec<u8>)> =
                sqlx::query_as("SELECT sequence, CAST(entry AS BLOB) FROM journal_0 ORDER BY sequence")
                    .fetch_all(&mut *transaction)
                    .await?;
            let mut chain = Chain::default();
            for (sequence, entry) in &lines {
                sqlx::query("INSERT INTO journal SELECT sequence, entry, ? FROM journal_0 WHERE sequence = ?")
                    .bind(chain.adopt(*sequence, entry))
                    .bind(sequence)
                    .execute(&mut *transaction)
                    .await?;
            }
            sqlx::query("DROP TABLE journal_0").execute(&mut *transaction).await?;
            brought = lines.len();
        }
        sqlx::query("PRAGMA user_version = 2").execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(brought)
    }
}

/// The identity that a database holds. `None` if it holds none, or none that can be read.
async fn identity(connection: &mut SqliteConnection) -> Option<String> {
    let query = sqlx::query_scalar("SELECT id FROM coordinator");
    query.fetch_optional(connection).await.ok().flatten()
}

/// Stores an identity, unless there is one, and returns what is stored.
async fn keep_identity(connection: &mut SqliteConnection, fresh: &str) -> Result<String, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query(COORDINATOR).execute(&mut *transaction).await?;
    let insert = "INSERT INTO coordinator (one, id) VALUES (1, ?) ON CONFLICT DO NOTHING";
    sqlx::query(insert).bind(fresh).execute(&mut *transaction).await?;
    let held = sqlx::query_scalar("SELECT id FROM coordinator").fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(held)
}

/// Writes a new file with these entries, and the identity if there is one, and flushes it.
async fn write_new(path: &Path, entries: Vec<String>, id: Option<String>) -> Result<(), JournalError> {
    file::remove(path).map_err(failed("write", path))?;
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Delete).synchronous(SqliteSynchronous::Full);
    let mut new = Sqlite::connect(options, path).await?;
    new.bring_up_to_date().await.map_err(failed("write", path))?;
    new.append(entries).await?;
    if let Some(id) = id {
        keep_identity(&mut new.connection, &id).await.map_err(failed("write", path))?;
    }
    new.connection.close().await.map_err(failed("write", path))
}

/// Writes consecutive lines.
async fn insert(connection: &mut SqliteConnection, chain: &mut Chain, entries: Vec<String>) -> Result<(), sqlx::Error> {
    let mut entries = entries.into_iter();
    loop {
        let (mut part, mut bytes) = (vec![], 0);
        while part.len() < ROWS
            && bytes < BYTES
            && let Some(entry) = entries.next()
        {
            bytes += entry.len();
            part.push(entry);
        }
        if part.is_empty() {
            return Ok(());
        }
        // Statements for every size of batch are not worth caching.
        let is_kept = part.len() == 1;
        let mut insert = QueryBuilder::new("INSERT INTO journal (sequence, entry, checksum) ");
        insert.push_values(part, |mut row, entry| {
            let (sequence, checksum) = chain.add(entry.as_bytes());
            row.push_bind(sequence).push_bind(entry).push_bind(checksum);
        });
        insert.build().persistent(is_kept).execute(&mut *connection).await?;
    }
}

#[async_trait]
impl Journal for Sqlite {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn read(&mut self, take: &mut (dyn FnMut(Line) + Send)) -> Result<Option<String>, JournalError> {
        let mut stopped = None;
        let (mut chain, mut last) = (Chain::default(), 0);
        // A damaged page may return values of any type.
        let query = match self.format {
            0 => "SELECT sequence, CAST(entry AS BLOB), NULL FROM journal ORDER BY sequence",
            _ => "SELECT sequence, CAST(entry AS BLOB), CAST(checksum AS BLOB) FROM journal ORDER BY sequence",
        };
        let mut rows = sqlx::query_as::<_, (i64, Option<Vec<u8>>, Option<Vec<u8>>)>(query).fetch(&mut self.connection);
        loop {
            match rows.try_next().await {
                // Sequence numbers increase from 1: a truncated page returns rows that were never written.
                Ok(Some((sequence, ..))) if sequence <= last => {
                    stopped.get_or_insert_with(|| format!("entry {last} is followed by entry {sequence}"));
                }
                Ok(Some((sequence, entry, checksum))) => {
                    last = sequence;
                    let entry = entry.unwrap_or_default();
                    let checksum = match self.format {
                        0 => chain.adopt(sequence, &entry),
                        _ => checksum.unwrap_or_default(),
                    };
                    let line = Line { sequence, entry, checksum };
                    chain = Chain::at(&line);
                    take(line);
                }
                Ok(None) => break,
                Err(error) if kind(&error) == Some(CORRUPT) => {
                    stopped = Some(error.to_string());
                    break;
                }
                Err(error) => return Err(failed("read", &self.path)(error)),
            }
        }
        drop(rows);
        self.chain = chain;
        Ok(stopped)
    }

    async fn append(&mut self, entries: Vec<String>) -> Result<(), JournalError> {
        let mut chain = self.chain.clone();
        let mut transaction = self.connection.begin().await.map_err(failed("write", &self.path))?;
        insert(&mut transaction, &mut chain, entries).await.map_err(|error| {
            // Another process has written a line with this sequence number.
            let taken = error.as_database_error().is_some_and(|error| error.is_unique_violation());
            if taken { JournalError::Fenced(self.place.clone()) } else { failed("write", &self.path)(error) }
        })?;
        transaction.commit().await.map_err(failed("write", &self.path))?;
        self.chain = chain;
        Ok(())
    }

    async fn identity(&mut self, fresh: &str) -> Result<String, JournalError> {
        match identity(&mut self.connection).await {
            Some(held) => Ok(held),
            None => keep_identity(&mut self.connection, fresh).await.map_err(failed("write", &self.path)),
        }
    }

    fn next(&self) -> i64 {
        self.chain.next()
    }

    async fn begin_at(&mut self, first: i64) -> Result<(), JournalError> {
        if first <= 2 {
            // No line before it has a checksum to keep.
            return Ok(());
        }
        let failed = |error: sqlx::Error| failed("shorten", &self.path)(error);
        let mut transaction = self.connection.begin().await.map_err(failed)?;
        sqlx::query("DELETE FROM journal WHERE sequence < ?")
            .bind(first - 1)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("UPDATE journal SET entry = '' WHERE sequence = ?")
            .bind(first - 1)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn confirm(&mut self) -> Result<(), JournalError> {
        // The lock of the folder is only lost when the process ends.
        Ok(())
    }

    async fn copy_aside(&mut self) -> Result<String, JournalError> {
        let copy = match self.copy_of_cut.take() {
            Some(copy) => copy,
            None => file::copy_aside(&self.path).map_err(failed("copy", &self.path))?,
        };
        self.copied = true;
        Ok(copy.display().to_string())
    }

    async fn replace(self: Box<Self>, entries: Vec<String>) -> Result<(), JournalError> {
        let draft = file::beside(&self.path, ".new");
        let Self { path, mut connection, copied, .. } = *self;
        let id = identity(&mut connection).await;
        write_new(&draft, entries, id).await.inspect_err(|_| file::discard(&draft))?;
        connection.close().await.map_err(failed("close", &path))?;
        if !copied {
            // The content of the log moves into the file, so that the old one is complete until the new one replaces
            // it.
            let whole = SqliteConnectOptions::new().filename(&path).journal_mode(SqliteJournalMode::Delete);
            let whole = whole.connect().await.map_err(failed("close", &path))?;
            whole.close().await.map_err(failed("close", &path))?;
        }
        file::put_in_its_place(&draft, &path).map_err(failed("replace", &path))
    }

    async fn close(self: Box<Self>) -> Result<(), JournalError> {
        self.connection.close().await.map_err(failed("close", &self.path))
    }
}
