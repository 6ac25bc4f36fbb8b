//! `secateur run`: a coordinator and workers in one process, for one sweep.

use std::{
    future,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use secateur_proto::{
    ids::ContentHash,
    v1::{Share, SweepState, SweepStatus},
};
use secateur_worker::{
    arguments,
    cli::{
        CHECKPOINT_EVERY, DEVICE_HELP,
        devices::{self, DeviceArgument},
        unless_zero,
    },
    client::{self, DeviceSlots, Program, WorkerOptions},
    connection::Remote,
    measure,
};
use serde_json::json;
use tokio::task::JoinSet;
use tracing::error;

use super::{
    client::{Client, LocalSweep, user},
    error::CliError,
    extend,
    folder::RunFolder,
    manifest,
    output::Output,
    outputs,
    progress::Screen,
    retry, serve, watch,
};
use crate::{
    admission::Limits,
    scheduler::Policy,
    security::{Role, tokens},
    server::{Coordinator, DataDir, Reach},
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Sweep file; - reads standard input
    #[arg(value_parser = arguments::path())]
    sweep: PathBuf,
    /// Folder for the report, and for the state from which an interrupted run resumes [default: runs/<name>-<id>]
    #[arg(long, value_name = "DIR", value_parser = arguments::path())]
    out: Option<PathBuf>,
    /// Run N workers for each device, one thread each [default: the number of cores; 1 on a GPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// Devices to train on. Separate several with commas, or repeat --device; add =N for N workers, as in libtorch:cuda:0=2
    #[arg(long = "device", value_name = "NAME[=N]", default_value = "cpu", value_delimiter = ',', long_help = DEVICE_HELP)]
    devices: Vec<DeviceArgument>,
    /// Train K nets in lockstep [default: measured for each architecture]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=4096))]
    lanes: Option<u32>,
    /// Re-run the stages that failed in an earlier run
    #[arg(long)]
    retry_failed: bool,
    /// Save a checkpoint of each training every TIME, for example 90s or 10min, so that the same command can resume it; 0s = never.
    /// Checkpoints are taken at the end of an epoch
    #[arg(long, value_name = "TIME", default_value = CHECKPOINT_EVERY, value_parser = humantime::parse_duration)]
    checkpoint_every: Duration,
}

pub(crate) async fn run(arguments: RunArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let program = client::this_program().map_err(|error| CliError::failed(&error))?;
    let devices = devices::usable(&program, &arguments.devices, arguments.workers).await;
    let devices = devices.map_err(|error| CliError::input(&error))?;
    let sweep = LocalSweep::read(&arguments.sweep, screen).await?;
    sweep.say_notes(screen);
    check_engine(&sweep)?;
    let info = &sweep.plan.sweep;
    let folder = RunFolder::choose(arguments.out.as_deref(), &sweep.plan, screen).await?;
    let data_dir = DataDir::lock(&folder.state())?;
    manifest::remove(&folder.path)?;
    folder.mark(info)?;
    let store = data_dir.artifacts();
    // Others on this machine can reach the port, and are to have nothing of it.
    let token = tokens::secret(Role::Admin, None).map_err(|error| CliError::failed(&error))?;
    let reach = Reach::Itself { token: ContentHash::of(token.as_bytes()) };
    let journal = data_dir.open_journal().await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let policy = Policy { pause_ms: serve::PAUSE_MS, ..Policy::default() };
    let coordinator = Coordinator::start(data_dir, journal, address, reach, policy, Limits::NONE, None).await?;
    coordinator.queries().remember_plan(&sweep.plan);
    let remote = Remote::local(&coordinator.address.to_string(), token)
        .map_err(|error| CliError::failed(&error))?
        .of_user(user());
    let mut workers = JoinSet::new();
    let each = devices.iter().flat_map(|device| (0..device.slots).map(|_| device.device));
    for (number, device) in each.enumerate() {
        let options = WorkerOptions {
            coordinator: remote.clone(),
            name: format!("local-{number}"),
            instance: client::fresh_instance().map_err(|error| CliError::failed(&error))?,
            devices: vec![DeviceSlots { device, slots: 1 }],
            lanes: arguments.lanes,
            executors: Arc::new(Program(program.clone())),
            // The coordinator's own: what a worker makes is where it belongs at once.
            store: store.clone(),
            synced: true,
            // They end together.
            outbox: None,
            cache_size: None,
            checkpoint_every: unless_zero(arguments.checkpoint_every),
        };
        workers.spawn(async move {
            if let Err(error) = client::serve(options, future::pending(), Duration::ZERO).await {
                error!(%error, "a worker ended");
            }
        });
    }
    let id = folder.sweep.as_ref().unwrap_or(&info.id);
    screen.say(&format!("sweep {} ({id}) in {}", info.name, folder.path.display()));
    let computed = async {
        let done = compute(&sweep, arguments.retry_failed, &remote, &folder, screen).await;
        // Before the coordinator closes: a worker that loses it warns and tries to connect again.
        workers.abort_all();
        done
    };
    let done = coordinator.run_until(computed).await?;
    // The coordinator may have failed after the sweep had ended, and one end is told.
    let (status, report) = done?;
    if let Some(folder) = report {
        // Nothing writes to the folder any more.
        manifest::write(folder, &status.sweep_id).await?;
    }
    Ok(watch::conclude(&status, report, json!({}), output, screen))
}

/// Refuses a sweep whose nets this program cannot measure, before anything is trained.
fn check_engine(sweep: &LocalSweep) -> Result<(), CliError> {
    // Nets are measured last, and all of them or none.
    let needed = sweep.plan.spec(sweep.plan.last_stage(0)).engine();
    match needed.filter(|engine| !measure::is_built(*engine)) {
        Some(engine) => Err(CliError::Input(measure::engine::missing(engine))),
        None => Ok(()),
    }
}

/// Computes the sweep. How it ended, and where its report is if it completed.
async fn compute<'a>(
    sweep: &LocalSweep,
    retries: bool,
    coordinator: &Remote,
    folder: &'a RunFolder,
    screen: &Screen,
) -> Result<(SweepStatus, Option<&'a Path>), CliError> {
    let mut client = Client::connect_to(coordinator).await?;
    let id = match &folder.sweep {
        Some(known) if client.has(known).await? => {
            let reply = client.extend(known.as_str(), sweep, Share::default()).await?;
            if reply.extended {
                screen.say(&format!("sweep {} is {}", sweep.plan.sweep.name, extend::said(&reply)));
            }
            reply.sweep_id
        }
        _ => client.submit(sweep, Share::default()).await?.sweep_id,
    };
    if retries {
        screen.say(&retry::said(&client.retry(&id).await?));
    }
    let status = client.follow(&id, screen, Duration::ZERO).await?;
    let completed = status.state() == SweepState::Completed;
    if completed {
        let report = outputs::write(&mut client, &id, &folder.path, screen).await?;
        for finding in report.findings() {
            screen.say(&format!("  {finding}"));
        }
    }
    Ok((status, completed.then_some(folder.path.as_path())))
}
