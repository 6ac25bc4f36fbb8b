//! Logs of a trial's stages or of one stage, in order of time, and new lines as they arrive.

use std::{collections::HashMap, io, sync::Arc};

use secateur_proto::ids::StageKey;
use secateur_worker::threads::on_a_thread;
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::{Queries, QueryError, shown};
use crate::{
    driver::{Driver, Notice},
    experiment::plan::PackedPlan,
    logs::{Line, Logs},
    scheduler::{StageDetail, StageStatus},
};

/// The maximum number of stages that a prefix of a key may match.
const MOST_NAMED: usize = 8;

/// A question about logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuestion {
    /// A trial's id, or a unique prefix of a stage's key.
    pub subject: String,
    /// Whether to continue with new lines until all of the stages have ended.
    pub follow: bool,
    /// Only this attempt, or `None` for all.
    pub attempt: Option<u32>,
}

/// A line and its stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The stage.
    pub stage: StageKey,
    /// The name of the stage's kind.
    pub kind: &'static str,
    /// The line.
    pub line: Line,
}

/// The stages of the question, each with the name of its kind.
type Stages = Vec<(StageKey, &'static str)>;

impl Queries {
    /// Streams the existing lines, and new ones if `follow` is set.
    ///
    /// # Errors
    /// If the name matches nothing, or too many stages.
    pub async fn logs(&self, question: LogQuestion) -> Result<ReceiverStream<Result<LogLine, QueryError>>, QueryError> {
        let LogQuestion { subject, follow, attempt } = question;
        let stages = self.find_stages(&subject).await?;
        let (sender, receiver) = mpsc::channel(64);
        let (driver, logs) = (self.driver.clone(), self.logs.clone());
        let telling = Telling { driver, logs, stages, attempt, offsets: HashMap::new(), sender };
        tokio::spawn(telling.run(follow));
        Ok(ReceiverStream::new(receiver))
    }

    /// The stages of the trial of that name, or those whose keys have that prefix.
    async fn find_stages(&self, subject: &str) -> Result<Stages, QueryError> {
        let found = match self.find_trial(subject).await? {
            Some(found) => on_a_thread(move || stages_of_trial(&found.plan, found.position)).await?,
            None if subject.len() >= 4 => {
                let (plans, beginning) = (self.plans().await?, subject.to_owned());
                on_a_thread(move || stages_by_key(&plans, &beginning)).await?
            }
            None => Some(vec![]),
        };
        match found {
            None => Err(QueryError::TooManyStages(shown(subject))),
            Some(stages) if stages.is_empty() => Err(QueryError::UnknownStage(shown(subject))),
            Some(stages) => Ok(stages),
        }
    }
}

fn stages_of_trial(plan: &PackedPlan, trial: usize) -> Option<Stages> {
    let keys = plan.trial(trial).stages;
    let positions = plan.keys().enumerate().filter(|(_, key)| keys.contains(key));
    Some(positions.map(|(position, key)| (key, plan.spec(position).kind())).collect())
}

/// Returns `None` if there are too many.
fn stages_by_key(plans: &[Arc<PackedPlan>], beginning: &str) -> Option<Stages> {
    let mut found: Stages = vec![];
    for plan in plans {
        for (position, key) in plan.keys().enumerate() {
            if key.to_string().starts_with(beginning) && found.iter().all(|(other, _)| *other != key) {
                if found.len() == MOST_NAMED {
                    return None;
                }
                found.push((key, plan.spec(position).kind()));
            }
        }
    }
    Some(found)
}

struct Telling {
    driver: Driver,
    logs: Logs,
    stages: Stages,
    attempt: Option<u32>,
    /// The offset up to which each stage's lines were sent.
    offsets: HashMap<StageKey, u64>,
    sender: mpsc::Sender<Result<LogLine, QueryError>>,
}

impl Telling {
    async fn run(mut self, follow: bool) {
        // Both subscribed before the first reading, so that nothing is missed.
        let (mut changed, mut notices) = (self.logs.watch(), self.driver.watch());
        loop {
            let ended = self.have_ended().await;
            self.logs.flush().await;
            if let Err(error) = self.tell().await {
                // The caller may be gone.
                let _ = self.sender.send(Err(error)).await;
                return;
            }
            if !follow || ended || self.sender.is_closed() {
                return;
            }
            loop {
                tokio::select! {
                    stage = changed.recv() => match stage {
                        Ok(stage) if !self.stages.iter().any(|(key, _)| *key == stage) => {}
                        Ok(_) | Err(RecvError::Lagged(_)) => break,
                        Err(RecvError::Closed) => return,
                    },
                    notice = notices.recv() => match notice {
                        Ok(Notice::Changed(_)) | Err(RecvError::Lagged(_)) => break,
                        Ok(_) => {}
                        Err(RecvError::Closed) => return,
                    },
                    () = self.sender.closed() => return,
                }
            }
        }
    }

    /// Whether no more lines can follow: the stages have ended, or no running sweep wants them.
    async fn have_ended(&self) -> bool {
        let keys: Vec<StageKey> = self.stages.iter().map(|(key, _)| *key).collect();
        let is_over = |stage: StageDetail| matches!(stage.status, StageStatus::Ended(_)) || !stage.wanted;
        let ended = self.driver.read(move |core| keys.iter().all(|key| core.stage_detail(key).is_none_or(is_over)));
        // A stopped driver produces no more lines.
        ended.await.unwrap_or(true)
    }

    /// Sends new lines.
    async fn tell(&mut self) -> Result<(), QueryError> {
        let (logs, stages, offsets) = (self.logs.clone(), self.stages.clone(), self.offsets.clone());
        let read = on_a_thread(move || {
            let read = |(key, kind): (StageKey, &'static str)| {
                let (lines, end) = logs.read(&key, offsets.get(&key).copied().unwrap_or(0))?;
                Ok::<_, io::Error>((key, kind, lines, end))
            };
            stages.into_iter().map(read).collect::<Result<Vec<_>, _>>()
        });
        let mut lines: Vec<LogLine> = Vec::new();
        for (stage, kind, new, end) in read.await?.map_err(QueryError::Logs)? {
            self.offsets.insert(stage, end);
            let new = new.into_iter().filter(|line| self.attempt.is_none_or(|attempt| line.attempt == attempt));
            lines.extend(new.map(|line| LogLine { stage, kind, line }));
        }
        lines.sort_by_key(|line| line.line.at);
        for line in lines {
            if self.sender.send(Ok(line)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}
