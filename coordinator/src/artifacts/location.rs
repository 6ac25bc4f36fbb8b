//! Where a coordinator's artifacts are, and the note about it in its folder. Without the note, a coordinator that is
//! started with another location would compute everything again without a reason given.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use secateur_worker::store::{Durability, Store, StoreError};

/// The file name of the note.
const NOTE: &str = "artifacts.location";

/// A bucket and a prefix of all names in it: `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketUrl {
    bucket: String,
    /// Without slashes at either end; may be empty.
    prefix: String,
}

/// The error for text that is not the URL of a bucket.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a bucket URL (expected s3://bucket or s3://bucket/prefix)")]
pub struct InvalidBucketUrl(String);

/// Why the artifacts cannot be at the given location.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// They are at another location.
    #[error("the artifacts of {} are in {noted}, not in {asked}: use --artifacts {noted}; or copy them, then remove {}", folder.display(), folder.join(NOTE).display())]
    Elsewhere {
        /// The coordinator's folder.
        folder: PathBuf,
        /// The location in the note.
        noted: BucketUrl,
        /// The given location.
        asked: String,
    },
    /// The folder contains artifacts.
    #[error("{} already holds artifacts, which are not in {bucket}: copy them (aws s3 sync {} {bucket} --exclude 'incoming/*') and move the folder away, or start without --artifacts", files.display(), files.display())]
    Files {
        /// The folder of artifacts.
        files: PathBuf,
        /// The given location.
        bucket: BucketUrl,
    },
    /// The note cannot be read or written.
    #[error("cannot read or write {path}, which records where the artifacts are")]
    Note {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The note is invalid.
    #[error("{path} does not name a location of artifacts")]
    Nonsense {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: InvalidBucketUrl,
    },
    /// The folder cannot be listed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BucketUrl {
    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The prefix of all names in it; may be empty.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl FromStr for BucketUrl {
    type Err = InvalidBucketUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBucketUrl> {
        let invalid = || InvalidBucketUrl(text.chars().take(200).collect());
        let rest = text.strip_prefix("s3://").ok_or_else(invalid)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').filter(|prefix| !prefix.is_empty()).unwrap_or(prefix);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_name = |name: &str| !name.is_empty() && name.chars().all(is_plain) && !matches!(name, "." | "..");
        if !is_name(bucket) || !(prefix.is_empty() || prefix.split('/').all(is_name)) {
            return Err(invalid());
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

/// Returns the bucket in the note in `folder`, or `None` if its artifacts are files in it.
///
/// # Errors
/// If the note cannot be read.
pub fn settled(folder: &Path) -> Result<Option<BucketUrl>, LocationError> {
    let path = folder.join(NOTE);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|source| LocationError::Nonsense { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LocationError::Note { path, source }),
    }
}

/// Notes in `folder` that its artifacts are in `bucket`, or checks an existing note.
///
/// # Errors
/// If the artifacts are at another location, or the note cannot be read or written.
pub fn settle(folder: &Path, bucket: Option<&BucketUrl>) -> Result<(), LocationError> {
    let noted = settled(folder)?;
    match (noted, bucket) {
        (None, None) => Ok(()),
        (Some(noted), Some(bucket)) if noted == *bucket => Ok(()),
        (Some(noted), bucket) => {
            let asked = bucket.map_or_else(|| folder.join("artifacts").display().to_string(), ToString::to_string);
            Err(LocationError::Elsewhere { folder: folder.to_owned(), noted, asked })
        }
        (None, Some(bucket)) => {
            let files = folder.join("artifacts");
            if files.is_dir() && !Store::open(&files, Durability::Synced)?.files()?.is_empty() {
                return Err(LocationError::Files { files, bucket: bucket.clone() });
            }
            let path = folder.join(NOTE);
            fs::write(&path, format!("{bucket}\n")).map_err(|source| LocationError::Note { path, source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_in_one_way() {
        for (text, bucket, prefix) in [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            ("s3://my.bucket-1/team/sweeps", "my.bucket-1", "team/sweeps"),
            ("s3://b/team/", "b", "team"),
        ] {
            let url: BucketUrl = text.parse().expect(text);
            assert_eq!((url.bucket(), url.prefix()), (bucket, prefix), "{text}");
            assert_eq!(url, url.to_string().parse().expect("its own text"));
        }
        for wrong in [
            "",
            "b",
            "s3:b",
            "s3://",
            "s3:///p",
            "S3://b",
            "gs://b",
            "s3://b//",
            "s3://b//p",
            "s3://b/../c",
            "s3://b/.",
            "s3://b?x=1",
            "s3://b/p p",
            "s3://me:secret@b",
        ] {
            assert!(wrong.parse::<BucketUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn artifacts_do_not_change_their_place_unnoticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let [one, other] = ["s3://one/p", "s3://other"].map(|url| url.parse::<BucketUrl>().expect("a bucket"));
        settle(folder.path(), None).expect("files");
        let store = Store::open(folder.path().join("artifacts"), Durability::Cached).expect("opens");
        let file = store.put(b"a file").expect("puts");
        let refused = settle(folder.path(), Some(&one)).expect_err("there is a file").to_string();
        assert!(refused.contains("aws s3 sync"), "{refused}");
        assert_eq!(settled(folder.path()).expect("reads"), None);
        store.remove(file.hash).expect("removes");
        settle(folder.path(), Some(&one)).expect("is noted");
        settle(folder.path(), Some(&one)).expect("is the same");
        assert_eq!(settled(folder.path()).expect("reads"), Some(one));
        for asked in [None, Some(&other)] {
            let refused = settle(folder.path(), asked).expect_err("is elsewhere").to_string();
            assert!(refused.contains("--artifacts s3://one/p"), "{refused}");
        }
    }
}
