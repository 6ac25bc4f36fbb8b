//! TLS of a running coordinator: accepts connections with the certificates as they were last read. Connections that are
//! up keep theirs.

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use futures::{Stream, StreamExt as _};
use rustls::ServerConfig;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, warn};

use super::certificates::{CertificateError, Described, TlsFiles};

/// The timeout of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Connections that are ready and not served yet.
const READY: usize = 16;

/// The days before its end from which on a certificate is warned of.
pub const WARN_DAYS: i64 = 30;

/// The TLS of a coordinator.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
    /// The files as they were when they were last tried.
    tried: RwLock<Versions>,
}

/// The modification time and size of each file.
type Versions = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn open(files: TlsFiles) -> Result<Self, CertificateError> {
        let tried = versions(&files);
        let current = RwLock::new(Arc::new(files.config()?));
        Ok(Self(Arc::new(Inner { files, current, tried: RwLock::new(tried) })))
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &TlsFiles {
        &self.0.files
    }

    /// Reads the files again. Connections that are accepted from here on use them.
    ///
    /// # Errors
    /// If they cannot be used; then those from before stay in use.
    pub fn reload(&self) -> Result<(), CertificateError> {
        *self.0.tried.write().unwrap_or_else(PoisonError::into_inner) = versions(self.files());
        let config = Arc::new(self.files().config()?);
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Reads the files again if they have changed since they were last tried. Returns whether they have.
    ///
    /// # Errors
    /// As [`Tls::reload`].
    pub fn reload_changed(&self) -> Result<bool, CertificateError> {
        let changed = *self.0.tried.read().unwrap_or_else(PoisonError::into_inner) != versions(self.files());
        if changed {
            self.reload()?;
        }
        Ok(changed)
    }

    fn current(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The encrypted connections of `incoming`. Handshakes do not wait for each other; those that fail are dropped.
    pub fn accept<C, I>(&self, incoming: I) -> impl Stream<Item = io::Result<TlsStream<C>>> + use<C, I>
    where
        I: Stream<Item = io::Result<C>> + Send + 'static,
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(READY);
        let tls = self.clone();
        tokio::spawn(async move {
            let mut incoming = pin!(incoming);
            loop {
                let connection = tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    connection = incoming.next() => connection,
                };
                match connection {
                    None => return,
                    Some(Err(error)) => debug!(%error, "a connection ended before its handshake"),
                    Some(Ok(connection)) => {
                        let (acceptor, sender) = (tls.current(), sender.clone());
                        tokio::spawn(async move {
                            match timeout(HANDSHAKE, acceptor.accept(connection)).await {
                                Ok(Ok(stream)) => {
                                    warn_of_client(&stream);
                                    // A server that has ended needs no connection.
                                    let _ = sender.send(Ok(stream)).await;
                                }
                                Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
                                Err(_) => debug!("a TLS handshake took too long"),
                            }
                        });
                    }
                }
            }
        });
        ReceiverStream::new(receiver)
    }
}

/// Warns of a client's certificate that ends soon: the client itself does not look.
fn warn_of_client<C>(stream: &TlsStream<C>) {
    let chain = stream.get_ref().1.peer_certificates();
    let Some(own) = chain.and_then(|chain| chain.first()).and_then(|own| Described::of(own)) else { return };
    let days = own.days_left(OffsetDateTime::now_utc());
    if days < WARN_DAYS {
        let Described { subject, name, ends, .. } = own;
        warn!(client = subject, certificate = name, ends = %ends.date(), days, "the certificate of a client ends soon; `secateur cert renew` renews it");
    }
}

fn versions(files: &TlsFiles) -> Versions {
    let version = |path: &Path| path.metadata().and_then(|file| Ok((file.modified()?, file.len()))).ok();
    files.all().map(|path| (path.to_owned(), version(path))).collect()
}
