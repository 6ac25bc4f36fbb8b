//! Workers, and what they wait for, as they are seen.

use secateur_proto::ids::{BundleClass, WorkerId};

use crate::scheduler::{
    core::Core,
    fleet::{Width, Worker},
    message::Timestamp,
    parts::Parts,
};

/// A worker that is attached.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStatus {
    /// This attachment.
    pub id: WorkerId,
    /// From its hello.
    pub name: String,
    /// From its hello.
    pub device: String,
    /// Bundles and calibrations at the same time.
    pub slots: u32,
    /// Of them taken.
    pub busy_slots: u32,
    /// Stages that wait for its leases.
    pub leased_stages: u32,
    /// Stages that it completed since it attached.
    pub stages_completed: u64,
    /// Bundle classes that it has measured: lanes, and lane-steps per second at that width.
    pub measured: Vec<(BundleClass, u32, f64)>,
    /// It handed back work by itself and gets no more.
    pub leaving: bool,
    /// Its stream broke: it holds its leases, and may come back.
    pub away: bool,
    /// Why it gets nothing for a while; nothing: it does.
    pub quarantined: Option<String>,
    /// What failed on it is not tried on it yet.
    pub rests: bool,
    /// When it last spoke.
    pub last_seen: Timestamp,
}

impl Core {
    /// The workers that are attached, in the order of joining.
    pub fn workers(&self) -> impl Iterator<Item = WorkerStatus> {
        let parts = self.parts();
        parts.fleet.workers().map(move |(_, worker)| status(parts, worker))
    }

    /// Whether this life of the coordinator has just begun, and hands nothing out yet.
    #[must_use]
    pub const fn waits_for_workers(&self) -> bool {
        self.parts().hold.is_waiting()
    }

    /// Whether nothing is handed out, since the coordinator has no room for results.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.parts().hold.is_full()
    }

    /// Bytes of the largest file that was said to find no room since nothing is handed out; its worker may be gone.
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
        rests: worker.health().rests(),
        last_seen: worker.last_seen(),
    }
}
