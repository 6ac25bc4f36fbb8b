//! `secateur watch`: follow a sweep until it ends.

use std::{path::Path, process::ExitCode};

use clap::Args;
use secateur_proto::v1::{SweepState, SweepStatus};
use secateur_worker::connection::CoordinatorArguments;
use serde_json::json;

use super::{client::Client, error::CliError, output::Output, progress::Screen, show};

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
    Ok(conclude(&status, None, output, screen))
}

/// Says how a sweep ended, and in which folder its report is: in words unless a program listens, and by the exit code.
pub(crate) fn conclude(status: &SweepStatus, folder: Option<&Path>, output: Output, screen: &Screen) -> ExitCode {
    let report = folder.map(|folder| folder.join("report.html"));
    match (output, &report) {
        (Output::Json, _) => {
            let mut document = show::document(status);
            document["folder"] = json!(folder);
            document["report"] = json!(report);
            output.print_json(&document);
        }
        (Output::Text, Some(report)) => screen.say(&format!("report: {}", report.display())),
        (Output::Text, None) => {}
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
