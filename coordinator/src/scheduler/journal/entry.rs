//! Entries of the journal as lines of versioned JSON, and back. The shell stores the lines.
//!
//! An entry is one line. A long plan is written in [pieces](PackedPlan::piece), numbered from 0, on lines before its
//! entry, so that its whole text is never in memory. The entry says how many pieces there are. Pieces without an entry
//! after them are ignored: the writer died.

use std::sync::Arc;

use secateur_proto::ids::SweepId;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{part::Part, plan_text::is_long, record::Record};
use crate::{
    experiment::plan::{PackedPlan, Packer},
    scheduler::message::Timestamp,
};

/// Version of [`Entry`] as JSON.
pub const JOURNAL_VERSION: u32 = 10;

/// The oldest version that can be read. Versions 2 to 4 have fewer kinds of records and fewer fields, but the same
/// form. Up to 5 a plan is part of its entry, however long; in 6 a long one is a single text. Up to 7 no sweep drains.
/// Up to 8 every sweep is one closed part. Up to 9 no stage is a reference model.
const OLDEST_VERSION: u32 = 2;

/// What happened, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    version: u32,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub record: Record,
}

/// A line that is not an entry or a part of one.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableEntry {
    /// Not the JSON of an entry.
    #[error("cannot parse the journal entry: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by another version.
    #[error(
        "the journal entry has version {found}; this release supports versions {OLDEST_VERSION} to {JOURNAL_VERSION}"
    )]
    Version {
        /// The version in the entry.
        found: u32,
    },
    /// The lines before it are not the pieces of its plan.
    #[error("pieces of the plan of sweep {sweep} are missing before the journal entry")]
    PiecesMissing {
        /// The sweep.
        sweep: SweepId,
    },
}

impl Entry {
    /// Returns an entry of the current version.
    #[must_use]
    pub const fn new(at: Timestamp, record: Record) -> Self {
        Self { version: JOURNAL_VERSION, at, record }
    }

    /// The version in which it was written.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Returns its lines of JSON, each made on demand: the pieces of a long plan, then the entry.
    pub fn into_lines(self) -> impl Iterator<Item = String> + Send {
        let plan = self.plan().filter(|plan| is_long(plan)).map(Arc::clone);
        let count = plan.as_ref().map(|plan| plan.piece_count());
        let (version, at) = (self.version, self.at);
        let pieces = plan.into_iter().flat_map(move |plan| {
            (0..).map_while(move |number| {
                let piece = Piece { sweep: plan.sweep.id.clone(), number, text: plan.piece(number)? };
                Some(written(&PieceLine { version, at, piece }))
            })
        });
        pieces.chain(std::iter::once_with(move || self.line(count)))
    }

    fn line(&self, pieces: Option<usize>) -> String {
        let (version, at) = (self.version, self.at);
        match &self.record {
            Record::Snapshot(part) => written(&SnapshotLine { version, at, pieces, snapshot: part }),
            record => written(&RecordLine { version, at, pieces, record }),
        }
    }

    const fn plan(&self) -> Option<&Arc<PackedPlan>> {
        match &self.record {
            Record::SweepSubmitted { plan, .. } | Record::SweepExtended { part: plan } => Some(plan),
            Record::Snapshot(Part::Sweep(part)) => Some(&part.plan),
            Record::Snapshot(Part::Extension(extension)) => Some(&extension.part),
            _ => None,
        }
    }

    const fn plan_mut(&mut self) -> Option<&mut Arc<PackedPlan>> {
        match &mut self.record {
            Record::SweepSubmitted { plan, .. } | Record::SweepExtended { part: plan } => Some(plan),
            Record::Snapshot(Part::Sweep(part)) => Some(&mut part.plan),
            Record::Snapshot(Part::Extension(extension)) => Some(&mut extension.part),
            _ => None,
        }
    }
}

/// Reads lines in order and assembles entries.
#[derive(Debug, Default)]
pub struct EntryReader {
    /// The pieces that the last lines were, if any.
    pieces: Option<Pieces>,
}

/// The pieces of a plan that were read so far.
#[derive(Debug)]
struct Pieces {
    sweep: SweepId,
    count: usize,
    packer: Packer,
}

impl EntryReader {
    /// The sweep and the number of the pieces that were read, if they still wait for their entry.
    #[must_use]
    pub fn waiting(&self) -> Option<(&SweepId, usize)> {
        self.pieces.as_ref().map(|pieces| (&pieces.sweep, pieces.count))
    }

    /// Reads the next line made by [`Entry::into_lines`]. Returns `None` if it belongs to an entry that follows.
    ///
    /// # Errors
    /// If it is not such a line, has another version, or does not fit the lines before it.
    pub fn read(&mut self, line: &str) -> Result<Option<Entry>, UnreadableEntry> {
        #[derive(Deserialize)]
        struct Header {
            version: u32,
            snapshot: Option<IgnoredAny>,
            piece: Option<IgnoredAny>,
            pieces: Option<usize>,
        }
        let before = self.pieces.take();
        let Header { version, snapshot, piece, pieces } = serde_json::from_str(line)?;
        if !(OLDEST_VERSION..=JOURNAL_VERSION).contains(&version) {
            return Err(UnreadableEntry::Version { found: version });
        }
        if piece.is_some() {
            let PieceLine { piece: Piece { sweep, number, text }, .. } = serde_json::from_str(line)?;
            let mut pieces = match (number, before) {
                (0, _) => Pieces { sweep, count: 0, packer: Packer::default() },
                (_, Some(pieces)) if pieces.sweep == sweep && pieces.count == number => pieces,
                _ => return Err(UnreadableEntry::PiecesMissing { sweep }),
            };
            pieces.packer.read_piece(&text)?;
            pieces.count += 1;
            self.pieces = Some(pieces);
            return Ok(None);
        }
        let mut entry = if snapshot.is_some() {
            let SnapshotLine { version, at, snapshot, .. } = serde_json::from_str(line)?;
            Entry { version, at, record: Record::Snapshot(snapshot) }
        } else {
            let RecordLine { version, at, record, .. } = serde_json::from_str(line)?;
            Entry { version, at, record }
        };
        if let Some(count) = pieces
            && let Some(plan) = entry.plan_mut()
        {
            let sweep = &plan.sweep;
            let Some(pieces) = before.filter(|pieces| pieces.sweep == sweep.id && pieces.count == count) else {
                return Err(UnreadableEntry::PiecesMissing { sweep: sweep.id.clone() });
            };
            *plan = Arc::new(pieces.packer.finish(sweep.clone()));
        }
        Ok(Some(entry))
    }
}

/// Reads the entries of these lines, in order.
pub fn entries(lines: impl IntoIterator<Item: AsRef<str>>) -> impl Iterator<Item = Result<Entry, UnreadableEntry>> {
    let mut reader = EntryReader::default();
    lines.into_iter().filter_map(move |line| reader.read(line.as_ref()).transpose())
}

fn written(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("a line is plain data, and there is no map with keys other than strings")
}

/// An entry as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordLine<R> {
    version: u32,
    at: Timestamp,
    /// The number of lines before it that hold its plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pieces: Option<usize>,
    record: R,
}

/// An entry that is part of a snapshot. It has no inner tag, because serde would parse it twice.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SnapshotLine<P> {
    version: u32,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pieces: Option<usize>,
    snapshot: P,
}

/// One piece of the plan of the entry that follows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PieceLine {
    version: u32,
    at: Timestamp,
    piece: Piece,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    sweep: SweepId,
    number: usize,
    text: String,
}
