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
    #[error("there is no such bucket, or it was removed: make it, or name another one with --artifacts")]
    NoBucket,
    /// It answers that these credentials may not.
    #[error(
        "the storage refuses the credentials: are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY right, and may they get, put, delete and list objects there?"
    )]
    Denied,
    /// Nobody has said who asks.
    #[error(
        "no credentials are in the environment: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT_URL for storage that is not Amazon's; nor does this machine hand any out"
    )]
    NoCredentials,
    /// Nobody answers.
    #[error(
        "the storage cannot be reached: are AWS_ENDPOINT_URL and AWS_REGION right, are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY set, and does it run?"
    )]
    Unreachable,
    /// What is said of it is not where anything could be.
    #[error(
        "AWS_ENDPOINT_URL and --artifacts-for-workers name it with http:// or https://, as in https://minio.example:9000"
    )]
    Address,
    /// It does not answer in time.
    #[error("the storage does not answer in time")]
    Slow,
    /// What is put there is not what is found there.
    #[error("what was put there is not what is found there: is something else writing to it?")]
    Changed,
    /// A removal of the file is still under way, for all that is known.
    #[error("a removal of this file was not answered, and may still happen")]
    Doubtful,
    /// Credentials and files would be readable on the way.
    #[error(
        "the endpoint begins with http:// and is not on this machine: name it with https://, or set AWS_ALLOW_HTTP=true if the network is yours"
    )]
    Clear,
    /// The file that is to be put there cannot be read here.
    #[error("the file cannot be read here")]
    Spool,
    /// Anything else.
    #[error("the storage fails")]
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
