//! A snapshot, from the core into the journal. It knows nothing of when one is due.

use crate::{
    journal::{Journal, JournalError},
    scheduler::{Core, Timestamp},
};

/// Writes a snapshot, some lines after the other, and removes what is before it; until then it is one without an end. Says how many
/// lines it has. The lines are made here, on the driver's own thread, so that the core need not be copied: that of a long plan takes the
/// longest, as it did when the plan was submitted.
pub(super) async fn write(journal: &mut dyn Journal, core: &Core, now: Timestamp) -> Result<i64, JournalError> {
    let first = journal.next();
    let snapshot = core.snapshot();
    for lines in snapshot.parts(now) {
        journal.append(lines).await?;
    }
    journal.begin_at(first).await?;
    Ok(journal.next() - first)
}
