//! Errors of a store, and how to fix them.

use std::{
    io,
    path::{Path, PathBuf},
};

use secateur_proto::ids::ContentHash;
use tokio::task::JoinError;

use crate::causes::with_causes;

/// An error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("no space left for {path}: free some space, then run the same command again")]
    Full {
        /// The file that was being written.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Any other error of the file system.
    #[error("cannot {operation} {path}")]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// An open file cannot be read to its end.
    #[error("cannot read artifact {hash}")]
    Unreadable {
        /// The name.
        hash: ContentHash,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file does not exist.
    #[error("artifact {0} does not exist")]
    Missing(ContentHash),
    /// The content does not match the name.
    #[error("artifact {expected} is damaged: its content has the hash {found}")]
    Damaged {
        /// The name.
        expected: ContentHash,
        /// The hash of the content.
        found: ContentHash,
    },
    /// The size differs from the announced one.
    #[error("artifact {hash} has {found} bytes, not the {expected} announced")]
    WrongSize {
        /// The name.
        hash: ContentHash,
        /// The announced size.
        expected: u64,
        /// The received size.
        found: u64,
    },
    /// An upload does not continue where it stopped.
    #[error("the upload of {hash} is at byte {held} and cannot continue at byte {offset}")]
    WrongOffset {
        /// The name.
        hash: ContentHash,
        /// Bytes held.
        held: u64,
        /// The offset that the sender wants to continue from.
        offset: u64,
    },
    /// The same file is being uploaded already.
    #[error("another client is uploading the artifact {0}; try again")]
    Busy(ContentHash),
    /// A bug, or the process is ending.
    #[error("a task of the store failed")]
    Task(#[from] JoinError),
}

impl StoreError {
    /// The message for a worker's log, without advice for a command.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Full { path, source } => format!("no space left for {}: {source}", path.display()),
            other => with_causes(other),
        }
    }

    /// Whether freeing disk space helps.
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
