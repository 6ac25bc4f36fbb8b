//! `reference`: fits a model of another kind on the train rows, and evaluates it like a net.

use secateur_proto::{
    convert::StageWithInputs,
    metrics::Split,
    outcome::{Artifacts, Checkpoint, Failure, FailureClass, Role, StageOutcome, StageResult},
    spec::{ReferenceModel, ReferenceSpec},
};
use tracing::info;

use super::{Begun, Execute};
use crate::{
    data::Dataset,
    executor::{
        ended::Ended,
        evaluation::{Evaluated, measure},
        workspace::{Workspace, input},
    },
    reference::{Diverged, Fitted, Rows},
};

impl Execute for ReferenceSpec {
    fn begin<'a>(
        &'a self,
        workspace: &mut Workspace,
        stage: &'a StageWithInputs,
        _: Option<Checkpoint>,
    ) -> Result<Begun<'a>, Ended> {
        let store = &workspace.store;
        let data = Dataset::from_safetensors(&store.get(input(stage, Role::Prepared)?.hash)?)?;
        let width = data.width();
        if data.classes != 2 {
            let message = format!("a reference model takes two classes, and the prepared rows have {}", data.classes);
            return Err(Failure::new(FailureClass::Input, message).into());
        }
        if width > ReferenceModel::MAX_INPUTS as usize {
            let message =
                format!("a reference model takes at most {} inputs, found {width}", ReferenceModel::MAX_INPUTS);
            return Err(Failure::new(FailureClass::Input, message).into());
        }
        let weights = self.class_weights.first_chunk().copied().unwrap_or([1.0; 2]);
        let [train, validation, test] = [&data.train, &data.validation, &data.test].map(|part| Rows::of(part, width));
        info!(model = self.model.name(), rows = train.targets.len(), width, "fitting a reference model");
        let fitted = Fitted::of(&self.model, train, validation, weights)
            .map_err(|Diverged { step }| Ended(StageOutcome::Diverged { step }))?;
        let parts = [(Split::Validation, &data.validation, validation), (Split::Test, &data.test, test)].map(
            |(split, part, rows)| Evaluated {
                split,
                rows: &part.rows,
                targets: &part.targets,
                groups: &part.groups,
                logits: fitted.logits(rows),
            },
        );
        let (mut metrics, scores) = measure(&parts, 1, &data.groups)?;
        metrics.extend(fitted.sizes()?);
        let model = serde_json::to_vec(&Written { features: &data.features, model: &fitted })
            .map_err(|error| Failure::new(FailureClass::Internal, error.to_string()))?;
        let artifacts = Artifacts::from([(Role::Reference, store.put(&model)?), (Role::Scores, store.put(&scores)?)]);
        Ok(Begun::Completed(StageResult { metrics, artifacts }))
    }
}

/// The file of a reference model.
#[derive(serde::Serialize)]
struct Written<'a> {
    /// The names of the inputs.
    features: &'a [String],
    model: &'a Fitted,
}
