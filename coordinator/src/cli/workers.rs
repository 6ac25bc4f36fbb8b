//! `secateur workers`: who is attached.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::v1::{ListWorkersRequest, WorkerInfo};
use secateur_worker::connection::CoordinatorArguments;
use serde_json::json;

use super::{
    client::Client,
    error::CliError,
    output::{Output, table, thousands},
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct WorkersArguments {
    #[command(flatten)]
    coordinator: CoordinatorArguments,
}

pub(crate) async fn run(arguments: WorkersArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let workers = client.workers.list_workers(ListWorkersRequest {}).await?.into_inner().workers;
    let document = |worker: &WorkerInfo| {
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
        })
    };
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

const fn state(worker: &WorkerInfo) -> &'static str {
    match (worker.away, worker.leaving, worker.quarantined.is_empty()) {
        // Its stream broke, and what it works on is kept for it.
        (true, _, _) => "away",
        (false, true, _) => "leaving",
        // Bundles failed on it, one after the other.
        (false, false, false) => "quarantined",
        (false, false, true) => "attached",
    }
}
