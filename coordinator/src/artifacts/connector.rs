//! The worker's HTTP client as object_store's: one client and one TLS in the program, in place of a second of each.

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
    /// How long an answer may take. A request sends some megabytes at most.
    pub(super) answer: std::time::Duration,
}

/// A client with its limits.
#[derive(Debug)]
struct Client {
    client: http::HttpClient<HttpRequestBody>,
    /// Whether requests may go in the clear.
    clear: bool,
    answer: std::time::Duration,
}

/// A request would go in the clear.
#[derive(Debug, thiserror::Error)]
#[error("the storage is at http://, and AWS_ALLOW_HTTP is not true")]
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
        // Whoever reads it asks again after the end.
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(StreamBody::new(frames.fuse()))))
    }
}

fn late(error: Elapsed) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, error)
}
