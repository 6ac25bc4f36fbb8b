//! A lease: a bundle that a worker holds.

use crate::scheduler::{
    message::Timestamp,
    numbers::{StageNumber, SweepNumber, WorkerNumber},
};

#[derive(Debug)]
pub(in crate::scheduler) struct Lease {
    pub(super) worker: WorkerNumber,
    /// The number of lanes at the beginning.
    pub(super) width: u32,
    /// Stages of this lease that have not ended.
    pub(super) open: Vec<StageNumber>,
    /// The sweeps for which its stages run, each once.
    pub(super) sweeps: Vec<SweepNumber>,
    /// When it was given out, or adopted.
    pub(super) begun: Timestamp,
    /// When it was given out, last reported, or last made progress.
    pub(super) last_sign: Timestamp,
    pub(super) revoked: bool,
    /// Since when its revocation is known to be unconfirmed.
    pub(super) unconfirmed_since: Option<Timestamp>,
    /// Whether a stage was ended or taken away by somebody else, so that the worker may do useless work.
    pub(super) taken_from: bool,
    /// Whether an earlier life gave it out, or it was considered lost before its worker came back. It may have been
    /// dropped then.
    pub(super) adopted: bool,
}

/// The data of a new lease.
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
        Self {
            worker,
            width,
            open,
            sweeps,
            begun: now,
            last_sign: now,
            revoked,
            unconfirmed_since,
            taken_from,
            adopted,
        }
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

    /// When it was given out, or adopted.
    pub(in crate::scheduler) const fn begun(&self) -> Timestamp {
        self.begun
    }

    /// When it was given out, last reported, or last made progress.
    pub(in crate::scheduler) const fn last_sign(&self) -> Timestamp {
        self.last_sign
    }

    pub(in crate::scheduler) const fn is_adopted(&self) -> bool {
        self.adopted
    }
}
