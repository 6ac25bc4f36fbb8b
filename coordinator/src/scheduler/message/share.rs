//! What part of the workers a sweep may have. Whose turn it is by that, is decided in `turns`.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// What part of the workers a sweep may have. Decides when its stages run, if they do, and nothing of their results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Sweeps of a higher one go first; 0 unless a person says otherwise.
    pub priority: i32,
    /// So many workers at a time; nothing: all there are.
    pub max_workers: Option<NonZeroU32>,
    /// It gets nothing more, and is given up once what is under way for it has ended. Unknown of journals before version 8.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drains: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
pub(in crate::scheduler) const fn is_false(value: &bool) -> bool {
    !*value
}

/// What a person wants to be different.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShareChange {
    /// Nothing: as it is.
    pub priority: Option<i32>,
    /// Nothing: as it is; 0: no limit.
    pub max_workers: Option<u32>,
}

impl ShareChange {
    /// The share that comes of it.
    #[must_use]
    pub fn of(self, share: Share) -> Share {
        Share {
            priority: self.priority.unwrap_or(share.priority),
            max_workers: self.max_workers.map_or(share.max_workers, NonZeroU32::new),
            drains: share.drains,
        }
    }
}
