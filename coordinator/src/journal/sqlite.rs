//! The journal in an SQLite file. This file and `file`, which knows it as bytes, are those that name what is SQLite's.

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

/// Version of the tables, kept in the file's `user_version`. 0 is a new file, or one whose lines have no checksums; 1 has all lines since
/// the beginning.
const FORMAT: i64 = 2;

/// SQLITE_FULL; SQLITE_IOERR_WRITE, which some file systems give instead; and SQLITE_IOERR_SHMSIZE, when not even the index of the
/// log finds room.
const FULL: [&str; 3] = ["13", "778", "4874"];

/// SQLITE_CORRUPT, the lowest byte of its kinds.
const CORRUPT: i32 = 11;
/// SQLITE_NOTADB.
const NO_DATABASE: i32 = 26;

/// Bytes of a page, at least one of which a database has.
const PAGE: u64 = 4096;

/// Lines that are written by one statement, which may have 32,766 values.
const ROWS: usize = 1_000;
/// Bytes of lines with which a statement is long enough: the database has a copy of all that is in one.
const BYTES: usize = 1 << 20;

const TABLE: &str =
    "CREATE TABLE journal (sequence INTEGER PRIMARY KEY, entry TEXT NOT NULL, checksum BLOB NOT NULL) STRICT";

/// An open journal. One process at a time: the folder's lock sees to that.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    place: Place,
    connection: SqliteConnection,
    format: i64,
    chain: Chain,
    /// What was in it when it was opened.
    holds: Holds,
    /// What the file was copied to before it was made longer.
    copy_of_cut: Option<PathBuf>,
    /// Whether the file has been copied, so that nothing of it is lost with it.
    copied: bool,
}

/// What a database is of.
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

/// The same of a file that cannot even be opened: of one that is no database there is nothing to repair.
fn not_opened(path: &Path) -> impl FnOnce(sqlx::Error) -> JournalError {
    let place = Place::File(path.to_owned());
    let failed = failed("open", path);
    move |error| match kind(&error) {
        // Only now that it has failed: to open a file and close it again takes all locks of this process from it.
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

/// The lowest byte of an error's code: what kind it is.
fn kind(error: &sqlx::Error) -> Option<i32> {
    Some(code(error)?.parse::<i32>().ok()? & 0xff)
}

impl Sqlite {
    /// Opens the file to go on with it, and makes it if need be. Lines of a format before this one are brought to this one.
    ///
    /// # Errors
    /// If it cannot be opened or set up, or is of a later format.
    pub async fn open(path: &Path) -> Result<Self, JournalError> {
        // With a journal of SQLite's own beside it it has to be rolled back, which whoever only reads cannot.
        if file::exists(path) && !file::beside(path, "-journal").exists() {
            // Before anything is changed: it may be something else's.
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
                info!(lines = brought, journal = %path.display(), "the lines of the journal have checksums from now on");
            }
            journal.format = FORMAT;
        }
        Ok(journal)
    }

    /// Whether there is one, or something of one.
    #[must_use]
    pub fn is_there(path: &Path) -> bool {
        file::exists(path)
    }

    /// Opens a file that is there, to read it and to change nothing.
    ///
    /// # Errors
    /// If there is none, it cannot be opened, or it is of a later format.
    pub async fn open_idle(path: &Path) -> Result<Self, JournalError> {
        if !file::exists(path) {
            return Err(JournalError::None(Place::File(path.to_owned())));
        }
        let journal = Self::connect(SqliteConnectOptions::new().filename(path).read_only(true), path).await?;
        if journal.holds == Holds::Journal { Ok(journal) } else { Err(JournalError::Foreign(journal.place)) }
    }

    /// The same to repair it: a file that ends early is copied, and then made as long as it was, with zeros in place of what is missing, so
    /// that the rest of it can be read.
    ///
    /// # Errors
    /// As [`Sqlite::open_idle`], or if it cannot be copied or made longer.
    pub async fn open_to_repair(path: &Path) -> Result<Self, JournalError> {
        let missing = match Self::open_idle(path).await {
            Err(JournalError::CutOff { missing, .. }) => missing,
            // All that it needs to be read with its log.
            Err(JournalError::LogAlone { .. }) => PAGE,
            opened => return opened,
        };
        let copy = file::copy_aside(path).map_err(failed("copy", path))?;
        file::lengthen(path, missing).map_err(failed("lengthen", path))?;
        warn!(zeros = missing, copy = %copy.display(), "the file was cut off: it was copied and made longer, so that the rest of it can be read");
        Ok(Self { copy_of_cut: Some(copy), ..Self::open_idle(path).await? })
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

    /// Makes the table, or gives the lines of the old one their checksums, in one transaction. Says how many those were.
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

/// Writes a new file with these entries, whole and flushed.
async fn write_new(path: &Path, entries: Vec<String>) -> Result<(), JournalError> {
    file::remove(path).map_err(failed("write", path))?;
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Delete).synchronous(SqliteSynchronous::Full);
    let mut new = Sqlite::connect(options, path).await?;
    new.bring_up_to_date().await.map_err(failed("write", path))?;
    new.append(entries).await?;
    new.connection.close().await.map_err(failed("write", path))
}

/// Writes lines that follow each other.
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
        // As many statements as there are sizes of batches are not worth keeping.
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
        // A page that is damaged may give anything in place of what was written.
        let query = match self.format {
            0 => "SELECT sequence, CAST(entry AS BLOB), NULL FROM journal ORDER BY sequence",
            _ => "SELECT sequence, CAST(entry AS BLOB), CAST(checksum AS BLOB) FROM journal ORDER BY sequence",
        };
        let mut rows = sqlx::query_as::<_, (i64, Option<Vec<u8>>, Option<Vec<u8>>)>(query).fetch(&mut self.connection);
        loop {
            match rows.try_next().await {
                // Numbers rise from 1: a page that was cut off gives rows that nobody wrote.
                Ok(Some((sequence, ..))) if sequence <= last => {
                    stopped.get_or_insert_with(|| format!("behind entry {last} stands one of the number {sequence}"));
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
            // Somebody else has written the line that comes next.
            let taken = error.as_database_error().is_some_and(|error| error.is_unique_violation());
            if taken { JournalError::Fenced(self.place.clone()) } else { failed("write", &self.path)(error) }
        })?;
        transaction.commit().await.map_err(failed("write", &self.path))?;
        self.chain = chain;
        Ok(())
    }

    fn next(&self) -> i64 {
        self.chain.next()
    }

    async fn begin_at(&mut self, first: i64) -> Result<(), JournalError> {
        if first <= 2 {
            // There is no line before whose checksum could be all that is left of it.
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
        // The folder's lock is lost with the process alone.
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
        write_new(&draft, entries).await.inspect_err(|_| file::discard(&draft))?;
        let Self { path, connection, copied, .. } = *self;
        connection.close().await.map_err(failed("close", &path))?;
        if !copied {
            // What is in the log comes into the file, so that the old one is whole until the new one is in its place.
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
