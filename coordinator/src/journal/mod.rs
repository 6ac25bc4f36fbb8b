//! The journal: what the scheduler core says must be durable, in order. It knows entries as text, and nothing of what they mean.

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

/// A journal that is open. Each kind of database has its own way to open one.
#[async_trait]
pub trait Journal: fmt::Debug + Send {
    /// Where it is.
    fn place(&self) -> &Place;

    /// Reads everything: gives `take` each line as it was found, in their order, and keeps none. What is appended afterwards comes behind
    /// it: nothing can be appended before. Gives the database's reason, if it could not go on.
    ///
    /// # Errors
    /// If the database cannot be read. Lines that are damaged are no error: see [`Verification`].
    async fn read(&mut self, take: &mut (dyn FnMut(Line) + Send)) -> Result<Option<String>, JournalError>;

    /// Appends all of the entries or none, and returns when they are on the disk.
    ///
    /// # Errors
    /// If they cannot be written, or somebody else has written to the journal since it was read.
    async fn append(&mut self, entries: Vec<String>) -> Result<(), JournalError>;

    /// The number of the line that is appended next.
    fn next(&self) -> i64;

    /// Removes the lines before this one, with which a reader can begin. If that ends early, all of them are there.
    ///
    /// # Errors
    /// If they cannot be removed, or somebody else has written to the journal.
    async fn begin_at(&mut self, first: i64) -> Result<(), JournalError>;

    /// Appends entries with which a reader can begin, and then removes what is before them.
    ///
    /// # Errors
    /// As [`Journal::append`] and [`Journal::begin_at`].
    async fn begin_with(&mut self, entries: Vec<String>) -> Result<(), JournalError> {
        let first = self.next();
        self.append(entries).await?;
        self.begin_at(first).await
    }

    /// Makes sure that it is still this process's.
    ///
    /// # Errors
    /// If somebody else has taken it, or the database cannot be reached.
    async fn confirm(&mut self) -> Result<(), JournalError>;

    /// Copies the journal as it is to where no other is, and says where that is.
    ///
    /// # Errors
    /// If it cannot be copied.
    async fn copy_aside(&mut self) -> Result<String, JournalError>;

    /// Puts these entries in the place of all that are there, or leaves the journal as it was. It is closed then.
    ///
    /// # Errors
    /// If they cannot be written.
    async fn replace(self: Box<Self>, entries: Vec<String>) -> Result<(), JournalError>;

    /// Closes it in order.
    ///
    /// # Errors
    /// If the last of it cannot be written.
    async fn close(self: Box<Self>) -> Result<(), JournalError>;
}
