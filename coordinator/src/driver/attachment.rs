//! The channel from the driver to one worker. The driver alone keeps it open: when it drops its end, because the worker is gone or does
//! not read, the stream ends, and whoever serves it is told.

use std::{convert::Infallible, num::NonZeroU32};

use prost::Message as _;
use secateur_proto::{
    MAX_MESSAGE_LEN,
    outcome::{Failure, FailureClass},
    v1::{CoordinatorMessage, Lease},
};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

/// Messages that may wait for the connection of a worker without slots. A worker that lets more pile up is considered lost.
pub(super) const MAX_WAITING: usize = 1024;

/// Messages that may wait besides for each slot: a lease is given for each at the same moment, and may be taken back.
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

/// The end of whoever serves the worker's stream.
#[derive(Debug)]
pub struct Attachment {
    /// The messages for the worker. They end when the driver drops the worker.
    pub orders: WorkerReceiver,
    /// The rest, for whoever listens to the worker.
    pub hold: Hold,
}

/// Knows whether the driver still has the worker.
#[derive(Debug)]
pub struct Hold {
    // Not a sender of its own, which would keep the stream open.
    sender: mpsc::WeakSender<Result<CoordinatorMessage, Status>>,
    present: oneshot::Receiver<Infallible>,
}

/// A new channel to a worker with so many slots, with its first message in it.
pub(super) fn open(welcome: CoordinatorMessage, slots: NonZeroU32) -> (WorkerChannel, Attachment) {
    let (sender, orders) = mpsc::channel(MAX_WAITING + MAX_WAITING_PER_SLOT * slots.get() as usize);
    sender.try_send(Ok(welcome)).expect("a new channel has room");
    let (present, is_present) = oneshot::channel();
    let hold = Hold { sender: sender.downgrade(), present: is_present };
    (WorkerChannel { sender, _present: present }, Attachment { orders, hold })
}

impl WorkerChannel {
    /// Sends a message, unless too many wait or nobody serves the stream any more.
    pub(super) fn send(&self, message: Result<CoordinatorMessage, Status>) -> Result<(), Full> {
        self.sender.try_send(message).map_err(|_| Full)
    }
}

/// How a lease fails whose message no worker accepts. Narrower bundles of the class fit, as if memory had not sufficed; a single stage
/// that is too long would be too long again.
pub(super) fn too_long(lease: &Lease) -> Option<Failure> {
    // What surrounds the lease in its message takes a few bytes more.
    const MAX_LEASE_LEN: usize = MAX_MESSAGE_LEN - 64;
    let (length, stages) = (lease.encoded_len(), lease.stages.len());
    let class = if stages > 1 { FailureClass::OutOfMemory } else { FailureClass::Input };
    (length > MAX_LEASE_LEN).then(|| {
        let message =
            format!("a lease of {stages} stages has {length} bytes, more than a message may have ({MAX_LEASE_LEN})");
        Failure::new(class, message)
    })
}

/// A message cannot be sent.
#[derive(Debug)]
pub(super) struct Full;

impl Hold {
    /// Waits until the driver has dropped the worker.
    pub async fn dropped(&mut self) {
        // Nothing is ever sent: it fails once the other end is gone.
        let _ = (&mut self.present).await;
    }

    /// Ends the worker's stream with a reason, if there is room for one.
    pub fn end(&self, reason: Status) {
        if let Some(sender) = self.sender.upgrade() {
            // Without room, or without anybody who serves the stream, it ends with the channel.
            let _ = sender.try_send(Err(reason));
        }
    }
}
