//! A snapshot that is being read, before its end has come.

use secateur_proto::outcome::Checkpoint;

use crate::scheduler::journal::{Counts, ExtensionPart, FailureHistory, SweepPart};
use crate::scheduler::message::Packed;

/// A snapshot that is being read.
#[derive(Debug)]
pub(super) struct Restoring {
    pub(super) counts: Counts,
    /// Each with what it was extended by.
    pub(super) sweeps: Vec<(SweepPart, Vec<ExtensionPart>)>,
    pub(super) stages: Vec<Standing>,
}

/// How a stage stands, as the ledger keeps it.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) stage: u32,
    pub(super) outcome: Option<Packed>,
    pub(super) width_limit: u32,
    pub(super) failures: Option<Box<FailureHistory>>,
    pub(super) checkpoint: Option<Box<Checkpoint>>,
}
