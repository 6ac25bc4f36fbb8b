//! Unreferenced files of a store. It knows files, ages and hashes, but not what refers to them.
//!
//! # Why no needed file is removed
//!
//! Files are listed first, then the references are collected, and then listed files without a reference are removed if
//! they are old. So a file can only be lost if a reference to it appears afterwards. Before that, the services touch
//! the file: when a worker or client asks whether it is held, when a report names it, or when a sweep that uses it
//! begins. A touch and the removal of an old file exclude each other. Either the file counts as new again and is kept,
//! or the caller finds it gone and sends it again, or the attempt has failed and is retried.
//!
//! That holds as long as the process that removes files is the one that writes the journal. In a folder a lock ensures
//! this; in a bucket nothing does. The coordinator checks before each removal that it still owns the journal. A request
//! that is on its way when the journal is lost can still arrive, for at most a quarter of an hour, after which the
//! storage rejects it. It could remove an old unreferenced file that got a reference in the first moments of the next
//! coordinator.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use secateur_proto::ids::ContentHash;
use secateur_worker::store::Stored;

use crate::artifacts::{ArtifactError, ArtifactStore};

/// The error for a journal without any sweep: it may have been emptied, or be the wrong one, so unreferenced files must
/// not be removed.
#[must_use]
pub fn no_sweep_ever(files: usize) -> String {
    format!(
        "the journal has never had a sweep, but the store has {files} files: check that it is the right journal (serve --journal). If the files are not needed, remove the folder"
    )
}

/// What to collect.
#[derive(Debug, Clone, Copy)]
pub struct Collection {
    /// Files modified since then are kept.
    before: SystemTime,
    /// Only list the files.
    dry_run: bool,
}

impl Collection {
    /// Collects files that were not modified for `grace`. Returns `None` if time does not go back that far.
    #[must_use]
    pub fn after(grace: Duration, dry_run: bool) -> Option<Self> {
        let before = SystemTime::now().checked_sub(grace)?;
        Some(Self { before, dry_run })
    }
}

/// A number of files and their size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// The number of files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

impl Count {
    /// Adds a file.
    pub const fn add(&mut self, file: &Stored) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(file.size);
    }
}

/// The files that are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptFiles {
    /// Referenced files.
    pub referred: Count,
    /// Unreferenced files that are new or being uploaded.
    pub young: Count,
}

/// A collection in progress. It removes, or only lists, old unreferenced files of the list one by one.
#[derive(Debug)]
pub struct Removal<'a> {
    store: &'a ArtifactStore,
    listed: std::vec::IntoIter<Stored>,
    referred: HashSet<ContentHash>,
    collection: Collection,
    kept: KeptFiles,
}

impl<'a> Removal<'a> {
    /// Starts a collection. `listed` must have been listed before the references `referred` were collected.
    #[must_use]
    pub fn new(
        store: &'a ArtifactStore,
        listed: Vec<Stored>,
        referred: HashSet<ContentHash>,
        collection: Collection,
    ) -> Self {
        Self { store, listed: listed.into_iter(), referred, collection, kept: KeptFiles::default() }
    }

    /// Returns the next removed file, or `None` at the end. A partial upload is removed by age alone, if `turn` returns
    /// its lock, so no upload is in progress.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub async fn next<T>(&mut self, turn: impl Fn(ContentHash) -> Option<T>) -> Result<Option<Stored>, ArtifactError> {
        for file in self.listed.by_ref() {
            if file.whole && self.referred.contains(&file.hash) {
                self.kept.referred.add(&file);
                continue;
            }
            let turn = if file.whole { None } else { turn(file.hash) };
            let goes = (file.whole || turn.is_some())
                && if self.collection.dry_run {
                    file.modified < self.collection.before
                } else {
                    self.store.remove_old(&file, self.collection.before).await?
                };
            if goes {
                return Ok(Some(file));
            }
            self.kept.young.add(&file);
        }
        Ok(None)
    }

    /// The files kept so far.
    #[must_use]
    pub const fn kept(&self) -> KeptFiles {
        self.kept
    }
}

#[cfg(test)]
mod tests;
