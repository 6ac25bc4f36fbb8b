//! A coordinator: journal, store, driver and the gRPC services on one port. `serve` runs one for others; `run` runs one
//! for itself.

mod error;

use std::{
    convert::Infallible,
    fs::{File, TryLockError},
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{Stream, future::BoxFuture};

use secateur_proto::{
    DESCRIPTORS, MAX_MESSAGE_LEN,
    ids::ContentHash,
    v1::{
        artifact_service_server::ArtifactServiceServer, sweep_service_server::SweepServiceServer,
        worker_service_server::WorkerServiceServer,
    },
};
use secateur_worker::{
    causes::with_causes,
    private,
    store::{Durability, Store},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
};
use tonic::transport::{Server, server::Connected};
use tracing::{info, warn};

pub use self::error::ServerError;
use crate::{
    admission::Limits,
    artifacts::{self, ArtifactStore, Bucket, Remote},
    connections::{self, RefusalLayer},
    driver::{Clock, Driver},
    grpc::{Artifacts, Sweeps, Workers},
    identity::CoordinatorId,
    journal::{Journal, JournalError, Sqlite},
    logs::{self, Logs},
    proposer,
    queries::Queries,
    scheduler::{Core, Event, Policy},
    security::{Access, AccessLayer, Audit, Door, Grants, revoked::Revoked, tls::Tls, tokens::Tokens},
    unfinished::UnfinishedLayer,
    upkeep,
};

/// The maximum number of concurrent calls on a connection.
const STREAMS: u32 = 256;

/// The interval between two checks of the free disk space.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(5);

/// The maximum size in bytes of a call's headers.
const LARGEST_HEADERS: u32 = 16 << 10;

/// A coordinator's folder, locked by this process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Locks the folder, and creates it if it does not exist, for its owner alone: data of others will be in it.
    ///
    /// # Errors
    /// If another process has locked it, or it cannot be created.
    pub fn lock(path: &Path) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Folder { path: path.to_owned(), source };
        private::create_folder(path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ServerError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Locks the folder as soon as no other process has locked it.
    ///
    /// # Errors
    /// If it cannot be created or locked.
    pub async fn wait(path: PathBuf) -> Result<Self, ServerError> {
        match Self::lock(&path) {
            Err(ServerError::InUse(_)) => {}
            taken => return taken,
        }
        info!(folder = %path.display(), "another process holds the lock of the folder; waiting for it");
        let waiting = tokio::task::spawn_blocking(move || {
            let failed = |source| ServerError::Folder { path: path.clone(), source };
            let lock = File::create(path.join("lock")).map_err(failed)?;
            lock.lock().map_err(failed)?;
            Ok(Self { path, _lock: lock })
        });
        waiting.await?
    }

    /// Uses the folder without its lock, because a hung coordinator that lost the journal to this process still holds
    /// it. If that wakes up, it can only write files by hash, and it removes none that is new.
    ///
    /// # Errors
    /// If it cannot be created or locked.
    pub fn take_over(path: PathBuf) -> Result<Self, ServerError> {
        match Self::lock(&path) {
            Err(ServerError::InUse(_)) => {}
            taken => return taken,
        }
        warn!(folder = %path.display(), "the hanging coordinator still holds the lock of the folder; continuing without it. Kill that process");
        let lock =
            File::create(path.join("lock")).map_err(|source| ServerError::Folder { path: path.clone(), source })?;
        Ok(Self { path, _lock: lock })
    }

    /// Opens the journal in the folder, and creates it if it does not exist.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub async fn open_journal(&self) -> Result<Box<dyn Journal>, JournalError> {
        Ok(Box::new(Sqlite::open(&Self::journal_in(&self.path)).await?))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the journal in a coordinator's folder, unless a database holds it.
    #[must_use]
    pub fn journal_in(folder: &Path) -> PathBuf {
        folder.join("journal.db")
    }

    /// The folder of artifacts, unless a bucket holds them.
    #[must_use]
    pub fn artifacts(&self) -> PathBuf {
        self.path.join("artifacts")
    }

    /// Opens the artifacts: in `bucket`, with a local folder for incoming uploads, or in local files.
    ///
    /// # Errors
    /// If a folder cannot be created, or this coordinator's artifacts are at another location.
    pub fn open_artifacts(&self, bucket: Option<Remote>) -> Result<ArtifactStore, ServerError> {
        artifacts::settle(&self.path, bucket.as_ref().map(Remote::url))?;
        Ok(match bucket {
            None => ArtifactStore::Files(Arc::new(Store::open(self.artifacts(), Durability::Synced)?)),
            Some(remote) => {
                let spool = Store::open(self.path.join("spool"), Durability::Cached)?;
                ArtifactStore::Bucket(Arc::new(Bucket::new(remote, spool)))
            }
        })
    }

    /// The folder of logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }
}

/// Who can reach a coordinator, and how they authenticate.
#[derive(Debug)]
pub enum Reach {
    /// Others, with the tokens in its folder.
    Others {
        /// Over TLS, with certificates that workers may use instead of tokens.
        tls: Option<Tls>,
        /// Whether everybody has access until there is a token.
        open: bool,
    },
    /// Only its own process, with a single token.
    Itself {
        /// The hash of the token.
        token: ContentHash,
    },
}

/// A running coordinator.
#[derive(Debug)]
pub struct Coordinator {
    /// The address that it listens on.
    pub address: SocketAddr,
    driver: Driver,
    queries: Queries,
    driving: JoinHandle<Result<(), JournalError>>,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    stop: oneshot::Sender<()>,
    _folder: DataDir,
}

impl Coordinator {
    /// Starts a coordinator in `folder` with that journal, for the callers of `reach`. It listens on `address` (port 0
    /// picks a free one) and applies `limits`. Its artifacts are in `bucket`, or in the folder.
    ///
    /// # Errors
    /// If journal, store or address cannot be used.
    pub async fn start(
        folder: DataDir,
        journal: Box<dyn Journal>,
        address: SocketAddr,
        reach: Reach,
        policy: Policy,
        limits: Limits,
        bucket: Option<Remote>,
    ) -> Result<Self, ServerError> {
        let opened = Opened::open(folder, journal, reach, policy, limits, bucket, SystemTime::now).await?;
        let failed = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let incoming = connections::incoming(listener, limits.connections_per_address);
        opened.serve(address, incoming).await
    }

    /// A handle to its driver.
    #[must_use]
    pub const fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Its queries.
    #[must_use]
    pub const fn queries(&self) -> &Queries {
        &self.queries
    }

    /// Runs until `until` is done, or until a fatal error.
    ///
    /// # Errors
    /// The fatal error, such as a full disk.
    pub async fn run_until<T>(mut self, until: impl Future<Output = T>) -> Result<T, ServerError> {
        let done = tokio::select! {
            biased;
            done = until => done,
            ended = &mut self.driving => {
                ended??;
                return Err(ServerError::Ended);
            }
            ended = &mut self.serving => {
                ended??;
                return Err(ServerError::Ended);
            }
        };
        self.driver.close().await;
        (&mut self.driving).await??;
        // Streams of workers may still be open; they end with the process.
        drop(self.stop);
        self.serving.abort();
        Ok(done)
    }
}

/// A coordinator whose journal is replayed, but which does not listen yet.
pub(crate) struct Opened {
    folder: DataDir,
    journal: Box<dyn Journal>,
    core: Core,
    store: ArtifactStore,
    access: Access,
    audit: Audit,
    logs: Logs,
    tls: Option<Tls>,
    identity: CoordinatorId,
    limits: Limits,
    clock: Clock,
}

impl Opened {
    /// Opens a coordinator in `folder` with that journal, for the callers of `reach`, with artifacts in `bucket` or in
    /// the folder. `clock` provides the time.
    pub(crate) async fn open(
        folder: DataDir,
        mut journal: Box<dyn Journal>,
        reach: Reach,
        policy: Policy,
        limits: Limits,
        bucket: Option<Remote>,
        clock: Clock,
    ) -> Result<Self, ServerError> {
        let store = folder.open_artifacts(bucket)?;
        store.incoming().remove_drafts()?;
        let core = upkeep::restore(&mut *journal, &policy).await?;
        let identity = CoordinatorId::settle(folder.path(), &mut *journal).await?;
        let (access, audit, tls) = match reach {
            Reach::Others { tls, open } => {
                // Invalid files are reported now, not to the first caller.
                Tokens::read(folder.path())?;
                Revoked::read(folder.path())?;
                let failed = |source| ServerError::Folder { path: folder.path.clone(), source };
                let audit = Audit::open(folder.path()).map_err(failed)?;
                let door = Door::Folder { path: folder.path.clone(), open };
                (Access::new(door, identity.as_str(), audit.clone()), audit, tls)
            }
            Reach::Itself { token } => {
                (Access::new(Door::One(token), identity.as_str(), Audit::none()), Audit::none(), None)
            }
        };
        if !core.has_had_sweeps() {
            let files = store.files().await?.len();
            if files > 0 {
                // Either the first start after a table was uploaded but no sweep submitted, or the wrong journal.
                warn!(
                    "the journal {} has never had a sweep, but the store has {files} files: if they belong to another journal \
                     (serve --journal) or to a lost one, stop and restore that before you submit anything",
                    journal.place()
                );
            }
        }
        let failed = |source| ServerError::Folder { path: folder.logs(), source };
        let bounds = logs::Bounds { total: limits.logs, keep_free: limits.keep_free };
        let logs = Logs::open(folder.logs(), bounds, |stage| core.stage(stage).is_some()).map_err(failed)?;
        Ok(Self { folder, journal, core, store, access, audit, logs, tls, identity, limits, clock })
    }

    /// Serves the connections that are accepted at `address`.
    pub(crate) async fn serve<C>(
        self,
        address: SocketAddr,
        incoming: impl Stream<Item = io::Result<C>> + Send + 'static,
    ) -> Result<Coordinator, ServerError>
    where
        C: Connected + AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { folder, journal, core, store, access, audit, logs, tls, identity, limits, clock } = self;
        let (driver, driving) = Driver::start(core, journal, clock);
        let (health, health_service) = tonic_health::server::health_reporter();
        let grants = Grants::default();
        let queries = Queries::new(driver.clone(), store.clone(), logs.clone(), limits);
        let sweeps = Sweeps::new(
            queries.clone(),
            driver.clone(),
            store.clone(),
            access.clone(),
            audit.clone(),
            logs.clone(),
            clock,
        );
        let sweeps = SweepServiceServer::new(sweeps);
        let workers = Workers::new(
            queries.clone(),
            driver.clone(),
            store.clone(),
            access.clone(),
            grants.clone(),
            logs,
            clock,
            identity.clone(),
        );
        let workers = WorkerServiceServer::new(workers);
        let watching = watch_room(driver.clone(), store.clone(), limits.keep_free);
        let proposing = proposer::decide(driver.clone(), queries.clone());
        let artifacts = ArtifactServiceServer::new(Artifacts::new(store, driver.clone(), grants, audit, limits));
        health.set_serving::<SweepServiceServer<Sweeps>>().await;
        health.set_serving::<WorkerServiceServer<Workers>>().await;
        health.set_serving::<ArtifactServiceServer<Artifacts>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .build_v1()
            .expect("the descriptors were compiled with this program");
        // Many clients ask for the older one and give up.
        let older_reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .build_v1alpha()
            .expect("the descriptors were compiled with this program");
        let (stop, stopped) = oneshot::channel::<()>();
        let server = Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .max_concurrent_streams(STREAMS)
            .http2_max_header_list_size(LARGEST_HEADERS);
        let encrypted = tls.is_some();
        let server = server
            .layer(RefusalLayer)
            .layer(AccessLayer(access))
            .layer(UnfinishedLayer::default())
            .add_service(health_service)
            .add_service(reflection)
            .add_service(older_reflection)
            .add_service(sweeps.max_decoding_message_size(MAX_MESSAGE_LEN))
            .add_service(workers.max_decoding_message_size(MAX_MESSAGE_LEN))
            .add_service(artifacts.max_decoding_message_size(MAX_MESSAGE_LEN));
        let stopped = async {
            // A dropped sender means the same.
            let _ = stopped.await;
        };
        let serving: BoxFuture<'static, _> = match tls {
            Some(tls) => Box::pin(server.serve_with_incoming_shutdown(tls.accept(incoming), stopped)),
            None => Box::pin(server.serve_with_incoming_shutdown(incoming, stopped)),
        };
        let serving = async {
            tokio::select! {
                ended = serving => ended,
                never = watching => match never {},
                never = proposing => match never {},
            }
        };
        info!(%address, encrypted, coordinator = %identity, folder = %folder.path.display(), "listening");
        Ok(Coordinator { address, driver, queries, driving, serving: tokio::spawn(serving), stop, _folder: folder })
    }
}

/// Notifies the driver when less than `keep_free` is left on the disk, and when there is enough again.
async fn watch_room(driver: Driver, store: ArtifactStore, keep_free: u64) -> Infallible {
    if keep_free == 0 {
        // No limit to check.
        return std::future::pending().await;
    }
    let mut looks = tokio::time::interval(LOOK_FOR_ROOM);
    let mut was_enough = true;
    // The driver's error is reported elsewhere.
    while let Ok(wanted) = driver.read(Core::room_wanted).await {
        match store.incoming().free() {
            Ok(free) => {
                let is_enough = free >= keep_free.saturating_add(wanted);
                let told = if is_enough && was_enough {
                    Ok(())
                } else {
                    driver.notify(Event::RoomChecked { is_enough }).await
                };
                was_enough = is_enough;
                if told.is_err() {
                    break;
                }
            }
            // The free space is checked again when a file arrives.
            Err(error) => warn!(error = with_causes(&error), "cannot determine the free disk space"),
        }
        looks.tick().await;
    }
    std::future::pending().await
}
