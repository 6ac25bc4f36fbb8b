//! `secateur report`: fetch a sweep's report.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use secateur_proto::v1::{GetSweepRequest, ReportFormat};
use secateur_worker::arguments;
use serde_json::json;

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    manifest,
    output::{self, Output},
    outputs,
    progress::Screen,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Id or name of the sweep, or an unambiguous prefix
    sweep_id: String,
    #[command(flatten)]
    coordinator: ClientArguments,
    /// Print one format to standard output instead of writing a folder
    #[arg(long, value_enum, conflicts_with = "out")]
    format: Option<Format>,
    /// Folder for the report in all formats and the nets of the front and the headline [default: runs/<name>-<id>]
    #[arg(long, value_name = "DIR", value_parser = arguments::path())]
    out: Option<PathBuf>,
}

/// A format of the report.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Html,
    Markdown,
    TrialsCsv,
    FrontCsv,
    PlanJson,
}

pub(crate) async fn run(arguments: ReportArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let request = GetSweepRequest { sweep_id: arguments.sweep_id };
    let status = client.sweeps.get(request).await?.into_inner();
    if let Some(format) = arguments.format {
        if output == Output::Json && !matches!(format, Format::Json | Format::PlanJson) {
            let message = "--format prints that format, which is not JSON: remove --output json, or use --format json";
            return Err(CliError::Input(message.to_owned()));
        }
        let format = match format {
            Format::Json => ReportFormat::Json,
            Format::Html => ReportFormat::Html,
            Format::Markdown => ReportFormat::Markdown,
            Format::TrialsCsv => ReportFormat::TrialsCsv,
            Format::FrontCsv => ReportFormat::FrontCsv,
            Format::PlanJson => ReportFormat::PlanJson,
        };
        let bytes = client.report(&status.sweep_id, format).await?;
        output::print(&String::from_utf8_lossy(&bytes));
        return Ok(ExitCode::SUCCESS);
    }
    let folder = arguments.out.unwrap_or_else(|| outputs::default_folder(&status.name, &status.sweep_id));
    outputs::write(&mut client, &status.sweep_id, &folder, screen).await?;
    manifest::write(&folder, &status.sweep_id).await?;
    let page = folder.join("report.html");
    output
        .print(&json!({"sweep_id": status.sweep_id, "folder": folder, "report": page}), || page.display().to_string());
    Ok(ExitCode::SUCCESS)
}
