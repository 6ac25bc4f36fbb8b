//! One lease: fetch the inputs, run the bundle in an executor, report each stage. At the same time the outputs of
//! stages are uploaded. If the coordinator cannot be reached, files wait for as long as it takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use secateur_proto::{
    convert::{InvalidMessage, StageWithInputs},
    ids::StageKey,
    outcome::{Artifact, Checkpoint, Failure, FailureClass, Role, StageOutcome},
    v1::{
        ArtifactRef, Calibrate, Calibrated, Checkpointed, HeldStage, Lease, MeasureBundle, Progress, RunBundle,
        StageCheckpoint, StageReport, Words, executor_reply::Reply, executor_request::Request, worker_message::Message,
    },
};
use tokio::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore};
use tracing::{debug, error, info, warn};

use super::{
    LONGEST_WAIT, Link, SHORTEST_WAIT,
    executors::{Executor, Executors},
    outbox::{Outbox, files},
};
use crate::{
    cache::{Cache, CacheError, Held},
    causes::with_causes,
    executor::{
        checkpoints::Checkpoints,
        process::{ExecutorOptions, ProcessError},
    },
    store::Store,
    transfer::TransferError,
};

/// The worker's slots: the limit of running executors, and the idle ones.
#[derive(Debug)]
pub(super) struct Slots {
    executors: Arc<dyn Executors>,
    options: ExecutorOptions,
    cache: Arc<Cache>,
    free: Semaphore,
    idle: Mutex<Vec<Box<dyn Executor>>>,
}

impl Slots {
    /// `slots` slots, whose executors use the files of `cache`.
    pub(super) fn new(executors: Arc<dyn Executors>, options: ExecutorOptions, slots: u32, cache: Arc<Cache>) -> Self {
        Self { executors, options, cache, free: Semaphore::new(slots as usize), idle: Mutex::new(Vec::new()) }
    }

    /// Sends a request to an idle executor, or to a new one. An idle one that died did so for other reasons, so another
    /// replaces it.
    async fn ask(&self, request: Request) -> Result<Box<dyn Executor>, ProcessError> {
        loop {
            let idle = self.idle.lock().await.pop();
            let Some(mut executor) = idle else { break };
            let failed = match executor.ended().await {
                Some(ended) => ended,
                None => match executor.send(request.clone()).await {
                    Ok(()) => return Ok(executor),
                    Err(error) => error,
                },
            };
            warn!(reason = with_causes(&failed), "an idle executor died; another one replaces it");
        }
        let mut executor = self.executors.start(&self.options)?;
        executor.send(request).await?;
        Ok(executor)
    }
}

/// The machine, which stages of all devices and workers of this process share. A stage that takes the time has it alone. It cannot keep out
/// other programs.
static MACHINE: RwLock<()> = RwLock::const_new(());

/// The interval between two signs of progress of attempts that wait for their turn on the machine.
const BETWEEN_SIGNS: Duration = Duration::from_secs(60);

/// A part of the machine, or all of it.
#[expect(dead_code, reason = "held until the work has ended")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Turn {
    /// Waits for it. Who waits to be alone comes before all who ask later, so that the machine drains.
    async fn take(alone: bool) -> Self {
        if alone { Self::Alone(MACHINE.write().await) } else { Self::Shared(MACHINE.read().await) }
    }

    /// Waits for the turn of these attempts. They give signs of progress meanwhile: a coordinator that hears nothing of
    /// an attempt for long takes it for stuck.
    async fn take_with_signs(alone: bool, outbox: &Outbox, attempts: &Attempts) -> Self {
        let mut turn = std::pin::pin!(Self::take(alone));
        loop {
            if let Ok(turn) = tokio::time::timeout(BETWEEN_SIGNS, turn.as_mut()).await {
                return turn;
            }
            for (stage, attempt) in attempts {
                // Without a number of epochs it is a sign alone.
                let sign = Progress { stage_key: stage.to_string(), attempt: *attempt, ..Progress::default() };
                outbox.pass(Message::Progress(sign));
            }
        }
    }
}

impl From<ProcessError> for Failed {
    fn from(error: ProcessError) -> Self {
        if let ProcessError::Outputs(error) = error {
            return TransferError::from(error).into();
        }
        Self(Failure::new(error.class(), with_causes(&error)))
    }
}

impl From<TransferError> for Failed {
    fn from(error: TransferError) -> Self {
        let class = match error {
            _ if error.is_full() => FailureClass::NoSpace,
            // A retry would be as large.
            _ if error.is_too_large() => FailureClass::Input,
            _ => FailureClass::Storage,
        };
        let message = if let TransferError::Store(error) = &error { error.told() } else { with_causes(&error) };
        Self(Failure::new(class, message))
    }
}

impl Failed {
    /// An input could not be fetched.
    fn reading(role: Role, error: TransferError) -> Self {
        let Self(Failure { class, message }) = error.into();
        Self(Failure::new(class, format!("cannot get its input `{}`: {message}", role.name())))
    }
}

impl From<CacheError> for Failed {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Store(error) => TransferError::from(error).into(),
            // A narrower bundle or another worker's cache may be large enough. If there is neither, this error is
            // reported.
            CacheError::TooSmall { .. } => Self(Failure::new(FailureClass::Unfit, error.to_string())),
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

/// Runs a lease. Dropping the future cancels it and kills its executor.
pub(super) async fn run(lease: Lease, link: Link, slots: &Slots, outbox: &Outbox) -> Result<(), Failed> {
    let mut attempts = Attempts::new();
    let ended = work(lease, link, slots, outbox, &mut attempts).await;
    if let Err(Failed(failure)) = &ended {
        tell(outbox, &attempts, vec![format!("failed: {}", failure.message)]);
    }
    ended
}

/// The stages of a lease that have not ended, each with its attempt number.
type Attempts = BTreeMap<StageKey, u32>;

/// Adds lines to the logs of these attempts.
fn tell(outbox: &Outbox, attempts: &Attempts, lines: Vec<String>) {
    if !lines.is_empty() {
        let held = |(stage, attempt): (&StageKey, &u32)| HeldStage { stage_key: stage.to_string(), attempt: *attempt };
        outbox.pass(Message::Words(Words { stages: attempts.iter().map(held).collect(), lines }));
    }
}

/// Adds a line to the log of an attempt at one of these stages.
fn tell_of(outbox: &Outbox, attempts: &Attempts, stage: StageKey, line: String) {
    let attempt = attempts.get(&stage).copied().unwrap_or_default();
    tell(outbox, &Attempts::from([(stage, attempt)]), vec![line]);
}

/// Holds the inputs of a lease and the checkpoints that its stages resume from. Removes from the latter those that
/// cannot be fetched: such a stage restarts.
async fn fetch(
    inputs: &BTreeMap<Artifact, Role>,
    checkpoints: &mut Checkpoints,
    link: &Link,
    slots: &Slots,
    tell_of: impl Fn(StageKey, String),
) -> Result<Held, Failed> {
    let all = inputs.keys().copied().chain(checkpoints.values().map(|checkpoint| checkpoint.state));
    let held = match slots.cache.hold(all).await {
        Err(error @ CacheError::TooSmall { .. }) if !checkpoints.is_empty() => {
            for (stage, _) in std::mem::take(checkpoints) {
                tell_of(stage, format!("restarts: no space for its checkpoint: {error}"));
            }
            slots.cache.hold(inputs.keys().copied()).await?
        }
        held => held?,
    };
    let fetched = |artifact: Artifact| {
        let held = &held;
        async move {
            let mut tries = Tries::default();
            while tries.go_on(held.fetch(&mut link.connection().await.artifacts, artifact).await).await? {}
            Ok::<(), TransferError>(())
        }
    };
    for (input, role) in inputs {
        fetched(*input).await.map_err(|error| Failed::reading(*role, error))?;
    }
    let mut there = Checkpoints::new();
    for (stage, checkpoint) in std::mem::take(checkpoints) {
        match fetched(checkpoint.state).await {
            Ok(()) => {
                tell_of(stage, format!("resumes after epoch {}", checkpoint.epoch));
                there.insert(stage, checkpoint);
            }
            Err(error) => {
                let reason = with_causes(&error);
                warn!(%stage, epoch = checkpoint.epoch, reason, "cannot get a checkpoint");
                tell_of(stage, format!("restarts: cannot get its checkpoint: {reason}"));
            }
        }
    }
    *checkpoints = there;
    Ok(held)
}

async fn work(lease: Lease, link: Link, slots: &Slots, outbox: &Outbox, attempts: &mut Attempts) -> Result<(), Failed> {
    debug!("received a lease");
    let _slot = slots.free.acquire().await;
    let mut stages = Vec::new();
    let mut inputs = BTreeMap::new();
    let mut given = BTreeSet::new();
    let mut checkpoints = Checkpoints::new();
    let mut is_exclusive = false;
    for leased in lease.stages {
        let message = leased.stage.ok_or(InvalidMessage::Missing("stage"))?;
        let stage = StageWithInputs::try_from(message.clone())?;
        if outbox.take_up(&stage.key.to_string(), &lease.lease_id, leased.attempt) {
            info!(stage = %stage.key, "its result already exists");
            continue;
        }
        inputs.extend(stage.spec.reads().into_iter().filter_map(|role| Some((*stage.inputs.get(&role)?, role))));
        given.extend(stage.inputs.values().copied());
        is_exclusive |= stage.spec.is_exclusive();
        attempts.insert(stage.key, leased.attempt);
        if let Some(checkpoint) = leased.checkpoint {
            checkpoints.insert(stage.key, checkpoint.try_into()?);
        }
        stages.push(message);
    }
    if stages.is_empty() {
        return Ok(());
    }
    // Before the executor starts, so that its inputs are kept until it has ended.
    let say = |stage, line| tell_of(outbox, attempts, stage, line);
    let _held = fetch(&inputs, &mut checkpoints, &link, slots, say).await?;
    // After its files are there: nobody waits for a network while others are kept out.
    let _turn = Turn::take_with_signs(is_exclusive, outbox, attempts).await;
    info!(stages = stages.len(), checkpoints = checkpoints.len(), "working on a lease");
    let checkpoints = checkpoints.into_iter().map(|(stage, checkpoint)| StageCheckpoint {
        stage_key: stage.to_string(),
        checkpoint: Some(checkpoint.into()),
    });
    let mut executor = slots.ask(Request::Run(RunBundle { stages, checkpoints: checkpoints.collect() })).await?;
    loop {
        let reply = executor.receive().await;
        tell(outbox, attempts, executor.said());
        match reply? {
            Reply::Progress(mut progress) => {
                let stage = progress.stage_key.parse::<StageKey>().ok();
                progress.attempt = stage.and_then(|stage| attempts.get(&stage).copied()).unwrap_or_default();
                outbox.pass(Message::Progress(progress));
            }
            Reply::Checkpointed(StageCheckpoint { stage_key, checkpoint }) => {
                let stage: StageKey = stage_key.parse().map_err(InvalidMessage::from)?;
                let checkpoint: Checkpoint = checkpoint.ok_or(InvalidMessage::Missing("checkpoint"))?.try_into()?;
                let attempt = *attempts.get(&stage).ok_or(InvalidMessage::Missing("attempt"))?;
                let mut made = slots.cache.hold_nothing();
                match made.adopt(executor.outputs(), checkpoint.state) {
                    Ok(()) => {
                        debug!(%stage, attempt, epoch = checkpoint.epoch, "a checkpoint was taken");
                        let lease_id = lease.lease_id.clone();
                        let checkpoint = Some(checkpoint.into());
                        outbox.put_checkpoint(Checkpointed { lease_id, stage_key, attempt, checkpoint }, made);
                    }
                    // The stage continues, and there will be another checkpoint.
                    Err(error) => warn!(%stage, reason = with_causes(&error), "a checkpoint is lost"),
                }
            }
            Reply::Done(done) => {
                let stage: StageKey = done.stage_key.parse().map_err(InvalidMessage::from)?;
                let outcome: StageOutcome = done.outcome.ok_or(InvalidMessage::Missing("outcome"))?.try_into()?;
                let attempt = attempts.remove(&stage).ok_or(InvalidMessage::Missing("attempt"))?;
                let report = StageReport {
                    lease_id: lease.lease_id.clone(),
                    stage_key: stage.to_string(),
                    attempt,
                    outcome: Some((&outcome).into()),
                };
                // They are kept in the cache until the coordinator has them.
                let mut made = slots.cache.hold_nothing();
                if let StageOutcome::Completed(result) = &outcome {
                    // A result also names input files, which were not made here and may not even have been read.
                    for artifact in result.artifacts.values().filter(|artifact| !given.contains(artifact)) {
                        made.adopt(executor.outputs(), *artifact).map_err(TransferError::from)?;
                    }
                }
                outbox.put_result(report, made);
                debug!(%stage, attempt, outcome = outcome.name(), "a stage ended");
                if let StageOutcome::Failed(failure) = &outcome {
                    warn!(%stage, attempt, class = failure.class.name(), reason = failure.message, "a stage failed");
                }
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
    let _turn = Turn::take(false).await;
    let mut executor = slots.ask(Request::Measure(MeasureBundle { stage: request.stage })).await?;
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

/// Uploads the files of results, several results at the same time, for as long as it is polled.
pub(super) async fn carry(outbox: &Outbox, link: &Link, store: &Arc<Store>) -> Infallible {
    let mut under_way = FuturesUnordered::new();
    let mut next = 0;
    loop {
        tokio::select! {
            // Only finitely many results wait, so current uploads still make progress.
            biased;
            (number, report) = outbox.to_carry(next) => {
                next = number + 1;
                under_way.push(async move {
                    match carry_one(outbox, link, store, number, &report).await {
                        Ok(()) => {
                            debug!(lease = report.lease_id, stage = report.stage_key, "the files of a result are uploaded");
                            outbox.carried(number);
                        }
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

/// Uploads checkpoints, one after the other, for as long as it is polled. Results do not wait for it.
pub(super) async fn carry_checkpoints(outbox: &Outbox, link: &Link, store: &Arc<Store>) -> Infallible {
    loop {
        let (number, state) = outbox.to_carry_checkpoint().await;
        match carry_checkpoint(outbox, link, store, number, state).await {
            Ok(()) => outbox.checkpoint_carried(number),
            Err(Failed(failure)) => {
                warn!(reason = failure.message, "a checkpoint is lost");
                outbox.drop_checkpoint(number);
            }
        }
    }
}

/// Uploads a checkpoint. If the coordinator has no space, it waits, unless a newer one of the stage replaces it.
async fn carry_checkpoint(
    outbox: &Outbox,
    link: &Link,
    store: &Arc<Store>,
    number: u64,
    state: ArtifactRef,
) -> Result<(), Failed> {
    let artifact = state.try_into()?;
    let mut tries = Tries::default();
    loop {
        match link.connection().await.artifacts.upload(store, artifact).await {
            Err(error) if error.is_full_there() && outbox.keeps_checkpoint(number) => tries.wait().await,
            moved => {
                if !tries.go_on(moved).await? {
                    return Ok(());
                }
            }
        }
    }
}

/// Uploads the files of a result. If the coordinator has no space, the result waits, and the coordinator is notified.
async fn carry_one(
    outbox: &Outbox,
    link: &Link,
    store: &Arc<Store>,
    number: u64,
    report: &StageReport,
) -> Result<(), Failed> {
    for file in files(report) {
        let artifact: Artifact = file.try_into()?;
        let mut tries = Tries::default();
        loop {
            let moved = link.connection().await.artifacts.upload(store, artifact).await;
            match moved {
                Err(error) if error.is_full_there() => {
                    if tries.is_first() {
                        warn!(
                            stage = report.stage_key,
                            "the coordinator has no space for a result; it waits until there is space"
                        );
                    }
                    outbox.refused(number, artifact.size);
                    tries.wait().await;
                }
                moved => {
                    if !tries.go_on(moved).await? {
                        break;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Retries of a transfer, over successive connections.
#[derive(Debug, Default)]
struct Tries(Duration);

impl Tries {
    /// Whether to retry; waits before it returns.
    async fn go_on(&mut self, moved: Result<(), TransferError>) -> Result<bool, TransferError> {
        match moved {
            Ok(()) => Ok(false),
            Err(error) if error.is_passing() => {
                debug!(reason = with_causes(&error), "a transfer failed; retrying");
                self.wait().await;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    const fn is_first(&self) -> bool {
        self.0.is_zero()
    }

    async fn wait(&mut self) {
        self.0 = (self.0 * 2).clamp(SHORTEST_WAIT, LONGEST_WAIT);
        tokio::time::sleep(self.0).await;
    }
}

#[cfg(test)]
mod tests;
