//! The files in the folder of a store, their ages, and their removal.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::PoisonError,
    time::SystemTime,
};

use secateur_proto::{ids::ContentHash, outcome::Artifact};

use super::{Store, StoreError, error::failed};

/// A file in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub hash: ContentHash,
    /// Bytes on the disk.
    pub size: u64,
    /// Whether it is complete; otherwise it is a partial upload.
    pub whole: bool,
    /// When it was last uploaded, written or touched.
    pub modified: SystemTime,
}

impl Store {
    /// Marks a file, or a partial upload, as used at `at`. Returns the artifact if it is complete.
    ///
    /// # Errors
    /// If the folder cannot be read or the time cannot be set.
    pub fn touch(&self, hash: ContentHash, at: SystemTime) -> Result<Option<Artifact>, StoreError> {
        let _young = self.place.ages.read().unwrap_or_else(PoisonError::into_inner);
        let mut held = None;
        for whole in [false, true] {
            let path = self.place(hash, whole);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("open", &path)(error)),
            };
            file.set_modified(at).map_err(failed("touch", &path))?;
            let size = file.metadata().map_err(failed("look for", &path))?.len();
            held = whole.then_some(Artifact { hash, size });
        }
        Ok(held)
    }

    /// Every file and every partial upload, in no particular order. Files whose names are not those of a store are
    /// ignored.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn files(&self) -> Result<Vec<Stored>, StoreError> {
        let mut files = Vec::new();
        for folder in names(self.root())? {
            let is_partial = folder == "incoming";
            let path = self.root().join(&folder);
            if !is_partial && (folder.len() != 2 || !path.is_dir()) {
                continue;
            }
            for name in names(&path)? {
                if let Ok(hash) = name.parse::<ContentHash>()
                    && (is_partial || name.starts_with(&folder))
                {
                    files.extend(self.look(hash, !is_partial)?);
                }
            }
        }
        Ok(files)
    }

    /// The file of that hash, a partial upload, or both.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn kept(&self, hash: ContentHash) -> Result<Vec<Stored>, StoreError> {
        Ok([self.look(hash, true)?, self.look(hash, false)?].into_iter().flatten().collect())
    }

    fn look(&self, hash: ContentHash, whole: bool) -> Result<Option<Stored>, StoreError> {
        let path = self.place(hash, whole);
        let found = fs::metadata(&path).and_then(|file| Ok((file.len(), file.modified()?)));
        match found {
            Ok((size, modified)) => Ok(Some(Stored { hash, size, whole, modified })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("look for", &path)(error)),
        }
    }

    /// Removes a listed file, unless it is gone or was modified since `before`. A concurrent touch or upload either
    /// succeeds in time or finds it gone. Returns whether it removed the file.
    ///
    /// # Errors
    /// If it cannot be read or removed.
    pub fn remove_old(&self, file: &Stored, before: SystemTime) -> Result<bool, StoreError> {
        let _alone = self.place.ages.write().unwrap_or_else(PoisonError::into_inner);
        if self.look(file.hash, file.whole)?.is_none_or(|now| now.modified >= before) {
            return Ok(false);
        }
        self.remove_one(file.hash, file.whole)
    }

    /// Removes everything that [`Self::kept`] returns.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, hash: ContentHash) -> Result<(), StoreError> {
        self.remove_one(hash, true)?;
        self.remove_one(hash, false)?;
        Ok(())
    }

    fn remove_one(&self, hash: ContentHash, whole: bool) -> Result<bool, StoreError> {
        let path = self.place(hash, whole);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("remove", &path)(error)),
        }
    }

    fn place(&self, hash: ContentHash, whole: bool) -> PathBuf {
        if whole { self.path(hash) } else { self.place.partial_path(hash) }
    }
}

/// The file names in a folder that are text.
fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(failed("read", folder))?;
    Ok(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}
