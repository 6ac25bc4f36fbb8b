//! The core: composes the parts and routes each event to its reactor.

use super::{
    decision::Decision,
    dispatch::dispatch,
    fault_injection::Fault,
    fleet::{Fleet, Joining},
    hold::Hold,
    invariants::{InvariantId, InvariantViolation, check},
    journal::{Entry, Record},
    ledger::{Change, Ledger, snapshot::Snapshot},
    message::{Event, Policy, Rejection, Timestamp},
    parts::{Parts, Step},
    reactor::{reports, room, sweeps, time, workers},
    ready::Ready,
    turns::next_work,
};

/// The scheduler: see the [module](super).
#[derive(Debug)]
pub struct Core {
    policy: Policy,
    ledger: Ledger,
    fleet: Fleet,
    ready: Ready,
    hold: Hold,
    /// Whether this life has begun. Before that, only the ledger has content.
    has_begun: bool,
    /// The changes of the latest record, kept to reuse its memory.
    changes: Vec<Change>,
}

impl Core {
    /// Returns an empty core.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            ledger: Ledger::new(policy.faults()),
            policy,
            fleet: Fleet::default(),
            ready: Ready::default(),
            hold: Hold::default(),
            has_begun: false,
            changes: vec![],
        }
    }

    /// Restores a core from the entries of a journal, in order. Its next event must be [`Event::Started`].
    ///
    /// # Errors
    /// If an entry cannot follow the previous ones: the journal is corrupt.
    pub fn restore(policy: Policy, journal: impl IntoIterator<Item = Entry>) -> Result<Self, Rejection> {
        let mut core = Self::new(policy);
        journal.into_iter().try_for_each(|entry| core.replay(&entry))?;
        Ok(core)
    }

    /// Replays the next entry of a journal.
    ///
    /// # Errors
    /// If it cannot follow the previous entries: the journal is corrupt. Nothing durable has changed then.
    pub fn replay(&mut self, entry: &Entry) -> Result<(), Rejection> {
        // The effects of a change already happened, or were lost with the life that wrote the record.
        self.changes.clear();
        self.ledger.apply(entry.at, &entry.record, &mut self.changes)
    }

    /// Applies one event. Returns the records to write and the effects to carry out, in order.
    ///
    /// # Errors
    /// If the event is not valid in the current state. It has changed nothing then.
    pub fn apply(&mut self, now: Timestamp, event: &Event) -> Result<Decision, Rejection> {
        if !self.has_begun && *event != Event::Started {
            return Err(Rejection::NotStarted);
        }
        self.step(now, |step| react(step, event))
    }

    fn step(
        &mut self,
        now: Timestamp,
        react: impl FnOnce(&mut Step<'_>) -> Result<(), Rejection>,
    ) -> Result<Decision, Rejection> {
        let Self { policy, ledger, fleet, ready, hold, has_begun, changes } = self;
        let mut step = Step { now, policy, ledger, fleet, ready, hold, decision: Decision::default(), changes };
        react(&mut step)?;
        dispatch(&mut step);
        *has_begun = true;
        Ok(step.decision)
    }

    /// Writes a record without an event.
    #[cfg(test)]
    pub(super) fn write(&mut self, now: Timestamp, record: Record) -> Result<Decision, Rejection> {
        self.step(now, |step| step.write(record))
    }

    /// Borrows the parts for reading.
    pub(super) const fn parts(&self) -> Parts<'_> {
        let Self { ledger, fleet, ready, hold, .. } = self;
        Parts { ledger, fleet, ready, hold }
    }

    /// Whether a test injected this bug.
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.policy.faults().has(fault)
    }

    /// Takes a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        self.ledger.snapshot()
    }

    /// Notes that the snapshot is in the journal.
    pub const fn snapshot_taken(&mut self) {
        self.ledger.snapshot_taken();
    }

    /// Records since the last snapshot, which the next start replays in addition to it.
    #[must_use]
    pub const fn since_snapshot(&self) -> u64 {
        self.ledger.since_snapshot()
    }

    /// The number of known stages, which determines the length of a snapshot.
    #[must_use]
    pub fn stage_count(&self) -> u64 {
        self.ledger.stage_count()
    }

    /// Whether the last lines were an incomplete snapshot that nothing came before.
    #[must_use]
    pub const fn lacks_the_end_of_a_snapshot(&self) -> bool {
        self.ledger.lacks_the_end_of_a_snapshot()
    }

    /// Whether both have the same durable state. Of forgotten sweeps only the count is compared. How often a completed
    /// stage had failed before is not compared.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.ledger.says_the_same_as(&other.ledger)
    }

    /// Recomputes every invariant, in time proportional to the whole state.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn check_invariants(&self) -> Result<(), InvariantViolation> {
        self.ledger.check()?;
        if !self.has_begun {
            return Ok(());
        }
        self.ready.check(&self.ledger)?;
        self.fleet.check()?;
        let leased = self.ledger.stages().filter(|(number, _)| self.ready.lease_of(*number).is_some()).count();
        let open = self.parts().leased().count();
        check(InvariantId::LeasesAgree, leased == open, || format!("{leased} stages leased, {open} open in leases"))?;
        for (number, lease) in self.fleet.leases() {
            let held = lease.open().iter().all(|stage| self.ready.lease_of(*stage).is_some_and(|(of, _)| of == number));
            check(InvariantId::LeasesAgree, held, || format!("{number:?}: {lease:?}"))?;
        }
        if self.hold.is_waiting() || self.hold.is_full() {
            return Ok(());
        }
        for number in self.fleet.free() {
            let idle = next_work(self.parts(), *number);
            check(InvariantId::NothingIdles, idle.is_none(), || format!("{number:?} could run {idle:?}"))?;
        }
        Ok(())
    }
}

/// Dispatches an event to its reactor.
fn react(step: &mut Step<'_>, event: &Event) -> Result<(), Rejection> {
    match event {
        Event::Started => time::started(step),
        Event::SweepSubmitted { plan, share, open, by } => sweeps::submitted(step, plan, *share, *open, by.as_ref()),
        Event::SweepExtended { part } => sweeps::extended(step, part),
        Event::SweepDecided { sweep, generation, part } => sweeps::decided(step, sweep, *generation, part.as_ref()),
        Event::SweepClosed { sweep } => sweeps::closed(step, sweep),
        Event::SweepShareChanged { sweep, share } => sweeps::share_changed(step, sweep, *share),
        Event::SweepCancelled { sweep, by } => sweeps::cancelled(step, sweep, by.as_ref()),
        Event::SweepDrainAsked { sweep, by } => sweeps::drained(step, sweep, by.as_ref()),
        Event::SweepRetried { sweep } => sweeps::retried(step, sweep),
        Event::SweepForgotten { sweep } => step.write(Record::SweepForgotten { sweep: sweep.clone() }),
        Event::WorkerJoined { worker, instance, name, device, slots, held, cordoned_by } => {
            let cordoned_by = cordoned_by.as_deref();
            workers::joined(step, &Joining { id: worker, instance, name, device, slots: *slots, cordoned_by }, held)
        }
        Event::WorkerManaged { worker, action } => workers::managed(step, worker, action),
        Event::WorkerDraining { worker } => {
            let number = step.fleet.number_of(worker)?;
            step.fleet.seen(number, step.now);
            step.fleet.leaves(number);
            Ok(())
        }
        Event::WorkerLeft { worker, departure } => match step.fleet.find(worker) {
            Some(number) => workers::left(step, number, *departure),
            None => Ok(()),
        },
        Event::Heartbeat { worker } => {
            let number = step.fleet.number_of(worker)?;
            step.fleet.seen(number, step.now);
            Ok(())
        }
        Event::Progressed { worker, stage } => {
            let number = step.fleet.number_of(worker)?;
            step.progressed(number, stage);
            Ok(())
        }
        Event::Checkpointed { worker, stage, checkpoint } => reports::checkpointed(step, worker, *stage, *checkpoint),
        Event::RoomChecked { is_enough } => {
            room::room_checked(step, *is_enough);
            Ok(())
        }
        Event::ResultWaits { worker, stage, bytes } => room::result_waits(step, worker, stage, *bytes),
        Event::Calibrated { worker, class, lanes, lane_steps_per_second } => {
            workers::calibrated(step, worker, class, *lanes, *lane_steps_per_second)
        }
        Event::StageReported { worker, lease, stage, attempt, outcome } => {
            let (stage, attempt) = (*stage, *attempt);
            reports::reported(step, &reports::Report { worker, lease, stage, attempt, outcome })
        }
        Event::LeaseEnded { worker, lease, failure } => reports::lease_ended(step, worker, lease, failure.as_ref()),
        Event::Tick => time::ticked(step),
    }
}
