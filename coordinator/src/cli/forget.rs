//! `secateur forget`: a sweep that nobody needs any more.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::v1::ForgetRequest;
use secateur_worker::connection::CoordinatorArguments;

use super::{client::Client, error::CliError, output::Output, show};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ForgetArguments {
    /// The sweep's id, or enough of its beginning
    sweep_id: String,
    #[command(flatten)]
    coordinator: CoordinatorArguments,
}

pub(crate) async fn run(arguments: ForgetArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let request = ForgetRequest { sweep_id: arguments.sweep_id };
    let status = client.sweeps.forget(request).await?.into_inner();
    output.print(&show::document(&status), || {
        format!(
            "sweep {} ({}), which was {}, is forgotten; `secateur gc` removes the files that only it referred to",
            status.name,
            status.sweep_id,
            show::state(&status),
        )
    });
    Ok(ExitCode::SUCCESS)
}
