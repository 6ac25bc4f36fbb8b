//! What the children of a stage inherit of its end.

use secateur_proto::{
    ids::StageKey,
    outcome::{Failure, FailureClass, StageOutcome},
};

/// Returns how a child of a stage that ended as `parent` ends with it; `None` if the parent completed.
pub(super) fn inherited(key: StageKey, parent: &StageOutcome) -> Option<StageOutcome> {
    let upstream = |message| Some(StageOutcome::Failed(Failure::new(FailureClass::Upstream, message)));
    match parent {
        StageOutcome::Completed(_) => None,
        // The net that this stage would have worked on has diverged or collapsed: that is what is to be said of the trial.
        StageOutcome::Diverged { .. } | StageOutcome::Collapsed { .. } => Some(parent.clone()),
        // The first failure is named all the way down.
        StageOutcome::Failed(failure) if failure.class == FailureClass::Upstream => upstream(failure.message.clone()),
        StageOutcome::Failed(failure) => {
            upstream(format!("stage {}, which this one reads, failed: {}", key.0.short(12), failure.message))
        }
        StageOutcome::Cancelled => upstream(format!("stage {}, which this one reads, was cancelled", key.0.short(12))),
    }
}
