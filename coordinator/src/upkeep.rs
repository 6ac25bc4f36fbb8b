//! What is done to a journal besides appending to it: it is read and replayed, checked, repaired, compacted. Between journal and
//! core; it knows nothing of the driver, the services and the command line.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use secateur_proto::ids::SweepId;
use tracing::info;

use crate::{
    journal::{Damage, Journal, JournalError, Line, Place, Reading},
    scheduler::{Core, Entry, Policy, Record, Timestamp, UnreadableEntry},
};

/// Why a journal was not mended. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// It cannot be read or written, or is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What would be cut was not said, or not rightly.
    #[error("{damage}; good entries follow, or may follow, and would be lost: to cut all from there on, say --cut-at {}", damage.sequence())]
    CutNotSaid {
        /// The first damage.
        damage: Damage,
    },
    /// What was said is another place.
    #[error("{damage}; entry {said} is not where the damage begins: say --cut-at {}", damage.sequence())]
    CutElsewhere {
        /// The first damage.
        damage: Damage,
        /// What was said.
        said: i64,
    },
    /// Another program can read what this one cannot.
    #[error("{0}: use the secateur that wrote it; there is nothing to repair")]
    OtherVersion(Damage),
    /// A defect.
    #[error(
        "the shorter journal says something else, which is a defect of secateur: the journal {0} was left as it is"
    )]
    Differs(Place),
}

/// A journal that was read from end to end.
#[derive(Debug)]
pub struct Examined {
    /// What is wrong with it; nothing if it is healthy.
    pub damages: Vec<Damage>,
    /// Whether the first damage is a tail with nothing good behind it.
    pub torn: bool,
    /// What the entries before the first damage come to.
    pub core: Core,
    /// Those entries, as they were written.
    pub lines: Vec<Line>,
    /// The lines from the first damage on.
    pub rest: Vec<Line>,
    /// Whether lines before all of these were removed, once there was a snapshot.
    pub shortened: bool,
    /// The versions that the good entries are written in.
    pub versions: BTreeSet<u32>,
    /// When the last of them was.
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

impl Examined {
    /// Reads what a journal gave.
    #[must_use]
    pub fn of(reading: Reading, policy: &Policy) -> Self {
        let mut damages = reading.damages();
        let torn = damages.first().is_some_and(|damage| reading.is_torn_from(damage.sequence()));
        let (mut lines, shortened) = reading.into_lines();
        let end = damages.first().map_or(i64::MAX, Damage::sequence);
        let mut rest = lines.split_off(lines.partition_point(|line| line.sequence < end));
        let (mut good, mut found, mut versions, mut last_at) = (0, vec![], BTreeSet::new(), Timestamp::default());
        let mut begins_with_snapshot = false;
        // One entry at a time: all of them together are larger than what they come to.
        let replay = lines.iter().map_while(|line| match read(line) {
            Ok(entry) => {
                begins_with_snapshot |= good == 0 && matches!(entry.record, Record::Snapshot(_));
                good += 1;
                versions.insert(entry.version());
                last_at = entry.at;
                Some(entry)
            }
            Err(damage) => {
                found.push(damage);
                None
            }
        });
        let mut core = Core::restore(policy.clone(), replay).unwrap_or_else(|rejection| {
            good -= 1;
            found = vec![Damage::Contradiction { sequence: lines[good].sequence, reason: rejection.to_string() }];
            let before = lines[..good].iter().map_while(|line| read(line).ok());
            Core::restore(policy.clone(), before).expect("what was replayed once can be replayed again")
        });
        // What was before a snapshot is gone: without its end nothing is known, and to cut it off would lose all of it.
        let is_other_version = matches!(found.first(), Some(Damage::OtherVersion { .. }));
        let has_no_beginning = shortened && !begins_with_snapshot || core.lacks_the_end_of_a_snapshot();
        if has_no_beginning && !is_other_version {
            let first = lines.first().or(rest.first()).map_or(1, |line| line.sequence);
            let last = good.checked_sub(1).map_or(first, |last| lines[last].sequence);
            found.insert(0, Damage::NoBeginning { first, last });
            good = 0;
            core = Core::new(policy.clone());
        }
        rest.splice(..0, lines.drain(good..));
        let torn = torn && found.is_empty();
        damages.splice(..0, found);
        Self { damages, torn, core, lines, rest, shortened, versions, last_at }
    }

    /// Bytes of the good entries.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        size(&self.lines).1
    }

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
            Damage::OtherVersion { .. } => "use the secateur that wrote it".to_owned(),
            _ if self.torn => {
                format!("nothing good follows: {repair}` copies the journal and cuts it off")
            }
            first if self.lines.is_empty() => format!(
                "nothing before it is good, so put a copy in its place if there is one; or {repair} --cut-at {}` copies the journal and begins anew, with no sweep",
                first.sequence()
            ),
            first => format!(
                "{repair} --cut-at {}` copies the journal and goes back to the entries before that",
                first.sequence()
            ),
        })
    }

    /// What is known of the lines from the first damage on.
    fn lost(&self) -> Lost {
        let mut lost = Lost { entries: self.rest.len() as u64, ..Lost::default() };
        for line in &self.rest {
            match read(line).map(|entry| entry.record) {
                Ok(Record::StageEnded { stage, .. }) => {
                    for sweep in self.core.sweeps_of(&stage) {
                        *lost.stages.entry(sweep).or_default() += 1;
                    }
                }
                Ok(Record::SweepSubmitted { plan }) => drop(lost.sweeps.insert(plan.sweep.id.clone())),
                Ok(Record::Snapshot(part)) => {
                    // What is known from before it is not lost with it.
                    lost.sweeps.extend(part.sweep().filter(|sweep| self.core.sweep(sweep).is_none()).cloned());
                }
                Ok(_) => {}
                Err(_) => lost.unreadable += 1,
            }
        }
        lost
    }
}

/// The entry of a line that fits its checksum.
fn read(line: &Line) -> Result<Entry, Damage> {
    let sequence = line.sequence;
    let no_entry = |reason| Damage::NoEntry { sequence, reason };
    let text = str::from_utf8(&line.entry).map_err(|error| no_entry(error.to_string()))?;
    Entry::from_json(text).map_err(|error| match error {
        UnreadableEntry::Version { .. } => Damage::OtherVersion { sequence, reason: error.to_string() },
        UnreadableEntry::Json(error) => no_entry(error.to_string()),
    })
}

/// How many there are, and the bytes of their entries.
fn size(lines: &[Line]) -> (u64, u64) {
    (lines.len() as u64, lines.iter().map(|line| line.entry.len() as u64).sum())
}

/// The entries of lines that have been read.
fn texts(lines: Vec<Line>) -> Vec<String> {
    lines.into_iter().map(|line| String::from_utf8(line.entry).expect("what was read is text")).collect()
}

/// Replays a journal that is healthy.
///
/// # Errors
/// If it cannot be read, or is damaged.
pub async fn restore(journal: &mut dyn Journal, policy: &Policy) -> Result<Core, JournalError> {
    let begun = Instant::now();
    let reading = journal.read().await?;
    let examined = Examined::of(reading, policy).healthy(journal.place())?;
    if !examined.lines.is_empty() {
        info!(entries = examined.lines.len(), elapsed = ?begun.elapsed(), "replayed the journal");
    }
    Ok(examined.core)
}

/// Reads a journal from end to end, and changes nothing.
///
/// # Errors
/// If it cannot be read. Damage is no error.
pub async fn check(journal: &mut dyn Journal) -> Result<Examined, JournalError> {
    Ok(Examined::of(journal.read().await?, &Policy::default()))
}

/// Copies a journal aside and cuts a torn tail, or all from `cut_at` on, which must be where the damage begins. A healthy one is
/// left alone: nothing.
///
/// # Errors
/// If it cannot be read or written, or what is behind the damage may be good and `cut_at` does not say that it is to go.
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
    let lost = examined.lost();
    let copy = journal.copy_aside().await?;
    let entries = examined.lines.len() as u64;
    journal.replace(&texts(examined.lines)).await?;
    Ok(Some(Repaired { copy, damage, lost, core: examined.core, entries }))
}

/// Rewrites a healthy journal to a snapshot of what it comes to. One that is hardly longer is left alone.
///
/// # Errors
/// If it cannot be read or written, or is damaged.
pub async fn compact(mut journal: Box<dyn Journal>) -> Result<Compacted, UpkeepError> {
    let place = journal.place().clone();
    let examined = check(&mut *journal).await?.healthy(&place)?;
    let before = size(&examined.lines);
    let lines = examined.core.snapshot().lines(examined.last_at);
    if lines.len() >= examined.lines.len() {
        journal.close().await?;
        return Ok(Compacted { before, after: before });
    }
    let entries: Result<Vec<Entry>, _> = lines.iter().map(|line| Entry::from_json(line)).collect();
    let same =
        |entries| Core::restore(Policy::default(), entries).is_ok_and(|core| core.says_the_same_as(&examined.core));
    if !entries.is_ok_and(same) {
        return Err(UpkeepError::Differs(place));
    }
    let after = (lines.len() as u64, lines.iter().map(|line| line.len() as u64).sum());
    journal.replace(&lines).await?;
    Ok(Compacted { before, after })
}
