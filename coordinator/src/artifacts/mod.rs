//! The coordinator's artifact store: a folder, or a bucket of an S3-compatible storage. The services and the collection
//! of garbage use either in the same way. It knows files, hashes and ages, but not what refers to them.

mod bucket;
mod connector;
mod location;
mod remote;
mod trouble;

use std::{io::Read as _, sync::Arc, time::SystemTime};

use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use secateur_proto::{ids::ContentHash, outcome::Artifact, v1::SignedUrl};
use secateur_worker::{
    store::{Store, StoreError, Stored},
    threads::on_a_thread,
    transfer::CHUNK,
};
use tokio::task::JoinError;

pub use self::{
    bucket::Bucket,
    location::{BucketUrl, InvalidBucketUrl, LocationError, settle, settled},
    remote::{Remote, environment},
    trouble::{BucketError, Trouble},
};

/// The artifacts of a coordinator. Clones share them.
#[derive(Debug, Clone)]
pub enum ArtifactStore {
    /// In a folder.
    Files(Arc<Store>),
    /// In a bucket.
    Bucket(Arc<Bucket>),
}

/// An error of the artifact store.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// An error of the disk or of the artifact itself.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An error of the bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// A bug.
    #[error("a task of the artifact store failed: {0}")]
    Task(#[from] JoinError),
}

/// The bytes of an artifact, in pieces.
pub type Pieces = BoxStream<'static, Result<Vec<u8>, ArtifactError>>;

impl ArtifactStore {
    /// Marks a file, or a partial upload, as used now, so that the grace period starts again. Returns the artifact if
    /// it is held completely. A touch and the removal of an old file exclude each other.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn touch(&self, hash: ContentHash) -> Result<Option<Artifact>, ArtifactError> {
        match self {
            Self::Files(store) => Ok(store.touch(hash, SystemTime::now())?),
            Self::Bucket(bucket) => bucket.touch(hash, SystemTime::now()).await,
        }
    }

    /// Bytes held of an interrupted upload.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn partial_size(&self, hash: ContentHash) -> Result<u64, ArtifactError> {
        match self {
            Self::Files(store) => Ok(store.partial_size(hash)?),
            Self::Bucket(bucket) => Ok(bucket.partial_size(hash)?),
        }
    }

    /// The folder for incoming uploads.
    #[must_use]
    pub fn incoming(&self) -> &Store {
        match self {
            Self::Files(store) => store,
            Self::Bucket(bucket) => bucket.spool(),
        }
    }

    /// Moves a complete and verified upload from [`Self::incoming`] to the store.
    ///
    /// # Errors
    /// If it cannot be stored. It can be retried without another upload.
    pub async fn keep(&self, artifact: Artifact) -> Result<(), ArtifactError> {
        match self {
            Self::Files(_) => Ok(()),
            Self::Bucket(bucket) => bucket.keep(artifact).await,
        }
    }

    /// The whole artifact, verified.
    ///
    /// # Errors
    /// If it does not exist, cannot be read, or is corrupt. A corrupt one is removed, so that it can be made again.
    pub async fn get(&self, hash: ContentHash) -> Result<Vec<u8>, ArtifactError> {
        match self {
            Self::Files(store) => {
                let store = Arc::clone(store);
                Ok(on_a_thread(move || store.get(hash)).await??)
            }
            Self::Bucket(bucket) => bucket.get(hash).await,
        }
    }

    /// The bytes from `offset` on. The caller verifies them. If `offset` is 0 they are also verified here: a corrupt
    /// file is removed, so that it can be made again, and the last piece is an error.
    ///
    /// # Errors
    /// If it does not exist or cannot be read.
    pub async fn read(&self, hash: ContentHash, offset: u64) -> Result<Pieces, ArtifactError> {
        let pieces = self.read_unchecked(hash, offset).await?;
        if offset > 0 {
            return Ok(pieces);
        }
        let begin = (self.clone(), pieces, blake3::Hasher::new());
        let checked = futures::stream::try_unfold(begin, move |(store, mut pieces, mut hasher)| async move {
            if let Some(data) = pieces.try_next().await? {
                let hash = move || {
                    hasher.update(&data);
                    (hasher, data)
                };
                let (hasher, data) = on_a_thread(hash).await?;
                return Ok(Some((data, (store, pieces, hasher))));
            }
            let found = ContentHash::from(hasher.finalize());
            if found == hash {
                return Ok(None);
            }
            // This verifies it again, and removes it.
            store.get(hash).await?;
            Err(StoreError::Damaged { expected: hash, found }.into())
        });
        Ok(checked.boxed())
    }

    async fn read_unchecked(&self, hash: ContentHash, offset: u64) -> Result<Pieces, ArtifactError> {
        match self {
            Self::Files(store) => {
                let reader = store.reader(hash, offset)?;
                let pieces = futures::stream::try_unfold(reader, move |mut reader| async move {
                    let read = move || {
                        let mut data = Vec::with_capacity(CHUNK);
                        let read = reader.by_ref().take(CHUNK as u64).read_to_end(&mut data);
                        read.map_err(|source| StoreError::Unreadable { hash, source })?;
                        Ok::<_, StoreError>(if data.is_empty() { None } else { Some((data, reader)) })
                    };
                    Ok::<_, ArtifactError>(on_a_thread(read).await??)
                });
                Ok(pieces.boxed())
            }
            Self::Bucket(bucket) => bucket.read(hash, offset).await,
        }
    }

    /// Whether the storage has presigned URLs.
    #[must_use]
    pub const fn has_addresses(&self) -> bool {
        matches!(self, Self::Bucket(_))
    }

    /// A presigned URL to download an artifact, or `None` if the storage has none.
    ///
    /// # Errors
    /// If the URL cannot be signed.
    pub async fn address_to_read(&self, hash: ContentHash) -> Result<Option<SignedUrl>, ArtifactError> {
        match self {
            Self::Files(_) => Ok(None),
            Self::Bucket(bucket) => Ok(Some(bucket.address_to_read(hash).await?)),
        }
    }

    /// A presigned URL to upload an artifact, before [`Self::take_over`], or `None` if the storage has none.
    ///
    /// # Errors
    /// If the URL cannot be signed.
    pub async fn address_to_put(&self, artifact: Artifact) -> Result<Option<SignedUrl>, ArtifactError> {
        match self {
            Self::Files(_) => Ok(None),
            Self::Bucket(bucket) => Ok(bucket.address_to_put(artifact).await?),
        }
    }

    /// Verifies and stores an object that was uploaded to a presigned URL. Only one call at a time may handle a hash.
    ///
    /// # Errors
    /// If it does not exist, or is not the announced artifact. Then it is removed.
    pub async fn take_over(&self, artifact: Artifact) -> Result<(), ArtifactError> {
        match self {
            Self::Files(_) => Err(StoreError::Missing(artifact.hash).into()),
            Self::Bucket(bucket) => bucket.take_over(artifact).await,
        }
    }

    /// Every file and every interrupted upload, in no particular order.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn files(&self) -> Result<Vec<Stored>, ArtifactError> {
        match self {
            Self::Files(store) => {
                let store = Arc::clone(store);
                Ok(on_a_thread(move || store.files()).await??)
            }
            Self::Bucket(bucket) => bucket.files().await,
        }
    }

    /// Removes a listed file, unless it is already gone or was modified or touched since `before`. Returns whether it
    /// did.
    ///
    /// # Errors
    /// If it cannot be read or removed.
    pub async fn remove_old(&self, file: &Stored, before: SystemTime) -> Result<bool, ArtifactError> {
        match self {
            Self::Files(store) => Ok(store.remove_old(file, before)?),
            Self::Bucket(bucket) => bucket.remove_old(file, before).await,
        }
    }
}
