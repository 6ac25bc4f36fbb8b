//! One stage: where it is, and how it ended, packed. Knows nothing of workers or sweeps but their numbers.

use secateur_proto::{
    ids::StageKey,
    metrics::{Metric, MetricValue, Metrics, Split},
    outcome::{Artifact, Checkpoint, Failure, FailureClass, Role, StageOutcome, StageResult},
};

use super::trouble::Trouble;

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

#[derive(Debug)]
pub(super) struct Stage {
    /// The sweep that brought it, whose plan holds its spec, and where in that plan.
    pub(super) home: SweepNumber,
    pub(super) position: u32,
    /// Other sweeps that list it.
    pub(super) shared_with: Vec<SweepNumber>,
    /// Stages that read its result.
    pub(super) children: Vec<StageNumber>,
    /// Trials that end with it: sweep, and position in its plan.
    pub(super) trials: Vec<(SweepNumber, u32)>,
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
    pub(super) elsewhere: Option<WorkerNumber>,
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
    pub(super) const fn new(home: SweepNumber, position: u32, class: Option<ClassNumber>) -> Self {
        Self {
            home,
            position,
            shared_with: vec![],
            children: vec![],
            trials: vec![],
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

/// A stage's outcome, with its maps laid flat: hundreds of thousands are kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Packed {
    Completed(Option<Box<PackedResult>>),
    Otherwise(Box<StageOutcome>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct PackedResult {
    /// A metric of the net alone has no split.
    metrics: Box<[(Metric, Option<Split>, f64)]>,
    artifacts: Box<[(Role, Artifact)]>,
}

impl Packed {
    pub(super) fn new(outcome: &StageOutcome) -> Self {
        let StageOutcome::Completed(result) = outcome else {
            return Self::Otherwise(Box::new(outcome.clone()));
        };
        let mut metrics = vec![];
        for (metric, value) in &result.metrics.0 {
            match value {
                MetricValue::Net(value) => metrics.push((*metric, None, *value)),
                MetricValue::BySplit(values) => {
                    metrics.extend(values.iter().map(|(split, value)| (*metric, Some(*split), *value)));
                }
            }
        }
        let artifacts: Box<[_]> = result.artifacts.iter().map(|(role, artifact)| (*role, *artifact)).collect();
        if metrics.is_empty() && artifacts.is_empty() {
            return Self::Completed(None);
        }
        Self::Completed(Some(Box::new(PackedResult { metrics: metrics.into(), artifacts })))
    }

    pub(super) fn unpack(&self) -> StageOutcome {
        let result = match self {
            Self::Otherwise(outcome) => return (**outcome).clone(),
            Self::Completed(None) => StageResult::default(),
            Self::Completed(Some(packed)) => {
                let mut metrics = Metrics::new();
                for (metric, split, value) in &packed.metrics {
                    match split {
                        None => metrics.set_net(*metric, *value),
                        Some(split) => metrics.set(*metric, *split, *value),
                    }
                }
                StageResult { metrics, artifacts: packed.artifacts.iter().copied().collect() }
            }
        };
        StageOutcome::Completed(result)
    }

    pub(super) const fn is_completed(&self) -> bool {
        matches!(self, Self::Completed(_))
    }

    /// Why it failed; nothing if it ended in another way.
    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Otherwise(outcome) => match outcome.as_ref() {
                StageOutcome::Failed(failure) => Some(failure),
                _ => None,
            },
            Self::Completed(_) => None,
        }
    }

    pub(super) fn artifacts(&self) -> &[(Role, Artifact)] {
        match self {
            Self::Completed(Some(result)) => &result.artifacts,
            Self::Completed(None) | Self::Otherwise(_) => &[],
        }
    }
}

/// How a child of a stage that ended as `parent` ends with it; nothing if the parent completed.
pub(super) fn inherited(key: StageKey, parent: &StageOutcome) -> Option<StageOutcome> {
    let upstream = |message| Some(StageOutcome::Failed(Failure::new(FailureClass::Upstream, message)));
    match parent {
        StageOutcome::Completed(_) => None,
        // The net that this stage would have worked on has diverged or collapsed: that is what is to be said of the trial.
        StageOutcome::Diverged { .. } | StageOutcome::Collapsed { .. } => Some(parent.clone()),
        // The first failure is named all the way down.
        StageOutcome::Failed(failure) if failure.class == FailureClass::Upstream => upstream(failure.message.clone()),
        StageOutcome::Failed(failure) => {
            upstream(format!("stage {}, which this one reads, failed: {}", key.0.short(12), failure.message))
        }
        StageOutcome::Cancelled => upstream(format!("stage {}, which this one reads, was cancelled", key.0.short(12))),
    }
}
