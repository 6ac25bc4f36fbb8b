//! `import`: evaluation of a net that was trained elsewhere.

use serde::{Deserialize, Serialize};

use super::{EVALUATED, Stage, StageSpec};
use crate::{
    ids::{ContentHash, StageKey},
    outcome::Role,
    spec::ModelSpec,
};

/// Uses a net that was trained elsewhere as the unpruned net.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportSpec {
    /// The stage that prepared the data for its evaluation.
    pub prepare: StageKey,
    /// The net.
    pub model: ModelSpec,
    /// The hash of its parameters as a safetensors file.
    pub weights: ContentHash,
    /// Whether masks stand beside them: what they remove stays removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

impl Stage for ImportSpec {
    fn parents(&self) -> Vec<StageKey> {
        vec![self.prepare]
    }

    fn with_seed(&self, _: u64, renamed: &dyn Fn(StageKey) -> StageKey) -> StageSpec {
        Self { prepare: renamed(self.prepare), ..self.clone() }.into()
    }

    fn reads(&self) -> Vec<Role> {
        vec![Role::Prepared, Role::Weights]
    }

    fn leaves(&self) -> Vec<Role> {
        let mask: &[Role] = if self.masked { &[Role::Mask] } else { &[] };
        [mask, EVALUATED].concat()
    }

    fn model(&self) -> Option<&ModelSpec> {
        Some(&self.model)
    }
}
