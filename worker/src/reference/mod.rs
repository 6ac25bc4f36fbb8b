//! Reference models that nets are compared with: logistic regression and gradient boosting, for two classes.
//!
//! Both are fitted here rather than by a crate, since a stage's result must be the same bit for bit wherever it is computed: one
//! thread, sums in the order of the rows, and exponentials of `libm`. `tests/golden/references.json` holds both to scikit-learn.

mod binning;
mod boosting;
mod logistic;

use secateur_proto::{
    metrics::{Metric, Metrics, Over, Quantity},
    spec::{ModelSpec, ReferenceModel},
};
use serde::Serialize;

pub use self::{
    boosting::{Boosting, Node, Tree},
    logistic::Logistic,
};
use crate::{
    data::Part,
    metrics::{MetricError, of_net},
    net::Parameters,
};

/// Rows of prepared inputs and their classes.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Shape [rows, width], row-major, finite.
    pub inputs: &'a [f32],
    /// Inputs of a row, at least one.
    pub width: usize,
    /// 0 or 1 of each row.
    pub targets: &'a [f32],
}

impl<'a> Rows<'a> {
    /// The rows of a part of a dataset with so many features.
    #[must_use]
    pub fn of(part: &'a Part, width: usize) -> Self {
        Self { inputs: &part.inputs, width, targets: &part.targets }
    }

    /// The inputs of each row.
    fn iter(&self) -> impl ExactSizeIterator<Item = &'a [f32]> + use<'a> {
        self.inputs.chunks_exact(self.width)
    }

    /// How many rows.
    fn len(&self) -> usize {
        self.targets.len()
    }

    /// The inputs and the class of each row, and what its loss is multiplied by.
    fn weighted(&self, weights: [f64; 2]) -> impl Iterator<Item = (&'a [f32], f64, f64)> + use<'a> {
        self.iter().zip(self.targets).map(move |(inputs, target)| {
            let weight = if *target == 1.0 { weights[1] } else { weights[0] };
            (inputs, f64::from(*target), weight)
        })
    }
}

/// A fit that did not come to an end: a number was not finite at this step, from 1, or the last step was not small enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Diverged {
    /// An iteration or a tree.
    pub step: u64,
}

/// A fitted reference model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fitted {
    /// Coefficients.
    Logistic(Logistic),
    /// Trees.
    Boosting(Boosting),
}

impl Fitted {
    /// Fits `model` on the train rows, whose losses are multiplied by the weights of their classes. `validation` only decides when
    /// boosting stops. Returns `None` for scores that are given.
    ///
    /// # Errors
    /// If the fit diverges.
    pub fn of(
        model: &ReferenceModel,
        train: Rows<'_>,
        validation: Rows<'_>,
        weights: [f64; 2],
    ) -> Result<Option<Self>, Diverged> {
        Ok(match model {
            ReferenceModel::Logistic(spec) => Some(Self::Logistic(Logistic::fit(*spec, train, weights)?)),
            ReferenceModel::Boosting(spec) => Some(Self::Boosting(Boosting::fit(*spec, train, validation, weights)?)),
            ReferenceModel::Scores(_) => None,
        })
    }

    /// The log-odds of the positive class of each row.
    #[must_use]
    pub fn logits(&self, rows: Rows<'_>) -> Vec<f32> {
        let logit = |inputs: &[f32]| match self {
            Self::Logistic(model) => model.logit(inputs),
            Self::Boosting(model) => model.logit(inputs),
        };
        #[expect(clippy::cast_possible_truncation, reason = "logits are kept in 32 bits")]
        rows.iter().map(|inputs| logit(inputs).clamp(f32::MIN.into(), f32::MAX.into()) as f32).collect()
    }

    /// The size of the model, by the metrics of nets that have a meaning for it. A logistic regression counts as the net without
    /// hidden layers that it is.
    ///
    /// # Errors
    /// If a logistic regression is not of the width of its coefficients; that is a defect.
    pub fn sizes(&self) -> Result<Metrics, MetricError> {
        match self {
            Self::Logistic(Logistic { intercept, coefficients, .. }) => {
                #[expect(clippy::cast_possible_truncation, reason = "what nets are served with has 32 bits")]
                let [weights, bias] =
                    [&coefficients[..], &[*intercept]].map(|values| values.iter().map(|value| *value as f32).collect());
                let net = ModelSpec::mlp(u32::try_from(coefficients.len()).unwrap_or(u32::MAX), Vec::new());
                let metrics = of_net(&net, &[], &Parameters { tensors: vec![weights, bias] })?;
                let kept = [Metric::Parameters, Metric::NonzeroParameters, Metric::Macs, Metric::SizeBytes];
                Ok(metrics.into_iter().filter(|(quantity, _)| kept.contains(&quantity.metric())).collect())
            }
            Self::Boosting(model) => {
                let [leaves, splits] = model.counts();
                let nonzero = leaves + splits - model.zeros();
                let sizes = [
                    (Metric::Parameters, leaves + splits),
                    (Metric::NonzeroParameters, nonzero),
                    (Metric::SizeBytes, LEAF_BYTES * leaves + SPLIT_BYTES * splits),
                ];
                let quantity = |metric| Quantity::new(metric, Over::Net).expect("these are metrics of the net");
                #[expect(clippy::cast_precision_loss, reason = "a count")]
                Ok(sizes.into_iter().map(|(metric, count)| (quantity(metric), (count as f64).into())).collect())
            }
        }
    }
}

/// A value of 32 bits.
const LEAF_BYTES: u64 = 4;
/// A threshold of 32 bits, the input and the place of one child of 16 bits each; the other child follows the split.
const SPLIT_BYTES: u64 = 8;

/// The log-odds of a probability, which is taken to be no nearer to 0 and 1 than doubles can tell from 1.
#[must_use]
pub fn log_odds(probability: f64) -> f32 {
    let probability = probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
    #[expect(clippy::cast_possible_truncation, reason = "logits are kept in 32 bits")]
    let logit = (libm::log(probability) - libm::log1p(-probability)) as f32;
    logit
}

/// 1 / (1 + e^−z).
fn sigmoid(logit: f64) -> f64 {
    let small = libm::exp(-logit.abs());
    if logit >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

/// The log loss of a row: ln(1 + e^z) − y z.
fn log_loss(logit: f64, target: f64) -> f64 {
    logit.max(0.0) - target * logit + libm::log1p(libm::exp(-logit.abs()))
}

#[cfg(test)]
mod tests;
