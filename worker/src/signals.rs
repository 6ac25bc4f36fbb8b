//! The signals by which a person or the system asks a process to end.

/// Done when one of them has arrived: Ctrl-C, or SIGTERM where there is one.
pub async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    () = control_c() => (),
                    _ = terminate.recv() => (),
                }
                return;
            }
            Err(error) => tracing::warn!(%error, "SIGTERM will end the process at once"),
        }
    }
    control_c().await;
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
