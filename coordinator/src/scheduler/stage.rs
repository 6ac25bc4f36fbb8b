//! One stage: where it is. Knows nothing of workers or sweeps but their numbers.

use secateur_proto::outcome::Checkpoint;
use smallvec::SmallVec;
use thin_vec::ThinVec;

use super::{outcome::Packed, trouble::Trouble};

/// A number in one of the core's tables.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(super) struct $name(pub(super) $inner);
    };
}

number!(
    /// Stages in the order of first submission and plan: the order in which they are handed out.
    StageNumber(u32)
);
number!(
    /// Sweeps in the order of submission.
    SweepNumber(u32)
);
number!(
    /// Bundle classes in the order of first use.
    ClassNumber(u32)
);
number!(
    /// Workers in the order of joining.
    WorkerNumber(u64)
);
/// A lease: the life that gave it out, and which of that life's it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LeaseNumber {
    pub(super) life: u32,
    pub(super) number: u64,
}

impl StageNumber {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl SweepNumber {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl ClassNumber {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The width limit of a stage that never failed.
pub(super) const UNLIMITED: u32 = u32::MAX;

/// Where a stage failed: it is tried there again only if no other worker is free, and not before that one's round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Elsewhere {
    pub(super) worker: WorkerNumber,
    pub(super) round: u32,
}

/// There are hundreds of thousands: what most of them lack takes no more room than a pointer.
#[derive(Debug)]
pub(super) struct Stage {
    /// The sweep that brought it, whose plan holds its spec, and where in that plan.
    pub(super) home: SweepNumber,
    pub(super) position: u32,
    /// Other sweeps that list it.
    pub(super) shared_with: ThinVec<SweepNumber>,
    /// Stages that read its result.
    pub(super) children: ThinVec<StageNumber>,
    /// Trials that end with it: sweep, and position in its plan. Nearly always none or one.
    pub(super) trials: SmallVec<[(SweepNumber, u32); 1]>,
    /// Running sweeps that list it.
    pub(super) wanted: u32,
    /// While it is ready, in whose queue it is.
    pub(super) runs_for: SweepNumber,
    /// Nothing: runs alone.
    pub(super) class: Option<ClassNumber>,
    /// The widest bundle that it may still be a lane of.
    pub(super) width_limit: u32,
    /// Attempts that failed; nothing: none did.
    pub(super) trouble: Option<Box<Trouble>>,
    /// What its next attempt goes on from; nothing: it begins at its beginning, or has ended.
    pub(super) checkpoint: Option<Box<Checkpoint>>,
    /// The worker on which it failed last, which is to have it next only if no other is free.
    pub(super) elsewhere: Option<Elsewhere>,
    /// The number of its latest attempt; after a restart it goes on from those that failed.
    pub(super) attempt: u32,
    pub(super) state: StageState,
}

#[derive(Debug, PartialEq)]
pub(super) enum StageState {
    /// So many parents have not completed.
    Waiting { missing: u32 },
    /// Could run, but no running sweep wants it.
    Parked,
    /// In a queue.
    Ready,
    /// With a worker.
    Leased { lease: LeaseNumber, attempt: u32 },
    /// For good.
    Ended(Packed),
}

impl Stage {
    /// A new one, which could run.
    pub(super) fn new(home: SweepNumber, position: u32, class: Option<ClassNumber>) -> Self {
        Self {
            home,
            position,
            shared_with: ThinVec::new(),
            children: ThinVec::new(),
            trials: SmallVec::new(),
            wanted: 0,
            runs_for: home,
            class,
            width_limit: UNLIMITED,
            trouble: None,
            checkpoint: None,
            elsewhere: None,
            attempt: 0,
            state: StageState::Parked,
        }
    }

    pub(super) const fn is_ended(&self) -> bool {
        matches!(self.state, StageState::Ended(_))
    }

    pub(super) fn has_completed(&self) -> bool {
        self.outcome().is_some_and(Packed::is_completed)
    }

    pub(super) fn sweeps(&self) -> impl Iterator<Item = SweepNumber> {
        std::iter::once(self.home).chain(self.shared_with.iter().copied())
    }

    pub(super) const fn outcome(&self) -> Option<&Packed> {
        match &self.state {
            StageState::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }
}
