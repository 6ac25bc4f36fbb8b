//! What is done to a journal besides appending to it: it is read and replayed, checked, repaired, compacted. Between journal and
//! core; it knows nothing of the driver, the services and the command line.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::Utf8Error,
    time::Instant,
};

use secateur_proto::ids::SweepId;
use tracing::info;

use crate::{
    journal::{Damage, Journal, JournalError, Line, Place, Verification},
    scheduler::{self, Core, Entry, EntryReader, Policy, Record, Timestamp, UnreadableEntry},
};

/// Why a journal was not mended. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// It cannot be read or written, or is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What would be cut was not said, or not rightly.
    #[error("{damage}; good entries may follow and would be lost: to cut everything from there on, pass --cut-at {}", damage.sequence())]
    CutNotSaid {
        /// The first damage.
        damage: Damage,
    },
    /// What was said is another place.
    #[error("{damage}; the damage does not begin at entry {said}: pass --cut-at {}", damage.sequence())]
    CutElsewhere {
        /// The first damage.
        damage: Damage,
        /// What was said.
        said: i64,
    },
    /// Another program can read what this one cannot.
    #[error("{0}: use the release that wrote it; there is nothing to repair")]
    OtherVersion(Damage),
    /// What it gave once it did not give again.
    #[error("two reads of the journal {0} differ; nothing was changed: check its disk")]
    Unsteady(Place),
    /// A defect.
    #[error("the compacted journal {0} would differ, which is a bug in secateur; nothing was changed")]
    Differs(Place),
}

/// What a journal says that was read from end to end.
#[derive(Debug)]
pub struct Examined {
    /// What is wrong with it; nothing if it is healthy.
    pub damages: Vec<Damage>,
    /// Whether the first damage is a tail with nothing good behind it.
    pub torn: bool,
    /// What the entries before the first damage come to.
    pub core: Core,
    /// How many those are.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lines from the first damage on.
    pub rest: u64,
    /// Whether lines before all of these were removed, once there was a snapshot.
    pub shortened: bool,
    /// The versions that the good entries are written in.
    pub versions: BTreeSet<u32>,
    /// When the last of them was.
    last_at: Timestamp,
}

/// Reads the lines of a journal one after the other, and keeps what they come to: all of them together are larger by far.
#[derive(Debug)]
pub struct Examination {
    policy: Policy,
    verification: Verification,
    reader: EntryReader,
    core: Core,
    /// Entries before the first damage.
    entries: u64,
    bytes: u64,
    rest: u64,
    /// What is wrong with the first line whose checksum fits, and whose entry cannot be read or cannot follow those before it.
    found: Option<Damage>,
    /// Whether the first of them is of a snapshot.
    begins_with_snapshot: bool,
    /// The first line that has an entry, good or not.
    first: Option<i64>,
    /// The last of the good ones.
    last_good: Option<i64>,
    versions: BTreeSet<u32>,
    last_at: Timestamp,
}

/// What is known of lines that were cut.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lost {
    /// All of them.
    pub entries: u64,
    /// Those of which nobody can say what they were.
    pub unreadable: u64,
    /// Stages that had ended, by sweep; one that several sweeps share counts for each.
    pub stages: BTreeMap<SweepId, u64>,
    /// Stages that had ended, of sweeps that are not known any more.
    pub stages_of_others: u64,
    /// Sweeps that are not known any more, and have to be submitted again.
    pub sweeps: BTreeSet<SweepId>,
}

/// What a repair did.
#[derive(Debug)]
pub struct Repaired {
    /// Where the journal was copied to before.
    pub copy: String,
    /// What was wrong first.
    pub damage: Damage,
    /// What was cut.
    pub lost: Lost,
    /// What the journal says now.
    pub core: Core,
    /// Entries that are left.
    pub entries: u64,
}

/// The size of a journal before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Entries and their bytes before.
    pub before: (u64, u64),
    /// The same after.
    pub after: (u64, u64),
}

impl Examination {
    /// Of a journal of which nothing has been read.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        Self {
            policy: policy.clone(),
            verification: Verification::default(),
            reader: EntryReader::default(),
            core: Core::new(policy.clone()),
            entries: 0,
            bytes: 0,
            rest: 0,
            found: None,
            begins_with_snapshot: false,
            first: None,
            last_good: None,
            versions: BTreeSet::new(),
            last_at: Timestamp::default(),
        }
    }

    /// Takes the next line in.
    pub fn take(&mut self, line: &Line) {
        if !self.verification.take(line) {
            return;
        }
        self.first.get_or_insert(line.sequence);
        if self.verification.is_good() && self.found.is_none() {
            match self.replay(line) {
                Ok(()) => return,
                Err(damage) => self.found = Some(damage),
            }
        }
        self.rest += 1;
    }

    fn replay(&mut self, line: &Line) -> Result<(), Damage> {
        if let Some(entry) = read(&mut self.reader, line).map_err(|error| damage(line, &error))? {
            let contradiction = |reason| Damage::Contradiction { sequence: line.sequence, reason };
            self.core.replay(&entry).map_err(|rejection| contradiction(rejection.to_string()))?;
            self.begins_with_snapshot |= self.entries == 0 && matches!(entry.record, Record::Snapshot(_));
            self.versions.insert(entry.version());
            self.last_at = entry.at;
        }
        self.entries += 1;
        self.bytes += line.entry.len() as u64;
        self.last_good = Some(line.sequence);
        Ok(())
    }

    /// What all lines come to. `stopped` is the database's reason for giving no more, if it had one.
    #[must_use]
    pub fn end(self, stopped: Option<String>) -> Examined {
        let Self { policy, verification, mut core, mut entries, mut bytes, mut rest, versions, last_at, .. } = self;
        let shortened = verification.is_shortened();
        let (mut damages, mut torn) = verification.end(stopped);
        // Where nothing at all is good, a person has to say that all of it is to go.
        torn &= self.found.is_none() && (entries > 0 || damages.len() == 1);
        // What was before a snapshot is gone: without its end nothing is known, and to cut it off would lose all of it.
        let is_other_version = matches!(self.found, Some(Damage::OtherVersion { .. }));
        let has_no_beginning = shortened && !self.begins_with_snapshot || core.lacks_the_end_of_a_snapshot();
        damages.splice(..0, self.found);
        if has_no_beginning && !is_other_version {
            let first = self.first.unwrap_or(1);
            damages.insert(0, Damage::NoBeginning { first, last: self.last_good.unwrap_or(first) });
            rest += entries;
            (entries, bytes, torn) = (0, 0, false);
            core = Core::new(policy);
        }
        Examined { damages, torn, core, entries, bytes, rest, shortened, versions, last_at }
    }
}

impl Examined {
    /// Refuses a journal that is damaged, with what to do about it.
    fn healthy(self, place: &Place) -> Result<Self, JournalError> {
        match self.advice(place) {
            None => Ok(self),
            Some(advice) => Err(JournalError::Damaged { place: place.clone(), damages: self.damages, advice }),
        }
    }

    /// What to do about the damage, if there is any.
    #[must_use]
    pub fn advice(&self, place: &Place) -> Option<String> {
        let repair = format!("`secateur journal repair {}", place.argument());
        Some(match self.damages.first()? {
            Damage::OtherVersion { .. } => "use the release that wrote it".to_owned(),
            _ if self.torn => {
                format!("no good entries follow: {repair}` copies the journal and cuts the damage")
            }
            first if self.entries == 0 => format!(
                "no good entries precede it: restore a backup, or {repair} --cut-at {}` copies the journal and starts an empty one",
                first.sequence()
            ),
            first => format!(
                "{repair} --cut-at {}` copies the journal and keeps only the entries before that",
                first.sequence()
            ),
        })
    }
}

impl Lost {
    /// Adds a line that is cut, of which `core` knows what was before the first of them.
    fn add(&mut self, reader: &mut EntryReader, line: &Line, core: &Core) {
        self.entries += 1;
        match read(reader, line).map(|entry| entry.map(|entry| entry.record)) {
            Ok(Some(Record::StageEnded { stage, .. })) => {
                let sweeps = core.sweeps_of(&stage);
                self.stages_of_others += u64::from(sweeps.is_empty());
                for sweep in sweeps {
                    *self.stages.entry(sweep).or_default() += 1;
                }
            }
            Ok(Some(Record::SweepSubmitted { plan, .. })) => self.add_sweep(&plan.sweep.id, core),
            Ok(Some(Record::Snapshot(part))) => part.sweep().into_iter().for_each(|sweep| self.add_sweep(sweep, core)),
            Ok(_) => {}
            Err(Unread::Entry(UnreadableEntry::PiecesMissing { sweep })) => {
                self.unreadable += 1;
                self.add_sweep(&sweep, core);
            }
            Err(_) => self.unreadable += 1,
        }
    }

    /// What is known from before is not lost with it.
    fn add_sweep(&mut self, sweep: &SweepId, core: &Core) {
        if core.sweep(sweep).is_none() {
            self.sweeps.insert(sweep.clone());
        }
    }
}

/// A line that fits its checksum, and cannot be read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error(transparent)]
    Text(#[from] Utf8Error),
    #[error(transparent)]
    Entry(#[from] UnreadableEntry),
}

/// The entry that is whole with a line that fits its checksum.
fn read(reader: &mut EntryReader, line: &Line) -> Result<Option<Entry>, Unread> {
    Ok(reader.read(str::from_utf8(&line.entry)?)?)
}

/// Why such a line is damage.
fn damage(line: &Line, error: &Unread) -> Damage {
    let (sequence, reason) = (line.sequence, error.to_string());
    match error {
        Unread::Entry(UnreadableEntry::Version { .. }) => Damage::OtherVersion { sequence, reason },
        Unread::Text(_) | Unread::Entry(_) => Damage::NoEntry { sequence, reason },
    }
}

/// Replays a journal that is healthy.
///
/// # Errors
/// If it cannot be read, or is damaged.
pub async fn restore(journal: &mut dyn Journal, policy: &Policy) -> Result<Core, JournalError> {
    let begun = Instant::now();
    let examined = examine(journal, policy).await?.healthy(journal.place())?;
    if examined.entries > 0 {
        info!(entries = examined.entries, elapsed = ?begun.elapsed(), "replayed the journal");
    }
    Ok(examined.core)
}

/// Reads a journal from end to end, and changes nothing.
///
/// # Errors
/// If it cannot be read. Damage is no error.
pub async fn check(journal: &mut dyn Journal) -> Result<Examined, JournalError> {
    examine(journal, &Policy::default()).await
}

async fn examine(journal: &mut dyn Journal, policy: &Policy) -> Result<Examined, JournalError> {
    let mut examination = Examination::new(policy);
    let stopped = journal.read(&mut |line| examination.take(&line)).await?;
    Ok(examination.end(stopped))
}

/// Copies a journal aside and cuts a torn tail, or all from `cut_at` on, which must be where the damage begins. A healthy one is
/// left alone: nothing. It is read twice.
///
/// # Errors
/// If it cannot be read or written, gives something else the second time, or what is behind the damage may be good and `cut_at` does
/// not say that it is to go.
pub async fn repair(mut journal: Box<dyn Journal>, cut_at: Option<i64>) -> Result<Option<Repaired>, UpkeepError> {
    let examined = check(&mut *journal).await?;
    let Some(damage) = examined.damages.first().cloned() else {
        journal.close().await?;
        return Ok(None);
    };
    if matches!(damage, Damage::OtherVersion { .. }) {
        return Err(UpkeepError::OtherVersion(damage));
    }
    match cut_at {
        Some(said) if said != damage.sequence() => return Err(UpkeepError::CutElsewhere { damage, said }),
        None if !examined.torn => return Err(UpkeepError::CutNotSaid { damage }),
        _ => {}
    }
    let Examined { core, mut entries, .. } = examined;
    // Once more, since what is kept is wanted now; if the disk gives less this time, that is not to take the place of all.
    let (mut verification, mut kept, mut lost) = (Verification::default(), vec![], Lost::default());
    // Of what is kept, and of what is lost.
    let (mut good, mut reader) = (EntryReader::default(), EntryReader::default());
    journal
        .read(&mut |line| {
            if !verification.take(&line) {
                return;
            }
            if (kept.len() as u64) < entries && verification.is_good() {
                // It was read once, and is good.
                let _ = read(&mut good, &line);
                kept.extend(String::from_utf8(line.entry).ok());
            } else {
                lost.add(&mut reader, &line, &core);
            }
        })
        .await?;
    if kept.len() as u64 != entries {
        return Err(UpkeepError::Unsteady(journal.place().clone()));
    }
    // Of a sweep whose entry is lost nothing is left but a part of its plan.
    if let Some((sweep, pieces)) = good.waiting() {
        lost.add_sweep(sweep, &core);
        lost.entries += pieces as u64;
        kept.truncate(kept.len() - pieces);
        entries = kept.len() as u64;
    }
    let copy = journal.copy_aside().await?;
    journal.replace(kept).await?;
    Ok(Some(Repaired { copy, damage, lost, core, entries }))
}

/// Rewrites a healthy journal to a snapshot of what it comes to. One that is hardly longer is left alone.
///
/// # Errors
/// If it cannot be read or written, or is damaged.
pub async fn compact(mut journal: Box<dyn Journal>) -> Result<Compacted, UpkeepError> {
    let place = journal.place().clone();
    let examined = check(&mut *journal).await?.healthy(&place)?;
    let before = (examined.entries, examined.bytes);
    let lines = examined.core.snapshot().lines(examined.last_at);
    if lines.len() as u64 >= examined.entries {
        journal.close().await?;
        return Ok(Compacted { before, after: before });
    }
    let entries: Result<Vec<Entry>, _> = scheduler::entries(&lines).collect();
    let same =
        |entries| Core::restore(Policy::default(), entries).is_ok_and(|core| core.says_the_same_as(&examined.core));
    if !entries.is_ok_and(same) {
        return Err(UpkeepError::Differs(place));
    }
    let after = (lines.len() as u64, lines.iter().map(|line| line.len() as u64).sum());
    journal.replace(lines).await?;
    Ok(Compacted { before, after })
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::journal::Chain;

    /// A journal on a disk that gives less each time: two good lines and one that is torn at first.
    #[derive(Debug)]
    struct Fading {
        place: Place,
        lines: Vec<Line>,
    }

    impl Fading {
        fn new() -> Self {
            let mut chain = Chain::default();
            let mut line = |entry: &str| {
                let (sequence, checksum) = chain.add(entry.as_bytes());
                Line { sequence, entry: entry.as_bytes().to_vec(), checksum }
            };
            let started: String = Entry::new(Timestamp(1), Record::Started).into_lines().collect();
            let mut lines = vec![line(&started), line(&started), line(&started)];
            lines[2].entry.pop();
            Self { place: Place::File("journal.db".into()), lines }
        }
    }

    #[async_trait]
    impl Journal for Fading {
        fn place(&self) -> &Place {
            &self.place
        }

        async fn read(&mut self, take: &mut (dyn FnMut(Line) + Send)) -> Result<Option<String>, JournalError> {
            self.lines.iter().cloned().for_each(take);
            self.lines.remove(1);
            Ok(None)
        }

        async fn append(&mut self, _: Vec<String>) -> Result<(), JournalError> {
            panic!("it was written to")
        }

        fn next(&self) -> i64 {
            1
        }

        async fn begin_at(&mut self, _: i64) -> Result<(), JournalError> {
            panic!("it was shortened")
        }

        async fn confirm(&mut self) -> Result<(), JournalError> {
            Ok(())
        }

        async fn copy_aside(&mut self) -> Result<String, JournalError> {
            panic!("it was copied")
        }

        async fn replace(self: Box<Self>, _: Vec<String>) -> Result<(), JournalError> {
            panic!("something took its place")
        }

        async fn close(self: Box<Self>) -> Result<(), JournalError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_a_failing_disk_gives_the_second_time_takes_the_place_of_nothing() {
        let examined = check(&mut Fading::new()).await.expect("reads");
        assert_eq!((examined.entries, examined.torn), (2, true));
        let error = repair(Box::new(Fading::new()), None).await.expect_err("is refused");
        assert!(matches!(error, UpkeepError::Unsteady(_)), "{error:?}");
    }
}
