//! Objects in a bucket by the hash of their content, through `object_store`. It knows nothing of touches, uploads and
//! access rights.

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

/// How long a presigned URL is valid. A transfer that has begun may take longer.
const ADDRESS_OPENS: Duration = Duration::from_secs(15 * 60);

/// The timeout of an answer. Copying some gigabytes within a bucket takes longest.
const ANSWER: Duration = Duration::from_secs(120);

/// Files up to this size are uploaded in one request; larger ones in parts of at least this size.
const PART: u64 = 8 << 20;

/// The maximum number of parts of a file. S3 allows 10,000.
const PARTS: u64 = 9000;

/// Parts that are uploaded at the same time.
const PARTS_TOGETHER: usize = 4;

/// The kinds of objects for a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The artifact: complete and verified.
    Held,
    /// An upload by a worker that has not been verified.
    Incoming,
}

/// The metadata of an object.
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
    /// The same bucket by the endpoint that workers use.
    signer: AmazonS3,
    /// Whether the environment configures credentials. If not, an AWS machine may provide some.
    has_credentials: bool,
}

/// The settings that configure credentials.
const CREDENTIALS: [AmazonS3ConfigKey; 4] = [
    AmazonS3ConfigKey::AccessKeyId,
    AmazonS3ConfigKey::WebIdentityTokenFile,
    AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    AmazonS3ConfigKey::ContainerCredentialsFullUri,
];

impl Remote {
    /// Opens the bucket, with endpoint, region and credentials from the variables of an [`environment`]. Presigned URLs
    /// for workers use `worker_endpoint` if the storage has another name there.
    ///
    /// # Errors
    /// If the settings are incomplete, or credentials would be sent unencrypted.
    pub fn open(
        url: BucketUrl,
        worker_endpoint: Option<&str>,
        environment: &[(String, String)],
    ) -> Result<Self, BucketError> {
        let mut builder = AmazonS3Builder::new();
        // An empty variable is an unset one.
        for (name, value) in environment.iter().filter(|(_, value)| !value.is_empty()) {
            // Variables of other programs do not parse.
            if let Ok(key) = name.to_ascii_lowercase().parse() {
                builder = builder.with_config(key, value);
            }
        }
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint).unwrap_or_default();
        let addresses = [Some(endpoint.as_str()).filter(|endpoint| !endpoint.is_empty()), worker_endpoint];
        if !addresses.into_iter().flatten().all(is_address) {
            return Err(BucketError { bucket: url, operation: "write", trouble: Trouble::Address, source: None });
        }
        let allowed = builder.get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
        let here = is_here(&endpoint);
        if endpoint.starts_with("http://") && !here && allowed.as_deref() != Some("true") {
            return Err(BucketError { bucket: url, operation: "write", trouble: Trouble::Clear, source: None });
        }
        let is_said = |key: &AmazonS3ConfigKey| builder.get_config_value(key).is_some();
        if is_said(&AmazonS3ConfigKey::AccessKeyId) != is_said(&AmazonS3ConfigKey::SecretAccessKey) {
            return Err(BucketError { bucket: url, operation: "write", trouble: Trouble::NoCredentials, source: None });
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
            // Files are removed one by one, and not every storage supports bulk deletion.
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

    /// Tries each operation that is needed, with an object of its own.
    ///
    /// # Errors
    /// If an operation fails.
    pub async fn probe(&self) -> Result<(), BucketError> {
        let noise = format!("{} {:?}", std::process::id(), SystemTime::now());
        let hash = ContentHash::of(noise.as_bytes());
        let error = |operation| {
            move |error| {
                let error = failed(&self.url, operation, error);
                let refused = matches!(error.trouble, Trouble::NoBucket | Trouble::Denied);
                // Then the failure is that of the service that provides credentials, not of the storage.
                let trouble = if self.has_credentials || refused { error.trouble } else { Trouble::NoCredentials };
                BucketError { trouble, ..error }
            }
        };
        let [first, second] = ["first", "second"].map(|name| self.path(&format!("probe/{hash}.{name}")));
        self.store.put(&first, noise.clone().into_bytes().into()).await.map_err(error("upload an object"))?;
        // Without permission to list, a missing object looks like one that may not be read.
        match self.store.head(&second).await {
            Err(Error::NotFound { .. }) => {}
            Ok(_) => return Err(self.error("look up an object", Trouble::Changed)),
            Err(source) => return Err(failed(&self.url, "look up a missing object", source)),
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

    /// The metadata of the object of that hash, or `None`.
    pub(super) async fn look(&self, kind: Kind, hash: ContentHash) -> Result<Option<Object>, BucketError> {
        match self.store.head(&self.object(kind, hash)).await {
            Ok(meta) => Ok(Some(Object { size: meta.size, modified: meta.last_modified.into() })),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(&self.url, "look up an object", error)),
        }
    }

    /// Uploads the file of that hash and size. The object exists completely, or not at all.
    pub(super) async fn put_file(&self, hash: ContentHash, file: &FilePath, size: u64) -> Result<(), BucketError> {
        let operation = "upload an object";
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
            // If this fails, it removes the parts itself.
            Ok(()) => parts.finish().await.map(drop).map_err(|error| failed(&self.url, operation, error)),
            Err(error) => {
                // The first error is reported. Remaining parts are not an object.
                let _ = parts.abort().await;
                Err(error)
            }
        }
    }

    /// The bytes from `offset` on, or `None` if there is no such object. Unless `offset` is zero, it must be less than
    /// the size.
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

    /// Copies an uploaded object to the name of the artifact.
    pub(super) async fn accept(&self, hash: ContentHash) -> Result<(), BucketError> {
        let copied = self.store.copy(&self.object(Kind::Incoming, hash), &self.object(Kind::Held, hash)).await;
        copied.map_err(|error| failed(&self.url, "copy an object", error))
    }

    /// Removes an object. It is not an error if it does not exist.
    pub(super) async fn remove(&self, kind: Kind, hash: ContentHash) -> Result<(), BucketError> {
        match self.store.delete(&self.object(kind, hash)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(&self.url, "remove an object", error)),
        }
    }

    /// Every object whose name is valid for an artifact.
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

    /// A presigned URL to download the artifact.
    pub(super) async fn address_to_read(&self, hash: ContentHash) -> Result<SignedUrl, BucketError> {
        let object = self.object(Kind::Held, hash);
        let url = self.signer.signed_url(Method::GET, &object, ADDRESS_OPENS).await;
        let url = url.map_err(|error| failed(&self.url, "presign a URL", error))?;
        Ok(SignedUrl { url: url.into(), headers: [].into() })
    }

    /// A presigned URL to upload an object that is to be [accepted](Self::accept). It fails if the object exists
    /// already, so that an object does not change while it is verified.
    pub(super) async fn address_to_put(&self, hash: ContentHash) -> Result<SignedUrl, BucketError> {
        let object = self.object(Kind::Incoming, hash);
        let anything = HeaderValue::from_static("*");
        let options = SignedUrlOptions::new().with_signed_header(IF_NONE_MATCH, anything);
        let url = self.signer.signed_url_opts(Method::PUT, &object, ADDRESS_OPENS, &options).await;
        let url = url.map_err(|error| failed(&self.url, "presign a URL", error))?;
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

/// The environment variables that configure storage, with the names used by other S3 programs: `AWS_ENDPOINT_URL`,
/// `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and others.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    env::vars_os().filter_map(text).filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty()).collect()
}

fn failed(bucket: &BucketUrl, operation: &'static str, error: Error) -> BucketError {
    BucketError { bucket: bucket.clone(), operation, trouble: Trouble::of(&error), source: Some(error.into()) }
}

/// Whether it is the URL of a server.
fn is_address(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// Whether the URL is on this machine.
fn is_here(url: &str) -> bool {
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
