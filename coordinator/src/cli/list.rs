//! `secateur ls`: a coordinator's sweeps.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::v1::{ListSweepsRequest, SweepStatus};
use secateur_worker::connection::CoordinatorArguments;

use super::{
    client::Client,
    error::CliError,
    output::{Output, table, thousands},
    show,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    coordinator: CoordinatorArguments,
}

pub(crate) async fn run(arguments: ListArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let sweeps = client.sweeps.list(ListSweepsRequest {}).await?.into_inner().sweeps;
    let documents: Vec<_> = sweeps.iter().map(show::document).collect();
    output.print(&documents, || {
        if sweeps.is_empty() {
            return "no sweeps yet; submit one with: secateur submit FILE".to_owned();
        }
        let row = |sweep: &SweepStatus| {
            vec![
                sweep.sweep_id.clone(),
                sweep.name.clone(),
                show::standing(sweep).to_owned(),
                format!("{}/{}", thousands(sweep.trials_completed), thousands(sweep.trials)),
                thousands(sweep.trials_failed),
                thousands(sweep.stages_leased),
                sweep.priority.to_string(),
                match sweep.max_workers {
                    0 => sweep.workers.to_string(),
                    limit => format!("{}/{limit}", sweep.workers),
                },
            ]
        };
        let held = sweeps.iter().find(|sweep| !sweep.held.is_empty());
        let why = held.map(|sweep| format!("\nheld: {}", sweep.held)).unwrap_or_default();
        let sweeps = table(
            &["sweep", "name", "state", "trials", "no result", "in flight", "priority", "workers"],
            3,
            sweeps.iter().map(row),
        );
        format!("{sweeps}{why}")
    });
    Ok(ExitCode::SUCCESS)
}
