//! The state of a sweep.

use serde::{Deserialize, Serialize};

/// The state of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SweepState {
    /// Some trial is open.
    Running,
    /// All trials have ended, each in its own way.
    Completed,
    /// Cancelled by a person. Submit it again to resume.
    Cancelled,
    /// Stopped from outside. Submit it again to resume.
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
