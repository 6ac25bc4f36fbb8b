//! What comes in at the port, before anything of it is understood: one address has so many connections at most, and whoever connects
//! has to begin to speak soon. Who opens connections only to hold them gets rid of them here. Knows nothing of what is said.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{Stream, StreamExt as _, future};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::Sleep,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    codegen::http,
    transport::server::{Connected, TcpConnectInfo, TlsConnectInfo},
};
use tracing::debug;

/// Connections that one address may have. A worker has one for each device, a command one.
const FROM_ONE_ADDRESS: usize = 512;

/// How long a connection may take to begin. After that HTTP/2's own pings find out who does not answer.
const TO_BEGIN: Duration = Duration::from_secs(10);

/// Bytes that a connection begins with: the preface of HTTP/2, which is shorter than any greeting of TLS.
const BEGINNING: u64 = 24;

/// Where a call comes from, by what its connection has put beside it.
pub(crate) fn peer(extensions: &http::Extensions) -> Option<SocketAddr> {
    let tls = || extensions.get::<TlsConnectInfo<TcpConnectInfo>>().map(TlsConnectInfo::get_ref);
    extensions.get().or_else(tls).and_then(TcpConnectInfo::remote_addr)
}

/// The connections that `listener` accepts.
pub(crate) fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<Connection<TcpStream>>> {
    let counts = Counts::default();
    TcpListenerStream::new(listener).filter_map(move |accepted| {
        let admitted = accepted.and_then(|stream| {
            let address = stream.peer_addr()?.ip();
            // HTTP/2 writes headers, data and trailers of an answer one after the other: with Nagle's algorithm on, the last waits for
            // the client's delayed acknowledgement, about 40 ms.
            stream.set_nodelay(true)?;
            Ok(counts.count(address).map(|counted| Connection::new(stream, counted)))
        });
        future::ready(admitted.transpose())
    })
}

/// How many connections each address has.
#[derive(Debug, Clone, Default)]
struct Counts(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Counts {
    /// Counts one more, for as long as what it gives is kept; nothing if there are too many.
    fn count(&self, address: IpAddr) -> Option<Counted> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= FROM_ONE_ADDRESS {
            debug!(%address, most = FROM_ONE_ADDRESS, "too many connections from one address; the newest is closed");
            return None;
        }
        *count += 1;
        Some(Counted { counts: self.clone(), address })
    }
}

/// A connection that is counted.
#[derive(Debug)]
struct Counted {
    counts: Counts,
    address: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// A connection that ends if it does not begin.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    _counted: Counted,
    received: u64,
    /// When it has to have begun; nothing once it has.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Connection<S> {
    fn new(stream: S, counted: Counted) -> Self {
        Self { stream, _counted: counted, received: 0, deadline: Some(Box::pin(tokio::time::sleep(TO_BEGIN))) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "it did not begin to speak")));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        self.received += (into.filled().len() - before) as u64;
        if self.received >= BEGINNING {
            self.deadline = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Connection<TcpStream> {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn one_address_has_so_many_connections_and_takes_none_of_anothers() {
        let counts = Counts::default();
        let mut open: Vec<Counted> = (0..FROM_ONE_ADDRESS).map(|_| counts.count(HERE).expect("is let in")).collect();
        assert!(counts.count(HERE).is_none());
        let other = counts.count(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
        assert!(other.is_some());
        open.pop();
        open.push(counts.count(HERE).expect("one has gone"));
        assert!(counts.count(HERE).is_none());
        drop((open, other));
        assert!(counts.0.lock().expect("is sound").is_empty());
    }

    /// Nagle's algorithm and a client's delayed acknowledgement would make each answer wait for some 40 ms.
    #[tokio::test]
    async fn what_is_accepted_sends_small_packets_at_once() {
        let listener = TcpListener::bind((HERE, 0)).await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        let mut incoming = std::pin::pin!(incoming(listener));
        let _client = TcpStream::connect(address).await.expect("connects");
        let accepted = incoming.next().await.expect("one comes in").expect("is accepted");
        assert!(accepted.stream.nodelay().expect("can be asked"));
    }

    async fn spoken(bytes: usize, pause: Duration) -> io::Result<usize> {
        let (mut far, near) = tokio::io::duplex(64);
        let counted = Counts::default().count(HERE).expect("is let in");
        let mut connection = Connection::new(near, counted);
        let speaks = async {
            for _ in 0..bytes {
                tokio::time::advance(pause).await;
                // Nobody may be listening any more.
                let _ = far.write_all(b"x").await;
            }
            std::future::pending::<()>().await;
        };
        let mut heard = vec![0; bytes];
        tokio::select! {
            read = connection.read_exact(&mut heard) => read,
            () = speaks => unreachable!("it never ends"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_begin_in_time_is_hung_up_on() {
        let enough = usize::try_from(BEGINNING).expect("is small");
        assert_eq!(spoken(enough, Duration::from_millis(100)).await.expect("begins"), enough);
        // A byte now and then is no beginning.
        let trickles = spoken(enough, Duration::from_secs(1)).await.expect_err("is hung up on");
        assert_eq!(trickles.kind(), io::ErrorKind::TimedOut);
        assert_eq!(spoken(1, TO_BEGIN * 2).await.expect_err("is hung up on").kind(), io::ErrorKind::TimedOut);
        // Who has begun may take its time.
        let (mut far, near) = tokio::io::duplex(64);
        let mut connection = Connection::new(near, Counts::default().count(HERE).expect("is let in"));
        far.write_all(&[0; BEGINNING as usize]).await.expect("writes");
        let mut beginning = [0; BEGINNING as usize];
        connection.read_exact(&mut beginning).await.expect("has begun");
        tokio::time::advance(TO_BEGIN * 100).await;
        far.write_all(b"!").await.expect("writes");
        assert_eq!(connection.read_u8().await.expect("goes on"), b'!');
    }
}
