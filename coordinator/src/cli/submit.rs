//! `secateur submit`: hand a sweep to a coordinator.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use secateur_proto::v1::submit_reply::Was;
use secateur_worker::connection::CoordinatorArguments;
use serde_json::json;

use super::{
    client::{Client, LocalSweep},
    error::CliError,
    output::Output,
    outputs,
    progress::Screen,
    retry, share, watch,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct SubmitArguments {
    /// Sweep file. Its data are uploaded with it
    sweep: PathBuf,
    #[command(flatten)]
    coordinator: CoordinatorArguments,
    /// Re-run the stages that failed before
    #[arg(long)]
    retry_failed: bool,
    #[command(flatten)]
    share: share::ShareArguments,
    /// Wait until the sweep ends
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    follow: watch::FollowArguments,
    /// Folder for the report at the end
    #[arg(long, value_name = "DIR", requires = "wait")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(arguments: SubmitArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let sweep = LocalSweep::read(&arguments.sweep, screen).await?;
    sweep.say_notes(screen);
    let mut client = Client::connect(&arguments.coordinator).await?;
    let reply = client.submit(&sweep, arguments.share.message()).await?;
    let id = reply.sweep_id.clone();
    if arguments.retry_failed {
        screen.say(&retry::said(&client.retry(&id).await?));
    }
    let was = match reply.was() {
        Was::Known => "already known",
        Was::Stopped | Was::Draining => "resumed",
        Was::New | Was::Unspecified => "submitted",
    };
    if !arguments.wait {
        screen.say(&format!("sweep {} is {was}; follow it with: secateur watch {id}", sweep.plan.sweep.name));
        output.print(&json!({"sweep_id": id, "was": was}), || id.clone());
        return Ok(ExitCode::SUCCESS);
    }
    screen.say(&format!("sweep {} ({id}) is {was}", sweep.plan.sweep.name));
    let status = client.follow(&id, screen, arguments.follow.patience()).await?;
    if let Some(folder) = &arguments.out {
        outputs::write(&mut client, &id, folder).await?;
    }
    Ok(watch::conclude(&status, arguments.out.as_deref(), output, screen))
}
