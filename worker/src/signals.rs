//! The signals by which a person or the system asks a process to end.

use std::time::{Duration, Instant};

/// Repetitions of SIGTERM within this time are one request: Slurm signals the process and the script that passes signals on to it.
const SAME_REQUEST: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    ControlC,
    Terminate,
}

/// Done when one of them has arrived: Ctrl-C, or SIGTERM where there is one.
pub async fn interrupted() {
    request().await;
}

/// Done when a process has been asked to end for the second time.
pub async fn interrupted_again() {
    let first = request().await;
    let begin = Instant::now();
    while request().await == Request::Terminate && first == Request::Terminate && begin.elapsed() < SAME_REQUEST {}
}

async fn request() -> Request {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                return tokio::select! {
                    () = control_c() => Request::ControlC,
                    _ = terminate.recv() => Request::Terminate,
                };
            }
            Err(error) => tracing::warn!(%error, "SIGTERM will end the process at once"),
        }
    }
    control_c().await;
    Request::ControlC
}

/// From now on SIGTERM does not end this process. Slurm and others send it to every process of a job; the worker decides when its
/// executors end.
///
/// # Errors
/// If the system does not allow it.
#[cfg(unix)]
pub fn ignore_terminate() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    // What handles a signal stays until the process ends, even if nobody listens.
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map(drop)
}

async fn control_c() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!(%error, "Ctrl-C will end the process at once");
        std::future::pending::<()>().await;
    }
}

/// SIGHUP, by which a person asks a process to read its files again. It does not end a process that listens.
#[derive(Debug)]
pub struct Hangups {
    #[cfg(unix)]
    signals: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    /// Listens from here on.
    #[must_use]
    pub fn listen() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let signals = signal(SignalKind::hangup());
            let warned = signals.inspect_err(|error| tracing::warn!(%error, "SIGHUP will end the process"));
            Self { signals: warned.ok() }
        }
        #[cfg(not(unix))]
        Self {}
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signals) = &mut self.signals
            && signals.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
