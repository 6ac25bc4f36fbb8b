//! An attached worker: its abilities, its leases and its health.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use secateur_proto::ids::{InstanceId, WorkerId};

use super::health::Health;
use crate::scheduler::{
    message::Timestamp,
    numbers::{ClassNumber, LeaseNumber},
};

#[derive(Debug)]
pub(in crate::scheduler) struct Worker {
    pub(super) id: WorkerId,
    pub(super) instance: InstanceId,
    pub(super) name: String,
    pub(super) device: String,
    pub(super) slots: NonZeroU32,
    pub(super) last_seen: Timestamp,
    pub(super) leases: BTreeSet<LeaseNumber>,
    pub(super) widths: BTreeMap<ClassNumber, Width>,
    /// Unanswered calibrations; each takes a slot.
    pub(super) calibrating: u32,
    /// It is draining, or returned stages that were not revoked: it gets no more leases.
    pub(super) leaving: bool,
    /// Who cordoned it: it gets no more leases until it is uncordoned.
    pub(super) cordoned_by: Option<String>,
    /// When its stream broke. It keeps its leases and may come back for them.
    pub(super) away_since: Option<Timestamp>,
    pub(super) stages_completed: u64,
    pub(super) health: Health,
}

/// The known width of bundles of a class on a worker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::scheduler) enum Width {
    /// The worker is measuring.
    Asked { since: Timestamp },
    /// The worker did not answer in time: one lane.
    Assumed,
    /// The widest bundle worth running.
    Measured { lanes: NonZeroU32, lane_steps_per_second: f64 },
}

/// The data of an attaching worker.
#[derive(Debug)]
pub(in crate::scheduler) struct Joining<'a> {
    pub(in crate::scheduler) id: &'a WorkerId,
    pub(in crate::scheduler) instance: &'a InstanceId,
    pub(in crate::scheduler) name: &'a str,
    pub(in crate::scheduler) device: &'a str,
    pub(in crate::scheduler) slots: NonZeroU32,
    pub(in crate::scheduler) cordoned_by: Option<&'a str>,
}

impl Worker {
    pub(super) fn new(joining: &Joining<'_>, now: Timestamp) -> Self {
        Self {
            id: joining.id.clone(),
            instance: joining.instance.clone(),
            name: joining.name.to_owned(),
            device: joining.device.to_owned(),
            slots: joining.slots,
            last_seen: now,
            leases: BTreeSet::new(),
            widths: BTreeMap::new(),
            calibrating: 0,
            leaving: false,
            cordoned_by: joining.cordoned_by.map(str::to_owned),
            away_since: None,
            stages_completed: 0,
            health: Health::default(),
        }
    }

    pub(in crate::scheduler) const fn id(&self) -> &WorkerId {
        &self.id
    }

    pub(in crate::scheduler) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::scheduler) fn device(&self) -> &str {
        &self.device
    }

    /// The number of bundles and calibrations that it runs at the same time.
    pub(in crate::scheduler) const fn slots(&self) -> u32 {
        self.slots.get()
    }

    pub(in crate::scheduler) fn free_slots(&self) -> u64 {
        let busy = self.leases.len() as u64 + u64::from(self.calibrating);
        u64::from(self.slots.get()).saturating_sub(busy)
    }

    /// Whether it may get leases.
    pub(in crate::scheduler) const fn takes_work(&self) -> bool {
        !self.leaving && self.away_since.is_none() && self.cordoned_by.is_none() && !self.health.is_quarantined()
    }

    pub(in crate::scheduler) fn leases(&self) -> impl Iterator<Item = LeaseNumber> + '_ {
        self.leases.iter().copied()
    }

    pub(in crate::scheduler) fn width(&self, class: ClassNumber) -> Option<Width> {
        self.widths.get(&class).copied()
    }

    pub(in crate::scheduler) fn widths(&self) -> impl Iterator<Item = (ClassNumber, Width)> + '_ {
        self.widths.iter().map(|(class, width)| (*class, *width))
    }

    pub(in crate::scheduler) const fn is_leaving(&self) -> bool {
        self.leaving
    }

    pub(in crate::scheduler) fn cordoned_by(&self) -> Option<&str> {
        self.cordoned_by.as_deref()
    }

    pub(in crate::scheduler) const fn is_away(&self) -> bool {
        self.away_since.is_some()
    }

    pub(in crate::scheduler) const fn stages_completed(&self) -> u64 {
        self.stages_completed
    }

    pub(in crate::scheduler) const fn last_seen(&self) -> Timestamp {
        self.last_seen
    }

    pub(in crate::scheduler) const fn health(&self) -> &Health {
        &self.health
    }

    /// Drops unanswered calibrations: the next attachment is asked again.
    pub(super) fn drop_questions(&mut self) {
        self.widths.retain(|_, width| matches!(width, Width::Measured { .. }));
        self.calibrating = 0;
    }

    /// Takes over the cordon, the health and the widths of `before`, its earlier attachment. Returns the leases of that.
    pub(super) fn inherit(&mut self, mut before: Self) -> BTreeSet<LeaseNumber> {
        before.drop_questions();
        self.stages_completed = before.stages_completed;
        self.cordoned_by = before.cordoned_by;
        self.health = before.health;
        self.widths = before.widths;
        before.leases
    }

    /// Corrects all times after a change of the clock.
    pub(super) fn correct_times(&mut self, right: impl Fn(Timestamp) -> Timestamp) {
        self.last_seen = right(self.last_seen);
        self.away_since = self.away_since.map(&right);
        self.health.correct_times(&right);
        for width in self.widths.values_mut() {
            if let Width::Asked { since } = width {
                *since = right(*since);
            }
        }
    }

    /// Gives up calibrations that were not answered within `limit`. Returns whether there were any.
    pub(super) fn give_up_questions(&mut self, now: Timestamp, limit: u64) -> bool {
        let mut given_up = 0;
        for width in self.widths.values_mut() {
            if matches!(width, Width::Asked { since } if now.since(*since) > limit) {
                *width = Width::Assumed;
                given_up += 1;
            }
        }
        self.calibrating = self.calibrating.saturating_sub(given_up);
        given_up > 0
    }
}
