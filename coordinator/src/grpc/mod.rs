//! The gRPC services: thin. Each method checks its message, asks the driver or the store, and puts the answer into a message.

mod artifact;
mod logs;
mod said;
mod sweep;
mod worker;

use secateur_proto::convert::InvalidMessage;
use tonic::Status;

pub use self::{artifact::Artifacts, sweep::Sweeps, worker::Workers};
use crate::{
    driver::{NotTaken, Stopped},
    scheduler::Rejection,
    threads::on_a_thread,
};

/// The longest message that is taken: chunks have 1 MiB, and a lease of many stages is the longest other.
pub const LONGEST_MESSAGE: usize = 16 << 20;

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

fn invalid(error: impl Into<InvalidMessage>) -> Status {
    Status::invalid_argument(error.into().to_string())
}
