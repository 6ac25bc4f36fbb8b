//! One attachment to the coordinator, from Hello to the end of the stream.

use std::{collections::HashMap, sync::Arc, time::Duration};

use secateur_proto::{
    PROTOCOL_VERSION, SEMANTICS_VERSION,
    v1::{
        Calibrated, Heartbeat, Hello, LeaseEnded, WorkerMessage, coordinator_message::Message as Order,
        worker_message::Message,
    },
};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, Id, JoinSet},
    time::MissedTickBehavior,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::Status;
use tracing::{Instrument as _, error, info, info_span, warn};

use super::{Connection, DeviceSlots, WorkerOptions, lease, lease::Slots};

/// Messages that may wait for the network.
const WAITING: usize = 256;

/// What a task of the session is for.
enum Work {
    Lease(String),
    Calibration(String),
}

/// Serves the coordinator until the stream ends, and says why it did. Leases that are under way are dropped then, and their
/// executors with them.
pub(super) async fn run(
    options: &WorkerOptions,
    device: DeviceSlots,
    mut connection: Connection,
    slots: &Arc<Slots>,
    mut attached: impl FnMut(),
) -> Status {
    let (messages, outgoing) = mpsc::channel::<Message>(WAITING);
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION,
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        semantics_version: SEMANTICS_VERSION,
        name: options.name.clone(),
        device: device.device.to_string(),
        slots: device.slots,
    };
    lease::send(&messages, Message::Hello(hello)).await;
    let outgoing = ReceiverStream::new(outgoing).map(|message| WorkerMessage { message: Some(message) });
    let mut orders = match connection.worker.attach(outgoing).await {
        Ok(orders) => orders.into_inner(),
        Err(status) => return status,
    };
    let interval = match orders.message().await {
        Ok(Some(order)) => match order.message {
            Some(Order::Welcome(welcome)) => {
                info!(worker = welcome.worker_id, device = %device.device, "attached");
                attached();
                Duration::from_millis(u64::from(welcome.heartbeat_interval_ms.max(100)))
            }
            _ => return Status::internal("the coordinator did not begin with a welcome"),
        },
        Ok(None) => return Status::unavailable("the coordinator closed the stream"),
        Err(status) => return status,
    };
    let mut heartbeat = tokio::time::interval(interval);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tasks: JoinSet<()> = JoinSet::new();
    let mut work: HashMap<Id, Work> = HashMap::new();
    let mut leases: HashMap<String, AbortHandle> = HashMap::new();
    loop {
        tokio::select! {
            order = orders.message() => match order {
                Ok(Some(order)) => match order.message {
                    Some(Order::Lease(order)) => {
                        let id = order.lease_id.clone();
                        let (slots, messages, connection) = (Arc::clone(slots), messages.clone(), connection.clone());
                        let span = info_span!("lease", lease = id);
                        let task = tasks.spawn(
                            async move {
                                let lease_id = order.lease_id.clone();
                            let result = lease::run(order, connection, &slots, &messages).await;
                            let failure = result.err().map(|lease::Failed(failure)| {
                                error!(reason = failure.message, "a lease failed");
                                (&failure).into()
                            });
                            lease::send(&messages, Message::LeaseEnded(LeaseEnded { lease_id, failure })).await;
                        }.instrument(span));
                        work.insert(task.id(), Work::Lease(id.clone()));
                        leases.insert(id, task);
                    }
                    Some(Order::Calibrate(order)) => {
                        let class = order.bundle_class.clone();
                        let (slots, messages) = (Arc::clone(slots), messages.clone());
                        if let Some(lanes) = options.lanes {
                            let told = Calibrated { bundle_class: class, lanes, lane_steps_per_second: 0.0 };
                            lease::send(&messages, Message::Calibrated(told)).await;
                            continue;
                        }
                        let task = tasks.spawn(async move {
                            let bundle_class = order.bundle_class.clone();
                            let calibrated = lease::calibrate(order, &slots).await.unwrap_or_else(|lease::Failed(failure)| {
                                // One lane always works, or its failure will be reported as the stage's.
                                error!(class = bundle_class, reason = failure.message, "calibration failed; one lane at a time");
                                Calibrated { bundle_class, lanes: 1, lane_steps_per_second: 0.0 }
                            });
                            lease::send(&messages, Message::Calibrated(calibrated)).await;
                        });
                        work.insert(task.id(), Work::Calibration(class));
                    }
                    Some(Order::Revoke(order)) => {
                        if let Some(task) = leases.get(&order.lease_id) {
                            info!(lease = order.lease_id, "revoked");
                            task.abort();
                        }
                    }
                    Some(Order::Welcome(_)) | None => warn!("the coordinator sent an order that means nothing here"),
                },
                Ok(None) => return Status::unavailable("the coordinator closed the stream"),
                Err(status) => return status,
            },
            Some(ended) = tasks.join_next_with_id() => {
                let (id, cancelled) = match ended {
                    Ok((id, ())) => (id, false),
                    Err(error) => (error.id(), true),
                };
                match work.remove(&id) {
                    Some(Work::Lease(lease_id)) => {
                        leases.remove(&lease_id);
                        if cancelled {
                            let ended = LeaseEnded { lease_id, failure: None };
                            lease::send(&messages, Message::LeaseEnded(ended)).await;
                        }
                    }
                    Some(Work::Calibration(class)) if cancelled => error!(class, "calibration ended without a result"),
                    Some(Work::Calibration(_)) | None => {}
                }
            }
            _ = heartbeat.tick() => lease::send(&messages, Message::Heartbeat(Heartbeat {})).await,
        }
    }
}
