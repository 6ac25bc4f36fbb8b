//! One attachment to the coordinator, from Hello to the end of the stream.

use std::{sync::Arc, time::Duration};

use secateur_proto::{
    PROTOCOL_VERSION, SEMANTICS_VERSION,
    v1::{Draining, Heartbeat, Hello, coordinator_message::Message as Order, worker_message::Message},
};
use tokio::time::MissedTickBehavior;
use tonic::Status;
use tracing::{info, warn};

use super::{Connection, Identity, Link, Stop, home::Home, outbox::Outbox, workbench::Workbench};

/// Why a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// All work is reported or returned, as requested.
    Drained,
    /// The stream broke, or was refused.
    Broken(Status),
}

/// Serves the coordinator until the stream ends. Its work is that of the coordinator at `home`. Running work then continues.
#[expect(clippy::too_many_arguments, reason = "all that a session needs; it has one caller")]
pub(super) async fn run(
    identity: &Identity,
    connection: Connection,
    bench: &mut Workbench,
    outbox: &Arc<Outbox>,
    link: &Link,
    stop: &mut Stop,
    home: &mut Home,
    attached: impl FnMut(),
) -> Ended {
    let ended = attach(identity, connection, bench, outbox, link, stop, home, attached).await;
    link.cut();
    outbox.detach();
    match ended {
        Ok(()) => Ended::Drained,
        Err(status) => Ended::Broken(status),
    }
}

#[expect(clippy::too_many_arguments, reason = "all that a session needs; it has one caller")]
async fn attach(
    identity: &Identity,
    mut connection: Connection,
    bench: &mut Workbench,
    outbox: &Arc<Outbox>,
    link: &Link,
    stop: &mut Stop,
    home: &mut Home,
    mut attached: impl FnMut(),
) -> Result<(), Status> {
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION,
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        semantics_version: SEMANTICS_VERSION,
        name: identity.name.clone(),
        device: identity.device.to_string(),
        slots: identity.slots,
        instance: identity.instance.to_string(),
        held: bench.held(),
        cordoned_by: bench.cordoned_by().to_owned(),
        coordinator: home.holder(bench.is_clear()).to_owned(),
    };
    let mut orders = connection.worker.attach(outbox.stream(Message::Hello(hello))).await?.into_inner();
    let closed = || Status::unavailable("the coordinator closed the stream");
    let welcome = match orders.message().await?.ok_or_else(closed)?.message {
        Some(Order::Welcome(welcome)) => welcome,
        _ => return Err(Status::internal("the first message of the coordinator was not Welcome")),
    };
    home.greeted(&welcome.coordinator, bench.is_clear())?;
    info!(worker = welcome.worker_id, device = %identity.device, coordinator = welcome.coordinator, "attached");
    attached();
    if welcome.direct_artifacts
        && let Some(direct) = &**identity.direct
    {
        connection.artifacts = connection.artifacts.past_the_service(Arc::clone(direct));
    }
    link.is(connection);
    let interval = Duration::from_millis(u64::from(welcome.heartbeat_interval_ms.max(100)));
    let mut heartbeat = tokio::time::interval(interval);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut handed_back) = (false, false);
    loop {
        if stop.is_asked() && !told {
            info!(
                seconds = stop.grace().as_secs(),
                "draining: no new work; stages that do not finish in time are returned"
            );
            outbox.pass(Message::Draining(Draining {}));
            told = true;
        }
        // The grace period may have ended before this attachment began.
        if stop.is_over() && !handed_back {
            bench.hand_back();
            handed_back = true;
        }
        if told && bench.is_clear() {
            return Ok(());
        }
        tokio::select! {
            // Rare events come first, so that frequent ones cannot delay them. The order is fixed, so that a simulation
            // can repeat it.
            biased;
            () = stop.changes() => {}
            _ = heartbeat.tick() => outbox.pass(Message::Heartbeat(Heartbeat {})),
            () = bench.work_ends() => {}
            order = orders.message() => match order?.ok_or_else(closed)?.message {
                Some(Order::Lease(order)) => bench.begin(order),
                Some(Order::Calibrate(order)) => bench.calibrate(order),
                Some(Order::Revoke(order)) => bench.revoke(&order.lease_id),
                Some(Order::Settled(settled)) => settled.ends.iter().for_each(|end| bench.settle(end)),
                Some(Order::Cordon(order)) => bench.cordon(order),
                Some(Order::Drain(_)) => stop.order(),
                Some(Order::Welcome(_)) | None => warn!("ignoring an unknown message of the coordinator"),
            },
        }
    }
}
