//! `secateur cancel`: give a sweep up.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::v1::CancelRequest;
use secateur_worker::connection::CoordinatorArguments;

use super::{
    client::Client,
    error::CliError,
    output::{Output, counted, thousands},
    show,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct CancelArguments {
    /// The sweep's id, or enough of its beginning
    sweep_id: String,
    /// Let what is under way end first, and keep its results; nothing more is handed out
    #[arg(long)]
    drain: bool,
    #[command(flatten)]
    coordinator: CoordinatorArguments,
}

pub(crate) async fn run(arguments: CancelArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let request = CancelRequest { sweep_id: arguments.sweep_id, drain: arguments.drain };
    let status = client.sweeps.cancel(request).await?.into_inner();
    output.print(&show::document(&status), || {
        if status.draining {
            return format!(
                "sweep {name} ({id}) is draining: {under_way} under way ends first, nothing more of it is handed out, and then it is cancelled; \
                 `secateur watch {id}` follows it, `secateur cancel {id}` cancels it at once, and submitting it again lets it go on",
                name = status.name,
                id = status.sweep_id,
                under_way = match status.stages_leased {
                    0 => "what is".to_owned(),
                    1 => "the one stage that is".to_owned(),
                    stages => format!("the {} that are", counted(stages, "stage")),
                },
            );
        }
        format!(
            "sweep {} ({}) is {}; {} of {} trials had completed, and submitting it again goes on from there",
            status.name,
            status.sweep_id,
            show::state(&status),
            thousands(status.trials_completed),
            thousands(status.trials),
        )
    });
    Ok(ExitCode::SUCCESS)
}
