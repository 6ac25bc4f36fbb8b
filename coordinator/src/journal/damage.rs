//! Damage of journals, and its messages. It knows no databases and no meaning of entries.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
};

/// Where a journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// In the database of this URL, which contains no password.
    Server(String),
}

impl Place {
    /// The argument that `secateur journal` takes for it.
    #[must_use]
    pub fn argument(&self) -> String {
        match self {
            Self::File(path) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                folder.unwrap_or_else(|| Path::new(".")).display().to_string()
            }
            Self::Server(url) => url.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(url) => url.fmt(f),
        }
    }
}

/// One place where a journal is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Entries are missing.
    #[error("{} missing", if first == last { format!("entry {first} is") } else { format!("entries {first} to {last} are") })]
    Missing {
        /// The first of them.
        first: i64,
        /// The last of them.
        last: i64,
    },
    /// The checksum is wrong.
    #[error("the checksum of entry {sequence} is wrong: it or the entry before it was altered")]
    Altered {
        /// Which.
        sequence: i64,
    },
    /// The database cannot read any further.
    #[error("cannot read entry {sequence} and those after it: {reason}")]
    Stops {
        /// The first one that cannot be read.
        sequence: i64,
        /// The database's message.
        reason: String,
    },
    /// The line is not an entry.
    #[error("entry {sequence} is invalid: {reason}")]
    NoEntry {
        /// Which.
        sequence: i64,
        /// The reason.
        reason: String,
    },
    /// Another version of the program wrote it.
    #[error("entry {sequence} was written by another version: {reason}")]
    OtherVersion {
        /// Which.
        sequence: i64,
        /// Which version.
        reason: String,
    },
    /// A snapshot is incomplete, and the entries before it were removed.
    #[error("entries {first} to {last} are an incomplete snapshot, and the entries before it are gone")]
    NoBeginning {
        /// Where it begins, or should begin.
        first: i64,
        /// The last entry of it.
        last: i64,
    },
    /// The entry cannot follow the entries before it.
    #[error("entry {sequence} contradicts earlier entries: {reason}")]
    Contradiction {
        /// Which.
        sequence: i64,
        /// Why.
        reason: String,
    },
}

impl Damage {
    /// The first affected entry.
    #[must_use]
    pub const fn sequence(&self) -> i64 {
        match self {
            Self::Missing { first: sequence, .. }
            | Self::NoBeginning { first: sequence, .. }
            | Self::Altered { sequence }
            | Self::Stops { sequence, .. }
            | Self::NoEntry { sequence, .. }
            | Self::OtherVersion { sequence, .. }
            | Self::Contradiction { sequence, .. } => *sequence,
        }
    }
}

/// The error of any database.
pub type DatabaseError = Box<dyn Error + Send + Sync>;

/// Why a journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The journal does not exist.
    #[error("no journal {0}")]
    None(Place),
    /// The disk is full.
    #[error("no space left for the journal {place}: free some space, then run the same command again")]
    Full {
        /// The journal.
        place: Place,
        /// The database's error.
        #[source]
        source: DatabaseError,
    },
    /// Any other error of the database.
    #[error("cannot {operation} the journal {place}")]
    Database {
        /// What was attempted.
        operation: &'static str,
        /// The journal.
        place: Place,
        /// The database's error.
        #[source]
        source: DatabaseError,
    },
    /// A file of something else, or one that cannot be read at all.
    #[error(
        "{place} is not a journal, or is damaged beyond reading; nothing was changed: restore a backup, or move it away and start with an empty journal"
    )]
    Unreadable {
        /// The journal.
        place: Place,
        /// The database's error.
        #[source]
        source: DatabaseError,
    },
    /// A truncated file.
    #[error(
        "the journal {place} is truncated: its last {missing} bytes are missing; nothing was changed: restore a backup, or let `secateur journal repair {}` copy it and recover the rest", place.argument()
    )]
    CutOff {
        /// The journal.
        place: Place,
        /// The number of missing bytes.
        missing: u64,
        /// The database's error.
        #[source]
        source: DatabaseError,
    },
    /// The file is empty or missing, but its log exists.
    #[error(
        "the journal {place} is empty or missing, but its log {place}-wal has {log} bytes; nothing was changed: restore a backup, or let `secateur journal repair {}` copy the log and recover its entries", place.argument()
    )]
    LogAlone {
        /// The journal.
        place: Place,
        /// The size of the log in bytes.
        log: u64,
    },
    /// A database without a journal.
    #[error("the database {0} holds no journal: it is empty or belongs to another program; nothing was changed")]
    Foreign(Place),
    /// A coordinator owns it.
    #[error("the journal {0} is in use by a coordinator or another command: stop it first")]
    InUse(Place),
    /// The database does not use UTF-8.
    #[error(
        "the database of the journal {place} has the encoding {found} (expected UTF8): create one with CREATE DATABASE secateur ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding {
        /// The journal.
        place: Place,
        /// The encoding.
        found: String,
    },
    /// Its tables have a newer format.
    #[error(
        "the journal {place} has format {found}; this release supports formats up to {known}: use the release that wrote it"
    )]
    Newer {
        /// The journal.
        place: Place,
        /// Its format.
        found: i64,
        /// The newest format that this release supports.
        known: i64,
    },
    /// Some entries are damaged.
    #[error("the journal {place} is damaged; nothing was changed: {}; `secateur journal check {}` lists all damage; {advice}", listed(damages), place.argument())]
    Damaged {
        /// The journal.
        place: Place,
        /// All damage, in order.
        damages: Vec<Damage>,
        /// What to do.
        advice: String,
    },
    /// Another process has taken it over.
    #[error(
        "this process no longer owns the journal {0}: another one has taken it over; the current entries were not written"
    )]
    Fenced(Place),
}

/// The first damage, and the number of further ones.
fn listed(damages: &[Damage]) -> String {
    let first = damages.first().map(ToString::to_string).unwrap_or_default();
    match damages.len() {
        0 | 1 => first,
        more => format!("{first} (and {} more)", more - 1),
    }
}

impl JournalError {
    /// Whether freeing disk space helps.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}
