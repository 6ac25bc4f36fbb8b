//! Files named by the hash of their content: a worker's cache and a coordinator's artifacts.
//!
//! A file under its own name is always whole: it is written elsewhere, checked, and renamed. Nothing here knows what the files
//! are for, or of the network.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use secateur_proto::{ids::ContentHash, outcome::Artifact};

/// A folder of files by hash.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    durability: Durability,
    writes: AtomicU64,
}

/// Whether a file that was put is still there after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Flushed to the disk before `put` returns.
    Synced,
    /// Good enough for a cache: a file that a crash leaves damaged is found out by its hash.
    Cached,
}

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("no space left for {path}: free some, then run the same command again")]
    Full {
        /// What was being written.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Any other error of the file system.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// There is no such file.
    #[error("artifact {0} is not here")]
    Missing(ContentHash),
    /// The bytes are not those that the name promises.
    #[error("artifact {expected} is damaged: its content has the hash {found}")]
    Damaged {
        /// The name.
        expected: ContentHash,
        /// The hash of what was found.
        found: ContentHash,
    },
    /// More or fewer bytes than announced.
    #[error("artifact {hash} has {found} bytes, not the {expected} announced")]
    WrongSize {
        /// The name.
        hash: ContentHash,
        /// Announced.
        expected: u64,
        /// Received.
        found: u64,
    },
    /// An upload goes on at another place than where it stopped.
    #[error("the upload of {hash} stopped at byte {held}, and cannot go on at byte {offset}")]
    WrongOffset {
        /// The name.
        hash: ContentHash,
        /// Bytes held.
        held: u64,
        /// Where the sender wants to go on.
        offset: u64,
    },
}

impl StoreError {
    /// Whether freeing disk space is what helps.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path, source },
        _ => StoreError::Io { operation, path, source },
    }
}

impl Store {
    /// Opens the folder, and makes it if need be.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(root: impl Into<PathBuf>, durability: Durability) -> Result<Self, StoreError> {
        let root = root.into();
        for folder in [root.clone(), root.join("incoming")] {
            fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        }
        Ok(Self { root, durability, writes: AtomicU64::new(0) })
    }

    /// Removes what writes that were cut off have left. Uploads that can be gone on with stay. Only for whoever has the folder to
    /// itself: a write that is under way would fail.
    ///
    /// # Errors
    /// If the folder cannot be read or a file not be removed.
    pub fn remove_drafts(&self) -> Result<(), StoreError> {
        let incoming = self.root.join("incoming");
        for entry in fs::read_dir(&incoming).map_err(failed("read", &incoming))? {
            let path = entry.map_err(failed("read", &incoming))?.path();
            if path.extension().is_some() {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Where the store is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file of that hash is, or would be.
    #[must_use]
    pub fn path(&self, hash: ContentHash) -> PathBuf {
        let name = hash.to_string();
        self.root.join(&name[..2]).join(name)
    }

    /// The artifact, if it is held whole.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn stat(&self, hash: ContentHash) -> Result<Option<Artifact>, StoreError> {
        let path = self.path(hash);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(Artifact { hash, size: metadata.len() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("look for", &path)(error)),
        }
    }

    /// Keeps `bytes`, and says under which name.
    ///
    /// # Errors
    /// If they cannot be written; nothing is left behind then.
    pub fn put(&self, bytes: &[u8]) -> Result<Artifact, StoreError> {
        let hash = ContentHash::of(bytes);
        if let Some(artifact) = self.stat(hash)? {
            return Ok(artifact);
        }
        let serial = self.writes.fetch_add(1, Ordering::Relaxed);
        let draft = self.root.join("incoming").join(format!("{hash}.{}.{serial}", std::process::id()));
        let written = File::create(&draft).and_then(|mut file| file.write_all(bytes)).map_err(failed("write", &draft));
        written.and_then(|()| self.publish(&draft, hash)).inspect_err(|_| {
            // The first error is the one to report; a draft that stays is not a file of the store.
            let _ = fs::remove_file(&draft);
        })?;
        Ok(Artifact { hash, size: bytes.len() as u64 })
    }

    /// The whole file, checked against its name.
    ///
    /// # Errors
    /// If it is not there, cannot be read, or is damaged; a damaged file is removed, so that it can be made again.
    pub fn get(&self, hash: ContentHash) -> Result<Vec<u8>, StoreError> {
        let path = self.path(hash);
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(hash),
            _ => failed("read", &path)(error),
        })?;
        let found = ContentHash::of(&bytes);
        if found != hash {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
            return Err(StoreError::Damaged { expected: hash, found });
        }
        Ok(bytes)
    }

    /// Opens the file for reading from `offset` on.
    ///
    /// # Errors
    /// If it is not there or cannot be read.
    pub fn reader(&self, hash: ContentHash, offset: u64) -> Result<impl Read + Send + use<>, StoreError> {
        let path = self.path(hash);
        let mut file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(hash),
            _ => failed("open", &path)(error),
        })?;
        file.seek(SeekFrom::Start(offset)).map_err(failed("read", &path))?;
        Ok(file)
    }

    /// Bytes held of an upload that was cut off.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn partial_size(&self, hash: ContentHash) -> Result<u64, StoreError> {
        let path = self.partial_path(hash);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(failed("look for", &path)(error)),
        }
    }

    /// Begins an upload, or goes on with one. Only one may be under way for a hash at a time.
    ///
    /// # Errors
    /// If `offset` is past what is held, or the file cannot be written.
    pub fn upload(&self, artifact: Artifact, offset: u64) -> Result<Upload<'_>, StoreError> {
        let path = self.partial_path(artifact.hash);
        let held = self.partial_size(artifact.hash)?;
        if offset > held {
            return Err(StoreError::WrongOffset { hash: artifact.hash, held, offset });
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let mut file = file.map_err(failed("write", &path))?;
        file.set_len(offset).and_then(|()| file.seek(SeekFrom::Start(offset))).map_err(failed("write", &path))?;
        Ok(Upload { store: self, artifact, path, file, size: offset })
    }

    fn partial_path(&self, hash: ContentHash) -> PathBuf {
        self.root.join("incoming").join(hash.to_string())
    }

    fn publish(&self, draft: &Path, hash: ContentHash) -> Result<(), StoreError> {
        let path = self.path(hash);
        let folder = path.parent().expect("a stored file lies in a folder");
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        if self.durability == Durability::Synced {
            File::open(draft).and_then(|file| file.sync_all()).map_err(failed("flush", draft))?;
        }
        fs::rename(draft, &path).map_err(failed("write", &path))?;
        if self.durability == Durability::Synced {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("flush", folder))?;
        }
        Ok(())
    }
}

/// An upload under way. Dropped unfinished, it can be gone on with.
#[derive(Debug)]
pub struct Upload<'a> {
    store: &'a Store,
    artifact: Artifact,
    path: PathBuf,
    file: File,
    size: u64,
}

impl Upload<'_> {
    /// Appends some bytes.
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

    /// Checks size and hash, and puts the file under its name.
    ///
    /// # Errors
    /// If bytes are missing (the upload can be gone on with), or the hash does not match (it starts anew).
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
        self.store.publish(&self.path, hash)?;
        Ok(self.artifact)
    }

    fn discard(&self) -> Result<(), StoreError> {
        fs::remove_file(&self.path).map_err(failed("remove", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path(), Durability::Synced).expect("opens");
        (folder, store)
    }

    #[test]
    fn what_is_put_is_got_and_a_damaged_file_is_found_out() {
        let (_folder, store) = store();
        let artifact = store.put(b"some bytes").expect("puts");
        assert_eq!(store.get(artifact.hash).expect("gets"), b"some bytes");
        assert_eq!(store.stat(artifact.hash).expect("stats"), Some(artifact));
        fs::write(store.path(artifact.hash), b"other bytes").expect("writes");
        assert!(matches!(store.get(artifact.hash), Err(StoreError::Damaged { .. })));
        assert!(matches!(store.get(artifact.hash), Err(StoreError::Missing(_))));
    }

    #[test]
    fn an_upload_that_was_cut_off_goes_on_where_it_stopped() {
        let (_folder, store) = store();
        let bytes = vec![7; 1000];
        let artifact = Artifact { hash: ContentHash::of(&bytes), size: 1000 };
        let mut upload = store.upload(artifact, 0).expect("begins");
        upload.write(&bytes[..600]).expect("writes");
        drop(upload);
        assert_eq!(store.partial_size(artifact.hash).expect("stats"), 600);
        assert!(matches!(store.upload(artifact, 601), Err(StoreError::WrongOffset { held: 600, .. })));
        let mut upload = store.upload(artifact, 600).expect("goes on");
        upload.write(&bytes[600..]).expect("writes");
        assert_eq!(upload.finish().expect("finishes"), artifact);
        assert_eq!(store.get(artifact.hash).expect("gets"), bytes);
    }

    #[test]
    fn drafts_go_and_uploads_stay() {
        let (_folder, store) = store();
        let artifact = Artifact { hash: ContentHash::of(b"whole"), size: 5 };
        store.upload(artifact, 0).and_then(|mut upload| upload.write(b"who")).expect("writes");
        let draft = store.root().join("incoming").join(format!("{}.17.0", artifact.hash));
        fs::write(&draft, "wh").expect("writes");
        store.remove_drafts().expect("removes");
        assert!(!draft.try_exists().expect("can be looked for"));
        assert_eq!(store.partial_size(artifact.hash).expect("stats"), 3);
    }

    #[test]
    fn an_upload_of_other_bytes_than_announced_leaves_nothing() {
        let (_folder, store) = store();
        let artifact = Artifact { hash: ContentHash::of(b"right"), size: 5 };
        let mut upload = store.upload(artifact, 0).expect("begins");
        upload.write(b"wrong").expect("writes");
        assert!(matches!(upload.finish(), Err(StoreError::Damaged { .. })));
        let mut upload = store.upload(artifact, 0).expect("begins");
        assert!(matches!(upload.write(b"too long"), Err(StoreError::WrongSize { .. })));
        assert_eq!(store.stat(artifact.hash).expect("stats"), None);
        assert_eq!(store.partial_size(artifact.hash).expect("stats"), 0);
    }
}
