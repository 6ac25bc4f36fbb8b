//! How a stage ended, kept small: hundreds of thousands are kept. And what its children inherit of it.

use secateur_proto::{
    ids::{ContentHash, StageKey},
    metrics::{Metric, MetricValue, Metrics, Split},
    outcome::{Artifact, Failure, FailureClass, Role, StageOutcome, StageResult},
};

/// A stage's outcome.
#[derive(Debug, PartialEq)]
pub(in crate::scheduler) enum Packed {
    Completed(PackedResult),
    Otherwise(Box<StageOutcome>),
}

/// The result of a stage as bytes, which only this process reads: how many values there are, in two bytes; of each its metric, its split
/// and its eight bytes; then the files, of each its role, hash and size. Nothing, if there is neither.
#[derive(Debug, PartialEq)]
pub(in crate::scheduler) struct PackedResult(Option<Box<[u8]>>);

/// Bytes of a value with what it is of.
const VALUE: usize = 2 + 8;
/// Bytes of a file.
const FILE: usize = 1 + 32 + 8;

impl Packed {
    pub(in crate::scheduler) fn new(outcome: &StageOutcome) -> Self {
        match outcome {
            StageOutcome::Completed(result) => Self::Completed(PackedResult::new(result)),
            other => Self::Otherwise(Box::new(other.clone())),
        }
    }

    pub(in crate::scheduler) fn unpack(&self) -> StageOutcome {
        match self {
            Self::Completed(result) => StageOutcome::Completed(result.unpack()),
            Self::Otherwise(outcome) => (**outcome).clone(),
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

impl PackedResult {
    fn new(result: &StageResult) -> Self {
        let mut values: Vec<(Metric, Option<Split>, f64)> = vec![];
        for (metric, value) in &result.metrics.0 {
            match value {
                MetricValue::Net(value) => values.push((*metric, None, *value)),
                MetricValue::BySplit(by_split) => {
                    values.extend(by_split.iter().map(|(split, value)| (*metric, Some(*split), *value)));
                }
            }
        }
        if values.is_empty() && result.artifacts.is_empty() {
            return Self(None);
        }
        let mut bytes = Vec::with_capacity(2 + values.len() * VALUE + result.artifacts.len() * FILE);
        let count = u16::try_from(values.len()).expect("there are not as many metrics");
        bytes.extend(count.to_le_bytes());
        for (metric, split, value) in values {
            bytes.extend([code(Metric::ALL, &metric), split.map_or(0, |split| 1 + code(&Split::ALL, &split))]);
            bytes.extend(value.to_le_bytes());
        }
        for (role, artifact) in &result.artifacts {
            bytes.push(code(&Role::ALL, role));
            bytes.extend(artifact.hash.as_bytes());
            bytes.extend(artifact.size.to_le_bytes());
        }
        Self(Some(bytes.into()))
    }

    fn unpack(&self) -> StageResult {
        let mut metrics = Metrics::new();
        for value in self.parts().0.chunks_exact(VALUE) {
            let (what, number) = value.split_at(2);
            let (metric, number) = (Metric::ALL[usize::from(what[0])], f64::from_le_bytes(eight(number)));
            match usize::from(what[1]).checked_sub(1) {
                None => metrics.set_net(metric, number),
                Some(split) => metrics.set(metric, Split::ALL[split], number),
            }
        }
        StageResult { metrics, artifacts: self.artifacts().collect() }
    }

    fn artifacts(&self) -> impl Iterator<Item = (Role, Artifact)> {
        self.parts().1.chunks_exact(FILE).map(|file| {
            let (hash, size) = file[1..].split_at(32);
            let hash: [u8; 32] = hash.try_into().expect("it was split there");
            let artifact =
                Artifact { hash: ContentHash::from(blake3::Hash::from(hash)), size: u64::from_le_bytes(eight(size)) };
            (Role::ALL[usize::from(file[0])], artifact)
        })
    }

    /// The values, and the files.
    fn parts(&self) -> (&[u8], &[u8]) {
        match self.0.as_deref() {
            Some([low, high, rest @ ..]) => rest.split_at(usize::from(u16::from_le_bytes([*low, *high])) * VALUE),
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

/// How a child of a stage that ended as `parent` ends with it; nothing if the parent completed.
pub(in crate::scheduler) fn inherited(key: StageKey, parent: &StageOutcome) -> Option<StageOutcome> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn results() -> impl Strategy<Value = StageResult> {
        let value = (prop::sample::select(Metric::ALL.to_vec()), 0..3_usize, any::<f64>());
        let file = (prop::sample::select(Role::ALL.to_vec()), any::<[u8; 32]>(), any::<u64>());
        (prop::collection::vec(value, 0..40), prop::collection::vec(file, 0..8)).prop_map(|(values, files)| {
            let mut metrics = Metrics::new();
            for (metric, split, value) in values {
                match split.checked_sub(1) {
                    None => metrics.set_net(metric, value),
                    Some(split) => metrics.set(metric, Split::ALL[split], value),
                }
            }
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
