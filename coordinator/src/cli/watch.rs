//! `secateur watch`: follow a sweep until it ends.

use std::{path::Path, process::ExitCode, time::Duration};

use clap::Args;
use secateur_proto::v1::{SweepState, SweepStatus};
use serde_json::{Value, json};

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    output::Output,
    progress::Screen,
    show,
    submit::merge,
};

/// The options of whatever follows a sweep.
#[derive(Debug, Args)]
pub(crate) struct FollowArguments {
    /// Wait up to SECONDS for the coordinator, or its standby, if the connection breaks
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=8_640_000))]
    reconnect_within: u64,
}

impl FollowArguments {
    /// How long to wait for it.
    pub(crate) const fn patience(&self) -> Duration {
        Duration::from_secs(self.reconnect_within)
    }
}

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// Id or name of the sweep, or an unambiguous prefix
    sweep_id: String,
    #[command(flatten)]
    coordinator: ClientArguments,
    #[command(flatten)]
    follow: FollowArguments,
}

pub(crate) async fn run(arguments: WatchArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let status = client.follow(&arguments.sweep_id, screen, arguments.follow.patience()).await?;
    Ok(conclude(&status, None, json!({}), output, screen))
}

/// Says how a sweep ended, and in which folder its report is: in words unless a program listens, which gets `numbers`, too, and by the
/// exit code.
pub(crate) fn conclude(
    status: &SweepStatus,
    folder: Option<&Path>,
    numbers: Value,
    output: Output,
    screen: &Screen,
) -> ExitCode {
    let report = folder.map(|folder| folder.join("report.html"));
    match (output, &report) {
        (Output::Json, _) => {
            let mut document = show::document(status);
            document["folder"] = json!(folder);
            document["report"] = json!(report);
            merge(&mut document, numbers);
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
