//! What the coordinator has to be told, until it says that it knows. Results are on disk as well, so that they outlive the worker.
//!
//! It knows messages and nothing of how they came about: [`Outbox::put`] takes what must arrive, [`Outbox::pass`] what is only of use
//! now, and [`Outbox::stream`] is all of it, for one attachment. A result waits until its files are there, and what comes after it of
//! the same lease waits with it. A checkpoint waits for its file, too, and nothing waits for it; of each stage the newest is kept, until
//! it has been said once or the stage has ended.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, stream};
use prost::Message as _;
use secateur_proto::{
    outcome::{Failure, StageOutcome},
    v1::{
        ArtifactRef, Checkpointed, LeaseEnded, ResultWaits, SettledEnd, StageReport, WorkerMessage,
        stage_outcome::Outcome, worker_message::Message,
    },
};
use tokio::sync::Notify;
use tracing::warn;

use crate::cache::Held;

/// Passing messages that may wait: of more than these the oldest is dropped, since progress is soon outdated.
const PASSING: usize = 1024;

/// Bytes of the checksum before a report on disk.
const CHECKSUM: usize = 32;

/// The messages of one device's attachments.
#[derive(Debug)]
pub(super) struct Outbox {
    folder: Option<PathBuf>,
    messages: Mutex<Messages>,
    changed: Notify,
}

/// A message that must arrive.
#[derive(Debug)]
struct Entry {
    message: Message,
    /// Whether the files that it speaks of are where it goes.
    is_carried: bool,
    /// Whether the attachment of now has sent it.
    is_sent: bool,
    /// Whether it waits for nothing that came before it.
    overtakes: bool,
    /// Whether the coordinator had no room for its files.
    is_refused: bool,
    /// Keeps its files in the cache.
    _made: Option<Held>,
}

impl Entry {
    fn new(message: Message) -> Self {
        let is_carried = if let Message::Report(report) = &message { files(report).is_empty() } else { true };
        Self { message, is_carried, is_sent: false, overtakes: false, is_refused: false, _made: None }
    }

    fn lease(&self) -> &str {
        match &self.message {
            Message::Report(report) => &report.lease_id,
            Message::LeaseEnded(ended) => &ended.lease_id,
            _ => "",
        }
    }
}

/// A checkpoint that was not said yet.
#[derive(Debug)]
struct Pending {
    number: u64,
    message: Checkpointed,
    is_carried: bool,
    /// Keeps its file in the cache.
    _made: Held,
}

#[derive(Debug, Default)]
struct Messages {
    next: u64,
    unsettled: BTreeMap<u64, Entry>,
    passing: VecDeque<Message>,
    /// By the key of the stage.
    checkpoints: BTreeMap<String, Pending>,
    /// Which attachment the passing ones are for; counts them.
    attachment: u64,
    attached: bool,
    /// Whether nobody waits any more for what the coordinator has no room for.
    hands_back: bool,
}

impl Messages {
    /// Whether a result stays here, for the next worker to hand in.
    const fn stays(&self, entry: &Entry) -> bool {
        self.hands_back && entry.is_refused && !entry.is_carried
    }
}

impl Outbox {
    /// With the results that an earlier process left in `folder`; without a folder nothing outlives this one.
    pub(super) fn open(folder: Option<PathBuf>) -> io::Result<Self> {
        let mut messages = Messages::default();
        if let Some(folder) = &folder {
            fs::create_dir_all(folder)?;
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
                match (number, read(&path)?) {
                    (Some(number), Some(report)) => {
                        messages.next = messages.next.max(number.saturating_add(1));
                        messages.unsettled.insert(number, Entry::new(Message::Report(report)));
                    }
                    _ => {
                        // Cut off while it was written: the stage will be done again.
                        warn!(file = %path.display(), "cannot read a stored report; dropping it");
                        fs::remove_file(&path)?;
                    }
                }
            }
        }
        Ok(Self { folder, messages: Mutex::new(messages), changed: Notify::new() })
    }

    fn messages(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the end of a stage, and what keeps the files of it.
    pub(super) fn put_result(&self, report: StageReport, made: Held) {
        self.keep(Entry { _made: Some(made), ..Entry::new(Message::Report(report)) });
    }

    /// Takes where a stage can be gone on from, and what keeps the file of it. An older one of the same stage is of no use any more.
    pub(super) fn put_checkpoint(&self, message: Checkpointed, made: Held) {
        let mut messages = self.messages();
        let number = messages.next;
        messages.next += 1;
        let stage = message.stage_key.clone();
        let before = messages.checkpoints.insert(stage, Pending { number, message, is_carried: false, _made: made });
        drop(messages);
        drop(before);
        self.changed.notify_waiters();
    }

    /// Takes what the coordinator must hear, at this attachment or another.
    pub(super) fn put(&self, message: Message) {
        self.keep(Entry::new(message));
    }

    /// Takes the end of a lease that was taken back: nobody waits for what may not have got across of it yet.
    pub(super) fn put_dropped(&self, lease_id: String) {
        let message = Message::LeaseEnded(LeaseEnded { lease_id, failure: None });
        self.keep(Entry { overtakes: true, ..Entry::new(message) });
    }

    fn keep(&self, entry: Entry) {
        let mut messages = self.messages();
        let number = messages.next;
        messages.next += 1;
        if let Message::Report(report) = &entry.message {
            messages.checkpoints.remove(&report.stage_key);
        }
        if let (Some(folder), Message::Report(report)) = (&self.folder, &entry.message)
            && is_result(report)
            && let Err(error) = write(&folder.join(number.to_string()), report)
        {
            warn!(%error, "cannot store a result on disk; it is lost if this worker ends before the coordinator has it");
        }
        messages.unsettled.insert(number, entry);
        drop(messages);
        self.changed.notify_waiters();
    }

    /// Takes what is of use to the coordinator that is attached now, if there is one.
    pub(super) fn pass(&self, message: Message) {
        let mut messages = self.messages();
        if !messages.attached {
            return;
        }
        if messages.passing.len() >= PASSING {
            messages.passing.pop_front();
        }
        messages.passing.push_back(message);
        drop(messages);
        self.changed.notify_waiters();
    }

    /// Forgets what has arrived for good.
    pub(super) fn settle(&self, end: &SettledEnd) {
        let is_it = |message: &Message| match message {
            Message::Report(report) => report.lease_id == end.lease_id && report.stage_key == end.stage_key,
            Message::LeaseEnded(ended) => end.stage_key.is_empty() && ended.lease_id == end.lease_id,
            _ => false,
        };
        let mut messages = self.messages();
        let settled: Vec<u64> =
            messages.unsettled.iter().filter(|(_, entry)| is_it(&entry.message)).map(|(number, _)| *number).collect();
        for number in settled {
            messages.unsettled.remove(&number);
            // Most are no results, and have no file.
            if let Some(folder) = &self.folder
                && let Err(error) = fs::remove_file(folder.join(number.to_string()))
                && error.kind() != io::ErrorKind::NotFound
            {
                warn!(%error, "cannot remove a report that has arrived");
            }
        }
    }

    /// Whether nothing waits to be settled, but for what stays.
    pub(super) fn is_settled(&self) -> bool {
        let messages = self.messages();
        messages.unsettled.values().all(|entry| messages.stays(entry))
    }

    /// Lets results for which the coordinator has no room stay here: their leases end without them.
    pub(super) fn hand_back(&self) {
        self.messages().hands_back = true;
        self.changed.notify_waiters();
    }

    /// Whether a result of that stage is here and has not been said yet: it is the result of this attempt, then.
    pub(super) fn take_up(&self, stage: &str, lease_id: &str, attempt: u32) -> bool {
        let mut messages = self.messages();
        let waiting = messages.unsettled.values_mut().filter(|entry| !entry.is_sent);
        let mut reports = waiting.filter_map(|entry| match &mut entry.message {
            Message::Report(report) if is_result(report) && report.stage_key == stage => Some(report),
            _ => None,
        });
        let Some(report) = reports.next() else { return false };
        (report.lease_id, report.attempt) = (lease_id.to_owned(), attempt);
        true
    }

    /// How many results stay.
    pub(super) fn staying(&self) -> usize {
        let messages = self.messages();
        messages.unsettled.values().filter(|entry| messages.stays(entry)).count()
    }

    /// The coordinator has no room for a file of so many bytes of a result, which waits.
    pub(super) fn refused(&self, number: u64, bytes: u64) {
        let mut messages = self.messages();
        let Some(entry) = messages.unsettled.get_mut(&number) else { return };
        entry.is_refused = true;
        let Message::Report(report) = &entry.message else { return };
        let waits = Message::ResultWaits(ResultWaits { stage_key: report.stage_key.clone(), bytes });
        drop(messages);
        self.pass(waits);
    }

    /// Begins an attachment: `hello`, all that is not settled, and what comes. The stream of the attachment before it ends.
    pub(super) fn stream(self: &Arc<Self>, hello: Message) -> impl Stream<Item = WorkerMessage> + Send + use<> {
        let attachment = {
            let mut messages = self.messages();
            messages.attachment += 1;
            messages.attached = true;
            messages.passing.clear();
            messages.passing.push_back(hello);
            messages.unsettled.values_mut().for_each(|entry| entry.is_sent = false);
            messages.attachment
        };
        self.changed.notify_waiters();
        stream::unfold(Arc::clone(self), move |outbox| async move {
            let message = outbox.next(attachment).await?;
            Some((WorkerMessage { message: Some(message) }, outbox))
        })
    }

    /// Ends the attachment.
    pub(super) fn detach(&self) {
        let mut messages = self.messages();
        messages.attached = false;
        messages.attachment += 1;
        messages.passing.clear();
        drop(messages);
        self.changed.notify_waiters();
    }

    /// The next result, of number `from` or later, whose files have to be carried over; and its number.
    pub(super) async fn to_carry(&self, from: u64) -> (u64, StageReport) {
        self.when(|messages| {
            messages.unsettled.range(from..).find_map(|(number, entry)| match &entry.message {
                Message::Report(report) if !entry.is_carried => Some((*number, report.clone())),
                _ => None,
            })
        })
        .await
    }

    /// The files of a result are there.
    pub(super) fn carried(&self, number: u64) {
        if let Some(entry) = self.messages().unsettled.get_mut(&number) {
            entry.is_carried = true;
        }
        self.changed.notify_waiters();
    }

    /// The files of a result cannot be got across: that is its end.
    pub(super) fn not_carried(&self, number: u64, failure: &Failure) {
        if let Some(entry) = self.messages().unsettled.get_mut(&number) {
            if let Message::Report(report) = &mut entry.message {
                report.outcome = Some((&StageOutcome::Failed(failure.clone())).into());
            }
            entry.is_carried = true;
        }
        self.changed.notify_waiters();
    }

    /// The checkpoint that waits longest for its file to be carried over: its number and the file.
    pub(super) async fn to_carry_checkpoint(&self) -> (u64, ArtifactRef) {
        self.when(|messages| {
            let waiting = messages.checkpoints.values().filter(|pending| !pending.is_carried);
            let first = waiting.min_by_key(|pending| pending.number)?;
            Some((first.number, first.message.checkpoint.as_ref()?.state.clone()?))
        })
        .await
    }

    /// The file of a checkpoint is there. It may have been replaced meanwhile.
    pub(super) fn checkpoint_carried(&self, number: u64) {
        let mut messages = self.messages();
        let carried = messages.checkpoints.values_mut().find(|pending| pending.number == number);
        carried.into_iter().for_each(|pending| pending.is_carried = true);
        drop(messages);
        self.changed.notify_waiters();
    }

    /// Whether a checkpoint still waits to be said.
    pub(super) fn keeps_checkpoint(&self, number: u64) -> bool {
        self.messages().checkpoints.values().any(|pending| pending.number == number)
    }

    /// How many checkpoints wait for their files to be carried over.
    pub(super) fn checkpoints_waiting(&self) -> usize {
        self.messages().checkpoints.values().filter(|pending| !pending.is_carried).count()
    }

    /// The file of a checkpoint cannot be got across.
    pub(super) fn drop_checkpoint(&self, number: u64) {
        self.messages().checkpoints.retain(|_, pending| pending.number != number);
    }

    /// Waits until there is something to be `found`.
    async fn when<T>(&self, mut found: impl FnMut(&mut Messages) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let found = found(&mut self.messages());
            match found {
                Some(found) => return found,
                None => changed.await,
            }
        }
    }

    /// The next message of an attachment; nothing when that is over.
    async fn next(&self, attachment: u64) -> Option<Message> {
        self.when(|messages| {
            if messages.attachment != attachment {
                return Some(None);
            }
            // The hello is the first of them.
            if let Some(message) = messages.passing.pop_front() {
                return Some(Some(message));
            }
            // Before what ends leases: what goes back then is begun again.
            let carried = messages.checkpoints.iter().find(|(_, pending)| pending.is_carried);
            if let Some(stage) = carried.map(|(stage, _)| stage.clone())
                && let Some(pending) = messages.checkpoints.remove(&stage)
            {
                return Some(Some(Message::Checkpointed(pending.message)));
            }
            let mut waiting: Vec<&str> = vec![];
            let mut next = None;
            for (number, entry) in messages.unsettled.iter().filter(|(_, entry)| !entry.is_sent) {
                if waiting.contains(&entry.lease()) && !entry.overtakes {
                    continue;
                }
                if entry.is_carried {
                    next = Some(*number);
                    break;
                }
                if !messages.stays(entry) {
                    waiting.push(entry.lease());
                }
            }
            let entry = messages.unsettled.get_mut(&next?)?;
            entry.is_sent = true;
            Some(Some(entry.message.clone()))
        })
        .await
    }
}

/// The files that a report speaks of.
pub(super) fn files(report: &StageReport) -> Vec<ArtifactRef> {
    match report.outcome.as_ref().and_then(|outcome| outcome.outcome.as_ref()) {
        Some(Outcome::Completed(completed)) => completed.artifacts.values().cloned().collect(),
        _ => Vec::new(),
    }
}

/// Whether another attempt would end the same way, so that this one's end is worth keeping.
fn is_result(report: &StageReport) -> bool {
    let outcome = report.outcome.as_ref().and_then(|outcome| outcome.outcome.as_ref());
    matches!(outcome, Some(Outcome::Completed(_) | Outcome::Diverged(_) | Outcome::Collapsed(_)))
}

fn write(path: &Path, report: &StageReport) -> io::Result<()> {
    let body = report.encode_to_vec();
    let draft = path.with_extension("draft");
    fs::write(&draft, [blake3::hash(&body).as_bytes().as_slice(), &body].concat())?;
    fs::rename(&draft, path)
}

/// The report in a file; nothing if it is none.
fn read(path: &Path) -> io::Result<Option<StageReport>> {
    let bytes = fs::read(path)?;
    let Some((checksum, body)) = bytes.split_at_checked(CHECKSUM) else { return Ok(None) };
    if blake3::hash(body).as_bytes() != checksum {
        return Ok(None);
    }
    Ok(StageReport::decode(body).ok())
}

#[cfg(test)]
mod tests;
