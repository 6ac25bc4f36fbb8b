//! Why nothing is handed out at all: a life has just begun and workers may come back, or there is no room for results. Not durable.

use super::{message::Timestamp, numbers::StageNumber};

/// What is full is said again within seconds. What was not for longer has room, or its worker is gone.
const SAID_AGAIN_MS: u64 = 15_000;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// When this life began, while workers are waited for.
    waiting_since: Option<Timestamp>,
    full: Option<Full>,
}

/// That the coordinator has no room for results.
#[derive(Debug, Clone, Copy)]
struct Full {
    /// When that was last so.
    since: Timestamp,
    /// Whose result was said to wait; `None` where the coordinator found out itself.
    stage: Option<StageNumber>,
    /// Bytes of the largest file that found none.
    wanted: u64,
}

impl Hold {
    /// A life begins. If workers may hold what an earlier one gave out, they are waited for.
    pub(super) fn begin(now: Timestamp, waits: bool) -> Self {
        Self { waiting_since: waits.then_some(now), full: None }
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// Ends the wait for workers after so long. Returns whether it did.
    pub(super) fn ends_wait(&mut self, now: Timestamp, limit: u64) -> bool {
        let Some(since) = self.waiting_since else { return false };
        // A clock that was set back says nothing of how long it was.
        let is_over = now < since || now.since(since) >= limit;
        if is_over {
            self.waiting_since = None;
        }
        is_over
    }

    pub(super) const fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Bytes of the largest file that was said to find no room.
    pub(super) fn wanted(&self) -> u64 {
        self.full.map_or(0, |full| full.wanted)
    }

    /// There is no room, for the result of that stage or at all. Returns whether that is news.
    pub(super) fn fills_up(&mut self, now: Timestamp, stage: Option<StageNumber>, bytes: u64) -> bool {
        let wanted = bytes.max(self.wanted());
        self.full.replace(Full { since: now, stage, wanted }).is_none()
    }

    /// Whether it was found to be full when its disk was looked at.
    pub(super) const fn is_found_full(&self) -> bool {
        matches!(self.full, Some(Full { stage: None, .. }))
    }

    /// Whether the result that was said to wait has come, or is not said to wait any more.
    pub(super) fn is_over(&self, now: Timestamp, has_ended: impl Fn(StageNumber) -> bool) -> bool {
        let Some(Full { since, stage, .. }) = self.full else { return false };
        stage.is_some_and(has_ended) || now.since(since) > SAID_AGAIN_MS
    }

    pub(super) const fn has_room(&mut self) {
        self.full = None;
    }

    /// Puts right when it filled up.
    pub(super) fn correct_times(&mut self, right: impl Fn(Timestamp) -> Timestamp) {
        if let Some(full) = &mut self.full {
            full.since = right(full.since);
        }
    }
}
