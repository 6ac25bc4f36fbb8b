//! A snapshot of which some lines were read.

use secateur_proto::outcome::Checkpoint;

use crate::scheduler::journal::{Counts, ExtensionPart, FailureHistory, SweepPart};
use crate::scheduler::message::Packed;

/// A snapshot of which some lines were read.
#[derive(Debug)]
pub(super) struct Restoring {
    pub(super) counts: Counts,
    /// Each sweep with its extensions.
    pub(super) sweeps: Vec<(SweepPart, Vec<ExtensionPart>)>,
    pub(super) stages: Vec<Standing>,
}

/// The state of a stage, as the ledger keeps it.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) stage: u32,
    pub(super) outcome: Option<Packed>,
    pub(super) width_limit: u32,
    pub(super) failures: Option<Box<FailureHistory>>,
    pub(super) checkpoint: Option<Box<Checkpoint>>,
}
