//! Messages for the coordinator, kept until it confirms them. Results are also kept on disk, so that they outlive the
//! worker.
//!
//! It knows messages, but not their origin. [`Outbox::put`] takes messages that must arrive, [`Outbox::pass`] messages
//! that are only useful now, and [`Outbox::stream`] returns all of them for one attachment. A result waits until its
//! files are uploaded, and later messages of the same lease wait with it. A checkpoint waits for its file too, but no
//! message waits for a checkpoint. Of each stage only the newest checkpoint is kept, until it has been sent once or the
//! stage has ended.

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

/// The maximum number of waiting messages that are only useful now. The oldest are dropped first.
const PASSING: usize = 1024;

/// Bytes of the checksum before a report on disk.
const CHECKSUM: usize = 32;

/// The messages of one device, for all its attachments.
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
    /// Whether the files that it names are uploaded.
    is_carried: bool,
    /// Whether it was sent on the current attachment.
    is_sent: bool,
    /// Whether it need not wait for earlier messages.
    overtakes: bool,
    /// Whether the coordinator had no space for its files.
    is_refused: bool,
    /// Holds its files in the cache.
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

/// A checkpoint that was not sent yet.
#[derive(Debug)]
struct Pending {
    number: u64,
    message: Checkpointed,
    is_carried: bool,
    /// Holds its file in the cache.
    _made: Held,
}

#[derive(Debug, Default)]
struct Messages {
    next: u64,
    unsettled: BTreeMap<u64, Entry>,
    passing: VecDeque<Message>,
    /// By stage key.
    checkpoints: BTreeMap<String, Pending>,
    /// The number of the attachment that `passing` is for.
    attachment: u64,
    attached: bool,
    /// Whether to stop waiting for results that the coordinator has no space for.
    hands_back: bool,
}

impl Messages {
    /// Whether a result is kept here for the next worker to upload.
    const fn stays(&self, entry: &Entry) -> bool {
        self.hands_back && entry.is_refused && !entry.is_carried
    }
}

impl Outbox {
    /// Opens the outbox with the results that an earlier process left in `folder`. Without a folder nothing outlives
    /// this process.
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
                        // It was written incompletely: the stage will run again.
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

    /// Adds the end of a stage, and the hold on its files.
    pub(super) fn put_result(&self, report: StageReport, made: Held) {
        self.keep(Entry { _made: Some(made), ..Entry::new(Message::Report(report)) });
    }

    /// Adds a checkpoint of a stage, and the hold on its file. It replaces an older one of the same stage.
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

    /// Adds a message that must arrive, on this attachment or another.
    pub(super) fn put(&self, message: Message) {
        self.keep(Entry::new(message));
    }

    /// Adds the end of a revoked lease. It does not wait for earlier messages of the lease.
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

    /// Adds a message that is only useful to the coordinator attached now. Dropped if there is none.
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

    /// Removes a message that the coordinator has confirmed.
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
            // Most messages are not results and have no file.
            if let Some(folder) = &self.folder
                && let Err(error) = fs::remove_file(folder.join(number.to_string()))
                && error.kind() != io::ErrorKind::NotFound
            {
                warn!(%error, "cannot remove a confirmed report");
            }
        }
    }

    /// Whether all messages are confirmed, except results that are kept here.
    pub(super) fn is_settled(&self) -> bool {
        let messages = self.messages();
        messages.unsettled.values().all(|entry| messages.stays(entry))
    }

    /// Keeps results here if the coordinator has no space for them: their leases end without them.
    pub(super) fn hand_back(&self) {
        self.messages().hands_back = true;
        self.changed.notify_waiters();
    }

    /// Whether an unsent result of that stage exists. It becomes the result of this attempt.
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

    /// The number of results that are kept here.
    pub(super) fn staying(&self) -> usize {
        let messages = self.messages();
        messages.unsettled.values().filter(|entry| messages.stays(entry)).count()
    }

    /// Notes that the coordinator has no space for a file of `bytes` bytes, so that its result waits.
    pub(super) fn refused(&self, number: u64, bytes: u64) {
        let mut messages = self.messages();
        let Some(entry) = messages.unsettled.get_mut(&number) else { return };
        entry.is_refused = true;
        let Message::Report(report) = &entry.message else { return };
        let waits = Message::ResultWaits(ResultWaits { stage_key: report.stage_key.clone(), bytes });
        drop(messages);
        self.pass(waits);
    }

    /// Begins an attachment: returns `hello`, all unconfirmed messages, and new ones. Ends the stream of the previous
    /// attachment.
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

    /// Waits for the next result, of number `from` or later, whose files must be uploaded. Returns its number as well.
    pub(super) async fn to_carry(&self, from: u64) -> (u64, StageReport) {
        self.when(|messages| {
            messages.unsettled.range(from..).find_map(|(number, entry)| match &entry.message {
                Message::Report(report) if !entry.is_carried => Some((*number, report.clone())),
                _ => None,
            })
        })
        .await
    }

    /// Notes that the files of a result are uploaded.
    pub(super) fn carried(&self, number: u64) {
        if let Some(entry) = self.messages().unsettled.get_mut(&number) {
            entry.is_carried = true;
        }
        self.changed.notify_waiters();
    }

    /// Replaces a result whose files cannot be uploaded by a failure.
    pub(super) fn not_carried(&self, number: u64, failure: &Failure) {
        if let Some(entry) = self.messages().unsettled.get_mut(&number) {
            if let Message::Report(report) = &mut entry.message {
                report.outcome = Some((&StageOutcome::Failed(failure.clone())).into());
            }
            entry.is_carried = true;
        }
        self.changed.notify_waiters();
    }

    /// Waits for the checkpoint whose file has waited longest to be uploaded. Returns its number and file.
    pub(super) async fn to_carry_checkpoint(&self) -> (u64, ArtifactRef) {
        self.when(|messages| {
            let waiting = messages.checkpoints.values().filter(|pending| !pending.is_carried);
            let first = waiting.min_by_key(|pending| pending.number)?;
            Some((first.number, first.message.checkpoint.as_ref()?.state.clone()?))
        })
        .await
    }

    /// Notes that the file of a checkpoint is uploaded. A newer checkpoint may have replaced it.
    pub(super) fn checkpoint_carried(&self, number: u64) {
        let mut messages = self.messages();
        let carried = messages.checkpoints.values_mut().find(|pending| pending.number == number);
        carried.into_iter().for_each(|pending| pending.is_carried = true);
        drop(messages);
        self.changed.notify_waiters();
    }

    /// Whether a checkpoint still waits to be sent.
    pub(super) fn keeps_checkpoint(&self, number: u64) -> bool {
        self.messages().checkpoints.values().any(|pending| pending.number == number)
    }

    /// The number of checkpoints whose files wait to be uploaded.
    pub(super) fn checkpoints_waiting(&self) -> usize {
        self.messages().checkpoints.values().filter(|pending| !pending.is_carried).count()
    }

    /// Drops a checkpoint whose file cannot be uploaded.
    pub(super) fn drop_checkpoint(&self, number: u64) {
        self.messages().checkpoints.retain(|_, pending| pending.number != number);
    }

    /// Waits until `found` returns something.
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

    /// The next message of an attachment, or `None` once it is over.
    async fn next(&self, attachment: u64) -> Option<Message> {
        self.when(|messages| {
            if messages.attachment != attachment {
                return Some(None);
            }
            // Hello is the first of them.
            if let Some(message) = messages.passing.pop_front() {
                return Some(Some(message));
            }
            // Before the ends of leases: stages that are returned run again.
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

/// The files that a report names.
pub(super) fn files(report: &StageReport) -> Vec<ArtifactRef> {
    match report.outcome.as_ref().and_then(|outcome| outcome.outcome.as_ref()) {
        Some(Outcome::Completed(completed)) => completed.artifacts.values().cloned().collect(),
        _ => Vec::new(),
    }
}

/// Whether another attempt would end the same way, so that this result is worth keeping.
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

/// Reads a report from a file, or returns `None` if it is corrupt.
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
