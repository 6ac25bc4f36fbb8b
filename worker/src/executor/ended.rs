//! A stage that cannot go on, and what each error that it can meet means for its outcome.

use secateur_proto::outcome::{Failure, FailureClass, StageOutcome};

use crate::{
    causes::with_causes,
    data::DataError,
    metrics::MetricError,
    prune::{schedule::NoPlan, select::NoSelection},
    store::StoreError,
    tensors::InvalidTensors,
};

/// What it means for a stage that the store does not do as asked.
pub(super) fn storage_failure(error: &StoreError) -> Failure {
    let class = if error.is_full() { FailureClass::NoSpace } else { FailureClass::Storage };
    Failure::new(class, error.told())
}

/// A stage that cannot go on: its outcome.
pub(super) struct Ended(pub(super) StageOutcome);

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self(StageOutcome::Failed(failure))
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        storage_failure(&error).into()
    }
}

impl From<InvalidTensors> for Ended {
    fn from(error: InvalidTensors) -> Self {
        Failure::new(FailureClass::Input, with_causes(&error)).into()
    }
}

impl From<DataError> for Ended {
    fn from(error: DataError) -> Self {
        Failure::new(FailureClass::Input, with_causes(&error)).into()
    }
}

impl From<MetricError> for Ended {
    fn from(error: MetricError) -> Self {
        Failure::new(FailureClass::Internal, with_causes(&error)).into()
    }
}

impl From<NoSelection> for Ended {
    fn from(reason: NoSelection) -> Self {
        Self(match reason {
            NoSelection::Collapsed { layer } => StageOutcome::Collapsed { layer },
            NoSelection::NotFinite => StageOutcome::Diverged { step: 0 },
            NoSelection::Unfit(_) => StageOutcome::Failed(Failure::new(FailureClass::Input, reason.to_string())),
        })
    }
}

impl From<NoPlan> for Ended {
    fn from(reason: NoPlan) -> Self {
        match reason {
            NoPlan::Selection(reason) => reason.into(),
            NoPlan::Failure(failure) => failure.into(),
        }
    }
}
