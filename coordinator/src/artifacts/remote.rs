//! Objects in a bucket by the hash of their content, through `object_store`. It knows nothing of touches, uploads and who may read what.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    net::IpAddr,
    path::Path as FilePath,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::{
    BackoffConfig, Error, GetOptions, GetRange, HeaderValue, ObjectStore as _, ObjectStoreExt as _, RetryConfig,
    WriteMultipart,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    client::ClientConfigKey,
    path::Path,
    signer::{SignedUrlOptions, Signer as _},
};
use secateur_proto::{ids::ContentHash, v1::SignedUrl};
use secateur_worker::threads::on_a_thread;
use tonic::codegen::http::{Method, header::IF_NONE_MATCH, uri::Uri};

use super::{BucketError, BucketUrl, Trouble, connector::Connector};

/// How long an address that was signed opens. A transfer that has begun by then goes on.
const ADDRESS_OPENS: Duration = Duration::from_secs(15 * 60);

/// How long an answer may take. Copying some gigabytes within a bucket is the longest that is asked for.
const ANSWER: Duration = Duration::from_secs(120);

/// Bytes that are put in one request; larger files are put in parts of at least this size.
const PART: u64 = 8 << 20;

/// Parts that a file may have. S3 allows 10,000.
const PARTS: u64 = 9000;

/// Parts under way at a time.
const PARTS_TOGETHER: usize = 4;

/// Which of the objects of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The artifact: whole, and checked.
    Held,
    /// What somebody put there, and nobody has looked at.
    Incoming,
}

/// An object as it lies there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object {
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

/// A bucket.
#[derive(Debug, Clone)]
pub struct Remote {
    url: BucketUrl,
    store: AmazonS3,
    /// The same by the name that workers know it by.
    signer: AmazonS3,
    /// Whether the environment says where credentials are. If not, the machine may be one of Amazon's, which hands some out.
    has_credentials: bool,
}

/// What says where credentials are.
const CREDENTIALS: [AmazonS3ConfigKey; 4] = [
    AmazonS3ConfigKey::AccessKeyId,
    AmazonS3ConfigKey::WebIdentityTokenFile,
    AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    AmazonS3ConfigKey::ContainerCredentialsFullUri,
];

impl Remote {
    /// The bucket, with endpoint, region and credentials from the variables of an [`environment`]. Workers are given addresses at
    /// `worker_endpoint`, where they know the storage by another name.
    ///
    /// # Errors
    /// If that is not enough to ask for anything, or credentials would travel in the clear.
    pub fn open(
        url: BucketUrl,
        worker_endpoint: Option<&str>,
        environment: &[(String, String)],
    ) -> Result<Self, BucketError> {
        let mut builder = AmazonS3Builder::new();
        // A variable that is there and empty says nothing.
        for (name, value) in environment.iter().filter(|(_, value)| !value.is_empty()) {
            // Other programs have further ones.
            if let Ok(key) = name.to_ascii_lowercase().parse() {
                builder = builder.with_config(key, value);
            }
        }
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint).unwrap_or_default();
        let addresses = [Some(endpoint.as_str()).filter(|endpoint| !endpoint.is_empty()), worker_endpoint];
        if !addresses.into_iter().flatten().all(is_address) {
            return Err(BucketError { bucket: url, operation: "work", trouble: Trouble::Address, source: None });
        }
        let allowed = builder.get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
        let here = is_here(&endpoint);
        if endpoint.starts_with("http://") && !here && allowed.as_deref() != Some("true") {
            return Err(BucketError { bucket: url, operation: "work", trouble: Trouble::Clear, source: None });
        }
        let is_said = |key: &AmazonS3ConfigKey| builder.get_config_value(key).is_some();
        if is_said(&AmazonS3ConfigKey::AccessKeyId) != is_said(&AmazonS3ConfigKey::SecretAccessKey) {
            return Err(BucketError { bucket: url, operation: "work", trouble: Trouble::NoCredentials, source: None });
        }
        let has_credentials = CREDENTIALS.iter().any(is_said);
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: 5,
            retry_timeout: Duration::from_secs(20),
        };
        let builder = builder
            .with_bucket_name(url.bucket())
            .with_retry(retry)
            // Files go one at a time, and not every storage can remove several.
            .with_disable_bulk_delete(true)
            .with_http_connector(Connector { answer: ANSWER });
        let builder = if here { builder.with_allow_http(true) } else { builder };
        let failed = |error| failed(&url, "work", error);
        let store = builder.clone().build().map_err(failed)?;
        let signer = match worker_endpoint {
            None => store.clone(),
            Some(endpoint) => builder.with_endpoint(endpoint.trim_end_matches('/')).build().map_err(failed)?,
        };
        Ok(Self { url, store, signer, has_credentials })
    }

    /// Where it is.
    #[must_use]
    pub const fn url(&self) -> &BucketUrl {
        &self.url
    }

    /// Does once all that will be done there, with an object of its own.
    ///
    /// # Errors
    /// If any of it cannot be done.
    pub async fn probe(&self) -> Result<(), BucketError> {
        let noise = format!("{} {:?}", std::process::id(), SystemTime::now());
        let hash = ContentHash::of(noise.as_bytes());
        let error = |operation| {
            move |error| {
                let error = failed(&self.url, operation, error);
                let refused = matches!(error.trouble, Trouble::NoBucket | Trouble::Denied);
                // What was asked is where they could be had, and not the storage.
                let trouble = if self.has_credentials || refused { error.trouble } else { Trouble::NoCredentials };
                BucketError { trouble, ..error }
            }
        };
        let [first, second] = ["first", "second"].map(|name| self.path(&format!("probe/{hash}.{name}")));
        self.store.put(&first, noise.clone().into_bytes().into()).await.map_err(error("put an object"))?;
        // Without the right to list, a missing object is answered like one that may not be read.
        match self.store.head(&second).await {
            Err(Error::NotFound { .. }) => {}
            Ok(_) => return Err(self.error("ask for an object", Trouble::Changed)),
            Err(source) => return Err(failed(&self.url, "ask for an object that is not there", source)),
        }
        self.store.copy(&first, &second).await.map_err(error("copy an object"))?;
        let read = self.store.get(&second).await.map_err(error("read an object"))?;
        let read = read.bytes().await.map_err(error("read an object"))?;
        if read != noise.as_bytes() {
            return Err(self.error("read an object", Trouble::Changed));
        }
        let mut listed = self.store.list(Some(&self.path("probe")));
        listed.try_next().await.map_err(error("list objects"))?;
        for path in [first, second] {
            self.store.delete(&path).await.map_err(error("remove an object"))?;
        }
        Ok(())
    }

    /// What there is under that hash.
    pub(super) async fn look(&self, kind: Kind, hash: ContentHash) -> Result<Option<Object>, BucketError> {
        match self.store.head(&self.object(kind, hash)).await {
            Ok(meta) => Ok(Some(Object { size: meta.size, modified: meta.last_modified.into() })),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(&self.url, "ask for an object", error)),
        }
    }

    /// Puts the file of that hash there, which has so many bytes. It is there whole, or not at all.
    pub(super) async fn put_file(&self, hash: ContentHash, file: &FilePath, size: u64) -> Result<(), BucketError> {
        let operation = "put an object";
        let object = self.object(Kind::Held, hash);
        let unreadable = |source: io::Error| BucketError {
            bucket: self.url.clone(),
            operation,
            trouble: Trouble::Spool,
            source: Some(source.into()),
        };
        let file = Arc::new(File::open(file).map_err(unreadable)?);
        let read = async |most: u64| {
            let file = Arc::clone(&file);
            let read = move || {
                let mut bytes = Vec::new();
                (&*file).take(most).read_to_end(&mut bytes).map(|_| bytes)
            };
            on_a_thread(read).await.map_err(io::Error::other)?
        };
        if size <= PART {
            let bytes = read(size).await.map_err(unreadable)?;
            return self.store.put(&object, bytes.into()).await.map(drop).map_err(|e| failed(&self.url, operation, e));
        }
        let part = PART.max(size.div_ceil(PARTS));
        let upload = self.store.put_multipart(&object).await.map_err(|e| failed(&self.url, operation, e))?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, usize::try_from(part).unwrap_or(usize::MAX));
        let written = loop {
            match read(part).await {
                Ok(bytes) if bytes.is_empty() => break Ok(()),
                Ok(bytes) => parts.put(bytes.into()),
                Err(error) => break Err(unreadable(error)),
            }
            if let Err(error) = parts.wait_for_capacity(PARTS_TOGETHER).await {
                break Err(failed(&self.url, operation, error));
            }
        };
        match written {
            // It removes its parts itself if it fails.
            Ok(()) => parts.finish().await.map(drop).map_err(|error| failed(&self.url, operation, error)),
            Err(error) => {
                // The first error is the one to report. Parts that stay are no object.
                let _ = parts.abort().await;
                Err(error)
            }
        }
    }

    /// The bytes from `offset` on, which must be less than the size unless it is zero; nothing if there is no such object.
    pub(super) async fn read(
        &self,
        kind: Kind,
        hash: ContentHash,
        offset: u64,
    ) -> Result<Option<impl Stream<Item = Result<Vec<u8>, BucketError>> + Send + use<>>, BucketError> {
        let operation = "read an object";
        let range = (offset > 0).then_some(GetRange::Offset(offset));
        let options = GetOptions { range, ..GetOptions::default() };
        let url = self.url.clone();
        match self.store.get_opts(&self.object(kind, hash), options).await {
            Ok(found) => Ok(Some(found.into_stream().map(move |piece| match piece {
                Ok(bytes) => Ok(bytes.into()),
                Err(error) => Err(failed(&url, operation, error)),
            }))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(&self.url, operation, error)),
        }
    }

    /// Makes what arrived the artifact.
    pub(super) async fn accept(&self, hash: ContentHash) -> Result<(), BucketError> {
        let copied = self.store.copy(&self.object(Kind::Incoming, hash), &self.object(Kind::Held, hash)).await;
        copied.map_err(|error| failed(&self.url, "copy an object", error))
    }

    /// Removes an object; that it is gone already is as good.
    pub(super) async fn remove(&self, kind: Kind, hash: ContentHash) -> Result<(), BucketError> {
        match self.store.delete(&self.object(kind, hash)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(&self.url, "remove an object", error)),
        }
    }

    /// Every object that has the name of one of ours.
    pub(super) async fn list(&self) -> Result<Vec<(Kind, ContentHash, Object)>, BucketError> {
        let root = self.path("");
        let mut listed = self.store.list((!self.url.prefix().is_empty()).then_some(&root));
        let mut found = Vec::new();
        while let Some(meta) = listed.try_next().await.map_err(|error| failed(&self.url, "list objects", error))? {
            let object = Object { size: meta.size, modified: meta.last_modified.into() };
            let Some(parts) = meta.location.prefix_match(&root) else { continue };
            let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            if let [folder, name] = parts.as_slice()
                && let Ok(hash) = name.parse::<ContentHash>()
            {
                let kind = if folder == "incoming" { Kind::Incoming } else { Kind::Held };
                if meta.location == self.object(kind, hash) {
                    found.push((kind, hash, object));
                }
            }
        }
        Ok(found)
    }

    /// Where the artifact can be read without credentials, for a short while.
    pub(super) async fn address_to_read(&self, hash: ContentHash) -> Result<SignedUrl, BucketError> {
        let object = self.object(Kind::Held, hash);
        let url = self.signer.signed_url(Method::GET, &object, ADDRESS_OPENS).await;
        let url = url.map_err(|error| failed(&self.url, "sign an address", error))?;
        Ok(SignedUrl { url: url.into(), headers: [].into() })
    }

    /// Where it can be put without credentials, for a short while, to be [accepted](Self::accept), and only if nothing is there:
    /// what is being looked at stays as it is.
    pub(super) async fn address_to_put(&self, hash: ContentHash) -> Result<SignedUrl, BucketError> {
        let object = self.object(Kind::Incoming, hash);
        let anything = HeaderValue::from_static("*");
        let options = SignedUrlOptions::new().with_signed_header(IF_NONE_MATCH, anything);
        let url = self.signer.signed_url_opts(Method::PUT, &object, ADDRESS_OPENS, &options).await;
        let url = url.map_err(|error| failed(&self.url, "sign an address", error))?;
        let headers = [(IF_NONE_MATCH.to_string(), "*".to_owned())].into();
        Ok(SignedUrl { url: url.into(), headers })
    }

    pub(super) fn error(&self, operation: &'static str, trouble: Trouble) -> BucketError {
        BucketError { bucket: self.url.clone(), operation, trouble, source: None }
    }

    fn object(&self, kind: Kind, hash: ContentHash) -> Path {
        let name = hash.to_string();
        match kind {
            Kind::Held => self.path(&format!("{}/{name}", &name[..2])),
            Kind::Incoming => self.path(&format!("incoming/{name}")),
        }
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.url.prefix()))
    }
}

/// The variables of this process that say how to reach storage, as other programs for S3 have them: `AWS_ENDPOINT_URL`, `AWS_REGION`,
/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and others.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    env::vars_os().filter_map(text).filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty()).collect()
}

fn failed(bucket: &BucketUrl, operation: &'static str, error: Error) -> BucketError {
    BucketError { bucket: bucket.clone(), operation, trouble: Trouble::of(&error), source: Some(error.into()) }
}

/// Whether that is the URL of a server.
fn is_address(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// Whether what is sent to that URL stays on this machine.
fn is_here(url: &str) -> bool {
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
