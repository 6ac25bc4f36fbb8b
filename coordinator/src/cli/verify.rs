//! `secateur verify`: whether the folder of a run or of a report is as it was written, and whether its parts follow from each other.

mod chain;
mod journal;
#[cfg(feature = "worker")]
mod retrain;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use secateur_proto::ids::ContentHash;
use secateur_worker::arguments;
use serde_json::json;

use super::{
    error::CliError,
    manifest::{self, Manifest},
    output::Output,
    progress::Screen,
    saved::SavedRun,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Folder of a completed run or of a report, such as runs/NAME-ID
    #[arg(value_name = "DIR", value_parser = arguments::path())]
    folder: PathBuf,
    /// Hash that the manifest must have, as an earlier `verify` printed it
    #[arg(long, value_name = "BLAKE3")]
    manifest: Option<ContentHash>,
    /// Compute the stages of one trial again, on this machine's processor, and compare their files and metrics bit by bit. The trial must
    /// have been computed on a processor, too
    #[cfg(feature = "worker")]
    #[arg(long, value_name = "TRIAL")]
    retrain: Option<String>,
}

/// What was found to be whole.
#[derive(Debug, Default)]
struct Checked {
    files: usize,
    stages: usize,
    trials: usize,
    nets: usize,
    /// Rows of the report that are those of the journal. `None` if the folder has no journal.
    rows: Option<usize>,
    /// Stages that were computed again.
    retrained: Option<usize>,
}

/// What is wrong with the folder.
fn broken(folder: &Path, what: &str) -> CliError {
    CliError::Failed(format!("{}: {what}", folder.display()))
}

pub(crate) async fn run(arguments: VerifyArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let folder = arguments.folder.clone();
    if !folder.is_dir() {
        return Err(CliError::Input(format!("{} is no folder: pass a folder in runs/", folder.display())));
    }
    let reading = tokio::task::spawn_blocking({
        let folder = folder.clone();
        move || -> Result<_, CliError> {
            let (manifest, compared) = manifest::compare(&folder)?;
            if let Some(expected) = arguments.manifest.filter(|expected| *expected != manifest.blake3) {
                let what = format!("the BLAKE3 of its manifest is {}, expected {expected}", manifest.blake3);
                return Err(broken(&folder, &what));
            }
            let files = compared.map_err(|difference| broken(&folder, &difference))?;
            let run = SavedRun::open(&folder)?;
            let mut checked = Checked { files, ..Checked::default() };
            chain::check(&folder, &manifest, &run, &mut checked).map_err(|what| broken(&folder, &what))?;
            Ok((manifest, run, checked))
        }
    });
    let (manifest, run, mut checked) = reading.await.map_err(|error| CliError::failed(&error))??;
    let core = journal::open(&folder).await?;
    if let Some(core) = &core {
        let rows = journal::check(core, &run.report).map_err(|what| broken(&folder, &what))?;
        checked.rows = Some(rows);
    }
    #[cfg(feature = "worker")]
    if let Some(trial) = arguments.retrain {
        let Some(core) = core else {
            let what = "it has no journal and no data; --retrain takes the folder of `secateur run`";
            return Err(CliError::Input(format!("{}: {what}", folder.display())));
        };
        let _spinner = screen.spinner("computing the trial again");
        checked.retrained = Some(retrain::retrain(&folder, &run, &core, &trial).await?);
    }
    #[cfg(not(feature = "worker"))]
    let _ = screen;
    let document = json!({
        "folder": folder, "sweep_id": manifest.sweep, "manifest": manifest.blake3, "files": checked.files,
        "stages": checked.stages, "trials": checked.trials, "nets": checked.nets, "rows_of_journal": checked.rows,
        "stages_retrained": checked.retrained,
    });
    output.print(&document, || text(&manifest, &checked));
    Ok(ExitCode::SUCCESS)
}

fn text(manifest: &Manifest, checked: &Checked) -> String {
    let Checked { files, stages, trials, nets, rows, retrained } = checked;
    let mut lines = vec![
        format!("{files} files are as they were written (manifest {})", manifest.blake3),
        format!("{stages} stages, {trials} trials and {nets} files of nets follow from each other and from the data"),
    ];
    lines.push(match rows {
        Some(rows) => format!("{rows} rows of the report are those of the journal"),
        None => "the folder has no journal, so the metrics in the report were not compared with one".to_owned(),
    });
    lines.extend(retrained.map(|stages| format!("{stages} stages of the trial gave the same bits again")));
    lines.join("\n")
}
