//! Serves a coordinator: attaches, does the bundles that it is handed, reports, and attaches again when the connection is lost, with
//! what it has gone on working on meanwhile.
//!
//! The training itself is done by executor processes, one a slot: this process only moves files and messages, so its heartbeat
//! never waits for a step. It knows nothing of sweeps.

mod executors;
mod lease;
mod outbox;
mod session;
mod workbench;

use std::{
    error::Error as _,
    io,
    path::PathBuf,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::try_join_all;
use secateur_proto::{
    MAX_MESSAGE_LEN,
    ids::{ContentHash, InstanceId},
    v1::worker_service_client::WorkerServiceClient,
};
use tokio::sync::{Notify, watch};
use tonic::{Code, Status};
use tracing::{info, warn};

pub use self::executors::{Executor, Executors, Program};
use self::{lease::Slots, outbox::Outbox, session::Ended, workbench::Workbench};
use crate::{
    cache::Cache,
    causes::with_causes,
    connection::{AuthorizedChannel, ConnectError, Remote, is_about_certificates, is_about_encryption},
    device::DeviceName,
    direct::Direct,
    executor::process::ExecutorOptions,
    store::{Durability, Store, StoreError},
    transfer::ArtifactClient,
};

/// The wait before the first try to attach again.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// What the coordinator gets to confirm in what was handed back at the end.
const HAND_BACK: Duration = Duration::from_secs(5);

/// The longest wait between two tries to reach the coordinator.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How a worker is set up.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Whom it works for.
    pub coordinator: Remote,
    /// For people.
    pub name: String,
    /// No other worker has had it: see [`fresh_instance`].
    pub instance: InstanceId,
    /// Where it trains.
    pub devices: Vec<DeviceSlots>,
    /// Nets to train in lockstep; nothing: as many as a measurement says.
    pub lanes: Option<u32>,
    /// Who starts executors.
    pub executors: Arc<dyn Executors>,
    /// Folder of files by hash, the executors' too.
    pub store: PathBuf,
    /// Whether its files are flushed to the disk.
    pub synced: bool,
    /// Folder in which results wait for a coordinator that cannot be reached; nothing: they are lost when the worker ends first.
    pub outbox: Option<PathBuf>,
    /// Bytes that the folder may hold, which nobody else uses then; nothing: everything is kept.
    pub cache_size: Option<u64>,
    /// How long after the last one checkpoints of what is trained are taken; nothing: never.
    pub checkpoint_every: Option<Duration>,
}

/// A device, and how much is done on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceSlots {
    /// Which.
    pub device: DeviceName,
    /// Bundles at the same time.
    pub slots: u32,
}

/// Why a worker ends.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder of results that wait cannot be used.
    #[error("cannot use {path}, the folder for results that are not uploaded yet")]
    Outbox {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("cannot get random numbers from the system")]
    Random(#[source] getrandom::Error),
    /// Another version of the protocol or of what stages compute, a role that may not work, or a message that is too long: trying again
    /// would end the same way.
    #[error("the coordinator refuses this worker: {0}")]
    Refused(String),
}

/// Serves the coordinator until it is `asked` to stop. Then it begins nothing new, finishes what it can within `grace`, hands the rest
/// back, and ends once the coordinator knows.
///
/// Each device attaches by itself: how wide its bundles are, and what is under way on it, is its own. They share the store.
///
/// # Errors
/// If it can never work: another version, or a coordinator that does not let it in.
pub async fn serve(
    options: WorkerOptions,
    asked: impl Future<Output = ()>,
    grace: Duration,
) -> Result<(), WorkerError> {
    let durability = if options.synced { Durability::Synced } else { Durability::Cached };
    let store = Arc::new(Store::open(options.store.clone(), durability)?);
    let cache = Arc::new(Cache::open(store, options.cache_size)?);
    let direct = Arc::new(LazyLock::new(Direct::or_none as fn() -> _));
    let (phase, stop) = watch::channel(Phase::Working);
    let (hurry, hurried) = watch::channel(());
    let stop = Stop { phase: stop, hurry: hurried, grace };
    let attached = AtomicUsize::new(0);
    let working = try_join_all(options.devices.iter().map(|device| {
        let direct = Arc::clone(&direct);
        attach(&options, *device, &cache, direct, stop.clone(), &attached)
    }));
    let stopping = async {
        asked.await;
        phase.send_replace(Phase::Draining);
        // So that what goes back when the grace is over is not lost.
        hurry.send_replace(());
        tokio::time::sleep(grace).await;
        phase.send_replace(Phase::Over);
        tokio::time::sleep(HAND_BACK).await;
        if attached.load(Ordering::Relaxed) > 0 {
            warn!("the coordinator does not confirm the work handed back; exiting anyway");
            return;
        }
        warn!(
            coordinator = options.coordinator.url(),
            "the coordinator cannot be reached, so nothing was handed back; it reassigns the running stages after --reattach-within"
        );
        if options.outbox.is_some() {
            info!("results that were not uploaded stay in the cache folder for the next worker that uses it");
        }
    };
    tokio::select! {
        biased;
        ended = working => ended.map(|_| ()),
        () = stopping => Ok(()),
    }
}

/// How far it is on the way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Working,
    Draining,
    /// The grace is over.
    Over,
}

/// Tells a device's loop to end.
#[derive(Debug, Clone)]
struct Stop {
    phase: watch::Receiver<Phase>,
    /// Changes when checkpoints are wanted soon.
    hurry: watch::Receiver<()>,
    grace: Duration,
}

impl Stop {
    fn is_asked(&self) -> bool {
        *self.phase.borrow() != Phase::Working
    }

    fn is_over(&self) -> bool {
        *self.phase.borrow() == Phase::Over
    }

    const fn grace(&self) -> Duration {
        self.grace
    }

    /// Waits until it is further.
    async fn changes(&mut self) {
        if self.phase.changed().await.is_err() {
            // Nobody is left to ask.
            std::future::pending::<()>().await;
        }
    }
}

/// Who attaches.
#[derive(Debug)]
struct Identity {
    name: String,
    device: DeviceName,
    slots: u32,
    instance: InstanceId,
    /// Its way to a storage past the coordinator, made when there is one.
    direct: Arc<LazyLock<Option<Arc<Direct>>>>,
}

/// The connection that is up now, for whoever moves files.
#[derive(Debug, Clone, Default)]
struct Link(Arc<Up>);

/// Not a channel of tokio's, which wakes those that wait in an order that nobody can repeat.
#[derive(Debug, Default)]
struct Up {
    connection: Mutex<Option<Connection>>,
    changed: Notify,
}

impl Link {
    fn up(&self) -> MutexGuard<'_, Option<Connection>> {
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, connection: Connection) {
        *self.up() = Some(connection);
        self.0.changed.notify_waiters();
    }

    fn cut(&self) {
        *self.up() = None;
    }

    /// Waits for one.
    async fn connection(&self) -> Connection {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let up = self.up().clone();
            match up {
                Some(connection) => return connection,
                None => changed.await,
            }
        }
    }
}

/// Attaches with one device, again and again, and counts in `attached` while it is.
async fn attach(
    options: &WorkerOptions,
    device: DeviceSlots,
    cache: &Arc<Cache>,
    direct: Arc<LazyLock<Option<Arc<Direct>>>>,
    mut stop: Stop,
    attached: &AtomicUsize,
) -> Result<(), WorkerError> {
    let executor = ExecutorOptions {
        store: options.store.clone(),
        synced: options.synced,
        apart: cache.is_bounded(),
        device: device.device,
        checkpoint_every: options.checkpoint_every,
        hurry: stop.hurry.clone(),
    };
    let slots = Slots::new(Arc::clone(&options.executors), executor, device.slots, Arc::clone(cache));
    let identity = Identity {
        name: options.name.clone(),
        device: device.device,
        slots: device.slots,
        instance: instance_on(&options.instance, device.device),
        direct,
    };
    let folder = options.outbox.as_ref().map(|folder| folder.join(device.device.to_string().replace(':', "-")));
    let outbox = Arc::new(
        Outbox::open(folder.clone())
            .map_err(|source| WorkerError::Outbox { path: folder.unwrap_or_default(), source })?,
    );
    let link = Link::default();
    let bench = Workbench::new(slots, Arc::clone(&outbox), link.clone(), options.lanes);
    tokio::select! {
        biased;
        ended = stay_attached(options, &identity, bench, &outbox, &link, &mut stop, attached) => ended,
        never = lease::carry(&outbox, &link, cache.store()) => match never {},
        never = lease::carry_checkpoints(&outbox, &link, cache.store()) => match never {},
    }
}

async fn stay_attached(
    options: &WorkerOptions,
    identity: &Identity,
    mut bench: Workbench,
    outbox: &Arc<Outbox>,
    link: &Link,
    stop: &mut Stop,
    attached: &AtomicUsize,
) -> Result<(), WorkerError> {
    let mut wait = SHORTEST_WAIT;
    loop {
        let mut is_silent = false;
        let ended = match options.coordinator.connect().await {
            Ok(channel) => {
                let connection = Connection {
                    worker: WorkerServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_LEN),
                    artifacts: ArtifactClient::new(channel),
                };
                let mut was_attached = false;
                let begins = || {
                    wait = SHORTEST_WAIT;
                    was_attached = true;
                    attached.fetch_add(1, Ordering::Relaxed);
                };
                let ended = session::run(identity, connection, &mut bench, outbox, link, stop, begins).await;
                is_silent = !was_attached;
                if was_attached {
                    attached.fetch_sub(1, Ordering::Relaxed);
                }
                ended
            }
            Err(error) => {
                let hint = match &error {
                    ConnectError::There(error) if is_about_certificates(error) => {
                        "; --ca must be the authority of the coordinator's certificate, which must name the host in --coordinator"
                    }
                    ConnectError::There(error) if is_about_encryption(error) => {
                        "; it does not use TLS: remove https://, --ca, --cert and --key"
                    }
                    _ => "",
                };
                Ended::Broken(Status::unavailable(format!("{}{hint}", with_causes(&error))))
            }
        };
        let Ended::Broken(status) = ended else {
            info!(device = %identity.device, "drained: all work is reported or handed back");
            let checkpoints = outbox.checkpoints_waiting();
            if checkpoints > 0 {
                warn!(checkpoints, "training since the last uploaded checkpoint is lost");
            }
            let results = outbox.staying();
            if results > 0 {
                warn!(
                    results,
                    "the coordinator has no space for results; they stay in the cache folder for the next worker that uses it"
                );
            }
            return Ok(());
        };
        // Out of range: a message is too long for one of the two, and would be again.
        if matches!(status.code(), Code::FailedPrecondition | Code::PermissionDenied | Code::OutOfRange) {
            return Err(WorkerError::Refused(status.message().to_owned()));
        }
        if stop.is_asked() && bench.is_clear() {
            return Ok(());
        }
        let url = options.coordinator.url();
        // It takes a connection in the clear, and what answers is no coordinator: of what one says itself a status has no source.
        let hint = if is_silent && url.starts_with("http://") && status.source().is_some() {
            "; if it uses TLS, start the address with https:// or pass --ca"
        } else {
            ""
        };
        warn!(coordinator = url, reason = format!("{}{hint}", status.message()), "not attached; trying again");
        let waited = tokio::time::sleep(wait);
        tokio::pin!(waited);
        loop {
            tokio::select! {
                biased;
                () = stop.changes() => break,
                () = &mut waited => break,
                () = bench.work_ends() => {}
            }
        }
        wait = (wait * 2).min(LONGEST_WAIT);
        info!(coordinator = options.coordinator.url(), "attaching");
    }
}

/// An instance that nobody has had: 128 random bits.
///
/// # Errors
/// If the system gives no random numbers.
pub fn fresh_instance() -> Result<InstanceId, WorkerError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(WorkerError::Random)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(text.parse().expect("hexadecimal digits are an id"))
}

/// The instance of a worker's attachment with one of its devices.
fn instance_on(worker: &InstanceId, device: DeviceName) -> InstanceId {
    let text = ContentHash::of(format!("{worker} {device}").as_bytes()).short(32);
    text.parse().expect("hexadecimal digits are an id")
}

/// What a session works with.
#[derive(Debug, Clone)]
struct Connection {
    worker: WorkerServiceClient<AuthorizedChannel>,
    artifacts: ArtifactClient,
}

/// The program that is running, to start executors with.
///
/// # Errors
/// If the system does not say.
pub fn this_program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}
