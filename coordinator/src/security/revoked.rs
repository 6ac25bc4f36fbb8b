//! Certificates that are not accepted any more, in a file of the coordinator's folder. They are known by their names,
//! which are hashes of their keys, so certificates of any authority can be revoked, with all that have the same key.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::{
    certificates::PREFIX,
    file::{self, seconds},
};

/// The name of the file in a coordinator's folder.
pub const FILE: &str = "revoked.json";

const VERSION: u32 = 1;

/// The revoked certificates of a coordinator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    version: u32,
    certificates: BTreeMap<String, Certificate>,
}

/// A revoked certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Its subject, if it is known.
    pub subject: Option<String>,
    /// Seconds since 1970.
    pub revoked_at: u64,
}

/// An error about revoked certificates or their file.
#[derive(Debug, thiserror::Error)]
pub enum RevokedError {
    /// The file cannot be read or written.
    #[error("cannot read or write {path}, the file of revoked certificates")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file is something else.
    #[error("{path} is not a file of revoked certificates")]
    Content {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        #[source]
        source: serde_json::Error,
    },
    /// The file is from a later release.
    #[error("{path} has version {found}; this release supports {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Not the name of a certificate.
    #[error(
        "{0:?} is not the name of a certificate (expected a PEM file, or a name such as {PREFIX}0123456789ab of audit.jsonl)"
    )]
    Name(String),
}

impl Revoked {
    /// Reads those in the folder of a coordinator.
    ///
    /// # Errors
    /// If the file cannot be read or is something else.
    pub fn read(folder: &Path) -> Result<Self, RevokedError> {
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { version: VERSION, ..Self::default() });
            }
            Err(source) => return Err(RevokedError::File { path, source }),
        };
        let read: Self =
            serde_json::from_slice(&bytes).map_err(|source| RevokedError::Content { path: path.clone(), source })?;
        if read.version != VERSION {
            return Err(RevokedError::Version { path, found: read.version });
        }
        Ok(read)
    }

    /// Revokes the certificate of that name. Returns whether it was not revoked before.
    ///
    /// # Errors
    /// If the name is none, or the file cannot be read or written.
    pub fn add(folder: &Path, name: &str, subject: Option<String>, now: SystemTime) -> Result<bool, RevokedError> {
        let is_name = name
            .strip_prefix(PREFIX)
            .is_some_and(|hash| hash.len() == 12 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_name {
            return Err(RevokedError::Name(name.chars().take(80).collect()));
        }
        let path = folder.join(FILE);
        let failed = |source| RevokedError::File { path: path.clone(), source };
        let _lock = file::lock(folder, "revoked.lock").map_err(failed)?;
        let mut revoked = Self::read(folder)?;
        if revoked.holds(name) {
            return Ok(false);
        }
        revoked.certificates.insert(name.to_owned(), Certificate { subject, revoked_at: seconds(now) });
        file::replace(&path, &revoked).map_err(failed)?;
        Ok(true)
    }

    /// Whether the certificate of that name is revoked.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.certificates.contains_key(name)
    }

    /// All of them, by name.
    pub fn list(&self) -> impl Iterator<Item = (&String, &Certificate)> {
        self.certificates.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revoked_certificate_is_written_down() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let name = "certificate-0123456789ab";
        assert!(!Revoked::read(folder).expect("there is none").holds(name));
        assert!(Revoked::add(folder, name, Some("gpu-1".to_owned()), SystemTime::now()).expect("writes"));
        assert!(!Revoked::add(folder, name, None, SystemTime::now()).expect("is one already"));
        let read = Revoked::read(folder).expect("reads");
        assert!(read.holds(name));
        assert_eq!(
            read.list().map(|(_, revoked)| revoked.subject.clone()).collect::<Vec<_>>(),
            [Some("gpu-1".to_owned())]
        );
        for wrong in ["", "gpu-1", "certificate-", "certificate-0123456789az", "certificate-0123456789abc"] {
            assert!(
                matches!(Revoked::add(folder, wrong, None, SystemTime::now()), Err(RevokedError::Name(_))),
                "{wrong}"
            );
        }
        fs::write(folder.join(FILE), "{").expect("writes");
        assert!(matches!(Revoked::read(folder), Err(RevokedError::Content { .. })));
        assert!(Revoked::add(folder, "certificate-0123456789ac", None, SystemTime::now()).is_err());
    }
}
