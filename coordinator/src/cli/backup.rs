//! `secateur backup` and `secateur restore`: a copy of a coordinator that runs, and a folder from that copy.

use std::{path::PathBuf, process::ExitCode};

use bytesize::ByteSize;
use clap::Args;
use secateur_worker::arguments;

use super::{
    data_dir::DataDirArguments,
    error::CliError,
    output::{Output, counted},
};
use crate::backup::{self, BackupError, Files, Manifest};

/// The options of `backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// New folder for the backup
    #[arg(value_name = "DIR", value_parser = arguments::path())]
    into: PathBuf,
    #[command(flatten)]
    folder: DataDirArguments,
    /// Copy all files. Without it, files on the same file system are linked, which takes no space but shares the disk's fate
    #[arg(long)]
    copy: bool,
}

/// The options of `restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    /// Folder of the backup
    #[arg(value_name = "DIR", value_parser = arguments::path())]
    from: PathBuf,
    #[command(flatten)]
    folder: DataDirArguments,
}

pub(crate) async fn make(arguments: BackupArguments, output: Output) -> Result<ExitCode, CliError> {
    let how = if arguments.copy { Files::Copied } else { Files::Linked };
    let manifest = backup::make(&arguments.folder.existing()?, &arguments.into, how).await?;
    output.print(&manifest, || format!("backed up {} to {}", said(&manifest), arguments.into.display()));
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn restore(arguments: RestoreArguments, output: Output) -> Result<ExitCode, CliError> {
    let folder = arguments.folder.path()?;
    let manifest = backup::restore(&arguments.from, &folder).await?;
    output.print(&manifest, || {
        let place = folder.display();
        format!(
            "restored {} to {place}\nevery file has its hash, and the journal is whole. Start it with `secateur serve --data-dir {place}`, and never together with the original",
            said(&manifest)
        )
    });
    Ok(ExitCode::SUCCESS)
}

fn said(manifest: &Manifest) -> String {
    let coordinator = manifest.coordinator.as_deref().map(|id| format!("coordinator {id}: ")).unwrap_or_default();
    let files = match &manifest.bucket {
        Some(bucket) => format!("without the artifacts, which are in {bucket}"),
        None => format!("{} ({})", counted(manifest.artifacts, "artifact"), ByteSize(manifest.bytes).display().si()),
    };
    let lost = match manifest.lost.len() as u64 {
        0 => String::new(),
        lost => format!(
            "; {} that sweeps refer to were missing in the coordinator: `secateur explain` says how to make them again",
            counted(lost, "file")
        ),
    };
    let sweeps = counted(manifest.sweeps, "sweep");
    format!("{coordinator}{sweeps}, {} journal entries, {files}{lost}", manifest.entries)
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::NoJournal(_)
            | BackupError::NotEmpty(_)
            | BackupError::NoBackup(_)
            | BackupError::Manifest { .. }
            | BackupError::Version { .. } => Self::input(&error),
            BackupError::Database(error) => error.into(),
            _ => Self::failed(&error),
        }
    }
}
