//! What can go wrong with a store, and what helps.

use std::{
    io,
    path::{Path, PathBuf},
};

use secateur_proto::ids::ContentHash;
use tokio::task::JoinError;

use crate::causes::with_causes;

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("no space left for {path}: free some space, then run the same command again")]
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
    /// A file that was opened cannot be read to its end.
    #[error("cannot read artifact {hash}")]
    Unreadable {
        /// The name.
        hash: ContentHash,
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
    #[error("the upload of {hash} is at byte {held} and cannot continue at byte {offset}")]
    WrongOffset {
        /// The name.
        hash: ContentHash,
        /// Bytes held.
        held: u64,
        /// Where the sender wants to go on.
        offset: u64,
    },
    /// Another upload of the same file is under way.
    #[error("another client is uploading the artifact {0}; try again")]
    Busy(ContentHash),
    /// A defect, or the process ends.
    #[error("a task of the store failed")]
    Task(#[from] JoinError),
}

impl StoreError {
    /// What a worker says of it, to whoever has given it no command.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Full { path, source } => format!("no space left for {}: {source}", path.display()),
            other => with_causes(other),
        }
    }

    /// Whether freeing disk space is what helps.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

pub(super) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path, source },
        _ => StoreError::Io { operation, path, source },
    }
}
