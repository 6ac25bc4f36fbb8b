//! The journal's vocabulary: what is durable, as data and as lines of text. The shell stores the lines.

mod entry;
mod failures;
mod part;
mod plan_text;
mod record;

pub use self::{
    entry::{Entry, EntryReader, JOURNAL_VERSION, UnreadableEntry, entries},
    failures::{AttemptId, FailedAttempt},
    part::Part,
    record::Record,
};
pub(super) use self::{
    failures::FailureHistory,
    part::{Counts, ExtensionPart, StagePart, SweepPart},
};
