//! What can be wrong with a journal, and how that is said. No databases, and no meaning of entries: their readers say what they find.

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
    /// In the database of a URL, which has no password in it.
    Server(String),
}

impl Place {
    /// What the verbs of `secateur journal` are given to find it.
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
    /// Entries are not there.
    #[error("{} missing", if first == last { format!("entry {first} is") } else { format!("entries {first} to {last} are") })]
    Missing {
        /// The first of them.
        first: i64,
        /// The last of them.
        last: i64,
    },
    /// The checksum is another one.
    #[error("entry {sequence} does not fit its checksum: it was altered, or the entry before it was")]
    Altered {
        /// Which.
        sequence: i64,
    },
    /// The database gives no more.
    #[error("nothing can be read from entry {sequence} on: {reason}")]
    Stops {
        /// The first one that cannot be read.
        sequence: i64,
        /// The database's words.
        reason: String,
    },
    /// What was written is no entry.
    #[error("entry {sequence} is no entry: {reason}")]
    NoEntry {
        /// Which.
        sequence: i64,
        /// Why not.
        reason: String,
    },
    /// Another version of the program wrote it.
    #[error("entry {sequence} is another version's: {reason}")]
    OtherVersion {
        /// Which.
        sequence: i64,
        /// Which version.
        reason: String,
    },
    /// A snapshot is not whole, and what was before it was removed.
    #[error("entries {first} to {last} are not a whole snapshot, and without it nothing is known")]
    NoBeginning {
        /// Where it begins, or should.
        first: i64,
        /// What there is of it ends there.
        last: i64,
    },
    /// It cannot follow the entries before it.
    #[error("entry {sequence} contradicts those before it: {reason}")]
    Contradiction {
        /// Which.
        sequence: i64,
        /// Why.
        reason: String,
    },
}

impl Damage {
    /// The first entry that it is about.
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

/// Any database's error.
pub type DatabaseError = Box<dyn Error + Send + Sync>;

/// Why a journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is none.
    #[error("there is no journal {0}")]
    None(Place),
    /// The disk is full.
    #[error("no space left for the journal {place}: free some, then run the same command again")]
    Full {
        /// Which.
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
        /// Which.
        place: Place,
        /// The database's error.
        #[source]
        source: DatabaseError,
    },
    /// A file of something else, or of which nothing can be read.
    #[error(
        "{place} is no journal, or is so damaged that nothing can be read of it, and was left as it is: put a copy of the journal in its place; or move it away, and begin anew"
    )]
    Unreadable {
        /// Which.
        place: Place,
        /// The database's error.
        #[source]
        source: DatabaseError,
    },
    /// A file that ends before its end.
    #[error(
        "the journal {place} is cut off: its last {missing} bytes are missing, and it was left as it is: put a copy in its place if there is one; or `secateur journal repair {}` copies it and reads what is left", place.argument()
    )]
    CutOff {
        /// Which.
        place: Place,
        /// Bytes.
        missing: u64,
        /// The database's error.
        #[source]
        source: DatabaseError,
    },
    /// A file that is empty or gone, and a log that belonged to it.
    #[error(
        "the journal {place} is empty or gone, and its log, {place}-wal, holds {log} bytes: nothing was changed; put the file back if there is a copy; or `secateur journal repair {}` copies the log and reads what is in it", place.argument()
    )]
    LogAlone {
        /// Which.
        place: Place,
        /// Bytes of the log.
        log: u64,
    },
    /// A database without a journal.
    #[error("{0} is a database that holds no journal: it is empty, or of something else, and was left as it is")]
    Foreign(Place),
    /// A coordinator owns it.
    #[error(
        "the journal {0} is in use by a coordinator or by another command: stop it first, and leave the journal alone until it has ended"
    )]
    InUse(Place),
    /// The database cannot hold every text.
    #[error(
        "the database of the journal {place} has the encoding {found}: make one with UTF8, as in CREATE DATABASE secateur ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding {
        /// Which.
        place: Place,
        /// The encoding.
        found: String,
    },
    /// Its tables are of a later version.
    #[error(
        "the journal {place} is of format {found}, and this secateur knows formats up to {known}: use the one that wrote it"
    )]
    Newer {
        /// Which.
        place: Place,
        /// Its format.
        found: i64,
        /// The last format that is known here.
        known: i64,
    },
    /// Some entry cannot be trusted.
    #[error("the journal {place} is damaged and was left as it is: {}; `secateur journal check {}` says more; {advice}", listed(damages), place.argument())]
    Damaged {
        /// Which.
        place: Place,
        /// All of it, in order.
        damages: Vec<Damage>,
        /// What to do.
        advice: String,
    },
    /// Another process has written to it.
    #[error(
        "the journal {0} is not this process's any more: another one has taken it over; nothing of what was to be written now is in it"
    )]
    Fenced(Place),
}

/// The first, and how many more there are.
fn listed(damages: &[Damage]) -> String {
    let first = damages.first().map(ToString::to_string).unwrap_or_default();
    match damages.len() {
        0 | 1 => first,
        more => format!("{first} (and {} more)", more - 1),
    }
}

impl JournalError {
    /// Whether freeing disk space is what helps.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}
