//! The durable state of one stage. One function changes it, along the edges of one table.

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

/// There are hundreds of thousands, so fields that are rarely set take no more space than a pointer.
#[derive(Debug)]
pub(in crate::scheduler) struct Stage {
    /// The oldest sweep that lists it, whose plan holds its spec, and its position in that plan.
    pub(super) home: SweepNumber,
    pub(super) position: u32,
    /// Other sweeps that list it, in order.
    pub(super) shared_with: ThinVec<SweepNumber>,
    /// Stages that read its result.
    pub(super) children: ThinVec<StageNumber>,
    /// Trials that end with it, in order: sweep and position in its plan. Nearly always at most one.
    pub(super) trials: SmallVec<[(SweepNumber, u32); 1]>,
    /// The number of running sweeps that list it.
    pub(super) wanted: u32,
    /// `None` if it runs alone.
    pub(super) class: Option<ClassNumber>,
    /// The maximum width of its bundles.
    pub(super) width_limit: u32,
    /// Failed attempts, or `None`.
    pub(super) failures: Option<Box<FailureHistory>>,
    state: StageState,
}

/// The durable state of a stage, with its data.
#[derive(Debug, PartialEq)]
pub(in crate::scheduler) enum StageState {
    /// The number of parents that have not completed.
    Waiting { missing: u32 },
    /// It can run, or is running, which is not durable.
    Open {
        /// The checkpoint that its next attempt resumes from.
        checkpoint: Option<Box<Checkpoint>>,
    },
    /// Final, unless a person reopens it.
    Ended(Packed),
    /// No sweep lists it.
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

/// All edges between states.
const EDGES: &[(Kind, Kind)] = &[
    // A parent completed: some are still missing, or it was the last one.
    (Kind::Waiting, Kind::Waiting),
    (Kind::Waiting, Kind::Open),
    // A parent ended in another way.
    (Kind::Waiting, Kind::Ended),
    // A checkpoint was taken.
    (Kind::Open, Kind::Open),
    // A result arrived, or the last attempt failed.
    (Kind::Open, Kind::Ended),
    // A person reopened it or a stage above it, or it now fails because of another parent.
    (Kind::Ended, Kind::Open),
    (Kind::Ended, Kind::Waiting),
    (Kind::Ended, Kind::Ended),
    // The last sweep that listed it was forgotten.
    (Kind::Waiting, Kind::Forgotten),
    (Kind::Open, Kind::Forgotten),
    (Kind::Ended, Kind::Forgotten),
];

impl StageState {
    /// The initial state of a stage with this many open parents.
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
    /// A new stage.
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

    /// Adds a sweep that lists it, at that position of its plan. The oldest sweep is its home, in whatever order they
    /// are added, as after a snapshot.
    pub(super) fn list(&mut self, sweep: SweepNumber, position: u32) {
        let mut other = sweep;
        if sweep < self.home {
            other = std::mem::replace(&mut self.home, sweep);
            self.position = position;
        }
        let place = self.shared_with.partition_point(|listed| *listed < other);
        self.shared_with.insert(place, other);
    }

    /// Adds a trial that ends with it. Trials of older sweeps come first.
    pub(super) fn list_trial(&mut self, sweep: SweepNumber, trial: u32) {
        let place = self.trials.partition_point(|listed| *listed < (sweep, trial));
        self.trials.insert(place, (sweep, trial));
    }

    /// Enters a state. Nothing else writes it.
    ///
    /// # Panics
    /// If there is no such edge: callers check that the record can follow.
    pub(super) fn enter(&mut self, next: StageState) {
        let edge = (self.state.kind(), next.kind());
        assert!(EDGES.contains(&edge), "a stage cannot go from {:?} to {:?}", edge.0, edge.1);
        if edge.1 == Kind::Ended
            && let Some(failures) = &mut self.failures
        {
            // Failures no longer count.
            failures.counted = vec![];
        }
        self.state = next;
    }

    pub(in crate::scheduler) const fn state(&self) -> &StageState {
        &self.state
    }

    /// Whether it can run, or is running.
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

    /// The checkpoint that its next attempt resumes from.
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

    /// The number of failed attempts.
    pub(in crate::scheduler) fn failed(&self) -> u32 {
        self.failures.as_ref().map_or(0, |failures| failures.failed)
    }

    /// The number of attempts that failed alone in a bundle with this class.
    pub(in crate::scheduler) fn failed_alone(&self, class: FailureClass) -> u32 {
        self.failures.as_ref().and_then(|failures| failures.alone.get(&class)).copied().unwrap_or(0)
    }

    /// The latest failed attempts, the oldest first.
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
