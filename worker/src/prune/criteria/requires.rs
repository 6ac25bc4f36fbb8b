//! What criteria require of a net. The planner refuses cells whose net does not have it.

use std::fmt;

use secateur_proto::spec::{Activation, ModelSpec, Step};

use crate::net::units::units;

/// What a net must have so that a criterion can score it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requires {
    /// A batch normalisation behind every prunable layer.
    Norms,
    /// ReLU as the only activation: no other one gives exact zeros, so all units would be alike.
    Zeros,
}

impl Requires {
    /// Whether a net, pruned in the layers of these indices, has it.
    #[must_use]
    pub fn is_met(self, model: &ModelSpec, layers: &[u32]) -> bool {
        match self {
            Self::Norms => {
                let units = units(model);
                let of_layer = |layer: &u32| units.get(*layer as usize).and_then(Option::as_ref);
                layers.iter().all(|layer| of_layer(layer).is_some_and(|units| units.norm.is_some()))
            }
            Self::Zeros => {
                let other =
                    |step: &Step| matches!(step, Step::Activation(activation) if *activation != Activation::Relu);
                !model.architecture().steps.iter().any(other)
            }
        }
    }
}

/// Shown after the name of a criterion.
impl fmt::Display for Requires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Norms => "requires a net with batch normalisation behind every prunable layer",
            Self::Zeros => "counts zeros, and of the activations only relu gives them: take mean_activation",
        })
    }
}
