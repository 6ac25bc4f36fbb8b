//! Files named by the hash of their content: a worker's cache and a coordinator's artifacts.
//!
//! A file under its own name is always whole: it is written elsewhere, checked, and renamed. Its time of modification says when it
//! was last put or asked for. Nothing here knows what the files are for, or of the network.

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
    /// Where `put` leaves files that somebody else is to take over.
    outputs: Option<PathBuf>,
    writes: AtomicU64,
}

/// The folder itself, which uploads have a share of: they may outlive whoever began them.
#[derive(Debug)]
struct Place {
    root: PathBuf,
    durability: Durability,
    /// Written by who removes a file for its age, read by who makes one young: the two must not cross.
    ages: RwLock<()>,
    /// Hashes of uploads under way: two of one hash would write into one file.
    uploads: Mutex<HashSet<ContentHash>>,
}

/// Whether a file that was put is still there after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Flushed to the disk before `put` returns.
    Synced,
    /// Good enough for a cache: a file that a crash leaves damaged is found out by its hash.
    Cached,
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
        let place = Place { root, durability, ages: RwLock::default(), uploads: Mutex::default() };
        Ok(Self { place: Arc::new(place), outputs: None, writes: AtomicU64::new(0) })
    }

    /// The same files, but what is put lands in the folder `outputs`, and can be got from there, until somebody
    /// [adopts](Self::adopt) it.
    #[must_use]
    pub fn with_outputs(self, outputs: PathBuf) -> Self {
        Self { outputs: Some(outputs), ..self }
    }

    /// Makes a folder for the outputs of some process, below the store's own so that a file can be renamed from the one to the
    /// other. What is left of it when that process is gone, [`Self::remove_drafts`] removes.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make_outputs(root: &Path) -> Result<PathBuf, StoreError> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let folder = root.join("incoming").join(format!("outputs.{}.{serial}", std::process::id()));
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        Ok(folder)
    }

    /// Removes what writes that were cut off have left, and folders of outputs. Uploads that can be gone on with stay. Only for
    /// whoever has the folder to itself: a write that is under way would fail.
    ///
    /// # Errors
    /// If the folder cannot be read or a file not be removed.
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

    /// Bytes that are free where it is.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn free(&self) -> Result<u64, StoreError> {
        fs4::available_space(self.root()).map_err(failed("find the free space of", self.root()))
    }

    /// Where the store is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.place.root
    }

    /// Where the file of that hash is, or would be.
    #[must_use]
    pub fn path(&self, hash: ContentHash) -> PathBuf {
        self.place.path(hash)
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
            // The first error is the one to report; a draft that stays is not a file of the store.
            let _ = fs::remove_file(&draft);
        })?;
        Ok(artifact)
    }

    /// Takes over what a process with the folder `outputs` has put.
    ///
    /// # Errors
    /// If it is neither there nor here, or cannot be moved.
    pub fn adopt(&self, outputs: &Path, hash: ContentHash) -> Result<(), StoreError> {
        let made = outputs.join(hash.to_string());
        if made.try_exists().map_err(failed("look for", &made))? {
            return self.place.publish(&made, hash);
        }
        // Another stage of the bundle left the same file.
        self.touch(hash, SystemTime::now())?.map(drop).ok_or(StoreError::Missing(hash))
    }

    /// The whole file, checked against its name.
    ///
    /// # Errors
    /// If it is not there, cannot be read, or is damaged; a damaged file is removed, so that it can be made again.
    pub fn get(&self, hash: ContentHash) -> Result<Vec<u8>, StoreError> {
        // An output is looked for first: adopting it moves it to the second place, never back.
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
        let folder = path.parent().expect("a stored file lies in a folder");
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let file = File::open(draft).map_err(failed("open", draft))?;
        if self.durability == Durability::Synced {
            file.sync_all().map_err(failed("flush", draft))?;
        }
        {
            // The last byte may have come long ago, and only the check now.
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
