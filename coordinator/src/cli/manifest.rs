//! The manifest of a run's folder: the hash of every file in it, written when the folder is complete. The state of a run has one of its
//! own, so that the manifest of the report is the same wherever the sweep was computed.
//!
//! A changed, cut, removed or added file is found by comparing the folder with its manifest. The manifest has one form, so a changed byte of
//! itself is found too. Whoever changes a file and writes a new manifest for it changes the manifest's own hash.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use secateur_proto::ids::ContentHash;
use serde::{Deserialize, Serialize};

use super::{
    error::CliError,
    outputs::{self, STATE},
};

/// Its name in the folder.
pub(crate) const MANIFEST: &str = "manifest.json";

/// The version of its form.
const FORMAT: u32 = 1;

/// The files of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: u32,
    /// The id of the sweep.
    pub(crate) sweep: String,
    /// By path below the folder, with `/` between its parts.
    files: BTreeMap<String, ListedFile>,
    /// Of the rest. It names everything in the folder.
    pub(crate) blake3: ContentHash,
}

/// A file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedFile {
    blake3: ContentHash,
    bytes: u64,
}

impl Manifest {
    /// Lists the files of `folder`.
    ///
    /// # Errors
    /// If one of them cannot be read.
    fn of(folder: &Path, sweep: &str) -> Result<Self, CliError> {
        let mut files = BTreeMap::new();
        for (name, path) in paths(folder)? {
            let file = listed(&path).map_err(|error| unreadable(&path, &error))?;
            files.insert(name, file);
        }
        let blake3 = hash_of(FORMAT, sweep, &files);
        Ok(Self { format: FORMAT, sweep: sweep.to_owned(), files, blake3 })
    }

    /// The only bytes that this manifest is written as.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest is plain data with text keys");
        bytes.push(b'\n');
        bytes
    }

    /// Whether its hash is that of the rest.
    fn is_whole(&self) -> bool {
        self.blake3 == hash_of(self.format, &self.sweep, &self.files)
    }

    /// Reads the manifest of `folder`.
    ///
    /// # Errors
    /// If there is none, or it has been changed.
    pub(crate) fn read(folder: &Path) -> Result<Self, CliError> {
        let path = folder.join(MANIFEST);
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CliError::Failed(format!(
                "{} is missing: the folder is not a complete run, an earlier version wrote it, or the file was removed. \
                 `secateur run` and `secateur report --out` write it",
                path.display()
            )),
            _ => unreadable(&path, &error),
        })?;
        let read: Option<Self> = serde_json::from_slice(&bytes).ok();
        match read {
            Some(manifest) if manifest.format != FORMAT => Err(CliError::Failed(format!(
                "{} has format {}, and this version reads {FORMAT}",
                path.display(),
                manifest.format
            ))),
            Some(manifest) if manifest.is_whole() && manifest.bytes() == bytes => Ok(manifest),
            _ => Err(CliError::Failed(format!("{} was changed: it is not as it was written", path.display()))),
        }
    }

    /// Compares the folder with it. Returns the first file that differs, and how.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn first_difference(&self, folder: &Path) -> Result<Option<String>, CliError> {
        let mut there = paths(folder)?;
        for (name, listed_file) in &self.files {
            let Some(path) = there.remove(name) else { return Ok(Some(format!("{name} is missing"))) };
            let found = listed(&path).map_err(|error| unreadable(&path, &error))?;
            if found.bytes != listed_file.bytes {
                let (found, listed) = (found.bytes, listed_file.bytes);
                return Ok(Some(format!("{name} was changed: it has {found} bytes, and the manifest says {listed}")));
            }
            if found.blake3 != listed_file.blake3 {
                let (found, listed) = (found.blake3, listed_file.blake3);
                return Ok(Some(format!("{name} was changed: its BLAKE3 is {found}, and the manifest says {listed}")));
            }
        }
        Ok(there.keys().next().map(|name| format!("{name} was added: it is not in the manifest")))
    }
}

/// Compares a folder and the state in it with their manifests. Returns that of the folder, and the number of files in both; or the first
/// difference, in words.
///
/// # Errors
/// If a manifest is missing or was changed, or a file cannot be read.
pub(crate) fn compare(folder: &Path) -> Result<(Manifest, Result<usize, String>), CliError> {
    let manifest = Manifest::read(folder)?;
    if let Some(difference) = manifest.first_difference(folder)? {
        return Ok((manifest, Err(difference)));
    }
    let mut files = manifest.files.len();
    let state = folder.join(STATE);
    if state.is_dir() {
        let of_state = Manifest::read(&state)?;
        if let Some(difference) = of_state.first_difference(&state)? {
            return Ok((manifest, Err(format!("{STATE}/{difference}"))));
        }
        files += of_state.files.len();
    }
    Ok((manifest, Ok(files)))
}

/// Writes the manifest of `folder`, which is complete, and that of the state in it.
///
/// # Errors
/// If a file cannot be read, or the manifest not written.
pub(crate) async fn write(folder: &Path, sweep: &str) -> Result<(), CliError> {
    let (folder, sweep) = (folder.to_owned(), sweep.to_owned());
    let writing = tokio::task::spawn_blocking(move || {
        for folder in [folder.join(STATE), folder] {
            if folder.is_dir() {
                let path = folder.join(MANIFEST);
                let manifest = Manifest::of(&folder, &sweep)?;
                outputs::write_whole(&path, &manifest.bytes()).map_err(|error| outputs::unwritable(&path, &error))?;
            }
        }
        Ok(())
    });
    writing.await.map_err(|error| CliError::failed(&error))?
}

/// Removes the manifest of a folder that is about to change.
///
/// # Errors
/// If it cannot be removed.
#[cfg(feature = "worker")]
pub(crate) fn remove(folder: &Path) -> Result<(), CliError> {
    for path in [folder.join(MANIFEST), folder.join(STATE).join(MANIFEST)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(outputs::unwritable(&path, &error)),
            _ => {}
        }
    }
    Ok(())
}

fn hash_of(format: u32, sweep: &str, files: &BTreeMap<String, ListedFile>) -> ContentHash {
    ContentHash::of(&serde_json::to_vec(&(format, sweep, files)).expect("plain data with text keys"))
}

fn unreadable(path: &Path, error: &io::Error) -> CliError {
    CliError::Failed(format!("cannot read {}: {error}", path.display()))
}

fn listed(path: &Path) -> io::Result<ListedFile> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(ListedFile { blake3: ContentHash::from(hasher.finalize()), bytes: hasher.count() })
}

/// Every file below `folder` but the manifest and the state of a run, by its name there. A link counts as a file, whatever it leads to.
fn paths(folder: &Path) -> Result<BTreeMap<String, PathBuf>, CliError> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, path)) = folders.pop() {
        let entries = fs::read_dir(&path).map_err(|error| unreadable(&path, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&path, &error))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().map_err(|error| unreadable(&entry.path(), &error))?;
            if kind.is_dir() && name == STATE {
                continue;
            }
            if kind.is_dir() {
                folders.push((format!("{name}/"), entry.path()));
            } else if name != MANIFEST {
                found.insert(name, entry.path());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(folder: &Path) -> Option<String> {
        match compare(folder) {
            Ok((_, compared)) => compared.err(),
            Err(error) => Some(error.message()),
        }
    }

    /// Every byte of every file, the manifest's own included.
    #[tokio::test]
    async fn whatever_is_changed_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        for (name, content) in [
            ("report.json", "{\"a\": 1}"),
            ("models/net", "\u{0}\u{1}\u{2}"),
            ("models/empty", ""),
            (".secateur/journal.db", "lines"),
        ] {
            outputs::write_whole(&folder.join(name), content.as_bytes()).expect("written");
        }
        write(folder, "0123456789ab").await.expect("written");
        assert_eq!(difference(folder), None);
        let mut files = paths(folder).expect("readable");
        for name in [MANIFEST, ".secateur/manifest.json", ".secateur/journal.db"] {
            files.insert(name.to_owned(), folder.join(name));
        }
        for (name, path) in files {
            let bytes = fs::read(&path).expect("a file");
            let found = |what: &str, changed: Option<&[u8]>| {
                match changed {
                    Some(changed) => fs::write(&path, changed).expect("written"),
                    None => fs::remove_file(&path).expect("removed"),
                }
                let difference = difference(folder).unwrap_or_else(|| panic!("{name}, {what}: not found"));
                assert!(difference.contains(&name), "{name}, {what}: {difference}");
            };
            for place in 0..bytes.len() {
                for bit in [0, 7] {
                    let mut changed = bytes.clone();
                    changed[place] ^= 1 << bit;
                    found(&format!("bit {bit} of byte {place}"), Some(&changed));
                }
                found(&format!("cut at {place}"), Some(&bytes[..place]));
            }
            found("longer", Some(&[bytes.as_slice(), b" "].concat()));
            found("removed", None);
            fs::write(&path, &bytes).expect("as it was");
            assert_eq!(difference(folder), None);
        }
        for name in ["added", "models/added", ".secateur/added"] {
            let path = folder.join(name);
            outputs::write_whole(&path, b"").expect("written");
            assert!(difference(folder).is_some_and(|found| found.starts_with(name)), "{name}");
            fs::remove_file(&path).expect("removed");
        }
    }
}
