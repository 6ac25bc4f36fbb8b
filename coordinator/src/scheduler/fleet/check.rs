//! Consistency of the fleet's redundant state: recomputed and compared.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fleet, lease::Lease, worker::Width};
use crate::scheduler::{
    invariants::{InvariantId, InvariantViolation, check},
    numbers::{LeaseNumber, SweepNumber, WorkerNumber},
};

impl Fleet {
    pub(in crate::scheduler) fn check(&self) -> Result<(), InvariantViolation> {
        for (number, lease) in self.leases() {
            self.check_lease(number, lease)?;
        }
        self.check_workers()?;
        self.check_loads()
    }

    fn check_lease(&self, number: LeaseNumber, lease: &Lease) -> Result<(), InvariantViolation> {
        let about = || format!("{number:?}: {lease:?}");
        let distinct: BTreeSet<_> = lease.open.iter().collect();
        let within = lease.open.len() <= lease.width as usize && distinct.len() == lease.open.len();
        let owned = self.workers.get(&lease.worker).is_some_and(|worker| worker.leases.contains(&number));
        check(InvariantId::LeasesAgree, within && owned, about)?;
        let distinct: BTreeSet<_> = lease.sweeps.iter().collect();
        check(InvariantId::SharesCounted, distinct.len() == lease.sweeps.len() && !distinct.is_empty(), about)?;
        let revoked = if lease.open.is_empty() { !lease.taken_from || lease.revoked } else { !lease.revoked };
        check(InvariantId::Revoked, revoked, about)
    }

    fn check_workers(&self) -> Result<(), InvariantViolation> {
        check(InvariantId::SlotsCounted, self.workers.len() == self.numbers.len(), || {
            format!("{} workers, {} ids", self.workers.len(), self.numbers.len())
        })?;
        for (number, worker) in self.workers() {
            let calibrating = worker.widths.values().filter(|width| matches!(width, Width::Asked { .. })).count();
            let busy = worker.leases.len() + calibrating;
            let known = worker.leases.iter().all(|lease| self.leases.get(lease).is_some_and(|l| l.worker == number));
            let counted = calibrating == worker.calibrating as usize
                && busy <= worker.slots.get() as usize
                && self.numbers.get(&worker.id) == Some(&number);
            check(InvariantId::SlotsCounted, known && counted, || format!("{worker:?}"))?;
            let free = busy < worker.slots.get() as usize && worker.takes_work();
            check(InvariantId::FreeWorkers, free == self.is_free(number), || format!("{worker:?}"))?;
        }
        let gone = self.free.iter().find(|number| !self.workers.contains_key(number));
        check(InvariantId::FreeWorkers, gone.is_none(), || format!("{gone:?} does not exist"))
    }

    fn check_loads(&self) -> Result<(), InvariantViolation> {
        let mut held: BTreeMap<SweepNumber, BTreeMap<WorkerNumber, u64>> = BTreeMap::new();
        for lease in self.leases.values() {
            for sweep in &lease.sweeps {
                *held.entry(*sweep).or_default().entry(lease.worker).or_default() += 1;
            }
        }
        for (sweep, load) in self.loads.iter() {
            let held = held.remove(&sweep).unwrap_or_default();
            let counted = held == load.workers && load.leases == held.values().sum::<u64>();
            check(InvariantId::SharesCounted, counted, || format!("{sweep:?}: {held:?}, {load:?}"))?;
        }
        check(InvariantId::SharesCounted, held.is_empty(), || format!("no load is kept for {held:?}"))
    }
}
