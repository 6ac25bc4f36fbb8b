//! The channel from the driver to one worker. Only the driver keeps it open. When it drops its end, because the worker
//! is gone or does not read, the stream ends and the task that serves it is notified.

use std::{convert::Infallible, num::NonZeroU32};

use prost::Message as _;
use secateur_proto::{
    MAX_MESSAGE_LEN,
    outcome::{Failure, FailureClass},
    v1::{CoordinatorMessage, Lease},
};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

/// The maximum number of messages that wait for a worker without slots. A worker that lets more pile up is considered
/// lost.
pub(super) const MAX_WAITING: usize = 1024;

/// The number of further messages that may wait for each slot: each may get a lease at the same moment, and its
/// revocation.
const MAX_WAITING_PER_SLOT: usize = 2;

type WorkerSender = mpsc::Sender<Result<CoordinatorMessage, Status>>;

/// Messages to one worker; an error ends its stream.
pub type WorkerReceiver = mpsc::Receiver<Result<CoordinatorMessage, Status>>;

/// The driver's end.
#[derive(Debug)]
pub(super) struct WorkerChannel {
    sender: WorkerSender,
    _present: oneshot::Sender<Infallible>,
}

/// The end of the task that serves the worker's stream.
#[derive(Debug)]
pub struct Attachment {
    /// The messages to the worker. They end when the driver drops the worker.
    pub orders: WorkerReceiver,
    /// The handle for the task that listens to the worker.
    pub hold: Hold,
}

/// A handle that knows whether the driver still has the worker.
#[derive(Debug)]
pub struct Hold {
    // A strong sender would keep the stream open.
    sender: mpsc::WeakSender<Result<CoordinatorMessage, Status>>,
    present: oneshot::Receiver<Infallible>,
}

/// Opens a channel to a worker with `slots` slots, with `welcome` as its first message.
pub(super) fn open(welcome: CoordinatorMessage, slots: NonZeroU32) -> (WorkerChannel, Attachment) {
    let (sender, orders) = mpsc::channel(MAX_WAITING + MAX_WAITING_PER_SLOT * slots.get() as usize);
    sender.try_send(Ok(welcome)).expect("a new channel has room");
    let (present, is_present) = oneshot::channel();
    let hold = Hold { sender: sender.downgrade(), present: is_present };
    (WorkerChannel { sender, _present: present }, Attachment { orders, hold })
}

impl WorkerChannel {
    /// Sends a message, unless too many wait or the stream is closed.
    pub(super) fn send(&self, message: Result<CoordinatorMessage, Status>) -> Result<(), Full> {
        self.sender.try_send(message).map_err(|_| Full)
    }
}

/// Returns the failure of a lease whose message is too long for any worker. A lease of several stages fails as out of
/// memory, because narrower bundles of the class fit. A single stage that is too long fails permanently.
pub(super) fn too_long(lease: &Lease) -> Option<Failure> {
    // The message needs a few more bytes around the lease.
    const MAX_LEASE_LEN: usize = MAX_MESSAGE_LEN - 64;
    let (length, stages) = (lease.encoded_len(), lease.stages.len());
    let class = if stages > 1 { FailureClass::OutOfMemory } else { FailureClass::Input };
    (length > MAX_LEASE_LEN).then(|| {
        let message =
            format!("a lease of {stages} stages has {length} bytes, over the limit of a message ({MAX_LEASE_LEN})");
        Failure::new(class, message)
    })
}

/// A message cannot be sent.
#[derive(Debug)]
pub(super) struct Full;

impl Hold {
    /// Waits until the driver has dropped the worker.
    pub async fn dropped(&mut self) {
        // Nothing is ever sent: receiving fails once the other end is dropped.
        let _ = (&mut self.present).await;
    }

    /// Ends the worker's stream with a reason, if the channel has space for it.
    pub fn end(&self, reason: Status) {
        if let Some(sender) = self.sender.upgrade() {
            // Otherwise the stream ends with the channel.
            let _ = sender.try_send(Err(reason));
        }
    }
}
