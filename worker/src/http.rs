//! An HTTP client, with or without TLS, for S3-compatible storage. It handles connections and timeouts, but does not
//! know the requests or artifacts.

use std::{io, time::Duration};

use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// The timeout of a connection attempt.
pub const CONNECT: Duration = Duration::from_secs(5);

/// The timeout for the next bytes of a body.
pub const SILENCE: Duration = Duration::from_secs(30);

/// A client that sends bodies of the type `B`. Clones share its connections.
pub type HttpClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// The error if there are no trusted certificates.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the system's certificates: install ca-certificates, or set SSL_CERT_FILE")]
pub struct NoCertificates(#[source] io::Error);

/// A client that trusts the system's authorities.
///
/// # Errors
/// If the system has none.
pub fn client<B>() -> Result<HttpClient<B>, NoCertificates>
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT));
    http.set_nodelay(true);
    let provider = rustls::crypto::ring::default_provider();
    let connector = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider).map_err(NoCertificates)?;
    let connector = connector.https_or_http().enable_http1().wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}
