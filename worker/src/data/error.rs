//! What can be wrong with a table, told to the person who can mend it.

use std::fmt::Write as _;

/// Why a table, or images, could not become tensors. Every variant is a fault of the file or of what the sweep file says about it, so
/// the same call would fail again.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DataError {
    /// The bytes are packed, and cut short, damaged, or not those of one table.
    #[error("the table cannot be unpacked: {0}")]
    Packed(String),
    /// The reader of comma-separated values gives up.
    #[error("the table cannot be read: {0}")]
    Csv(String),
    /// More text than is read. Guards against a small file that swells to fill the memory.
    #[error("the table is larger than {limit} bytes when decompressed, which is the most that is read")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// A text in another encoding.
    #[error(
        "line {line} is not UTF-8; save the table as UTF-8, or say its encoding: data.format: {{encoding: windows-1252}}"
    )]
    NotUtf8 {
        /// In the file, from 1.
        line: u64,
    },
    /// Text that is not of the encoding that was said, or of none that is known.
    #[error("{0}")]
    Encoding(String),
    /// No text of a table at all.
    #[error("the file is {0}")]
    Foreign(&'static str),
    /// It cannot be told what separates fields.
    #[error("{0}")]
    Separator(String),
    /// A column whose cells cannot be read as one kind.
    #[error("the column {} {problem}", shown(.column))]
    Column {
        /// Its name.
        column: String,
        /// What was found, and what to say of it under `data.columns`.
        problem: String,
    },
    /// Nothing but white space.
    #[error("the table is empty; its first line has to name the columns")]
    Empty,
    /// A header and nothing below it.
    #[error("the table has a header and no rows")]
    NoRows,
    /// More rows than a row number can count.
    #[error("the table has more than {} rows, which is the most that is read", u32::MAX)]
    TooManyRows,
    /// Names that are missing, repeated or far too long.
    #[error("the header (line {line}) cannot be used: {}", .problems.join("; "))]
    Header {
        /// In the file, from 1.
        line: u64,
        /// All that is wrong.
        problems: Vec<String>,
    },
    /// A row with more or fewer fields than the header.
    #[error("line {line} has {found} fields and the header has {expected}{}", .hint.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default())]
    Ragged {
        /// Where the row begins in the file, from 1.
        line: u64,
        /// Fields of the row.
        found: usize,
        /// Fields of the header.
        expected: usize,
        /// What may have happened.
        hint: Option<String>,
    },
    /// A field that no table of numbers and levels holds, most likely the rest of the file after a stray quote.
    #[error(
        "line {line}, column {column:?}: a field of {bytes} bytes, and the most that is read is {limit}; a quote may have been opened and never closed"
    )]
    HugeField {
        /// Where the row begins in the file, from 1.
        line: u64,
        /// Name of the column.
        column: String,
        /// Of the field.
        bytes: usize,
        /// In bytes.
        limit: usize,
    },
    /// The file ends within a quoted field.
    #[error("line {line}: a quote is opened and never closed; the table may be cut short")]
    OpenQuote {
        /// Where the row begins in the file, from 1.
        line: u64,
    },
    /// What is said about the columns does not fit the table: unknown names, or one column in two roles.
    #[error("{}", .0.join("; "))]
    Columns(Vec<String>),
    /// The target is not what the task needs.
    #[error("the target {column:?} {problem}")]
    Target {
        /// Its name.
        column: String,
        /// What was found, and what is needed.
        problem: String,
    },
    /// Several of these.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    All(Vec<DataError>),
    /// The positive class that was said is none.
    #[error("the positive class {} is no value of the target, which has {names}", shown(.positive))]
    Positive {
        /// What was said.
        positive: String,
        /// The values of the target.
        names: String,
    },
    /// Rows cannot be told apart into train, validation and test.
    #[error("the split {0}")]
    Split(String),
    /// A part without both classes has no ranking metric, and a net cannot learn from it.
    #[error(
        "the split leaves a part without both classes: {}; each part needs rows of both classes, so use other shares or another column",
        describe(.0)
    )]
    OneClass([PartCounts; 3]),
    /// Metrics and training need rows of every class in every part.
    #[error("the split leaves a part without a class: {}; each part needs rows of every class", listed(.0))]
    AbsentClass(Vec<String>),
    /// So few rows are to be kept that a class has none.
    #[error("{0}")]
    Rows(String),
    /// Labels that are not what the task needs.
    #[error("the labels {0}")]
    Labels(String),
    /// An idx file that is not what its name says, or that does not belong to the others.
    #[error("{file}: {problem}")]
    Idx {
        /// Its name.
        file: String,
        /// What was found, and what is needed.
        problem: String,
    },
    /// Idx files that are missing or there twice.
    #[error("the folder has to hold four idx files: {}", .0.join("; "))]
    IdxFolder(Vec<String>),
    /// Packed images that are not what [`super::idx::pack`] writes.
    #[error("the packed images cannot be read: {0}")]
    PackedImages(String),
    /// Input columns that cannot be used.
    #[error("{}", .0.join("; "))]
    Inputs(Vec<String>),
    /// A new row does not fit the preparation of the train rows.
    #[error("{0}")]
    NewRow(String),
    /// A file of prepared tensors, or a preparation, that is not what it says.
    #[error("the prepared data cannot be read: {0}")]
    Prepared(String),
}

/// Rows of a part of the data by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartCounts {
    /// `train`, `validation` or `test`.
    pub part: &'static str,
    /// Rows.
    pub rows: usize,
    /// Rows of the positive class.
    pub positives: usize,
}

impl DataError {
    /// All of them, at least one.
    pub(super) fn all(mut problems: Vec<Self>) -> Self {
        if problems.len() == 1 { problems.remove(0) } else { Self::All(problems) }
    }
}

fn describe(parts: &[PartCounts; 3]) -> String {
    let mut text = String::new();
    for PartCounts { part, rows, positives } in parts {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{part} has {rows} rows of which {positives} are positive");
    }
    text
}

/// The first few of a list of sentences, and how many more there are.
fn listed(items: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = items.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if items.len() > SHOWN {
        let _ = write!(text, " and {} more", items.len() - SHOWN);
    }
    text
}

/// Text from a file as an error message shows it: quoted, on one line, and cut when it is long.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    format!("{:?}…", text.chars().take(LONGEST).collect::<String>())
}

/// The first few of a list, and how many more there are.
pub(super) fn some_of<'a>(items: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let more = items.len().saturating_sub(SHOWN);
    let mut text = items.take(SHOWN).map(shown).collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// The name among `known` that `name` was most likely meant to be.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes the product of the lengths, and nobody mistypes a name that long.
    const LONGEST: usize = 200;
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_lowercase();
    let allowed = (lower.chars().count() / 3).max(1);
    known
        .filter(|known| known.len() <= LONGEST)
        .map(|known| (strsim::osa_distance(&lower, &known.to_lowercase()), known))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
