//! The journal in an SQLite file. The one file that names what is SQLite's.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use sqlx::{
    ConnectOptions as _, Connection as _, QueryBuilder, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tracing::info;

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

/// Lines that are written by one statement, which may have 32,766 values.
const ROWS: usize = 1_000;

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
    /// Whether the file has been copied, so that nothing of it is lost with it.
    copied: bool,
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
        Some(CORRUPT | NO_DATABASE) => JournalError::Unreadable { place, source: error.into() },
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

    /// Opens a file that is there, to read it and to change nothing.
    ///
    /// # Errors
    /// If there is none, it cannot be opened, or it is of a later format.
    pub async fn open_idle(path: &Path) -> Result<Self, JournalError> {
        if !path.exists() {
            return Err(JournalError::None(Place::File(path.to_owned())));
        }
        Self::connect(SqliteConnectOptions::new().filename(path).read_only(true), path).await
    }

    async fn connect(options: SqliteConnectOptions, path: &Path) -> Result<Self, JournalError> {
        let mut connection = options.connect().await.map_err(not_opened(path))?;
        let format: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.map_err(not_opened(path))?;
        let place = Place::File(path.to_owned());
        if format > FORMAT {
            connection.close().await.map_err(failed("close", path))?;
            return Err(JournalError::Newer { place, found: format, known: FORMAT });
        }
        Ok(Self { path: path.to_owned(), place, connection, format, chain: Chain::default(), copied: false })
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

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }
}

/// Writes a new file with these entries, whole and flushed.
async fn write_new(path: &Path, entries: Vec<String>) -> Result<(), JournalError> {
    remove(path).map_err(failed("write", path))?;
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
    while entries.len() > 0 {
        let part = entries.by_ref().take(ROWS);
        // As many statements as there are sizes of batches are not worth keeping.
        let is_kept = part.len() == 1;
        let mut insert = QueryBuilder::new("INSERT INTO journal (sequence, entry, checksum) ");
        insert.push_values(part, |mut row, entry| {
            let (sequence, checksum) = chain.add(entry.as_bytes());
            row.push_bind(sequence).push_bind(entry).push_bind(checksum);
        });
        insert.build().persistent(is_kept).execute(&mut *connection).await?;
    }
    Ok(())
}

#[async_trait]
impl Journal for Sqlite {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn read(&mut self, take: &mut (dyn FnMut(Line) + Send)) -> Result<Option<String>, JournalError> {
        let mut stopped = None;
        let mut chain = Chain::default();
        // A page that is damaged may give anything in place of what was written.
        let query = match self.format {
            0 => "SELECT sequence, CAST(entry AS BLOB), NULL FROM journal ORDER BY sequence",
            _ => "SELECT sequence, CAST(entry AS BLOB), CAST(checksum AS BLOB) FROM journal ORDER BY sequence",
        };
        let mut rows = sqlx::query_as::<_, (i64, Option<Vec<u8>>, Option<Vec<u8>>)>(query).fetch(&mut self.connection);
        loop {
            match rows.try_next().await {
                Ok(Some((sequence, entry, checksum))) => {
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
        let aside = (1..).map(|number| self.beside(&format!(".aside-{number}"))).find(|path| !path.exists());
        let aside = aside.expect("there are more numbers than files");
        let failed = |source: io::Error| failed("copy", &self.path)(source);
        // What has not come from the log into the file yet is a part of it, under the name that belongs to the copy's.
        let mut log = aside.clone().into_os_string();
        log.push("-wal");
        for (from, to) in [(self.beside("-wal"), PathBuf::from(log)), (self.path.clone(), aside.clone())] {
            // An empty log has nothing of it.
            if from.metadata().is_ok_and(|metadata| metadata.len() > 0) {
                let copied = fs::copy(&from, &to).and_then(|_| File::open(&to)?.sync_all());
                copied.inspect_err(|_| discard(&to)).map_err(failed)?;
            }
        }
        flush_folder(&self.path).map_err(failed)?;
        self.copied = true;
        Ok(aside.display().to_string())
    }

    async fn replace(self: Box<Self>, entries: Vec<String>) -> Result<(), JournalError> {
        let draft = self.beside(".new");
        write_new(&draft, entries).await.inspect_err(|_| discard(&draft))?;
        let beside = ["-wal", "-shm"].map(|suffix| self.beside(suffix));
        let Self { path, connection, copied, .. } = *self;
        connection.close().await.map_err(failed("close", &path))?;
        if !copied {
            // What is in the log comes into the file, so that the old one is whole until the new one is in its place.
            let whole = SqliteConnectOptions::new().filename(&path).journal_mode(SqliteJournalMode::Delete);
            let whole = whole.connect().await.map_err(failed("close", &path))?;
            whole.close().await.map_err(failed("close", &path))?;
        }
        let failed = |source: io::Error| failed("replace", &path)(source);
        // Root may look after the journal of a service that is not root.
        keep_owner(&path, &draft).map_err(failed)?;
        // The new file must not find the log of the old one.
        beside.iter().try_for_each(|path| remove(path)).map_err(failed)?;
        fs::rename(&draft, &path).and_then(|()| flush_folder(&path)).map_err(failed)
    }

    async fn close(self: Box<Self>) -> Result<(), JournalError> {
        self.connection.close().await.map_err(failed("close", &self.path))
    }
}

/// Gives a file the owner and the permissions of another.
fn keep_owner(of: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::metadata(of)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, chown};
        chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    fs::set_permissions(to, metadata.permissions())
}

/// Removes what a write that failed has left, which may be what fills the disk. The failure is what is told.
fn discard(path: &Path) {
    let _ = remove(path);
}

/// Removes a file if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes what was renamed or made in the folder of a file durable.
fn flush_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}
