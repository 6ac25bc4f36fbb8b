//! `secateur explain`: why things are as they are.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::v1::ExplainRequest;
use serde_json::json;

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    output::Output,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// A sweep (id or unambiguous prefix), a trial (id, or SWEEP/TRIAL if several sweeps share it) or a worker (id or name)
    #[arg(value_name = "SWEEP|TRIAL|WORKER")]
    subject: String,
    #[command(flatten)]
    coordinator: ClientArguments,
}

pub(crate) async fn run(arguments: ExplainArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let reply = client.sweeps.explain(ExplainRequest { subject: arguments.subject }).await?.into_inner();
    output.print(&json!({"kind": reply.kind, "id": reply.id, "lines": reply.lines}), || reply.lines.join("\n"));
    Ok(ExitCode::SUCCESS)
}
