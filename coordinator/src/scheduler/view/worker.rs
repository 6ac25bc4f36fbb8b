//! Views of workers and of what they wait for.

use secateur_proto::ids::{BundleClass, WorkerId};

use crate::scheduler::{
    core::Core,
    fleet::{Width, Worker},
    message::Timestamp,
    parts::Parts,
};

/// The status of an attached worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStatus {
    /// The id of this attachment.
    pub id: WorkerId,
    /// From its hello.
    pub name: String,
    /// From its hello.
    pub device: String,
    /// The number of bundles and calibrations that it runs at the same time.
    pub slots: u32,
    /// The number of slots in use.
    pub busy_slots: u32,
    /// The open stages of its leases.
    pub leased_stages: u32,
    /// Stages that it completed since it attached.
    pub stages_completed: u64,
    /// Measured bundle classes: width in lanes, and lane-steps per second at that width.
    pub measured: Vec<(BundleClass, u32, f64)>,
    /// Whether it returned stages by itself, or drains, and gets no more leases.
    pub leaving: bool,
    /// Whether its stream broke. It keeps its leases and may come back.
    pub away: bool,
    /// Why it is quarantined, or `None` if it is not.
    pub quarantined: Option<String>,
    /// Who cordoned it, or `None` if it is not cordoned.
    pub cordoned_by: Option<String>,
    /// Whether stages that failed on it must still wait before they are retried on it.
    pub rests: bool,
    /// When it last sent a message.
    pub last_seen: Timestamp,
}

impl WorkerStatus {
    /// Whether it may get leases, as far as its connection and people are concerned. One that leaves may still work.
    #[must_use]
    pub const fn takes_work(&self) -> bool {
        !self.away && self.quarantined.is_none() && self.cordoned_by.is_none()
    }
}

impl Core {
    /// The attached workers, in the order of attachment.
    pub fn workers(&self) -> impl Iterator<Item = WorkerStatus> {
        let parts = self.parts();
        parts.fleet.workers().map(move |(_, worker)| status(parts, worker))
    }

    /// Whether this life has just begun and leases nothing yet, because workers may come back.
    #[must_use]
    pub const fn waits_for_workers(&self) -> bool {
        self.parts().hold.is_waiting()
    }

    /// Whether nothing is leased because the coordinator has no space for results.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.parts().hold.is_full()
    }

    /// Bytes of the largest file that did not fit since leasing was suspended. Its worker may be gone.
    #[must_use]
    pub fn room_wanted(&self) -> u64 {
        self.parts().hold.wanted()
    }
}

fn status(parts: Parts<'_>, worker: &Worker) -> WorkerStatus {
    let slots = worker.slots();
    let free = u32::try_from(worker.free_slots()).unwrap_or(u32::MAX);
    let open = worker.leases().filter_map(|lease| parts.fleet.lease(lease)).map(|lease| lease.open().len());
    let measured = worker.widths().filter_map(|(class, width)| match width {
        Width::Measured { lanes, lane_steps_per_second } => {
            Some((parts.ledger.class(class).clone(), lanes.get(), lane_steps_per_second))
        }
        Width::Asked { .. } | Width::Assumed => None,
    });
    WorkerStatus {
        id: worker.id().clone(),
        name: worker.name().to_owned(),
        device: worker.device().to_owned(),
        slots,
        busy_slots: slots.saturating_sub(free),
        leased_stages: u32::try_from(open.sum::<usize>()).unwrap_or(u32::MAX),
        stages_completed: worker.stages_completed(),
        measured: measured.collect(),
        leaving: worker.is_leaving(),
        away: worker.is_away(),
        quarantined: worker.health().quarantined(),
        cordoned_by: worker.cordoned_by().map(str::to_owned),
        rests: worker.health().rests(),
        last_seen: worker.last_seen(),
    }
}
