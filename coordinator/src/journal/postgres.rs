//! The journal in a PostgreSQL database, which several coordinators may try to own. Only this file names PostgreSQL.
//!
//! The owner holds an advisory lock of the same connection that it writes through, so it cannot lose one and keep the
//! other. A new owner increments an epoch, and each append checks the epoch in its own transaction. So a former owner
//! writes nothing, even if it did not notice the loss of its lock.

use std::{fmt, io, str::FromStr, time::Duration};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tracing::{info, warn};

use super::{Chain, Journal, JournalError, Line, Place};

/// Version of the tables. Version 1 never removes lines.
const FORMAT: i64 = 2;

/// The number of the lock: "secateur" in ASCII.
const LOCK: i64 = i64::from_be_bytes(*b"secateur");

/// Settings of the session, which override those of server and role. An append that has returned is on the disk.
/// Connections that are idle or wait for the lock are not ended. The server soon notices a lost machine and frees its
/// lock.
const SESSION: [(&str, &str); 8] = [
    ("synchronous_commit", "on"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    // Hides notices that a table already exists.
    ("client_min_messages", "warning"),
];

/// The interval at which a standby tries to take the lock.
const LOOK: Duration = Duration::from_secs(2);

/// The number of attempts of a command, which does not stand by.
const TRIES: u32 = 10;

/// A server that is silent for longer is considered unreachable, and another coordinator may have taken over.
const SILENCE: Duration = Duration::from_secs(60);

/// An owner whose connection is idle for this many seconds is considered hung: a healthy one checks its journal every
/// second.
const HANGS: i32 = 30;

/// They are in a schema of their own. The table of the owner has one row.
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
CREATE TABLE IF NOT EXISTS secateur.coordinator (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id text NOT NULL
);
INSERT INTO secateur.owner (format, epoch) VALUES (2, 0) ON CONFLICT DO NOTHING;
UPDATE secateur.owner SET format = 2 WHERE format = 1;
";

/// disk_full.
const FULL: &str = "53100";

/// The database and its credentials.
#[derive(Clone)]
pub struct PostgresUrl(PgConnectOptions);

/// The error for text that is not the URL of a PostgreSQL database.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPostgresUrl {
    /// Another scheme.
    #[error(
        "the URL of a journal must start with postgres:// or postgresql://, as in postgres://secateur@db.example/secateur"
    )]
    Scheme,
    /// The name of the database is missing.
    #[error("the URL does not name a database, as in postgres://secateur@db.example/secateur")]
    Database,
    /// Some part is invalid.
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
            // Verify TLS unless the URL says otherwise: the default would send everything in the clear to a server
            // without TLS.
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        Ok(Self(options.application_name("secateur").options(SESSION)))
    }
}

impl PostgresUrl {
    /// Whether the text looks like such a URL, valid or not.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme))
    }

    fn place(&self) -> Place {
        Place::Server(self.to_string())
    }
}

/// Prints the URL without its password.
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
    /// The epoch of this owner.
    epoch: i64,
    chain: Chain,
    /// Whether the previous owner hung.
    from_one_that_hangs: bool,
}

fn failed(operation: &'static str, place: &Place) -> impl FnOnce(sqlx::Error) -> JournalError {
    let place = place.clone();
    move |source| {
        let database = source.as_database_error();
        if database.and_then(|error| error.code()).is_some_and(|code| code == FULL) {
            return JournalError::Full { place, source: source.into() };
        }
        // Another process has written a line with this sequence number.
        if database.is_some_and(|error| error.is_unique_violation()) {
            return JournalError::Fenced(place);
        }
        JournalError::Database { operation, place, source: source.into() }
    }
}

impl Postgres {
    /// Opens the journal, and creates it if it does not exist. Waits until it has no owner.
    ///
    /// # Errors
    /// If the server cannot be reached, the tables cannot be created, or they have a newer format.
    pub async fn open(url: &PostgresUrl) -> Result<Self, JournalError> {
        let (mut connection, place) = connect(url).await?;
        let mut hangs = false;
        if !try_lock(&mut connection, &place).await? {
            info!(journal = %place, "another coordinator owns the journal; standing by");
            // Waiting inside the server would block its vacuum for as long as the standby waits.
            while !try_lock(&mut connection, &place).await? {
                tokio::time::sleep(LOOK).await;
                if end_what_hangs(&mut connection, &place).await? {
                    hangs = true;
                    warn!(journal = %place, seconds = HANGS, "the other coordinator hangs; its connection to the journal is ended");
                }
            }
            info!(journal = %place, "the other coordinator released the journal; taking over");
        }
        // Several statements without parameters run as one transaction.
        sqlx::raw_sql(TABLES).execute(&mut connection).await.map_err(failed("set up", &place))?;
        Ok(Self { from_one_that_hangs: hangs, ..Self::take(connection, place).await? })
    }

    /// Whether the previous owner hung, so that its process still exists.
    #[must_use]
    pub const fn is_from_one_that_hangs(&self) -> bool {
        self.from_one_that_hangs
    }

    /// Opens an existing journal without an owner, for a maintenance command.
    ///
    /// # Errors
    /// If it does not exist, it has an owner, the server cannot be reached, or the tables have a newer format.
    pub async fn open_idle(url: &PostgresUrl) -> Result<Self, JournalError> {
        let (mut connection, place) = connect(url).await?;
        let found: bool = sqlx::query_scalar("SELECT to_regclass('secateur.journal') IS NOT NULL")
            .fetch_one(&mut connection)
            .await
            .map_err(failed("open", &place))?;
        if !found {
            return Err(JournalError::None(place));
        }
        // The server notices the end of a former owner with some delay.
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

    /// Becomes the owner. Waits for a current append of the previous one.
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

/// Times out if the server does not answer.
async fn answered<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let silent = || io::Error::new(io::ErrorKind::TimedOut, format!("the server has not answered for {SILENCE:?}"));
    tokio::time::timeout(SILENCE, answer).await.unwrap_or_else(|_| Err(sqlx::Error::Io(silent())))
}

async fn try_lock(connection: &mut PgConnection, place: &Place) -> Result<bool, JournalError> {
    let locked = answered(sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(connection)).await;
    locked.map_err(failed("take over", place))
}

/// Ends the connection of a hung owner, and with it the lock: the owner cannot write any more if it wakes up. Returns
/// whether there was one.
async fn end_what_hangs(connection: &mut PgConnection, place: &Place) -> Result<bool, JournalError> {
    // A long query, as at the start, is not an idle connection.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = $1
            AND datname = current_database() AND state LIKE 'idle%'
            AND clock_timestamp() - state_change > make_interval(secs => $2)";
    let ended = sqlx::query_scalar(end).bind(LOCK).bind(f64::from(HANGS)).fetch_optional(connection);
    let ended: Option<bool> = answered(ended).await.map_err(failed("find the owner of", place))?;
    Ok(ended == Some(true))
}

/// Writes consecutive lines if the epoch is still `epoch`. Returns how many.
async fn insert(
    connection: &mut PgConnection,
    epoch: i64,
    chain: &mut Chain,
    entries: Vec<String>,
) -> Result<u64, sqlx::Error> {
    let (sequences, checksums): (Vec<i64>, Vec<Vec<u8>>) =
        entries.iter().map(|entry| chain.add(entry.as_bytes())).unzip();
    // One statement is one transaction and one round trip. The row of the owner is locked while it runs.
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

    async fn identity(&mut self, fresh: &str) -> Result<String, JournalError> {
        let insert = "INSERT INTO secateur.coordinator (id) VALUES ($1) ON CONFLICT DO NOTHING";
        let inserted = sqlx::query(insert).bind(fresh).execute(&mut self.connection).await;
        inserted.map_err(failed("write", &self.place))?;
        let held = sqlx::query_scalar("SELECT id FROM secateur.coordinator").fetch_one(&mut self.connection).await;
        held.map_err(failed("read", &self.place))
    }

    fn next(&self) -> i64 {
        self.chain.next()
    }

    async fn begin_at(&mut self, first: i64) -> Result<(), JournalError> {
        if first <= 2 {
            // No line before it has a checksum to keep.
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
                // The name is a constant and a number.
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
            // Dropping the transaction rolls it back.
            return Err(JournalError::Fenced(place));
        }
        transaction.commit().await.map_err(failed)?;
        connection.close().await.map_err(failed)
    }

    async fn close(self: Box<Self>) -> Result<(), JournalError> {
        self.connection.close().await.map_err(failed("close", &self.place))
    }
}
