//! Records that a person is told of.

use tracing::{debug, warn};

use crate::scheduler::Record;

/// Whether a person is told of a record.
pub(super) fn is_notable(record: &Record) -> bool {
    matches!(record, Record::AttemptFailed { .. } | Record::Checkpointed { .. })
}

/// Tells a person of a record, which is durable: who reads that a stage can be gone on with may end this process at once.
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
