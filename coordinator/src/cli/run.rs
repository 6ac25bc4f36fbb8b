//! `secateur run`: a coordinator and workers in one process, for one sweep.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use secateur_proto::v1::SweepState;
use secateur_worker::{
    cli::processors,
    client::{self, WorkerOptions},
    device::DeviceName,
    executor::process::ExecutorCommand,
};
use tokio::task::JoinSet;
use tracing::error;

use super::{
    client::{Client, CoordinatorArguments, LocalSweep},
    error::CliError,
    output::Output,
    outputs,
    progress::Screen,
    watch,
};
use crate::server::{Coordinator, DataDir};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The sweep file
    sweep: PathBuf,
    /// Where to write the report, and to keep what is needed to go on after an interruption [default: runs/<name>-<id>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Workers, one thread each [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// Where to train: cpu
    #[arg(long, default_value = "cpu")]
    device: DeviceName,
    /// Nets to train in lockstep [default: measured for each architecture]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=4096))]
    lanes: Option<u32>,
}

pub(crate) async fn run(arguments: RunArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let sweep = LocalSweep::read(&arguments.sweep, screen).await?;
    let info = &sweep.plan.sweep;
    let folder = arguments.out.clone().unwrap_or_else(|| outputs::default_folder(&info.name, info.id.as_str()));
    if folder.try_exists().unwrap_or(false) && !folder.is_dir() {
        let message = format!("{} is a file: say with --out in which folder the report is to be", folder.display());
        return Err(CliError::Input(message));
    }
    refuse_other_sweep(&folder, info.id.as_str())?;
    let data_dir = DataDir::lock(&folder.join(STATE))?;
    let marker = folder.join(STATE).join(SWEEP);
    outputs::write_whole(&marker, info.id.as_str().as_bytes()).map_err(|error| outputs::unwritable(&marker, &error))?;
    let store = data_dir.artifacts();
    let coordinator = Coordinator::start(data_dir, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let address = coordinator.address.to_string();
    let mut workers = JoinSet::new();
    for number in 0..arguments.workers.unwrap_or_else(processors) {
        let options = WorkerOptions {
            coordinator: format!("http://{address}"),
            name: format!("local-{number}"),
            slots: 1,
            lanes: arguments.lanes,
            executor: ExecutorCommand {
                program: client::this_program().map_err(|error| CliError::failed(&error))?,
                // The coordinator's own: what a worker makes is where it belongs at once.
                store: store.clone(),
                synced: true,
                device: arguments.device,
            },
        };
        workers.spawn(async move {
            if let Err(error) = client::serve(options).await {
                error!(%error, "a worker ended");
            }
        });
    }
    screen.say(&format!("sweep {} ({}) in {}", info.name, info.id, folder.display()));
    let done = coordinator.run_until(compute(&sweep, address, &folder, output, screen)).await?;
    workers.abort_all();
    done
}

/// Where a run keeps its journal, its artifacts and its lock.
const STATE: &str = ".secateur";
/// The file that says whose folder it is.
const SWEEP: &str = "sweep";

/// A folder belongs to one sweep: another one's report would replace the first one's.
fn refuse_other_sweep(folder: &Path, id: &str) -> Result<(), CliError> {
    match fs::read_to_string(folder.join(STATE).join(SWEEP)) {
        Ok(other) if other.trim() != id => Err(CliError::Input(format!(
            "{} holds another sweep ({}): the file or its data have changed since, or it is another one; give this one a folder of its own with --out",
            folder.display(),
            other.trim(),
        ))),
        _ => Ok(()),
    }
}

async fn compute(
    sweep: &LocalSweep,
    coordinator: String,
    folder: &Path,
    output: Output,
    screen: &Screen,
) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&CoordinatorArguments { coordinator }).await?;
    let id = client.submit(sweep).await?.sweep_id;
    let status = client.follow(&id, screen).await?;
    let completed = status.state() == SweepState::Completed;
    if completed {
        let report = outputs::write(&mut client, &id, folder).await?;
        for finding in report.findings() {
            screen.say(&format!("  {finding}"));
        }
    }
    Ok(watch::conclude(&status, completed.then_some(folder), output, screen))
}
