//! A lease: a bundle that a worker holds.

use crate::scheduler::{
    message::Timestamp,
    numbers::{StageNumber, SweepNumber, WorkerNumber},
};

#[derive(Debug)]
pub(in crate::scheduler) struct Lease {
    pub(super) worker: WorkerNumber,
    /// Lanes at the beginning.
    pub(super) width: u32,
    /// Stages that still wait for this lease.
    pub(super) open: Vec<StageNumber>,
    /// The sweeps for which its stages run, each once.
    pub(super) sweeps: Vec<SweepNumber>,
    /// When it was given out, last reported or last made progress.
    pub(super) last_sign: Timestamp,
    pub(super) revoked: bool,
    /// When the revocation was first seen not to be confirmed.
    pub(super) unconfirmed_since: Option<Timestamp>,
    /// Whether a stage was ended or dropped by somebody else, so that the worker may be working for nothing.
    pub(super) taken_from: bool,
    /// Whether an earlier life gave it out, or it was taken for ended before its worker came back: it may have been dropped then.
    pub(super) adopted: bool,
}

/// What a new lease is.
#[derive(Debug)]
pub(in crate::scheduler) struct NewLease {
    pub(in crate::scheduler) worker: WorkerNumber,
    pub(in crate::scheduler) width: u32,
    pub(in crate::scheduler) open: Vec<StageNumber>,
    pub(in crate::scheduler) sweeps: Vec<SweepNumber>,
    pub(in crate::scheduler) adopted: bool,
}

impl Lease {
    pub(super) fn new(lease: NewLease, now: Timestamp) -> Self {
        let NewLease { worker, width, open, sweeps, adopted } = lease;
        let (revoked, unconfirmed_since, taken_from) = (false, None, false);
        Self { worker, width, open, sweeps, last_sign: now, revoked, unconfirmed_since, taken_from, adopted }
    }

    pub(in crate::scheduler) const fn worker(&self) -> WorkerNumber {
        self.worker
    }

    pub(in crate::scheduler) const fn width(&self) -> u32 {
        self.width
    }

    pub(in crate::scheduler) fn open(&self) -> &[StageNumber] {
        &self.open
    }

    pub(in crate::scheduler) const fn is_adopted(&self) -> bool {
        self.adopted
    }
}
