//! The health of a worker: how its bundles ended. A worker is quarantined if consecutive bundles fail on it, or if its
//! disk is full. A stage that failed on a worker is retried there only after a pause.
//!
//! A stage that crashes every executor must not get its workers quarantined. So failures count only if the failed
//! bundles have no stage in common.

use std::{collections::BTreeSet, num::NonZeroU32};

use crate::scheduler::{message::Timestamp, numbers::StageNumber};

/// How often the pause of a worker doubles at most.
const MAX_DOUBLINGS: u32 = 6;

/// See the [module](self).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::scheduler) struct Health {
    /// Consecutive bundles that failed.
    faults: u32,
    /// The stages of those bundles.
    stages: BTreeSet<StageNumber>,
    /// The message of the last failure.
    last: Option<String>,
    quarantined_since: Option<Timestamp>,
    /// Whether it is quarantined because its disk is full.
    is_full: bool,
    /// When something first failed in this round.
    rests_since: Option<Timestamp>,
    /// The number of completed rounds. A stage that failed in one round is retried in the next.
    round: u32,
    /// Consecutive rounds without a completed stage.
    in_a_row: u32,
}

impl Health {
    pub(in crate::scheduler) const fn is_quarantined(&self) -> bool {
        self.quarantined_since.is_some()
    }

    /// Returns why it is quarantined, or `None` if it is not.
    pub(in crate::scheduler) fn quarantined(&self) -> Option<String> {
        let last = self.last.as_deref().unwrap_or("unknown reason");
        self.is_quarantined().then(|| match self.faults {
            _ if self.is_full => format!("its disk is full: {last}"),
            0 => format!("it cannot run a stage: {last}"),
            1 => format!("a bundle failed on it: {last}"),
            faults => format!("{faults} consecutive bundles failed on it, most recently: {last}"),
        })
    }

    /// Whether stages that failed on it must still wait before they are retried on it.
    pub(in crate::scheduler) const fn rests(&self) -> bool {
        self.rests_since.is_some()
    }

    /// The number of the current round.
    pub(in crate::scheduler) const fn round(&self) -> u32 {
        self.round
    }

    /// Notes that a stage failed on it. Returns the round in which it is retried there.
    pub(super) fn rest(&mut self, now: Timestamp) -> u32 {
        self.rests_since.get_or_insert(now);
        self.round.saturating_add(1)
    }

    /// Ends the round if the pause since its first failure is over. Returns whether it did.
    pub(super) fn ends_round(&mut self, now: Timestamp, pause: u64) -> bool {
        let doublings = self.in_a_row.min(MAX_DOUBLINGS);
        let has_rested = self.rests_since.is_some_and(|since| now.since(since) >= pause << doublings);
        if has_rested {
            self.rests_since = None;
            self.round = self.round.saturating_add(1);
            self.in_a_row = self.in_a_row.saturating_add(1);
        }
        has_rested
    }

    /// Notes that a bundle of these stages failed on it. Returns whether the limit is reached.
    pub(super) fn add_fault(&mut self, stages: &[StageNumber], message: &str, limit: NonZeroU32) -> bool {
        let is_another = stages.iter().all(|stage| !self.stages.contains(stage));
        self.stages.extend(stages);
        self.last = Some(message.to_owned());
        self.faults += u32::from(is_another);
        is_another && self.faults >= limit.get()
    }

    /// Quarantines it. Returns the reason, or `None` if it was quarantined already.
    pub(super) fn quarantine(&mut self, now: Timestamp, is_full: bool, message: &str) -> Option<String> {
        if self.is_quarantined() {
            return None;
        }
        self.quarantined_since = Some(now);
        self.is_full = is_full;
        self.last = Some(message.to_owned());
        self.quarantined()
    }

    /// Ends the quarantine after `limit` ms; a single further failure starts it again. Returns whether it did.
    pub(super) fn ends_quarantine(&mut self, now: Timestamp, limit: u64) -> bool {
        let is_over = self.quarantined_since.is_some_and(|since| now.since(since) > limit);
        if is_over {
            self.quarantined_since = None;
            self.is_full = false;
            self.faults = self.faults.saturating_sub(1);
            self.stages.clear();
        }
        is_over
    }

    /// Ends the quarantine because a person says so: what failed before does not count any more. Returns whether it did.
    pub(super) fn lift_quarantine(&mut self) -> bool {
        let was_quarantined = self.quarantined_since.take().is_some();
        if was_quarantined {
            self.is_full = false;
            self.faults = 0;
            self.stages.clear();
        }
        was_quarantined
    }

    /// Ends the quarantine of a worker whose disk was full. Returns whether it did.
    pub(super) fn has_room_again(&mut self) -> bool {
        let was_full = std::mem::take(&mut self.is_full);
        if was_full {
            self.quarantined_since = None;
        }
        was_full
    }

    /// A stage completed, so the worker is healthy. Returns whether anything changed.
    pub(super) fn completed(&mut self) -> bool {
        let well = Self { rests_since: self.rests_since, round: self.round, ..Self::default() };
        let is_news = *self != well;
        if is_news {
            *self = well;
        }
        is_news
    }

    /// Corrects all times after a change of the clock.
    pub(super) fn correct_times(&mut self, right: impl Fn(Timestamp) -> Timestamp) {
        self.quarantined_since = self.quarantined_since.map(&right);
        self.rests_since = self.rests_since.map(&right);
    }
}
