//! Serves a coordinator: attaches, does the bundles that it is handed, reports, and attaches again when the connection is lost.
//!
//! The training itself is done by executor processes, one a slot: this process only moves files and messages, so its heartbeat
//! never waits for a step. It knows nothing of sweeps.

mod lease;
mod session;

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::future::try_join_all;
use secateur_proto::v1::worker_service_client::WorkerServiceClient;
use tonic::{Code, Status};
use tracing::{info, warn};

pub use self::lease::Slots;
use crate::{
    cache::Cache,
    causes::with_causes,
    connection::{AuthorizedChannel, Remote},
    device::DeviceName,
    executor::process::ExecutorCommand,
    store::{Durability, Store, StoreError},
    transfer::ArtifactClient,
};

/// The longest wait between two tries to reach the coordinator.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How a worker is set up.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Whom it works for.
    pub coordinator: Remote,
    /// For people.
    pub name: String,
    /// Where it trains.
    pub devices: Vec<DeviceSlots>,
    /// Nets to train in lockstep; nothing: as many as a measurement says.
    pub lanes: Option<u32>,
    /// The program that executors are started from.
    pub program: PathBuf,
    /// Folder of files by hash, the executors' too.
    pub store: PathBuf,
    /// Whether its files are flushed to the disk.
    pub synced: bool,
    /// Bytes that the folder may hold, which nobody else uses then; nothing: everything is kept.
    pub cache_size: Option<u64>,
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
    /// Another version of the protocol or of what stages compute, or a role that may not work: trying again would end the same way.
    #[error("the coordinator refuses this worker: {0}")]
    Refused(String),
}

/// Serves the coordinator until the future is dropped.
///
/// Each device attaches by itself: how wide its bundles are, and what is under way on it, is its own. They share the store.
///
/// # Errors
/// If it can never work: another version, or a coordinator that does not let it in.
pub async fn serve(options: WorkerOptions) -> Result<(), WorkerError> {
    let durability = if options.synced { Durability::Synced } else { Durability::Cached };
    let store = Arc::new(Store::open(options.store.clone(), durability)?);
    let cache = Arc::new(Cache::open(store, options.cache_size)?);
    try_join_all(options.devices.iter().map(|device| attach(&options, *device, &cache))).await?;
    Ok(())
}

/// Attaches with one device, again and again.
async fn attach(options: &WorkerOptions, device: DeviceSlots, cache: &Arc<Cache>) -> Result<(), WorkerError> {
    let executor = ExecutorCommand {
        program: options.program.clone(),
        store: options.store.clone(),
        synced: options.synced,
        apart: cache.is_bounded(),
        device: device.device,
    };
    let slots = Arc::new(Slots::new(executor, device.slots));
    let mut wait = Duration::from_millis(100);
    loop {
        let ended = match options.coordinator.connect().await {
            Ok(channel) => {
                let connection = Connection {
                    worker: WorkerServiceClient::new(channel.clone()),
                    artifacts: ArtifactClient::new(channel),
                    cache: Arc::clone(cache),
                };
                session::run(options, device, connection, &slots, || wait = Duration::from_millis(100)).await
            }
            Err(error) => Status::unavailable(with_causes(&error)),
        };
        if matches!(ended.code(), Code::FailedPrecondition | Code::PermissionDenied) {
            return Err(WorkerError::Refused(ended.message().to_owned()));
        }
        warn!(coordinator = options.coordinator.url(), reason = ended.message(), "not attached; trying again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
        info!(coordinator = options.coordinator.url(), "attaching");
    }
}

/// What a session works with.
#[derive(Debug, Clone)]
struct Connection {
    worker: WorkerServiceClient<AuthorizedChannel>,
    artifacts: ArtifactClient,
    cache: Arc<Cache>,
}

/// The program that is running, to start executors with.
///
/// # Errors
/// If the system does not say.
pub fn this_program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}
