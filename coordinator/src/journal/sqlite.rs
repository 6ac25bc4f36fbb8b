//! The journal in an SQLite file. The one file that names the database library.

use std::path::{Path, PathBuf};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::scheduler::{Entry, UnreadableEntry};

/// An open journal. One process at a time: the folder's lock sees to that.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    connection: SqliteConnection,
}

/// Why a journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk is full.
    #[error("no space left for the journal {path}: free some, then run the same command again")]
    Full {
        /// The file.
        path: PathBuf,
        /// The database's error.
        #[source]
        source: sqlx::Error,
    },
    /// Any other error of the database.
    #[error("cannot {operation} the journal {path}")]
    Database {
        /// What was attempted.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The database's error.
        #[source]
        source: sqlx::Error,
    },
    /// An entry cannot be read.
    #[error("entry {sequence} of the journal {path} cannot be read")]
    Entry {
        /// The file.
        path: PathBuf,
        /// Which.
        sequence: i64,
        /// Why.
        #[source]
        source: UnreadableEntry,
    },
}

/// SQLITE_FULL; SQLITE_IOERR_WRITE, which some file systems give instead; and SQLITE_IOERR_SHMSIZE, when not even the index of the
/// log finds room.
const FULL: [&str; 3] = ["13", "778", "4874"];

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(sqlx::Error) -> JournalError {
    let path = path.to_owned();
    move |source| match &source {
        sqlx::Error::Database(error) if error.code().is_some_and(|code| FULL.contains(&code.as_ref())) => {
            JournalError::Full { path, source }
        }
        _ => JournalError::Database { operation, path, source },
    }
}

impl JournalError {
    /// Whether freeing disk space is what helps.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

impl Journal {
    /// Opens the file, and makes it if need be; gives what it holds.
    ///
    /// # Errors
    /// If it cannot be opened, or holds what is no entry.
    pub async fn open(path: &Path) -> Result<(Self, Vec<Entry>), JournalError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode only FULL flushes to the disk at every commit.
            .synchronous(SqliteSynchronous::Full);
        let mut connection = options.connect().await.map_err(failed("open", path))?;
        sqlx::query("CREATE TABLE IF NOT EXISTS journal (sequence INTEGER PRIMARY KEY, entry TEXT NOT NULL) STRICT")
            .execute(&mut connection)
            .await
            .map_err(failed("set up", path))?;
        let rows: Vec<(i64, String)> = sqlx::query_as("SELECT sequence, entry FROM journal ORDER BY sequence")
            .fetch_all(&mut connection)
            .await
            .map_err(failed("read", path))?;
        let entries = rows.into_iter().map(|(sequence, entry)| {
            Entry::from_json(&entry).map_err(|source| JournalError::Entry { path: path.to_owned(), sequence, source })
        });
        let entries = entries.collect::<Result<_, _>>()?;
        Ok((Self { path: path.to_owned(), connection }, entries))
    }

    /// Appends all of the entries or none, and returns when they are on the disk.
    ///
    /// # Errors
    /// If they cannot be written.
    pub async fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        let failed = || failed("write", &self.path);
        let mut transaction = self.connection.begin().await.map_err(failed())?;
        for entry in entries {
            sqlx::query("INSERT INTO journal (entry) VALUES (?)")
                .bind(entry.to_json())
                .execute(&mut *transaction)
                .await
                .map_err(failed())?;
        }
        transaction.commit().await.map_err(failed())
    }

    /// Closes the file in order.
    ///
    /// # Errors
    /// If the last of it cannot be written.
    pub async fn close(self) -> Result<(), JournalError> {
        self.connection.close().await.map_err(failed("close", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use secateur_proto::ids::SweepId;

    use super::*;
    use crate::scheduler::{Record, Timestamp};

    fn entry(at: u64) -> Entry {
        let sweep: SweepId = "0123456789ab".parse().expect("an id");
        Entry::new(Timestamp(at), Record::SweepCancelled { sweep })
    }

    #[tokio::test]
    async fn what_was_appended_is_there_after_opening_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.db");
        let (mut journal, entries) = Journal::open(&path).await.expect("opens");
        assert_eq!(entries, []);
        journal.append(&[entry(1), entry(2)]).await.expect("appends");
        journal.append(&[entry(3)]).await.expect("appends");
        // Not closed, as after a crash.
        drop(journal);
        let (_, entries) = Journal::open(&path).await.expect("opens");
        assert_eq!(entries, [entry(1), entry(2), entry(3)]);
    }

    #[tokio::test]
    async fn a_file_that_is_no_journal_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.db");
        std::fs::write(&path, "not a database, but long enough to look at ".repeat(50)).expect("writes");
        assert!(matches!(Journal::open(&path).await, Err(JournalError::Database { .. })));
    }
}
