//! Direct transfers: reads and writes files at presigned URLs of the storage. If the storage cannot be reached, one
//! warning is logged, and for a while the coordinator transfers the files instead. It knows no store and no artifact
//! service: callers verify the content.

use std::{
    convert::Infallible,
    fmt,
    io::Read,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Frame, Incoming},
    header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, RANGE},
};
use secateur_proto::v1::SignedUrl;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::{
    causes::with_causes,
    http::{self, HttpClient, NoCertificates, SILENCE},
    transfer::chunks,
};

/// The timeout of an answer if nothing was sent.
const ANSWER: Duration = Duration::from_secs(60);

/// The assumed minimum upload speed in bytes per second.
const SLOWEST: u64 = 256 << 10;

/// How long direct transfers are suspended after the storage could not be reached.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Why a direct transfer failed. It never contains the URL, because that contains a signature.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// The URL from the coordinator is invalid.
    #[error("the coordinator sent an invalid presigned URL")]
    Address,
    /// The connection failed or broke.
    #[error("the storage cannot be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    /// The connection broke during a transfer.
    #[error("the connection to the storage broke")]
    Broken(#[source] hyper::Error),
    /// The storage timed out.
    #[error("the storage timed out")]
    Silent,
    /// The storage refuses.
    #[error("the storage answered {0}")]
    Refused(StatusCode),
    /// The upload succeeded, but the coordinator found something else.
    #[error("the coordinator refused the upload: {0}")]
    NotTaken(String),
}

impl DirectError {
    /// Whether the error concerns this file only, so that the next may succeed.
    fn is_of_one_file(&self) -> bool {
        matches!(self, Self::NotTaken(_) | Self::Refused(StatusCode::NOT_FOUND | StatusCode::CONFLICT))
    }
}

/// A presigned URL, for one method and one object.
pub struct Address {
    uri: Uri,
    headers: HeaderMap,
}

/// Hides the signature.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("authority", &self.uri.authority()).finish_non_exhaustive()
    }
}

impl TryFrom<SignedUrl> for Address {
    type Error = DirectError;

    fn try_from(message: SignedUrl) -> Result<Self, DirectError> {
        let uri: Uri = message.url.parse().map_err(|_| DirectError::Address)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(DirectError::Address);
        }
        let header = |(name, value): (&String, &String)| {
            let name = HeaderName::try_from(name).map_err(|_| DirectError::Address)?;
            Ok((name, HeaderValue::try_from(value).map_err(|_| DirectError::Address)?))
        };
        let headers = message.headers.iter().map(header).collect::<Result<HeaderMap, DirectError>>()?;
        Ok(Self { uri, headers })
    }
}

type Sent = UnsyncBoxBody<Bytes, Infallible>;

/// The state of direct transfers.
#[derive(Debug, Clone, Copy)]
enum Way {
    Untried,
    Open,
    /// Suspended until then.
    Closed(Instant),
}

/// Direct transfers of one worker.
#[derive(Debug)]
pub struct Direct {
    client: HttpClient<Sent>,
    way: Mutex<Way>,
}

impl Direct {
    /// Direct transfers that were not tried yet.
    ///
    /// # Errors
    /// If the system has no trusted certificates.
    pub fn new() -> Result<Self, NoCertificates> {
        Ok(Self { client: http::client()?, way: Mutex::new(Way::Untried) })
    }

    /// Whether direct transfers should be tried.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match *self.way.lock().unwrap_or_else(PoisonError::into_inner) {
            Way::Untried | Way::Open => true,
            Way::Closed(until) => Instant::now() >= until,
        }
    }

    /// As [`Self::new`], but logs a warning and returns `None` on an error.
    #[must_use]
    pub fn or_none() -> Option<Arc<Self>> {
        match Self::new() {
            Ok(direct) => Some(Arc::new(direct)),
            Err(error) => {
                warn!(reason = with_causes(&error), "transferring files through the coordinator");
                None
            }
        }
    }

    /// Notes that a direct transfer succeeded.
    pub fn worked(&self) {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*way, Way::Open) {
            info!("artifacts are read and written directly");
        }
        *way = Way::Open;
    }

    /// Notes that a direct transfer failed. For a while files are transferred through the coordinator.
    pub fn failed(&self, error: &(dyn std::error::Error + 'static)) {
        let reason = with_causes(error);
        if error.downcast_ref().is_some_and(DirectError::is_of_one_file) {
            debug!(reason, "transferring an artifact through the coordinator");
            return;
        }
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        // Several concurrent transfers may fail.
        let seconds = REMEMBERED.as_secs();
        match *way {
            Way::Untried | Way::Open => warn!(reason, seconds, "transferring files through the coordinator for now"),
            Way::Closed(_) => debug!(reason, seconds, "still transferring files through the coordinator"),
        }
        *way = Way::Closed(Instant::now() + REMEMBERED);
    }

    /// Downloads from `offset` on, in pieces.
    ///
    /// # Errors
    /// If the download fails.
    pub async fn get(&self, address: Address, offset: u64) -> Result<Pieces, DirectError> {
        let mut request = request(Method::GET, address, Empty::new().boxed_unsync());
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-")).expect("digits are a header");
            request.headers_mut().insert(RANGE, range);
        }
        let answer = self.ask(request, ANSWER).await?;
        let wanted = if offset > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if answer.status() != wanted {
            return Err(DirectError::Refused(answer.status()));
        }
        Ok(Pieces(answer.into_body()))
    }

    /// Uploads `size` bytes of `reader`. An earlier upload that was not committed counts as success: URLs are of
    /// hashes, and the coordinator verifies the object.
    ///
    /// # Errors
    /// If the upload fails.
    pub async fn put(
        &self,
        address: Address,
        size: u64,
        reader: impl Read + Send + 'static,
    ) -> Result<(), DirectError> {
        let body = StreamBody::new(chunks(reader).map(|data| Ok(Frame::data(Bytes::from(data))))).boxed_unsync();
        let mut request = request(Method::PUT, address, body);
        request.headers_mut().insert(CONTENT_LENGTH, size.into());
        let answer = self.ask(request, ANSWER + Duration::from_secs(size / SLOWEST)).await?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::PRECONDITION_FAILED {
            return Ok(());
        }
        Err(DirectError::Refused(status))
    }

    async fn ask(&self, request: Request<Sent>, limit: Duration) -> Result<Response<Incoming>, DirectError> {
        let answer = timeout(limit, self.client.request(request)).await.map_err(|_| DirectError::Silent)?;
        answer.map_err(DirectError::Unreachable)
    }
}

fn request(method: Method, address: Address, body: Sent) -> Request<Sent> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = address.uri;
    *request.headers_mut() = address.headers;
    request
}

/// A download.
#[derive(Debug)]
pub struct Pieces(Incoming);

impl Pieces {
    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// If the connection breaks or times out.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DirectError> {
        loop {
            let frame = timeout(SILENCE, self.0.frame()).await.map_err(|_| DirectError::Silent)?;
            match frame.transpose().map_err(DirectError::Broken)? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str, headers: &[(&str, &str)]) -> Result<Address, DirectError> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        SignedUrl { url: url.to_owned(), headers }.try_into()
    }

    #[test]
    fn an_address_is_checked_and_never_shown() {
        let good = address("http://h:1/b/k?X-Amz-Signature=secret", &[("if-none-match", "*")]).expect("an address");
        let shown = format!("{good:?}");
        assert!(shown.contains("h:1") && !shown.contains("secret"), "{shown}");
        for url in ["", "/b/k", "ftp://h/k", "file:///etc/passwd", "http://", "http:///k", "http://h/\n"] {
            assert!(address(url, &[]).is_err(), "{url:?}");
        }
        for header in [("", "*"), ("a b", "*"), ("x", "a\r\nhost: other")] {
            assert!(address("http://h/k", &[header]).is_err(), "{header:?}");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_not_tried_again_at_once_and_one_file_closes_nothing() {
        let direct = Direct::new().expect("certificates");
        assert!(direct.is_open());
        for of_one_file in [DirectError::Refused(StatusCode::NOT_FOUND), DirectError::NotTaken("why".to_owned())] {
            direct.failed(&of_one_file);
            assert!(direct.is_open(), "{of_one_file}");
        }
        for error in [DirectError::Refused(StatusCode::FORBIDDEN), DirectError::Silent] {
            direct.worked();
            direct.failed(&error);
            assert!(!direct.is_open(), "{error}");
        }
        direct.worked();
        assert!(direct.is_open());
    }
}
