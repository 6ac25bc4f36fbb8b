//! Files named by the hash of their content: a worker's cache and a coordinator's artifacts.
//!
//! A file under its final name is always complete: it is written elsewhere, verified, and renamed. Its modification
//! time is the time of its last upload or use. The store does not know what the files are for, nor the network.

mod error;
mod files;
mod upload;

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use secateur_proto::{ids::ContentHash, outcome::Artifact};

use self::error::failed;
pub use self::{error::StoreError, files::Stored, upload::Upload};

/// A folder of files by hash.
#[derive(Debug)]
pub struct Store {
    place: Arc<Place>,
    /// The folder in which `put` leaves files for another process to adopt.
    outputs: Option<PathBuf>,
    writes: AtomicU64,
}

/// The folder itself. Uploads share it, because they may outlive the store.
#[derive(Debug)]
struct Place {
    root: PathBuf,
    durability: Durability,
    /// Write-locked to remove old files, and read-locked to touch a file, so that the two do not overlap.
    ages: RwLock<()>,
    /// Hashes of current uploads. Two uploads of one hash would write to the same file.
    uploads: Mutex<HashSet<ContentHash>>,
}

/// Whether a stored file survives a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Flushed to the disk before `put` returns.
    Synced,
    /// Not flushed. Good enough for a cache: a file that a crash damages is detected by its hash.
    Cached,
}

impl Store {
    /// Opens the folder, and creates it if it does not exist.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn open(root: impl Into<PathBuf>, durability: Durability) -> Result<Self, StoreError> {
        let root = root.into();
        for folder in [root.clone(), root.join("incoming")] {
            fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        }
        let place = Place { root, durability, ages: RwLock::default(), uploads: Mutex::default() };
        Ok(Self { place: Arc::new(place), outputs: None, writes: AtomicU64::new(0) })
    }

    /// The same store, but `put` writes to the folder `outputs`. Files can be read from there until they are
    /// [adopted](Self::adopt).
    #[must_use]
    pub fn with_outputs(self, outputs: PathBuf) -> Self {
        Self { outputs: Some(outputs), ..self }
    }

    /// Creates a folder for the outputs of a process inside the store's folder, so that files can be renamed from one
    /// to the other. When the process is gone, [`Self::remove_drafts`] removes the rest.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn make_outputs(root: &Path) -> Result<PathBuf, StoreError> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let folder = root.join("incoming").join(format!("outputs.{}.{serial}", std::process::id()));
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        Ok(folder)
    }

    /// Removes the rest of interrupted writes, and folders of outputs. Keeps partial uploads. Requires exclusive use of
    /// the folder, because current writes would fail.
    ///
    /// # Errors
    /// If the folder cannot be read or a file cannot be removed.
    pub fn remove_drafts(&self) -> Result<(), StoreError> {
        let incoming = self.place.incoming();
        for entry in fs::read_dir(&incoming).map_err(failed("read", &incoming))? {
            let path = entry.map_err(failed("read", &incoming))?.path();
            if path.extension().is_some() {
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    /// The free space in bytes.
    ///
    /// # Errors
    /// If the system does not report it.
    pub fn free(&self) -> Result<u64, StoreError> {
        fs4::available_space(self.root()).map_err(failed("find the free space of", self.root()))
    }

    /// The folder of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.place.root
    }

    /// The path of the file of that hash, whether it exists or not.
    #[must_use]
    pub fn path(&self, hash: ContentHash) -> PathBuf {
        self.place.path(hash)
    }

    /// Returns the artifact if it is complete, otherwise `None`.
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

    /// Stores `bytes` and returns their name.
    ///
    /// # Errors
    /// If they cannot be written. Nothing is left behind then.
    pub fn put(&self, bytes: &[u8]) -> Result<Artifact, StoreError> {
        let hash = ContentHash::of(bytes);
        let artifact = Artifact { hash, size: bytes.len() as u64 };
        if self.outputs.is_none() && self.touch(hash, SystemTime::now())?.is_some() {
            return Ok(artifact);
        }
        let serial = self.writes.fetch_add(1, Ordering::Relaxed);
        let drafts = self.outputs.clone().unwrap_or_else(|| self.place.incoming());
        let draft = drafts.join(format!("{hash}.{}.{serial}", std::process::id()));
        let written = File::create(&draft).and_then(|mut file| file.write_all(bytes)).map_err(failed("write", &draft));
        let published = written.and_then(|()| match &self.outputs {
            None => self.place.publish(&draft, hash),
            Some(outputs) => fs::rename(&draft, outputs.join(hash.to_string())).map_err(failed("write", &draft)),
        });
        published.inspect_err(|_| {
            // The first error is reported; a remaining draft is not a file of the store.
            let _ = fs::remove_file(&draft);
        })?;
        Ok(artifact)
    }

    /// Takes over a file that a process with the folder `outputs` has stored.
    ///
    /// # Errors
    /// If it exists in neither folder, or cannot be moved.
    pub fn adopt(&self, outputs: &Path, hash: ContentHash) -> Result<(), StoreError> {
        let made = outputs.join(hash.to_string());
        if made.try_exists().map_err(failed("look for", &made))? {
            return self.place.publish(&made, hash);
        }
        // Another stage of the bundle made the same file.
        self.touch(hash, SystemTime::now())?.map(drop).ok_or(StoreError::Missing(hash))
    }

    /// Reads the whole file and verifies it.
    ///
    /// # Errors
    /// If it does not exist, cannot be read, or is corrupt. A corrupt file is removed, so that it can be made again.
    pub fn get(&self, hash: ContentHash) -> Result<Vec<u8>, StoreError> {
        // The output first: adopting moves it to the second place, never back.
        let output = self.outputs.iter().map(|outputs| outputs.join(hash.to_string()));
        let mut found = None;
        for path in output.chain([self.path(hash)]) {
            match fs::read(&path) {
                Ok(bytes) => {
                    found = Some((path, bytes));
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("read", &path)(error)),
            }
        }
        let (path, bytes) = found.ok_or(StoreError::Missing(hash))?;
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
    /// If it does not exist or cannot be read.
    pub fn reader(&self, hash: ContentHash, offset: u64) -> Result<impl Read + Send + use<>, StoreError> {
        let path = self.path(hash);
        let mut file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(hash),
            _ => failed("open", &path)(error),
        })?;
        file.seek(SeekFrom::Start(offset)).map_err(failed("read", &path))?;
        Ok(file)
    }
}

impl Place {
    fn path(&self, hash: ContentHash) -> PathBuf {
        let name = hash.to_string();
        self.root.join(&name[..2]).join(name)
    }

    fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    fn publish(&self, draft: &Path, hash: ContentHash) -> Result<(), StoreError> {
        let path = self.path(hash);
        let folder = path.parent().expect("a stored file is in a folder");
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let file = File::open(draft).map_err(failed("open", draft))?;
        if self.durability == Durability::Synced {
            file.sync_all().map_err(failed("flush", draft))?;
        }
        {
            // The last byte may have arrived long before the verification.
            let _young = self.ages.read().unwrap_or_else(PoisonError::into_inner);
            file.set_modified(SystemTime::now()).map_err(failed("touch", draft))?;
            fs::rename(draft, &path).map_err(failed("write", &path))?;
        }
        if self.durability == Durability::Synced {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("flush", folder))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
