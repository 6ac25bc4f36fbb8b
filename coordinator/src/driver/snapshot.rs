//! A snapshot, from the core into the journal. It knows nothing of when one is due.

use crate::{
    journal::{Journal, JournalError},
    scheduler::{Snapshot, Timestamp},
    threads::on_a_thread,
};

/// Writes a snapshot, some lines after the other, and removes what is before it; until then it is one without an end. Says how many
/// lines it has; nothing, if the runtime ended before it was whole.
pub(super) async fn write(
    journal: &mut dyn Journal,
    snapshot: Snapshot,
    now: Timestamp,
) -> Result<Option<i64>, JournalError> {
    let first = journal.next();
    let mut parts = snapshot.parts(now);
    loop {
        let encoded = on_a_thread(move || {
            let part = parts.next();
            (parts, part)
        });
        let part;
        (parts, part) = match encoded.await {
            Ok(encoded) => encoded,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // This task ends with it.
            Err(_) => return Ok(None),
        };
        match part {
            Some(lines) => journal.append(&lines).await?,
            None => break,
        }
    }
    journal.begin_at(first).await?;
    Ok(Some(journal.next() - first))
}
