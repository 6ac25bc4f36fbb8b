//! `secateur journal`: looks after the journal of a coordinator that does not run.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use secateur_worker::arguments;
use serde_json::json;

use super::{
    error::CliError,
    output::{Output, counted, thousands},
};
use crate::{
    journal::{Damage, Journal, JournalError, Place, Postgres, PostgresUrl, Sqlite},
    scheduler::{Core, SweepStatus},
    server::{DataDir, ServerError},
    upkeep::{self, Compacted, Examined, Repaired, UpkeepError},
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct JournalArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the content of a journal and all damage. Changes nothing
    Check {
        #[command(flatten)]
        data: DataArgument,
    },
    /// Copy a damaged journal, then cut the damaged part. Leaves a healthy journal alone
    Repair {
        #[command(flatten)]
        data: DataArgument,
        /// Cut everything from this entry on, good entries too. Required if good entries follow the damage; `check` shows the number
        #[arg(long, value_name = "SEQUENCE")]
        cut_at: Option<i64>,
    },
    /// Replace all entries of a journal by one snapshot
    Compact {
        #[command(flatten)]
        data: DataArgument,
    },
}

#[derive(Debug, Args)]
struct DataArgument {
    /// Folder of the coordinator (`serve --data-dir`), output folder of a run (`run --out`), or URL of the database (`serve
    /// --journal`)
    #[arg(value_parser = arguments::path())]
    data: PathBuf,
}

/// A journal that nobody else has.
struct Held {
    journal: Box<dyn Journal>,
    place: Place,
    /// A database keeps others out by itself.
    _folder: Option<DataDir>,
}

/// What a journal is taken for.
#[derive(Debug, Clone, Copy)]
enum For {
    Reading,
    Repair,
}

pub(crate) async fn run(arguments: JournalArguments, output: Output) -> Result<ExitCode, CliError> {
    match arguments.verb {
        Verb::Check { data } => {
            let mut held = Held::take(&data.data, For::Reading).await?;
            let examined = upkeep::check(&mut *held.journal).await?;
            held.journal.close().await?;
            Ok(tell_checked(&held.place, &examined, output))
        }
        Verb::Repair { data, cut_at } => {
            let Held { journal, place, _folder } = Held::take(&data.data, For::Repair).await?;
            let repaired = upkeep::repair(journal, cut_at).await?;
            tell_repaired(&place, repaired.as_ref(), output);
            Ok(ExitCode::SUCCESS)
        }
        Verb::Compact { data } => {
            let Held { journal, place, _folder } = Held::take(&data.data, For::Reading).await?;
            tell_compacted(&place, upkeep::compact(journal).await?, output);
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Held {
    async fn take(data: &Path, what: For) -> Result<Self, CliError> {
        if let Some(url) = data.to_str().filter(|text| PostgresUrl::is_meant(text)) {
            let url: PostgresUrl = url.parse().map_err(|error| CliError::input(&error))?;
            let journal = Postgres::open_idle(&url).await?;
            return Ok(Self { place: journal.place().clone(), journal: Box::new(journal), _folder: None });
        }
        let folders = [data.to_owned(), data.join(".secateur")];
        let Some(folder) = folders.iter().find(|folder| Sqlite::is_there(&DataDir::journal_in(folder))) else {
            return Err(CliError::Input(format!(
                "no journal in {} (expected the folder of a coordinator (serve --data-dir) or of a run (run --out), or the URL of a database (serve --journal))",
                data.display()
            )));
        };
        let locked = DataDir::lock(folder).map_err(|error| match error {
            ServerError::InUse(folder) => CliError::Input(format!(
                "{} is in use by a coordinator or another command: stop it first",
                folder.display()
            )),
            error => error.into(),
        })?;
        let path = DataDir::journal_in(folder);
        let journal = match what {
            For::Reading => Sqlite::open_idle(&path).await?,
            For::Repair => Sqlite::open_to_repair(&path).await?,
        };
        Ok(Self { place: journal.place().clone(), journal: Box::new(journal), _folder: Some(locked) })
    }
}

impl From<JournalError> for CliError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::None(_) | JournalError::Foreign(_) | JournalError::InUse(_) => Self::input(&error),
            _ => Self::failed(&error),
        }
    }
}

impl From<UpkeepError> for CliError {
    fn from(error: UpkeepError) -> Self {
        match error {
            UpkeepError::CutNotSaid { .. } | UpkeepError::CutElsewhere { .. } | UpkeepError::OtherVersion(_) => {
                Self::input(&error)
            }
            UpkeepError::Journal(error) => error.into(),
            UpkeepError::Unsteady(_) | UpkeepError::Differs(_) => Self::failed(&error),
        }
    }
}

/// Damages that people are shown.
const SHOWN: usize = 20;

fn tell_checked(place: &Place, examined: &Examined, output: Output) -> ExitCode {
    let sweeps: Vec<SweepStatus> = examined.core.sweeps().collect();
    let (entries, bytes, versions) = (examined.entries, examined.bytes, &examined.versions);
    let stages_ended = examined.core.stages_ended();
    let healthy = examined.damages.is_empty();
    let advice = examined.advice(place);
    let document = json!({
        "journal": place.to_string(),
        "healthy": healthy,
        "entries": entries,
        "bytes": bytes,
        "versions": versions,
        "sweeps": sweeps.iter().map(sweep_document).collect::<Vec<_>>(),
        "stages_ended": stages_ended,
        "damages": examined.damages.iter().map(|damage| json!({"sequence": damage.sequence(), "what": damage.to_string()})).collect::<Vec<_>>(),
        "entries_behind_damage": examined.rest,
        "torn_tail": examined.torn,
        "advice": advice,
    });
    output.print(&document, || {
        let mut text = format!("{place}\n");
        for damage in examined.damages.iter().take(SHOWN) {
            text += &format!("DAMAGED: {damage}\n");
        }
        if let Some(more @ 1..) = examined.damages.len().checked_sub(SHOWN) {
            text += &format!("DAMAGED: {more} more; --output json lists them all\n");
        }
        let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
        let versions =
            if versions.is_empty() { String::new() } else { format!(", version {}", versions.join(" and ")) };
        let until = if healthy { "" } else { " before the damage" };
        text += &format!("{}{until}, {} bytes{versions}\n", entries_counted(entries), thousands(bytes));
        text += &format!("{}, {} ended\n", counted(sweeps.len() as u64, "sweep"), counted(stages_ended, "stage"));
        for sweep in &sweeps {
            text += &format!("  {}\n", sweep_line(sweep));
        }
        match &advice {
            None => text += "healthy",
            Some(advice) => text += advice,
        }
        text
    });
    if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell_repaired(place: &Place, repaired: Option<&Repaired>, output: Output) {
    let Some(Repaired { copy, damage, lost, core, entries }) = repaired else {
        let document = json!({"journal": place.to_string(), "repaired": false});
        return output.print(&document, || format!("{place} is healthy; nothing was changed"));
    };
    let to_compute = |core: &Core| -> Vec<SweepStatus> {
        core.sweeps().filter(|sweep| sweep.stages > sweep.stages_ended || lost.stages.contains_key(&sweep.id)).collect()
    };
    let sweeps = to_compute(core);
    let document = json!({
        "journal": place.to_string(),
        "repaired": true,
        "copy": copy,
        "damage": damage.to_string(),
        "cut_at": damage.sequence(),
        "entries": entries,
        "entries_lost": lost.entries,
        "entries_lost_unreadable": lost.unreadable,
        "stages_lost": lost.stages,
        "stages_lost_of_unknown_sweeps": lost.stages_of_others,
        "sweeps_lost": lost.sweeps,
        "sweeps": core.sweeps().map(|sweep| sweep_document(&sweep)).collect::<Vec<_>>(),
    });
    output.print(&document, || {
        let mut text = format!("copied {place} to {copy}\n{damage}\n");
        let gives_no_more = matches!(damage, Damage::Stops { .. });
        let cut = match lost.entries {
            0 if gives_no_more => format!("all from entry {} on", damage.sequence()),
            lost => entries_counted(lost),
        };
        text += &format!("cut {cut}, {} left\n", thousands(*entries));
        if lost.unreadable > 0 {
            text += &format!("{} of the entries cut were unreadable\n", thousands(lost.unreadable));
        }
        if gives_no_more {
            text += "the database returned nothing more: the number of lost entries, sweeps and results is unknown\n";
        }
        for sweep in &sweeps {
            let lost = lost.stages.get(&sweep.id).copied().unwrap_or_default();
            text += &format!("  {}; {} lost by the cut\n", sweep_line(sweep), counted(lost, "stage"));
        }
        for sweep in &lost.sweeps {
            text += &format!("  sweep {sweep} is lost: submit it again\n");
        }
        if lost.stages_of_others > 0 {
            text += &format!(
                "  {} of sweeps that are lost: submit those sweeps again\n",
                counted(lost.stages_of_others, "stage")
            );
        }
        text
    });
}

fn tell_compacted(place: &Place, Compacted { before, after }: Compacted, output: Output) {
    let counts = |(entries, bytes): (u64, u64)| json!({"entries": entries, "bytes": bytes});
    let document = json!({
        "journal": place.to_string(),
        "compacted": after.0 < before.0,
        "before": counts(before),
        "after": counts(after),
    });
    output.print(&document, || {
        let size = |(entries, bytes)| format!("{}, {} bytes", entries_counted(entries), thousands(bytes));
        if after.0 < before.0 {
            format!("{place}: {} before, {} now", size(before), size(after))
        } else {
            format!("{place}: {}; a snapshot would not be shorter, nothing was changed", size(before))
        }
    });
}

/// `1 entry`, `2 entries`.
fn entries_counted(number: u64) -> String {
    format!("{} {}", thousands(number), if number == 1 { "entry" } else { "entries" })
}

fn sweep_line(sweep: &SweepStatus) -> String {
    format!(
        "sweep {} ({}), {}: {} of {} ended, {} to compute",
        sweep.id,
        sweep.name,
        if sweep.share.drains { "draining" } else { sweep.state.name() },
        thousands(sweep.stages_ended),
        counted(sweep.stages, "stage"),
        thousands(sweep.stages.saturating_sub(sweep.stages_ended))
    )
}

fn sweep_document(sweep: &SweepStatus) -> serde_json::Value {
    json!({
        "sweep_id": sweep.id,
        "name": sweep.name,
        "state": sweep.state.name(),
        "draining": sweep.share.drains,
        "stages": sweep.stages,
        "stages_ended": sweep.stages_ended,
    })
}
