//! `WorkerService`: one stream for each worker, from Hello to the end.

use std::{
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use futures::{Stream, StreamExt as _, future::join_all};
use secateur_proto::{
    PROTOCOL_VERSION, SEMANTICS_VERSION,
    convert::InvalidMessage,
    ids::{ContentHash, InvalidId, LeaseId, StageKey, WorkerId},
    outcome::{Artifact, Checkpoint, Failure, FailureClass, StageOutcome},
    v1::{
        self, CoordinatorMessage, Hello, ListWorkersReply, ListWorkersRequest, ManageWorkerRequest, Welcome,
        WorkerInfo, WorkerMessage, coordinator_message, worker_message::Message, worker_service_server::WorkerService,
    },
};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};
use tracing::{info, warn};

use super::{artifact::bucket_status, invalid, said::Said};
use crate::{
    artifacts::{ArtifactError, ArtifactStore},
    driver::{Attachment, Clock, Driver},
    identity::CoordinatorId,
    logs::Logs,
    queries::Queries,
    scheduler::{Core, Departure, Event, HeldLease, WorkerAction, WorkerStatus},
    security::{Access, Audit, Caller, Grants, Session},
};

/// The heartbeat interval that workers are asked for.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The maximum time to check whether a report's files exist. A worker whose messages are not read for longer looks
/// silent.
const FILES_FOUND: Duration = Duration::from_secs(4);

/// The maximum number of slots that a worker may claim.
const MOST_SLOTS: u32 = 4096;

/// The service.
#[derive(Debug, Clone)]
pub struct Workers {
    queries: Queries,
    driver: Driver,
    store: ArtifactStore,
    access: Access,
    grants: Grants,
    audit: Audit,
    logs: Logs,
    clock: Clock,
    identity: CoordinatorId,
    /// The number of attachments so far.
    attached: Arc<AtomicU64>,
}

type Orders = Pin<Box<dyn Stream<Item = Result<CoordinatorMessage, Status>> + Send>>;

impl Workers {
    /// Serves workers with `driver`. Their results are in `store` and their logs in `logs`. A worker may read what
    /// `grants` allows while `access` knows it. `clock` provides the time. Workers that hold work of another coordinator
    /// than `identity` are refused.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "all that the service uses; it has one caller")]
    pub fn new(
        queries: Queries,
        driver: Driver,
        store: ArtifactStore,
        access: Access,
        grants: Grants,
        logs: Logs,
        clock: Clock,
        identity: CoordinatorId,
    ) -> Self {
        let audit = access.audit().clone();
        Self { queries, driver, store, access, grants, audit, logs, clock, identity, attached: Arc::default() }
    }

    /// Returns an id that no other attachment has had: a worker that comes back gets a new one.
    fn fresh_id(&self, name: &str) -> Result<WorkerId, Status> {
        let instant = (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default();
        let serial = self.attached.fetch_add(1, Ordering::Relaxed);
        let seed = format!("{name} {} {serial}", instant.as_nanos());
        format!("w-{}", ContentHash::of(seed.as_bytes()).short(10)).parse().map_err(invalid)
    }

    /// Refuses a worker that holds work of another coordinator: here nobody knows that work. The worker keeps it and
    /// tries again, because the other one may come back.
    fn is_own(&self, hello: &Hello) -> Result<(), Status> {
        let own = self.identity.as_str();
        // It is a stranger's text.
        let other: String = hello.coordinator.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        if hello.coordinator.is_empty() || hello.coordinator == own {
            return Ok(());
        }
        let (name, held) =
            (hello.name.chars().filter(|c| !c.is_control()).take(64).collect::<String>(), hello.held.len());
        warn!(name, held, of = other, "refusing a worker that holds work of another coordinator");
        Err(Status::unavailable(format!(
            "this is coordinator {own}, and the worker holds {held} leases of coordinator {other}: start {other} again at this address (serve --data-dir with its folder), or restart the worker to give that work up"
        )))
    }

    async fn welcome(
        &self,
        caller: Caller,
        mut messages: impl Stream<Item = Result<WorkerMessage, Status>> + Unpin + Send + 'static,
    ) -> Result<Orders, Status> {
        let Some(Message::Hello(hello)) = messages.next().await.transpose()?.and_then(|message| message.message) else {
            return Err(Status::invalid_argument("the first message of a worker must be Hello"));
        };
        let slots = check(&hello)?;
        self.is_own(&hello)?;
        let name: String = hello.name.chars().filter(|c| !c.is_control()).take(64).collect();
        let device: String = hello.device.chars().filter(|c| !c.is_control()).take(64).collect();
        let instance = hello.instance.parse().map_err(invalid)?;
        let held = held(&hello, slots)?;
        let leases: Vec<LeaseId> = held.iter().map(|held| held.lease.clone()).collect();
        let worker = self.fresh_id(&name)?;
        let interval = u32::try_from(HEARTBEAT.as_millis()).unwrap_or(u32::MAX);
        let welcome = Welcome {
            worker_id: worker.to_string(),
            heartbeat_interval_ms: interval,
            direct_artifacts: self.store.has_addresses(),
            coordinator: self.identity.to_string(),
        };
        let welcome = CoordinatorMessage { message: Some(coordinator_message::Message::Welcome(welcome)) };
        let (id, named) = (worker.clone(), name.clone());
        let count = held.len();
        let cordoned_by: String = hello.cordoned_by.chars().filter(|c| !c.is_control()).take(64).collect();
        let cordoned_by = (!cordoned_by.is_empty()).then_some(cordoned_by);
        let joined =
            Event::WorkerJoined { worker: id, instance, name, device: device.clone(), slots, held, cordoned_by };
        let Attachment { orders, mut hold } = self.driver.attach(joined, welcome).await?;
        self.audit.done(&caller, "attach", &format!("{worker} {named}"));
        info!(%worker, name = named, device, slots, held = count, by = caller.name, "a worker attached");
        let held = self.driver.read(move |core| held_by(core, leases)).await?;
        let session = Arc::new(self.grants.session(&caller.name));
        let mut stages = Vec::new();
        for Held { lease, keys, files } in held {
            stages.extend(keys.into_iter().map(|key| (key, lease.clone())));
            session.grant(lease, files);
        }
        let leased = Leased { said: Said::by(named, self.logs.clone(), stages), session };
        let listens = leased.clone();
        let (driver, store, access) = (self.driver.clone(), self.store.clone(), self.access.clone());
        tokio::spawn(async move {
            let (reason, departure) = tokio::select! {
                biased;
                reason = access.until_unknown(&caller) => {
                    hold.end(reason.clone());
                    // Lost access is not a failure of its attempts.
                    (reason, Departure::Drained)
                }
                () = hold.dropped() => {
                    (Status::unavailable("the coordinator dropped the worker"), Departure::Disconnected)
                }
                reason = listen(&driver, &store, &worker, &listens, messages) => (reason, Departure::Disconnected),
            };
            info!(%worker, reason = reason.message(), "a worker's stream ended");
            // A driver that has stopped need not know.
            let _ = driver.notify(Event::WorkerLeft { worker, departure }).await;
        });
        let given = move |order: &Result<CoordinatorMessage, Status>| leased.begins(order);
        Ok(ReceiverStream::new(orders).inspect(given).boxed())
    }
}

/// The leases of one attachment, which decide what it may read and write logs for.
#[derive(Debug, Clone)]
struct Leased {
    said: Said,
    session: Arc<Session>,
}

impl Leased {
    /// Notes a message to the worker, which may be a lease.
    fn begins(&self, order: &Result<CoordinatorMessage, Status>) {
        if let Ok(CoordinatorMessage { message: Some(coordinator_message::Message::Lease(lease)) }) = order
            && let Ok(id) = lease.lease_id.parse::<LeaseId>()
        {
            self.said.begins(&id, lease);
            self.session.grant(id, inputs(lease));
        }
    }

    fn ends(&self, id: &LeaseId) {
        self.said.ends(id);
        self.session.end(id);
    }
}

/// The leases that the worker reports to hold.
fn held(hello: &Hello, slots: NonZeroU32) -> Result<Vec<HeldLease>, Status> {
    if hello.held.len() > slots.get() as usize {
        let held = hello.held.len();
        return Err(Status::invalid_argument(format!("a worker with {slots} slots cannot hold {held} leases")));
    }
    let stages = |held: &v1::HeldLease| {
        let stage = |stage: &v1::HeldStage| Ok((stage.stage_key.parse()?, stage.attempt));
        held.stages.iter().map(stage).collect::<Result<_, InvalidMessage>>()
    };
    let lease = |held: &v1::HeldLease| {
        let lanes = NonZeroU32::new(held.lanes).ok_or(InvalidMessage::Missing("lanes"))?;
        Ok(HeldLease { lease: held.lease_id.parse()?, lanes, stages: stages(held)? })
    };
    hello.held.iter().map(lease).collect::<Result<_, InvalidMessage>>().map_err(invalid)
}

/// A lease that a worker holds from before.
struct Held {
    lease: LeaseId,
    keys: Vec<StageKey>,
    files: Vec<ContentHash>,
}

fn held_by(core: &Core, leases: Vec<LeaseId>) -> Vec<Held> {
    let held = |lease: LeaseId| {
        let keys = core.stages_of(&lease);
        let stages = keys.iter().filter_map(|stage| Some((core.stage_with_inputs(stage)?, core.checkpoint(stage))));
        let files = stages.flat_map(|(stage, checkpoint)| {
            stage.inputs.into_values().chain(checkpoint.map(|checkpoint| checkpoint.state)).map(|file| file.hash)
        });
        Held { lease, files: files.collect(), keys }
    };
    leases.into_iter().map(held).collect()
}

/// The input files of a lease.
fn inputs(lease: &v1::Lease) -> Vec<ContentHash> {
    let stages = lease.stages.iter().filter_map(|leased| leased.stage.as_ref());
    let checkpoints = lease.stages.iter().filter_map(|leased| leased.checkpoint.as_ref()?.state.as_ref());
    let files = stages.flat_map(|stage| stage.inputs.values()).chain(checkpoints);
    files.filter_map(|file| file.hash.parse().ok()).collect()
}

/// Checks that the worker has the same versions. Returns its slots.
fn check(hello: &Hello) -> Result<NonZeroU32, Status> {
    let other = |what: &str, found: u32, expected: u32| {
        Status::failed_precondition(format!(
            "worker {} {} has {what} version {found}, and this coordinator {} {expected}: install the same release on both",
            hello.name.chars().take(64).collect::<String>(),
            hello.software_version.chars().take(32).collect::<String>(),
            env!("CARGO_PKG_VERSION"),
        ))
    };
    if hello.protocol_version != PROTOCOL_VERSION {
        return Err(other("protocol", hello.protocol_version, PROTOCOL_VERSION));
    }
    if hello.semantics_version != SEMANTICS_VERSION {
        return Err(other("semantics", hello.semantics_version, SEMANTICS_VERSION));
    }
    NonZeroU32::new(hello.slots)
        .filter(|slots| slots.get() <= MOST_SLOTS)
        .ok_or_else(|| Status::invalid_argument(format!("a worker has 1 to {MOST_SLOTS} slots, not {}", hello.slots)))
}

/// Converts a worker's messages to events until its stream ends.
async fn listen(
    driver: &Driver,
    store: &ArtifactStore,
    worker: &WorkerId,
    leased: &Leased,
    mut messages: impl Stream<Item = Result<WorkerMessage, Status>> + Unpin,
) -> Status {
    let said = &leased.said;
    loop {
        let message = match messages.next().await {
            Some(Ok(WorkerMessage { message: Some(message) })) => message,
            Some(Ok(WorkerMessage { message: None })) => continue,
            Some(Err(status)) => return status,
            None => return Status::ok("closed by the worker"),
        };
        let handed = match message {
            Message::Progress(progress) => match progress.stage_key.parse() {
                // A sign that an attempt still waits for its turn; there is no epoch to tell of.
                Ok(stage) if progress.epochs == 0 => {
                    driver.notify(Event::Progressed { worker: worker.clone(), stage }).await
                }
                Ok(stage) => {
                    said.progress(stage, &progress);
                    driver.progress(worker.clone(), stage, progress).await
                }
                Err(error) => {
                    warn!(%worker, %error, "a message is refused");
                    continue;
                }
            },
            Message::Words(words) => {
                said.words(&words);
                driver.notify(Event::Heartbeat { worker: worker.clone() }).await
            }
            message => match heard(said, store, worker, message).await {
                Ok(event) => {
                    if let Event::LeaseEnded { lease, .. } = &event {
                        leased.ends(lease);
                    }
                    driver.notify(event).await
                }
                // It keeps its report, attaches again, and repeats it.
                Err(Refused::ForNow(status)) => return status,
                Err(Refused::Invalid(error)) => {
                    warn!(%worker, %error, "a message is refused");
                    continue;
                }
            },
        };
        if let Err(stopped) = handed {
            return stopped.into();
        }
    }
}

/// Why a message did not become an event.
enum Refused {
    /// It is invalid.
    Invalid(InvalidMessage),
    /// It cannot be checked now.
    ForNow(Status),
}

impl From<InvalidMessage> for Refused {
    fn from(error: InvalidMessage) -> Self {
        Self::Invalid(error)
    }
}

impl From<InvalidId> for Refused {
    fn from(error: InvalidId) -> Self {
        Self::Invalid(error.into())
    }
}

/// Fails a completed stage whose files were not uploaded: its children could not read them, and no other worker would
/// make them again.
async fn with_files(store: &ArtifactStore, outcome: StageOutcome) -> Result<StageOutcome, Refused> {
    let StageOutcome::Completed(result) = &outcome else { return Ok(outcome) };
    // Touched, so that the grace period keeps them until the journal refers to them.
    let found = join_all(result.artifacts.values().map(|artifact| store.touch(artifact.hash)));
    let found = timeout(FILES_FOUND, found).await.map_err(|_| {
        warn!("the artifact store timed out; the worker will report again");
        Refused::ForNow(Status::unavailable("the artifact store timed out"))
    })?;
    for ((role, artifact), held) in result.artifacts.iter().zip(found) {
        let message = match held {
            Ok(Some(held)) if held == *artifact => continue,
            Ok(Some(held)) => {
                format!("the {} was reported with {} bytes and has {}", role.name(), artifact.size, held.size)
            }
            Ok(None) => format!("the {} was reported but not uploaded", role.name()),
            Err(ArtifactError::Bucket(error)) => return Err(Refused::ForNow(bucket_status(&error))),
            Err(error) => error.to_string(),
        };
        return Ok(StageOutcome::Failed(Failure::new(FailureClass::Storage, message)));
    }
    Ok(outcome)
}

/// Whether the file of a checkpoint was uploaded. It is touched, so that the grace period keeps it until the journal
/// refers to it. If it cannot be checked now, the checkpoint is dropped: there will be another one.
async fn is_held(store: &ArtifactStore, state: Artifact) -> bool {
    match timeout(FILES_FOUND, store.touch(state.hash)).await {
        Ok(Ok(Some(held))) => held == state,
        Ok(Ok(None)) => {
            warn!(state = %state.hash, "a checkpoint was reported but not uploaded");
            false
        }
        Ok(Err(error)) => {
            warn!(%error, "cannot check for a checkpoint");
            false
        }
        Err(_) => false,
    }
}

async fn heard(said: &Said, store: &ArtifactStore, worker: &WorkerId, message: Message) -> Result<Event, Refused> {
    match &message {
        Message::Report(report) => said.report(report),
        Message::Checkpointed(taken) => said.checkpointed(taken),
        _ => {}
    }
    event(store, worker, message).await
}

async fn event(store: &ArtifactStore, worker: &WorkerId, message: Message) -> Result<Event, Refused> {
    let worker = worker.clone();
    Ok(match message {
        Message::Hello(_) => {
            return Err(InvalidMessage::Unknown { what: "second hello", found: worker.to_string() }.into());
        }
        // Messages for watchers are handled elsewhere.
        Message::Progress(_) | Message::Words(_) | Message::Heartbeat(_) => Event::Heartbeat { worker },
        Message::Checkpointed(taken) => {
            let checkpoint: Checkpoint = taken.checkpoint.ok_or(InvalidMessage::Missing("checkpoint"))?.try_into()?;
            if !is_held(store, checkpoint.state).await {
                return Ok(Event::Heartbeat { worker });
            }
            Event::Checkpointed { worker, stage: taken.stage_key.parse()?, checkpoint }
        }
        Message::ResultWaits(waits) => {
            Event::ResultWaits { worker, stage: waits.stage_key.parse()?, bytes: waits.bytes }
        }
        Message::Draining(_) => Event::WorkerDraining { worker },
        Message::Calibrated(answer) => Event::Calibrated {
            worker,
            class: answer.bundle_class.parse()?,
            lanes: NonZeroU32::new(answer.lanes).ok_or(InvalidMessage::Missing("lanes"))?,
            lane_steps_per_second: answer.lane_steps_per_second,
        },
        Message::Report(report) => Event::StageReported {
            worker,
            lease: report.lease_id.parse()?,
            stage: report.stage_key.parse()?,
            attempt: report.attempt,
            outcome: with_files(store, report.outcome.ok_or(InvalidMessage::Missing("outcome"))?.try_into()?).await?,
        },
        Message::LeaseEnded(ended) => Event::LeaseEnded {
            worker,
            lease: ended.lease_id.parse()?,
            failure: ended.failure.map(TryInto::<Failure>::try_into).transpose()?,
        },
    })
}

fn info(worker: WorkerStatus) -> WorkerInfo {
    WorkerInfo {
        id: worker.id.to_string(),
        name: worker.name,
        device: worker.device,
        slots: worker.slots,
        busy_slots: worker.busy_slots,
        stages_completed: worker.stages_completed,
        lane_steps_per_second: worker.measured.iter().map(|(_, _, rate)| *rate).fold(0.0, f64::max),
        leased_stages: worker.leased_stages,
        away: worker.away,
        leaving: worker.leaving,
        quarantined: worker.quarantined.unwrap_or_default(),
        cordoned_by: worker.cordoned_by.unwrap_or_default(),
    }
}

#[async_trait]
impl WorkerService for Workers {
    type AttachStream = Orders;

    async fn attach(&self, request: Request<Streaming<WorkerMessage>>) -> Result<Response<Orders>, Status> {
        let caller = Caller::of(&request);
        self.welcome(caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_workers(&self, _: Request<ListWorkersRequest>) -> Result<Response<ListWorkersReply>, Status> {
        let workers = self.queries.workers().await?;
        Ok(Response::new(ListWorkersReply { workers: workers.into_iter().map(info).collect() }))
    }

    async fn manage_worker(&self, request: Request<ManageWorkerRequest>) -> Result<Response<WorkerInfo>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let (action, what) = match request.action() {
            v1::WorkerAction::Cordon => (WorkerAction::Cordon { by: caller.name.clone() }, "cordon"),
            v1::WorkerAction::Uncordon => (WorkerAction::Uncordon, "uncordon"),
            v1::WorkerAction::Drain => (WorkerAction::Drain, "drain"),
            v1::WorkerAction::Unspecified => return Err(invalid(InvalidMessage::Missing("action"))),
        };
        let found = self.queries.worker(&request.worker).await?;
        let worker = found.id.clone();
        self.driver.apply(Event::WorkerManaged { worker: worker.clone(), action }).await?;
        self.audit.done(&caller, what, &format!("{worker} {}", found.name));
        info!(%worker, by = caller.name, what, "a worker is managed");
        // An idle worker that drains may be gone already.
        let now = self.queries.worker(worker.as_str()).await.unwrap_or(WorkerStatus { leaving: true, ..found });
        Ok(Response::new(info(now)))
    }
}
