//! The journal in a PostgreSQL database, of which several coordinators may try to be the owner. The one file that names what is
//! PostgreSQL's.
//!
//! Who owns it holds an advisory lock of the very connection that it writes through, so that it cannot lose one and keep the other.
//! Whoever takes it over raises an epoch, and each append looks the epoch up in its own transaction: whatever happened to its lock
//! without its knowledge, an owner of before writes nothing.

use std::{fmt, io, str::FromStr, time::Duration};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tracing::{info, warn};

use super::{Chain, Journal, JournalError, Line, Place};

/// Version of the tables. 1 has all lines since the beginning.
const FORMAT: i64 = 2;

/// The number of the lock: "secateur" in ASCII.
const LOCK: i64 = i64::from_be_bytes(*b"secateur");

/// Of the session, whatever the server's or the role's defaults are. An append that has returned is on the disk; a connection that is
/// idle, or that waits for the lock, is not ended; and the server soon notices when an owner's machine is gone, lock and all.
const SESSION: [(&str, &str); 8] = [
    ("synchronous_commit", "on"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    // Not that a table is there already.
    ("client_min_messages", "warning"),
];

/// Between two looks of one that stands by.
const LOOK: Duration = Duration::from_secs(2);

/// Looks of a command that does not stand by.
const TRIES: u32 = 10;

/// A server that says nothing for longer is out of reach, and another coordinator may have taken over.
const SILENCE: Duration = Duration::from_secs(60);

/// Seconds after which an owner hangs that does nothing at all with its connection: one that works looks at its journal every second.
const HANGS: i32 = 30;

/// In a schema of its own. The owner's table has one row.
const TABLES: &str = "
CREATE SCHEMA IF NOT EXISTS secateur;
CREATE TABLE IF NOT EXISTS secateur.journal (
    sequence bigint PRIMARY KEY,
    entry text NOT NULL,
    checksum bytea NOT NULL
);
CREATE TABLE IF NOT EXISTS secateur.owner (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    format bigint NOT NULL,
    epoch bigint NOT NULL
);
INSERT INTO secateur.owner (format, epoch) VALUES (2, 0) ON CONFLICT DO NOTHING;
UPDATE secateur.owner SET format = 2 WHERE format = 1;
";

/// disk_full.
const FULL: &str = "53100";

/// Which database, and how to get in.
#[derive(Clone)]
pub struct PostgresUrl(PgConnectOptions);

/// A text that is not the URL of a PostgreSQL database.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPostgresUrl {
    /// Something else.
    #[error(
        "the URL of a journal must start with postgres:// or postgresql://, as in postgres://secateur@db.example/secateur"
    )]
    Scheme,
    /// No database.
    #[error("the URL names no database, as in postgres://secateur@db.example/secateur")]
    Database,
    /// Some part of it.
    #[error("invalid URL of the journal: {0}")]
    Url(sqlx::Error),
}

impl FromStr for PostgresUrl {
    type Err = InvalidPostgresUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPostgresUrl> {
        if !Self::is_meant(text) {
            return Err(InvalidPostgresUrl::Scheme);
        }
        let mut options: PgConnectOptions = text.parse().map_err(InvalidPostgresUrl::Url)?;
        if options.get_database().is_none() {
            return Err(InvalidPostgresUrl::Database);
        }
        let host = options.get_host();
        let here = options.get_socket().is_some() || ["localhost", "127.0.0.1", "[::1]", "::1"].contains(&host);
        if !here && !host.starts_with('/') && matches!(options.get_ssl_mode(), PgSslMode::Prefer) {
            // What nobody has decided is decided safely: by default a server without TLS would get everything in the clear.
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        Ok(Self(options.application_name("secateur").options(SESSION)))
    }
}

impl PostgresUrl {
    /// Whether a text would be one, if it were right.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme))
    }

    fn place(&self) -> Place {
        Place::Server(self.to_string())
    }
}

/// Without a password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(options) = self;
        let database = options.get_database().unwrap_or_default();
        let socket = options.get_socket().map(|socket| socket.display().to_string());
        match socket.or_else(|| options.get_host().strip_prefix('/').map(|host| format!("/{host}"))) {
            Some(socket) => write!(f, "postgres://{}@localhost/{database}?host={socket}", options.get_username()),
            None => {
                let (user, host, port) = (options.get_username(), options.get_host(), options.get_port());
                write!(f, "postgres://{user}@{host}:{port}/{database}")
            }
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

/// An open journal.
#[derive(Debug)]
pub struct Postgres {
    place: Place,
    connection: PgConnection,
    /// Of this owner.
    epoch: i64,
    chain: Chain,
    /// Whether the owner before it hung.
    from_one_that_hangs: bool,
}

fn failed(operation: &'static str, place: &Place) -> impl FnOnce(sqlx::Error) -> JournalError {
    let place = place.clone();
    move |source| {
        let database = source.as_database_error();
        if database.and_then(|error| error.code()).is_some_and(|code| code == FULL) {
            return JournalError::Full { place, source: source.into() };
        }
        // Somebody else has written the line that comes next.
        if database.is_some_and(|error| error.is_unique_violation()) {
            return JournalError::Fenced(place);
        }
        JournalError::Database { operation, place, source: source.into() }
    }
}

impl Postgres {
    /// Opens the journal to go on with it, and makes it if need be. Waits until nobody else owns it.
    ///
    /// # Errors
    /// If the server cannot be reached, the tables cannot be made, or they are of a later format.
    pub async fn open(url: &PostgresUrl) -> Result<Self, JournalError> {
        let (mut connection, place) = connect(url).await?;
        let mut hangs = false;
        if !try_lock(&mut connection, &place).await? {
            info!(journal = %place, "another coordinator has the journal; standing by");
            // Waiting in the server would hold back its vacuum, for as long as a standby has nothing to do.
            while !try_lock(&mut connection, &place).await? {
                tokio::time::sleep(LOOK).await;
                if end_what_hangs(&mut connection, &place).await? {
                    hangs = true;
                    warn!(journal = %place, seconds = HANGS, "the other coordinator hangs; its connection to the journal is ended");
                }
            }
            info!(journal = %place, "the other coordinator has the journal no more; taking over");
        }
        // Several statements without values go as one transaction.
        sqlx::raw_sql(TABLES).execute(&mut connection).await.map_err(failed("set up", &place))?;
        Ok(Self { from_one_that_hangs: hangs, ..Self::take(connection, place).await? })
    }

    /// Whether it was taken over from a process that is still there.
    #[must_use]
    pub const fn is_from_one_that_hangs(&self) -> bool {
        self.from_one_that_hangs
    }

    /// Opens a journal that is there and that nobody owns, for a command that looks after it.
    ///
    /// # Errors
    /// If there is none, it has an owner, the server cannot be reached, or the tables are of a later format.
    pub async fn open_idle(url: &PostgresUrl) -> Result<Self, JournalError> {
        let (mut connection, place) = connect(url).await?;
        let found: bool = sqlx::query_scalar("SELECT to_regclass('secateur.journal') IS NOT NULL")
            .fetch_one(&mut connection)
            .await
            .map_err(failed("open", &place))?;
        if !found {
            return Err(JournalError::None(place));
        }
        // A server notices a little later that who had it has ended.
        let mut tries = 0;
        while !try_lock(&mut connection, &place).await? {
            tries += 1;
            if tries == TRIES {
                return Err(JournalError::InUse(place));
            }
            tokio::time::sleep(LOOK / TRIES).await;
        }
        Self::take(connection, place).await
    }

    /// Becomes the owner. Waits for what the one before may be writing at this moment.
    pub(super) async fn take(mut connection: PgConnection, place: Place) -> Result<Self, JournalError> {
        let format: i64 = sqlx::query_scalar("SELECT format FROM secateur.owner")
            .fetch_one(&mut connection)
            .await
            .map_err(failed("open", &place))?;
        if format > FORMAT {
            return Err(JournalError::Newer { place, found: format, known: FORMAT });
        }
        let epoch = sqlx::query_scalar("UPDATE secateur.owner SET epoch = epoch + 1 RETURNING epoch")
            .fetch_one(&mut connection)
            .await
            .map_err(failed("take over", &place))?;
        Ok(Self { place, connection, epoch, chain: Chain::default(), from_one_that_hangs: false })
    }
}

pub(super) async fn connect(url: &PostgresUrl) -> Result<(PgConnection, Place), JournalError> {
    let place = url.place();
    let mut connection = url.0.connect().await.map_err(failed("connect to", &place))?;
    let encoding: String =
        sqlx::query_scalar("SHOW server_encoding").fetch_one(&mut connection).await.map_err(failed("open", &place))?;
    if encoding != "UTF8" {
        return Err(JournalError::Encoding { place, found: encoding });
    }
    Ok((connection, place))
}

/// Gives up on a server that is out of reach without having said so.
async fn answered<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let silent = || io::Error::new(io::ErrorKind::TimedOut, format!("the server has not answered for {SILENCE:?}"));
    tokio::time::timeout(SILENCE, answer).await.unwrap_or_else(|_| Err(sqlx::Error::Io(silent())))
}

async fn try_lock(connection: &mut PgConnection, place: &Place) -> Result<bool, JournalError> {
    let locked = answered(sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(connection)).await;
    locked.map_err(failed("take over", place))
}

/// Ends the connection of an owner that hangs, with its lock: it writes nothing any more, should it wake up. Says whether there was one.
async fn end_what_hangs(connection: &mut PgConnection, place: &Place) -> Result<bool, JournalError> {
    // A query that is read for long, as at the start, is no idle connection.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = $1
            AND datname = current_database() AND state LIKE 'idle%'
            AND clock_timestamp() - state_change > make_interval(secs => $2)";
    let ended = sqlx::query_scalar(end).bind(LOCK).bind(f64::from(HANGS)).fetch_optional(connection);
    let ended: Option<bool> = answered(ended).await.map_err(failed("look at who has", place))?;
    Ok(ended == Some(true))
}

/// Writes lines that follow each other, if the epoch is still that one; says how many.
async fn insert(
    connection: &mut PgConnection,
    epoch: i64,
    chain: &mut Chain,
    entries: Vec<String>,
) -> Result<u64, sqlx::Error> {
    let (sequences, checksums): (Vec<i64>, Vec<Vec<u8>>) =
        entries.iter().map(|entry| chain.add(entry.as_bytes())).unzip();
    // One statement is one transaction, and one way to the server and back. The row of the owner cannot change while it runs.
    let insert = "WITH owner AS (SELECT epoch FROM secateur.owner WHERE epoch = $1 FOR SHARE)
        INSERT INTO secateur.journal (sequence, entry, checksum)
        SELECT line.* FROM owner, UNNEST($2::bigint[], $3::text[], $4::bytea[]) AS line";
    let insert = sqlx::query(insert).bind(epoch).bind(sequences).bind(entries).bind(checksums);
    Ok(insert.execute(connection).await?.rows_affected())
}

#[async_trait]
impl Journal for Postgres {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn read(&mut self, take: &mut (dyn FnMut(Line) + Send)) -> Result<Option<String>, JournalError> {
        let mut chain = Chain::default();
        let query = "SELECT sequence, entry, checksum FROM secateur.journal ORDER BY sequence";
        let mut rows = sqlx::query_as::<_, (i64, String, Vec<u8>)>(query).fetch(&mut self.connection);
        while let Some((sequence, entry, checksum)) = rows.try_next().await.map_err(failed("read", &self.place))? {
            let line = Line { sequence, entry: entry.into_bytes(), checksum };
            chain = Chain::at(&line);
            take(line);
        }
        drop(rows);
        self.chain = chain;
        Ok(None)
    }

    async fn append(&mut self, entries: Vec<String>) -> Result<(), JournalError> {
        let (mut chain, count) = (self.chain.clone(), entries.len() as u64);
        let written = answered(insert(&mut self.connection, self.epoch, &mut chain, entries)).await;
        let written = written.map_err(failed("write", &self.place))?;
        if written != count {
            return Err(JournalError::Fenced(self.place.clone()));
        }
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
        let shorten = "WITH owner AS (SELECT epoch FROM secateur.owner WHERE epoch = $1 FOR SHARE),
            removed AS (DELETE FROM secateur.journal USING owner WHERE sequence < $2)
            UPDATE secateur.journal SET entry = '' FROM owner WHERE sequence = $2";
        let shortened = sqlx::query(shorten).bind(self.epoch).bind(first - 1).execute(&mut self.connection);
        let shortened = answered(shortened).await.map_err(failed("shorten", &self.place))?;
        if shortened.rows_affected() == 0 {
            return Err(JournalError::Fenced(self.place.clone()));
        }
        Ok(())
    }

    async fn confirm(&mut self) -> Result<(), JournalError> {
        let epoch = sqlx::query_scalar("SELECT epoch FROM secateur.owner").fetch_optional(&mut self.connection);
        let epoch: Option<i64> = answered(epoch).await.map_err(failed("look at", &self.place))?;
        if epoch == Some(self.epoch) { Ok(()) } else { Err(JournalError::Fenced(self.place.clone())) }
    }

    async fn copy_aside(&mut self) -> Result<String, JournalError> {
        let mut number = 1;
        loop {
            let name = format!("secateur.journal_aside_{number}");
            let taken: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
                .bind(&name)
                .fetch_one(&mut self.connection)
                .await
                .map_err(failed("copy", &self.place))?;
            if !taken {
                // A name of ours and a number.
                let copy = AssertSqlSafe(format!("CREATE TABLE {name} AS TABLE secateur.journal"));
                sqlx::query(copy).execute(&mut self.connection).await.map_err(failed("copy", &self.place))?;
                return Ok(format!("the table {name}"));
            }
            number += 1;
        }
    }

    async fn replace(self: Box<Self>, entries: Vec<String>) -> Result<(), JournalError> {
        let Self { place, mut connection, epoch, .. } = *self;
        let count = entries.len() as u64;
        let failed = |error| failed("replace", &place)(error);
        let mut transaction = connection.begin().await.map_err(failed)?;
        sqlx::query("DELETE FROM secateur.journal").execute(&mut *transaction).await.map_err(failed)?;
        let written = insert(&mut transaction, epoch, &mut Chain::default(), entries).await.map_err(failed)?;
        if written != count {
            // Dropped, the transaction is rolled back.
            return Err(JournalError::Fenced(place));
        }
        transaction.commit().await.map_err(failed)?;
        connection.close().await.map_err(failed)
    }

    async fn close(self: Box<Self>) -> Result<(), JournalError> {
        self.connection.close().await.map_err(failed("close", &self.place))
    }
}
