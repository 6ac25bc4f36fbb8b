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

async fn control_c() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!(%error, "Ctrl-C will end the process at once");
        std::future::pending::<()>().await;
    }
}
