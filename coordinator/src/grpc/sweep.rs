//! `SweepService`, for people and scripts. [`Queries`] answers questions; this file converts messages and makes
//! changes.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use futures::{Stream, StreamExt as _, stream};
use secateur_proto::{
    convert::InvalidMessage,
    ids::SweepId,
    v1::{
        self, CancelRequest, Chunk, ExplainReply, ExplainRequest, ExtendReply, ExtendRequest, ForgetRequest,
        GetReportRequest, GetSweepRequest, ListSweepsReply, ListSweepsRequest, LogLine, LogsRequest, PlanReply,
        PlanRequest, RetryReply, RetryRequest, SetShareRequest, SubmitReply, SubmitRequest, SweepStatus, WatchReply,
        WatchRequest, submit_reply::Was, sweep_service_server::SweepService, watch_reply,
    },
};
use secateur_worker::store::StoreError;
use tokio::{
    sync::{Mutex, broadcast::error::RecvError},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};
use tracing::info;

use super::{
    Told, invalid, on_a_thread,
    owner::{check_owner, person},
    while_heard, while_known,
};
use crate::{
    artifacts::ArtifactStore,
    driver::{Clock, Driver, Notice},
    experiment::plan::PackedPlan,
    logs::Logs,
    queries::{Document, Extension, LogQuestion, Queries, QueryError, ReportFormat, SweepFile},
    scheduler::{self, Event, ShareChange, SweepState},
    security::{Access, Audit, Caller},
};

/// A watcher gets the state of its sweep again after so long without news.
const REPEAT_STATE: Duration = Duration::from_secs(10);

/// The service.
#[derive(Debug, Clone)]
pub struct Sweeps {
    queries: Queries,
    driver: Driver,
    store: ArtifactStore,
    access: Access,
    audit: Audit,
    logs: Logs,
    clock: Clock,
    /// Held during an extension: new trials are found by comparison with the current ones.
    extending: Arc<Mutex<()>>,
}

impl Sweeps {
    /// Answers questions with `queries` and sends changes to `driver`; tables are in `store`. Callers receive streams
    /// while `access` knows them. Their actions are written to `audit`. Logs of forgotten stages are removed from
    /// `logs`. `clock` provides the time.
    #[must_use]
    pub fn new(
        queries: Queries,
        driver: Driver,
        store: ArtifactStore,
        access: Access,
        audit: Audit,
        logs: Logs,
        clock: Clock,
    ) -> Self {
        Self { queries, driver, store, access, audit, logs, clock, extending: Arc::default() }
    }

    async fn status(&self, id: &SweepId) -> Result<SweepStatus, Status> {
        Ok(self.message(&self.queries.sweep(id).await?))
    }

    fn message(&self, status: &scheduler::SweepStatus) -> SweepStatus {
        let now = (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default();
        message(status, u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }

    /// Finds a sweep that the caller may change.
    async fn find_own(&self, caller: &Caller, wanted: &str, what: &str) -> Result<SweepId, Status> {
        let id = self.queries.find(wanted).await?;
        self.check_owner(caller, &id, what).await?;
        Ok(id)
    }

    /// Checks that the caller may change a sweep.
    async fn check_owner(&self, caller: &Caller, id: &SweepId, what: &str) -> Result<(), Status> {
        let status = self.queries.sweep(id).await?;
        check_owner(caller, &status).inspect_err(|refusal| {
            let peer = caller.peer.map(|peer| peer.ip());
            self.audit.refused(peer, Some(&caller.name), &format!("{what} {id}"), refusal.message());
        })
    }

    /// The current state of a sweep.
    async fn was(&self, id: &SweepId) -> Result<Was, Status> {
        Ok(match self.queries.sweep(id).await {
            Err(QueryError::UnknownSweep(_)) => Was::New,
            status => match status? {
                status if status.share.drains => Was::Draining,
                status => match status.state {
                    SweepState::Running | SweepState::Completed => Was::Known,
                    SweepState::Cancelled | SweepState::Stopped { .. } => Was::Stopped,
                },
            },
        })
    }

    /// Touches the sweep's input files: planning takes a while, and the grace period keeps them from now on.
    async fn keep_given(&self, plan: &PackedPlan) -> Result<(), Status> {
        let given = [Some(plan.sweep.data.hash), plan.sweep.weights.as_ref().map(|weights| weights.hash)];
        for hash in given.into_iter().flatten() {
            let held = self.store.touch(hash).await.and_then(|held| Ok(held.ok_or(StoreError::Missing(hash))?));
            held.map_err(QueryError::from)?;
        }
        Ok(())
    }

    /// Streams the current state, then each change, until the sweep has ended.
    async fn follow(&self, id: SweepId) -> Result<ReceiverStream<Result<WatchReply, Status>>, Status> {
        // Subscribed before the state is read, so that no change is missed.
        let mut notices = self.driver.watch();
        let first = self.status(&id).await?;
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
                let Some(notice) = while_heard(&sender, timeout(REPEAT_STATE, notices.recv())).await else { return };
                // Silence for longer means that the coordinator is not well.
                let event = match notice.unwrap_or(Ok(Notice::Changed(id.clone()))) {
                    Ok(Notice::Changed(sweep)) if sweep == id => None,
                    Ok(Notice::Progress(sweeps, progress)) if sweeps.contains(&id) => {
                        Some(watch_reply::Event::Progress(progress.as_ref().clone()))
                    }
                    Ok(Notice::Trial(sweep, ended)) if sweep == id => {
                        Some(watch_reply::Event::Trial(ended.as_ref().clone()))
                    }
                    Ok(_) => continue,
                    // The watcher was too slow: the whole state replaces the notices that it missed.
                    Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return,
                };
                match event {
                    Some(event) => {
                        if sender.send(Ok(reply(event))).await.is_err() {
                            return;
                        }
                    }
                    None => match sweeps.status(&id).await {
                        Ok(status) => next = Some(status),
                        Err(status) => {
                            // The watcher may be gone.
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

fn is_wanted(sweep: &SweepStatus, wanted: &ListSweepsRequest, caller: &Caller) -> bool {
    let is_own = sweep.submitted_by.as_ref().is_some_and(|owner| owner.name == caller.name);
    (!wanted.mine || is_own)
        && (wanted.states.is_empty() || wanted.states.contains(&sweep.state))
        && sweep.submitted_at_ms >= wanted.since_ms
        && sweep.name.contains(&wanted.name)
}

fn reply(event: watch_reply::Event) -> WatchReply {
    WatchReply { event: Some(event) }
}

fn message(status: &scheduler::SweepStatus, now_ms: u64) -> SweepStatus {
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
        stages_ready: status.stages_ready,
        stages_computed: status.stages_computed,
        lane_steps: status.lane_steps,
        lane_steps_ended: status.lane_steps_ended,
        submitted_at_ms: status.submitted_at.0,
        ended_at_ms: status.ended_at.map_or(0, |at| at.0),
        priority: status.share.priority,
        max_workers: status.share.max_workers.map_or(0, NonZeroU32::get),
        workers: u32::try_from(status.workers).unwrap_or(u32::MAX),
        held: status.held.clone().unwrap_or_default(),
        seeds: status.seeds.clone().unwrap_or_default(),
        draining: status.share.drains,
        submitted_by: status.submitted_by.as_ref().map(person_message),
        cancelled_by: status.cancelled_by.as_ref().map(person_message),
        duration_ms: status.ended_at.map_or(now_ms, |at| at.0).saturating_sub(status.submitted_at.0),
    }
}

fn person_message(person: &scheduler::Person) -> v1::Person {
    v1::Person { name: person.name.clone(), is_claimed: person.is_claimed }
}

fn share_change(share: Option<v1::Share>) -> ShareChange {
    let v1::Share { priority, max_workers } = share.unwrap_or_default();
    ShareChange { priority, max_workers }
}

fn sweep_file(file: Option<v1::SweepFile>) -> Result<SweepFile, Status> {
    let file = file.ok_or_else(|| invalid(InvalidMessage::Missing("file")))?;
    Ok(SweepFile {
        name: file.name,
        text: file.text,
        data: file.data.ok_or_else(|| invalid(InvalidMessage::Missing("data")))?.try_into().map_err(invalid)?,
        weights: file.weights.map(TryInto::try_into).transpose().map_err(invalid)?,
        weights_notes: file.weights_notes,
    })
}

const fn report_format(format: v1::ReportFormat) -> ReportFormat {
    match format {
        v1::ReportFormat::Json | v1::ReportFormat::Unspecified => ReportFormat::Json,
        v1::ReportFormat::Html => ReportFormat::Html,
        v1::ReportFormat::Markdown => ReportFormat::Markdown,
        v1::ReportFormat::TrialsCsv => ReportFormat::TrialsCsv,
        v1::ReportFormat::FrontCsv => ReportFormat::FrontCsv,
        v1::ReportFormat::PlanJson => ReportFormat::PlanJson,
    }
}

/// The chunks of a document, on demand. An empty document is one empty chunk.
fn chunks(document: Arc<Document>) -> impl Stream<Item = Result<Chunk, Status>> {
    let count = document.piece_count().max(1);
    stream::iter(0..count).then(move |number| {
        let document = Arc::clone(&document);
        async move {
            let data = on_a_thread(move || document.piece(number).unwrap_or_default()).await;
            Ok(Chunk { data: data.map_err(QueryError::from)? })
        }
    })
}

fn log_line(line: crate::queries::LogLine) -> LogLine {
    let crate::queries::LogLine { stage, kind, line } = line;
    let crate::logs::Line { at, attempt, worker, text } = line;
    LogLine { stage_key: stage.to_string(), kind: kind.to_owned(), attempt, worker, at_ms: at, text }
}

#[async_trait]
impl SweepService for Sweeps {
    type WatchStream = Told<WatchReply>;
    type LogsStream = Told<LogLine>;
    type GetReportStream = Told<Chunk>;
    type GetPlanStream = Told<Chunk>;

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        let caller = Caller::of(&request);
        let SubmitRequest { file, share } = request.into_inner();
        let plan = self.queries.plan(sweep_file(file)?).await?;
        let id = plan.sweep.id.clone();
        let was = self.was(&id).await?;
        let share = share_change(share);
        // Who submits what is there already, and changes nothing, may follow it.
        if !(was == Was::New || was == Was::Known && share == ShareChange::default()) {
            self.check_owner(&caller, &id, "submit").await?;
        }
        self.keep_given(&plan).await?;
        let open = plan.sweep.adaptive.is_some();
        self.driver.apply(Event::SweepSubmitted { plan, share, open, by: person(&caller) }).await?;
        self.audit.done(&caller, "submit", id.as_str());
        info!(sweep = %id, by = caller.name, was = was.as_str_name(), "submitted");
        Ok(Response::new(SubmitReply { sweep_id: id.to_string(), was: was.into() }))
    }

    async fn extend(&self, request: Request<ExtendRequest>) -> Result<Response<ExtendReply>, Status> {
        let caller = Caller::of(&request);
        let ExtendRequest { sweep_id, file, share } = request.into_inner();
        let file = sweep_file(file)?;
        let _turn = self.extending.lock().await;
        let id = self.find_own(&caller, &sweep_id, "extend").await?;
        let extension = self.queries.extension(&id, file).await?;
        let was = self.was(&id).await?;
        self.keep_given(&extension.file).await?;
        let (new_trials, new_stages) = (extension.new_trials(), extension.new_stages);
        let Extension { first, part, .. } = extension;
        let extended = part.is_some();
        let event = part.map_or_else(
            || Event::SweepSubmitted { plan: first, share: ShareChange::default(), open: false, by: person(&caller) },
            |part| Event::SweepExtended { part },
        );
        self.driver.apply(event).await?;
        if share.is_some() {
            self.driver.apply(Event::SweepShareChanged { sweep: id.clone(), share: share_change(share) }).await?;
        }
        self.audit.done(&caller, "extend", id.as_str());
        info!(sweep = %id, by = caller.name, new_trials, new_stages, "extended");
        Ok(Response::new(ExtendReply { sweep_id: id.to_string(), new_trials, new_stages, extended, was: was.into() }))
    }

    async fn plan(&self, _: Request<PlanRequest>) -> Result<Response<PlanReply>, Status> {
        // A single message does not hold a long plan, and half of one would be worse than none.
        Err(Status::failed_precondition(
            "this coordinator streams plans: SweepService/GetPlan takes the place of SweepService/Plan; update the client",
        ))
    }

    async fn get_plan(&self, request: Request<PlanRequest>) -> Result<Response<Self::GetPlanStream>, Status> {
        let plan = self.queries.plan_json(sweep_file(request.into_inner().file)?).await?;
        Ok(Response::new(chunks(Arc::new(plan)).boxed()))
    }

    async fn get(&self, request: Request<GetSweepRequest>) -> Result<Response<SweepStatus>, Status> {
        let id = self.queries.find(&request.into_inner().sweep_id).await?;
        Ok(Response::new(self.status(&id).await?))
    }

    async fn list(&self, request: Request<ListSweepsRequest>) -> Result<Response<ListSweepsReply>, Status> {
        let caller = Caller::of(&request);
        let wanted = request.into_inner();
        let mut sweeps: Vec<SweepStatus> =
            self.queries.sweeps().await?.iter().map(|status| self.message(status)).collect();
        sweeps.retain(|sweep| is_wanted(sweep, &wanted, &caller));
        Ok(Response::new(ListSweepsReply { sweeps }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(&request);
        let id = self.queries.find(&request.into_inner().sweep_id).await?;
        Ok(Response::new(while_known(self.access.clone(), caller, self.follow(id).await?)))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<SweepStatus>, Status> {
        let caller = Caller::of(&request);
        let CancelRequest { sweep_id, drain } = request.into_inner();
        let what = if drain { "cancel --drain" } else { "cancel" };
        let id = self.find_own(&caller, &sweep_id, what).await?;
        let (sweep, by) = (id.clone(), person(&caller));
        let event = if drain { Event::SweepDrainAsked { sweep, by } } else { Event::SweepCancelled { sweep, by } };
        self.driver.apply(event).await?;
        self.audit.done(&caller, what, id.as_str());
        Ok(Response::new(self.status(&id).await?))
    }

    async fn set_share(&self, request: Request<SetShareRequest>) -> Result<Response<SweepStatus>, Status> {
        let caller = Caller::of(&request);
        let SetShareRequest { sweep_id, share } = request.into_inner();
        let id = self.find_own(&caller, &sweep_id, "set-share").await?;
        self.driver.apply(Event::SweepShareChanged { sweep: id.clone(), share: share_change(share) }).await?;
        self.audit.done(&caller, "set-share", id.as_str());
        Ok(Response::new(self.status(&id).await?))
    }

    async fn retry(&self, request: Request<RetryRequest>) -> Result<Response<RetryReply>, Status> {
        let caller = Caller::of(&request);
        let id = self.find_own(&caller, &request.into_inner().sweep_id, "retry").await?;
        let wanted = id.clone();
        let (failed, was) = self
            .driver
            .read(move |core| (core.failed(&wanted).map(|failed| failed.len()), core.sweep(&wanted)))
            .await?;
        let failed = failed.unwrap_or_default();
        // Once they are reopened, the reasons of their failures are gone.
        let mut notes = self.queries.lost_files(&id).await?;
        notes.extend(was.and_then(|was| match was.state {
            SweepState::Running if was.share.drains => Some("the sweep was draining and resumes".to_owned()),
            SweepState::Cancelled | SweepState::Stopped { .. } => {
                Some(format!("the sweep was {} and resumes", was.state.name()))
            }
            SweepState::Running | SweepState::Completed => None,
        }));
        self.driver.apply(Event::SweepRetried { sweep: id.clone() }).await?;
        self.audit.done(&caller, "retry", id.as_str());
        info!(sweep = %id, by = caller.name, stages = failed, "retried");
        Ok(Response::new(RetryReply { stages: failed as u64, status: Some(self.status(&id).await?), notes }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainReply>, Status> {
        let explanation = self.queries.explain(&request.into_inner().subject).await?;
        let (kind, id, lines) = (explanation.subject.name().to_owned(), explanation.id, explanation.lines);
        Ok(Response::new(ExplainReply { kind, id, lines }))
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let caller = Caller::of(&request);
        let LogsRequest { subject, follow, attempt } = request.into_inner();
        let question = LogQuestion { subject, follow, attempt: (attempt > 0).then_some(attempt) };
        let lines = self.queries.logs(question).await?.map(|line| Ok(log_line(line?)));
        Ok(Response::new(while_known(self.access.clone(), caller, lines)))
    }

    async fn forget(&self, request: Request<ForgetRequest>) -> Result<Response<SweepStatus>, Status> {
        let caller = Caller::of(&request);
        let id = self.queries.find(&request.into_inner().sweep_id).await?;
        let status = self.status(&id).await?;
        let wanted = id.clone();
        let parts =
            self.driver.read(move |core| core.plan_parts(&wanted).map(|parts| parts.cloned().collect::<Vec<_>>()));
        let parts = parts.await?.unwrap_or_default();
        self.driver.apply(Event::SweepForgotten { sweep: id.clone() }).await?;
        // The stages that no other sweep lists.
        let unknown = self.driver.read(move |core| {
            parts.iter().flat_map(|plan| plan.keys()).filter(|key| core.stage(key).is_none()).collect()
        });
        self.logs.remove(unknown.await?).await;
        self.audit.done(&caller, "forget", id.as_str());
        info!(sweep = %id, by = caller.name, "forgotten");
        Ok(Response::new(status))
    }

    async fn get_report(&self, request: Request<GetReportRequest>) -> Result<Response<Self::GetReportStream>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let format = report_format(request.format());
        let id = self.queries.find(&request.sweep_id).await?;
        self.audit.done(&caller, "report", id.as_str());
        let report = self.queries.report(&id, format).await?;
        Ok(Response::new(chunks(report).boxed()))
    }
}
