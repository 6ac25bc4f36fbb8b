//! Criteria: the score by which each weight or unit is kept. The lowest go first.
//!
//! A criterion is one file here and one line in [`ALL`]: its [`Definition`] says what it is called, by which formula and source, which
//! parameters it has, what it has to look at and when. The sweep file, the help and the planner read it from there. Criteria are plain
//! functions over numbers on the host: what has to be measured of a net comes through a [`Probe`], and none knows a device.

mod adam_fisher;
mod admm;
mod apoz;
mod bn_scale;
mod calibration;
mod conditioned;
mod curvature;
mod filter_norm;
mod fisher_diag;
mod fpgm;
mod grasp;
mod groups;
mod han_threshold;
mod l0;
mod magnitude;
mod mean_activation;
mod movement;
mod neuron_grouped;
mod obs;
mod random;
mod requires;
mod snip;
mod sparsegpt;
mod synflow;
mod taylor;
mod taylor_fo;
mod taylor_group;
mod wanda;

use std::{collections::BTreeMap, fmt};

use secateur_proto::{
    outcome::Failure,
    spec::{CriterionSpec, Granularity, Layer, ModelSpec, TrainingSpec},
};

pub use self::requires::Requires;
use super::probe::Probe;
use crate::net::{Mask, Parameters, weight_tensors};

/// Every criterion, in the order in which they are shown.
pub const ALL: &[&Definition] = &[
    &random::CRITERION,
    &magnitude::CRITERION,
    &han_threshold::CRITERION,
    &taylor::CRITERION,
    &taylor_fo::CRITERION,
    &taylor_group::CRITERION,
    &fisher_diag::CRITERION,
    &snip::CRITERION,
    &grasp::CRITERION,
    &synflow::CRITERION,
    &obs::CRITERION,
    &wanda::CRITERION,
    &sparsegpt::CRITERION,
    &filter_norm::CRITERION,
    &fpgm::CRITERION,
    &bn_scale::CRITERION,
    &apoz::CRITERION,
    &mean_activation::CRITERION,
    &neuron_grouped::CRITERION,
    &adam_fisher::CRITERION,
    &movement::CRITERION,
    &l0::CRITERION,
    &admm::CRITERION,
];

/// What a criterion is.
#[derive(Debug)]
pub struct Definition {
    /// As in the sweep file.
    pub name: &'static str,
    /// The score, in one line.
    pub formula: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// What can be set.
    pub parameters: &'static [ParameterDefinition],
    /// What it looks at.
    pub needs: Needs,
    /// What has a score.
    pub granularity: Granularity,
    /// Whether a score is a sum that grows with its layer, so that layers compete only by scores over their mean.
    pub grows_with_layer: bool,
    /// Whether scores can lie below zero, so that their squares and norms say nothing.
    pub signed: bool,
    /// Which net it scores unless told otherwise.
    pub when: When,
    /// What the net must have; `None` for a criterion that scores any net.
    pub requires: Option<Requires>,
    /// The scores. The lowest go first.
    pub scores: fn(&mut Context<'_>, &Arguments) -> Result<Scores, Failure>,
    /// What the kept weights become when the mask is known, for a criterion that makes up for what goes.
    pub compensate: Option<Compensate>,
}

/// Gives the net whose kept weights make up for what a mask removes.
pub type Compensate = fn(&mut Context<'_>, &Arguments, &Mask) -> Result<Parameters, Failure>;

/// A number that a criterion can be given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParameterDefinition {
    /// As in the sweep file.
    pub name: &'static str,
    /// What it is.
    pub summary: &'static str,
    /// If it is not given.
    pub default: f64,
    /// Least and most.
    pub range: (f64, f64),
    /// Whether it is a whole number.
    pub integer: bool,
}

/// What a criterion has to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The weights alone.
    Weights,
    /// Gradients of the loss over train rows.
    Gradients,
    /// What flows through the layers for train rows.
    Activations,
    /// A training of its own.
    Training,
}

/// Which net a criterion is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// One that is trained.
    Trained,
    /// One before its training.
    Initial,
}

/// What a criterion may look at.
pub struct Context<'a> {
    /// The architecture.
    pub model: &'a ModelSpec,
    /// Indices of the prunable layers, ascending.
    pub layers: &'a [u32],
    /// The net that is scored.
    pub net: &'a Parameters,
    /// What earlier levels removed.
    pub removed: Option<&'a Mask>,
    /// What goes as one.
    pub granularity: Granularity,
    /// How many weights will go in all, where that is known; where units go, the same share of the weights.
    pub count: Option<u64>,
    /// How many of each prunable layer, where layers do not compete; where units go, the same share of the layer's weights.
    pub counts: Option<Vec<u64>>,
    /// How what is left will be trained.
    pub training: &'a TrainingSpec,
    /// The trial's seed.
    pub seed: u64,
    /// What can be measured.
    pub probe: &'a mut dyn Probe,
}

/// One vector for each prunable layer.
#[derive(Debug, Clone, PartialEq)]
pub enum Scores {
    /// Of every weight, in files' order.
    Weights(Vec<Vec<f64>>),
    /// Of every unit or filter.
    Units(Vec<Vec<f64>>),
    /// Of every weight, by a criterion that trained the net to find them: what is left begins from that net.
    Conditioned(Vec<Vec<f64>>, Parameters),
}

impl Scores {
    /// The net that the criterion trained, if it did.
    #[must_use]
    pub const fn conditioned(&self) -> Option<&Parameters> {
        match self {
            Self::Conditioned(_, net) => Some(net),
            Self::Weights(_) | Self::Units(_) => None,
        }
    }
}

impl Context<'_> {
    /// The prunable layers, each with the index of its weight among the tensors.
    #[must_use]
    pub fn prunable(&self) -> Vec<(Layer, usize)> {
        let (layers, weights) = (self.model.layers(), weight_tensors(self.model));
        let index = |layer: &u32| {
            let layer = *layer as usize;
            Some((layers.get(layer)?.clone(), (*weights.get(layer)?)?))
        };
        self.layers.iter().filter_map(index).collect()
    }

    /// Weights of each prunable layer.
    pub fn weights(&self) -> impl Iterator<Item = &[f32]> {
        self.prunable().into_iter().map(|(_, tensor)| self.net.tensors[tensor].as_slice())
    }

    /// The score of each weight from its value and the number in the same place of `others`, which holds every tensor of the net.
    #[must_use]
    pub fn zip(&self, others: &[Vec<f64>], score: impl Fn(f64, f64) -> f64) -> Scores {
        let layers = self.prunable().into_iter().map(|(_, tensor)| {
            let pairs = self.net.tensors[tensor].iter().zip(&others[tensor]);
            pairs.map(|(weight, other)| score(f64::from(*weight), *other)).collect()
        });
        Scores::Weights(layers.collect())
    }
}

/// The values of a criterion's parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Arguments(BTreeMap<&'static str, f64>);

impl Arguments {
    /// The number called `name`.
    ///
    /// # Panics
    /// If the criterion's definition has no such parameter.
    #[must_use]
    pub fn number(&self, name: &str) -> f64 {
        *self.0.get(name).expect("a criterion asks for its own parameters")
    }

    /// The whole number called `name`.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a whole number in its range"
    )]
    pub fn count(&self, name: &str) -> usize {
        self.number(name) as usize
    }
}

/// A criterion that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the criterion {name:?} {problem}")]
pub struct InvalidCriterion {
    name: String,
    problem: String,
}

impl Definition {
    /// The definition of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|criterion| criterion.name == name)
    }

    /// The definition and the arguments that `spec` means.
    ///
    /// # Errors
    /// If there is no such criterion, or it has other parameters or other ranges.
    pub fn of(spec: &CriterionSpec) -> Result<(&'static Self, Arguments), InvalidCriterion> {
        let invalid = |problem: String| InvalidCriterion { name: spec.name.chars().take(80).collect(), problem };
        let definition = Self::named(&spec.name).ok_or_else(|| invalid("is not known".to_owned()))?;
        if let Some(unknown) = spec.parameters.keys().find(|name| definition.parameter(name).is_none()) {
            return Err(invalid(format!("has no parameter {unknown:?}")));
        }
        let mut arguments = BTreeMap::new();
        for parameter in definition.parameters {
            let value = *(spec.parameters.get(parameter.name))
                .ok_or_else(|| invalid(format!("came without its {:?}", parameter.name)))?;
            if !parameter.allows(value) {
                return Err(invalid(format!("cannot have {} {value}", parameter.name)));
            }
            arguments.insert(parameter.name, value);
        }
        Ok((definition, Arguments(arguments)))
    }

    /// Whether the net is another one after scoring, so that nothing that is in training can be scored.
    #[must_use]
    pub fn changes_the_net(&self) -> bool {
        self.needs == Needs::Training || self.compensate.is_some()
    }

    /// The parameter of that name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'static ParameterDefinition> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// This criterion with its defaults in place of what `given` lacks.
    #[must_use]
    pub fn spec(&self, given: &BTreeMap<String, f64>) -> CriterionSpec {
        let value = |parameter: &ParameterDefinition| given.get(parameter.name).copied().unwrap_or(parameter.default);
        CriterionSpec {
            name: self.name.to_owned(),
            parameters: self.parameters.iter().map(|parameter| (parameter.name.to_owned(), value(parameter))).collect(),
        }
    }
}

impl ParameterDefinition {
    /// Whether it can have that value.
    #[must_use]
    pub fn allows(&self, value: f64) -> bool {
        let (least, most) = self.range;
        (least..=most).contains(&value) && (!self.integer || value.fract() == 0.0)
    }
}

impl fmt::Display for ParameterDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = self.range;
        write!(f, "{} from {least} to {most}", if self.integer { "an integer" } else { "a number" })
    }
}

#[cfg(test)]
pub(crate) mod tests;
