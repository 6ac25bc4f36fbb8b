//! `secateur gc`: remove the files that no sweep refers to, of a running coordinator or of the folder of one that is stopped.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytesize::ByteSize;
use clap::Args;
use secateur_proto::{
    convert::InvalidMessage,
    outcome::Artifact,
    v1::{CollectGarbageRequest, collect_garbage_reply::Event},
};
use secateur_worker::{arguments, store::Stored};
use serde_json::json;

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    output::{Output, counted, table},
};
use crate::{
    artifacts::{self, ArtifactError, Remote},
    garbage::{self, Collection, Count, KeptFiles, Removal},
    scheduler::Policy,
    server::{DataDir, ServerError},
    upkeep,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    /// Folder of a stopped coordinator, or .secateur of a run [default: ask the running coordinator]
    #[arg(value_name = "DATA_DIR", value_parser = arguments::path())]
    data_dir: Option<PathBuf>,
    /// List the files and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Keep files that were used within TIME, for example 90min or 7days
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    grace: Duration,
    #[command(flatten)]
    coordinator: ClientArguments,
}

/// What a collection came to.
struct Collected {
    gone: Vec<Stored>,
    kept: KeptFiles,
}

pub(crate) async fn run(arguments: GcArguments, output: Output) -> Result<ExitCode, CliError> {
    let collected = match &arguments.data_dir {
        Some(folder) => collect_stopped(folder, &arguments).await?,
        None => collect_running(&arguments).await?,
    };
    let document = |file: &Stored| {
        json!({
            "hash": file.hash,
            "size": file.size,
            "partial": !file.whole,
            "modified_at_ms": file.modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis()),
        })
    };
    let count = |count: Count| json!({"files": count.files, "bytes": count.bytes});
    let document = json!({
        "dry_run": arguments.dry_run,
        "gone": collected.gone.iter().map(document).collect::<Vec<_>>(),
        "gone_bytes": bytes(&collected.gone),
        "kept": {"referred": count(collected.kept.referred), "young": count(collected.kept.young)},
    });
    output.print(&document, || text(&collected, arguments.dry_run));
    Ok(ExitCode::SUCCESS)
}

async fn collect_running(arguments: &GcArguments) -> Result<Collected, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let request = CollectGarbageRequest { dry_run: arguments.dry_run, grace_seconds: arguments.grace.as_secs() };
    let mut events = client.artifact_service.collect_garbage(request).await?.into_inner();
    let mut gone = Vec::new();
    while let Some(reply) = events.message().await? {
        match reply.event {
            Some(Event::Garbage(file)) => {
                let artifact = file.artifact.ok_or(InvalidMessage::Missing("artifact")).and_then(Artifact::try_from);
                let Artifact { hash, size } = artifact.map_err(|error| CliError::failed(&error))?;
                let modified = UNIX_EPOCH + Duration::from_millis(file.modified_at_ms);
                gone.push(Stored { hash, size, whole: !file.partial, modified });
            }
            Some(Event::Kept(kept)) => {
                let referred = Count { files: kept.referred_files, bytes: kept.referred_bytes };
                let young = Count { files: kept.young_files, bytes: kept.young_bytes };
                return Ok(Collected { gone, kept: KeptFiles { referred, young } });
            }
            None => {}
        }
    }
    Err(CliError::Unreachable("the coordinator stopped before it had checked all files".to_owned()))
}

async fn collect_stopped(folder: &Path, arguments: &GcArguments) -> Result<Collected, CliError> {
    // Opening what is not there would make it.
    if !DataDir::journal_in(folder).is_file() {
        return Err(CliError::Input(format!(
            "{} has no journal.db (expected the folder of a coordinator, or .secateur of a run); if the journal is in a database, use --coordinator while the coordinator runs",
            folder.display()
        )));
    }
    let collection = Collection::after(arguments.grace, arguments.dry_run)
        .ok_or_else(|| CliError::Input("--grace is too long".to_owned()))?;
    let data_dir = DataDir::lock(folder).map_err(|error| match error {
        ServerError::InUse(folder) => CliError::Input(format!(
            "{} is in use by a running coordinator: use --coordinator instead of the folder",
            folder.display()
        )),
        other => other.into(),
    })?;
    let mut journal = data_dir.open_journal().await?;
    let core = upkeep::restore(&mut *journal, &Policy::default()).await?;
    journal.close().await?;
    let knows = core.has_had_sweeps();
    let of_stages = core.files_of_stages(0..usize::MAX).unwrap_or_default();
    let referred = core.plans().flat_map(|plan| plan.files()).chain(of_stages).collect();
    let bucket = artifacts::settled(folder).map_err(ServerError::from)?;
    let bucket =
        bucket.map(|url| Remote::open(url, None, &artifacts::environment())).transpose().map_err(ServerError::from)?;
    let store = data_dir.open_artifacts(bucket)?;
    // The folder stays locked meanwhile, and nobody uploads.
    let failed = |error: ArtifactError| CliError::from(ServerError::from(error));
    let listed = store.files().await.map_err(failed)?;
    if !knows && !listed.is_empty() {
        return Err(CliError::Input(garbage::no_sweep_ever(listed.len())));
    }
    let mut removal = Removal::new(&store, listed, referred, collection);
    let mut gone = Vec::new();
    while let Some(file) = removal.next(Some).await.map_err(failed)? {
        gone.push(file);
    }
    let kept = removal.kept();
    drop(data_dir);
    Ok(Collected { gone, kept })
}

fn bytes(files: &[Stored]) -> u64 {
    files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
}

/// In powers of 1000.
fn size(bytes: u64) -> String {
    ByteSize(bytes).display().si().to_string()
}

fn text(collected: &Collected, dry_run: bool) -> String {
    let mut text = String::new();
    let sum = format!("{} ({})", counted(collected.gone.len() as u64, "file"), size(bytes(&collected.gone)));
    if dry_run && !collected.gone.is_empty() {
        let row = |file: &Stored| {
            let age = SystemTime::now().duration_since(file.modified).unwrap_or_default();
            let what = if file.whole { "" } else { "interrupted upload" };
            vec![file.hash.short(16), what.to_owned(), size(file.size), format!("{} h", age.as_secs() / 3600)]
        };
        text += &table(&["artifact", "", "size", "unused for"], 2, collected.gone.iter().map(row));
        text.push('\n');
    }
    let KeptFiles { referred, young } = collected.kept;
    let stays = |count: Count| format!("{} ({})", counted(count.files, "file"), size(count.bytes));
    text + &format!(
        "{} {sum}\nkept {} that sweeps refer to and {} used within --grace",
        if dry_run { "would remove" } else { "removed" },
        stays(referred),
        stays(young),
    )
}
