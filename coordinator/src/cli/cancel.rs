//! `secateur cancel`: give a sweep up.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::v1::CancelRequest;

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    output::{Output, thousands},
    show,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct CancelArguments {
    /// Id or name of the sweep, or an unambiguous prefix
    sweep_id: String,
    /// Let running stages finish first and keep their results
    #[arg(long)]
    drain: bool,
    #[command(flatten)]
    coordinator: ClientArguments,
}

pub(crate) async fn run(arguments: CancelArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let request = CancelRequest { sweep_id: arguments.sweep_id, drain: arguments.drain };
    let status = client.sweeps.cancel(request).await?.into_inner();
    output.print(&show::document(&status), || {
        if status.draining {
            return format!(
                "sweep {name} ({id}) is draining: it is cancelled once {running}; `secateur watch {id}` follows it, \
                 `secateur cancel {id}` cancels it now, and submitting it again resumes it",
                name = status.name,
                id = status.sweep_id,
                running = match status.stages_leased {
                    0 => "its running stages have finished".to_owned(),
                    1 => "its running stage has finished".to_owned(),
                    stages => format!("its {} running stages have finished", thousands(stages)),
                },
            );
        }
        format!(
            "sweep {} ({}) is {}: {} of {} trials completed; submit it again to resume",
            status.name,
            status.sweep_id,
            show::state(&status),
            thousands(status.trials_completed),
            thousands(status.trials),
        )
    });
    Ok(ExitCode::SUCCESS)
}
