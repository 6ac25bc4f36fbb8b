//! Artifacts in a bucket, with a local folder for incoming uploads.
//!
//! # An object under the name of an artifact is complete
//!
//! An upload through this process is collected in the folder until it is complete and its hash is verified. Then it is
//! put into the bucket, where an object exists completely or not at all. Objects that workers upload themselves have
//! another name until this process has read them and verified the hash; then the storage copies them.
//!
//! # A touch and the removal of an old object exclude each other
//!
//! The storage records when an object was put, but cannot mark it as used. So touches are kept in the memory of this
//! process, the only one that removes objects: either the coordinator that owns the journal, or a command with
//! exclusive use of the folder. A touch is recorded first, and then the storage is asked whether the object exists. A
//! removal checks for touches and removes the object in one atomic step for that hash. So either the removal sees the
//! touch, or the touch finds no object. A new coordinator does not know the touches of its predecessor, which is safe:
//! only records that this process writes later rely on a touch (`crate::garbage`), and clients that report or submit to
//! another process check again.

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

/// The number of shards: a removal blocks touches of 1 in this many hashes.
const SHARDS: usize = 256;

/// The largest object for a presigned upload. S3 allows 5 GiB in one request.
const LARGEST_DIRECT: u64 = 4 << 30;

/// How long a removal without an answer may still happen: storage rejects requests that were signed earlier.
const DOUBTFUL: Duration = Duration::from_secs(15 * 60);

/// What this process knows about an object that the storage does not.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// Somebody is about to refer to it.
    Touched(SystemTime),
    /// Its removal was requested at this time, and there was no answer.
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
    /// Uses `remote`. Uploads arrive in `spool`.
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
        // A complete upload that could not be put into the bucket.
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
            // S3 rejects an empty range.
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
            warn!(%error, "an uploaded object differs from what was announced");
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

    /// Whether the uploaded object matches what was announced.
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

    /// If it cannot be removed, a later collection of garbage removes it.
    async fn drop_incoming(&self, hash: ContentHash) {
        if let Err(error) = self.remote.remove(Kind::Incoming, hash).await {
            debug!(%error, "cannot remove an incoming object; it is garbage now");
        }
    }

    pub(super) async fn files(&self) -> Result<Vec<Stored>, ArtifactError> {
        let mut held = Vec::new();
        // Partial uploads of one hash may exist both here and in the bucket.
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
        // Touches wait until it is removed.
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

    /// Records that a file is used, before anybody checks that it exists.
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
