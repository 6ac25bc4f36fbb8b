//! How bundles fared on a worker. One on which one bundle after the other fails, or whose disk is full, is quarantined; what failed on a
//! worker is tried there again after a pause alone.
//!
//! A stage that kills whoever runs it must not bring its workers into disrepute: failures count only while the bundles that failed have
//! no stage in common.

use std::{collections::BTreeSet, num::NonZeroU32};

use crate::scheduler::{message::Timestamp, numbers::StageNumber};

/// So often the pause of a worker doubles.
const MAX_DOUBLINGS: u32 = 6;

/// See the [module](self).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::scheduler) struct Health {
    /// Bundles in a row that failed.
    faults: u32,
    /// Their stages.
    stages: BTreeSet<StageNumber>,
    /// What the last of them failed with.
    last: Option<String>,
    quarantined_since: Option<Timestamp>,
    /// Whether that is since its disk is full.
    is_full: bool,
    /// When the first failure of this round was, if there was one.
    rests_since: Option<Timestamp>,
    /// Rounds that ended, each so long after its first failure: what failed in one is tried again in the next.
    round: u32,
    /// Of them in a row without anything that completed.
    in_a_row: u32,
}

impl Health {
    pub(in crate::scheduler) const fn is_quarantined(&self) -> bool {
        self.quarantined_since.is_some()
    }

    /// Why it is quarantined, if it is.
    pub(in crate::scheduler) fn quarantined(&self) -> Option<String> {
        let last = self.last.as_deref().unwrap_or("unknown reason");
        self.is_quarantined().then(|| match self.faults {
            _ if self.is_full => format!("its disk is full: {last}"),
            0 => format!("it cannot run a stage: {last}"),
            1 => format!("a bundle failed on it: {last}"),
            faults => format!("{faults} bundles in a row failed on it, most recently: {last}"),
        })
    }

    /// Whether what failed on it is not to be tried on it yet.
    pub(in crate::scheduler) const fn rests(&self) -> bool {
        self.rests_since.is_some()
    }

    /// Which round it is.
    pub(in crate::scheduler) const fn round(&self) -> u32 {
        self.round
    }

    /// Something failed on it. Returns the round in which that is tried on it again.
    pub(super) fn rest(&mut self, now: Timestamp) -> u32 {
        self.rests_since.get_or_insert(now);
        self.round.saturating_add(1)
    }

    /// Ends the round if it has rested for long enough after what failed first. Returns whether it did.
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

    /// A bundle of these stages failed on it. Returns whether that was one too many.
    pub(super) fn add_fault(&mut self, stages: &[StageNumber], message: &str, limit: NonZeroU32) -> bool {
        let is_another = stages.iter().all(|stage| !self.stages.contains(stage));
        self.stages.extend(stages);
        self.last = Some(message.to_owned());
        self.faults += u32::from(is_another);
        is_another && self.faults >= limit.get()
    }

    /// Returns why it is quarantined now, if it was not before.
    pub(super) fn quarantine(&mut self, now: Timestamp, is_full: bool, message: &str) -> Option<String> {
        if self.is_quarantined() {
            return None;
        }
        self.quarantined_since = Some(now);
        self.is_full = is_full;
        self.last = Some(message.to_owned());
        self.quarantined()
    }

    /// Ends the quarantine after so long: one more failure, and it begins again. Returns whether it did.
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

    /// Ends the quarantine of a worker whose disk was full. Returns whether it did.
    pub(super) fn has_room_again(&mut self) -> bool {
        let was_full = std::mem::take(&mut self.is_full);
        if was_full {
            self.quarantined_since = None;
        }
        was_full
    }

    /// A stage completed: it is well. Returns whether that is news.
    pub(super) fn completed(&mut self) -> bool {
        let well = Self { rests_since: self.rests_since, round: self.round, ..Self::default() };
        let is_news = *self != well;
        if is_news {
            *self = well;
        }
        is_news
    }

    /// Puts right when things began.
    pub(super) fn correct_times(&mut self, right: impl Fn(Timestamp) -> Timestamp) {
        self.quarantined_since = self.quarantined_since.map(&right);
        self.rests_since = self.rests_since.map(&right);
    }
}
