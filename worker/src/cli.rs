//! The `worker` and `executor` verbs, shared by the slim binary for GPU nodes and by `secateur`.

pub mod devices;

use std::{
    fs::{File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use bytesize::ByteSize;
use clap::Args;
use tracing::info;

use self::devices::{DeviceArgument, DeviceError};
use crate::{
    arguments,
    client::{self, Program, WorkerError, WorkerOptions},
    connection::{ConnectionError, CoordinatorArguments, Remote},
    private,
    signals::{Hangups, interrupted, interrupted_again},
    store::{Durability, Store},
};

/// The options of the `worker` verb.
#[derive(Debug, Clone, Args)]
pub struct WorkerArguments {
    /// Whom to work for.
    #[command(flatten)]
    pub coordinator: CoordinatorArguments,
    /// Name of the worker in lists and logs [default: the host name]
    #[arg(long)]
    pub name: Option<String>,
    /// Train N bundles at the same time on each device, one thread each [default: the number of cores; 1 on a GPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub slots: Option<u32>,
    /// Train K nets in lockstep [default: measured for each architecture]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub lanes: Option<u32>,
    /// Devices to train on. Separate several with commas, or repeat --device; add =N for N slots, as in libtorch:cuda:0=2
    #[arg(long = "device", value_name = "NAME[=SLOTS]", default_value = "cpu", value_delimiter = ',', long_help = DEVICE_HELP)]
    pub devices: Vec<DeviceArgument>,
    /// Measure and list the devices of this build and machine, then exit
    #[arg(long, conflicts_with = "devices")]
    pub list_devices: bool,
    /// Folder for cached data and nets. Each worker needs its own [default: a free folder in the user's cache]
    #[arg(long, value_name = "DIR", value_parser = arguments::path())]
    pub cache_dir: Option<PathBuf>,
    /// On SIGTERM or Ctrl-C, finish running stages for up to SECONDS, then hand back the rest. A second signal ends the worker at once
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub grace: u64,
    /// Largest size of the cache folder, for example 20GB or 50GiB. Unused files are removed, the least recently used first
    /// [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = cache_size)]
    pub cache_size: Option<u64>,
    /// Save a checkpoint of each training every TIME, for example 90s or 10min, so that another worker can resume it; 0s = never.
    /// Checkpoints are taken at the end of an epoch
    #[arg(long, value_name = "TIME", default_value = CHECKPOINT_EVERY, value_parser = humantime::parse_duration)]
    pub checkpoint_every: Duration,
}

/// The default interval of checkpoints: the most that a lost worker costs, and far longer than a checkpoint takes.
pub const CHECKPOINT_EVERY: &str = "2min";

/// Returns the interval; `None` for 0, which means never.
#[must_use]
pub fn unless_zero(every: Duration) -> Option<Duration> {
    (!every.is_zero()).then_some(every)
}

/// A size in bytes, above 0.
fn cache_size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(0)) => Err("must be greater than 0; the inputs of a bundle must fit".to_owned()),
        Ok(ByteSize(bytes)) => Ok(bytes),
        Err(_) => Err("not a size such as 20GB, 1.5GB (powers of 1000) or 50GiB (powers of 1024)".to_owned()),
    }
}

/// The help of `--device`, of other verbs too.
pub const DEVICE_HELP: &str = "\
Devices to train on. Separate several with commas, or repeat --device; add =N for N slots, as in libtorch:cuda:0=2

  cpu              the processor, one thread per slot
  libtorch:cpu     the processor through libtorch (feature libtorch)
  libtorch:cuda:N  an NVIDIA GPU through libtorch, numbered as nvidia-smi does
  libtorch:mps     the GPU of an Apple processor through libtorch
  wgpu:N           any GPU, through Vulkan, Metal or OpenGL (feature wgpu)
  wgpu:cpu         a software GPU, for tests

`secateur worker --list-devices` lists the devices of this build and machine.";

/// The exit code of a worker that was asked to end.
pub const INTERRUPTED: u8 = 130;

/// Why the worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The cache folder is another worker's.
    #[error("the cache folder {0} is in use by another worker: pass another one with --cache-dir")]
    CacheInUse(PathBuf),
    /// The cache folder cannot be made.
    #[error("cannot use {path} as the cache folder: pass another one with --cache-dir")]
    Cache {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The system does not say which program this is.
    #[error("cannot find this program's own file, which executors are started from")]
    Program(#[source] io::Error),
    /// A device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no way to the coordinator.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// It started, and cannot work.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// Serves the coordinator until interrupted; then it drains.
///
/// # Errors
/// If the worker cannot start, or the coordinator refuses it.
pub async fn work(arguments: WorkerArguments) -> Result<ExitCode, StartError> {
    let program = client::this_program().map_err(StartError::Program)?;
    let devices = tokio::select! {
        devices = devices::usable(&program, &arguments.devices, arguments.slots) => devices?,
        () = interrupted() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let (store, _lock) = lock_cache(arguments.cache_dir)?;
    // The folder is this process's own: nobody is writing.
    Store::open(&store, Durability::Cached).and_then(|store| store.remove_drafts()).map_err(WorkerError::from)?;
    let options = WorkerOptions {
        coordinator: Remote::of(&arguments.coordinator)?,
        name: arguments
            .name
            .unwrap_or_else(|| arguments::host_name().unwrap_or_else(|| format!("process-{}", std::process::id()))),
        instance: client::fresh_instance()?,
        devices,
        lanes: arguments.lanes,
        executors: Arc::new(Program(program)),
        outbox: Some(store.join("outbox")),
        store,
        synced: false,
        cache_size: arguments.cache_size,
        checkpoint_every: unless_zero(arguments.checkpoint_every),
    };
    let mut hangups = Hangups::listen();
    let hung_up = async {
        loop {
            hangups.next().await;
            info!("SIGHUP: token and certificates are read again at the next connection");
        }
    };
    tokio::select! {
        ended = client::serve(options, interrupted(), Duration::from_secs(arguments.grace)) => ended?,
        () = interrupted_again() => {}
        () = hung_up => {}
    }
    Ok(ExitCode::from(INTERRUPTED))
}

/// Prints the devices to choose from, for a program without other output.
///
/// # Errors
/// If the system does not say which program this is.
pub async fn print_devices() -> Result<ExitCode, StartError> {
    let program = client::this_program().map_err(StartError::Program)?;
    // A reader of either that went away is no error.
    let list = devices::list(&program, |what| _ = writeln!(io::stderr(), "{what}")).await;
    let _ = write!(io::stdout(), "{list}");
    Ok(ExitCode::SUCCESS)
}

/// Processors that this process may use.
#[must_use]
pub fn processors() -> u32 {
    thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

fn lock_cache(wanted: Option<PathBuf>) -> Result<(PathBuf, File), StartError> {
    if let Some(path) = wanted {
        return try_lock(&path)?
            .map_or_else(|| Err(StartError::CacheInUse(path.clone())), |lock| Ok((path.clone(), lock)));
    }
    let home = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = home("XDG_CACHE_HOME").or_else(|| home("HOME").map(|home| home.join(".cache")));
    let base = base.unwrap_or_else(std::env::temp_dir).join("secateur");
    let mut number = 0;
    loop {
        let path = base.join(format!("worker-{number}"));
        if let Some(lock) = try_lock(&path)? {
            return Ok((path, lock));
        }
        number += 1;
    }
}

/// Locks the folder while the file is open. Returns `None` if another process holds the lock.
fn try_lock(path: &Path) -> Result<Option<File>, StartError> {
    let failed = |source| StartError::Cache { path: path.to_owned(), source };
    private::create_folder(path).map_err(failed)?;
    let file = File::create(path.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
