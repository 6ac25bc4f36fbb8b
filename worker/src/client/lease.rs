//! One lease: fetch the inputs, have an executor do the bundle, report each stage; and beside it, carry what stages leave over to the
//! coordinator. Where that cannot be reached files wait, for as long as it takes.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use secateur_proto::{
    convert::{InvalidMessage, StageWithInputs},
    ids::StageKey,
    outcome::{Artifact, Failure, FailureClass, StageOutcome},
    v1::{
        Calibrate, Calibrated, Lease, MeasureBundle, RunBundle, Stage, StageReport, executor_reply::Reply,
        executor_request::Request, worker_message::Message,
    },
};
use tokio::sync::{Mutex, Semaphore};
use tracing::{debug, error, info, warn};

use super::{
    Connection, LONGEST_WAIT, Link,
    outbox::{Outbox, files},
};
use crate::{
    causes::with_causes,
    executor::process::{ExecutorCommand, ExecutorProcess, ProcessError},
    transfer::TransferError,
};

/// The worker's slots: how many executors may run, and those that are idle.
#[derive(Debug)]
pub(super) struct Slots {
    command: ExecutorCommand,
    free: Semaphore,
    idle: Mutex<Vec<ExecutorProcess>>,
}

impl Slots {
    /// So many.
    pub(super) fn new(command: ExecutorCommand, slots: u32) -> Self {
        Self { command, free: Semaphore::new(slots as usize), idle: Mutex::new(Vec::new()) }
    }

    /// An executor that is alive: an idle one, or a new one.
    async fn executor(&self) -> Result<ExecutorProcess, ProcessError> {
        match self.idle.lock().await.pop() {
            Some(executor) => Ok(executor),
            None => ExecutorProcess::start(&self.command),
        }
    }
}

impl From<ProcessError> for Failed {
    fn from(error: ProcessError) -> Self {
        Self(Failure::new(FailureClass::Executor, with_causes(&error)))
    }
}

impl From<TransferError> for Failed {
    fn from(error: TransferError) -> Self {
        let class = if error.is_full() { FailureClass::NoSpace } else { FailureClass::Storage };
        Self(Failure::new(class, with_causes(&error)))
    }
}

impl From<InvalidMessage> for Failed {
    fn from(error: InvalidMessage) -> Self {
        Self(Failure::new(FailureClass::Internal, with_causes(&error)))
    }
}

/// Why a lease ended before all of its stages were reported.
pub(super) struct Failed(pub(super) Failure);

/// Does a lease. Cancelled by dropping, which kills the executor that is at work.
pub(super) async fn run(lease: Lease, link: Link, slots: &Slots, outbox: &Outbox) -> Result<(), Failed> {
    let _slot = slots.free.acquire().await;
    let mut attempts = HashMap::new();
    let mut stages = Vec::new();
    for leased in lease.stages {
        let stage = StageWithInputs::try_from(leased.stage.ok_or(InvalidMessage::Missing("stage"))?)?;
        for artifact in stage.spec.reads().iter().filter_map(|role| stage.inputs.get(role)) {
            move_file(&link, *artifact, Direction::Here).await?;
        }
        attempts.insert(stage.key, leased.attempt);
        stages.push(Stage::from(&stage));
    }
    info!(stages = stages.len(), "working on a lease");
    let mut executor = slots.executor().await?;
    executor.send(Request::Run(RunBundle { stages })).await?;
    loop {
        match executor.receive().await? {
            Reply::Progress(progress) => outbox.pass(Message::Progress(progress)),
            Reply::Done(done) => {
                let stage: StageKey = done.stage_key.parse().map_err(InvalidMessage::from)?;
                let outcome: StageOutcome = done.outcome.ok_or(InvalidMessage::Missing("outcome"))?.try_into()?;
                let attempt = attempts.get(&stage).copied().ok_or(InvalidMessage::Missing("attempt"))?;
                let report = StageReport {
                    lease_id: lease.lease_id.clone(),
                    stage_key: stage.to_string(),
                    attempt,
                    outcome: Some((&outcome).into()),
                };
                outbox.put(Message::Report(report));
                debug!(%stage, attempt, outcome = outcome.name(), "a stage ended");
            }
            Reply::BundleDone(_) => {
                slots.idle.lock().await.push(executor);
                return Ok(());
            }
            Reply::Measured(_) => return Err(InvalidMessage::Missing("end of the bundle").into()),
        }
    }
}

/// Measures how many lanes of a class to run at once.
pub(super) async fn calibrate(request: Calibrate, slots: &Slots) -> Result<Calibrated, Failed> {
    let _slot = slots.free.acquire().await;
    let mut executor = slots.executor().await?;
    executor.send(Request::Measure(MeasureBundle { stage: request.stage })).await?;
    match executor.receive().await? {
        Reply::Measured(measured) => {
            slots.idle.lock().await.push(executor);
            info!(
                class = request.bundle_class,
                lanes = measured.lanes,
                rate = measured.lane_steps_per_second,
                "calibrated"
            );
            Ok(Calibrated {
                bundle_class: request.bundle_class,
                lanes: measured.lanes,
                lane_steps_per_second: measured.lane_steps_per_second,
            })
        }
        _ => Err(InvalidMessage::Missing("measurement").into()),
    }
}

/// Carries the files of results over, one result beside the other, for as long as it is polled.
pub(super) async fn carry(outbox: &Outbox, link: &Link) -> Infallible {
    let mut under_way = FuturesUnordered::new();
    let mut next = 0;
    loop {
        tokio::select! {
            (number, report) = outbox.to_carry(next) => {
                next = number + 1;
                under_way.push(async move {
                    match carry_one(link, &report).await {
                        Ok(()) => outbox.carried(number),
                        Err(Failed(failure)) => {
                            error!(stage = report.stage_key, reason = failure.message, "a result is lost");
                            outbox.not_carried(number, &failure);
                        }
                    }
                });
            }
            Some(()) = under_way.next() => {}
        }
    }
}

async fn carry_one(link: &Link, report: &StageReport) -> Result<(), Failed> {
    for file in files(report) {
        move_file(link, file.try_into()?, Direction::There).await?;
    }
    Ok(())
}

/// Which way a file goes.
#[derive(Debug, Clone, Copy)]
enum Direction {
    Here,
    There,
}

/// Moves a file, over one connection after the other until it has got across or cannot.
async fn move_file(link: &Link, artifact: Artifact, direction: Direction) -> Result<(), TransferError> {
    let mut wait = Duration::from_millis(100);
    loop {
        let Connection { mut artifacts, store, .. } = link.connection().await;
        let moved = match direction {
            Direction::Here => artifacts.download(&store, artifact).await,
            Direction::There => artifacts.upload(&store, artifact).await,
        };
        match moved {
            Err(error) if error.is_unreachable() => {
                warn!(reason = with_causes(&error), "the coordinator cannot be reached; a file waits");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            moved => return moved,
        }
    }
}
