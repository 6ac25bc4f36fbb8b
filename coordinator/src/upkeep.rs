//! Maintenance of a journal: read and replay, check, repair, compact. It is between journal and core and knows nothing
//! of driver, services and command line.

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

/// Why a journal was not repaired or compacted. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The journal cannot be read or written, or is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// `--cut-at` is missing.
    #[error("{damage}; good entries may follow and would be lost: to cut everything from there on, pass --cut-at {}", damage.sequence())]
    CutNotSaid {
        /// The first damage.
        damage: Damage,
    },
    /// `--cut-at` is not where the damage begins.
    #[error("{damage}; the damage does not begin at entry {said}: pass --cut-at {}", damage.sequence())]
    CutElsewhere {
        /// The first damage.
        damage: Damage,
        /// The given entry.
        said: i64,
    },
    /// Another version of the program can read it.
    #[error("{0}: use the release that wrote it; there is nothing to repair")]
    OtherVersion(Damage),
    /// A second read returned something else.
    #[error("two reads of the journal {0} differ; nothing was changed: check its disk")]
    Unsteady(Place),
    /// A bug.
    #[error("the compacted journal {0} would differ, which is a bug in secateur; nothing was changed")]
    Differs(Place),
}

/// The result of reading a whole journal.
#[derive(Debug)]
pub struct Examined {
    /// All damage; empty if it is healthy.
    pub damages: Vec<Damage>,
    /// Whether the damage is a torn tail without good lines after it.
    pub torn: bool,
    /// The state after the entries before the first damage.
    pub core: Core,
    /// The number of those entries.
    pub entries: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Lines from the first damage on.
    pub rest: u64,
    /// Whether lines before these were removed after a snapshot.
    pub shortened: bool,
    /// The versions of the good entries.
    pub versions: BTreeSet<u32>,
    /// The time of the last good entry.
    last_at: Timestamp,
}

/// Reads the lines of a journal one by one and keeps only the resulting state, because all lines together are far
/// larger.
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
    /// The damage of the first line whose checksum is right but whose entry is invalid or contradicts earlier ones.
    found: Option<Damage>,
    /// Whether the first entry is part of a snapshot.
    begins_with_snapshot: bool,
    /// The first line with an entry, good or not.
    first: Option<i64>,
    /// The last good line.
    last_good: Option<i64>,
    versions: BTreeSet<u32>,
    last_at: Timestamp,
}

/// What is known about lines that were cut.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The number of lines.
    pub entries: u64,
    /// The number of unreadable lines.
    pub unreadable: u64,
    /// Ended stages by sweep; one that several sweeps share counts for each.
    pub stages: BTreeMap<SweepId, u64>,
    /// Ended stages of sweeps that are no longer known.
    pub stages_of_others: u64,
    /// Sweeps that are no longer known and must be submitted again.
    pub sweeps: BTreeSet<SweepId>,
}

/// The result of a repair.
#[derive(Debug)]
pub struct Repaired {
    /// The place of the copy made before.
    pub copy: String,
    /// The first damage.
    pub damage: Damage,
    /// What was cut.
    pub lost: Lost,
    /// The state of the repaired journal.
    pub core: Core,
    /// The number of remaining entries.
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
    /// Starts the examination of a journal.
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

    /// Reads the next line.
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

    /// Ends the examination. `stopped` is the database's reason if it could not read on.
    #[must_use]
    pub fn end(self, stopped: Option<String>) -> Examined {
        let Self { policy, verification, mut core, mut entries, mut bytes, mut rest, versions, last_at, .. } = self;
        let shortened = verification.is_shortened();
        let (mut damages, mut torn) = verification.end(stopped);
        // If nothing is good, a person must confirm that everything is cut.
        torn &= self.found.is_none() && (entries > 0 || damages.len() == 1);
        // The lines before a snapshot were removed. Without its end, cutting it would lose everything.
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
    /// Returns an error with advice if the journal is damaged.
    fn healthy(self, place: &Place) -> Result<Self, JournalError> {
        match self.advice(place) {
            None => Ok(self),
            Some(advice) => Err(JournalError::Damaged { place: place.clone(), damages: self.damages, advice }),
        }
    }

    /// How to fix the damage, if there is any.
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
    /// Adds a cut line. `core` has the state before the first cut line.
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

    /// A sweep known from earlier entries is not lost.
    fn add_sweep(&mut self, sweep: &SweepId, core: &Core) {
        if core.sweep(sweep).is_none() {
            self.sweeps.insert(sweep.clone());
        }
    }
}

/// A line whose checksum is right but whose entry is invalid.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error(transparent)]
    Text(#[from] Utf8Error),
    #[error(transparent)]
    Entry(#[from] UnreadableEntry),
}

/// Reads the entry that this line completes, if it does.
fn read(reader: &mut EntryReader, line: &Line) -> Result<Option<Entry>, Unread> {
    Ok(reader.read(str::from_utf8(&line.entry)?)?)
}

/// Converts such an error to damage.
fn damage(line: &Line, error: &Unread) -> Damage {
    let (sequence, reason) = (line.sequence, error.to_string());
    match error {
        Unread::Entry(UnreadableEntry::Version { .. }) => Damage::OtherVersion { sequence, reason },
        Unread::Text(_) | Unread::Entry(_) => Damage::NoEntry { sequence, reason },
    }
}

/// Replays a healthy journal.
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

/// Reads a whole journal without changing it.
///
/// # Errors
/// If it cannot be read. Damage is not an error.
pub async fn check(journal: &mut dyn Journal) -> Result<Examined, JournalError> {
    examine(journal, &Policy::default()).await
}

async fn examine(journal: &mut dyn Journal, policy: &Policy) -> Result<Examined, JournalError> {
    let mut examination = Examination::new(policy);
    let stopped = journal.read(&mut |line| examination.take(&line)).await?;
    Ok(examination.end(stopped))
}

/// Copies a journal and cuts a torn tail, or everything from `cut_at` on, which must be where the damage begins.
/// Returns `None` for a healthy journal, which is not changed. The journal is read twice.
///
/// # Errors
/// If it cannot be read or written, a second read differs, or lines after the damage may be good and `cut_at` is not
/// given.
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
    // A second read to collect what is kept. If the disk now returns less, that must not replace everything.
    let (mut verification, mut kept, mut lost) = (Verification::default(), vec![], Lost::default());
    // One reader for kept lines, and one for cut lines.
    let (mut good, mut reader) = (EntryReader::default(), EntryReader::default());
    journal
        .read(&mut |line| {
            if !verification.take(&line) {
                return;
            }
            if (kept.len() as u64) < entries && verification.is_good() {
                // It was good in the first read.
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
    // The entry of the sweep is lost; only a part of its plan is left.
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

/// Rewrites a healthy journal as a snapshot. A journal that is hardly longer is not changed.
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

    /// A journal on a disk that returns less at each read: two good lines and one that is torn at first.
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

        async fn identity(&mut self, fresh: &str) -> Result<String, JournalError> {
            Ok(fresh.to_owned())
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
