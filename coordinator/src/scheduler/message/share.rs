//! A sweep's share of the workers. `turns` decides whose turn it is.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// A sweep's share of the workers. It decides when stages run and does not affect results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Sweeps of higher priority are served first. Default: 0.
    pub priority: i32,
    /// The maximum number of workers at a time, or `None` for no limit.
    pub max_workers: Option<NonZeroU32>,
    /// Whether the sweep is draining: no more of its stages are leased, and it is cancelled once the leased ones have
    /// ended. Absent before journal version 8.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drains: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
pub(in crate::scheduler) const fn is_false(value: &bool) -> bool {
    !*value
}

/// A change of a share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShareChange {
    /// `None`: unchanged.
    pub priority: Option<i32>,
    /// `None`: unchanged; 0: no limit.
    pub max_workers: Option<u32>,
}

impl ShareChange {
    /// Applies the change to a share.
    #[must_use]
    pub fn of(self, share: Share) -> Share {
        Share {
            priority: self.priority.unwrap_or(share.priority),
            max_workers: self.max_workers.map_or(share.max_workers, NonZeroU32::new),
            drains: share.drains,
        }
    }
}
