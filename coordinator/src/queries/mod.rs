//! Questions about sweeps, trials, stages and workers. Each is an `async` function of [`Queries`] with a typed result, in a file of its own:
//! the gRPC services, and whatever else shows something to somebody, are thin over them.
//!
//! The scheduler's task only hands out views that are cheap to take. What walks all of a sweep reads a view on a thread of its own; what is
//! expensive is bounded (`bound`), and made once for all who ask until its sweep changes (`answers`).
//!
//! It knows nothing of gRPC, of the command line, and of who may ask what.

mod answers;
mod bound;
mod document;
pub(crate) mod explanation;
mod extension;
mod logs;
mod plan;
mod report;
mod status;
mod subject;
mod workers;

use std::sync::Arc;

use secateur_proto::ids::SweepId;
use secateur_worker::threads::on_a_thread;
use tokio::task::JoinError;

use self::{
    answers::{Answer, Answers},
    bound::Bound,
};
pub use self::{
    document::Document,
    explanation::{Explanation, Subject},
    extension::Extension,
    logs::{LogLine, LogQuestion},
    plan::SweepFile,
    report::ReportFormat,
};
use crate::{
    admission::Limits,
    artifacts::{ArtifactError, ArtifactStore},
    driver::{Driver, Stopped},
    experiment::extension::NotAnExtension,
    logs::Logs,
    scheduler::SweepResults,
};

/// Trials of which reports are made at the same time. A larger sweep is reported alone.
const TRIALS_TOGETHER: u32 = 250_000;

/// Sweeps that are planned at the same time; planning has the whole table in memory.
const PLANNED_TOGETHER: u32 = 2;

/// Askers who wait for what is expensive, or are being answered. Others are told to ask again.
const MOST_ASKERS: usize = 1_024;

/// Bytes of answers that are kept.
const ROOM: usize = 64 << 20;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The empty text names no sweep.
    #[error("missing sweep id; `secateur ls` lists them")]
    NoSweepNamed,
    /// No sweep has an id that begins so.
    #[error("no sweep {0:?}; `secateur ls` lists them")]
    UnknownSweep(String),
    /// Several sweeps have ids that begin so.
    #[error("{wanted:?} is ambiguous: it matches {}", .found.join(", "))]
    SeveralSweeps {
        /// What was asked for.
        wanted: String,
        /// The ids.
        found: Vec<String>,
    },
    /// Several sweeps have a trial of that name.
    #[error("{count} sweeps have this trial: use {}{}", .names.join(" or "), if *.count > .names.len() { ", …" } else { "" })]
    SeveralTrials {
        /// How many.
        count: usize,
        /// The first of them, by names that mean one trial each.
        names: Vec<String>,
    },
    /// Nothing has that name.
    #[error(
        "no sweep, trial or attached worker {subject:?}; `secateur ls`, `show` and `workers` list them{}",
        if *.has_just_begun { "; the coordinator has just started, and workers reconnect within seconds" } else { "" }
    )]
    UnknownSubject {
        /// What was asked for.
        subject: String,
        /// Workers may still come back.
        has_just_begun: bool,
    },
    /// No trial or stage has that name.
    #[error("no trial or stage {0:?}; `secateur show` lists the trials of a sweep")]
    UnknownStage(String),
    /// Too many stages have keys that begin so.
    #[error("too many stage keys start with {0:?}: use more characters, or a trial of `secateur show`")]
    TooManyStages(String),
    /// The sweep file, or what it names, is wrong.
    #[error("{0}")]
    Refused(String),
    /// The sweep file does not extend the sweep.
    #[error("the file does not extend sweep {0}: {1}; submit it as a separate sweep")]
    NotAnExtension(SweepId, NotAnExtension),
    /// What the sweep file names is not there.
    #[error("the data and the weights of the sweep must be uploaded first")]
    NotUploaded,
    /// What the sweep file names cannot be read.
    #[error("cannot read the data or the weights of the sweep")]
    Artifacts(#[source] ArtifactError),
    /// The logs cannot be read.
    #[error("cannot read the logs: {0}")]
    Logs(std::io::Error),
    /// Too many wait for answers.
    #[error("the coordinator is busy with other queries; try again in a moment")]
    Busy,
    /// There is nobody who could say.
    #[error("the coordinator is stopping")]
    Stopped,
    /// A defect.
    #[error("the query failed: {0}")]
    Failed(String),
}

impl From<Stopped> for QueryError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<JoinError> for QueryError {
    fn from(error: JoinError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<std::io::Error> for QueryError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Answers questions. Copies are the same.
#[derive(Debug, Clone)]
pub struct Queries {
    driver: Driver,
    store: ArtifactStore,
    logs: Logs,
    limits: Limits,
    answers: Answers,
    reporting: Bound,
    planning: Bound,
    remembered: plan::Remembered,
}

impl Queries {
    /// About what `driver`, `store` and `logs` know; what is planned is within `limits`.
    #[must_use]
    pub fn new(driver: Driver, store: ArtifactStore, logs: Logs, limits: Limits) -> Self {
        Self {
            driver,
            store,
            logs,
            limits,
            answers: Answers::new(ROOM),
            reporting: Bound::new(TRIALS_TOGETHER, MOST_ASKERS),
            planning: Bound::new(PLANNED_TOGETHER, MOST_ASKERS),
            remembered: plan::Remembered::default(),
        }
    }

    /// What `make` makes of the results of a sweep, on a thread of its own: once for all who ask, until the sweep changes. An answer
    /// is as new as its question, or newer. `name` tells it from the other answers about the sweep.
    async fn answer<T: Answer>(
        &self,
        sweep: &SweepId,
        name: &'static str,
        make: impl FnOnce(&SweepResults) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<Arc<T>, QueryError> {
        let _place = self.reporting.ask()?;
        let unknown = |id: &SweepId| QueryError::UnknownSweep(id.to_string());
        let id = sweep.clone();
        let generation = self.driver.read(move |core| core.generation(&id)).await?.ok_or_else(|| unknown(sweep))?;
        let (driver, reporting, id) = (self.driver.clone(), self.reporting.clone(), sweep.clone());
        let making = async move {
            let of = id.clone();
            let trials =
                driver.read(move |core| Some(core.plan_parts(&of)?.map(|part| part.trial_count()).sum())).await?;
            let room = reporting.enter(trials.unwrap_or_default()).await?;
            let of = id.clone();
            // Taken when there is room, so that those who wait hold nothing.
            let results = driver.read(move |core| core.results(&of)).await?.ok_or_else(|| unknown(&id))?;
            let made = on_a_thread(move || {
                // The room is taken for as long as the work lasts, whoever waits for it.
                let _room = room;
                make(&results).map(|answer| (results.generation, answer))
            });
            made.await?
        };
        self.answers.get((sweep.clone(), name), generation, making).await
    }
}

/// What a person asked for, short enough for a message.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
