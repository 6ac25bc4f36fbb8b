//! What runs on the hosts of the simulated network: the real coordinator, the real worker, and a person who submits a sweep and waits.

use std::{
    cell::Cell,
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use secateur_proto::{
    ids::ContentHash,
    outcome::StageOutcome,
    v1::{CancelRequest, ReportFormat, Share, SweepState, WatchRequest, watch_reply::Event},
};
use secateur_worker::{
    client::{self, DeviceSlots, WorkerOptions},
    connection::Remote,
    device::DeviceName,
    store::{Durability, Store},
};
use tokio::sync::{
    Notify,
    broadcast::{self, error::RecvError},
};

use super::{
    SWEEP,
    disk::{Watched, at_once},
    executor::Actors,
    scene::Scene,
    wire::{self, Breaks, PORT},
};
use crate::{
    admission::Limits,
    cli::{
        client::{Client, LocalSweep},
        error::CliError,
    },
    driver::{Driver, Notice},
    server::{DataDir, Opened, Reach},
};

/// The name of the coordinator's host.
pub(super) const COORDINATOR: &str = "coordinator";

/// Between two looks whether the journal says what the core says.
const LOOKS: Duration = Duration::from_millis(2_500);

/// What a worker gets to finish when it is asked to end.
const GRACE: Duration = Duration::from_secs(3);

/// What the coordinator lets everybody in by.
const TOKEN: &str = "of a simulation";

thread_local! {
    /// What the coordinator's clock is ahead by, in milliseconds.
    static SKEW: Cell<u64> = const { Cell::new(0) };
}

/// The clock of the coordinator's host jumps to so much ahead of what it was at the beginning.
pub(super) fn skew(ahead: Duration) {
    SKEW.set(u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX));
}

/// The time in the simulation.
fn clock() -> SystemTime {
    UNIX_EPOCH + turmoil::since_epoch().unwrap_or_default() + Duration::from_millis(SKEW.get())
}

/// A life of the coordinator, with its journal and its files in `folder`.
pub(super) async fn coordinator(scene: Arc<Scene>, folder: PathBuf) -> turmoil::Result {
    let ended = coordinate(Arc::clone(&scene), folder).await;
    if let Err(error) = ended {
        scene.violated(format!("the coordinator ended by itself: {error}"));
    }
    Ok(())
}

async fn coordinate(scene: Arc<Scene>, folder: PathBuf) -> turmoil::Result {
    let folder = DataDir::lock(&folder)?;
    let journal = Watched::new(at_once(folder.open_journal())?, Arc::clone(&scene));
    let reach = Reach::Itself { token: ContentHash::of(TOKEN.as_bytes()) };
    let (journal, policy) = (Box::new(journal), scene.policy().clone());
    let opened = Opened::open(folder, journal, reach, policy, Limits::NONE, None, clock).await?;
    let (address, incoming) = wire::listen().await?;
    let coordinator = opened.serve(address, incoming).await?;
    scene.note(format_args!("the coordinator listens"));
    let driver = coordinator.driver().clone();
    let at_start = Arc::clone(&scene);
    let notices = driver.watch();
    driver.read(move |core| at_start.restarted(core)).await?;
    tokio::task::spawn_local(observe(Arc::clone(&scene), notices));
    tokio::task::spawn_local(look(scene, driver));
    coordinator.run_until(std::future::pending::<()>()).await?;
    Ok(())
}

/// Hears what the driver tells whoever watches.
async fn observe(scene: Arc<Scene>, mut notices: broadcast::Receiver<Notice>) {
    loop {
        match notices.recv().await {
            Ok(Notice::Trial(sweep, ended)) => {
                let outcome = ended.outcome.clone().map(StageOutcome::try_from);
                match (ended.trial_id.parse(), outcome) {
                    (Ok(trial), Some(Ok(outcome))) => scene.announced(sweep, trial, &outcome),
                    other => scene.violated(format!("the driver tells nonsense: {other:?}")),
                }
            }
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => scene.violated("the observer is too slow".to_owned()),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Looks every so often whether the journal says what the core says.
async fn look(scene: Arc<Scene>, driver: Driver) {
    loop {
        tokio::time::sleep(LOOKS).await;
        let scene = Arc::clone(&scene);
        if driver.read(move |core| scene.check(core)).await.is_err() {
            return;
        }
    }
}

/// The way from a host to the coordinator.
fn remote(breaks: Breaks) -> turmoil::Result<Remote> {
    let address = format!("{COORDINATOR}:{PORT}");
    Ok(Remote::local(&address, TOKEN.to_owned())?.dialled_by(wire::dial(breaks)))
}

/// A worker's host, whatever process runs on it.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) slots: u32,
    pub(super) lanes: Option<u32>,
    pub(super) breaks: Breaks,
    /// Asks the worker to end.
    pub(super) drain: Arc<Notify>,
    /// How many processes there have been.
    pub(super) processes: Arc<AtomicU64>,
}

impl Machine {
    /// Where its results wait.
    pub(super) fn outbox(&self) -> PathBuf {
        self.folder.join("outbox")
    }
}

/// The life of a worker's process.
pub(super) async fn worker(scene: Arc<Scene>, machine: Machine) -> turmoil::Result {
    let process = machine.processes.fetch_add(1, Ordering::Relaxed);
    scene.note(format_args!("{} starts", machine.name));
    let store = machine.folder.join("store");
    Store::open(&store, Durability::Cached)?.remove_drafts()?;
    let options = WorkerOptions {
        coordinator: remote(machine.breaks.clone())?,
        name: machine.name.clone(),
        instance: format!("{}-{process}", machine.name).parse()?,
        devices: vec![DeviceSlots { device: DeviceName::Cpu, slots: machine.slots }],
        lanes: machine.lanes,
        executors: Arc::new(Actors { scene: Arc::clone(&scene), worker: machine.name.clone() }),
        store,
        synced: false,
        outbox: Some(machine.outbox()),
        cache_size: None,
        // What plays has a pace of its own.
        checkpoint_every: None,
    };
    match client::serve(options, machine.drain.notified(), GRACE).await {
        Ok(()) => scene.ends(&machine.name),
        Err(error) => scene.violated(format!("{} ended by itself: {error}", machine.name)),
    }
    // Its connections end when the host crashes, which is at the end of this step.
    std::future::pending().await
}

/// A person who wants a report, whatever happens; and who gives the sweep up, and wants it all the same, when `cancel` says so.
pub(super) async fn person(scene: Arc<Scene>, breaks: Breaks, cancel: Arc<Notify>) -> turmoil::Result {
    let remote = remote(breaks)?;
    let mut told = Told::new();
    tokio::time::sleep(Duration::from_millis(300)).await;
    loop {
        match submit_and_wait(&scene, &remote, &cancel, &mut told).await {
            Ok(report) => {
                scene.finish(report);
                return Ok(());
            }
            Err(error) => scene.note(format_args!("the client tries again: {error:?}")),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What a client was told of trials.
type Told = BTreeMap<String, &'static str>;

async fn submit_and_wait(
    scene: &Scene,
    remote: &Remote,
    cancel: &Notify,
    told: &mut Told,
) -> Result<Vec<u8>, CliError> {
    let sweep: &LocalSweep = &SWEEP;
    let mut client = Client::connect_to(remote).await?;
    let id = client.submit(sweep, Share::default()).await?.sweep_id;
    scene.note(format_args!("the client has submitted {id}"));
    let mut events = client.sweeps.watch(WatchRequest { sweep_id: id.clone() }).await?.into_inner();
    loop {
        let reply = tokio::select! {
            biased;
            () = cancel.notified() => {
                scene.note(format_args!("the client gives the sweep up"));
                let drain = told.len().is_multiple_of(2);
                client.sweeps.cancel(CancelRequest { sweep_id: id.clone(), drain }).await?;
                if drain {
                    // It is told of the end.
                    continue;
                }
                return Err(CliError::Failed("it was given up, and is wanted again".to_owned()));
            }
            reply = events.message() => reply?,
        };
        match reply.and_then(|reply| reply.event) {
            Some(Event::Status(status)) if status.state() == SweepState::Completed => break,
            Some(Event::Status(status)) if status.state() != SweepState::Running => {
                return Err(CliError::Failed(format!("the sweep is {}", status.state().as_str_name())));
            }
            Some(Event::Trial(ended)) => {
                let outcome = ended.outcome.clone().map(StageOutcome::try_from).and_then(Result::ok);
                let outcome = outcome.map_or("nonsense", |outcome| outcome.name());
                let before = told.insert(ended.trial_id.clone(), outcome);
                if before.is_some_and(|before| before != StageOutcome::Cancelled.name()) {
                    scene.violated(format!("a client was told twice of {}: {before:?}, {outcome}", ended.trial_id));
                }
            }
            Some(_) => {}
            None => return Err(CliError::Unreachable("the stream ended".to_owned())),
        }
    }
    client.report(&id, ReportFormat::Json).await
}
