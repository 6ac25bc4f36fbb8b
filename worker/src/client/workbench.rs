//! The work of one device: its leases and calibrations. It outlives attachments, so that training continues while the
//! coordinator cannot be reached and the worker can report what it holds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use secateur_proto::v1::{
    Calibrate, Calibrated, Cordon, HeldLease, HeldStage, Lease, LeaseEnded, SettledEnd, worker_message::Message,
};
use tokio::task::{AbortHandle, Id, JoinSet};
use tracing::{Instrument as _, error, info, info_span};

use super::{
    Link,
    lease::{self, Slots},
    outbox::Outbox,
};

/// The purpose of a task.
#[derive(Debug)]
enum Work {
    Lease(String),
    Calibration(String),
}

/// A lease whose end may not be recorded yet.
#[derive(Debug)]
struct Held {
    task: AbortHandle,
    lanes: u32,
    stages: Vec<HeldStage>,
    /// Whether the coordinator revoked it.
    is_revoked: bool,
}

/// All current work of a device.
#[derive(Debug)]
pub(super) struct Workbench {
    slots: Arc<Slots>,
    outbox: Arc<Outbox>,
    link: Link,
    /// The number of nets to train in lockstep, or `None` to measure it.
    lanes: Option<u32>,
    tasks: JoinSet<Option<Calibrated>>,
    work: HashMap<Id, Work>,
    leases: BTreeMap<String, Held>,
    calibrated: HashMap<String, Calibrated>,
    /// Who cordoned it. Empty: it is not cordoned.
    cordoned_by: String,
}

impl Workbench {
    /// A workbench without work.
    pub(super) fn new(slots: Slots, outbox: Arc<Outbox>, link: Link, lanes: Option<u32>) -> Self {
        Self {
            slots: Arc::new(slots),
            outbox,
            link,
            lanes,
            tasks: JoinSet::new(),
            work: HashMap::new(),
            leases: BTreeMap::new(),
            calibrated: HashMap::new(),
            cordoned_by: String::new(),
        }
    }

    /// The leases to report at the next attachment.
    pub(super) fn held(&self) -> Vec<HeldLease> {
        let held = |(lease_id, held): (&String, &Held)| HeldLease {
            lease_id: lease_id.clone(),
            lanes: held.lanes,
            stages: held.stages.clone(),
        };
        self.leases.iter().map(held).collect()
    }

    /// Who cordoned it, to be repeated at the next attachment. Empty: it is not cordoned.
    pub(super) fn cordoned_by(&self) -> &str {
        &self.cordoned_by
    }

    /// Notes that it was cordoned or uncordoned.
    pub(super) fn cordon(&mut self, order: Cordon) {
        match order.by.as_str() {
            "" => info!("uncordoned: new work again"),
            by => info!(by, "cordoned: no new work until it is uncordoned"),
        }
        self.cordoned_by = order.by;
    }

    /// Starts a lease.
    pub(super) fn begin(&mut self, order: Lease) {
        let id = order.lease_id.clone();
        if self.leases.contains_key(&id) {
            error!(lease = id, "the coordinator sent a lease twice; ignoring the second");
            return;
        }
        let stages: Vec<HeldStage> = (order.stages.iter())
            .filter_map(|leased| {
                Some(HeldStage { stage_key: leased.stage.as_ref()?.key.clone(), attempt: leased.attempt })
            })
            .collect();
        let (slots, outbox, link) = (Arc::clone(&self.slots), Arc::clone(&self.outbox), self.link.clone());
        let span = info_span!("lease", lease = id);
        let lease_id = id.clone();
        let task = self.tasks.spawn(
            async move {
                let ended = lease::run(order, link, &slots, &outbox).await;
                let failure = ended.err().map(|lease::Failed(failure)| {
                    error!(reason = failure.message, "a lease failed");
                    (&failure).into()
                });
                outbox.put(Message::LeaseEnded(LeaseEnded { lease_id, failure }));
                None
            }
            .instrument(span),
        );
        self.work.insert(task.id(), Work::Lease(id.clone()));
        let lanes = u32::try_from(stages.len()).unwrap_or(u32::MAX).max(1);
        self.leases.insert(id, Held { task, lanes, stages, is_revoked: false });
    }

    /// Measures a class, or repeats an earlier measurement.
    pub(super) fn calibrate(&mut self, order: Calibrate) {
        let class = order.bundle_class.clone();
        if let Some(lanes) = self.lanes {
            let told = Calibrated { bundle_class: class, lanes, lane_steps_per_second: 0.0 };
            self.outbox.pass(Message::Calibrated(told));
            return;
        }
        if let Some(known) = self.calibrated.get(&class) {
            self.outbox.pass(Message::Calibrated(known.clone()));
            return;
        }
        // A running measurement for an earlier attachment answers this request, too.
        if self.work.values().any(|work| matches!(work, Work::Calibration(measured) if *measured == class)) {
            return;
        }
        let slots = Arc::clone(&self.slots);
        let task = self.tasks.spawn(async move {
            let bundle_class = order.bundle_class.clone();
            let calibrated = lease::calibrate(order, &slots).await.unwrap_or_else(|lease::Failed(failure)| {
                // One lane always works; otherwise its failure is reported as that of the stage.
                error!(class = bundle_class, reason = failure.message, "calibration failed; one lane at a time");
                Calibrated { bundle_class, lanes: 1, lane_steps_per_second: 0.0 }
            });
            Some(calibrated)
        });
        self.work.insert(task.id(), Work::Calibration(class));
    }

    /// Stops a revoked lease.
    pub(super) fn revoke(&mut self, lease_id: &str) {
        match self.leases.get_mut(lease_id) {
            Some(held) if held.task.is_finished() => self.outbox.put_dropped(lease_id.to_owned()),
            Some(held) => {
                info!(lease = lease_id, "revoked");
                held.is_revoked = true;
                held.task.abort();
            }
            // Confirms that nobody works on it.
            None => self.outbox.put_dropped(lease_id.to_owned()),
        }
    }

    /// Stops all leases. Stages that were not reported are returned.
    pub(super) fn hand_back(&mut self) {
        self.outbox.hand_back();
        for held in self.leases.values() {
            held.task.abort();
        }
    }

    /// Notes that the coordinator has recorded an end.
    pub(super) fn settle(&mut self, end: &SettledEnd) {
        self.outbox.settle(end);
        if end.stage_key.is_empty() {
            self.leases.remove(&end.lease_id);
        } else if let Some(held) = self.leases.get_mut(&end.lease_id) {
            held.stages.retain(|stage| stage.stage_key != end.stage_key);
        }
    }

    /// Whether there is no work, and the coordinator has confirmed all ends.
    pub(super) fn is_clear(&self) -> bool {
        self.leases.is_empty() && self.outbox.is_settled()
    }

    /// Waits until some work ends; for ever if there is none.
    pub(super) async fn work_ends(&mut self) {
        let Some(ended) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
        let (id, result) = match ended {
            Ok((id, result)) => (id, Some(result)),
            Err(error) => (error.id(), None),
        };
        match (self.work.remove(&id), result) {
            // The lease has reported its own end.
            (Some(Work::Lease(_)), Some(_)) | (None, _) => {}
            (Some(Work::Lease(lease_id)), None) => {
                let is_revoked = self.leases.get(&lease_id).is_some_and(|held| held.is_revoked);
                if is_revoked {
                    self.outbox.put_dropped(lease_id);
                } else {
                    self.outbox.put(Message::LeaseEnded(LeaseEnded { lease_id, failure: None }));
                }
            }
            (Some(Work::Calibration(class)), Some(Some(calibrated))) => {
                self.outbox.pass(Message::Calibrated(calibrated.clone()));
                self.calibrated.insert(class, calibrated);
            }
            (Some(Work::Calibration(class)), _) => error!(class, "calibration ended without a result"),
        }
    }
}
