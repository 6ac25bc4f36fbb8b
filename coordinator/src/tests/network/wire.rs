//! The simulated network as tonic wants it: connections that are accepted, connections that are made, and such that break.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::{Stream, stream};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::{Channel, Endpoint, Error, Uri, server::Connected};
use turmoil::net::{TcpListener, TcpStream};

use crate::connections::PeerInfo;

/// Where the coordinator listens.
pub(super) const PORT: u16 = 7400;

/// Counts how often the connections that a host made were broken. Those from before the last time give errors.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaks(Arc<AtomicU64>);

impl Breaks {
    /// Breaks all connections that were made.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One end of a connection.
pub(super) struct Wire {
    stream: TcpStream,
    breaks: Breaks,
    made_after: u64,
}

impl Wire {
    fn new(stream: TcpStream, breaks: Breaks) -> Self {
        let made_after = breaks.count();
        Self { stream, breaks, made_after }
    }

    fn check(&self) -> io::Result<()> {
        if self.breaks.count() == self.made_after { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Wire {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        PeerInfo { address: self.stream.peer_addr().ok(), over_limit: None }
    }
}

/// Connections as they come in on this host, and where.
pub(super) async fn listen() -> io::Result<(SocketAddr, impl Stream<Item = io::Result<Wire>> + Send + 'static)> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let address = listener.local_addr()?;
    let incoming = stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await;
        Some((accepted.map(|(stream, _)| Wire::new(stream, Breaks::default())), listener))
    });
    Ok((address, incoming))
}

/// Makes the channels of a host, which `breaks` breaks.
pub(super) fn dial(
    breaks: Breaks,
) -> impl Fn(Endpoint) -> Pin<Box<dyn Future<Output = Result<Channel, Error>> + Send>> + Send + Sync + 'static {
    move |endpoint| {
        let breaks = breaks.clone();
        let connector = tower::service_fn(move |uri: Uri| {
            let breaks = breaks.clone();
            async move {
                let host = uri.host().unwrap_or_default().to_owned();
                let stream = TcpStream::connect((host.as_str(), PORT)).await?;
                Ok::<_, io::Error>(TokioIo::new(Wire::new(stream, breaks)))
            }
        });
        Box::pin(async move { endpoint.connect_with_connector(connector).await })
    }
}
