//! The journal in the folder of a run, read from a copy: opening a database can change its files.

use std::{fs, path::Path};

use secateur_proto::outcome::StageOutcome;

use super::super::{error::CliError, outputs::STATE};
use crate::{
    journal::{Journal, Sqlite},
    report::{Report, build_in_order},
    scheduler::Core,
    server::DataDir,
    upkeep,
};

/// The state that the journal comes to. `None` if the folder has none.
///
/// # Errors
/// If it cannot be read or is damaged.
pub(super) async fn open(folder: &Path) -> Result<Option<Core>, CliError> {
    let path = DataDir::journal_in(&folder.join(STATE));
    if !Sqlite::is_there(&path) {
        return Ok(None);
    }
    let scratch = tempfile::tempdir().map_err(|error| CliError::failed(&error))?;
    let copy = DataDir::journal_in(scratch.path());
    for ending in ["", "-wal"] {
        let [from, to] = [&path, &copy].map(|path| {
            let mut name = path.clone().into_os_string();
            name.push(ending);
            name
        });
        if ending.is_empty() || Path::new(&from).exists() {
            fs::copy(&from, &to).map_err(|error| CliError::failed(&error))?;
        }
    }
    let mut journal: Box<dyn Journal> = Box::new(Sqlite::open_idle(&copy).await?);
    let examined = upkeep::check(&mut *journal).await?;
    journal.close().await?;
    match examined.damages.first() {
        Some(damage) => Err(CliError::Failed(format!("the journal {} is damaged: {damage}", path.display()))),
        None => Ok(Some(examined.core)),
    }
}

/// Compares the rows of the report with the outcomes in the journal. Returns how many there are; or the first that differs, in words.
pub(super) fn check(core: &Core, report: &Report) -> Result<usize, String> {
    let Some(results) = core.results(&report.sweep.id) else {
        return Err(format!("the journal does not have the sweep {}", report.sweep.id));
    };
    let parts = results.parts.iter().map(|part| part.plan.unpack());
    let Some(plan) = crate::experiment::plan::Plan::of_parts(parts) else {
        return Err("the journal has no plan of the sweep".to_owned());
    };
    let outcomes: Vec<Option<StageOutcome>> = results.outcomes().collect();
    let rebuilt = build_in_order(&plan, &[], outcomes.into_iter());
    for (row, own) in report.trials.iter().zip(&rebuilt.trials) {
        let same = row.id == own.id
            && row.outcome == own.outcome
            && row.metrics == own.metrics
            && row.quantities == own.quantities
            && row.artifacts == own.artifacts;
        if !same {
            return Err(format!("the row of the trial {} in report.json is not that of the journal", row.id));
        }
    }
    if report.trials.len() != rebuilt.trials.len() {
        return Err(format!(
            "report.json has {} trials, and the journal {}",
            report.trials.len(),
            rebuilt.trials.len()
        ));
    }
    Ok(report.trials.len())
}
