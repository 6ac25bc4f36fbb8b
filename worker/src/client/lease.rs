//! One lease: fetch the inputs, have an executor do the bundle, upload what it leaves, report each stage.

use std::collections::HashMap;

use secateur_proto::{
    convert::{InvalidMessage, StageWithInputs},
    ids::StageKey,
    outcome::{Failure, FailureClass, StageOutcome},
    v1::{
        Calibrate, Calibrated, Lease, MeasureBundle, RunBundle, Stage, StageReport, executor_reply::Reply,
        executor_request::Request, worker_message::Message,
    },
};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tracing::{debug, info};

use super::Connection;
use crate::{
    cache::CacheError,
    causes::with_causes,
    executor::process::{ExecutorCommand, ExecutorProcess, ProcessError},
    transfer::TransferError,
};

/// The worker's slots: how many executors may run, and those that are idle.
#[derive(Debug)]
pub struct Slots {
    command: ExecutorCommand,
    free: Semaphore,
    idle: Mutex<Vec<ExecutorProcess>>,
}

impl Slots {
    /// So many.
    #[must_use]
    pub fn new(command: ExecutorCommand, slots: u32) -> Self {
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
        if let ProcessError::Outputs(error) = error {
            return TransferError::from(error).into();
        }
        Self(Failure::new(FailureClass::Executor, with_causes(&error)))
    }
}

impl From<TransferError> for Failed {
    fn from(error: TransferError) -> Self {
        let class = if error.is_full() { FailureClass::NoSpace } else { FailureClass::Storage };
        Self(Failure::new(class, with_causes(&error)))
    }
}

impl From<CacheError> for Failed {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Store(error) => TransferError::from(error).into(),
            // A narrower bundle may fit, or another worker's cache; after the last attempt allowed this is what is told.
            CacheError::TooSmall { .. } => Self(Failure::new(FailureClass::Storage, error.to_string())),
        }
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
pub(super) async fn run(
    lease: Lease,
    mut connection: Connection,
    slots: &Slots,
    messages: &mpsc::Sender<Message>,
) -> Result<(), Failed> {
    let _slot = slots.free.acquire().await;
    let mut attempts = HashMap::new();
    let mut stages = Vec::new();
    let mut inputs = Vec::new();
    for leased in lease.stages {
        let stage = StageWithInputs::try_from(leased.stage.ok_or(InvalidMessage::Missing("stage"))?)?;
        inputs.extend(stage.spec.reads().iter().filter_map(|role| stage.inputs.get(role)).copied());
        attempts.insert(stage.key, leased.attempt);
        stages.push(Stage::from(&stage));
    }
    // Before the executor, so that what it reads stays until it is gone.
    let mut held = connection.cache.hold(inputs).await?;
    held.fetch(&mut connection.artifacts).await?;
    info!(stages = stages.len(), "working on a lease");
    let mut executor = slots.executor().await?;
    executor.send(Request::Run(RunBundle { stages })).await?;
    loop {
        match executor.receive().await? {
            Reply::Progress(progress) => send(messages, Message::Progress(progress)).await,
            Reply::Done(done) => {
                let stage: StageKey = done.stage_key.parse().map_err(InvalidMessage::from)?;
                let outcome: StageOutcome = done.outcome.ok_or(InvalidMessage::Missing("outcome"))?.try_into()?;
                let attempt = attempts.get(&stage).copied().ok_or(InvalidMessage::Missing("attempt"))?;
                if let StageOutcome::Completed(result) = &outcome {
                    for artifact in result.artifacts.values() {
                        held.adopt(executor.outputs(), *artifact).map_err(TransferError::from)?;
                        connection.artifacts.upload(connection.cache.store(), *artifact).await?;
                    }
                }
                debug!(%stage, attempt, outcome = outcome.name(), "a stage ended");
                let report = StageReport {
                    lease_id: lease.lease_id.clone(),
                    stage_key: stage.to_string(),
                    attempt,
                    outcome: Some((&outcome).into()),
                };
                send(messages, Message::Report(report)).await;
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

/// Hands a message to the session. When that has ended there is nobody to tell.
pub(super) async fn send(messages: &mpsc::Sender<Message>, message: Message) {
    if messages.send(message).await.is_err() {
        debug!("the session has ended; a message is dropped");
    }
}
