//! Why a coordinator cannot start, or has ended.

use std::{io, net::SocketAddr, path::PathBuf};

use secateur_worker::store::StoreError;

use crate::{
    artifacts::{ArtifactError, BucketError, LocationError},
    identity::IdentityError,
    journal::JournalError,
    security::{certificates::CertificateError, revoked::RevokedError, tokens::TokenError},
};

/// Why a coordinator cannot start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another process has locked the folder.
    #[error("{0} is in use by another secateur: wait for it, or give another folder")]
    InUse(PathBuf),
    /// The folder cannot be used.
    #[error("cannot use the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// An error of the journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An error of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An error of the bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The location of the artifacts is wrong.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The address cannot be used.
    #[error("cannot listen on {address}; another coordinator may be using it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// An error of the tokens.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// A certificate file cannot be read.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// The file of revoked certificates cannot be read.
    #[error(transparent)]
    Revoked(#[from] RevokedError),
    /// It cannot be found out which coordinator this is.
    #[error("cannot find out which coordinator this is")]
    Identity(#[source] IdentityError),
    /// An error of the gRPC server.
    #[error("the gRPC server failed")]
    Serve(#[from] tonic::transport::Error),
    /// A bug.
    #[error("the coordinator ended unexpectedly")]
    Ended,
    /// A bug.
    #[error("a task of the coordinator failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl From<IdentityError> for ServerError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Journal(error) => error.into(),
            other => Self::Identity(other),
        }
    }
}

impl From<ArtifactError> for ServerError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::Store(error) => error.into(),
            ArtifactError::Bucket(error) => error.into(),
            ArtifactError::Task(error) => error.into(),
        }
    }
}

impl ServerError {
    /// Whether freeing disk space helps.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Journal(error) => error.is_full(),
            Self::Store(error) => error.is_full(),
            Self::Folder { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            _ => false,
        }
    }
}
