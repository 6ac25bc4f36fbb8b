//! Accepts connections before any protocol is spoken. An address has a limited number of connections, and a connection
//! must send its first bytes soon, so that nobody can exhaust the coordinator by holding connections open. It does not
//! know the content of messages.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{
    Stream,
    future::{Either, Ready, ready as done},
    stream,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};
use tonic::{
    Status,
    body::Body,
    codegen::http,
    transport::server::{Connected, TlsConnectInfo},
};
use tower::{Layer, Service};
use tracing::{debug, warn};

/// The time that a connection has to send its first bytes. After that, pings of HTTP/2 detect dead connections.
const TO_BEGIN: Duration = Duration::from_secs(10);

/// The number of first bytes: the preface of HTTP/2, which is shorter than any TLS greeting.
const BEGINNING: u64 = 24;

/// The minimum interval between two warnings of the same kind.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// The pause after a failed accept for lack of file descriptors or memory.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// The number of connections over the limit that get an answer at the same time. More are closed without one.
const MAX_REFUSED: usize = 64;

/// What is known about the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct PeerInfo {
    /// Its address.
    pub(crate) address: Option<SocketAddr>,
    /// The limit of connections from its address, if this one exceeds it.
    pub(crate) over_limit: Option<usize>,
}

impl PeerInfo {
    fn of(extensions: &http::Extensions) -> Option<&Self> {
        let tls = || extensions.get::<TlsConnectInfo<Self>>().map(TlsConnectInfo::get_ref);
        extensions.get().or_else(tls)
    }
}

/// The address that a call comes from, as its connection recorded it.
pub(crate) fn peer(extensions: &http::Extensions) -> Option<SocketAddr> {
    PeerInfo::of(extensions)?.address
}

/// The connections that `listener` accepts, at most `max_per_address` from one address at a time. [`RefusalLayer`]
/// answers those over the limit.
pub(crate) fn incoming(
    listener: TcpListener,
    max_per_address: usize,
) -> impl Stream<Item = io::Result<Connection<TcpStream>>> {
    let acceptor = Acceptor { listener, counts: Counts::new(max_per_address), failure_warned: None };
    stream::unfold(acceptor, |mut acceptor| async move { Some((Ok(acceptor.accept().await), acceptor)) })
}

#[derive(Debug)]
struct Acceptor {
    listener: TcpListener,
    counts: Counts,
    /// When the last warning of a failed accept was logged.
    failure_warned: Option<Instant>,
}

impl Acceptor {
    /// The next connection to serve.
    async fn accept(&mut self) -> Connection<TcpStream> {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.failed(&error).await;
                    continue;
                }
            };
            let Some(admission) = self.counts.admit(peer.ip()) else { continue };
            // HTTP/2 writes headers, data and trailers of an answer one after the other. With Nagle's algorithm, the
            // last write would wait for the client's delayed acknowledgement, about 40 ms.
            match stream.set_nodelay(true) {
                Ok(()) => return Connection::new(stream, admission),
                Err(error) => debug!(%error, "a connection ended before it was served"),
            }
        }
    }

    /// Pauses after a failed accept for lack of file descriptors or memory, and logs a warning.
    async fn failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            debug!(%error, "a connection ended before it was accepted");
            return;
        }
        if self.failure_warned.is_none_or(|last| last.elapsed() >= BETWEEN_WARNINGS) {
            self.failure_warned = Some(Instant::now());
            warn!(%error, "cannot accept connections; retrying. If too many files are open, raise the limit (ulimit -n)");
        }
        sleep(AFTER_FAILED_ACCEPT).await;
    }
}

/// Answers calls on connections over the limit with `UNAVAILABLE` and the reason, so that clients retry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefusalLayer;

impl<S> Layer<S> for RefusalLayer {
    type Service = Refusing<S>;

    fn layer(&self, inner: S) -> Refusing<S> {
        Refusing(inner)
    }
}

/// Services that connections over the limit do not reach.
#[derive(Debug, Clone)]
pub(crate) struct Refusing<S>(S);

impl<S> Service<http::Request<Body>> for Refusing<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Self::Response, Self::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match PeerInfo::of(request.extensions()).and_then(|peer| peer.over_limit) {
            None => Either::Left(self.0.call(request)),
            Some(limit) => {
                let status = Status::unavailable(format!(
                    "the coordinator already has {limit} connections from this address (serve --max-connections-per-address)"
                ));
                Either::Right(done(Ok(status.into_http())))
            }
        }
    }
}

/// The number of connections of each address.
#[derive(Debug, Clone)]
struct Counts {
    max_per_address: usize,
    by_address: Arc<Mutex<HashMap<IpAddr, Count>>>,
    /// Permits for connections over the limit.
    refusals: Arc<Semaphore>,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Count {
    open: usize,
    /// Connections refused since the last warning.
    refused: u64,
    /// When the last warning was logged.
    warned: Option<Instant>,
}

/// How a connection is admitted.
#[derive(Debug)]
enum Admission {
    Within {
        _counted: Counted,
    },
    /// It exceeds the limit and gets an answer.
    Beyond {
        limit: usize,
        _permit: OwnedSemaphorePermit,
    },
}

impl Counts {
    fn new(max_per_address: usize) -> Self {
        Self { max_per_address, by_address: Arc::default(), refusals: Arc::new(Semaphore::new(MAX_REFUSED)) }
    }

    /// Counts a connection for as long as the returned value lives. Returns `None` if it exceeds the limit and gets no
    /// answer.
    fn admit(&self, address: IpAddr) -> Option<Admission> {
        let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        let limit = self.max_per_address;
        if count.open < limit {
            count.open += 1;
            return Some(Admission::Within { _counted: Counted { counts: self.clone(), address } });
        }
        count.refused += 1;
        if count.warned.is_none_or(|last| last.elapsed() >= BETWEEN_WARNINGS) {
            let refused = count.refused;
            warn!(%address, refused, limit, "refusing connections: the address has too many (serve --max-connections-per-address)");
            (count.refused, count.warned) = (0, Some(Instant::now()));
        }
        let permit = Arc::clone(&self.refusals).try_acquire_owned().ok()?;
        Some(Admission::Beyond { limit, _permit: permit })
    }
}

/// A counted connection.
#[derive(Debug)]
struct Counted {
    counts: Counts,
    address: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.counts.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            count.open -= 1;
            if count.open == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// A connection that ends if it sends nothing in time, or soon if it exceeds the limit.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    admission: Admission,
    received: u64,
    /// When it ends, or `None` once it has sent its first bytes and is within the limit.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Connection<S> {
    fn new(stream: S, admission: Admission) -> Self {
        Self { stream, admission, received: 0, deadline: Some(Box::pin(sleep(TO_BEGIN))) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the connection sent nothing in time, or was refused",
            )));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        self.received += (into.filled().len() - before) as u64;
        if self.received >= BEGINNING && matches!(self.admission, Admission::Within { .. }) {
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
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        let over_limit = if let Admission::Beyond { limit, .. } = self.admission { Some(limit) } else { None };
        PeerInfo { address: self.stream.peer_addr().ok(), over_limit }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tonic::{
        Code,
        transport::{Endpoint, Server},
    };
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const LIMIT: usize = 3;

    fn counts() -> Counts {
        Counts::new(LIMIT)
    }

    fn counted(counts: &Counts, address: IpAddr) -> Option<Admission> {
        counts.admit(address).filter(|admission| matches!(admission, Admission::Within { .. }))
    }

    #[test]
    fn one_address_has_so_many_connections_and_takes_none_of_anothers() {
        let counts = counts();
        let mut open: Vec<Admission> = (0..LIMIT).map(|_| counted(&counts, HERE).expect("is let in")).collect();
        assert!(counted(&counts, HERE).is_none());
        let other = counted(&counts, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
        assert!(other.is_some());
        open.pop();
        open.push(counted(&counts, HERE).expect("one has gone"));
        assert!(counted(&counts, HERE).is_none());
        drop((open, other));
        assert!(counts.by_address.lock().expect("is sound").is_empty());
    }

    /// A client that opens connections without end gets a limited number of answers.
    #[test]
    fn so_many_are_told_that_they_are_too_many() {
        let counts = Counts::new(1);
        let first = counts.admit(HERE);
        let refused: Vec<Admission> = std::iter::from_fn(|| counts.admit(HERE)).collect();
        assert_eq!(refused.len(), MAX_REFUSED);
        assert!(refused.iter().all(|admission| matches!(admission, Admission::Beyond { limit: 1, .. })));
        drop(refused);
        assert!(counts.admit(HERE).is_some());
        drop(first);
    }

    /// Nagle's algorithm and a client's delayed acknowledgement would delay each answer by about 40 ms.
    #[tokio::test]
    async fn what_is_accepted_sends_small_packets_at_once() {
        let listener = TcpListener::bind((HERE, 0)).await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        let mut incoming = std::pin::pin!(incoming(listener, LIMIT));
        let _client = TcpStream::connect(address).await.expect("connects");
        let accepted = incoming.next().await.expect("one comes in").expect("is accepted");
        assert!(accepted.stream.nodelay().expect("can be asked"));
    }

    /// The client gets a status that says a retry may help.
    #[tokio::test]
    async fn a_connection_too_many_is_told_why() {
        let listener = TcpListener::bind((HERE, 0)).await.expect("binds");
        let url = format!("http://{}", listener.local_addr().expect("has an address"));
        let (_reporter, health) = tonic_health::server::health_reporter();
        let server = Server::builder().layer(RefusalLayer).add_service(health);
        let server = tokio::spawn(server.serve_with_incoming(incoming(listener, 1)));
        let check = async || {
            let channel = Endpoint::from_shared(url.clone()).expect("an address").connect().await.expect("connects");
            let mut client = HealthClient::new(channel);
            let answer = client.check(HealthCheckRequest { service: String::new() }).await;
            (client, answer)
        };
        let (_first, answer) = check().await;
        answer.expect("is let in");
        let refused = check().await.1.expect_err("is one too many");
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.message().contains("--max-connections-per-address"), "{refused}");
        server.abort();
    }

    async fn spoken(bytes: usize, pause: Duration) -> io::Result<usize> {
        let (mut far, near) = tokio::io::duplex(64);
        let mut connection = Connection::new(near, counts().admit(HERE).expect("is let in"));
        let speaks = async {
            for _ in 0..bytes {
                tokio::time::advance(pause).await;
                // The other end may be closed.
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
        // Occasional bytes are not enough.
        let trickles = spoken(enough, Duration::from_secs(1)).await.expect_err("is hung up on");
        assert_eq!(trickles.kind(), io::ErrorKind::TimedOut);
        assert_eq!(spoken(1, TO_BEGIN * 2).await.expect_err("is hung up on").kind(), io::ErrorKind::TimedOut);
        // After the first bytes there is no deadline.
        let (mut far, near) = tokio::io::duplex(64);
        let mut connection = Connection::new(near, counts().admit(HERE).expect("is let in"));
        far.write_all(&[0; BEGINNING as usize]).await.expect("writes");
        let mut beginning = [0; BEGINNING as usize];
        connection.read_exact(&mut beginning).await.expect("has begun");
        tokio::time::advance(TO_BEGIN * 100).await;
        far.write_all(b"!").await.expect("writes");
        assert_eq!(connection.read_u8().await.expect("goes on"), b'!');
    }
}
