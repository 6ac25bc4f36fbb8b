//! Ready stages in ordered queues: for each sweep, those that may share a bundle.
//!
//! Knows no policy: whose turn it is and how much a slot gets is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::scheduler::numbers::{ClassNumber, StageNumber, SweepNumber, WorkerNumber};

/// The worker on which a stage failed last. It is tried there again only if no other worker is free, and not before that one's round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::scheduler) struct AvoidedWorker {
    pub(in crate::scheduler) worker: WorkerNumber,
    pub(in crate::scheduler) round: u32,
}

/// Which stages may share a bundle: those with the same of all this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::scheduler) struct BundleKey {
    /// `None`: each of them runs alone.
    pub(in crate::scheduler) class: Option<ClassNumber>,
    pub(in crate::scheduler) width_limit: u32,
    pub(in crate::scheduler) avoids: Option<AvoidedWorker>,
}

/// A queue: the sweep for which its stages run, and what they may share a bundle with.
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
    /// Ready stages by what they may share a bundle with, over all sweeps. None is 0.
    counts: BTreeMap<BundleKey, usize>,
    /// Whether something was added, or may be taken, since the last dispatch.
    grew: bool,
}

/// The queues of one sweep, each in the order of submission and plan.
#[derive(Debug, Default)]
struct SweepQueues {
    /// None is empty.
    queues: BTreeMap<BundleKey, BTreeSet<StageNumber>>,
    /// The first stage of each queue.
    heads: BTreeSet<(StageNumber, BundleKey)>,
}

impl SweepQueues {
    /// After a change of a queue that began with `before`.
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

    /// Lets `change` take stages from a queue and say how many it took.
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

    /// Ready stages that may share a bundle, of whatever sweep.
    pub(in crate::scheduler) fn count(&self, lanes: BundleKey) -> usize {
        self.counts.get(&lanes).copied().unwrap_or(0)
    }

    /// Whether a stage is ready that failed on some worker.
    pub(in crate::scheduler) fn has_failed(&self) -> bool {
        self.counts.keys().any(|lanes| lanes.avoids.is_some())
    }

    /// Lets the next dispatch look at every worker.
    pub(super) const fn look_again(&mut self) {
        self.grew = true;
    }

    /// Whether there is news since it was last asked.
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

    /// Whether heads and counts are what the queues say.
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
