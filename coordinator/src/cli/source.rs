//! Where a command finds the results of a sweep: the folder of a finished run or of a report, or a coordinator.

use std::path::PathBuf;

use clap::Args;
use secateur_worker::arguments;

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    saved::SavedRun,
};

/// The options that name a sweep with results.
#[derive(Debug, Args)]
pub(crate) struct RunSource {
    /// Folder of the run or report [default: the folder in runs/ that contains the trial or cell, if only one does]
    #[arg(long, value_name = "DIR", value_parser = arguments::path(), conflicts_with = "sweep")]
    run: Option<PathBuf>,
    /// Id of a sweep on the coordinator, or an unambiguous prefix, instead of a folder
    #[arg(long, value_name = "SWEEP")]
    sweep: Option<String>,
    #[command(flatten)]
    coordinator: ClientArguments,
}

impl RunSource {
    /// Reads the report and the plan. `names` are trials or cells that it must have.
    ///
    /// # Errors
    /// If there is no such sweep, or more than one.
    pub(crate) async fn open(&self, names: &[String]) -> Result<SavedRun, CliError> {
        match (&self.run, &self.sweep) {
            (Some(folder), _) => SavedRun::open(folder),
            (None, Some(sweep)) => SavedRun::fetch(Client::connect(&self.coordinator).await?, sweep).await,
            (None, None) => SavedRun::find(names),
        }
    }
}
