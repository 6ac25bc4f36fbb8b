//! A time limit for calls: how long the other side may be silent. It does not know the calls; who sets the limit says of
//! each method how it answers.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    transport::Channel,
};

/// How much longer than other answers an answer may take that is computed first.
const COMPUTING: u32 = 10;

/// How a method answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// At once. A stream of parts follows without pauses.
    AtOnce,
    /// After a computation: ten times the limit applies to the first part.
    Computed,
    /// At once, then with messages as things happen. Only the beginning is limited.
    AsThingsHappen,
}

/// A limit of silence. Silence begins when the last part was sent or received.
#[derive(Debug, Clone, Copy)]
pub struct TimeLimit {
    /// How long.
    pub silence: Duration,
    /// How a method answers, by its path without the slash at the beginning: `package.Service/Method`.
    pub of: fn(&str) -> Answers,
}

/// A channel with a time limit for calls, or without one.
#[derive(Clone)]
pub struct TimeLimited {
    channel: Channel,
    limit: Option<TimeLimit>,
    url: Arc<str>,
}

impl fmt::Debug for TimeLimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeLimited").field("url", &self.url).field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl TimeLimited {
    /// Limits the calls on `channel`. Errors name `url`.
    #[must_use]
    pub fn new(channel: Channel, limit: Option<TimeLimit>, url: &str) -> Self {
        Self { channel, limit, url: url.into() }
    }
}

impl Service<http::Request<Body>> for TimeLimited {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.channel, context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Some(TimeLimit { silence, of }) = self.limit else {
            return Box::pin(Service::call(&mut self.channel, request));
        };
        let method = request.uri().path().trim_start_matches('/').to_owned();
        let answers = of(&method);
        let first = if answers == Answers::Computed { silence.saturating_mul(COMPUTING) } else { silence };
        let silent = Silent { method: method.into(), url: Arc::clone(&self.url) };
        let sent = Arc::new(Mutex::new(Instant::now()));
        let request = request.map(|body| Body::new(Sent { body, at: Arc::clone(&sent) }));
        let answer = Service::call(&mut self.channel, request);
        Box::pin(async move {
            tokio::pin!(answer);
            let response = loop {
                let last = *sent.lock().unwrap_or_else(PoisonError::into_inner);
                tokio::select! {
                    biased;
                    response = &mut answer => break response?,
                    () = sleep_until(last + first) => {
                        if *sent.lock().unwrap_or_else(PoisonError::into_inner) == last {
                            return Ok(silent.status(first).into_http());
                        }
                    }
                }
            };
            if answers == Answers::AsThingsHappen {
                return Ok(response);
            }
            let timer = Box::pin(sleep_until(Instant::now() + silence));
            Ok(response.map(|body| Body::new(Received { body, limit: silence, timer, waits: false, silent })))
        })
    }
}

/// What is silent.
#[derive(Debug, Clone)]
struct Silent {
    method: Arc<str>,
    url: Arc<str>,
}

impl Silent {
    fn status(&self, limit: Duration) -> Status {
        let method = self.method.rsplit('.').next().unwrap_or_default();
        Status::deadline_exceeded(format!(
            "no answer to {method} from {} within {} s; the coordinator may be overloaded or suspended. Set a longer time limit with --timeout or SECATEUR_TIMEOUT (0 = none)",
            self.url,
            limit.as_secs()
        ))
    }
}

/// A body that notes when its parts are sent.
struct Sent {
    body: Body,
    at: Arc<Mutex<Instant>>,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that fails once nothing arrives for too long.
struct Received {
    body: Body,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether its reader waits. What the reader does between two parts is not the sender's silence.
    waits: bool,
    silent: Silent,
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if polled.is_ready() {
            this.waits = false;
            return polled;
        }
        if !std::mem::replace(&mut this.waits, true) {
            this.timer.as_mut().reset(Instant::now() + this.limit);
        }
        this.timer.as_mut().poll(context).map(|()| Some(Err(this.silent.status(this.limit))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
