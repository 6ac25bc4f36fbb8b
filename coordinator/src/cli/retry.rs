//! `secateur retry`: do again what failed.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::v1::{RetryReply, RetryRequest};

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    output::{Output, counted},
    show,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct RetryArguments {
    /// Id or name of the sweep, or an unambiguous prefix
    sweep_id: String,
    /// Re-run failed stages. This is the default; only failed stages can be re-run
    #[arg(long = "failed")]
    _failed: bool,
    #[command(flatten)]
    coordinator: ClientArguments,
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
        0 => {
            "no failed stages to retry; diverged and collapsed trials are deterministic and are not retried".to_owned()
        }
        stages => format!("retrying {}", counted(stages, "failed stage")),
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
