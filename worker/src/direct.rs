//! The way past the coordinator: reads and writes files at addresses that it has signed for this worker. Where an address cannot be
//! reached, that is told once and remembered for a while, and the coordinator carries the files. It knows no store and no artifact
//! service: what it brings is checked by whoever asked for it.

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

/// How long an answer may take when nothing was sent.
const ANSWER: Duration = Duration::from_secs(60);

/// Bytes that are expected to be sent in a second, on a slow line.
const SLOWEST: u64 = 256 << 10;

/// How long an address that could not be reached is not tried again.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Why a file did not come or go this way. Never shows an address: there is a signature in it.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// The coordinator gave none that can be used.
    #[error("the coordinator sent an invalid address")]
    Address,
    /// No connection, or one that broke.
    #[error("the storage cannot be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    /// It broke in the middle of a file.
    #[error("the connection to the storage broke")]
    Broken(#[source] hyper::Error),
    /// Nobody said anything.
    #[error("the storage timed out")]
    Silent,
    /// It answers, and does not do it.
    #[error("the storage answers {0}")]
    Refused(StatusCode),
    /// It was put there, and the coordinator finds something else.
    #[error("the coordinator refused the upload: {0}")]
    NotTaken(String),
}

impl DirectError {
    /// Whether it is about this one file, and the next may come and go well.
    fn is_of_one_file(&self) -> bool {
        matches!(self, Self::NotTaken(_) | Self::Refused(StatusCode::NOT_FOUND | StatusCode::CONFLICT))
    }
}

/// An address that opens for one method and one object.
pub struct Address {
    uri: Uri,
    headers: HeaderMap,
}

/// Without what must not be read.
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

/// How it went so far.
#[derive(Debug, Clone, Copy)]
enum Way {
    Untried,
    Open,
    /// Not to be tried before then.
    Closed(Instant),
}

/// The way of one worker to the storage.
#[derive(Debug)]
pub struct Direct {
    client: HttpClient<Sent>,
    way: Mutex<Way>,
}

impl Direct {
    /// A way that has not been tried.
    ///
    /// # Errors
    /// If the system has no certificates to trust.
    pub fn new() -> Result<Self, NoCertificates> {
        Ok(Self { client: http::client()?, way: Mutex::new(Way::Untried) })
    }

    /// Whether it is to be tried.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match *self.way.lock().unwrap_or_else(PoisonError::into_inner) {
            Way::Untried | Way::Open => true,
            Way::Closed(until) => Instant::now() >= until,
        }
    }

    /// A way that has not been tried; none, with a word about it, if there can be none.
    #[must_use]
    pub fn or_none() -> Option<Arc<Self>> {
        match Self::new() {
            Ok(direct) => Some(Arc::new(direct)),
            Err(error) => {
                warn!(reason = with_causes(&error), "artifacts go through the coordinator");
                None
            }
        }
    }

    /// Notes that a file came or went this way, whole.
    pub fn worked(&self) {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*way, Way::Open) {
            info!("artifacts are read and written directly");
        }
        *way = Way::Open;
    }

    /// Notes that one did not. The next is sent through the coordinator, for a while.
    pub fn failed(&self, error: &(dyn std::error::Error + 'static)) {
        let reason = with_causes(error);
        if error.downcast_ref().is_some_and(DirectError::is_of_one_file) {
            debug!(reason, "transferring an artifact through the coordinator");
            return;
        }
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        // Files are moved side by side, and each may find out.
        let seconds = REMEMBERED.as_secs();
        match *way {
            Way::Untried | Way::Open => warn!(reason, seconds, "artifacts go through the coordinator for a while"),
            Way::Closed(_) => debug!(reason, seconds, "artifacts go through the coordinator for another while"),
        }
        *way = Way::Closed(Instant::now() + REMEMBERED);
    }

    /// The bytes from `offset` on, piece by piece.
    ///
    /// # Errors
    /// If they cannot be had there.
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

    /// Puts `size` bytes of `reader` there. What was put there before, and not taken over, counts as done: addresses are of
    /// hashes, and whoever takes it over checks it.
    ///
    /// # Errors
    /// If they cannot be put there.
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

/// A file on its way.
#[derive(Debug)]
pub struct Pieces(Incoming);

impl Pieces {
    /// The next bytes; nothing at the end.
    ///
    /// # Errors
    /// If the connection breaks, or nothing comes.
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
