//! A simulated worker: what the protocol asks of one, and none of the training.
//!
//! It says what it must until the coordinator has settled it, works on while it is cut off, says what it holds when it attaches again,
//! and keeps completed results over its own death. The real one has the same parts: workbench and outbox.

use std::collections::BTreeMap;

use super::*;

/// What goes to the coordinator.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Hello {
        instance: String,
        slots: u32,
        held: Vec<HeldLease>,
        cordoned: bool,
    },
    Calibrated {
        class: String,
        lanes: u32,
    },
    Report {
        lease: LeaseId,
        stage: StageKey,
        attempt: u32,
        outcome: StageOutcome,
    },
    Ended {
        lease: LeaseId,
        failure: Option<Failure>,
    },
    /// Said once, when there is somebody to hear it, and not again if it does not arrive.
    Checkpointed {
        stage: StageKey,
        epoch: u32,
    },
    /// A result waits for room at the coordinator.
    Waits {
        stage: StageKey,
    },
    Beat,
    Draining,
}

/// What comes from it.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Calibrate {
        class: String,
    },
    Lease {
        lease: LeaseId,
        stages: Vec<(StageKey, u32)>,
        /// The epochs that have been done of them.
        done: Vec<u32>,
    },
    Revoke {
        lease: LeaseId,
    },
    Cordon {
        cordoned: bool,
    },
    Drain,
    /// The end of a stage, or of the lease itself, is recorded or of no use.
    Settled {
        lease: LeaseId,
        stage: Option<StageKey>,
    },
}

/// A lease whose end is not settled.
#[derive(Debug, Clone)]
struct Held {
    lanes: u32,
    stages: Vec<(StageKey, u32)>,
    /// The epochs that had been done of them at the beginning.
    done: BTreeMap<StageKey, u32>,
    /// Whether the work has neither ended nor been dropped.
    at_work: bool,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) name: String,
    /// Counts its processes.
    pub(super) process: u32,
    pub(super) connection: Option<usize>,
    /// Stopped, and not dead, until then.
    pub(super) frozen_until: u64,
    /// Its disk is full until then.
    pub(super) full_until: u64,
    pub(super) slots: u32,
    draining: bool,
    /// What it was told last; it says so when it attaches again.
    pub(super) cordoned: bool,
    bench: BTreeMap<LeaseId, Held>,
    /// What must arrive, in order.
    outbox: Vec<Said>,
    /// Of stages the newest checkpoint that was not said yet.
    checkpoints: BTreeMap<StageKey, u32>,
}

impl Machine {
    pub(super) fn new(name: String, slots: u32) -> Self {
        let (process, connection, frozen_until, draining) = (0, None, 0, false);
        let (bench, outbox, checkpoints) = (BTreeMap::new(), vec![], BTreeMap::new());
        let (full_until, cordoned) = (0, false);
        Self {
            name,
            process,
            connection,
            frozen_until,
            full_until,
            slots,
            draining,
            cordoned,
            bench,
            outbox,
            checkpoints,
        }
    }

    /// The first message of an attachment, and what is said again after it.
    pub(super) fn attach(&mut self) -> Vec<Said> {
        let instance = format!("{}.{}", self.name, self.process);
        let held = (self.bench.iter()).map(|(lease, held)| HeldLease {
            lease: lease.clone(),
            lanes: lanes(held.lanes),
            stages: held.stages.clone(),
        });
        let hello = Said::Hello { instance, slots: self.slots, held: held.collect(), cordoned: self.cordoned };
        let mut said = vec![hello];
        said.extend(self.draining.then_some(Said::Draining));
        let kept = std::mem::take(&mut self.checkpoints).into_iter();
        said.extend(kept.map(|(stage, epoch)| Said::Checkpointed { stage, epoch }));
        said.extend(self.outbox.iter().cloned());
        said
    }

    /// Dies. Completed results are on its disk, and another process finds them.
    pub(super) fn dies(&mut self) {
        self.process += 1;
        self.connection = None;
        (self.draining, self.cordoned) = (false, false);
        self.bench.clear();
        self.checkpoints.clear();
        self.outbox.retain(|said| matches!(said, Said::Report { outcome: StageOutcome::Completed(_), .. }));
    }

    /// Whether it ends because it was asked to and has nothing left.
    pub(super) fn is_drained(&self) -> bool {
        self.draining && self.bench.is_empty() && self.outbox.is_empty()
    }

    /// Is asked to end: says so, and hands back what it has.
    pub(super) fn drain(&mut self) -> Vec<Said> {
        self.draining = true;
        let leases: Vec<LeaseId> = self.bench.keys().cloned().collect();
        let handed_back = leases.iter().flat_map(|lease| self.drop_work(lease)).collect::<Vec<_>>();
        [Said::Draining].into_iter().chain(handed_back).collect()
    }

    /// Takes what the coordinator says; gives what it answers, and a lease to begin.
    pub(super) fn hears(&mut self, told: Told, width: u32) -> (Vec<Said>, Option<LeaseId>) {
        match told {
            Told::Calibrate { class } => (vec![Said::Calibrated { class, lanes: width }], None),
            Told::Lease { lease, stages, done } => {
                let begins = !self.draining;
                let done = stages.iter().map(|(stage, _)| *stage).zip(done).collect();
                let held = Held { lanes: stages.len() as u32, stages, done, at_work: begins };
                let before = self.bench.insert(lease.clone(), held);
                assert!(before.is_none(), "lease {lease} was given out twice");
                if begins { (vec![], Some(lease)) } else { (self.must(Said::Ended { lease, failure: None }), None) }
            }
            Told::Cordon { cordoned } => {
                self.cordoned = cordoned;
                (vec![], None)
            }
            Told::Drain => (self.drain(), None),
            Told::Revoke { lease } if self.bench.contains_key(&lease) => (self.drop_work(&lease), None),
            Told::Revoke { lease } => (self.must(Said::Ended { lease, failure: None }), None),
            Told::Settled { lease, stage } => {
                self.outbox.retain(|said| match (said, stage) {
                    (Said::Report { lease: of, stage: reported, .. }, Some(stage)) => {
                        *of != lease || *reported != stage
                    }
                    (Said::Ended { lease: of, .. }, None) => *of != lease,
                    _ => true,
                });
                match stage {
                    None => _ = self.bench.remove(&lease),
                    Some(stage) => {
                        let held = self.bench.get_mut(&lease);
                        held.into_iter().for_each(|held| held.stages.retain(|(key, _)| *key != stage));
                    }
                }
                (vec![], None)
            }
        }
    }

    /// The stages of a lease that it works on, in the order of their ends; nothing once the work was dropped.
    pub(super) fn works_on(&self, lease: &LeaseId) -> Option<&[(StageKey, u32)]> {
        self.bench.get(lease).filter(|held| held.at_work).map(|held| held.stages.as_slice())
    }

    /// The epochs that had been done of a stage when its lease began.
    pub(super) fn done(&self, lease: &LeaseId, stage: StageKey) -> u32 {
        self.bench.get(lease).and_then(|held| held.done.get(&stage)).copied().unwrap_or_default()
    }

    /// The leases that it works on.
    pub(super) fn at_work(&self) -> Vec<LeaseId> {
        self.bench.iter().filter(|(_, held)| held.at_work).map(|(lease, _)| lease.clone()).collect()
    }

    /// A stage can be gone on with.
    pub(super) fn keeps(&mut self, stage: StageKey, epoch: u32) -> Vec<Said> {
        if self.connection.is_some() {
            return vec![Said::Checkpointed { stage, epoch }];
        }
        self.checkpoints.insert(stage, epoch);
        vec![]
    }

    /// A stage of a lease came to its end.
    pub(super) fn reports(
        &mut self,
        lease: &LeaseId,
        stage: StageKey,
        attempt: u32,
        outcome: StageOutcome,
    ) -> Vec<Said> {
        self.checkpoints.remove(&stage);
        self.must(Said::Report { lease: lease.clone(), stage, attempt, outcome })
    }

    /// The work on a lease is over.
    pub(super) fn ends(&mut self, lease: &LeaseId, failure: Option<Failure>) -> Vec<Said> {
        let was_at_work = self.bench.get_mut(lease).is_some_and(|held| std::mem::take(&mut held.at_work));
        if was_at_work { self.must(Said::Ended { lease: lease.clone(), failure }) } else { vec![] }
    }

    fn drop_work(&mut self, lease: &LeaseId) -> Vec<Said> {
        self.ends(lease, None)
    }

    fn must(&mut self, said: Said) -> Vec<Said> {
        self.outbox.push(said.clone());
        vec![said]
    }
}
