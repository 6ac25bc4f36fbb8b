//! The connection to a coordinator: address, certificates and token. It does not know the messages sent over it.

mod certificates;

use std::{
    fmt, fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use futures::future::BoxFuture;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

pub use self::certificates::{certificate_problem, is_about_encryption};
use crate::{
    arguments,
    pem::{self, PemError, Wanted},
    private,
    time_limit::{TimeLimit, TimeLimited},
};

/// The default port of coordinators.
pub const DEFAULT_PORT: u16 = 7400;

/// The time limit for a connection, the handshake of TLS included, if no other one is given.
const CONNECTED_WITHIN: Duration = Duration::from_secs(20);

/// The environment variable for a token. There is no option for it, because everybody on a machine can read command
/// lines.
pub(crate) const TOKEN: &str = "SECATEUR_TOKEN";

/// The address of the coordinator, and how to authenticate.
#[derive(Debug, Clone, Args)]
pub struct CoordinatorArguments {
    /// Address of the coordinator. Start with https:// if it uses TLS
    #[arg(long, env = "SECATEUR_COORDINATOR", default_value = "127.0.0.1:7400", value_name = "ADDRESS:PORT")]
    pub coordinator: String,
    /// Authority of the coordinator's certificate (PEM), if the system does not trust it. Implies TLS. Certificates are read at every
    /// connection
    #[arg(long, env = "SECATEUR_CA", value_name = "FILE", value_parser = arguments::path())]
    pub ca: Option<PathBuf>,
    /// File with the access token, read at every connection. SECATEUR_TOKEN may hold the token itself instead
    #[arg(long, env = "SECATEUR_TOKEN_FILE", value_name = "FILE", value_parser = arguments::path())]
    pub token_file: Option<PathBuf>,
    /// Client certificate (PEM) to use instead of a token
    #[arg(long, env = "SECATEUR_CERT", value_name = "FILE", value_parser = arguments::path(), requires = "key")]
    pub cert: Option<PathBuf>,
    /// Private key of --cert (PEM)
    #[arg(long, env = "SECATEUR_KEY", value_name = "FILE", value_parser = arguments::path(), requires = "cert")]
    pub key: Option<PathBuf>,
}

/// Why a connection cannot be attempted.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Not a valid address.
    #[error("{0:?} is not a coordinator address (expected for example 127.0.0.1:7400 or https://head:7400)")]
    Address(String),
    /// A file cannot be read.
    #[error("{option}: cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The option that named it.
        option: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file contains no certificate or no key.
    #[error("{option}: cannot use {path}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// The option that named it.
        option: &'static str,
        /// Why not.
        #[source]
        source: PemError,
    },
    /// There is no token, or more than one.
    #[error("{0} does not hold exactly one token (expected one line, as `secateur token create` prints it)")]
    NoToken(String),
    /// Options that require TLS.
    #[error("{0} starts with http://, but --ca, --cert and --key need https://")]
    NoTls(String),
    /// A token must not be sent unencrypted.
    #[error(
        "refusing to send a token unencrypted to {0}: use https:// or --ca, or remove --token-file and SECATEUR_TOKEN"
    )]
    Clear(String),
    /// The certificates are invalid.
    #[error("cannot use the certificates")]
    Tls(#[source] tonic::transport::Error),
}

/// The header with the name of the user, for coordinators that do not authenticate callers.
pub const USER_HEADER: &str = "secateur-user";

/// A channel on which every call carries the token, if there is one.
pub type AuthorizedChannel = InterceptedService<TimeLimited, Bearer>;

/// Adds a token and the name of the user to calls. Its `Debug` output does not contain the token.
#[derive(Debug, Clone, Default)]
pub struct Bearer {
    token: Option<MetadataValue<Ascii>>,
    user: Option<MetadataValue<Ascii>>,
}

impl Bearer {
    /// Returns the bearer of `token`, or `None` if it is not valid in a header.
    #[must_use]
    pub fn of(token: &str) -> Option<Self> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
        value.set_sensitive(true);
        Some(Self { token: Some(value), user: None })
    }

    /// The same, with the name of the user. Characters other than ASCII's become `_`.
    fn of_user(self, name: Option<&str>) -> Self {
        let ascii = |name: &str| name.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect::<String>();
        Self { user: name.and_then(|name| ascii(name).parse().ok()), ..self }
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.token {
            request.metadata_mut().insert("authorization", value.clone());
        }
        if let Some(value) = &self.user {
            request.metadata_mut().insert(USER_HEADER, value.clone());
        }
        Ok(request)
    }
}

/// The source of the token.
#[derive(Clone)]
enum Source {
    Nowhere,
    Given(String),
    File(PathBuf),
}

/// Makes a channel of an endpoint, instead of the system's network.
type Dial = Arc<dyn Fn(Endpoint) -> BoxFuture<'static, Result<Channel, tonic::transport::Error>> + Send + Sync>;

/// A coordinator to connect to.
#[derive(Clone)]
pub struct Remote {
    url: String,
    /// Without TLS, which is configured anew for each connection.
    endpoint: Endpoint,
    tls: Option<TlsFiles>,
    source: Source,
    /// `None` for the system's network.
    dial: Option<Dial>,
    limit: Option<TimeLimit>,
    user: Option<String>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Remote {
    /// The coordinator that a command line names.
    ///
    /// # Errors
    /// If the address is invalid, a file cannot be read, or a token would be sent unencrypted to another machine.
    pub fn of(arguments: &CoordinatorArguments) -> Result<Self, ConnectionError> {
        let source = match &arguments.token_file {
            Some(path) => Source::File(path.clone()),
            None => match arguments::variable(TOKEN) {
                Some(text) => {
                    let token = arguments::token_in(&text).ok_or_else(|| ConnectionError::NoToken(TOKEN.to_owned()))?;
                    Source::Given(token.to_owned())
                }
                None => Source::Nowhere,
            },
        };
        let tls = arguments.ca.is_some() || arguments.cert.is_some();
        let url = url(&arguments.coordinator, tls);
        let endpoint = endpoint(&url).ok_or_else(|| ConnectionError::Address(arguments.coordinator.clone()))?;
        let tls = match (url.starts_with("https://"), tls) {
            (true, _) => Some(TlsFiles::of(arguments)),
            (false, true) => return Err(ConnectionError::NoTls(arguments.coordinator.clone())),
            (false, false) => None,
        };
        let remote = Self { tls, ..Self::over(url, endpoint, source) };
        if !remote.url.starts_with("https://") && !is_here(&remote.endpoint) && !remote.is_open() {
            return Err(ConnectionError::Clear(remote.url));
        }
        // So that a missing file is reported now, not once the coordinator can be reached.
        remote.bearer()?;
        remote.secured()?;
        if let Some(path) = &arguments.token_file {
            private::warn_if_readable(path, "token");
        }
        if let Some(path) = &arguments.key {
            private::warn_if_readable(path, "private key");
        }
        Ok(remote)
    }

    /// A coordinator on this machine, without TLS, with `token`.
    ///
    /// # Errors
    /// If `address` is invalid.
    pub fn local(address: &str, token: String) -> Result<Self, ConnectionError> {
        let url = url(address, false);
        let endpoint = endpoint(&url).ok_or_else(|| ConnectionError::Address(address.to_owned()))?;
        Ok(Self::over(url, endpoint, Source::Given(token)))
    }

    fn over(url: String, endpoint: Endpoint, source: Source) -> Self {
        let endpoint =
            endpoint.connect_timeout(Duration::from_secs(5)).http2_keep_alive_interval(Duration::from_secs(10));
        Self { url, endpoint, tls: None, source, dial: None, limit: None, user: None }
    }

    /// The same coordinator on another network than the system's, such as a simulated one: `dial` makes its channels.
    #[must_use]
    pub fn dialled_by<F>(self, dial: impl Fn(Endpoint) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Channel, tonic::transport::Error>> + Send + 'static,
    {
        Self { dial: Some(Arc::new(move |endpoint| Box::pin(dial(endpoint)))), ..self }
    }

    /// The same coordinator with a time limit for the connection and for each call.
    #[must_use]
    pub fn limited(self, limit: Option<TimeLimit>) -> Self {
        Self { limit, ..self }
    }

    /// The same coordinator, called by the user of that name. A coordinator that authenticates callers ignores it.
    #[must_use]
    pub fn of_user(self, user: Option<String>) -> Self {
        Self { user, ..self }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Connects. Token and certificates are read again, so that replaced ones are used from here on.
    ///
    /// # Errors
    /// If the server does not answer, its certificate is not accepted, or the token cannot be read.
    pub async fn connect(&self) -> Result<AuthorizedChannel, ConnectError> {
        let bearer = self.bearer()?.of_user(self.user.as_deref());
        let endpoint = self.secured()?;
        let connecting = async {
            match &self.dial {
                None => endpoint.connect().await,
                Some(dial) => dial(endpoint).await,
            }
        };
        // The endpoint limits the connection alone, and not the handshake of TLS: a worker would wait for ever for a
        // coordinator that hangs.
        let limit = self.limit.map_or(CONNECTED_WITHIN, |limit| limit.silence);
        let connected = tokio::time::timeout(limit, connecting).await;
        let channel = connected.map_err(|_| ConnectError::Silent { url: self.url.clone(), limit })??;
        Ok(InterceptedService::new(TimeLimited::new(channel, self.limit, &self.url), bearer))
    }

    /// The endpoint, with TLS as the files now are.
    fn secured(&self) -> Result<Endpoint, ConnectionError> {
        let endpoint = self.endpoint.clone();
        match &self.tls {
            Some(files) => endpoint.tls_config(files.config()?).map_err(ConnectionError::Tls),
            None => Ok(endpoint),
        }
    }

    const fn is_open(&self) -> bool {
        matches!(self.source, Source::Nowhere)
    }

    fn bearer(&self) -> Result<Bearer, ConnectionError> {
        let (token, from) = match &self.source {
            Source::Nowhere => return Ok(Bearer::default()),
            Source::Given(token) => (Some(token.clone()), TOKEN.to_owned()),
            Source::File(path) => {
                let file = |source| ConnectionError::File { path: path.clone(), option: "--token-file", source };
                let text = arguments::decoded(fs::read(path).map_err(file)?);
                let token = text.as_deref().and_then(arguments::token_in).map(str::to_owned);
                (token, path.display().to_string())
            }
        };
        token.as_deref().and_then(Bearer::of).ok_or(ConnectionError::NoToken(from))
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A local error.
    #[error(transparent)]
    Here(#[from] ConnectionError),
    /// An error of the network or the server.
    #[error(transparent)]
    There(#[from] tonic::transport::Error),
    /// The server accepted the connection and said nothing.
    #[error("no answer to the TLS handshake from {url} within {} s", .limit.as_secs())]
    Silent {
        /// Where.
        url: String,
        /// The time limit.
        limit: Duration,
    },
}

/// The files of TLS that a command line names.
#[derive(Debug, Clone)]
struct TlsFiles {
    authority: Option<PathBuf>,
    /// Certificate and key of this client.
    own: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    fn of(arguments: &CoordinatorArguments) -> Self {
        let own = arguments.cert.clone().zip(arguments.key.clone());
        Self { authority: arguments.ca.clone(), own }
    }

    fn config(&self) -> Result<ClientTlsConfig, ConnectionError> {
        let config = ClientTlsConfig::new();
        let config = match &self.authority {
            Some(path) => config.ca_certificate(Certificate::from_pem(read_pem(path, "--ca", Wanted::Certificate)?)),
            None => config.with_native_roots(),
        };
        Ok(match &self.own {
            Some((cert, key)) => config.identity(Identity::from_pem(
                read_pem(cert, "--cert", Wanted::Certificate)?,
                read_pem(key, "--key", Wanted::Key)?,
            )),
            None => config,
        })
    }
}

fn read_pem(path: &Path, option: &'static str, wanted: Wanted) -> Result<String, ConnectionError> {
    pem::read(path, wanted).map_err(|source| ConnectionError::Pem { path: path.to_owned(), option, source })
}

/// Whether the endpoint is on this machine.
fn is_here(endpoint: &Endpoint) -> bool {
    let host = endpoint.uri().host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Parses a URL to connect to. An invalid port would count as the scheme's default port.
fn endpoint(url: &str) -> Option<Endpoint> {
    let endpoint = Endpoint::from_shared(url.to_owned()).ok()?;
    let uri = endpoint.uri();
    let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
    let names_a_place = uri.host().is_some_and(|host| !host.is_empty()) && uri.port_u16().is_some_and(|port| port > 0);
    (is_known && names_a_place && matches!(uri.path(), "" | "/") && uri.query().is_none()).then_some(endpoint)
}

/// Converts `address` or `address:port` to the URL that a channel needs.
fn url(address: &str, tls: bool) -> String {
    let default = if tls { "https" } else { "http" };
    let (scheme, rest) = address.split_once("://").unwrap_or((default, address));
    // An IPv6 address is in brackets and contains colons.
    let has_port = rest.rsplit_once(']').map_or(rest, |(_, after)| after).contains(':');
    if has_port { format!("{scheme}://{rest}") } else { format!("{scheme}://{rest}:{DEFAULT_PORT}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(coordinator: &str) -> CoordinatorArguments {
        CoordinatorArguments { coordinator: coordinator.to_owned(), ca: None, token_file: None, cert: None, key: None }
    }

    #[test]
    fn an_address_without_a_port_gets_the_usual_one() {
        assert_eq!(url("head", false), "http://head:7400");
        assert_eq!(url("head", true), "https://head:7400");
        assert_eq!(url("head:1", false), "http://head:1");
        assert_eq!(url("https://head", false), "https://head:7400");
        assert_eq!(url("[::1]", false), "http://[::1]:7400");
        assert_eq!(url("[::1]:1", true), "https://[::1]:1");
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_made_another_one() {
        for wrong in [
            "head:99999",
            "head:0",
            "head:",
            ":7400",
            "",
            "ftp://head:7400",
            "head:7400/x",
            "head:7400?x",
            "a b",
            "http://",
            "https://:1",
        ] {
            let error = Remote::of(&arguments(wrong)).expect_err(wrong);
            assert!(matches!(error, ConnectionError::Address(_)), "{wrong}: {error}");
        }
        for right in ["head", "head:1", "http://head:7400/", "[::1]", "10.0.0.1:65535"] {
            Remote::of(&arguments(right)).unwrap_or_else(|error| panic!("{right}: {error}"));
        }
    }

    #[test]
    fn a_token_does_not_travel_in_the_clear() {
        let folder = tempfile::tempdir().expect("a folder");
        let token_file = Some(folder.path().join("token"));
        fs::write(folder.path().join("token"), "secateur_read_abc\n").expect("writes");
        let open = |coordinator: &str| {
            Remote::of(&CoordinatorArguments { token_file: token_file.clone(), ..arguments(coordinator) })
        };
        for here in ["127.0.0.1:7400", "localhost", "[::1]:1", "127.8.8.8"] {
            open(here).unwrap_or_else(|error| panic!("{here}: {error}"));
        }
        for there in ["10.0.0.5:7400", "head", "0.0.0.0", "localhost.example", "http://127.0.0.1.example"] {
            assert!(matches!(open(there), Err(ConnectionError::Clear(_))), "{there}");
        }
        let shown = format!("{:?} {:?}", open("localhost").expect("here"), Bearer::of("secateur_read_abc"));
        assert!(!shown.contains("secateur_read_abc"), "{shown}");
    }

    #[test]
    fn what_cannot_work_is_told_before_anything_is_tried() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing");
        let empty = folder.path().join("empty");
        fs::write(&empty, "\n").expect("writes");
        let of = |change: &dyn Fn(&mut CoordinatorArguments)| {
            let mut arguments = arguments("localhost");
            change(&mut arguments);
            Remote::of(&arguments).expect_err("cannot work")
        };
        let no_file = of(&|to| to.token_file = Some(missing.clone()));
        assert!(matches!(no_file, ConnectionError::File { option: "--token-file", .. }), "{no_file}");
        let no_token = of(&|to| to.token_file = Some(empty.clone()));
        assert!(matches!(no_token, ConnectionError::NoToken(_)), "{no_token}");
        for file in [&missing, &empty] {
            let no_certificate = of(&|to| to.ca = Some(file.clone()));
            assert!(matches!(no_certificate, ConnectionError::Pem { option: "--ca", .. }), "{no_certificate}");
        }
        let no_address = of(&|to| to.coordinator = "not an address".to_owned());
        assert!(matches!(no_address, ConnectionError::Address(_)), "{no_address}");
        let clear = |to: &mut CoordinatorArguments| {
            to.coordinator = "http://localhost".to_owned();
            to.ca = Some(empty.clone());
        };
        let clear = of(&clear);
        assert!(matches!(clear, ConnectionError::NoTls(_)), "{clear}");
    }
}
