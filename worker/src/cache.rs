//! A worker's cache: its store, kept below a size limit. The inputs of running leases are kept; of the rest, the least
//! recently used files are removed first.
//!
//! # Why no file is removed while it is in use
//!
//! 1. The folder belongs to one process at a time, and only its [`Cache`] removes files: those that no lease holds, under
//!    one lock.
//! 2. A lease [holds](Cache::hold) all of its inputs at once, under the same lock, before it checks which of them exist.
//!    It releases them when its executor has reported or is dead. So an input that was found or fetched is kept.
//! 3. An executor does not write to the files of the store. It writes its outputs to a folder of its own, and reads them
//!    back from there. When it has reported a file, the cache [adopts](Held::adopt) it, and holds it like an input until
//!    the coordinator has it. So it does not matter whether the same file existed before and is about to be removed.
//! 4. A lease that waits for space holds nothing, and leases get space in the order of their requests. So two leases
//!    never wait for each other, and small ones do not starve a large one.
//!
//! The limit counts everything in the cache: inputs, current downloads, and adopted outputs. Outputs must not be lost,
//! so they may exceed the limit until the coordinator has them. After a restart of the worker they are not held any
//! more: an output that is removed before it is uploaded is computed again.
//!
//! The modification time of a file is the time of its last use, so it survives a restart.

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

/// A store with bookkeeping of its files.
#[derive(Debug)]
pub struct Cache {
    store: Arc<Store>,
    /// In bytes; `None` keeps everything.
    bound: Option<u64>,
    index: Mutex<Index>,
    /// The holder of this lock is the next to get space.
    queue: tokio::sync::Mutex<()>,
    /// Notified when a lease releases its files.
    released: Notify,
}

#[derive(Debug, Default)]
struct Index {
    /// Without a limit, only held files.
    files: HashMap<ContentHash, Entry>,
    /// Files that no lease holds, by their last use.
    unused: BTreeSet<(SystemTime, ContentHash)>,
    /// Bytes of all files. A peer names the sizes, and their sum may not fit into 64 bits.
    total: u128,
    /// Bytes of files that a lease holds.
    held: u128,
    /// The latest use of any file.
    latest: Option<SystemTime>,
}

#[derive(Debug)]
struct Entry {
    /// Bytes on the disk; while it is held, the bytes of the complete file.
    size: u64,
    used: SystemTime,
    holders: u32,
    /// Held during a download, because two downloads would write to the same file.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Why a lease cannot have its files.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// They do not fit, even into an empty cache.
    #[error(
        "the inputs need {}, more than the cache limit of this worker ({}): raise --cache-size",
        ByteSize(u64::try_from(*needed).unwrap_or(u64::MAX)).display().si(),
        ByteSize(*bound).display().si()
    )]
    TooSmall {
        /// Bytes of the inputs.
        needed: u128,
        /// The size limit of the cache in bytes.
        bound: u64,
    },
    /// An error of the folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Cache {
    /// Opens the cache. With a size limit, in bytes, this process must have exclusive use of the store, and files over
    /// the limit are removed at once.
    ///
    /// # Errors
    /// If the store cannot be read, or files over the limit cannot be removed.
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
                // A partial upload and the complete file may both exist.
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

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Whether executors write their outputs to folders of their own.
    #[must_use]
    pub const fn is_bounded(&self) -> bool {
        self.bound.is_some()
    }

    /// Holds these files, whether they exist or not, and makes space for them. Waits until that is possible.
    ///
    /// # Errors
    /// If they can never fit, or other files cannot be removed.
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
            // Nobody else waits here, and a release since the attempt above is remembered.
            self.released.notified().await;
        }
    }

    /// Holds no file yet, but can adopt files.
    #[must_use]
    pub fn hold_nothing(self: &Arc<Self>) -> Held {
        Held { cache: Arc::clone(self), files: Vec::new() }
    }

    /// Returns `None` if running leases hold too much.
    fn try_hold(self: &Arc<Self>, files: &BTreeMap<ContentHash, u64>) -> Result<Option<Held>, StoreError> {
        // In this order, so that on an error the lock is released before dropping `held` takes it.
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

    /// Removes files that no lease holds, until the rest fits or all of them are gone.
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
            // A waiting lease that failed must not wake itself.
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
                    // Unknown: it counts as before.
                    warn!(error = &error as &dyn std::error::Error, "cannot inspect a file of the cache");
                    let as_it_was = (entry.size, entry.used);
                    index.settle(artifact.hash, Some(as_it_was));
                }
            }
        }
        if let Err(error) = self.evict(&mut index) {
            // The next lease retries and fails with the reason.
            warn!(error = &error as &dyn std::error::Error, "the cache exceeds its limit");
        }
        drop(index);
        self.released.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// The current time, but later than any use before: clocks may be set back and are coarse.
    fn next_use(&mut self) -> SystemTime {
        let after = self.latest.and_then(|latest| latest.checked_add(Duration::from_nanos(1)));
        let now = after.map_or_else(SystemTime::now, |after| after.max(SystemTime::now()));
        self.latest = Some(now);
        now
    }

    /// Adds a lease to a file, which counts with its complete size.
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

    /// No lease holds a file any more. `kept` is its size on the disk and its last use, if it exists.
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

/// Files that are not removed while this value lives.
#[derive(Debug)]
pub struct Held {
    cache: Arc<Cache>,
    files: Vec<Artifact>,
}

impl Held {
    /// Downloads `artifact`, one of the held files, if the cache does not have it.
    ///
    /// # Errors
    /// If it cannot be downloaded or stored.
    pub async fn fetch(&self, client: &mut ArtifactClient, artifact: Artifact) -> Result<(), TransferError> {
        let turn = self.cache.lock().files.get(&artifact.hash).map(|entry| Arc::clone(&entry.turn));
        let turn = turn.unwrap_or_default();
        let _turn = turn.lock().await;
        client.download(&self.cache.store, artifact).await
    }

    /// Takes over and holds a file that an executor made and reported. `outputs` is its folder of outputs, if it has
    /// one.
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
