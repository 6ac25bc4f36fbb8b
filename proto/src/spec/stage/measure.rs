//! `measure`: sizes of a net's files, and how fast an engine answers with it.

use serde::{Deserialize, Serialize};

use super::{Stage, StageSpec};
use crate::{
    ids::StageKey,
    outcome::Role,
    spec::{Engine, MeasureSettings, ModelSpec},
};

/// Measures a trained net on the machine of the worker. It is no part of what is the same bit for bit everywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureSpec {
    /// The stage that prepared the data, whose rows the net answers for.
    pub prepare: StageKey,
    /// The stage that left the net.
    pub net: StageKey,
    /// The architecture of that net.
    pub model: ModelSpec,
    /// Whether it is quantized.
    pub quantized: bool,
    /// The architecture of the dense net that is timed beside it.
    pub dense: ModelSpec,
    /// How both are timed.
    pub settings: MeasureSettings,
}

impl Stage for MeasureSpec {
    fn parents(&self) -> Vec<StageKey> {
        vec![self.prepare, self.net]
    }

    fn with_seed(&self, _: u64, renamed: &dyn Fn(StageKey) -> StageKey) -> StageSpec {
        Self { prepare: renamed(self.prepare), net: renamed(self.net), ..self.clone() }.into()
    }

    fn reads(&self) -> Vec<Role> {
        let net = if self.quantized { Role::Quantized } else { Role::Checkpoint };
        vec![Role::Prepared, Role::Preparation, net]
    }

    fn leaves(&self) -> Vec<Role> {
        vec![Role::Measurement]
    }

    fn model(&self) -> Option<&ModelSpec> {
        Some(&self.model)
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn engine(&self) -> Option<Engine> {
        Some(self.settings.engine)
    }

    fn check(&self) -> Result<(), &'static str> {
        self.dense.check()?;
        if self.dense.weights() > crate::spec::MAX_WEIGHTS {
            return Err("more than 2^31 weights");
        }
        if self.dense.inputs() != self.model.inputs() || self.dense.outputs() != self.model.outputs() {
            return Err("the dense net has other inputs or outputs than the net that is measured");
        }
        self.settings.check()
    }
}
