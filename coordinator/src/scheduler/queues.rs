//! Ready stages in ordered queues: for each sweep, those that may share a bundle.
//!
//! Knows no worker and no policy: whose turn it is and how much a slot gets is decided in [`bundle`](super::bundle).

use std::collections::{BTreeMap, BTreeSet};

use super::stage::{ClassNumber, Elsewhere, Stage, StageNumber, SweepNumber};

/// Which stages may share a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Company {
    /// Nothing: each of them runs alone.
    pub(super) class: Option<ClassNumber>,
    pub(super) width_limit: u32,
    /// The worker on which they failed, which is to have them only if no other is free.
    pub(super) elsewhere: Option<Elsewhere>,
}

/// A queue: the sweep for which its stages run, and whom they may share a bundle with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueKey {
    pub(super) sweep: SweepNumber,
    pub(super) company: Company,
}

impl QueueKey {
    pub(super) const fn of(stage: &Stage) -> Self {
        let company = Company { class: stage.class, width_limit: stage.width_limit, elsewhere: stage.elsewhere };
        Self { sweep: stage.runs_for, company }
    }
}

/// All ready stages.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Sweeps with ready stages.
    sweeps: BTreeMap<SweepNumber, Queues>,
    /// Ready stages by company, over all sweeps. None is 0.
    counts: BTreeMap<Company, usize>,
    /// Whether something was added, or may be taken, since the last dispatch.
    grew: bool,
}

/// The queues of one sweep, each in the order of submission and plan.
#[derive(Debug, Default)]
struct Queues {
    /// None is empty.
    queues: BTreeMap<Company, BTreeSet<StageNumber>>,
    /// The first stage of each queue.
    heads: BTreeSet<(StageNumber, Company)>,
}

impl Queues {
    /// After a change of a queue that began with `before`.
    fn update_head(&mut self, company: Company, before: Option<StageNumber>) {
        let now = self.queues.get(&company).and_then(|queue| queue.first().copied());
        if now == before {
            return;
        }
        if let Some(before) = before {
            self.heads.remove(&(before, company));
        }
        match now {
            Some(now) => _ = self.heads.insert((now, company)),
            None => _ = self.queues.remove(&company),
        }
    }

    fn first(&self, company: Company) -> Option<StageNumber> {
        self.queues.get(&company).and_then(|queue| queue.first().copied())
    }
}

impl Ready {
    pub(super) fn insert(&mut self, key: QueueKey, stage: StageNumber) {
        let queues = self.sweeps.entry(key.sweep).or_default();
        let before = queues.first(key.company);
        if queues.queues.entry(key.company).or_default().insert(stage) {
            *self.counts.entry(key.company).or_default() += 1;
        }
        queues.update_head(key.company, before);
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
        let before = queues.first(key.company);
        let Some(queue) = queues.queues.get_mut(&key.company) else { return };
        let taken = change(queue);
        queues.update_head(key.company, before);
        if queues.queues.is_empty() {
            self.sweeps.remove(&key.sweep);
        }
        if let Some(count) = self.counts.get_mut(&key.company) {
            *count = count.saturating_sub(taken);
            if *count == 0 {
                self.counts.remove(&key.company);
            }
        }
    }

    /// Sweeps with ready stages.
    pub(super) fn sweeps(&self) -> impl Iterator<Item = SweepNumber> {
        self.sweeps.keys().copied()
    }

    /// The queues of a sweep and their first stages, the oldest first.
    pub(super) fn heads(&self, sweep: SweepNumber) -> impl Iterator<Item = (StageNumber, Company)> {
        self.sweeps.get(&sweep).into_iter().flat_map(|queues| queues.heads.iter().copied())
    }

    /// Ready stages of a sweep.
    pub(super) fn count_in(&self, sweep: SweepNumber) -> usize {
        self.sweeps.get(&sweep).map_or(0, |queues| queues.queues.values().map(BTreeSet::len).sum())
    }

    /// Ready stages of a queue.
    pub(super) fn count_of(&self, key: QueueKey) -> usize {
        self.sweeps.get(&key.sweep).and_then(|queues| queues.queues.get(&key.company)).map_or(0, BTreeSet::len)
    }

    /// Ready stages of that company, of whatever sweep.
    pub(super) fn count(&self, company: Company) -> usize {
        self.counts.get(&company).copied().unwrap_or(0)
    }

    /// Whether a stage is ready that failed on some worker.
    pub(super) fn has_failed(&self) -> bool {
        self.counts.keys().any(|company| company.elsewhere.is_some())
    }

    /// Lets the next dispatch look at every worker.
    pub(super) const fn everything_is_new(&mut self) {
        self.grew = true;
    }

    /// Whether there is news since it was last asked.
    pub(super) const fn take_news(&mut self) -> bool {
        std::mem::replace(&mut self.grew, false)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sweeps.is_empty()
    }

    pub(super) fn contains(&self, key: QueueKey, stage: StageNumber) -> bool {
        let queue = self.sweeps.get(&key.sweep).and_then(|queues| queues.queues.get(&key.company));
        queue.is_some_and(|queue| queue.contains(&stage))
    }

    pub(super) fn len(&self) -> usize {
        self.counts.values().sum()
    }

    /// Whether heads and counts are what the queues say.
    pub(super) fn agrees(&self) -> bool {
        let mut counts = BTreeMap::new();
        for (company, queue) in self.sweeps.values().flat_map(|queues| &queues.queues) {
            *counts.entry(*company).or_default() += queue.len();
        }
        counts == self.counts
            && self.sweeps.values().all(|queues| {
                let heads = queues.queues.iter().filter_map(|(company, queue)| Some((*queue.first()?, *company)));
                let heads: BTreeSet<_> = heads.collect();
                !heads.is_empty() && heads == queues.heads && heads.len() == queues.queues.len()
            })
    }
}
