//! Where the coordinator keeps artifacts: in a folder, or in a bucket of storage that speaks S3's protocol. The services and the
//! collection of garbage use either without knowing which. It knows files, hashes and ages, and not who refers to what.

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

/// The artifacts of a coordinator. Clones are of the same ones.
#[derive(Debug, Clone)]
pub enum ArtifactStore {
    /// In a folder.
    Files(Arc<Store>),
    /// In a bucket.
    Bucket(Arc<Bucket>),
}

/// What can go wrong with artifacts.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// On the disk, or with the artifact itself.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// With the bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// A defect.
    #[error("a task of the artifact store failed: {0}")]
    Task(#[from] JoinError),
}

/// The bytes of an artifact, piece by piece.
pub type Pieces = BoxStream<'static, Result<Vec<u8>, ArtifactError>>;

impl ArtifactStore {
    /// Notes that a file is used, or the beginning of an upload: it is young from now on. The artifact, if it is held whole. A
    /// touch and the removal of an old file exclude each other.
    ///
    /// # Errors
    /// If it cannot be found out.
    pub async fn touch(&self, hash: ContentHash) -> Result<Option<Artifact>, ArtifactError> {
        match self {
            Self::Files(store) => Ok(store.touch(hash, SystemTime::now())?),
            Self::Bucket(bucket) => bucket.touch(hash, SystemTime::now()).await,
        }
    }

    /// Bytes held here of an upload that was cut off.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn partial_size(&self, hash: ContentHash) -> Result<u64, ArtifactError> {
        match self {
            Self::Files(store) => Ok(store.partial_size(hash)?),
            Self::Bucket(bucket) => Ok(bucket.partial_size(hash)?),
        }
    }

    /// The folder that uploads arrive in.
    #[must_use]
    pub fn incoming(&self) -> &Store {
        match self {
            Self::Files(store) => store,
            Self::Bucket(bucket) => bucket.spool(),
        }
    }

    /// Holds what an upload into [`Self::incoming`] has left, whole and checked.
    ///
    /// # Errors
    /// If it cannot be kept; then it can be tried again without another upload.
    pub async fn keep(&self, artifact: Artifact) -> Result<(), ArtifactError> {
        match self {
            Self::Files(_) => Ok(()),
            Self::Bucket(bucket) => bucket.keep(artifact).await,
        }
    }

    /// The whole artifact, checked.
    ///
    /// # Errors
    /// If it is not there, cannot be read, or is damaged; then it is removed, so that it can be made again.
    pub async fn get(&self, hash: ContentHash) -> Result<Vec<u8>, ArtifactError> {
        match self {
            Self::Files(store) => {
                let store = Arc::clone(store);
                Ok(on_a_thread(move || store.get(hash)).await??)
            }
            Self::Bucket(bucket) => bucket.get(hash).await,
        }
    }

    /// The bytes from `offset` on, which whoever gets them checks. What is read from its beginning is checked here, too: a file that
    /// is damaged is removed, so that it can be made again, and the last piece is an error.
    ///
    /// # Errors
    /// If it is not there or cannot be read.
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
            // Which looks again, and removes it.
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

    /// Whether artifacts have addresses that others can use.
    #[must_use]
    pub const fn has_addresses(&self) -> bool {
        matches!(self, Self::Bucket(_))
    }

    /// Where an artifact can be read without this process, for a short while; nothing if it cannot.
    ///
    /// # Errors
    /// If the address cannot be signed.
    pub async fn address_to_read(&self, hash: ContentHash) -> Result<Option<SignedUrl>, ArtifactError> {
        match self {
            Self::Files(_) => Ok(None),
            Self::Bucket(bucket) => Ok(Some(bucket.address_to_read(hash).await?)),
        }
    }

    /// Where an artifact can be put without this process, before [`Self::take_over`]; nothing if it cannot.
    ///
    /// # Errors
    /// If the address cannot be signed.
    pub async fn address_to_put(&self, artifact: Artifact) -> Result<Option<SignedUrl>, ArtifactError> {
        match self {
            Self::Files(_) => Ok(None),
            Self::Bucket(bucket) => Ok(bucket.address_to_put(artifact).await?),
        }
    }

    /// Holds what was put at such an address, once it is checked. Only one may be under way for a hash at a time.
    ///
    /// # Errors
    /// If it is not there, or not what it should be; then it is removed.
    pub async fn take_over(&self, artifact: Artifact) -> Result<(), ArtifactError> {
        match self {
            Self::Files(_) => Err(StoreError::Missing(artifact.hash).into()),
            Self::Bucket(bucket) => bucket.take_over(artifact).await,
        }
    }

    /// Every file, and every upload that was cut off, in no particular order.
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

    /// Removes a file that was listed, unless it is gone or was modified or touched since `before`. Says whether it did.
    ///
    /// # Errors
    /// If it cannot be looked at or removed.
    pub async fn remove_old(&self, file: &Stored, before: SystemTime) -> Result<bool, ArtifactError> {
        match self {
            Self::Files(store) => Ok(store.remove_old(file, before)?),
            Self::Bucket(bucket) => bucket.remove_old(file, before).await,
        }
    }
}
