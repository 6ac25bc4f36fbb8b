//! `secateur retry`: do again what failed.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::v1::{RetryReply, RetryRequest};
use secateur_worker::connection::CoordinatorArguments;

use super::{
    client::Client,
    error::CliError,
    output::{Output, thousands},
    show,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct RetryArguments {
    /// The sweep's id, or enough of its beginning
    sweep_id: String,
    /// What has failed; nothing else can be tried again, so it is the same without
    #[arg(long = "failed")]
    _failed: bool,
    #[command(flatten)]
    coordinator: CoordinatorArguments,
}

pub(crate) async fn run(arguments: RetryArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let reply = client.retry(&arguments.sweep_id).await?;
    let status = reply.status.clone().unwrap_or_default();
    let mut document = show::document(&status);
    document["stages_retried"] = reply.stages.into();
    document["notes"] = reply.notes.clone().into();
    output.print(&document, || {
        format!("{}\nsweep {} ({}) is {}", said(&reply), status.name, status.sweep_id, show::standing(&status))
    });
    Ok(ExitCode::SUCCESS)
}

/// What was done, for a person.
pub(crate) fn said(reply: &RetryReply) -> String {
    let done = match reply.stages {
        0 => "no stage is to be tried again: none has failed, and what diverged or collapsed would do so again"
            .to_owned(),
        1 => "1 stage that had failed is tried again".to_owned(),
        stages => format!("{} stages that had failed are tried again", thousands(stages)),
    };
    std::iter::once(done).chain(reply.notes.iter().map(|note| format!("note: {note}"))).collect::<Vec<_>>().join("\n")
}

impl Client {
    /// Opens what has failed of a sweep again.
    pub(crate) async fn retry(&mut self, sweep_id: &str) -> Result<RetryReply, CliError> {
        let request = RetryRequest { sweep_id: sweep_id.to_owned() };
        Ok(self.sweeps.retry(request).await?.into_inner())
    }
}
