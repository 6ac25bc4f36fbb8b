//! The worker's HTTP client as the client of object_store, so that the program contains one HTTP client and one TLS
//! library.

use async_trait::async_trait;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use object_store::{
    ClientOptions, Error,
    client::{
        ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
        HttpResponse, HttpResponseBody, HttpService,
    },
};
use secateur_worker::http;
use tokio::time::{error::Elapsed, timeout};

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector {
    /// The timeout of an answer. A request sends a few megabytes at most.
    pub(super) answer: std::time::Duration,
}

/// A client with its limits.
#[derive(Debug)]
struct Client {
    client: http::HttpClient<HttpRequestBody>,
    /// Whether unencrypted requests are allowed.
    clear: bool,
    answer: std::time::Duration,
}

/// A request would not be encrypted.
#[derive(Debug, thiserror::Error)]
#[error("the storage URL starts with http://, but AWS_ALLOW_HTTP is not true")]
struct Clear;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = http::client().map_err(|error| Error::Generic { store: "S3", source: error.into() })?;
        let clear = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        Ok(HttpClient::new(Client { client, clear, answer: self.answer }))
    }
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if !self.clear && request.uri().scheme_str() != Some("https") {
            return Err(HttpError::new(HttpErrorKind::Unknown, Clear));
        }
        let answer = timeout(self.answer, self.client.request(request)).await.map_err(late)?;
        let answer = answer.map_err(|error| {
            let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
            HttpError::new(kind, error)
        })?;
        let (parts, body) = answer.into_parts();
        let frames = futures::stream::unfold(body, |mut body| async move {
            let frame = match timeout(http::SILENCE, body.frame()).await {
                Ok(frame) => frame?.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error)),
                Err(error) => Err(late(error)),
            };
            Some((frame, body))
        });
        // The reader polls again after the end.
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(StreamBody::new(frames.fuse()))))
    }
}

fn late(error: Elapsed) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, error)
}
