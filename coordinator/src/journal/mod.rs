//! The journal: the durable records of the scheduler core, in order. It stores entries as text and does not know what
//! they mean.

mod chain;
mod damage;
mod postgres;
mod sqlite;

#[cfg(test)]
mod tests;

use std::fmt;

use async_trait::async_trait;

pub use self::{
    chain::{Chain, Line, Verification},
    damage::{Damage, DatabaseError, JournalError, Place},
    postgres::{InvalidPostgresUrl, Postgres, PostgresUrl},
    sqlite::Sqlite,
};

/// An open journal. Each kind of database has its own way to open one.
#[async_trait]
pub trait Journal: fmt::Debug + Send {
    /// Where it is.
    fn place(&self) -> &Place;

    /// Reads everything: calls `take` with each stored line, in order. Must be called before anything is appended.
    /// Returns the database's reason if it could not read on.
    ///
    /// # Errors
    /// If the database cannot be read. Damaged lines are not errors: see [`Verification`].
    async fn read(&mut self, take: &mut (dyn FnMut(Line) + Send)) -> Result<Option<String>, JournalError>;

    /// Appends all of the entries or none. Returns once they are on the disk.
    ///
    /// # Errors
    /// If they cannot be written, or another process has written to the journal since it was read.
    async fn append(&mut self, entries: Vec<String>) -> Result<(), JournalError>;

    /// The identity of the coordinator whose journal this is: `fresh`, stored, if it had none.
    ///
    /// # Errors
    /// If it cannot be read or written.
    async fn identity(&mut self, fresh: &str) -> Result<String, JournalError>;

    /// The number of the next line.
    fn next(&self) -> i64;

    /// Removes the lines before line `first`, from which a reader can start. If it is interrupted, no line is removed.
    ///
    /// # Errors
    /// If they cannot be removed, or another process has written to the journal.
    async fn begin_at(&mut self, first: i64) -> Result<(), JournalError>;

    /// Appends entries from which a reader can start, then removes the lines before them.
    ///
    /// # Errors
    /// As [`Journal::append`] and [`Journal::begin_at`].
    async fn begin_with(&mut self, entries: Vec<String>) -> Result<(), JournalError> {
        let first = self.next();
        self.append(entries).await?;
        self.begin_at(first).await
    }

    /// Checks that this process still owns the journal.
    ///
    /// # Errors
    /// If another process has taken it over, or the database cannot be reached.
    async fn confirm(&mut self) -> Result<(), JournalError>;

    /// Copies the journal to a new place. Returns that place.
    ///
    /// # Errors
    /// If it cannot be copied.
    async fn copy_aside(&mut self) -> Result<String, JournalError>;

    /// Replaces all entries by these, or leaves the journal unchanged, and closes it.
    ///
    /// # Errors
    /// If they cannot be written.
    async fn replace(self: Box<Self>, entries: Vec<String>) -> Result<(), JournalError>;

    /// Closes the journal.
    ///
    /// # Errors
    /// If the last entries cannot be written.
    async fn close(self: Box<Self>) -> Result<(), JournalError>;
}
