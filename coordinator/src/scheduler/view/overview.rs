//! A view of the whole in numbers, for monitoring. It is cheap to take: it looks at each sweep, worker and lease once,
//! and at no stage or trial.

use secateur_proto::ids::SweepId;

use crate::scheduler::{
    core::Core,
    message::{SweepState, Timestamp},
};

/// The maximum number of running sweeps with numbers of their own.
const MAX_SWEEPS: usize = 100;

/// Everything in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// Sweeps by state.
    pub sweeps: SweepsByState,
    /// The running sweeps, the oldest first; at most 100.
    pub running: Vec<RunningSweep>,
    /// Attached workers by state.
    pub workers: WorkersByState,
    /// Slots of workers that are connected.
    pub slots: u64,
    /// Those of them in use.
    pub busy_slots: u64,
    /// Ready stages that run in bundles.
    pub ready_bundled: u64,
    /// Ready stages that run alone.
    pub ready_alone: u64,
    /// Open leases.
    pub leases: u64,
    /// Their stages that have not ended.
    pub leased_stages: u64,
    /// When the oldest lease was given out.
    pub oldest_lease: Option<Timestamp>,
    /// The earliest of the times at which leases last made progress.
    pub oldest_progress: Option<Timestamp>,
    /// Whether nothing is leased because there is no space for results.
    pub is_full: bool,
}

/// The number of sweeps in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepsByState {
    /// Running, and not draining.
    pub running: u64,
    /// Running, but draining.
    pub draining: u64,
    /// Completed, with a result of every trial.
    pub completed: u64,
    /// Completed, and some trials failed.
    pub completed_with_failures: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Stopped from outside.
    pub stopped: u64,
}

/// The progress of a running sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningSweep {
    /// Its id.
    pub id: SweepId,
    /// All of its trials.
    pub trials: u64,
    /// Trials that ended as completed.
    pub completed: u64,
    /// Trials that ended in any other way.
    pub failed: u64,
}

/// The number of workers in each state. The first state that fits counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkersByState {
    /// Disconnected, and their leases are kept.
    pub away: u64,
    /// Draining.
    pub leaving: u64,
    /// Cordoned.
    pub cordoned: u64,
    /// Quarantined.
    pub quarantined: u64,
    /// Any other.
    pub attached: u64,
}

impl Core {
    /// Everything in numbers.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let parts = self.parts();
        let (bundled, alone) = parts.ready.queues().count_by_kind();
        let mut overview = Overview {
            ready_bundled: bundled as u64,
            ready_alone: alone as u64,
            is_full: parts.hold.is_full(),
            ..Overview::default()
        };
        for (_, sweep) in parts.ledger.sweeps() {
            let tally = sweep.tally();
            let by_state = &mut overview.sweeps;
            *match sweep.state() {
                SweepState::Running if sweep.is_draining() => &mut by_state.draining,
                SweepState::Running => &mut by_state.running,
                SweepState::Completed if tally.failed > 0 => &mut by_state.completed_with_failures,
                SweepState::Completed => &mut by_state.completed,
                SweepState::Cancelled => &mut by_state.cancelled,
                SweepState::Stopped { .. } => &mut by_state.stopped,
            } += 1;
            if sweep.is_running() && overview.running.len() < MAX_SWEEPS {
                let (trials, completed, failed) = (sweep.trials().len() as u64, tally.completed, tally.failed);
                overview.running.push(RunningSweep { id: sweep.id().clone(), trials, completed, failed });
            }
        }
        for (_, worker) in parts.fleet.workers() {
            let by_state = &mut overview.workers;
            *if worker.is_away() {
                &mut by_state.away
            } else if worker.is_leaving() {
                &mut by_state.leaving
            } else if worker.cordoned_by().is_some() {
                &mut by_state.cordoned
            } else if worker.health().is_quarantined() {
                &mut by_state.quarantined
            } else {
                &mut by_state.attached
            } += 1;
            if !worker.is_away() {
                overview.slots += u64::from(worker.slots());
                overview.busy_slots += u64::from(worker.slots()).saturating_sub(worker.free_slots());
            }
        }
        for (_, lease) in parts.fleet.leases() {
            overview.leases += 1;
            overview.leased_stages += lease.open().len() as u64;
            let earlier = |known: Option<Timestamp>, at: Timestamp| Some(known.map_or(at, |known| known.min(at)));
            overview.oldest_lease = earlier(overview.oldest_lease, lease.begun());
            overview.oldest_progress = earlier(overview.oldest_progress, lease.last_sign());
        }
        overview
    }
}
