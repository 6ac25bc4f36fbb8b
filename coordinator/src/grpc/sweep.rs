//! `SweepService`: what people and scripts call.

use std::{io::Cursor, num::NonZeroU32, sync::Arc};

use futures::{StreamExt as _, stream};
use secateur_proto::{
    convert::InvalidMessage,
    ids::SweepId,
    outcome::Artifact,
    v1::{
        self, CancelRequest, Chunk, ExplainReply, ExplainRequest, ForgetRequest, GetReportRequest, GetSweepRequest,
        ListSweepsReply, ListSweepsRequest, LogLine, LogsRequest, PlanReply, PlanRequest, ReportFormat, RetryReply,
        RetryRequest, SetShareRequest, SubmitReply, SubmitRequest, SweepFile, SweepStatus, WatchReply, WatchRequest,
        submit_reply::Was, sweep_service_server::SweepService, watch_reply,
    },
};
use secateur_worker::{causes::with_causes, store::StoreError, transfer::chunks};
use tokio::sync::{Semaphore, broadcast::error::RecvError};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, async_trait};
use tracing::{info, warn};

use super::{Told, artifact::bucket_status, invalid, logs, on_a_thread, subject, while_heard, while_known};
use crate::{
    admission::{self, Input, Limits},
    artifacts::{ArtifactError, ArtifactStore},
    driver::{Driver, Notice, outcomes},
    experiment::plan::PackedPlan,
    explain,
    logs::Logs,
    lost, report,
    scheduler::{self, Event, ShareChange, SweepState},
    security::{Access, Audit, Caller},
};

/// Sweeps that are planned at the same time; planning reads the whole table.
const PLANNED_TOGETHER: usize = 2;

/// The service.
#[derive(Debug, Clone)]
pub struct Sweeps {
    driver: Driver,
    store: ArtifactStore,
    planning: Arc<Semaphore>,
    access: Access,
    audit: Audit,
    logs: Logs,
    limits: Limits,
}

impl Sweeps {
    /// Over `driver`, with tables from `store`, and what workers said in `logs`. Callers follow what goes on while `access` knows them;
    /// what they do is written into `audit`, and what they submit is within `limits`.
    #[must_use]
    pub fn new(driver: Driver, store: ArtifactStore, access: Access, audit: Audit, logs: Logs, limits: Limits) -> Self {
        Self { driver, store, planning: Arc::new(Semaphore::new(PLANNED_TOGETHER)), access, audit, logs, limits }
    }

    async fn plan_of(&self, file: Option<SweepFile>) -> Result<PackedPlan, Status> {
        let file = file.ok_or_else(|| invalid(InvalidMessage::Missing("file")))?;
        let table: Artifact =
            file.data.ok_or_else(|| invalid(InvalidMessage::Missing("data")))?.try_into().map_err(invalid)?;
        let weights: Option<Artifact> = file.weights.map(TryInto::try_into).transpose().map_err(invalid)?;
        if file.text.len() > admission::LARGEST_SWEEP_FILE {
            return Err(Status::invalid_argument(format!(
                "the sweep file has {} bytes: it has at most {}",
                file.text.len(),
                admission::LARGEST_SWEEP_FILE
            )));
        }
        let _turn = self.planning.acquire().await.map_err(|_| Status::unavailable("the coordinator is stopping"))?;
        let limits = self.limits;
        let read = async |artifact: Artifact| {
            // What it has, and not what it is said to have.
            let held = self.store.touch(artifact.hash).await.map_err(|error| no_input(&error))?;
            if held.is_some_and(|held| held.size > limits.input) {
                return Err(Status::invalid_argument(admission::too_large(limits.input)));
            }
            self.store.get(artifact.hash).await.map_err(|error| no_input(&error))
        };
        let table = read(table).await?;
        let weights = match weights {
            Some(weights) => Some(read(weights).await?),
            None => None,
        };
        let planned = on_a_thread(move || {
            let weights = weights.as_deref().map(Input::of);
            let admitted = admission::admit(&file.name, &file.text, Input::of(&table), weights, limits);
            admitted.map(|admitted| admitted.plan).map_err(|problems| Status::invalid_argument(problems.to_string()))
        });
        planned.await.map_err(|error| Status::internal(format!("planning failed: {error}")))?
    }

    /// The one sweep whose id begins so.
    async fn find(&self, prefix: String) -> Result<SweepId, Status> {
        if prefix.is_empty() {
            return Err(Status::not_found("the id of a sweep is missing; `secateur ls` lists them"));
        }
        let wanted = prefix.clone();
        let found = self.driver.read(move |core| {
            let ids = core.sweeps().map(|sweep| sweep.id);
            ids.filter(|id| id.as_str().starts_with(&prefix)).collect::<Vec<_>>()
        });
        let found = found.await?;
        let wanted: String = wanted.chars().take(80).collect();
        match found.as_slice() {
            [id] => Ok(id.clone()),
            [] => Err(Status::not_found(format!("there is no sweep {wanted:?}; `secateur ls` lists them"))),
            several => {
                let ids: Vec<&str> = several.iter().map(SweepId::as_str).collect();
                Err(Status::invalid_argument(format!("{wanted:?} could be any of {}: give more of it", ids.join(", "))))
            }
        }
    }

    async fn status(&self, id: SweepId) -> Result<SweepStatus, Status> {
        let wanted = id.clone();
        let status = self.driver.read(move |core| core.sweep(&wanted)).await?;
        status.map(|status| message(&status)).ok_or_else(|| Status::not_found(format!("there is no sweep {id}")))
    }

    async fn render(&self, id: SweepId, format: ReportFormat) -> Result<Vec<u8>, Status> {
        let wanted = id.clone();
        let read = self.driver.read(move |core| Some((core.plan(&wanted).cloned()?, outcomes(core, &wanted)))).await?;
        let (plan, outcomes) = read.ok_or_else(|| Status::not_found(format!("there is no sweep {id}")))?;
        let rendered = on_a_thread(move || {
            if format == ReportFormat::PlanJson {
                return serde_json::to_vec_pretty(plan.as_ref()).map_err(|error| Status::internal(error.to_string()));
            }
            let report = report::build(&plan.unpack(), &outcomes);
            Ok(match format {
                ReportFormat::Json | ReportFormat::Unspecified | ReportFormat::PlanJson => {
                    serde_json::to_vec_pretty(&report).map_err(|error| Status::internal(error.to_string()))?
                }
                ReportFormat::Html => report::html(&report).into_bytes(),
                ReportFormat::Markdown => report::markdown(&report).text.into_bytes(),
                ReportFormat::TrialsCsv => report::trials_csv(&report).into_bytes(),
                ReportFormat::FrontCsv => report::front_csv(&report).into_bytes(),
            })
        });
        rendered.await.map_err(|error| Status::internal(format!("the report failed: {error}")))?
    }

    /// What there is to say of files that stages of a sweep failed for want of.
    async fn lost(&self, id: &SweepId) -> Result<Vec<String>, Status> {
        let wanted = id.clone();
        let inputs = self.driver.read(move |core| lost::inputs(core, &wanted)).await?;
        Ok(match lost::among(&self.store, inputs).await {
            Ok(lost) => lost::sentences(id, &lost),
            Err(error) => {
                warn!(reason = with_causes(&error), "it cannot be found out which files are lost");
                vec!["whether the files that failed stages read are still there cannot be found out now".to_owned()]
            }
        })
    }

    /// What there is to say of a trial; nothing if that is not the name of one.
    async fn explain_trial(&self, subject: &str) -> Result<Option<(String, Vec<String>)>, Status> {
        let subject = subject.to_owned();
        let read = self.driver.read(move |core| {
            let Some((id, trial)) = subject::trial(core, &subject)? else { return Ok(None) };
            Ok::<_, Status>(core.plan(&id).cloned().map(|plan| (plan, outcomes(core, &id), id, trial)))
        });
        let Some((plan, outcomes, id, trial)) = read.await?? else { return Ok(None) };
        let report = on_a_thread(move || report::build(&plan.unpack(), &outcomes)).await;
        let report = report.map_err(|error| Status::internal(format!("the report failed: {error}")))?;
        let (of, wanted) = (id.clone(), trial.clone());
        let lines = self.driver.read(move |core| explain::trial(core, &of, &wanted, &report)).await?;
        // The sweep may have been forgotten meanwhile.
        let Some(mut lines) = lines else { return Ok(None) };
        lines.extend(self.lost(&id).await?);
        Ok(Some((trial.to_string(), lines)))
    }

    /// The state now, then whatever changes, until the sweep has ended.
    async fn follow(&self, id: SweepId) -> Result<ReceiverStream<Result<WatchReply, Status>>, Status> {
        // Subscribed before the state is read, so that nothing falls between the two.
        let mut notices = self.driver.watch();
        let first = self.status(id.clone()).await?;
        let (sender, receiver) = tokio::sync::mpsc::channel(64);
        let sweeps = self.clone();
        tokio::spawn(async move {
            let mut next = Some(first);
            loop {
                if let Some(status) = next.take() {
                    let ended = status.state() != v1::SweepState::Running;
                    let sent = sender.send(Ok(reply(watch_reply::Event::Status(status)))).await;
                    if sent.is_err() || ended {
                        return;
                    }
                }
                let Some(notice) = while_heard(&sender, notices.recv()).await else { return };
                let event = match notice {
                    Ok(Notice::Changed(sweep)) if sweep == id => None,
                    Ok(Notice::Progress(sweeps, progress)) if sweeps.contains(&id) => {
                        Some(watch_reply::Event::Progress(progress.as_ref().clone()))
                    }
                    Ok(Notice::Trial(sweep, ended)) if sweep == id => {
                        Some(watch_reply::Event::Trial(ended.as_ref().clone()))
                    }
                    Ok(_) => continue,
                    // The watcher was too slow: the state says what it missed.
                    Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return,
                };
                match event {
                    Some(event) => {
                        if sender.send(Ok(reply(event))).await.is_err() {
                            return;
                        }
                    }
                    None => match sweeps.status(id.clone()).await {
                        Ok(status) => next = Some(status),
                        Err(status) => {
                            // The watcher may have gone meanwhile.
                            let _ = sender.send(Err(status)).await;
                            return;
                        }
                    },
                }
            }
        });
        Ok(ReceiverStream::new(receiver))
    }
}

fn reply(event: watch_reply::Event) -> WatchReply {
    WatchReply { event: Some(event) }
}

fn message(status: &scheduler::SweepStatus) -> SweepStatus {
    let state = match status.state {
        SweepState::Running => v1::SweepState::Running,
        SweepState::Completed => v1::SweepState::Completed,
        SweepState::Cancelled => v1::SweepState::Cancelled,
        SweepState::Stopped { .. } => v1::SweepState::Stopped,
    };
    let reason = if let SweepState::Stopped { reason } = &status.state { reason.clone() } else { String::new() };
    SweepStatus {
        sweep_id: status.id.to_string(),
        name: status.name.clone(),
        state: state.into(),
        reason,
        trials: status.trials,
        trials_completed: status.trials_completed,
        trials_failed: status.trials_failed,
        stages: status.stages,
        stages_ended: status.stages_ended,
        stages_leased: status.stages_leased,
        stages_computed: status.stages_computed,
        lane_steps: status.lane_steps,
        lane_steps_ended: status.lane_steps_ended,
        submitted_at_ms: status.submitted_at.0,
        ended_at_ms: status.ended_at.map_or(0, |at| at.0),
        priority: status.share.priority,
        max_workers: status.share.max_workers.map_or(0, NonZeroU32::get),
        workers: u32::try_from(status.workers).unwrap_or(u32::MAX),
        held: status.held.clone().unwrap_or_default(),
        draining: status.share.drains,
    }
}

fn share_change(share: Option<v1::Share>) -> ShareChange {
    let v1::Share { priority, max_workers } = share.unwrap_or_default();
    ShareChange { priority, max_workers }
}

/// Why what a sweep begins with cannot be had.
fn no_input(error: &ArtifactError) -> Status {
    match error {
        ArtifactError::Store(StoreError::Missing(_)) => {
            Status::failed_precondition("the data and the weights of the sweep must be uploaded first")
        }
        ArtifactError::Bucket(error) => bucket_status(error),
        _ => Status::internal("the data and the weights of the sweep cannot be read"),
    }
}

#[async_trait]
impl SweepService for Sweeps {
    type WatchStream = Told<WatchReply>;
    type LogsStream = Told<LogLine>;
    type GetReportStream = Told<Chunk>;

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        let caller = Caller::of(&request);
        let SubmitRequest { file, share } = request.into_inner();
        let plan = self.plan_of(file).await?;
        let id = plan.sweep.id.clone();
        let wanted = id.clone();
        let was = match self.driver.read(move |core| core.sweep(&wanted)).await? {
            None => Was::New,
            Some(status) => match status.state {
                SweepState::Running if status.share.drains => Was::Draining,
                SweepState::Running | SweepState::Completed => Was::Known,
                SweepState::Cancelled | SweepState::Stopped { .. } => Was::Stopped,
            },
        };
        // Planning takes a while: what the sweep refers to is young from now on, or has to be sent again.
        let given = [Some(plan.sweep.data.hash), plan.sweep.weights.as_ref().map(|weights| weights.hash)];
        for hash in given.into_iter().flatten() {
            let held = self.store.touch(hash).await.and_then(|held| Ok(held.ok_or(StoreError::Missing(hash))?));
            held.map_err(|error| no_input(&error))?;
        }
        self.driver.apply(Event::SweepSubmitted { plan: Arc::new(plan), share: share_change(share) }).await?;
        self.audit.done(&caller, "submit", id.as_str());
        info!(sweep = %id, by = caller.name, was = was.as_str_name(), "submitted");
        Ok(Response::new(SubmitReply { sweep_id: id.to_string(), was: was.into() }))
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanReply>, Status> {
        let plan = self.plan_of(request.into_inner().file).await?;
        let plan = serde_json::to_string_pretty(&plan).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(PlanReply { plan }))
    }

    async fn get(&self, request: Request<GetSweepRequest>) -> Result<Response<SweepStatus>, Status> {
        let id = self.find(request.into_inner().sweep_id).await?;
        Ok(Response::new(self.status(id).await?))
    }

    async fn list(&self, _: Request<ListSweepsRequest>) -> Result<Response<ListSweepsReply>, Status> {
        let sweeps = self.driver.read(|core| core.sweeps().map(|status| message(&status)).collect()).await?;
        Ok(Response::new(ListSweepsReply { sweeps }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(&request);
        let id = self.find(request.into_inner().sweep_id).await?;
        Ok(Response::new(while_known(self.access.clone(), caller, self.follow(id).await?)))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<SweepStatus>, Status> {
        let caller = Caller::of(&request);
        let CancelRequest { sweep_id, drain } = request.into_inner();
        let id = self.find(sweep_id).await?;
        let sweep = id.clone();
        let (event, what) = if drain {
            (Event::SweepDrainAsked { sweep }, "cancel --drain")
        } else {
            (Event::SweepCancelled { sweep }, "cancel")
        };
        self.driver.apply(event).await?;
        self.audit.done(&caller, what, id.as_str());
        Ok(Response::new(self.status(id).await?))
    }

    async fn set_share(&self, request: Request<SetShareRequest>) -> Result<Response<SweepStatus>, Status> {
        let caller = Caller::of(&request);
        let SetShareRequest { sweep_id, share } = request.into_inner();
        let id = self.find(sweep_id).await?;
        self.driver.apply(Event::SweepShareChanged { sweep: id.clone(), share: share_change(share) }).await?;
        self.audit.done(&caller, "set-share", id.as_str());
        Ok(Response::new(self.status(id).await?))
    }

    async fn retry(&self, request: Request<RetryRequest>) -> Result<Response<RetryReply>, Status> {
        let caller = Caller::of(&request);
        let id = self.find(request.into_inner().sweep_id).await?;
        let wanted = id.clone();
        let (failed, was) = self
            .driver
            .read(move |core| (core.failed(&wanted).map(|failed| failed.len()), core.sweep(&wanted)))
            .await?;
        let failed = failed.unwrap_or_default();
        // Nothing is known of how they failed once they are open again.
        let mut notes = self.lost(&id).await?;
        notes.extend(was.and_then(|was| match was.state {
            SweepState::Running if was.share.drains => {
                Some("it was to be cancelled once what was under way had ended; now it goes on".to_owned())
            }
            SweepState::Cancelled | SweepState::Stopped { .. } => {
                Some(format!("it was {}; now it goes on where it stopped", was.state.name()))
            }
            SweepState::Running | SweepState::Completed => None,
        }));
        self.driver.apply(Event::SweepRetried { sweep: id.clone() }).await?;
        self.audit.done(&caller, "retry", id.as_str());
        info!(sweep = %id, by = caller.name, stages = failed, "retried");
        Ok(Response::new(RetryReply { stages: failed as u64, status: Some(self.status(id).await?), notes }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainReply>, Status> {
        let subject = request.into_inner().subject;
        let reply = |kind: &str, id: String, lines| Response::new(ExplainReply { kind: kind.to_owned(), id, lines });
        let name = subject.clone();
        let worker = self.driver.read(move |core| {
            let status = core.workers().find(|status| status.id.as_str() == name || status.name == name)?;
            Some((status.id.to_string(), explain::worker(core, &status)))
        });
        if let Some((id, lines)) = worker.await? {
            return Ok(reply("worker", id, lines));
        }
        if let Some((id, sentences)) = self.explain_trial(&subject).await? {
            return Ok(reply("trial", id, sentences));
        }
        let has_just_begun = self.driver.read(scheduler::Core::waits_for_workers).await?;
        let id = self.find(subject.clone()).await.map_err(|status| match status.code() {
            Code::NotFound => {
                let subject: String = subject.chars().take(80).collect();
                let begun = if has_just_begun { "; the coordinator has just begun, and workers come back within seconds" } else { "" };
                Status::not_found(format!(
                    "there is no sweep or trial, and no worker is attached, called {subject:?}; `secateur ls`, `show` and `workers` list them{begun}"
                ))
            }
            _ => status,
        })?;
        let wanted = id.clone();
        let lines = self.driver.read(move |core| explain::sweep(core, &wanted)).await?;
        let mut lines = lines.unwrap_or_default();
        lines.extend(self.lost(&id).await?);
        Ok(reply("sweep", id.to_string(), lines))
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let caller = Caller::of(&request);
        let lines = logs::stream(self.driver.clone(), self.logs.clone(), request.into_inner()).await?;
        Ok(Response::new(while_known(self.access.clone(), caller, lines)))
    }

    async fn forget(&self, request: Request<ForgetRequest>) -> Result<Response<SweepStatus>, Status> {
        let caller = Caller::of(&request);
        let id = self.find(request.into_inner().sweep_id).await?;
        let status = self.status(id.clone()).await?;
        let wanted = id.clone();
        let plan = self.driver.read(move |core| core.plan(&wanted).cloned()).await?;
        self.driver.apply(Event::SweepForgotten { sweep: id.clone() }).await?;
        if let Some(plan) = plan {
            // Those that no other sweep lists.
            let unknown = self.driver.read(move |core| plan.keys().filter(|key| core.stage(key).is_none()).collect());
            self.logs.remove(unknown.await?).await;
        }
        self.audit.done(&caller, "forget", id.as_str());
        info!(sweep = %id, by = caller.name, "forgotten");
        Ok(Response::new(status))
    }

    async fn get_report(&self, request: Request<GetReportRequest>) -> Result<Response<Self::GetReportStream>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let format = request.format();
        let id = self.find(request.sweep_id).await?;
        self.audit.done(&caller, "report", id.as_str());
        let bytes = self.render(id, format).await?;
        let empty = bytes.is_empty().then(|| Chunk { data: vec![] });
        let chunks = chunks(Cursor::new(bytes)).map(|data| Chunk { data });
        Ok(Response::new(stream::iter(empty).chain(chunks).map(Ok).boxed()))
    }
}
