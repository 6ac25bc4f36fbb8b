//! `secateur watch`: follow a sweep until it ends.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::v1::{SweepState, SweepStatus};

use super::{
    client::{Client, CoordinatorArguments},
    error::CliError,
    output::Output,
    progress::Screen,
    show,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// The sweep's id, or enough of its beginning
    sweep_id: String,
    #[command(flatten)]
    coordinator: CoordinatorArguments,
}

pub(crate) async fn run(arguments: WatchArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let status = client.follow(&arguments.sweep_id, screen).await?;
    Ok(conclude(&status, output, screen))
}

/// Says how a sweep ended: in words unless a program listens, and by the exit code.
pub(crate) fn conclude(status: &SweepStatus, output: Output, screen: &Screen) -> ExitCode {
    if output == Output::Json {
        output.print_json(&show::document(status));
    }
    match status.state() {
        SweepState::Completed if status.trials_failed == 0 => ExitCode::SUCCESS,
        SweepState::Completed => ExitCode::from(1),
        SweepState::Stopped => {
            screen.error(&status.reason);
            ExitCode::from(1)
        }
        _ => ExitCode::from(1),
    }
}
