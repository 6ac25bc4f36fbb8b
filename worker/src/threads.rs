//! Work that would keep a thread of the runtime busy: hashing, reading and writing files. It knows nothing of what is done.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{JoinError, spawn_blocking},
};

/// Does the work on a thread of its own, or at once where the runtime has one thread alone: that is a simulation, which could not repeat
/// when another thread is done.
///
/// # Errors
/// If the work panics, or the runtime is shutting down.
pub async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Ok(work());
    }
    spawn_blocking(work).await
}
