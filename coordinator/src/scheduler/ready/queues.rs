//! Queues of ready stages: for each sweep and each kind of bundle, in order.
//!
//! It knows no policy. Other parts decide whose turn it is and how much a slot gets.

use std::collections::{BTreeMap, BTreeSet};

use crate::scheduler::numbers::{ClassNumber, StageNumber, SweepNumber, WorkerNumber};

/// The worker on which a stage failed last. The stage is retried there only in that round or later, and only if no
/// other worker is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::scheduler) struct AvoidedWorker {
    pub(in crate::scheduler) worker: WorkerNumber,
    pub(in crate::scheduler) round: u32,
}

/// Stages with equal bundle keys may share a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::scheduler) struct BundleKey {
    /// `None` if each of them runs alone.
    pub(in crate::scheduler) class: Option<ClassNumber>,
    pub(in crate::scheduler) width_limit: u32,
    pub(in crate::scheduler) avoids: Option<AvoidedWorker>,
}

/// A queue: the sweep for which its stages run, and their bundle key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::scheduler) struct QueueKey {
    pub(in crate::scheduler) sweep: SweepNumber,
    pub(in crate::scheduler) lanes: BundleKey,
}

/// All ready stages.
#[derive(Debug, Default)]
pub(in crate::scheduler) struct Queues {
    /// Sweeps with ready stages.
    sweeps: BTreeMap<SweepNumber, SweepQueues>,
    /// The number of ready stages by bundle key, over all sweeps. Never 0.
    counts: BTreeMap<BundleKey, usize>,
    /// Whether stages were added or became available since the last dispatch.
    grew: bool,
}

/// The queues of one sweep, each in the order of submission and plan.
#[derive(Debug, Default)]
struct SweepQueues {
    /// Never empty.
    queues: BTreeMap<BundleKey, BTreeSet<StageNumber>>,
    /// The first stage of each queue.
    heads: BTreeSet<(StageNumber, BundleKey)>,
}

impl SweepQueues {
    /// Updates the head after a change of a queue that began with `before`.
    fn update_head(&mut self, lanes: BundleKey, before: Option<StageNumber>) {
        let now = self.queues.get(&lanes).and_then(|queue| queue.first().copied());
        if now == before {
            return;
        }
        if let Some(before) = before {
            self.heads.remove(&(before, lanes));
        }
        match now {
            Some(now) => _ = self.heads.insert((now, lanes)),
            None => _ = self.queues.remove(&lanes),
        }
    }

    fn first(&self, lanes: BundleKey) -> Option<StageNumber> {
        self.queues.get(&lanes).and_then(|queue| queue.first().copied())
    }
}

impl Queues {
    pub(super) fn insert(&mut self, key: QueueKey, stage: StageNumber) {
        let queues = self.sweeps.entry(key.sweep).or_default();
        let before = queues.first(key.lanes);
        if queues.queues.entry(key.lanes).or_default().insert(stage) {
            *self.counts.entry(key.lanes).or_default() += 1;
        }
        queues.update_head(key.lanes, before);
        self.grew = true;
    }

    pub(super) fn remove(&mut self, key: QueueKey, stage: StageNumber) {
        self.change(key, |queue| usize::from(queue.remove(&stage)));
    }

    /// Takes the first `count` stages of a queue, or all.
    pub(super) fn take(&mut self, key: QueueKey, count: u32) -> Vec<StageNumber> {
        let mut taken = vec![];
        self.change(key, |queue| {
            taken.extend((0..count).map_while(|_| queue.pop_first()));
            taken.len()
        });
        taken
    }

    /// Calls `change` to take stages from a queue; it returns how many it took.
    fn change(&mut self, key: QueueKey, change: impl FnOnce(&mut BTreeSet<StageNumber>) -> usize) {
        let Some(queues) = self.sweeps.get_mut(&key.sweep) else { return };
        let before = queues.first(key.lanes);
        let Some(queue) = queues.queues.get_mut(&key.lanes) else { return };
        let taken = change(queue);
        queues.update_head(key.lanes, before);
        if queues.queues.is_empty() {
            self.sweeps.remove(&key.sweep);
        }
        if let Some(count) = self.counts.get_mut(&key.lanes) {
            *count = count.saturating_sub(taken);
            if *count == 0 {
                self.counts.remove(&key.lanes);
            }
        }
    }

    /// Sweeps with ready stages.
    pub(in crate::scheduler) fn sweeps(&self) -> impl Iterator<Item = SweepNumber> {
        self.sweeps.keys().copied()
    }

    /// The queues of a sweep and their first stages, the oldest first.
    pub(in crate::scheduler) fn heads(&self, sweep: SweepNumber) -> impl Iterator<Item = (StageNumber, BundleKey)> {
        self.sweeps.get(&sweep).into_iter().flat_map(|queues| queues.heads.iter().copied())
    }

    /// Ready stages of a sweep.
    pub(in crate::scheduler) fn count_in(&self, sweep: SweepNumber) -> usize {
        self.sweeps.get(&sweep).map_or(0, |queues| queues.queues.values().map(BTreeSet::len).sum())
    }

    /// Ready stages of a queue.
    pub(in crate::scheduler) fn count_of(&self, key: QueueKey) -> usize {
        self.sweeps.get(&key.sweep).and_then(|queues| queues.queues.get(&key.lanes)).map_or(0, BTreeSet::len)
    }

    /// The number of ready stages with this bundle key, over all sweeps.
    pub(in crate::scheduler) fn count(&self, lanes: BundleKey) -> usize {
        self.counts.get(&lanes).copied().unwrap_or(0)
    }

    /// The number of ready stages that run in bundles, and of those that run alone.
    pub(in crate::scheduler) fn count_by_kind(&self) -> (usize, usize) {
        self.counts.iter().fold((0, 0), |(bundled, alone), (lanes, count)| match lanes.class {
            Some(_) => (bundled + count, alone),
            None => (bundled, alone + count),
        })
    }

    /// Whether a ready stage failed on a worker before.
    pub(in crate::scheduler) fn has_failed(&self) -> bool {
        self.counts.keys().any(|lanes| lanes.avoids.is_some())
    }

    /// Makes the next dispatch look at every worker.
    pub(super) const fn look_again(&mut self) {
        self.grew = true;
    }

    /// Whether anything changed since the last call.
    pub(super) const fn take_news(&mut self) -> bool {
        std::mem::replace(&mut self.grew, false)
    }

    pub(in crate::scheduler) fn is_empty(&self) -> bool {
        self.sweeps.is_empty()
    }

    pub(super) fn contains(&self, key: QueueKey, stage: StageNumber) -> bool {
        let queue = self.sweeps.get(&key.sweep).and_then(|queues| queues.queues.get(&key.lanes));
        queue.is_some_and(|queue| queue.contains(&stage))
    }

    pub(super) fn len(&self) -> usize {
        self.counts.values().sum()
    }

    /// Whether heads and counts agree with the queues.
    pub(super) fn agrees(&self) -> bool {
        let mut counts = BTreeMap::new();
        for (lanes, queue) in self.sweeps.values().flat_map(|queues| &queues.queues) {
            *counts.entry(*lanes).or_default() += queue.len();
        }
        counts == self.counts
            && self.sweeps.values().all(|queues| {
                let heads = queues.queues.iter().filter_map(|(lanes, queue)| Some((*queue.first()?, *lanes)));
                let heads: BTreeSet<_> = heads.collect();
                !heads.is_empty() && heads == queues.heads && heads.len() == queues.queues.len()
            })
    }
}
