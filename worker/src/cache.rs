//! A worker's cache: its store, kept below a size. What running leases need stays; of the rest, what was used longest ago goes
//! first.
//!
//! # Why nothing goes while somebody reads or writes it
//!
//! 1. One process at a time has the folder, and in it only a [`Cache`] removes files: those that no lease holds, under one lock.
//! 2. A lease [holds](Cache::hold) all of its inputs at once, under the same lock, before it looks which of them are there, and
//!    lets go of them when its executor has reported or is dead. So an input that was found, or fetched, stays.
//! 3. An executor writes nothing under the names of the store. What it makes lies in a folder of its own, where it reads it back;
//!    when it has reported a file, the cache [adopts](Held::adopt) it, and holds it like an input until the coordinator has it.
//!    So it makes no difference whether the same file was there before, and may be going at that moment.
//! 4. A lease that has to wait for room holds nothing while it waits, and leases get room in the order in which they asked. So
//!    two never wait for each other, and a large one is not passed by small ones for ever.
//!
//! The bound counts what is in the cache: inputs, what is being fetched, and outputs from when they are adopted. Outputs must not
//! be lost, so they may take it above the bound until the coordinator has them. Of a worker that starts again they are held no more:
//! what goes before it is handed over is computed again.
//!
//! When a file was last used is the time of its modification, so a worker that starts again knows it too.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytesize::ByteSize;
use secateur_proto::{ids::ContentHash, outcome::Artifact};
use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::{
    store::{Store, StoreError},
    transfer::{ArtifactClient, TransferError},
};

/// A store and what is known of its files.
#[derive(Debug)]
pub struct Cache {
    store: Arc<Store>,
    /// In bytes; nothing: everything is kept.
    bound: Option<u64>,
    index: Mutex<Index>,
    /// Whoever has this is the next to get room.
    queue: tokio::sync::Mutex<()>,
    /// Some lease has let go of its files.
    released: Notify,
}

#[derive(Debug, Default)]
struct Index {
    /// Without a bound, only those that are held.
    files: HashMap<ContentHash, Entry>,
    /// Those that no lease holds, by their last use.
    unused: BTreeSet<(SystemTime, ContentHash)>,
    /// Bytes of all. A peer names the sizes, and 64 bits may not hold their sum.
    total: u128,
    /// Bytes of those that some lease holds.
    held: u128,
    /// The latest use of any.
    latest: Option<SystemTime>,
}

#[derive(Debug)]
struct Entry {
    /// Bytes on the disk; as long as it is held, those that it has when it is whole.
    size: u64,
    used: SystemTime,
    holders: u32,
    /// Whoever fetches it has this: two would write into one file.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Why a lease cannot have its files.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// They do not fit, even if nothing else is there.
    #[error(
        "the inputs need {}, more than the cache limit of this worker ({}): raise --cache-size",
        ByteSize(u64::try_from(*needed).unwrap_or(u64::MAX)).display().si(),
        ByteSize(*bound).display().si()
    )]
    TooSmall {
        /// Bytes of the inputs.
        needed: u128,
        /// Bytes that the cache may hold.
        bound: u64,
    },
    /// The folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Cache {
    /// Over a store that this process has to itself if there is a bound, in bytes. What is too much of it goes at once.
    ///
    /// # Errors
    /// If the store cannot be read, or what is too much not be removed.
    pub fn open(store: Arc<Store>, bound: Option<u64>) -> Result<Self, StoreError> {
        let cache = Self {
            store,
            bound,
            index: Mutex::default(),
            queue: tokio::sync::Mutex::default(),
            released: Notify::new(),
        };
        if bound.is_some() {
            let mut found: BTreeMap<ContentHash, (u64, SystemTime)> = BTreeMap::new();
            for file in cache.store.files()? {
                // The beginning of an upload and the whole file may both be there.
                let (size, used) = found.entry(file.hash).or_insert((0, file.modified));
                *size = size.saturating_add(file.size);
                *used = file.modified.max(*used);
            }
            let mut index = cache.lock();
            for (hash, (size, used)) in found {
                index.total += u128::from(size);
                index.latest = index.latest.max(Some(used));
                index.unused.insert((used, hash));
                index.files.insert(hash, Entry { size, used, holders: 0, turn: Arc::default() });
            }
            cache.evict(&mut index)?;
        }
        Ok(cache)
    }

    /// The files.
    #[must_use]
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Whether executors are to leave what they make in folders of their own.
    #[must_use]
    pub const fn is_bounded(&self) -> bool {
        self.bound.is_some()
    }

    /// Holds these files, whether they are there or not, and makes room for them; waits until there can be.
    ///
    /// # Errors
    /// If they can never fit, or others cannot be removed.
    pub async fn hold(self: &Arc<Self>, files: impl IntoIterator<Item = Artifact>) -> Result<Held, CacheError> {
        let files: BTreeMap<ContentHash, u64> = files.into_iter().map(|file| (file.hash, file.size)).collect();
        let needed = files.values().map(|size| u128::from(*size)).sum();
        if let Some(bound) = self.bound.filter(|bound| needed > u128::from(*bound)) {
            return Err(CacheError::TooSmall { needed, bound });
        }
        let _turn = self.queue.lock().await;
        loop {
            if let Some(held) = self.try_hold(&files)? {
                return Ok(held);
            }
            debug!(needed, "waiting for room in the cache");
            // Nobody else waits here, and a release since the look above is remembered.
            self.released.notified().await;
        }
    }

    /// Holds nothing, to adopt files into.
    #[must_use]
    pub fn hold_nothing(self: &Arc<Self>) -> Held {
        Held { cache: Arc::clone(self), files: Vec::new() }
    }

    /// Nothing if those that run hold too much.
    fn try_hold(self: &Arc<Self>, files: &BTreeMap<ContentHash, u64>) -> Result<Option<Held>, StoreError> {
        // In this order, so that on an error the lock goes before what was held so far takes it.
        let mut held = Held { cache: Arc::clone(self), files: Vec::with_capacity(files.len()) };
        let mut index = self.lock();
        let is_held = |hash| index.files.get(hash).is_some_and(|entry| entry.holders > 0);
        let further: u128 = files.iter().filter(|(hash, _)| !is_held(hash)).map(|(_, size)| u128::from(*size)).sum();
        if self.bound.is_some_and(|bound| index.held + further > u128::from(bound)) {
            return Ok(None);
        }
        for (&hash, &size) in files {
            let now = index.next_use();
            self.store.touch(hash, now)?;
            index.hold(Artifact { hash, size }, now);
            held.files.push(Artifact { hash, size });
        }
        self.evict(&mut index)?;
        drop(index);
        Ok(Some(held))
    }

    /// Removes what no lease holds until the rest fits, or everything of it is gone.
    fn evict(&self, index: &mut Index) -> Result<(), StoreError> {
        let Some(bound) = self.bound else { return Ok(()) };
        while index.total > u128::from(bound)
            && let Some(&(used, hash)) = index.unused.first()
        {
            self.store.remove(hash)?;
            index.unused.remove(&(used, hash));
            let size = index.files.remove(&hash).map_or(0, |entry| entry.size);
            index.total -= u128::from(size);
            debug!(artifact = %hash, size, "evicted");
        }
        Ok(())
    }

    fn release(&self, files: &[Artifact]) {
        if files.is_empty() {
            // Whoever tried and got nothing must not wake itself.
            return;
        }
        let mut index = self.lock();
        for artifact in files {
            let Some(entry) = index.files.get_mut(&artifact.hash) else { continue };
            entry.holders -= 1;
            if entry.holders > 0 {
                continue;
            }
            let kept = if self.is_bounded() { self.store.kept(artifact.hash) } else { Ok(Vec::new()) };
            let kept = kept.map(|files| {
                let used = files.iter().map(|file| file.modified).max()?;
                Some((files.iter().map(|file| file.size).sum(), used))
            });
            match kept {
                Ok(kept) => index.settle(artifact.hash, kept),
                Err(error) => {
                    // Nobody knows: it counts as it did.
                    warn!(error = &error as &dyn std::error::Error, "cannot inspect a file of the cache");
                    let as_it_was = (entry.size, entry.used);
                    index.settle(artifact.hash, Some(as_it_was));
                }
            }
        }
        if let Err(error) = self.evict(&mut index) {
            // The next lease tries again, and fails with the reason.
            warn!(error = &error as &dyn std::error::Error, "the cache is larger than it may be");
        }
        drop(index);
        self.released.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Now, but later than any use before: clocks are set back, and are coarse.
    fn next_use(&mut self) -> SystemTime {
        let after = self.latest.and_then(|latest| latest.checked_add(Duration::from_nanos(1)));
        let now = after.map_or_else(SystemTime::now, |after| after.max(SystemTime::now()));
        self.latest = Some(now);
        now
    }

    /// One more lease holds a file, which has or is to have its whole size.
    fn hold(&mut self, artifact: Artifact, now: SystemTime) {
        let fresh = || Entry { size: 0, used: now, holders: 0, turn: Arc::default() };
        let entry = self.files.entry(artifact.hash).or_insert_with(fresh);
        if entry.holders == 0 {
            self.unused.remove(&(entry.used, artifact.hash));
            self.total = self.total - u128::from(entry.size) + u128::from(artifact.size);
            self.held += u128::from(artifact.size);
            entry.size = artifact.size;
        }
        entry.used = now;
        entry.holders += 1;
    }

    /// No lease holds a file any more: so many bytes of it are kept, last used then.
    fn settle(&mut self, hash: ContentHash, kept: Option<(u64, SystemTime)>) {
        let Some(entry) = self.files.get_mut(&hash) else { return };
        self.held -= u128::from(entry.size);
        self.total -= u128::from(entry.size);
        match kept {
            Some((size, used)) => {
                (entry.size, entry.used) = (size, used);
                self.total += u128::from(size);
                self.latest = self.latest.max(Some(used));
                self.unused.insert((used, hash));
            }
            None => drop(self.files.remove(&hash)),
        }
    }
}

/// Files that stay. Dropped, they may go.
#[derive(Debug)]
pub struct Held {
    cache: Arc<Cache>,
    files: Vec<Artifact>,
}

impl Held {
    /// Makes sure that the cache has `artifact`, which is one of them.
    ///
    /// # Errors
    /// If it cannot be read there or kept here.
    pub async fn fetch(&self, client: &mut ArtifactClient, artifact: Artifact) -> Result<(), TransferError> {
        let turn = self.cache.lock().files.get(&artifact.hash).map(|entry| Arc::clone(&entry.turn));
        let turn = turn.unwrap_or_default();
        let _turn = turn.lock().await;
        client.download(&self.cache.store, artifact).await
    }

    /// Takes a file over that an executor made and reported, from its folder of outputs if it has one, and holds it too.
    ///
    /// # Errors
    /// If the executor did not make it, or it cannot be moved.
    pub fn adopt(&mut self, outputs: Option<&Path>, artifact: Artifact) -> Result<(), StoreError> {
        let Some(outputs) = outputs else { return Ok(()) };
        let mut index = self.cache.lock();
        self.cache.store.adopt(outputs, artifact.hash)?;
        if !self.files.iter().any(|held| held.hash == artifact.hash) {
            let now = index.next_use();
            index.hold(artifact, now);
            self.files.push(artifact);
        }
        self.cache.evict(&mut index)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.cache.release(&self.files);
    }
}

#[cfg(test)]
mod tests;
