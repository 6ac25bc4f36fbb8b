//! `secateur workers`: who is attached, and managing them.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use secateur_proto::v1::{ListWorkersRequest, ManageWorkerRequest, WorkerAction, WorkerInfo};
use serde_json::{Value, json};

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    output::{Output, table, thousands},
};

/// The options of the verb.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WorkersArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    coordinator: ClientArguments,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Give a worker no new work. It finishes what it has and stays attached
    Cordon(OfWorker),
    /// Give a worker work again. Ends a cordon and a quarantine
    Uncordon(OfWorker),
    /// Shut a worker down as SIGTERM does: it finishes what it can within its --grace, hands back the rest and exits
    Drain(OfWorker),
}

#[derive(Debug, Args)]
struct OfWorker {
    /// Name or id of the worker, or an unambiguous prefix
    worker: String,
    #[command(flatten)]
    coordinator: ClientArguments,
}

pub(crate) async fn run(arguments: WorkersArguments, output: Output) -> Result<ExitCode, CliError> {
    match arguments.action {
        None => list(&arguments.coordinator, output).await,
        Some(Action::Cordon(of)) => manage(of, WorkerAction::Cordon, output).await,
        Some(Action::Uncordon(of)) => manage(of, WorkerAction::Uncordon, output).await,
        Some(Action::Drain(of)) => manage(of, WorkerAction::Drain, output).await,
    }
}

async fn list(coordinator: &ClientArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(coordinator).await?;
    let workers = client.workers.list_workers(ListWorkersRequest {}).await?.into_inner().workers;
    output.print(&workers.iter().map(document).collect::<Vec<_>>(), || {
        if workers.is_empty() {
            return "no workers are attached; start one with: secateur worker --coordinator ADDRESS:PORT".to_owned();
        }
        let row = |worker: &WorkerInfo| {
            vec![
                worker.id.clone(),
                worker.name.clone(),
                worker.device.clone(),
                format!("{}/{}", worker.busy_slots, worker.slots),
                thousands(u64::from(worker.leased_stages)),
                thousands(worker.stages_completed),
                thousands(worker.lane_steps_per_second as u64),
                state(worker).to_owned(),
            ]
        };
        table(
            &["worker", "name", "device", "busy", "stages", "completed", "lane-steps/s", "state"],
            3,
            workers.iter().map(row),
        )
    });
    Ok(ExitCode::SUCCESS)
}

async fn manage(of: OfWorker, action: WorkerAction, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&of.coordinator).await?;
    let request = ManageWorkerRequest { worker: of.worker, action: action.into() };
    let worker = client.workers.manage_worker(request).await?.into_inner();
    output.print(&document(&worker), || {
        let more = match (action, worker.leased_stages) {
            (WorkerAction::Cordon | WorkerAction::Drain, stages @ 1..) => {
                format!("; it still holds {} stages", thousands(u64::from(stages)))
            }
            _ => String::new(),
        };
        let state = match action {
            WorkerAction::Drain => "draining",
            _ => state(&worker),
        };
        format!("worker {} ({}) is {state}{more}", worker.name, worker.id)
    });
    Ok(ExitCode::SUCCESS)
}

/// A worker for programs.
fn document(worker: &WorkerInfo) -> Value {
    json!({
        "id": worker.id,
        "name": worker.name,
        "device": worker.device,
        "slots": worker.slots,
        "busy_slots": worker.busy_slots,
        "leased_stages": worker.leased_stages,
        "stages_completed": worker.stages_completed,
        "lane_steps_per_second": worker.lane_steps_per_second,
        "state": state(worker),
        "quarantined": worker.quarantined,
        "cordoned_by": worker.cordoned_by,
    })
}

const fn state(worker: &WorkerInfo) -> &'static str {
    match (worker.away, worker.leaving, worker.cordoned_by.is_empty(), worker.quarantined.is_empty()) {
        // Its stream broke, and what it works on is kept for it.
        (true, ..) => "away",
        (false, true, ..) => "leaving",
        (false, false, false, _) => "cordoned",
        // Bundles failed on it, one after the other.
        (false, false, true, false) => "quarantined",
        (false, false, true, true) => "attached",
    }
}
