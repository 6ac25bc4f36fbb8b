//! `secateur cancel`: give a sweep up.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::v1::CancelRequest;
use secateur_worker::connection::CoordinatorArguments;

use super::{
    client::Client,
    error::CliError,
    output::{Output, thousands},
    show,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct CancelArguments {
    /// The sweep's id, or enough of its beginning
    sweep_id: String,
    #[command(flatten)]
    coordinator: CoordinatorArguments,
}

pub(crate) async fn run(arguments: CancelArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let request = CancelRequest { sweep_id: arguments.sweep_id };
    let status = client.sweeps.cancel(request).await?.into_inner();
    output.print(&show::document(&status), || {
        format!(
            "sweep {} ({}) is {}; {} of {} trials had completed, and submitting it again goes on from there",
            status.name,
            status.sweep_id,
            show::state(&status),
            thousands(status.trials_completed),
            thousands(status.trials),
        )
    });
    Ok(ExitCode::SUCCESS)
}
