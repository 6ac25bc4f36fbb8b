//! Why no stage is leased at all: a life has just begun and workers may come back, or the disk is full. Not durable.

use super::{message::Timestamp, numbers::StageNumber};

/// A full disk is reported again within seconds. Without a report for this long there is space, or the worker is gone.
const SAID_AGAIN_MS: u64 = 15_000;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// When this life began, while it waits for workers.
    waiting_since: Option<Timestamp>,
    full: Option<Full>,
}

/// The coordinator has no space for results.
#[derive(Debug, Clone, Copy)]
struct Full {
    /// When this was last reported.
    since: Timestamp,
    /// The stage whose result waits, or `None` if the coordinator found its own disk full.
    stage: Option<StageNumber>,
    /// Bytes of the largest file that did not fit.
    wanted: u64,
}

impl Hold {
    /// A life begins. It waits for workers if they may hold leases of an earlier life.
    pub(super) fn begin(now: Timestamp, waits: bool) -> Self {
        Self { waiting_since: waits.then_some(now), full: None }
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// Ends the wait for workers after `limit` ms. Returns whether it did.
    pub(super) fn ends_wait(&mut self, now: Timestamp, limit: u64) -> bool {
        let Some(since) = self.waiting_since else { return false };
        // If the clock was set back, the duration is unknown.
        let is_over = now < since || now.since(since) >= limit;
        if is_over {
            self.waiting_since = None;
        }
        is_over
    }

    pub(super) const fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Bytes of the largest file that did not fit.
    pub(super) fn wanted(&self) -> u64 {
        self.full.map_or(0, |full| full.wanted)
    }

    /// Notes that there is no space, for the result of `stage` or in general. Returns whether this is new.
    pub(super) fn fills_up(&mut self, now: Timestamp, stage: Option<StageNumber>, bytes: u64) -> bool {
        let wanted = bytes.max(self.wanted());
        self.full.replace(Full { since: now, stage, wanted }).is_none()
    }

    /// Whether the coordinator found its own disk full.
    pub(super) const fn is_found_full(&self) -> bool {
        matches!(self.full, Some(Full { stage: None, .. }))
    }

    /// Whether the waiting result has arrived, or is no longer reported.
    pub(super) fn is_over(&self, now: Timestamp, has_ended: impl Fn(StageNumber) -> bool) -> bool {
        let Some(Full { since, stage, .. }) = self.full else { return false };
        stage.is_some_and(has_ended) || now.since(since) > SAID_AGAIN_MS
    }

    pub(super) const fn has_room(&mut self) {
        self.full = None;
    }

    /// Corrects the time after a change of the clock.
    pub(super) fn correct_times(&mut self, right: impl Fn(Timestamp) -> Timestamp) {
        if let Some(full) = &mut self.full {
            full.since = right(full.since);
        }
    }
}
