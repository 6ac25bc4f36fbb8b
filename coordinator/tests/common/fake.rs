//! A worker made by hand: it says what a test wants said, and keeps a lease for as long as a test needs it. What a worker may do while
//! it holds a lease is tested with one of these, since a real worker may be done at any moment.

use secateur_proto::{
    PROTOCOL_VERSION, SEMANTICS_VERSION,
    v1::{
        CoordinatorMessage, Hello, Lease, WorkerMessage, coordinator_message, worker_message::Message,
        worker_service_client::WorkerServiceClient,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, metadata::MetadataValue, transport::Channel};

/// A call that shows a token.
pub(crate) fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value: MetadataValue<_> = format!("Bearer {token}").parse().expect("a header");
    request.metadata_mut().insert("authorization", value);
    request
}

/// The first words of a worker with one slot.
pub(crate) fn hello(name: &str) -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        software_version: "test".to_owned(),
        semantics_version: SEMANTICS_VERSION,
        name: name.to_owned(),
        device: "cpu".to_owned(),
        slots: 1,
        instance: name.to_owned(),
        held: vec![],
        cordoned_by: String::new(),
        coordinator: String::new(),
    }
}

/// A worker that is attached.
pub(crate) struct FakeWorker {
    messages: mpsc::Sender<WorkerMessage>,
    orders: Streaming<CoordinatorMessage>,
}

impl FakeWorker {
    /// Attaches with these first words, and a token if there is one.
    pub(crate) async fn attach(channel: &Channel, token: Option<&str>, first: Message) -> Result<Self, Status> {
        let (messages, receiver) = mpsc::channel(64);
        messages.send(WorkerMessage { message: Some(first) }).await.expect("has room");
        let said = ReceiverStream::new(receiver);
        let request = match token {
            Some(token) => with_token(token, said),
            None => Request::new(said),
        };
        let mut orders = WorkerServiceClient::new(channel.clone()).attach(request).await?.into_inner();
        match orders.message().await?.and_then(|order| order.message) {
            Some(coordinator_message::Message::Welcome(_)) => Ok(Self { messages, orders }),
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// Says something to the coordinator.
    pub(crate) async fn say(&self, message: Message) {
        self.messages.send(WorkerMessage { message: Some(message) }).await.expect("has room");
    }

    /// Waits for a lease.
    pub(crate) async fn lease(&mut self) -> Lease {
        while let Some(order) = self.orders.message().await.expect("the stream is open") {
            if let Some(coordinator_message::Message::Lease(lease)) = order.message {
                return lease;
            }
        }
        panic!("the stream ended without a lease");
    }

    /// Waits until the coordinator ends the stream, with the reason.
    pub(crate) async fn end(mut self) -> Status {
        loop {
            match self.orders.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended as if nothing were wrong"),
                Err(status) => return status,
            }
        }
    }
}
