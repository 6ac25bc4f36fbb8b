//! Serves a coordinator: attaches, runs the bundles that it leases, and reports. When the connection is lost, it
//! continues its work and attaches again.
//!
//! Executor processes do the training, one for each slot. This process only moves files and messages, so its heartbeat
//! never waits for a training step. It knows nothing of sweeps.

mod executors;
mod home;
mod lease;
mod outbox;
mod session;
mod stop;
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
use tokio::sync::Notify;
use tonic::{Code, Status};
use tracing::{info, warn};

pub use self::executors::{Executor, Executors, Program};
use self::{home::Home, lease::Slots, outbox::Outbox, session::Ended, stop::Stop, workbench::Workbench};
use crate::{
    cache::Cache,
    causes::with_causes,
    connection::{AuthorizedChannel, ConnectError, Remote, certificate_problem, is_about_encryption},
    device::DeviceName,
    direct::Direct,
    executor::process::ExecutorOptions,
    store::{Durability, Store, StoreError},
    transfer::ArtifactClient,
};

/// The wait before the first attempt to attach again.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// The maximum wait between two attempts to reach the coordinator.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Options of a worker.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The coordinator.
    pub coordinator: Remote,
    /// The name shown to people.
    pub name: String,
    /// Unique to this worker: see [`fresh_instance`].
    pub instance: InstanceId,
    /// The devices to train on.
    pub devices: Vec<DeviceSlots>,
    /// The number of nets to train in lockstep, or `None` to measure it.
    pub lanes: Option<u32>,
    /// Starts executors.
    pub executors: Arc<dyn Executors>,
    /// The folder of files by hash, shared with the executors.
    pub store: PathBuf,
    /// Whether its files are flushed to the disk.
    pub synced: bool,
    /// The folder in which results wait if the coordinator cannot be reached. `None`: they are lost if the worker ends
    /// first.
    pub outbox: Option<PathBuf>,
    /// The size limit of the store in bytes, which then has no other user. `None` keeps everything.
    pub cache_size: Option<u64>,
    /// The interval of checkpoints during training. `None`: never.
    pub checkpoint_every: Option<Duration>,
}

/// A device and its slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceSlots {
    /// The device.
    pub device: DeviceName,
    /// The number of bundles that run at the same time.
    pub slots: u32,
}

/// Why a worker ends.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder of waiting results cannot be used.
    #[error("cannot use {path}, the folder for results that are not uploaded yet")]
    Outbox {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The system has no random numbers.
    #[error("cannot get random numbers from the system")]
    Random(#[source] getrandom::Error),
    /// The versions differ, the role is not permitted, or a message is too long: a retry would end the same way.
    #[error("the coordinator refuses this worker: {0}")]
    Refused(String),
}

/// Serves the coordinator until it is `asked` to stop. Then it takes no new leases, finishes what it can within
/// `grace`, returns the rest, and ends once the coordinator has confirmed.
///
/// Each device attaches separately, with bundle widths and leases of its own. All devices share the store.
///
/// # Errors
/// If it can never work: the versions differ, or the coordinator does not admit it.
pub async fn serve(
    options: WorkerOptions,
    asked: impl Future<Output = ()>,
    grace: Duration,
) -> Result<(), WorkerError> {
    let durability = if options.synced { Durability::Synced } else { Durability::Cached };
    let store = Arc::new(Store::open(options.store.clone(), durability)?);
    let cache = Arc::new(Cache::open(store, options.cache_size)?);
    let direct = Arc::new(LazyLock::new(Direct::or_none as fn() -> _));
    let (whole, stop) = stop::stop(grace);
    let attached = AtomicUsize::new(0);
    let working = try_join_all(options.devices.iter().map(|device| {
        let direct = Arc::clone(&direct);
        attach(&options, *device, &cache, direct, stop.clone(), &attached)
    }));
    let stopping = async {
        asked.await;
        whole.drain(grace).await;
        if attached.load(Ordering::Relaxed) > 0 {
            warn!("the coordinator does not confirm the returned work; exiting anyway");
            return;
        }
        warn!(
            coordinator = options.coordinator.url(),
            "the coordinator cannot be reached, so no work was returned; it reassigns the running stages after --reattach-within"
        );
        if options.outbox.is_some() {
            info!("results that were not uploaded are kept in the cache folder for the next worker that uses it");
        }
    };
    tokio::select! {
        biased;
        ended = working => ended.map(|_| ()),
        () = stopping => Ok(()),
    }
}

/// The identity of an attachment.
#[derive(Debug)]
struct Identity {
    name: String,
    device: DeviceName,
    slots: u32,
    instance: InstanceId,
    /// The connection to a storage for presigned URLs, made on demand.
    direct: Arc<LazyLock<Option<Arc<Direct>>>>,
}

/// The current connection, for transfers of files.
#[derive(Debug, Clone, Default)]
struct Link(Arc<Up>);

/// Not a tokio channel, which wakes waiting tasks in an order that a simulation cannot repeat.
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

    /// Waits for a connection.
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

/// Attaches one device, again and again. `attached` counts attached devices.
async fn attach(
    options: &WorkerOptions,
    device: DeviceSlots,
    cache: &Arc<Cache>,
    direct: Arc<LazyLock<Option<Arc<Direct>>>>,
    worker: Stop,
    attached: &AtomicUsize,
) -> Result<(), WorkerError> {
    let (stopping, mut stop) = worker.of_device();
    let executor = ExecutorOptions {
        store: options.store.clone(),
        synced: options.synced,
        apart: cache.is_bounded(),
        device: device.device,
        checkpoint_every: options.checkpoint_every,
        hurry: stop.hurry(),
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
    let following = stopping.follow(worker, stop.clone());
    tokio::select! {
        biased;
        ended = stay_attached(options, &identity, bench, &outbox, &link, &mut stop, attached) => ended,
        () = following => Ok(()),
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
    let mut home = Home::default();
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
                let ended = session::run(identity, connection, &mut bench, outbox, link, stop, &mut home, begins).await;
                is_silent = !was_attached;
                if was_attached {
                    attached.fetch_sub(1, Ordering::Relaxed);
                }
                ended
            }
            Err(error) => {
                let reason = match &error {
                    ConnectError::There(error) => match certificate_problem(error) {
                        Some(problem) => problem,
                        None if is_about_encryption(error) => {
                            format!(
                                "{}; it does not use TLS: remove https://, --ca, --cert and --key",
                                with_causes(error)
                            )
                        }
                        None => with_causes(error),
                    },
                    ConnectError::Here(error) => with_causes(error),
                    error @ ConnectError::Silent { .. } => with_causes(error),
                };
                Ended::Broken(Status::unavailable(reason))
            }
        };
        let Ended::Broken(status) = ended else {
            info!(device = %identity.device, "drained: all work is reported or returned");
            let checkpoints = outbox.checkpoints_waiting();
            if checkpoints > 0 {
                warn!(checkpoints, "training since the last uploaded checkpoint is lost");
            }
            let results = outbox.staying();
            if results > 0 {
                warn!(
                    results,
                    "the coordinator has no space for results; they are kept in the cache folder for the next worker that uses it"
                );
            }
            return Ok(());
        };
        // OutOfRange: a message is too long for one side, and a retry would be as long.
        if matches!(status.code(), Code::FailedPrecondition | Code::PermissionDenied | Code::OutOfRange) {
            return Err(WorkerError::Refused(status.message().to_owned()));
        }
        if stop.is_asked() && bench.is_clear() {
            return Ok(());
        }
        let url = options.coordinator.url();
        // The server accepts an unencrypted connection but is not a coordinator: a status that a coordinator sends has
        // no source.
        let hint = if is_silent && url.starts_with("http://") && status.source().is_some() {
            "; if it uses TLS, start the address with https:// or pass --ca"
        } else {
            ""
        };
        // A certificate of this worker is refused after the connection is made.
        let problem = status.source().and_then(certificate_problem);
        let reason = problem.unwrap_or_else(|| format!("{}{hint}", status.message()));
        warn!(coordinator = url, reason, "not attached; retrying");
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

/// Returns a unique instance: 128 random bits.
///
/// # Errors
/// If the system has no random numbers.
pub fn fresh_instance() -> Result<InstanceId, WorkerError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(WorkerError::Random)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(text.parse().expect("hexadecimal digits are an id"))
}

/// The instance of a worker for one of its devices.
fn instance_on(worker: &InstanceId, device: DeviceName) -> InstanceId {
    let text = ContentHash::of(format!("{worker} {device}").as_bytes()).short(32);
    text.parse().expect("hexadecimal digits are an id")
}

/// The clients of a session.
#[derive(Debug, Clone)]
struct Connection {
    worker: WorkerServiceClient<AuthorizedChannel>,
    artifacts: ArtifactClient,
}

/// The path of the running program, to start executors with.
///
/// # Errors
/// If the system does not know it.
pub fn this_program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}
