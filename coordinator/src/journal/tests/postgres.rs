//! The suite on PostgreSQL, and tests of PostgreSQL only.

use std::sync::OnceLock;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{Journal, JournalError, Lab, read, reopen, six, suite, texts};
use crate::journal::{
    Postgres,
    postgres::{InvalidPostgresUrl, PostgresUrl, connect},
};

#[path = "../../../tests/common/postgres.rs"]
mod server;

use server::Server;

/// One server for all tests of this process, and a database for each.
fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(Server::start).as_ref()
}

struct Database {
    text: String,
}

impl Database {
    async fn new() -> Option<Self> {
        Self::with("").await
    }

    async fn with(options: &str) -> Option<Self> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let server = server()?;
        let name = format!("journal_{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let mut connection = PgConnection::connect(&server.url("postgres")).await.expect("connects");
        let create = AssertSqlSafe(format!("CREATE DATABASE {name} {options}"));
        sqlx::query(create).execute(&mut connection).await.expect("makes a database");
        connection.close().await.expect("closes");
        Some(Self { text: server.url(&name) })
    }

    fn url(&self) -> PostgresUrl {
        self.text.parse().expect("a URL")
    }

    async fn connection(&self) -> PgConnection {
        let mut connection = PgConnection::connect(&self.text).await.expect("connects");
        sqlx::query("SET search_path = secateur").execute(&mut connection).await.expect("sets");
        connection
    }
}

#[async_trait]
impl Lab for Database {
    async fn open(&self) -> Result<Box<dyn Journal>, JournalError> {
        Ok(Box::new(Postgres::open(&self.url()).await?))
    }

    async fn open_idle(&self) -> Result<Box<dyn Journal>, JournalError> {
        // A dropped connection ends only once the server has noticed.
        let mut connection = self.connection().await;
        let lock = i64::from_be_bytes(*b"secateur");
        sqlx::query("SELECT pg_advisory_lock($1)").bind(lock).execute(&mut connection).await.expect("waits");
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(lock).execute(&mut connection).await.expect("unlocks");
        Ok(Box::new(Postgres::open_idle(&self.url()).await?))
    }

    async fn execute(&self, statement: &'static str) {
        let mut connection = self.connection().await;
        sqlx::query(statement).execute(&mut connection).await.expect("executes");
        connection.close().await.expect("closes");
    }

    async fn copied(&self, copy: &str) -> Vec<String> {
        let table = copy.strip_prefix("the table ").expect("a table");
        let select = AssertSqlSafe(format!("SELECT entry FROM {table} ORDER BY sequence"));
        sqlx::query_scalar(select).fetch_all(&mut self.connection().await).await.expect("reads")
    }

    async fn seize(&self) -> Box<dyn Journal> {
        let (connection, place) = connect(&self.url()).await.expect("connects");
        Box::new(Postgres::take(connection, place).await.expect("takes"))
    }
}

suite!(Database::new());

#[tokio::test]
async fn a_second_owner_waits_for_the_first_and_a_command_does_not() {
    let Some(database) = Database::new().await else { return };
    six(&database).await;
    let (mut first, _) = reopen(&database).await;
    let url = database.url();
    let waiting = tokio::spawn(async move { Postgres::open(&url).await });
    // It was refused at least once.
    let mut connection = database.connection().await;
    let refused =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'secateur' AND datname = current_database()
        AND state = 'idle' AND query LIKE '%pg_try_advisory_lock%'";
    loop {
        let count: i64 = sqlx::query_scalar(refused).fetch_one(&mut connection).await.expect("counts");
        if count == 1 {
            break;
        }
    }
    assert!(matches!(Postgres::open_idle(&database.url()).await, Err(JournalError::InUse(_))));
    first.append(texts(&["first"])).await.expect("is the owner");
    first.confirm().await.expect("is the owner");
    assert!(!waiting.is_finished());
    drop(first);
    let mut second = waiting.await.expect("runs").expect("takes over");
    assert_eq!(read(&mut second).await.lines.len(), 7);
    second.append(texts(&["second"])).await.expect("appends");
}

#[tokio::test]
async fn an_owner_is_fenced_before_the_next_one_has_written_anything() {
    let Some(database) = Database::new().await else { return };
    six(&database).await;
    let (mut first, _) = reopen(&database).await;
    let mut second = database.seize().await;
    for fenced in [first.append(texts(&["first"])).await, first.confirm().await] {
        assert!(matches!(fenced, Err(JournalError::Fenced(_))), "{fenced:?}");
    }
    assert!(matches!(first.replace(texts(&["first"])).await, Err(JournalError::Fenced(_))));
    assert_eq!(read(&mut *second).await.lines.len(), 6);
    second.append(texts(&["second"])).await.expect("appends");
}

#[tokio::test]
async fn an_owner_whose_connection_was_cut_writes_nothing() {
    let Some(database) = Database::new().await else { return };
    let (mut first, _) = reopen(&database).await;
    first.append(texts(&["a"])).await.expect("appends");
    database
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'secateur' AND datname = current_database()")
        .await;
    let (mut second, entries) = reopen(&database).await;
    assert_eq!(entries, ["a"]);
    assert!(first.append(texts(&["b"])).await.is_err());
    assert!(first.confirm().await.is_err());
    second.append(texts(&["c"])).await.expect("appends");
    drop(second);
    assert_eq!(reopen(&database).await.1, ["a", "c"]);
}

#[tokio::test]
async fn what_the_database_lacks_is_told() {
    let Some(database) = Database::with("ENCODING 'SQL_ASCII' TEMPLATE template0").await else { return };
    let error = Postgres::open(&database.url()).await.expect_err("is refused").to_string();
    assert!(error.contains("SQL_ASCII") && error.contains("UTF8"), "{error}");
    let gone: PostgresUrl = database.text.replace("journal_", "no_journal_").parse().expect("a URL");
    let error = Postgres::open(&gone).await.expect_err("is not there");
    assert!(matches!(error, JournalError::Database { operation: "connect to", .. }), "{error:?}");
    let Some(database) = Database::new().await else { return };
    six(&database).await;
    let mut connection = database.connection().await;
    sqlx::query("UPDATE owner SET format = 3").execute(&mut connection).await.expect("updates");
    for opened in [database.open().await, database.open_idle().await] {
        assert!(matches!(opened, Err(JournalError::Newer { found: 3, .. })), "{opened:?}");
    }
}

#[test]
fn a_url_is_checked_and_never_shows_its_password() {
    let url: PostgresUrl = "postgres://me:secret@db.example:5433/pruning".parse().expect("a URL");
    assert_eq!(url.to_string(), "postgres://me@db.example:5433/pruning");
    assert_eq!(format!("{url:?}"), "PostgresUrl(postgres://me@db.example:5433/pruning)");
    let socket: PostgresUrl = "postgresql://me@localhost/x?host=/run/postgresql".parse().expect("a URL");
    assert_eq!(socket.to_string(), "postgres://me@localhost/x?host=/run/postgresql");
    let invalid = |text: &str| text.parse::<PostgresUrl>().expect_err(text);
    for text in ["journal.db", "mysql://me@db/x"] {
        assert!(matches!(invalid(text), InvalidPostgresUrl::Scheme), "{text}");
    }
    assert!(matches!(invalid("postgres://me@db.example"), InvalidPostgresUrl::Database));
    for text in ["postgres://me@db:port/x", "postgres://me@db/x?sslmode=maybe"] {
        assert!(matches!(invalid(text), InvalidPostgresUrl::Url(_)), "{text}");
    }
}
