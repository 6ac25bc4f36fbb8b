//! What the fleet does for each sweep: leases and workers that are out for it, and what it has computed in this life.

use std::collections::BTreeMap;

use super::lease::Lease;
use crate::scheduler::numbers::{SweepNumber, WorkerNumber};

/// Of one sweep.
#[derive(Debug, Default)]
pub(in crate::scheduler) struct Load {
    /// Leases that are out with stages that run for it.
    pub(super) leases: u64,
    /// The workers that have them, and how many.
    pub(super) workers: BTreeMap<WorkerNumber, u64>,
    /// So many leases had been given out when it was last its turn.
    pub(super) last_turn: u64,
    /// Of its stages, so many have completed in this life.
    pub(super) completed: u64,
}

impl Load {
    pub(in crate::scheduler) const fn leases(&self) -> u64 {
        self.leases
    }

    pub(in crate::scheduler) fn workers(&self) -> usize {
        self.workers.len()
    }

    pub(in crate::scheduler) fn has(&self, worker: WorkerNumber) -> bool {
        self.workers.contains_key(&worker)
    }

    pub(in crate::scheduler) const fn last_turn(&self) -> u64 {
        self.last_turn
    }

    pub(in crate::scheduler) const fn completed(&self) -> u64 {
        self.completed
    }
}

/// Of all sweeps.
#[derive(Debug, Default)]
pub(super) struct Loads(BTreeMap<SweepNumber, Load>);

impl Loads {
    pub(super) fn get(&self, sweep: SweepNumber) -> Option<&Load> {
        self.0.get(&sweep)
    }

    pub(super) fn of(&mut self, sweep: SweepNumber) -> &mut Load {
        self.0.entry(sweep).or_default()
    }

    /// A lease is out.
    pub(super) fn add(&mut self, lease: &Lease) {
        for sweep in &lease.sweeps {
            let load = self.of(*sweep);
            load.leases += 1;
            *load.workers.entry(lease.worker).or_default() += 1;
        }
    }

    /// A lease is over, or goes to another worker. Returns the sweeps for which its worker has no other one.
    pub(super) fn remove(&mut self, lease: &Lease) -> Vec<SweepNumber> {
        let mut left = vec![];
        for sweep in &lease.sweeps {
            let load = self.of(*sweep);
            load.leases = load.leases.saturating_sub(1);
            let Some(leases) = load.workers.get_mut(&lease.worker) else { continue };
            *leases -= 1;
            if *leases == 0 {
                load.workers.remove(&lease.worker);
                left.push(*sweep);
            }
        }
        left
    }

    /// What there is, by sweep.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SweepNumber, &Load)> {
        self.0.iter().map(|(sweep, load)| (*sweep, load))
    }
}
