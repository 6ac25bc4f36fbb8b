//! Work that would keep a thread of the runtime busy. It knows nothing of what is done.

use tokio::task::JoinError;

/// Does it on a thread of its own.
#[cfg(not(test))]
pub(crate) async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    tokio::task::spawn_blocking(work).await
}

/// The same here and now: on a thread of its own it would be done at a moment that no simulation can repeat.
#[cfg(test)]
pub(crate) async fn on_a_thread<T>(work: impl FnOnce() -> T) -> Result<T, JoinError> {
    Ok(work())
}
