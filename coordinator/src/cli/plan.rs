//! `secateur plan`: what a sweep would compute.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use secateur_worker::arguments;

use super::{client::LocalSweep, error::CliError, output::Output, progress::Screen};
use crate::experiment::PlanSummary;

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// Sweep file; - reads standard input
    #[arg(value_parser = arguments::path())]
    sweep: PathBuf,
}

pub(crate) async fn run(arguments: PlanArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let sweep = LocalSweep::read(&arguments.sweep, screen).await?;
    output.print(sweep.plan.as_ref(), || PlanSummary::of(&sweep.plan.unpack()).to_string());
    Ok(ExitCode::SUCCESS)
}
