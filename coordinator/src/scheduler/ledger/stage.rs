//! One stage: what is durable of it. Its state changes in one function, along the edges of one table.

use secateur_proto::outcome::{Checkpoint, FailureClass};
use smallvec::SmallVec;
use thin_vec::ThinVec;

use crate::scheduler::message::Packed;
use crate::scheduler::{
    journal::{AttemptId, FailedAttempt, FailureHistory},
    numbers::{ClassNumber, StageNumber, SweepNumber},
};

/// The width limit of a stage that never failed.
pub(in crate::scheduler) const UNLIMITED: u32 = u32::MAX;

/// There are hundreds of thousands: what most of them lack takes no more room than a pointer.
#[derive(Debug)]
pub(in crate::scheduler) struct Stage {
    /// The oldest sweep that lists it, whose plan holds its spec, and where in that plan.
    pub(super) home: SweepNumber,
    pub(super) position: u32,
    /// Other sweeps that list it, in their order.
    pub(super) shared_with: ThinVec<SweepNumber>,
    /// Stages that read its result.
    pub(super) children: ThinVec<StageNumber>,
    /// Trials that end with it, in their order: sweep, and position in its plan. Nearly always none or one.
    pub(super) trials: SmallVec<[(SweepNumber, u32); 1]>,
    /// Running sweeps that list it.
    pub(super) wanted: u32,
    /// `None`: runs alone.
    pub(super) class: Option<ClassNumber>,
    /// The widest bundle that it may still be a lane of.
    pub(super) width_limit: u32,
    /// Attempts that failed; `None`: none did.
    pub(super) failures: Option<Box<FailureHistory>>,
    state: StageState,
}

/// Where a stage is, as far as the journal goes, and what there is to know of it there.
#[derive(Debug, PartialEq)]
pub(in crate::scheduler) enum StageState {
    /// So many parents have not completed.
    Waiting { missing: u32 },
    /// It could run, or is running: that is not durable.
    Open {
        /// What its next attempt goes on from; `None`: it begins at its beginning.
        checkpoint: Option<Box<Checkpoint>>,
    },
    /// For good, unless a person opens it again.
    Ended(Packed),
    /// No sweep lists it any more.
    Forgotten,
}

/// A state without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Waiting,
    Open,
    Ended,
    Forgotten,
}

/// Every way from one state to another. There is no other.
const EDGES: &[(Kind, Kind)] = &[
    // A parent completed: some are missing still, or it was the last one.
    (Kind::Waiting, Kind::Waiting),
    (Kind::Waiting, Kind::Open),
    // A parent ended otherwise.
    (Kind::Waiting, Kind::Ended),
    // A checkpoint was taken.
    (Kind::Open, Kind::Open),
    // A result, or the last attempt failed.
    (Kind::Open, Kind::Ended),
    // A person opened it again, or a stage above it; or it fails for the sake of another parent now.
    (Kind::Ended, Kind::Open),
    (Kind::Ended, Kind::Waiting),
    (Kind::Ended, Kind::Ended),
    // The last sweep that listed it was forgotten.
    (Kind::Waiting, Kind::Forgotten),
    (Kind::Open, Kind::Forgotten),
    (Kind::Ended, Kind::Forgotten),
];

impl StageState {
    /// The state of a stage of which nothing is known but how many parents have not completed.
    pub(super) const fn new(missing: u32) -> Self {
        if missing == 0 { Self::Open { checkpoint: None } } else { Self::Waiting { missing } }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Waiting { .. } => Kind::Waiting,
            Self::Open { .. } => Kind::Open,
            Self::Ended(_) => Kind::Ended,
            Self::Forgotten => Kind::Forgotten,
        }
    }
}

impl Stage {
    /// A new one.
    pub(super) fn new(home: SweepNumber, position: u32, class: Option<ClassNumber>, state: StageState) -> Self {
        Self {
            home,
            position,
            shared_with: ThinVec::new(),
            children: ThinVec::new(),
            trials: SmallVec::new(),
            wanted: 0,
            class,
            width_limit: UNLIMITED,
            failures: None,
            state,
        }
    }

    /// One more sweep lists it, at that position of its plan. The oldest is its home, whichever brought it, as after a snapshot.
    pub(super) fn list(&mut self, sweep: SweepNumber, position: u32) {
        let mut other = sweep;
        if sweep < self.home {
            other = std::mem::replace(&mut self.home, sweep);
            self.position = position;
        }
        let place = self.shared_with.partition_point(|listed| *listed < other);
        self.shared_with.insert(place, other);
    }

    /// A trial ends with it: trials of older sweeps come first.
    pub(super) fn list_trial(&mut self, sweep: SweepNumber, trial: u32) {
        let place = self.trials.partition_point(|listed| *listed < (sweep, trial));
        self.trials.insert(place, (sweep, trial));
    }

    /// The one writer of a stage's state.
    ///
    /// # Panics
    /// If there is no such edge: whoever applies a record checks that it can follow.
    pub(super) fn enter(&mut self, next: StageState) {
        let edge = (self.state.kind(), next.kind());
        assert!(EDGES.contains(&edge), "a stage cannot go from {:?} to {:?}", edge.0, edge.1);
        if edge.1 == Kind::Ended
            && let Some(failures) = &mut self.failures
        {
            // No failure counts any more.
            failures.counted = vec![];
        }
        self.state = next;
    }

    pub(in crate::scheduler) const fn state(&self) -> &StageState {
        &self.state
    }

    /// Whether it could run, or is running.
    pub(in crate::scheduler) const fn is_open(&self) -> bool {
        matches!(self.state, StageState::Open { .. })
    }

    pub(in crate::scheduler) const fn is_ended(&self) -> bool {
        matches!(self.state, StageState::Ended(_))
    }

    pub(in crate::scheduler) fn has_completed(&self) -> bool {
        self.outcome().is_some_and(Packed::is_completed)
    }

    pub(in crate::scheduler) const fn outcome(&self) -> Option<&Packed> {
        match &self.state {
            StageState::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// What its next attempt goes on from.
    pub(in crate::scheduler) fn checkpoint(&self) -> Option<&Checkpoint> {
        match &self.state {
            StageState::Open { checkpoint } => checkpoint.as_deref(),
            _ => None,
        }
    }

    /// Whether a running sweep lists it.
    pub(in crate::scheduler) const fn is_wanted(&self) -> bool {
        self.wanted > 0
    }

    /// The sweep whose plan holds its spec.
    pub(in crate::scheduler) const fn home(&self) -> SweepNumber {
        self.home
    }

    /// Every sweep that lists it.
    pub(in crate::scheduler) fn sweeps(&self) -> impl Iterator<Item = SweepNumber> {
        std::iter::once(self.home).chain(self.shared_with.iter().copied())
    }

    pub(in crate::scheduler) const fn class(&self) -> Option<ClassNumber> {
        self.class
    }

    pub(in crate::scheduler) const fn width_limit(&self) -> u32 {
        self.width_limit
    }

    /// How often an attempt failed.
    pub(in crate::scheduler) fn failed(&self) -> u32 {
        self.failures.as_ref().map_or(0, |failures| failures.failed)
    }

    /// Attempts that failed with nobody else in the bundle, with that.
    pub(in crate::scheduler) fn failed_alone(&self, class: FailureClass) -> u32 {
        self.failures.as_ref().and_then(|failures| failures.alone.get(&class)).copied().unwrap_or(0)
    }

    /// The latest attempts that failed, the oldest first.
    pub(in crate::scheduler) fn attempts(&self) -> &[FailedAttempt] {
        self.failures.as_ref().map_or(&[], |failures| &failures.attempts)
    }

    /// Whether that attempt is known to have failed.
    pub(in crate::scheduler) fn has_counted(&self, attempt: &AttemptId) -> bool {
        self.failures.as_ref().is_some_and(|failures| failures.counted.contains(attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "cannot go from Forgotten to Open")]
    fn a_forgotten_stage_does_not_come_back() {
        let mut stage = Stage::new(SweepNumber(0), 0, None, StageState::new(0));
        stage.enter(StageState::Forgotten);
        stage.enter(StageState::new(0));
    }

    #[test]
    fn nothing_is_open_that_waited_for_nothing() {
        assert_eq!(StageState::new(0), StageState::Open { checkpoint: None });
        assert_eq!(StageState::new(2), StageState::Waiting { missing: 2 });
    }
}
