//! Writes snapshots from the core into the journal. The caller decides when one is due.

use crate::{
    journal::{Journal, JournalError},
    scheduler::{Core, Timestamp},
};

/// Writes a snapshot in batches of lines, then removes the lines before it. Until then it is an incomplete snapshot,
/// which a replay ignores. Returns the number of lines. The lines are made on the driver's own thread, so that the core
/// need not be copied. A long plan takes most of the time, as it did when it was submitted.
pub(super) async fn write(journal: &mut dyn Journal, core: &Core, now: Timestamp) -> Result<i64, JournalError> {
    let first = journal.next();
    let snapshot = core.snapshot();
    for lines in snapshot.parts(now) {
        journal.append(lines).await?;
    }
    journal.begin_at(first).await?;
    Ok(journal.next() - first)
}
