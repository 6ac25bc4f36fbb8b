//! `reference`: fits a model of another kind on the train rows, or takes scores from the table, and evaluates them like a net's.

use secateur_proto::{
    convert::StageWithInputs,
    metrics::Split,
    outcome::{Artifacts, Checkpoint, Failure, FailureClass, Role, StageOutcome, StageResult},
    spec::{ReferenceModel, ReferenceSpec, ScoresSpec},
};
use tracing::info;

use super::{Begun, Execute};
use crate::{
    data::{self, Dataset, Part},
    executor::{
        ended::Ended,
        evaluation::{Evaluated, measure},
        workspace::{Workspace, input},
    },
    reference::{Diverged, Fitted, Rows, log_odds},
};

impl Execute for ReferenceSpec {
    fn begin<'a>(
        &'a self,
        workspace: &mut Workspace,
        stage: &'a StageWithInputs,
        _: Option<Checkpoint>,
    ) -> Result<Begun<'a>, Ended> {
        let store = &workspace.store;
        let dataset = Dataset::from_safetensors(&store.get(input(stage, Role::Prepared)?.hash)?)?;
        let width = dataset.width();
        if dataset.classes != 2 {
            let message =
                format!("a reference model takes two classes, and the prepared rows have {}", dataset.classes);
            return Err(Failure::new(FailureClass::Input, message).into());
        }
        if self.model.max_inputs().is_some_and(|most| width > most as usize) {
            let message =
                format!("a reference model takes at most {} inputs, found {width}", ReferenceModel::MAX_INPUTS);
            return Err(Failure::new(FailureClass::Input, message).into());
        }
        let weights = self.class_weights.first_chunk().copied().unwrap_or([1.0; 2]);
        let [train, validation, test] =
            [&dataset.train, &dataset.validation, &dataset.test].map(|part| Rows::of(part, width));
        info!(model = self.model.name(), rows = train.targets.len(), width, "fitting a reference model");
        let fitted = Fitted::of(&self.model, train, validation, weights)
            .map_err(|Diverged { step }| Ended(StageOutcome::Diverged { step }))?;
        let logits = |part: &Part, rows: Rows<'_>| -> Result<Vec<f32>, Ended> {
            match (&self.model, &fitted) {
                (ReferenceModel::Scores(ScoresSpec { column, format, reading }), _) => {
                    let table = store.get(input(stage, Role::Table)?.hash)?;
                    let scores = data::given_scores(*format, reading, &table, column, &part.rows)?;
                    Ok(scores.into_iter().map(log_odds).collect())
                }
                (_, Some(fitted)) => Ok(fitted.logits(rows)),
                (_, None) => Err(Failure::new(FailureClass::Internal, "the model was not fitted").into()),
            }
        };
        let mut parts = Vec::new();
        for (split, part, rows) in
            [(Split::Validation, &dataset.validation, validation), (Split::Test, &dataset.test, test)]
        {
            let Part { rows: numbers, targets, groups, .. } = part;
            parts.push(Evaluated { split, rows: numbers, targets, groups, logits: logits(part, rows)? });
        }
        let (mut metrics, scores) = measure(&parts, 1, &dataset.groups)?;
        let mut artifacts = Artifacts::from([(Role::Scores, store.put(&scores)?)]);
        if let Some(fitted) = &fitted {
            metrics.extend(fitted.sizes()?);
            let model = serde_json::to_vec(&Written { features: &dataset.features, model: fitted })
                .map_err(|error| Failure::new(FailureClass::Internal, error.to_string()))?;
            artifacts.insert(Role::Reference, store.put(&model)?);
        }
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
