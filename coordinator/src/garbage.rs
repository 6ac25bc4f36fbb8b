//! Files of a store that nobody needs. It knows files, ages and hashes, and not who refers to what.
//!
//! # Why nothing goes that somebody needs
//!
//! Files are listed first, then it is asked which ones are referred to, and then what is left of the list goes, if it is old. So
//! a file can be lost only if something comes to refer to it afterwards. Before anything does, the services touch the file: when a
//! worker or a client asks whether it is held, when a report names it, when a sweep over it begins. A touch and the removal of
//! an old file exclude each other: either the file is young again and stays, or whoever touches it finds it gone, and sends it
//! again, or the attempt has failed and is made again.
//!
//! That holds as long as whoever removes is who writes the journal. In a folder a lock says so. In a bucket nothing does: the
//! coordinator asks before each removal whether the journal is still its own, and a request that is on its way when it is lost can
//! still arrive, for a quarter of an hour at most, after which storage refuses it. What that could take is a file that was old,
//! that nobody referred to, and that somebody came to refer to in the first moments of the next coordinator.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use secateur_proto::ids::ContentHash;
use secateur_worker::store::Stored;

use crate::artifacts::{ArtifactError, ArtifactStore};

/// Why nothing is removed although nothing is referred to: a journal that was emptied, or one that is kept elsewhere, looks like one in
/// which there never was a sweep.
#[must_use]
pub fn no_sweep_ever(files: usize) -> String {
    format!(
        "the journal has never had a sweep, and {files} files are there: is it the journal that belongs to them (serve --journal)? If nothing of them is needed, remove the folder"
    )
}

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Collection {
    /// What was modified since then is young.
    before: SystemTime,
    /// Only tell what would go.
    dry_run: bool,
}

impl Collection {
    /// Of what has not been modified for `grace`; nothing if time does not go back that far.
    #[must_use]
    pub fn after(grace: Duration, dry_run: bool) -> Option<Self> {
        let before = SystemTime::now().checked_sub(grace)?;
        Some(Self { before, dry_run })
    }
}

/// How many files, and how large they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    /// One more.
    pub const fn add(&mut self, file: &Stored) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(file.size);
    }
}

/// What stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptFiles {
    /// Somebody refers to it.
    pub referred: Count,
    /// Nobody does, and it is young or being uploaded.
    pub young: Count,
}

/// A collection under way: those of the listed files that are old and that nobody refers to go one by one, or are named one by one.
#[derive(Debug)]
pub struct Removal<'a> {
    store: &'a ArtifactStore,
    listed: std::vec::IntoIter<Stored>,
    referred: HashSet<ContentHash>,
    collection: Collection,
    kept: KeptFiles,
}

impl<'a> Removal<'a> {
    /// Of the files that are `listed` and were listed before it was asked which ones are `referred` to.
    #[must_use]
    pub fn new(
        store: &'a ArtifactStore,
        listed: Vec<Stored>,
        referred: HashSet<ContentHash>,
        collection: Collection,
    ) -> Self {
        Self { store, listed: listed.into_iter(), referred, collection, kept: KeptFiles::default() }
    }

    /// The next file that goes; nothing when all have been looked at. The beginning of an upload goes for its age alone, and only with
    /// its `turn`: nobody is uploading it then.
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

    /// What stays, of those that were looked at.
    #[must_use]
    pub const fn kept(&self) -> KeptFiles {
        self.kept
    }
}

#[cfg(test)]
mod tests;
