//! `reference`: a model of another kind on the same prepared rows, to compare nets with.

use serde::{Deserialize, Serialize};

use super::{Stage, StageSpec};
use crate::{
    ids::StageKey,
    outcome::Role,
    spec::{Reading, TableFormat, Task},
};

/// Fits a reference model on the train rows and evaluates it like a net. It is deterministic and has no seed, so the
/// trials of all seeds share one stage. For two classes only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceSpec {
    /// The stage that prepared the data.
    pub prepare: StageKey,
    /// The model, and how it is fitted.
    pub model: ReferenceModel,
    /// What the loss of a row is multiplied by, by the index of its class. Empty if all rows weigh the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_weights: Vec<f64>,
}

/// A kind of reference model, with the parameters of its fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceModel {
    /// Logistic regression.
    Logistic(LogisticSpec),
    /// Gradient boosting of decision trees.
    Boosting(BoostingSpec),
    /// The scores of another model, which the table holds.
    Scores(ScoresSpec),
}

/// How a logistic regression is fitted: to the minimum of the sum of the losses plus `l2` / 2 times the sum of the
/// squared coefficients. The intercept is not penalised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogisticSpec {
    /// Strength of the penalty: 1 / C of scikit-learn. Above 0, so that there is one minimum.
    pub l2: f64,
}

impl Default for LogisticSpec {
    fn default() -> Self {
        Self { l2: 1.0 }
    }
}

/// How trees are boosted: each tree is a Newton step on the log loss, grown leaf by leaf on binned inputs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoostingSpec {
    /// The largest number of trees.
    pub trees: u32,
    /// What the value of a leaf is multiplied by.
    pub learning_rate: f64,
    /// The largest number of leaves of a tree.
    pub leaves: u32,
    /// The smallest number of train rows of a leaf.
    pub min_rows: u32,
    /// The largest number of bins of an input.
    pub bins: u32,
    /// The penalty on the squared values of leaves.
    pub l2: f64,
    /// Stop after this many trees without a lower log loss on validation. The trees up to the lowest are kept.
    pub patience: u32,
}

/// Those of scikit-learn and `LightGBM`, with as many trees as validation asks for.
impl Default for BoostingSpec {
    fn default() -> Self {
        Self { trees: 500, learning_rate: 0.1, leaves: 31, min_rows: 20, bins: 255, l2: 0.0, patience: 20 }
    }
}

/// Where the scores of another model are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoresSpec {
    /// The column of the table with the probability of the positive class.
    pub column: String,
    /// The format of the table.
    pub format: TableFormat,
    /// How its text is read.
    #[serde(default, skip_serializing_if = "Reading::is_plain")]
    pub reading: Reading,
}

impl ReferenceModel {
    /// The widest rows that a reference model can be fitted on: the Hessian of the logistic regression is square.
    pub const MAX_INPUTS: u32 = 2_048;

    /// The name of the kind, in sweep files and in the JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Logistic(_) => "logistic",
            Self::Boosting(_) => "boosting",
            Self::Scores(_) => "scores",
        }
    }

    /// The widest rows that this kind is fitted on, or `None` if it is not fitted.
    #[must_use]
    pub const fn max_inputs(&self) -> Option<u32> {
        match self {
            Self::Logistic(_) | Self::Boosting(_) => Some(Self::MAX_INPUTS),
            Self::Scores(_) => None,
        }
    }

    /// Whether there are reference models for tasks of this kind.
    #[must_use]
    pub const fn supports(task: Task) -> bool {
        matches!(task, Task::Binary)
    }

    /// Checks that all parameters are in range.
    ///
    /// # Errors
    /// If one is not.
    pub fn check(&self) -> Result<(), &'static str> {
        let is_positive = |value: f64| value.is_finite() && value > 0.0;
        match self {
            Self::Logistic(LogisticSpec { l2 }) if is_positive(*l2) => Ok(()),
            Self::Scores(ScoresSpec { column, .. }) if column.is_empty() => Err("the column of the scores has no name"),
            Self::Scores(_) => Ok(()),
            Self::Logistic(_) => Err("the l2 of a logistic regression must be above 0"),
            Self::Boosting(BoostingSpec { trees, learning_rate, leaves, min_rows, bins, l2, patience }) => {
                let in_range = (1..=10_000).contains(trees)
                    && is_positive(*learning_rate)
                    && *learning_rate <= 1.0
                    && (2..=1_024).contains(leaves)
                    && *min_rows > 0
                    && (2..=255).contains(bins)
                    && l2.is_finite()
                    && *l2 >= 0.0
                    && *patience > 0;
                if in_range { Ok(()) } else { Err("a parameter of the gradient boosting is out of range") }
            }
        }
    }
}

impl Stage for ReferenceSpec {
    fn parents(&self) -> Vec<StageKey> {
        vec![self.prepare]
    }

    fn with_seed(&self, _: u64, renamed: &dyn Fn(StageKey) -> StageKey) -> StageSpec {
        Self { prepare: renamed(self.prepare), ..self.clone() }.into()
    }

    fn reads(&self) -> Vec<Role> {
        match self.model {
            ReferenceModel::Scores(_) => vec![Role::Prepared, Role::Table],
            ReferenceModel::Logistic(_) | ReferenceModel::Boosting(_) => vec![Role::Prepared],
        }
    }

    fn leaves(&self) -> Vec<Role> {
        match self.model {
            ReferenceModel::Scores(_) => vec![Role::Scores],
            ReferenceModel::Logistic(_) | ReferenceModel::Boosting(_) => vec![Role::Reference, Role::Scores],
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let weighs = self.class_weights.iter().all(|weight| weight.is_finite() && *weight > 0.0);
        if !weighs || !matches!(self.class_weights.len(), 0 | 2) {
            return Err("a reference model takes two class weights above 0, or none");
        }
        self.model.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::ContentHash, spec::StageSpec};

    fn spec(model: ReferenceModel) -> ReferenceSpec {
        ReferenceSpec { prepare: StageKey(ContentHash::of(b"data")), model, class_weights: Vec::new() }
    }

    #[test]
    fn the_json_names_the_kind_of_model() {
        let stage = StageSpec::from(spec(ReferenceModel::Logistic(LogisticSpec { l2: 0.5 })));
        let json = stage.canonical();
        assert!(json.ends_with(r#""model":{"logistic":{"l2":0.5}}}"#), "{json}");
        assert_eq!(StageSpec::parse(&json, stage.key()).expect("its own"), stage);
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        let boosting = BoostingSpec::default();
        assert_eq!(spec(ReferenceModel::Boosting(boosting)).check(), Ok(()));
        let wrong = [
            ReferenceModel::Logistic(LogisticSpec { l2: 0.0 }),
            ReferenceModel::Logistic(LogisticSpec { l2: f64::NAN }),
            ReferenceModel::Boosting(BoostingSpec { trees: 0, ..boosting }),
            ReferenceModel::Boosting(BoostingSpec { learning_rate: 1.5, ..boosting }),
            ReferenceModel::Boosting(BoostingSpec { leaves: 1, ..boosting }),
            ReferenceModel::Boosting(BoostingSpec { min_rows: 0, ..boosting }),
            ReferenceModel::Boosting(BoostingSpec { bins: 256, ..boosting }),
            ReferenceModel::Boosting(BoostingSpec { l2: -1.0, ..boosting }),
            ReferenceModel::Boosting(BoostingSpec { patience: 0, ..boosting }),
        ];
        for model in wrong {
            assert!(spec(model.clone()).check().is_err(), "{model:?}");
        }
        for class_weights in [vec![1.0], vec![1.0, 0.0], vec![1.0; 3]] {
            let spec = ReferenceSpec { class_weights, ..spec(ReferenceModel::Logistic(LogisticSpec::default())) };
            assert!(spec.check().is_err(), "{spec:?}");
        }
    }
}
