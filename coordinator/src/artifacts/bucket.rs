//! Artifacts in a bucket, with a folder here that uploads arrive in.
//!
//! # An object under the name of an artifact is whole
//!
//! What comes through this process lies in the folder until it is there to the last byte and has the hash that it should have; then it
//! is put into the bucket, where an object is whole or not there. What workers put there themselves has another name until it was
//! read here and has that hash; then the storage copies it.
//!
//! # A touch and the removal of an old object exclude each other
//!
//! The storage says when an object was put, and cannot be told that it is young again. So touches are in the memory of this
//! process, which alone removes: the one coordinator that has the journal, or a command that has its folder to itself. A touch is
//! written down first, and then the storage is asked whether the object is there; a removal looks for touches, and removes the
//! object, in one piece as far as that hash is concerned. So either the removal sees the touch, or the question finds the object
//! gone. That a coordinator that starts has forgotten the touches of the one before does no harm: what relies on one is a record that
//! this process writes afterwards (`crate::garbage`), and who reports or submits to another process is asked anew.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use futures::{StreamExt as _, TryStreamExt as _};
use secateur_proto::{ids::ContentHash, outcome::Artifact, v1::SignedUrl};
use secateur_worker::{
    store::{Store, StoreError, Stored},
    threads::on_a_thread,
};
use tokio::sync::{Mutex, MutexGuard};
use tracing::{debug, warn};

use super::{
    ArtifactError, BucketError, Pieces, Remote, Trouble,
    remote::{Kind, Object},
};

/// Removals under way at a time wait for touches of so many-th of all hashes.
const SHARDS: usize = 256;

/// The largest object that S3 takes in one request is 5 GiB.
const LARGEST_DIRECT: u64 = 4 << 30;

/// How long a removal may still happen that was not answered: storage takes no request that was signed longer ago.
const DOUBTFUL: Duration = Duration::from_secs(15 * 60);

/// What this process knows of an object that the storage does not.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// Somebody is about to refer to it.
    Touched(SystemTime),
    /// Its removal was asked for then, and nobody answered.
    Doubtful(Instant),
}

type Shard = HashMap<ContentHash, Known>;

/// Artifacts in a bucket.
#[derive(Debug)]
pub struct Bucket {
    remote: Remote,
    spool: Store,
    shards: Vec<Mutex<Shard>>,
}

impl Bucket {
    /// Over `remote`. Uploads arrive in `spool`.
    #[must_use]
    pub fn new(remote: Remote, spool: Store) -> Self {
        Self { remote, spool, shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect() }
    }

    pub(super) const fn spool(&self) -> &Store {
        &self.spool
    }

    pub(super) async fn touch(&self, hash: ContentHash, at: SystemTime) -> Result<Option<Artifact>, ArtifactError> {
        self.is_used(hash, at).await?;
        self.spool.touch(hash, at)?;
        let found = self.remote.look(Kind::Held, hash).await?;
        Ok(found.map(|object| Artifact { hash, size: object.size }))
    }

    pub(super) fn partial_size(&self, hash: ContentHash) -> Result<u64, StoreError> {
        // A file that is all here, and could not be put into the bucket.
        match self.spool.stat(hash)? {
            Some(waiting) => Ok(waiting.size),
            None => self.spool.partial_size(hash),
        }
    }

    pub(super) async fn keep(&self, artifact: Artifact) -> Result<(), ArtifactError> {
        let Artifact { hash, size } = artifact;
        self.is_used(hash, SystemTime::now()).await?;
        self.remote.put_file(hash, &self.spool.path(hash), size).await?;
        self.spool.remove(hash)?;
        Ok(())
    }

    pub(super) async fn get(&self, hash: ContentHash) -> Result<Vec<u8>, ArtifactError> {
        let mut pieces = self.read(hash, 0).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.try_next().await? {
            bytes.extend(piece);
        }
        let (found, bytes) = on_a_thread(move || (ContentHash::of(&bytes), bytes)).await?;
        if found != hash {
            self.remote.remove(Kind::Held, hash).await?;
            return Err(StoreError::Damaged { expected: hash, found }.into());
        }
        Ok(bytes)
    }

    pub(super) async fn read(&self, hash: ContentHash, offset: u64) -> Result<Pieces, ArtifactError> {
        let missing = || ArtifactError::from(StoreError::Missing(hash));
        if offset > 0 {
            // A range of nothing is an error there.
            let object = self.remote.look(Kind::Held, hash).await?.ok_or_else(missing)?;
            if offset >= object.size {
                return Ok(futures::stream::empty().boxed());
            }
        }
        let pieces = self.remote.read(Kind::Held, hash, offset).await?.ok_or_else(missing)?;
        Ok(pieces.map_err(ArtifactError::from).boxed())
    }

    pub(super) async fn address_to_read(&self, hash: ContentHash) -> Result<SignedUrl, BucketError> {
        self.remote.address_to_read(hash).await
    }

    pub(super) async fn address_to_put(&self, artifact: Artifact) -> Result<Option<SignedUrl>, BucketError> {
        if artifact.size > LARGEST_DIRECT {
            return Ok(None);
        }
        self.remote.address_to_put(artifact.hash).await.map(Some)
    }

    pub(super) async fn take_over(&self, artifact: Artifact) -> Result<(), ArtifactError> {
        let Artifact { hash, size } = artifact;
        self.is_used(hash, SystemTime::now()).await?;
        let wrong_size = |found| StoreError::WrongSize { hash, expected: size, found };
        if let Some(held) = self.remote.look(Kind::Held, hash).await? {
            self.drop_incoming(hash).await;
            return if held.size == size { Ok(()) } else { Err(wrong_size(held.size).into()) };
        }
        let arrived = self.remote.look(Kind::Incoming, hash).await?.ok_or(StoreError::Missing(hash))?;
        let checked =
            if arrived.size == size { self.check_incoming(artifact).await? } else { Err(wrong_size(arrived.size)) };
        if let Err(error) = checked {
            warn!(%error, "what was put into the bucket is not what was announced");
            self.drop_incoming(hash).await;
            return Err(error.into());
        }
        self.remote.accept(hash).await?;
        if self.remote.look(Kind::Held, hash).await?.is_none_or(|held| held.size != size) {
            return Err(self.remote.error("copy an object", Trouble::Changed).into());
        }
        self.drop_incoming(hash).await;
        Ok(())
    }

    /// Whether what arrived is what was announced.
    async fn check_incoming(&self, artifact: Artifact) -> Result<Result<(), StoreError>, ArtifactError> {
        let Artifact { hash, size } = artifact;
        let pieces = self.remote.read(Kind::Incoming, hash, 0).await?.ok_or(StoreError::Missing(hash))?;
        let mut pieces = std::pin::pin!(pieces);
        let mut hasher = blake3::Hasher::new();
        let mut read = 0;
        while let Some(piece) = pieces.try_next().await? {
            hasher.update(&piece);
            read += piece.len() as u64;
        }
        let found = ContentHash::from(hasher.finalize());
        Ok(if read != size {
            Err(StoreError::WrongSize { hash, expected: size, found: read })
        } else if found != hash {
            Err(StoreError::Damaged { expected: hash, found })
        } else {
            Ok(())
        })
    }

    /// What stays there is garbage, and goes as such.
    async fn drop_incoming(&self, hash: ContentHash) {
        if let Err(error) = self.remote.remove(Kind::Incoming, hash).await {
            debug!(%error, "what arrived stays for a while");
        }
    }

    pub(super) async fn files(&self) -> Result<Vec<Stored>, ArtifactError> {
        let mut held = Vec::new();
        // Of one hash there may be several beginnings: here, and there.
        let mut begun: HashMap<ContentHash, Stored> = HashMap::new();
        let mut begin = |hash, size, modified| {
            let file = begun.entry(hash).or_insert(Stored { hash, size: 0, whole: false, modified });
            file.size += size;
            file.modified = file.modified.max(modified);
        };
        for (kind, hash, Object { size, modified }) in self.remote.list().await? {
            let modified = match self.shard(hash).await.get(&hash) {
                Some(Known::Touched(at)) => modified.max(*at),
                _ => modified,
            };
            match kind {
                Kind::Held => held.push(Stored { hash, size, whole: true, modified }),
                Kind::Incoming => begin(hash, size, modified),
            }
        }
        for file in self.spool.files()? {
            begin(file.hash, file.size, file.modified);
        }
        held.extend(begun.into_values());
        Ok(held)
    }

    pub(super) async fn remove_old(&self, file: &Stored, before: SystemTime) -> Result<bool, ArtifactError> {
        let hash = file.hash;
        // Until it is removed, whoever touches it waits.
        let mut shard = self.shard(hash).await;
        let young = match shard.get(&hash) {
            Some(Known::Touched(at)) => *at >= before,
            Some(Known::Doubtful(since)) => since.elapsed() < DOUBTFUL,
            None => false,
        };
        let kind = if file.whole { Kind::Held } else { Kind::Incoming };
        let there = self.remote.look(kind, hash).await?;
        let here = if file.whole { Vec::new() } else { self.spool.kept(hash)? };
        let modified = there.iter().map(|object| object.modified).chain(here.iter().map(|file| file.modified)).max();
        if young || modified.is_none_or(|modified| modified >= before) {
            return Ok(false);
        }
        for file in &here {
            self.spool.remove_old(file, before)?;
        }
        if there.is_some()
            && let Err(error) = self.remote.remove(kind, hash).await
        {
            if file.whole {
                shard.insert(hash, Known::Doubtful(Instant::now()));
            }
            return Err(error.into());
        }
        if file.whole {
            shard.remove(&hash);
        }
        Ok(true)
    }

    /// Writes down that a file is used, before anybody asks whether it is there.
    async fn is_used(&self, hash: ContentHash, at: SystemTime) -> Result<(), BucketError> {
        let mut shard = self.shard(hash).await;
        match shard.get_mut(&hash) {
            Some(Known::Doubtful(since)) if since.elapsed() < DOUBTFUL => {
                return Err(self.remote.error("use an object", Trouble::Doubtful));
            }
            Some(Known::Touched(last)) => *last = at.max(*last),
            _ => {
                shard.insert(hash, Known::Touched(at));
            }
        }
        Ok(())
    }

    async fn shard(&self, hash: ContentHash) -> MutexGuard<'_, Shard> {
        self.shards[usize::from(hash.as_bytes()[0]) % SHARDS].lock().await
    }
}
