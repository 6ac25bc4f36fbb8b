//! The parts that a core is made of, borrowed: all of them to be read, or each by itself to be changed while an event is applied.

use secateur_proto::ids::{StageKey, SweepId};

use super::{
    decision::Decision,
    fleet::Fleet,
    hold::Hold,
    journal::Record,
    ledger::{Change, Ledger, Sweep},
    message::{Effect, Policy, Rejection, Timestamp},
    numbers::{StageNumber, SweepNumber, WorkerNumber},
    ready::{AvoidedWorker, Ready},
};

/// Changes for which room is kept between records.
const MAX_CHANGES_KEPT: usize = 1024;

/// What there is to be read.
#[derive(Clone, Copy)]
pub(super) struct Parts<'core> {
    pub(super) ledger: &'core Ledger,
    pub(super) fleet: &'core Fleet,
    pub(super) ready: &'core Ready,
    pub(super) hold: &'core Hold,
}

impl<'core> Parts<'core> {
    pub(super) fn find(self, id: &SweepId) -> Option<(SweepNumber, &'core Sweep)> {
        self.ledger.find_sweep(id).map(|number| (number, self.ledger.sweep(number)))
    }

    /// The stages that are with a worker.
    pub(super) fn leased(self) -> impl Iterator<Item = StageNumber> + use<'core> {
        self.fleet.leases().flat_map(|(_, lease)| lease.open().iter().copied())
    }

    /// How many stages of a sweep are with a worker, for whichever sweep that is.
    pub(super) fn leased_of(self, sweep: SweepNumber) -> u64 {
        let lists = |stage: &StageNumber| self.ledger.stage(*stage).sweeps().any(|other| other == sweep);
        self.leased().filter(lists).count() as u64
    }
}

/// An event in the making.
pub(super) struct Step<'core> {
    pub(super) now: Timestamp,
    pub(super) policy: &'core Policy,
    /// Changed by [`write`](Self::write) alone.
    pub(super) ledger: &'core mut Ledger,
    pub(super) fleet: &'core mut Fleet,
    pub(super) ready: &'core mut Ready,
    pub(super) hold: &'core mut Hold,
    pub(super) decision: Decision,
    pub(super) changes: &'core mut Vec<Change>,
}

impl Step<'_> {
    pub(super) fn parts(&self) -> Parts<'_> {
        Parts { ledger: self.ledger, fleet: self.fleet, ready: self.ready, hold: self.hold }
    }

    /// Applies a record, keeps it for the journal, and lets everything else follow.
    pub(super) fn write(&mut self, record: Record) -> Result<(), Rejection> {
        self.changes.clear();
        self.ledger.apply(self.now, &record, self.changes)?;
        self.decision.records.push(record);
        for change in self.changes.drain(..) {
            let effects = &mut self.decision.effects;
            match change {
                Change::Stage(stage) => {
                    if let Some(lease) = self.ready.follow(self.ledger, stage) {
                        self.fleet.drop_stage(lease, stage, effects);
                    }
                }
                Change::TrialEnded(number, trial) => {
                    let sweep = self.ledger.sweep(number);
                    let outcome = self.ledger.trial_outcome(sweep, trial as usize);
                    let trial = sweep.plan().trial_id(trial as usize);
                    let sweep = sweep.id().clone();
                    effects.extend(outcome.map(|outcome| Effect::TrialEnded { sweep, trial, outcome }));
                }
                Change::SweepEnded(number) => {
                    let sweep = self.ledger.sweep(number);
                    effects.push(Effect::SweepEnded { sweep: sweep.id().clone(), state: sweep.state().clone() });
                }
            }
        }
        // A long plan changes many, and most records a few.
        self.changes.shrink_to(MAX_CHANGES_KEPT);
        Ok(())
    }

    /// A worker is at a stage.
    pub(super) fn progressed(&mut self, number: WorkerNumber, key: &StageKey) {
        self.fleet.seen(number, self.now);
        let stage = self.ledger.find_stage(key);
        if let Some((lease, _)) = stage.and_then(|stage| self.ready.lease_of(stage))
            && self.fleet.lease(lease).is_some_and(|lease| lease.worker() == number)
        {
            self.fleet.progressed(lease, self.now);
        }
    }

    /// The attempt at a leased stage is over, and it goes back to where it belongs.
    pub(super) fn release(&mut self, stage: StageNumber) {
        if let Some(lease) = self.ready.release(self.ledger, stage) {
            self.fleet.drop_stage(lease, stage, &mut self.decision.effects);
        }
    }

    /// A stage failed on a worker: it goes to another one next, if one is free; and to the same one again after a pause, if it is to rest.
    pub(super) fn try_elsewhere(&mut self, stage: StageNumber, worker: WorkerNumber, rests: bool) {
        let rests_from = (rests && self.policy.pause_ms > 0).then_some(self.now);
        let round = self.fleet.rest(worker, rests_from);
        self.ready.avoid(self.ledger, stage, AvoidedWorker { worker, round });
    }
}
