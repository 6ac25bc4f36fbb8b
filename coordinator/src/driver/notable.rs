//! Records that are logged.

use tracing::{debug, warn};

use crate::scheduler::Record;

/// Whether a record is logged.
pub(super) fn is_notable(record: &Record) -> bool {
    matches!(record, Record::AttemptFailed { .. } | Record::Checkpointed { .. })
}

/// Logs a record, which is durable: a person who reads that a checkpoint was recorded may end the process at once.
pub(super) fn say(record: &Record) {
    match record {
        Record::AttemptFailed { stage, lanes, failure, worker, .. } => {
            let worker = worker.as_deref().unwrap_or("?");
            warn!(%stage, lanes, worker, reason = failure.message, "an attempt failed; the stage is retried");
        }
        Record::Checkpointed { stage, checkpoint } => {
            debug!(%stage, epoch = checkpoint.epoch, "a checkpoint was recorded");
        }
        _ => {}
    }
}
