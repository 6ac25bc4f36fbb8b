//! The lines of a trial's stages, or of one stage, in the order in which they were said; and those that come.

use std::collections::HashMap;

use futures::StreamExt as _;
use secateur_proto::{
    ids::{StageKey, SweepId},
    v1::{LogLine, LogsRequest},
};
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{on_a_thread, subject};
use crate::{
    driver::{Driver, Notice},
    logs::{Line, Logs},
    scheduler::{Core, StageDetail, StageStatus},
};

/// Stages that enough of a key may mean at most.
const MOST_NAMED: usize = 8;

/// The stages that are asked for, each with what it is for.
type Stages = Vec<(StageKey, &'static str)>;

/// All that a request asks for, as a stream.
pub(super) async fn stream(
    driver: Driver,
    logs: Logs,
    request: LogsRequest,
) -> Result<ReceiverStream<Result<LogLine, Status>>, Status> {
    let LogsRequest { subject, follow, attempt } = request;
    let wanted = subject.clone();
    let found = driver.read(move |core| find(core, &wanted)).await?;
    let stages = found?.map_err(|problem| {
        let subject: String = subject.chars().take(80).collect();
        Status::not_found(format!("{problem} {subject:?}; `secateur show` lists the trials of a sweep"))
    })?;
    let (sender, receiver) = mpsc::channel(64);
    let told = Told { driver, logs, stages, attempt, offsets: HashMap::new(), sender };
    tokio::spawn(told.run(follow));
    Ok(ReceiverStream::new(receiver))
}

/// The stages of the trial of that name; or those whose keys begin so. The inner error says what is not there.
fn find(core: &Core, subject: &str) -> Result<Result<Stages, &'static str>, Status> {
    let mut keys: Vec<StageKey> = Vec::new();
    let trial = subject::trial(core, subject)?;
    if let Some((sweep, trial)) = &trial
        && let Some(plan) = core.plan(sweep)
        && let Some(place) = plan.find_trial(trial)
    {
        keys.extend(plan.trial(place).stages);
    } else if subject.len() >= 4 {
        let ids: Vec<SweepId> = core.sweeps().map(|status| status.id).collect();
        let stages = ids.iter().filter_map(|id| core.plan(id)).flat_map(|plan| plan.keys());
        keys.extend(stages.filter(|key| key.to_string().starts_with(subject)));
    }
    let mut stages: Stages = Vec::new();
    for key in keys {
        if !stages.iter().any(|(other, _)| *other == key)
            && let Some(stage) = core.stage_with_inputs(&key)
        {
            stages.push((key, stage.spec.kind()));
        }
    }
    Ok(match stages.len() {
        0 => Err("there is no trial, and no stage, called"),
        count if trial.is_none() && count > MOST_NAMED => Err("too many stages have keys that begin with"),
        _ => Ok(stages),
    })
}

struct Told {
    driver: Driver,
    logs: Logs,
    stages: Stages,
    /// 0: all.
    attempt: u32,
    /// Up to where each stage's lines were told.
    offsets: HashMap<StageKey, u64>,
    sender: mpsc::Sender<Result<LogLine, Status>>,
}

impl Told {
    async fn run(mut self, follow: bool) {
        // Both before the first reading, so that nothing falls between.
        let (mut changed, mut notices) = (self.logs.watch(), self.driver.watch());
        loop {
            let ended = self.have_ended().await;
            self.logs.flush().await;
            if let Err(status) = self.tell().await {
                // Whoever asked may have gone.
                let _ = self.sender.send(Err(status)).await;
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

    /// Whether nothing more will be said: the stages have ended, or no running sweep wants them.
    async fn have_ended(&self) -> bool {
        let keys: Vec<StageKey> = self.stages.iter().map(|(key, _)| *key).collect();
        let is_over = |stage: StageDetail| matches!(stage.status, StageStatus::Ended(_)) || !stage.wanted;
        let ended = self.driver.read(move |core| keys.iter().all(|key| core.stage_detail(key).is_none_or(is_over)));
        // A driver that has stopped says nothing more.
        ended.await.unwrap_or(true)
    }

    /// Tells what is new.
    async fn tell(&mut self) -> Result<(), Status> {
        let (logs, stages, offsets) = (self.logs.clone(), self.stages.clone(), self.offsets.clone());
        let read = on_a_thread(move || {
            let read = |(key, kind): (StageKey, &'static str)| {
                let (lines, end) = logs.read(&key, offsets.get(&key).copied().unwrap_or(0))?;
                Ok::<_, std::io::Error>((key, kind, lines, end))
            };
            stages.into_iter().map(read).collect::<Result<Vec<_>, _>>()
        });
        let read = read.await.map_err(|error| Status::internal(error.to_string()))?;
        let read = read.map_err(|error| Status::internal(format!("the logs cannot be read: {error}")))?;
        let mut lines: Vec<LogLine> = Vec::new();
        for (key, kind, new, end) in read {
            self.offsets.insert(key, end);
            let new = new.into_iter().filter(|line| self.attempt == 0 || line.attempt == self.attempt);
            lines.extend(new.map(|line| message(key, kind, line)));
        }
        lines.sort_by_key(|line| line.at_ms);
        let mut lines = futures::stream::iter(lines);
        while let Some(line) = lines.next().await {
            if self.sender.send(Ok(line)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn message(key: StageKey, kind: &str, line: Line) -> LogLine {
    let Line { at, attempt, worker, text } = line;
    LogLine { stage_key: key.to_string(), kind: kind.to_owned(), attempt, worker, at_ms: at, text }
}
