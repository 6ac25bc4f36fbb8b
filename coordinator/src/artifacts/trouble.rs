//! What can go wrong with a bucket, and what helps.

use object_store::{
    Error,
    client::{HttpError, HttpErrorKind},
};

use super::BucketUrl;

/// What can go wrong with a bucket.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} in {bucket}: {trouble}")]
pub struct BucketError {
    /// Where.
    pub bucket: BucketUrl,
    /// What was attempted.
    pub operation: &'static str,
    /// What it was.
    pub trouble: Trouble,
    /// The storage's own words.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The storage answers that there is no such thing.
    #[error("no such bucket: create it, or name another one with --artifacts")]
    NoBucket,
    /// It answers that these credentials may not.
    #[error(
        "the storage refuses the credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may get, put, delete and list objects"
    )]
    Denied,
    /// Nobody has said who asks.
    #[error(
        "no credentials: set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, outside AWS, AWS_ENDPOINT_URL; this machine has no instance role either"
    )]
    NoCredentials,
    /// Nobody answers.
    #[error(
        "cannot reach the storage: check AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that it is running"
    )]
    Unreachable,
    /// What is said of it is not where anything could be.
    #[error(
        "AWS_ENDPOINT_URL and --artifacts-for-workers must start with http:// or https://, as in https://minio.example:9000"
    )]
    Address,
    /// It does not answer in time.
    #[error("the storage timed out")]
    Slow,
    /// What is put there is not what is found there.
    #[error("an object differs from what was uploaded: another program may be writing to the bucket")]
    Changed,
    /// A removal of the file is still under way, for all that is known.
    #[error("the storage has not confirmed a removal of this file, which may still happen")]
    Doubtful,
    /// Credentials and files would be readable on the way.
    #[error(
        "the endpoint is on another machine and starts with http://: use https://, or set AWS_ALLOW_HTTP=true on a trusted network"
    )]
    Clear,
    /// The file that is to be put there cannot be read here.
    #[error("cannot read the local file")]
    Spool,
    /// Anything else.
    #[error("the storage failed")]
    Other,
}

impl Trouble {
    /// What an error of the storage means.
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
