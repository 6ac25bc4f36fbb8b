//! Errors of a bucket, and how to fix them.

use object_store::{
    Error,
    client::{HttpError, HttpErrorKind},
};

use super::BucketUrl;

/// An error of a bucket.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} in {bucket}: {trouble}")]
pub struct BucketError {
    /// The bucket.
    pub bucket: BucketUrl,
    /// The operation that failed.
    pub operation: &'static str,
    /// The cause.
    pub trouble: Trouble,
    /// The storage's own message.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The cause of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The bucket does not exist.
    #[error("no such bucket: create it, or name another one with --artifacts")]
    NoBucket,
    /// The storage rejects the credentials.
    #[error(
        "the storage refuses the credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may get, put, delete and list objects"
    )]
    Denied,
    /// There are no credentials.
    #[error(
        "no credentials: set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, outside AWS, AWS_ENDPOINT_URL; this machine has no instance role either"
    )]
    NoCredentials,
    /// The storage does not answer.
    #[error(
        "cannot reach the storage: check AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that it is running"
    )]
    Unreachable,
    /// The endpoint is not a URL.
    #[error(
        "AWS_ENDPOINT_URL and --artifacts-for-workers must start with http:// or https://, as in https://minio.example:9000"
    )]
    Address,
    /// The storage timed out.
    #[error("the storage timed out")]
    Slow,
    /// An object is not what was uploaded.
    #[error("an object differs from what was uploaded: another program may be writing to the bucket")]
    Changed,
    /// A removal of the file was not confirmed and may still happen.
    #[error("the storage has not confirmed a removal of this file, which may still happen")]
    Doubtful,
    /// Credentials and files would be sent unencrypted.
    #[error(
        "the endpoint is on another machine and starts with http://: use https://, or set AWS_ALLOW_HTTP=true on a trusted network"
    )]
    Clear,
    /// The local file to upload cannot be read.
    #[error("cannot read the local file")]
    Spool,
    /// Anything else.
    #[error("the storage failed")]
    Other,
}

impl Trouble {
    /// The cause of an error of the storage.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::NotFound { .. } => return Self::NoBucket,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => return Self::Denied,
            _ => {}
        }
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            match error.downcast_ref::<HttpError>().map(HttpError::kind) {
                Some(HttpErrorKind::Connect | HttpErrorKind::Interrupted | HttpErrorKind::Request) => {
                    return Self::Unreachable;
                }
                Some(HttpErrorKind::Timeout) => return Self::Slow,
                _ => cause = error.source(),
            }
        }
        Self::Other
    }
}
