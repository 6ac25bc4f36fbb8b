//! `secateur worker`: work for a coordinator, or show what there is to work with.

use std::process::ExitCode;

use secateur_worker::{
    cli::{self, WorkerArguments, devices},
    client,
};

use super::{error::CliError, output::Output, progress::Screen};

pub(crate) async fn run(arguments: WorkerArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    if arguments.list_devices {
        let program = client::this_program().map_err(|error| CliError::failed(&error))?;
        let list = devices::list(&program, |what| screen.say(what)).await;
        output.print(&list, || list.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    cli::work(arguments).await.map_err(|error| CliError::input(&error))
}
