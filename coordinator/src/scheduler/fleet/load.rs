//! The load of each sweep: its leases and workers, and what was computed for it in this life.

use std::collections::BTreeMap;

use super::lease::Lease;
use crate::scheduler::numbers::{SweepNumber, WorkerNumber};

/// The load of one sweep.
#[derive(Debug, Default)]
pub(in crate::scheduler) struct Load {
    /// Current leases with stages that run for it.
    pub(super) leases: u64,
    /// Their workers, and the number of leases of each.
    pub(super) workers: BTreeMap<WorkerNumber, u64>,
    /// The number of leases given out before its last turn.
    pub(super) last_turn: u64,
    /// The number of its stages completed in this life.
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

/// The loads of all sweeps.
#[derive(Debug, Default)]
pub(super) struct Loads(BTreeMap<SweepNumber, Load>);

impl Loads {
    pub(super) fn get(&self, sweep: SweepNumber) -> Option<&Load> {
        self.0.get(&sweep)
    }

    pub(super) fn of(&mut self, sweep: SweepNumber) -> &mut Load {
        self.0.entry(sweep).or_default()
    }

    /// Adds a new lease.
    pub(super) fn add(&mut self, lease: &Lease) {
        for sweep in &lease.sweeps {
            let load = self.of(*sweep);
            load.leases += 1;
            *load.workers.entry(lease.worker).or_default() += 1;
        }
    }

    /// Removes a lease that ended or moves to another worker. Returns the sweeps for which its worker has no other
    /// lease.
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

    /// All loads by sweep.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SweepNumber, &Load)> {
        self.0.iter().map(|(sweep, load)| (*sweep, load))
    }
}
