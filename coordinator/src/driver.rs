//! The shell around the scheduler core: one task that owns core and journal. Events arrive on a channel, their records
//! are made durable together, and only then are their effects carried out.
//!
//! It knows nothing of gRPC services: workers are channels of messages, and watchers are notified by broadcast.

mod attachment;
mod effects;
mod notable;
mod snapshot;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::future;
use secateur_proto::{
    ids::{LeaseId, StageKey, SweepId, WorkerId},
    v1::{self, CoordinatorMessage, coordinator_message::Message},
};
use tokio::{
    sync::{Notify, broadcast, mpsc, oneshot},
    task::JoinHandle,
    time::MissedTickBehavior,
};
use tracing::{debug, error, info, warn};

use self::{attachment::WorkerChannel, notable::is_notable};
use crate::{
    journal::{Journal, JournalError},
    monitoring::Counters,
    scheduler::{Core, Effect, Entry, Event, Record, Rejection, SweepState, Timestamp, fault_injection::Fault},
};

/// The maximum number of commands that wait for the driver.
const WAITING: usize = 4096;
/// The maximum number of commands whose records are made durable together.
const TOGETHER: usize = 1024;
/// The number of notices that a slow watcher may fall behind before it gets the whole state instead.
const BEHIND: usize = 4096;
/// The interval between two checks for silent workers.
const TICK: Duration = Duration::from_secs(1);

/// The number of records after which a snapshot is taken, unless there are more stages. So a snapshot never costs more
/// than the records.
#[cfg(not(test))]
const BETWEEN_SNAPSHOTS: u64 = 50_000;
/// Lives in the simulation are short.
#[cfg(test)]
const BETWEEN_SNAPSHOTS: u64 = 10;

/// Returns the current time: the system's clock, except in simulations.
pub type Clock = fn() -> SystemTime;

pub use self::attachment::{Attachment, Hold, WorkerReceiver};

/// A change that watchers of a sweep may want to know.
#[derive(Debug, Clone)]
pub enum Notice {
    /// The sweep's status has changed.
    Changed(SweepId),
    /// A lane has finished an epoch.
    Progress(Arc<[SweepId]>, Arc<v1::Progress>),
    /// A trial has ended.
    Trial(SweepId, Arc<v1::TrialEnded>),
}

/// The coordinator has ended and cannot answer any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator is stopping")]
pub struct Stopped;

/// Why an event was not applied.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The core rejected it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The driver has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Whether an event was applied.
type Taken = Result<(), Rejection>;
/// Where ends of sweeps are sent.
type SweepEnds = mpsc::UnboundedSender<(SweepId, SweepState)>;
/// A query of the core.
type Read = Box<dyn FnOnce(&Core) + Send>;

enum Command {
    Event(Event, Option<oneshot::Sender<Taken>>),
    Attach(Event, WorkerChannel, oneshot::Sender<Taken>),
    Progress(WorkerId, StageKey, v1::Progress),
    Read(Read),
    OnSweepEnd(SweepEnds),
    Close,
}

/// A handle to the driver.
#[derive(Debug, Clone)]
pub struct Driver {
    commands: mpsc::Sender<Command>,
    notices: broadcast::Sender<Notice>,
    counters: Counters,
    /// Notified when a sweep begins to wait for a decision.
    undecided: Arc<Notify>,
}

impl Driver {
    /// Starts the driver of a core that was restored from this journal. `clock` provides the time. The handle returns
    /// the reason if the driver ends by itself, for example because of a full disk.
    #[must_use]
    pub fn start(core: Core, journal: Box<dyn Journal>, clock: Clock) -> (Self, JoinHandle<Result<(), JournalError>>) {
        let (commands, receiver) = mpsc::channel(WAITING);
        let (notices, _) = broadcast::channel(BEHIND);
        let counters = Counters::default();
        let undecided = Arc::new(Notify::new());
        let shell = Shell {
            core,
            journal,
            clock,
            workers: HashMap::new(),
            notices: notices.clone(),
            counters: counters.clone(),
            sweep_ends: vec![],
            undecided: Arc::clone(&undecided),
            own_events: vec![],
        };
        (Self { commands, notices, counters, undecided }, tokio::spawn(shell.run(receiver)))
    }

    /// Applies an event and waits until it is durable and its effects are carried out.
    ///
    /// # Errors
    /// If the event is rejected, or the driver has stopped.
    pub async fn apply(&self, event: Event) -> Result<(), NotTaken> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Event(event, Some(reply))).await.map_err(|_| Stopped)?;
        Ok(answer.await.map_err(|_| Stopped)??)
    }

    /// Sends an event without waiting for it. A rejection is only logged.
    ///
    /// # Errors
    /// If the driver has stopped.
    pub async fn notify(&self, event: Event) -> Result<(), Stopped> {
        self.commands.send(Command::Event(event, None)).await.map_err(|_| Stopped)
    }

    /// Forwards progress to watchers, and notes that the worker is active.
    ///
    /// # Errors
    /// If the driver has stopped.
    pub async fn progress(&self, worker: WorkerId, stage: StageKey, progress: v1::Progress) -> Result<(), Stopped> {
        self.commands.send(Command::Progress(worker, stage, progress)).await.map_err(|_| Stopped)
    }

    /// Applies that a worker `joined`, and opens a channel to it whose first message is `welcome`.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub async fn attach(&self, joined: Event, welcome: CoordinatorMessage) -> Result<Attachment, NotTaken> {
        let slots = if let Event::WorkerJoined { slots, .. } = &joined { *slots } else { NonZeroU32::MIN };
        let (channel, attachment) = attachment::open(welcome, slots);
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Attach(joined, channel, reply)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)??;
        Ok(attachment)
    }

    /// Reads the core.
    ///
    /// # Errors
    /// If the driver has stopped.
    pub async fn read<T: Send + 'static>(&self, read: impl FnOnce(&Core) -> T + Send + 'static) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let read = Box::new(move |core: &Core| {
            // The caller may be gone.
            let _ = reply.send(read(core));
        });
        self.commands.send(Command::Read(read)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Subscribes to notices.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Subscribes to ends of sweeps, from now on. None is left out, however slow the subscriber is: they are rare.
    ///
    /// # Errors
    /// If the driver has stopped.
    pub(crate) async fn sweep_ends(&self) -> Result<mpsc::UnboundedReceiver<(SweepId, SweepState)>, Stopped> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.commands.send(Command::OnSweepEnd(sender)).await.map_err(|_| Stopped)?;
        Ok(receiver)
    }

    /// What is counted for monitoring.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Waits until a sweep has begun to [wait for a decision](Core::awaits_decision) since this was last called.
    pub async fn decision_due(&self) {
        self.undecided.notified().await;
    }

    /// Ends the driver after the commands that were sent so far.
    pub async fn close(&self) {
        // It may have ended by itself.
        let _ = self.commands.send(Command::Close).await;
    }
}

struct Shell {
    core: Core,
    journal: Box<dyn Journal>,
    clock: Clock,
    workers: HashMap<WorkerId, WorkerChannel>,
    notices: broadcast::Sender<Notice>,
    counters: Counters,
    sweep_ends: Vec<SweepEnds>,
    undecided: Arc<Notify>,
    /// Events that the driver itself applies next.
    own_events: Vec<Event>,
}

/// The work of a batch of commands that follows once its records are durable.
#[derive(Default)]
struct Batch {
    /// Records as lines of the journal.
    lines: Vec<String>,
    /// Records to log.
    notable: Vec<Record>,
    effects: Vec<Effect>,
    /// Ends of stages or leases that workers need not report again.
    settled: BTreeMap<WorkerId, Vec<v1::SettledEnd>>,
    replies: Vec<(oneshot::Sender<Taken>, Taken)>,
    reads: Vec<Read>,
    changed: BTreeSet<SweepId>,
}

impl Batch {
    fn settles(&mut self, worker: &WorkerId, lease: &LeaseId, stage_key: String) {
        let end = v1::SettledEnd { lease_id: lease.to_string(), stage_key };
        self.settled.entry(worker.clone()).or_default().push(end);
    }
}

impl Shell {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), JournalError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Batch::default();
        self.apply(Event::Started, None, &mut batch);
        self.finish(batch).await?;
        self.take_snapshot_if_due().await?;
        let mut received = Vec::with_capacity(TOGETHER);
        loop {
            let mut batch = Batch::default();
            let mut open = true;
            let mut ticked = false;
            tokio::select! {
                // The clock has priority, however many commands wait.
                biased;
                _ = ticks.tick() => {
                    ticked = true;
                    self.apply(Event::Tick, None, &mut batch);
                }
                () = future::ready(()), if !self.own_events.is_empty() => {
                    for event in std::mem::take(&mut self.own_events) {
                        self.apply(event, None, &mut batch);
                    }
                }
                count = commands.recv_many(&mut received, TOGETHER) => {
                    open = count > 0;
                    for command in received.drain(..) {
                        open &= self.take(command, &mut batch);
                    }
                }
            }
            self.finish(batch).await.inspect_err(|error| error!(%error, "cannot write the journal; stopping"))?;
            let waited = self.take_snapshot_if_due().await;
            if waited.inspect_err(|error| error!(%error, "cannot write a snapshot; stopping"))? {
                // Messages that waited meanwhile are handled before any worker is considered silent.
                ticks.reset();
            }
            if ticked {
                // A coordinator that lost its journal must not lease more until the next result arrives.
                self.journal.confirm().await.inspect_err(|error| error!(%error, "the journal is lost; stopping"))?;
            }
            if !open {
                return self.journal.close().await;
            }
        }
    }

    /// Handles a command. Returns whether the driver continues.
    fn take(&mut self, command: Command, batch: &mut Batch) -> bool {
        match command {
            Command::Event(event, reply) => self.apply(event, reply, batch),
            Command::Attach(event, channel, reply) => {
                if let Event::WorkerJoined { worker, .. } = &event {
                    self.workers.insert(worker.clone(), channel);
                }
                self.apply(event, Some(reply), batch);
            }
            Command::Progress(worker, stage, mut progress) => {
                self.apply(Event::Progressed { worker, stage }, None, batch);
                let sweeps = self.core.sweeps_of(&stage);
                progress.lane_steps = self.core.lane_steps(&stage).unwrap_or_default();
                self.tell(Notice::Progress(sweeps.into(), Arc::new(progress)));
            }
            Command::Read(read) => batch.reads.push(read),
            Command::OnSweepEnd(sender) => self.sweep_ends.push(sender),
            Command::Close => return false,
        }
        true
    }

    fn apply(&mut self, event: Event, reply: Option<oneshot::Sender<Taken>>, batch: &mut Batch) {
        let now = self.now();
        match &event {
            Event::StageReported { worker, lease, stage, attempt, outcome } => {
                debug!(%worker, %lease, %stage, attempt, outcome = outcome.name(), "a stage was reported");
                batch.changed.extend(self.core.sweeps_of(stage));
                batch.settles(worker, lease, stage.to_string());
            }
            Event::LeaseEnded { worker, lease, .. } => batch.settles(worker, lease, String::new()),
            Event::SweepShareChanged { sweep, .. }
            | Event::SweepDecided { sweep, .. }
            | Event::SweepClosed { sweep }
            | Event::SweepDrainAsked { sweep, .. }
            | Event::SweepRetried { sweep } => {
                batch.changed.insert(sweep.clone());
            }
            Event::SweepSubmitted { plan, .. } | Event::SweepExtended { part: plan } => {
                batch.changed.insert(plan.sweep.id.clone());
            }
            _ => {}
        }
        let result = match self.core.apply(now, &event) {
            Ok(decision) => {
                let lane_steps = |stage: &StageKey| self.core.lane_steps(stage).unwrap_or_default();
                decision.records.iter().for_each(|record| self.counters.recorded(record, lane_steps));
                let notable = decision.records.iter().filter(|record| is_notable(record));
                batch.notable.extend(notable.cloned());
                let entries = decision.records.into_iter().map(|record| Entry::new(now, record));
                batch.lines.extend(entries.flat_map(Entry::into_lines));
                batch.effects.extend(decision.effects);
                Ok(())
            }
            Err(rejection) => {
                match &event {
                    // The rest of a revoked lease arrives late, which is expected.
                    Event::StageReported { .. }
                    | Event::LeaseEnded { .. }
                    | Event::Calibrated { .. }
                    | Event::Checkpointed { .. }
                    | Event::ResultWaits { .. }
                    | Event::Progressed { .. } => {
                        debug!(%rejection, "an event was rejected");
                    }
                    _ => warn!(%rejection, "an event was rejected"),
                }
                Err(rejection)
            }
        };
        match event {
            Event::WorkerLeft { worker, .. } => _ = self.workers.remove(&worker),
            Event::WorkerJoined { worker, .. } if result.is_err() => _ = self.workers.remove(&worker),
            _ => {}
        }
        batch.replies.extend(reply.map(|reply| (reply, result)));
    }

    fn now(&self) -> Timestamp {
        let since = (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    async fn finish(&mut self, mut batch: Batch) -> Result<(), JournalError> {
        if self.core.has(Fault::EffectsFirst) {
            for effect in std::mem::take(&mut batch.effects) {
                self.carry_out(effect, &mut batch.changed);
            }
        }
        if !batch.lines.is_empty() {
            let (lines, begun) = (batch.lines.len(), Instant::now());
            self.journal.append(batch.lines).await?;
            let elapsed = begun.elapsed();
            self.counters.appended(lines, elapsed);
            debug!(lines, elapsed_us = elapsed.as_micros(), "appended to the journal");
        }
        batch.notable.iter().for_each(notable::say);
        // Applied reports are durable now, and rejected ones would be rejected again.
        for (worker, ends) in batch.settled {
            self.send(&worker, Message::Settled(v1::Settled { ends }));
        }
        let mut changed = batch.changed;
        for effect in batch.effects {
            self.carry_out(effect, &mut changed);
        }
        if changed.iter().any(|sweep| self.core.awaits_decision(sweep)) {
            self.undecided.notify_one();
        }
        for sweep in changed {
            self.tell(Notice::Changed(sweep));
        }
        for (reply, result) in batch.replies {
            // The caller may be gone.
            let _ = reply.send(result);
        }
        for read in batch.reads {
            read(&self.core);
        }
        Ok(())
    }

    /// Writes a snapshot once a start would replay more records than there are stages. Events wait meanwhile, because
    /// the snapshot must match the records before it. Returns whether one was attempted.
    async fn take_snapshot_if_due(&mut self) -> Result<bool, JournalError> {
        let records = self.core.since_snapshot();
        if records < BETWEEN_SNAPSHOTS.max(self.core.stage_count()) {
            return Ok(false);
        }
        let (begun, now) = (Instant::now(), self.now());
        match snapshot::write(&mut *self.journal, &self.core, now).await {
            Ok(lines) => info!(records, lines, elapsed = ?begun.elapsed(), "took a snapshot"),
            // Later records may still fit.
            Err(error) if error.is_full() => warn!(%error, "no space for a snapshot; the journal keeps growing"),
            Err(error) => return Err(error),
        }
        self.core.snapshot_taken();
        Ok(true)
    }

    fn send(&mut self, worker: &WorkerId, message: Message) {
        let Some(channel) = self.workers.get(worker) else { return };
        if channel.send(Ok(CoordinatorMessage { message: Some(message) })).is_err() {
            // Its stream ends with the channel, and the task that serves the stream notifies the core.
            warn!(%worker, "a worker does not read its messages; its stream is closed");
            self.workers.remove(worker);
        }
    }

    fn tell(&self, notice: Notice) {
        // There may be no watchers.
        let _ = self.notices.send(notice);
    }
}

#[cfg(test)]
mod tests;
