//! The gRPC services: thin. Each method validates its message, asks the driver or the store, and converts the answer to
//! a message.

mod artifact;
mod owner;
mod said;
mod sweep;
mod worker;

use std::pin::Pin;

use futures::{Stream, StreamExt as _, stream};
use secateur_proto::convert::InvalidMessage;
use secateur_worker::threads::on_a_thread;
use tokio::sync::mpsc;
use tonic::Status;

#[cfg(test)]
pub(crate) use self::artifact::bucket_status;
pub use self::{
    artifact::{Artifacts, is_storage_failure},
    sweep::Sweeps,
    worker::Workers,
};
use crate::{
    artifacts::ArtifactError,
    driver::{NotTaken, Stopped},
    queries::QueryError,
    scheduler::Rejection,
    security::{Access, Caller},
};

impl From<Stopped> for Status {
    fn from(stopped: Stopped) -> Self {
        Self::unavailable(stopped.to_string())
    }
}

impl From<NotTaken> for Status {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Rejected(rejection @ Rejection::TooManySweeps { .. }) => {
                Self::resource_exhausted(rejection.to_string())
            }
            NotTaken::Rejected(rejection) => Self::failed_precondition(rejection.to_string()),
            NotTaken::Stopped(stopped) => stopped.into(),
        }
    }
}

impl From<QueryError> for Status {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::NoSweepNamed
            | QueryError::UnknownSweep(_)
            | QueryError::UnknownWorker { .. }
            | QueryError::UnknownSubject { .. }
            | QueryError::UnknownStage(_)
            | QueryError::TooManyStages(_) => Self::not_found(message),
            QueryError::SeveralSweeps { .. }
            | QueryError::SeveralWorkers { .. }
            | QueryError::SeveralTrials { .. }
            | QueryError::Refused(_) => Self::invalid_argument(message),
            QueryError::NotUploaded | QueryError::NotAnExtension(..) => Self::failed_precondition(message),
            QueryError::Artifacts(ArtifactError::Bucket(error)) => artifact::bucket_status(&error),
            QueryError::Busy => Self::resource_exhausted(message),
            QueryError::Stopped => Self::unavailable(message),
            QueryError::Artifacts(_) | QueryError::Logs(_) | QueryError::Failed(_) => Self::internal(message),
        }
    }
}

/// A response stream.
type Told<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Forwards `told` while the caller has access; then ends with the reason.
fn while_known<T: Send + 'static>(
    access: Access,
    caller: Caller,
    told: impl Stream<Item = Result<T, Status>> + Send + Unpin + 'static,
) -> Told<T> {
    let unknown = Box::pin(async move { access.until_unknown(&caller).await });
    let told = stream::unfold(Some((told, unknown)), |both| async move {
        let (mut told, mut unknown) = both?;
        tokio::select! {
            biased;
            status = &mut unknown => Some((Err(status), None)),
            next = told.next() => next.map(|next| (next, Some((told, unknown)))),
        }
    });
    told.boxed()
}

/// Returns the result of `wait`, or `None` once the client behind `sender` is gone. So the stream of a client that left
/// ends at once, not only at the next message.
async fn while_heard<T, V>(sender: &mpsc::Sender<V>, wait: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = sender.closed() => None,
        value = wait => Some(value),
    }
}

fn invalid(error: impl Into<InvalidMessage>) -> Status {
    Status::invalid_argument(error.into().to_string())
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_what_nobody_hears() {
        let (sender, receiver) = mpsc::channel::<()>(1);
        assert_eq!(while_heard(&sender, ready(1)).await, Some(1));
        drop(receiver);
        assert_eq!(while_heard(&sender, pending::<()>()).await, None);
    }
}
