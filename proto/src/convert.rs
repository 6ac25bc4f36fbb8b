//! Conversion between messages and validated types. Everything that arrives over the network is validated here.

use std::collections::BTreeMap;

use crate::{
    ids::{InvalidId, StageKey},
    metrics::{InvalidQuantity, Measured, Metrics, Quantity},
    outcome::{Artifact, Artifacts, Checkpoint, Failure, FailureClass, Role, StageOutcome, StageResult},
    spec::{InvalidSpec, StageSpec, Vocabulary as _},
    v1,
};

/// An invalid message.
#[derive(Debug, thiserror::Error)]
pub enum InvalidMessage {
    /// A field is not set.
    #[error("missing field: {0}")]
    Missing(&'static str),
    /// An unknown name or number.
    #[error("unknown {what}: {found:?}")]
    Unknown {
        /// The kind of name.
        what: &'static str,
        /// What was found.
        found: String,
    },
    /// An invalid identifier.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// An invalid spec.
    #[error(transparent)]
    Spec(#[from] InvalidSpec),
    /// An invalid quantity.
    #[error(transparent)]
    Quantity(#[from] InvalidQuantity),
    /// A quantity with two values.
    #[error("duplicate value of {0}")]
    Twice(Quantity),
    /// A value that is infinite or not a number.
    #[error("the value of {0} is not a finite number")]
    NotFinite(Quantity),
}

impl From<Artifact> for v1::ArtifactRef {
    fn from(artifact: Artifact) -> Self {
        Self { hash: artifact.hash.to_string(), size: artifact.size }
    }
}

impl TryFrom<v1::ArtifactRef> for Artifact {
    type Error = InvalidMessage;

    fn try_from(message: v1::ArtifactRef) -> Result<Self, InvalidMessage> {
        Ok(Self { hash: message.hash.parse()?, size: message.size })
    }
}

impl From<Checkpoint> for v1::Checkpoint {
    fn from(checkpoint: Checkpoint) -> Self {
        Self { epoch: checkpoint.epoch, state: Some(checkpoint.state.into()) }
    }
}

impl TryFrom<v1::Checkpoint> for Checkpoint {
    type Error = InvalidMessage;

    fn try_from(message: v1::Checkpoint) -> Result<Self, InvalidMessage> {
        if message.epoch == 0 {
            return Err(InvalidMessage::Missing("epoch"));
        }
        Ok(Self { epoch: message.epoch, state: message.state.ok_or(InvalidMessage::Missing("state"))?.try_into()? })
    }
}

/// Converts artifacts to a message field.
#[must_use]
pub fn artifacts_to_message(artifacts: &Artifacts) -> BTreeMap<String, v1::ArtifactRef> {
    artifacts.iter().map(|(role, artifact)| (role.name().to_owned(), (*artifact).into())).collect()
}

/// Converts a message field to artifacts.
///
/// # Errors
/// If a role or a hash is invalid.
pub fn artifacts_from_message(message: BTreeMap<String, v1::ArtifactRef>) -> Result<Artifacts, InvalidMessage> {
    message
        .into_iter()
        .map(|(name, artifact)| {
            let role = Role::named(&name)
                .ok_or_else(|| InvalidMessage::Unknown { what: "artifact role", found: cut(&name) })?;
            Ok((role, artifact.try_into()?))
        })
        .collect()
}

impl From<&Metrics> for Vec<v1::Measurement> {
    fn from(metrics: &Metrics) -> Self {
        use v1::measurement::Result;
        let result = |measured: &Measured| match measured {
            Measured::Value(value) => Result::Value(*value),
            Measured::Not(reason) => Result::NotMeasurable(reason.name().to_owned()),
        };
        let message = |(quantity, measured): (&Quantity, &Measured)| v1::Measurement {
            quantity: quantity.to_string(),
            result: Some(result(measured)),
        };
        metrics.iter().map(message).collect()
    }
}

impl TryFrom<Vec<v1::Measurement>> for Metrics {
    type Error = InvalidMessage;

    fn try_from(message: Vec<v1::Measurement>) -> Result<Self, InvalidMessage> {
        let mut metrics = Self::new();
        for entry in message {
            let quantity: Quantity = entry.quantity.parse()?;
            let measured = match entry.result.ok_or(InvalidMessage::Missing("result of a measurement"))? {
                v1::measurement::Result::Value(value) if value.is_finite() => Measured::Value(value),
                v1::measurement::Result::Value(_) => return Err(InvalidMessage::NotFinite(quantity)),
                v1::measurement::Result::NotMeasurable(reason) => Measured::Not(reason.parse()?),
            };
            if metrics.get(&quantity).is_some() {
                return Err(InvalidMessage::Twice(quantity));
            }
            metrics.insert(quantity, measured);
        }
        Ok(metrics)
    }
}

impl From<&Failure> for v1::Failed {
    fn from(failure: &Failure) -> Self {
        let class = match failure.class {
            FailureClass::Executor => v1::FailureClass::Executor,
            FailureClass::Storage => v1::FailureClass::Storage,
            FailureClass::Input => v1::FailureClass::Input,
            FailureClass::Internal => v1::FailureClass::Internal,
            FailureClass::Upstream => v1::FailureClass::Upstream,
            FailureClass::NoSpace => v1::FailureClass::NoSpace,
            FailureClass::OutOfMemory => v1::FailureClass::OutOfMemory,
            FailureClass::Poison => v1::FailureClass::Poison,
            FailureClass::Unfit => v1::FailureClass::Unfit,
        };
        Self { class: class.into(), message: failure.message.clone() }
    }
}

impl TryFrom<v1::Failed> for Failure {
    type Error = InvalidMessage;

    fn try_from(message: v1::Failed) -> Result<Self, InvalidMessage> {
        let class = match message.class() {
            v1::FailureClass::Executor => FailureClass::Executor,
            v1::FailureClass::Storage => FailureClass::Storage,
            v1::FailureClass::Input => FailureClass::Input,
            v1::FailureClass::Internal => FailureClass::Internal,
            v1::FailureClass::Upstream => FailureClass::Upstream,
            v1::FailureClass::NoSpace => FailureClass::NoSpace,
            v1::FailureClass::OutOfMemory => FailureClass::OutOfMemory,
            v1::FailureClass::Poison => FailureClass::Poison,
            v1::FailureClass::Unfit => FailureClass::Unfit,
            v1::FailureClass::Unspecified => {
                return Err(InvalidMessage::Unknown { what: "failure class", found: message.class.to_string() });
            }
        };
        Ok(Self { class, message: message.message.chars().take(4000).collect() })
    }
}

impl From<&StageOutcome> for v1::StageOutcome {
    fn from(outcome: &StageOutcome) -> Self {
        use v1::stage_outcome::Outcome;
        let outcome = match outcome {
            StageOutcome::Completed(result) => Outcome::Completed(v1::Completed {
                metrics: (&result.metrics).into(),
                artifacts: artifacts_to_message(&result.artifacts),
            }),
            StageOutcome::Diverged { step } => Outcome::Diverged(v1::Diverged { step: *step }),
            StageOutcome::Collapsed { layer } => Outcome::Collapsed(v1::Collapsed { layer: layer.clone() }),
            StageOutcome::Failed(failure) => Outcome::Failed(failure.into()),
            StageOutcome::Cancelled => Outcome::Cancelled(v1::Cancelled {}),
        };
        Self { outcome: Some(outcome) }
    }
}

impl TryFrom<v1::StageOutcome> for StageOutcome {
    type Error = InvalidMessage;

    fn try_from(message: v1::StageOutcome) -> Result<Self, InvalidMessage> {
        use v1::stage_outcome::Outcome;
        Ok(match message.outcome.ok_or(InvalidMessage::Missing("outcome"))? {
            Outcome::Completed(result) => {
                let metrics: Metrics = result.metrics.try_into()?;
                Self::Completed(StageResult { metrics, artifacts: artifacts_from_message(result.artifacts)? })
            }
            Outcome::Diverged(diverged) => Self::Diverged { step: diverged.step },
            Outcome::Collapsed(collapsed) => Self::Collapsed { layer: cut(&collapsed.layer) },
            Outcome::Failed(failed) => Self::Failed(failed.try_into()?),
            Outcome::Cancelled(_) => Self::Cancelled,
        })
    }
}

/// A stage with the files it reads.
#[derive(Debug, Clone, PartialEq)]
pub struct StageWithInputs {
    /// The hash of the spec.
    pub key: StageKey,
    /// What to do.
    pub spec: StageSpec,
    /// What it reads.
    pub inputs: Artifacts,
}

impl From<&StageWithInputs> for v1::Stage {
    fn from(stage: &StageWithInputs) -> Self {
        Self { key: stage.key.to_string(), spec: stage.spec.canonical(), inputs: artifacts_to_message(&stage.inputs) }
    }
}

impl TryFrom<v1::Stage> for StageWithInputs {
    type Error = InvalidMessage;

    fn try_from(message: v1::Stage) -> Result<Self, InvalidMessage> {
        let key: StageKey = message.key.parse()?;
        Ok(Self { key, spec: StageSpec::parse(&message.spec, key)?, inputs: artifacts_from_message(message.inputs)? })
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{ids::ContentHash, metrics::tests::metrics};

    fn outcome() -> impl Strategy<Value = StageOutcome> {
        let artifacts = proptest::collection::btree_map(
            (0..Role::ALL.len()).prop_map(|index| Role::ALL[index]),
            (any::<Vec<u8>>(), any::<u64>()).prop_map(|(bytes, size)| Artifact { hash: ContentHash::of(&bytes), size }),
            0..4,
        );
        let class = prop_oneof![
            Just(FailureClass::Executor),
            Just(FailureClass::Storage),
            Just(FailureClass::Input),
            Just(FailureClass::Internal),
            Just(FailureClass::Upstream),
            Just(FailureClass::NoSpace),
            Just(FailureClass::OutOfMemory),
            Just(FailureClass::Poison),
            Just(FailureClass::Unfit),
        ];
        prop_oneof![
            (metrics(), artifacts)
                .prop_map(|(metrics, artifacts)| StageOutcome::Completed(StageResult { metrics, artifacts })),
            any::<u64>().prop_map(|step| StageOutcome::Diverged { step }),
            "[a-z.0-9]{1,40}".prop_map(|layer| StageOutcome::Collapsed { layer }),
            (class, ".{0,100}").prop_map(|(class, message)| StageOutcome::Failed(Failure { class, message })),
            Just(StageOutcome::Cancelled),
        ]
    }

    proptest! {
        #[test]
        fn an_outcome_survives_the_wire_and_the_journal(outcome in outcome()) {
            use prost::Message as _;
            let bytes = v1::StageOutcome::from(&outcome).encode_to_vec();
            let message = v1::StageOutcome::decode(bytes.as_slice()).expect("decodes");
            prop_assert_eq!(StageOutcome::try_from(message).expect("valid"), outcome.clone());
            let json = serde_json::to_string(&outcome).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<StageOutcome>(&json).expect("deserialises"), outcome);
        }
    }

    #[test]
    fn a_checkpoint_survives_the_wire_and_one_of_no_epoch_or_file_is_refused() {
        let state = Artifact { hash: ContentHash::of(b"state"), size: 5 };
        let checkpoint = Checkpoint { epoch: 3, state };
        let message = v1::Checkpoint::from(checkpoint);
        assert_eq!(Checkpoint::try_from(message.clone()).expect("valid"), checkpoint);
        for wrong in [v1::Checkpoint { epoch: 0, ..message.clone() }, v1::Checkpoint { state: None, ..message }] {
            assert!(Checkpoint::try_from(wrong).is_err());
        }
    }

    #[test]
    fn a_completed_stage_with_a_measurement_that_is_none_is_refused() {
        use v1::measurement::Result::{NotMeasurable, Value};
        let message = |measurements: &[(&str, v1::measurement::Result)]| {
            let metrics = (measurements.iter())
                .map(|(quantity, result)| v1::Measurement {
                    quantity: (*quantity).to_owned(),
                    result: Some(result.clone()),
                })
                .collect();
            let completed = v1::Completed { metrics, artifacts: BTreeMap::new() };
            v1::StageOutcome { outcome: Some(v1::stage_outcome::Outcome::Completed(completed)) }
        };
        let reason = || NotMeasurable("few_rows".to_owned());
        assert!(StageOutcome::try_from(message(&[("auc@test", Value(0.5)), ("ks@test", reason())])).is_ok());
        for wrong in [
            &[("auc@test", Value(f64::NAN))][..],
            &[("auc@test", Value(f64::INFINITY))],
            &[("auc", Value(0.5))],
            &[("macs@test", Value(5.0))],
            &[("auc@test[region", Value(0.5))],
            &[("auc@test", NotMeasurable("because".to_owned()))],
            &[("auc@test", Value(0.5)), ("auc@test", reason())],
        ] {
            assert!(StageOutcome::try_from(message(wrong)).is_err(), "{wrong:?}");
        }
        let mut nothing = message(&[("auc@test", reason())]);
        if let Some(v1::stage_outcome::Outcome::Completed(completed)) = &mut nothing.outcome {
            completed.metrics[0].result = None;
        }
        assert!(StageOutcome::try_from(nothing).is_err());
    }

    #[test]
    fn a_spec_that_was_changed_on_the_way_is_refused() {
        let spec = StageSpec::Prepare(crate::spec::PrepareSpec {
            table: ContentHash::of(b"t"),
            data: crate::spec::DataSettings::of_table(
                crate::spec::TableFormat::Csv,
                "y",
                crate::spec::Task::Binary,
                crate::spec::SplitSpec::Column { column: "part".into() },
            ),
        });
        let stage = StageWithInputs { key: spec.key(), spec, inputs: Artifacts::new() };
        let mut message = v1::Stage::from(&stage);
        assert_eq!(StageWithInputs::try_from(message.clone()).expect("valid"), stage);
        message.spec = message.spec.replace("\"y\"", "\"z\"");
        assert!(matches!(
            StageWithInputs::try_from(message),
            Err(InvalidMessage::Spec(InvalidSpec::KeyMismatch { .. }))
        ));
    }
}
