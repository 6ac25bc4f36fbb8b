//! How stages and trials ended, in little memory: hundreds of thousands are kept.

use std::sync::Arc;

use secateur_proto::{
    ids::ContentHash,
    metrics::{Measured, Metric, Metrics, NotMeasurable, Over, Quantity, Split},
    outcome::{Artifact, Failure, Role, StageOutcome, StageResult},
};

/// A stage's outcome. Copies share their contents.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::scheduler) enum Packed {
    Completed(PackedResult),
    Otherwise(Arc<StageOutcome>),
}

/// The result of a stage as bytes, which only this process reads: how many files there are, and of each its role, hash and size; then
/// the measurements by what they are over: its code (or its text and a zero), how many there are, and of each its metric and eight bytes.
/// `None` if there are neither files nor measurements.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::scheduler) struct PackedResult(Option<Arc<[u8]>>);

/// What most is measured over, by its code. Anything else has the next code, and its text.
const WHOLE: [Over; 3] = [Over::Net, Over::Rows(Split::Validation), Over::Rows(Split::Test)];
/// Bytes of a file.
const FILE: usize = 1 + 32 + 8;
/// Bytes of a measurement.
const MEASUREMENT: usize = 1 + 8;
/// Set beside a metric that could not be measured; the eight bytes are the reason.
const NOT_MEASURABLE: u8 = 1 << 7;

impl Packed {
    pub(in crate::scheduler) fn new(outcome: &StageOutcome) -> Self {
        match outcome {
            StageOutcome::Completed(result) => Self::Completed(PackedResult::new(result)),
            other => Self::Otherwise(Arc::new(other.clone())),
        }
    }

    pub(in crate::scheduler) fn unpack(&self) -> StageOutcome {
        match self {
            Self::Completed(result) => StageOutcome::Completed(result.unpack()),
            Self::Otherwise(outcome) => (**outcome).clone(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Completed(_) => StageOutcome::Completed(StageResult::default()).name(),
            Self::Otherwise(outcome) => outcome.name(),
        }
    }

    pub(in crate::scheduler) const fn is_completed(&self) -> bool {
        matches!(self, Self::Completed(_))
    }

    /// Why it failed; nothing if it ended in another way.
    pub(in crate::scheduler) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Otherwise(outcome) => match outcome.as_ref() {
                StageOutcome::Failed(failure) => Some(failure),
                _ => None,
            },
            Self::Completed(_) => None,
        }
    }

    /// The files that it left.
    pub(in crate::scheduler) fn artifacts(&self) -> impl Iterator<Item = (Role, Artifact)> {
        let result = if let Self::Completed(result) = self { Some(result) } else { None };
        result.into_iter().flat_map(PackedResult::artifacts)
    }
}

/// How a trial ended. Packed: copies share their contents.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialOutcome(Ended);

#[derive(Debug, Clone, PartialEq)]
enum Ended {
    /// With its sweep.
    Cancelled,
    /// As a single stage.
    Alone(Packed),
    /// With the results of several stages, in the order in which they were computed.
    Joined(Box<[Packed]>),
}

impl TrialOutcome {
    pub(in crate::scheduler) const CANCELLED: Self = Self(Ended::Cancelled);

    /// The outcome of a trial by those of its result stages: it ends as the last of them. Returns `None` if that has not ended.
    pub(in crate::scheduler) fn of<'a>(outcomes: impl DoubleEndedIterator<Item = Option<&'a Packed>>) -> Option<Self> {
        let mut outcomes = outcomes.rev();
        let last = outcomes.next().flatten()?;
        let mut joined: Vec<Packed> = if last.is_completed() { outcomes.flatten().cloned().collect() } else { vec![] };
        if joined.is_empty() {
            return Some(Self(Ended::Alone(last.clone())));
        }
        joined.reverse();
        joined.push(last.clone());
        Some(Self(Ended::Joined(joined.into())))
    }

    /// The name of the kind of outcome, as in [`StageOutcome::name`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Ended::Cancelled => StageOutcome::Cancelled.name(),
            Ended::Alone(outcome) => outcome.name(),
            Ended::Joined(outcomes) => outcomes.last().map_or_else(|| StageOutcome::Cancelled.name(), Packed::name),
        }
    }

    /// Unpacks it.
    #[must_use]
    pub fn unpack(&self) -> StageOutcome {
        match &self.0 {
            Ended::Cancelled => StageOutcome::Cancelled,
            Ended::Alone(outcome) => outcome.unpack(),
            Ended::Joined(outcomes) => {
                let mut all = StageResult::default();
                for outcome in outcomes {
                    match outcome.unpack() {
                        StageOutcome::Completed(result) => all.extend(result),
                        // What the last stage waited for has completed: a plan is not packed otherwise.
                        other => return other,
                    }
                }
                StageOutcome::Completed(all)
            }
        }
    }
}

impl PackedResult {
    fn new(result: &StageResult) -> Self {
        if result.metrics.is_empty() && result.artifacts.is_empty() {
            return Self(None);
        }
        let mut measurements: Vec<_> = result.metrics.iter().collect();
        measurements.sort_by(|(one, _), (other, _)| one.over().cmp(other.over()));
        let count = |number: usize| u8::try_from(number).expect("there are fewer roles, and fewer metrics");
        let mut bytes = Vec::with_capacity(256);
        bytes.push(count(result.artifacts.len()));
        for (role, artifact) in &result.artifacts {
            bytes.push(code(Role::ALL, role));
            bytes.extend(artifact.hash.as_bytes());
            bytes.extend(artifact.size.to_le_bytes());
        }
        for measurements in measurements.chunk_by(|(one, _), (other, _)| one.over() == other.over()) {
            let over = measurements[0].0.over();
            match WHOLE.iter().position(|whole| whole == over) {
                Some(place) => bytes.push(count(place)),
                None => {
                    bytes.push(count(WHOLE.len()));
                    bytes.extend(over.to_string().as_bytes());
                    bytes.push(0);
                }
            }
            bytes.push(count(measurements.len()));
            for (quantity, measured) in measurements {
                let metric = code(Metric::ALL, &quantity.metric());
                let (metric, number) = match measured {
                    Measured::Value(value) => (metric, value.to_le_bytes()),
                    Measured::Not(reason) => {
                        (metric | NOT_MEASURABLE, u64::from(code(NotMeasurable::ALL, reason)).to_le_bytes())
                    }
                };
                bytes.push(metric);
                bytes.extend(number);
            }
        }
        Self(Some(bytes.into()))
    }

    fn unpack(&self) -> StageResult {
        let mut metrics = Metrics::new();
        let mut rest = self.parts().1;
        while let [over, others @ ..] = rest {
            let (over, others) = match WHOLE.get(usize::from(*over)) {
                Some(whole) => (whole.clone(), others),
                None => {
                    let end = others.iter().position(|byte| *byte == 0).expect("a text ends with a zero");
                    let text = std::str::from_utf8(&others[..end]).expect("it was text");
                    (text.parse().expect("it was written by an `Over`"), &others[end + 1..])
                }
            };
            let (measurements, others) = others[1..].split_at(usize::from(others[0]) * MEASUREMENT);
            for measurement in measurements.chunks_exact(MEASUREMENT) {
                let (code, number) = (measurement[0], eight(&measurement[1..]));
                let metric = Metric::ALL[usize::from(code & !NOT_MEASURABLE)];
                let measured = if code & NOT_MEASURABLE == 0 {
                    Measured::Value(f64::from_le_bytes(number))
                } else {
                    Measured::Not(NotMeasurable::ALL[usize::from(number[0])])
                };
                metrics.insert(Quantity::new(metric, over.clone()).expect("it was one"), measured);
            }
            rest = others;
        }
        StageResult { metrics, artifacts: self.artifacts().collect() }
    }

    fn artifacts(&self) -> impl Iterator<Item = (Role, Artifact)> {
        self.parts().0.chunks_exact(FILE).map(|file| {
            let (hash, size) = file[1..].split_at(32);
            let hash: [u8; 32] = hash.try_into().expect("it was split there");
            let artifact =
                Artifact { hash: ContentHash::from(blake3::Hash::from(hash)), size: u64::from_le_bytes(eight(size)) };
            (Role::ALL[usize::from(file[0])], artifact)
        })
    }

    /// The files, and the measurements.
    fn parts(&self) -> (&[u8], &[u8]) {
        match self.0.as_deref() {
            Some([files, rest @ ..]) => rest.split_at(usize::from(*files) * FILE),
            _ => (&[], &[]),
        }
    }
}

fn code<T: PartialEq>(all: &[T], one: &T) -> u8 {
    let place = all.iter().position(|other| other == one).expect("all of them are there");
    u8::try_from(place).expect("there are not as many")
}

fn eight(bytes: &[u8]) -> [u8; 8] {
    bytes.try_into().expect("these are eight bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn measurements() -> impl Strategy<Value = Metrics> {
        let split = || prop::sample::select(Split::ALL.to_vec());
        let over = prop_oneof![
            split().prop_map(Over::Rows),
            (split(), any::<String>(), "[a-c]").prop_map(|(split, column, level)| Over::slice(split, &column, &level)),
            (split(), "[a-c]").prop_map(|(split, column)| Over::gap(split, &column)),
        ];
        let measured = prop_oneof![
            any::<f64>().prop_map(Measured::Value),
            prop::sample::select(NotMeasurable::ALL.to_vec()).prop_map(Measured::Not)
        ];
        let metric = prop::sample::select(Metric::ALL.to_vec());
        let quantity = (metric, over).prop_map(|(metric, over)| {
            Quantity::new(metric, if metric.is_of_net() { Over::Net } else { over }).expect("they fit")
        });
        prop::collection::vec((quantity, measured), 0..40).prop_map(Metrics::from_iter)
    }

    fn results() -> impl Strategy<Value = StageResult> {
        let file = (prop::sample::select(Role::ALL.to_vec()), any::<[u8; 32]>(), any::<u64>());
        (measurements(), prop::collection::vec(file, 0..8)).prop_map(|(metrics, files)| {
            let artifact = |hash: [u8; 32], size| Artifact { hash: ContentHash::from(blake3::Hash::from(hash)), size };
            let artifacts = files.into_iter().map(|(role, hash, size)| (role, artifact(hash, size))).collect();
            StageResult { metrics, artifacts }
        })
    }

    proptest! {
        #[test]
        fn nothing_of_a_result_is_lost(result in results()) {
            let outcome = StageOutcome::Completed(result.clone());
            let packed = Packed::new(&outcome);
            prop_assert_eq!(packed.unpack(), outcome);
            prop_assert_eq!(packed.artifacts().collect::<secateur_proto::outcome::Artifacts>(), result.artifacts);
        }
    }
}
