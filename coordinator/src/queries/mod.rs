//! Questions about sweeps, trials, stages and workers. Each is an `async` method of [`Queries`] with a typed result, in
//! a file of its own. The gRPC services and all other frontends are thin layers over them.
//!
//! The scheduler's task only returns views that are cheap to take. Anything that walks a whole sweep reads a view on a
//! thread of its own. Expensive answers are limited (`bound`), and made once for all callers until the sweep changes
//! (`answers`).
//!
//! It knows nothing of gRPC, of the command line, and of access rights.

mod answers;
mod bound;
mod credit;
mod document;
pub(crate) mod explanation;
mod extension;
mod logs;
mod nets;
mod overview;
mod plan;
mod report;
mod rows;
mod seeds;
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
    overview::Readings,
    plan::SweepFile,
    report::ReportFormat,
    seeds::Decision,
};
use crate::{
    admission::Limits,
    artifacts::{ArtifactError, ArtifactStore},
    driver::{Driver, Stopped},
    experiment::extension::NotAnExtension,
    logs::Logs,
    scheduler::SweepResults,
};

/// The number of trials in reports that are made at the same time. A larger sweep is reported alone.
const TRIALS_TOGETHER: u32 = 250_000;

/// The number of sweeps that are planned at the same time. Planning has the whole table in memory.
const PLANNED_TOGETHER: u32 = 2;

/// The number of callers that wait for expensive answers, or are being answered. Others must try again.
const MOST_ASKERS: usize = 1_024;

/// The size in bytes of cached answers.
const ROOM: usize = 64 << 20;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The sweep id is empty.
    #[error("missing sweep id; `secateur ls` lists them")]
    NoSweepNamed,
    /// No sweep has an id or a name with this prefix.
    #[error("no sweep {0:?}; `secateur ls` lists them")]
    UnknownSweep(String),
    /// Several sweeps have this name, or ids or names with this prefix.
    #[error("{wanted:?} is ambiguous: use one of the ids {}", .found.join(", "))]
    SeveralSweeps {
        /// The prefix.
        wanted: String,
        /// Their ids and names.
        found: Vec<String>,
    },
    /// No attached worker has that id or name, or a prefix of them.
    #[error(
        "no attached worker {wanted:?}; `secateur workers` lists them{}",
        if *.has_just_begun { "; the coordinator has just started, and workers reconnect within seconds" } else { "" }
    )]
    UnknownWorker {
        /// The prefix.
        wanted: String,
        /// Whether workers may still come back.
        has_just_begun: bool,
    },
    /// Several attached workers have ids or names with this prefix.
    #[error("{wanted:?} is ambiguous: use one of the ids {}", .found.join(", "))]
    SeveralWorkers {
        /// The prefix.
        wanted: String,
        /// Ids, names and devices.
        found: Vec<String>,
    },
    /// Several sweeps have a trial of that name.
    #[error("{count} sweeps have this trial: use {}{}", .names.join(" or "), if *.count > .names.len() { ", …" } else { "" })]
    SeveralTrials {
        /// The number of sweeps.
        count: usize,
        /// The first of them, as names that are unique.
        names: Vec<String>,
    },
    /// The name matches nothing.
    #[error(
        "no sweep, trial or attached worker {subject:?}; `secateur ls`, `show` and `workers` list them{}",
        if *.has_just_begun { "; the coordinator has just started, and workers reconnect within seconds" } else { "" }
    )]
    UnknownSubject {
        /// The name.
        subject: String,
        /// Whether workers may still come back.
        has_just_begun: bool,
    },
    /// The name matches no trial or stage.
    #[error("no trial or stage {0:?}; `secateur show` lists the trials of a sweep")]
    UnknownStage(String),
    /// Too many stage keys have this prefix.
    #[error("too many stage keys start with {0:?}: use more characters, or a trial of `secateur show`")]
    TooManyStages(String),
    /// The sweep file, or a file that it names, is invalid.
    #[error("{0}")]
    Refused(String),
    /// The sweep file does not extend the sweep.
    #[error("the file does not extend sweep {0}: {1}; submit it as a separate sweep")]
    NotAnExtension(SweepId, NotAnExtension),
    /// A file that the sweep file names was not uploaded.
    #[error("the data and the weights of the sweep must be uploaded first")]
    NotUploaded,
    /// A file that the sweep file names cannot be read.
    #[error("cannot read the data or the weights of the sweep")]
    Artifacts(#[source] ArtifactError),
    /// The logs cannot be read.
    #[error("cannot read the logs: {0}")]
    Logs(std::io::Error),
    /// Too many callers wait for answers.
    #[error("the coordinator is busy with other queries; try again in a moment")]
    Busy,
    /// The driver has stopped.
    #[error("the coordinator is stopping")]
    Stopped,
    /// A bug.
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

/// Answers questions. Clones share their state.
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
    /// Answers questions with the data of `driver`, `store` and `logs`, and plans within `limits`.
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

    /// Returns the answer that `make` computes from the results of a sweep, on a thread of its own. It is computed once
    /// for all callers until the sweep changes, and is at least as new as the question. `name` distinguishes answers
    /// about the same sweep.
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
            // Taken only once there is capacity, so that waiting callers hold nothing.
            let results = driver.read(move |core| core.results(&of)).await?.ok_or_else(|| unknown(&id))?;
            let made = on_a_thread(move || {
                // The capacity is held for as long as the work takes, even if the caller leaves.
                let _room = room;
                make(&results).map(|answer| (results.generation, answer))
            });
            made.await?
        };
        self.answers.get((sweep.clone(), name), generation, making).await
    }
}

/// A person's input, cut to fit into a message.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
