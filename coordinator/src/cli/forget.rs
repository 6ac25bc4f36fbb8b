//! `secateur forget`: a sweep that nobody needs any more.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::v1::ForgetRequest;

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    output::Output,
    show,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ForgetArguments {
    /// Id or name of the sweep, or an unambiguous prefix
    sweep_id: String,
    #[command(flatten)]
    coordinator: ClientArguments,
}

pub(crate) async fn run(arguments: ForgetArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let request = ForgetRequest { sweep_id: arguments.sweep_id };
    let status = client.sweeps.forget(request).await?.into_inner();
    output.print(&show::document(&status), || {
        format!(
            "forgot sweep {} ({}), which was {}; `secateur gc` removes the files that only it used",
            status.name,
            status.sweep_id,
            show::state(&status),
        )
    });
    Ok(ExitCode::SUCCESS)
}
