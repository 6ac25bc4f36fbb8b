//! `secateur provision`: workers as jobs of a cluster.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use secateur_proto::v1::{ListSweepsRequest, ListWorkersRequest, SweepState};
use secateur_worker::arguments;
use serde_json::{Value, json};

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    output::{Output, counted, table},
};
use crate::{
    provision::{
        policy::{Action, Attached, JobState, Work},
        rounds::{Head, Load, Provisioner},
        settings::Settings,
        slurm::{Jobs, Slurm},
    },
    queries::{Queries, QueryError},
    scheduler::SweepState as State,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ProvisionArguments {
    #[command(subcommand)]
    cluster: Cluster,
}

#[derive(Debug, Subcommand)]
enum Cluster {
    /// Submit workers as Slurm jobs until interrupted. The jobs stay; start it again to continue
    Slurm(SlurmArguments),
}

#[derive(Debug, Args)]
struct SlurmArguments {
    /// File that names the pools of jobs (TOML), for example deploy/slurm/pools.toml
    #[arg(value_name = "FILE", value_parser = arguments::path())]
    file: PathBuf,
    /// Show what would be submitted and cancelled now, and do nothing
    #[arg(long, group = "what")]
    dry_run: bool,
    /// List the jobs of the pools
    #[arg(long, group = "what")]
    status: bool,
    /// Cancel the waiting jobs of the pools and drain the running ones
    #[arg(long, group = "what")]
    stop: bool,
    #[command(flatten)]
    coordinator: ClientArguments,
}

pub(crate) async fn run(arguments: ProvisionArguments, output: Output) -> Result<ExitCode, CliError> {
    let Cluster::Slurm(arguments) = arguments.cluster;
    let slurm = read(&arguments.file)?;
    if arguments.status {
        let jobs = slurm.jobs().await.map_err(|error| CliError::failed(&error))?;
        output.print(&document(&jobs), || status(&jobs));
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.stop {
        let ended = stop(&slurm).await?;
        output.print(&json!({ "ended": ended }), || {
            format!(
                "{} cancelled or draining; a coordinator with --provision submits again while work waits",
                counted(ended, "job")
            )
        });
        return Ok(ExitCode::SUCCESS);
    }
    let client = Client::connect(&arguments.coordinator).await?;
    let head = Remote(client);
    if arguments.dry_run {
        let load = head.load().await.map_err(|error| CliError::Failed(error.message().to_owned()))?;
        let mut provisioner = Provisioner::new(slurm.clone());
        let round = provisioner.look(&load).await.map_err(|error| CliError::failed(&error))?;
        let actions: Vec<String> = round.decision.actions.iter().map(|action| command(&slurm, action)).collect();
        let pools: Vec<Value> = round
            .decision
            .standings
            .iter()
            .map(|pool| {
                json!({"pool": pool.pool, "waiting": pool.waiting, "running": pool.running, "wanted": pool.wanted})
            })
            .collect();
        output.print(&json!({"pools": pools, "commands": actions}), || {
            let row = |pool: &crate::provision::policy::Standing| {
                vec![pool.pool.clone(), pool.waiting.to_string(), pool.running.to_string(), pool.wanted.to_string()]
            };
            let pools = table(&["pool", "waiting", "running", "wanted"], 1, round.decision.standings.iter().map(row));
            let actions = if actions.is_empty() { "nothing to do".to_owned() } else { actions.join("\n") };
            format!("{pools}\n{actions}")
        });
        return Ok(ExitCode::SUCCESS);
    }
    match Provisioner::new(slurm).run(head).await {}
}

/// Reads the file of pools.
pub(super) fn read(file: &Path) -> Result<Slurm, CliError> {
    let wrong = |error: &dyn std::fmt::Display| CliError::Input(format!("{}: {error}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| wrong(&format!("cannot read it: {error}")))?;
    let settings = Settings::read(&text).map_err(|error| wrong(&error.to_string().trim_end()))?;
    let full = std::path::absolute(file).map_err(|error| wrong(&error))?;
    let folder = full.parent().unwrap_or(Path::new("/")).to_owned();
    Ok(Slurm::new(settings, folder))
}

async fn stop(slurm: &Slurm) -> Result<u64, CliError> {
    let mut ended = 0;
    for (job, state) in slurm.jobs().await.map_err(|error| CliError::failed(&error))?.into_values().flatten() {
        let asked = match state {
            JobState::Waiting => slurm.cancel(&job).await,
            JobState::Running => slurm.drain(&job).await,
            JobState::Ended | JobState::Failed => continue,
        };
        asked.map_err(|error| CliError::failed(&error))?;
        ended += 1;
    }
    Ok(ended)
}

const fn name(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Running => "running",
        JobState::Ended => "ended",
        JobState::Failed => "failed",
    }
}

fn document(jobs: &Jobs) -> Value {
    let of_pool = |(pool, jobs): (&String, &Vec<(String, JobState)>)| {
        let jobs: Vec<Value> = jobs.iter().map(|(id, state)| json!({"id": id, "state": name(*state)})).collect();
        json!({"pool": pool, "jobs": jobs})
    };
    jobs.iter().map(of_pool).collect()
}

fn status(jobs: &Jobs) -> String {
    let rows = jobs.iter().flat_map(|(pool, jobs)| {
        jobs.iter().map(|(id, state)| vec![pool.clone(), id.clone(), name(*state).to_owned()])
    });
    if jobs.is_empty() { "no jobs".to_owned() } else { table(&["pool", "job", "state"], 3, rows) }
}

/// An action as a person would type it.
fn command(slurm: &Slurm, action: &Action) -> String {
    match action {
        Action::Submit { pool, jobs } => {
            let settings = slurm.settings().pools.iter().find(|known| known.name == *pool);
            let options = settings.map(|pool| slurm.submission(pool, *jobs)).unwrap_or_default();
            format!("sbatch {} worker.sbatch", options.join(" "))
        }
        Action::Drain { job, .. } => format!("scancel --signal=TERM --batch {job}"),
        Action::Cancel { job, .. } => format!("scancel {job}"),
    }
}

/// The work of sweeps, from the ready stages, the lane-steps and the ended lane-steps of each.
fn work(sweeps: impl Iterator<Item = (u64, u64, u64)>) -> Work {
    sweeps.fold(Work::default(), |work, (ready, lane_steps, ended)| Work {
        ready: work.ready.saturating_add(ready),
        lane_steps: work.lane_steps.saturating_add(lane_steps.saturating_sub(ended)),
    })
}

/// A coordinator that is asked over gRPC.
struct Remote(Client);

impl Head for Remote {
    type Error = tonic::Status;

    async fn load(&self) -> Result<Load, tonic::Status> {
        let (mut sweeps, mut workers) = (self.0.sweeps.clone(), self.0.workers.clone());
        let sweeps = sweeps.list(ListSweepsRequest::default()).await?.into_inner().sweeps;
        let workers = workers.list_workers(ListWorkersRequest {}).await?.into_inner().workers;
        let running = sweeps.iter().filter(|sweep| sweep.state() == SweepState::Running);
        let worker = |worker: secateur_proto::v1::WorkerInfo| {
            let attached = Attached {
                slots: worker.slots,
                busy: worker.busy_slots,
                rate: worker.lane_steps_per_second,
                leaving: worker.leaving,
            };
            (worker.name, attached)
        };
        Ok(Load {
            work: work(running.map(|sweep| (sweep.stages_ready, sweep.lane_steps, sweep.lane_steps_ended))),
            workers: workers.into_iter().map(worker).collect(),
        })
    }
}

/// A coordinator in this process.
pub(super) struct Here(pub(super) Queries);

impl Head for Here {
    type Error = QueryError;

    async fn load(&self) -> Result<Load, QueryError> {
        let sweeps = self.0.sweeps().await?;
        let workers = self.0.workers().await?;
        let running = sweeps.iter().filter(|sweep| sweep.state == State::Running);
        let worker = |worker: crate::scheduler::WorkerStatus| {
            let attached = Attached {
                slots: worker.slots,
                busy: worker.busy_slots,
                rate: worker.measured.iter().map(|(_, _, rate)| *rate).fold(0.0, f64::max),
                leaving: worker.leaving,
            };
            (worker.name, attached)
        };
        Ok(Load {
            work: work(running.map(|sweep| (sweep.stages_ready, sweep.lane_steps, sweep.lane_steps_ended))),
            workers: workers.into_iter().map(worker).collect(),
        })
    }
}
