//! Requirements of criteria on a net. The planner rejects cells whose net does not meet them.

use std::fmt;

use secateur_proto::spec::{Activation, ModelSpec, Step};

use crate::net::units::units;

/// A property that a net needs so that a criterion can score it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requires {
    /// A batch normalisation after every prunable layer.
    Norms,
    /// ReLU as the only activation: others give no exact zeros, so all units would have equal scores.
    Zeros,
}

impl Requires {
    /// Whether a net that is pruned in these layers meets it.
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
            Self::Norms => "requires a net with batch normalisation after every prunable layer",
            Self::Zeros => "counts zeros, which only the relu activation gives: use mean_activation",
        })
    }
}
