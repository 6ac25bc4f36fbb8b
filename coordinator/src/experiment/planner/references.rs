//! The reference models of a sweep, as controls: one cell for each, whatever the settings of the nets.

use std::collections::BTreeMap;

use secateur_proto::spec::{BoostingSpec, LogisticSpec, Reading, ReferenceModel, ReferenceSpec, ScoresSpec, StageSpec};
use serde_json::json;

use super::PlanBuilder;
use crate::experiment::{
    diagnostic::Diagnostics,
    facts::InputFacts,
    plan::{Cell, Control, REFERENCE, Settings},
    setting::{SettingValue as _, training},
    spec::{References, SweepSpec},
};

/// Checks that reference models can be fitted on the rows.
///
/// # Errors
/// If the rows are too wide.
pub(super) fn check(spec: &SweepSpec, inputs: &InputFacts) -> Result<(), Diagnostics> {
    let References { models, mark } = &spec.references;
    let fits = |model: &ReferenceModel| model.max_inputs().is_none_or(|most| inputs.inputs <= most);
    if models.iter().all(fits) {
        return Ok(());
    }
    let message = format!(
        "the prepared rows have {} inputs, and reference models are fitted on at most {}",
        inputs.inputs,
        ReferenceModel::MAX_INPUTS
    );
    Err(Diagnostics::one(&spec.file, *mark, "references", message))
}

impl PlanBuilder<'_> {
    /// A cell for each reference model and each value of `training.class_weight`. All seeds share its stage.
    pub(super) fn add_references(&mut self) {
        let weights = self.spec.grid.listed(&training::CLASS_WEIGHT);
        let models = &self.spec.references.models;
        for (model, weight) in models.iter().flat_map(|model| weights.iter().map(move |weight| (model, weight))) {
            // Scores that are given are what they are.
            let is_fitted = !matches!(model, ReferenceModel::Scores(_));
            let class_weights = if is_fitted { weight.of_classes(&self.inputs.classes) } else { Vec::new() };
            let weighs = !class_weights.is_empty();
            let stage =
                StageSpec::from(ReferenceSpec { prepare: self.prepare, model: self.as_read(model), class_weights });
            let key = stage.key();
            // An earlier part has it, or two values of class_weight are the same weights.
            if !self.references.insert(key) {
                continue;
            }
            let mut settings = settings_of(model);
            if weighs || (is_fitted && weights.len() > 1) {
                settings.insert(training::CLASS_WEIGHT.path.to_owned(), weight.json());
            }
            let control = match model {
                ReferenceModel::Logistic(_) => Control::Logistic,
                ReferenceModel::Boosting(_) => Control::Boosting,
                ReferenceModel::Scores(_) => Control::Scores,
            };
            let id = self.cell_id(&settings);
            self.part.cells.push(Cell::new(id.clone(), settings, Some(control)));
            self.trials(&id, |_| vec![(key, stage.clone())]);
        }
    }

    /// The model with what was found of the table's text. The columns' own readings are of inputs.
    fn as_read(&self, model: &ReferenceModel) -> ReferenceModel {
        match model {
            ReferenceModel::Scores(ScoresSpec { column, format, .. }) => {
                let found = self.inputs.reading.clone();
                let reading = Reading { columns: BTreeMap::new(), positive: None, drop_unlabelled: false, ..found };
                ReferenceModel::Scores(ScoresSpec { column: column.clone(), format: *format, reading })
            }
            fitted => fitted.clone(),
        }
    }
}

/// The name of the model, and the parameters that are not the default.
fn settings_of(model: &ReferenceModel) -> Settings {
    let default = match model {
        ReferenceModel::Logistic(_) => json!(LogisticSpec::default()),
        ReferenceModel::Boosting(_) => json!(BoostingSpec::default()),
        ReferenceModel::Scores(_) => json!({}),
    };
    let parameters = match model {
        ReferenceModel::Logistic(spec) => json!(spec),
        ReferenceModel::Boosting(spec) => json!(spec),
        ReferenceModel::Scores(spec) => json!({"column": spec.column}),
    };
    let changed = parameters.as_object().into_iter().flatten().filter(|(name, value)| default[*name] != **value);
    let changed = changed.map(|(name, value)| (format!("{REFERENCE}.{name}"), value.clone()));
    changed.chain([(REFERENCE.to_owned(), json!(model.name()))]).collect()
}
