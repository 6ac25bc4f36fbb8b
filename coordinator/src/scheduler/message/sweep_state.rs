//! Where a sweep is.

use serde::{Deserialize, Serialize};

/// Where a sweep is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SweepState {
    /// Some trial is open and being worked for.
    Running,
    /// All trials have ended, each in its own way.
    Completed,
    /// Given up by a person; submit it again to go on.
    Cancelled,
    /// Stopped from outside; submit it again to go on.
    Stopped {
        /// For a person.
        reason: String,
    },
}

impl SweepState {
    /// The name in messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Stopped { .. } => "stopped",
        }
    }
}
