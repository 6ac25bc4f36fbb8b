//! Files that arrive in pieces, and resume after an interruption.
//!
//! Writing and verifying take as long as a disk does; verifying a large file takes minutes. [`Store::begin_upload`],
//! [`Upload::append`] and [`Upload::complete`] run on threads of their own, so that they block no task of the runtime.
//! The caller may give up meanwhile: an upload keeps its hash reserved until it is dropped, on whichever thread.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    sync::{Arc, PoisonError},
};

use secateur_proto::{ids::ContentHash, outcome::Artifact};

use super::{Place, Store, StoreError, error::failed};
use crate::threads::on_a_thread;

/// A current upload. If it is dropped before it is finished, it can be resumed.
#[derive(Debug)]
pub struct Upload {
    turn: Turn,
    artifact: Artifact,
    path: PathBuf,
    file: File,
    size: u64,
}

/// The exclusive right to write the file of a hash.
#[derive(Debug)]
struct Turn {
    place: Arc<Place>,
    hash: ContentHash,
}

impl Turn {
    fn take(place: &Arc<Place>, hash: ContentHash) -> Result<Self, StoreError> {
        let is_free = place.uploads.lock().unwrap_or_else(PoisonError::into_inner).insert(hash);
        if is_free { Ok(Self { place: Arc::clone(place), hash }) } else { Err(StoreError::Busy(hash)) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.place.uploads.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.hash);
    }
}

impl Store {
    /// Bytes held of an interrupted upload.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn partial_size(&self, hash: ContentHash) -> Result<u64, StoreError> {
        self.place.partial_size(hash)
    }

    /// Begins or resumes an upload.
    ///
    /// # Errors
    /// If the same hash is being uploaded already, `offset` is after the held bytes, or the file cannot be written.
    pub fn upload(&self, artifact: Artifact, offset: u64) -> Result<Upload, StoreError> {
        Upload::begin(&self.place, artifact, offset)
    }

    /// As [`upload`](Self::upload), on a thread of its own.
    ///
    /// # Errors
    /// As there.
    pub async fn begin_upload(&self, artifact: Artifact, offset: u64) -> Result<Upload, StoreError> {
        let place = Arc::clone(&self.place);
        on_a_thread(move || Upload::begin(&place, artifact, offset)).await?
    }
}

impl Place {
    pub(super) fn partial_path(&self, hash: ContentHash) -> PathBuf {
        self.incoming().join(hash.to_string())
    }

    fn partial_size(&self, hash: ContentHash) -> Result<u64, StoreError> {
        let path = self.partial_path(hash);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(failed("look for", &path)(error)),
        }
    }
}

impl Upload {
    fn begin(place: &Arc<Place>, artifact: Artifact, offset: u64) -> Result<Self, StoreError> {
        let turn = Turn::take(place, artifact.hash)?;
        let path = place.partial_path(artifact.hash);
        let held = place.partial_size(artifact.hash)?;
        if offset > held {
            return Err(StoreError::WrongOffset { hash: artifact.hash, held, offset });
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let mut file = file.map_err(failed("write", &path))?;
        file.set_len(offset).and_then(|()| file.seek(SeekFrom::Start(offset))).map_err(failed("write", &path))?;
        Ok(Self { turn, artifact, path, file, size: offset })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// If there are more than announced, or they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.size += bytes.len() as u64;
        if self.size > self.artifact.size {
            self.discard()?;
            let Artifact { hash, size } = self.artifact;
            return Err(StoreError::WrongSize { hash, expected: size, found: self.size });
        }
        self.file.write_all(bytes).map_err(failed("write", &self.path))
    }

    /// As [`write`](Self::write), on a thread of its own.
    ///
    /// # Errors
    /// As there.
    pub async fn append(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<Self, StoreError> {
        let mut upload = self;
        on_a_thread(move || upload.write(bytes.as_ref()).map(|()| upload)).await?
    }

    /// Verifies size and hash, and moves the file to its name.
    ///
    /// # Errors
    /// If bytes are missing (the upload can be resumed), or the hash does not match (it must restart).
    pub fn finish(self) -> Result<Artifact, StoreError> {
        let Artifact { hash, size } = self.artifact;
        if self.size < size {
            return Err(StoreError::WrongSize { hash, expected: size, found: self.size });
        }
        let mut hasher = blake3::Hasher::new();
        let file = File::open(&self.path).map_err(failed("read", &self.path))?;
        hasher.update_reader(file).map_err(failed("read", &self.path))?;
        let found = ContentHash::from(hasher.finalize());
        if found != hash {
            self.discard()?;
            return Err(StoreError::Damaged { expected: hash, found });
        }
        self.turn.place.publish(&self.path, hash)?;
        Ok(self.artifact)
    }

    /// As [`finish`](Self::finish), on a thread of its own.
    ///
    /// # Errors
    /// As there.
    pub async fn complete(self) -> Result<Artifact, StoreError> {
        on_a_thread(move || self.finish()).await?
    }

    fn discard(&self) -> Result<(), StoreError> {
        fs::remove_file(&self.path).map_err(failed("remove", &self.path))
    }
}
