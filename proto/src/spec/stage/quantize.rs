//! `quantize`: quantizes a net without training.

use serde::{Deserialize, Serialize};

use super::{EVALUATED, Stage, StageSpec};
use crate::{
    ids::StageKey,
    outcome::Role,
    spec::{ModelSpec, QuantizationSpec, Subject},
};

/// Quantizes a net after its training, and evaluates the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizeSpec {
    /// The stage that prepared the data, for calibration and evaluation.
    pub prepare: StageKey,
    /// The net.
    pub subject: Subject,
    /// Its architecture.
    pub model: ModelSpec,
    /// Indices of the layers whose weights count as prunable.
    pub layers: Vec<u32>,
    /// How to quantize.
    pub quantization: QuantizationSpec,
}

impl Stage for QuantizeSpec {
    fn parents(&self) -> Vec<StageKey> {
        [Some(self.prepare), self.subject.stage()].into_iter().flatten().collect()
    }

    fn with_seed(&self, _: u64, renamed: &dyn Fn(StageKey) -> StageKey) -> StageSpec {
        Self { prepare: renamed(self.prepare), subject: self.subject.renamed(renamed), ..self.clone() }.into()
    }

    fn reads(&self) -> Vec<Role> {
        let files: &[Role] = match self.subject {
            Subject::Pruned { .. } => &[Role::Checkpoint, Role::Mask, Role::Plan],
            Subject::Dense { .. } => &[Role::Checkpoint],
            Subject::Initial {} => &[],
        };
        [&[Role::Prepared], files].concat()
    }

    fn leaves(&self) -> Vec<Role> {
        [&[Role::Quantized], EVALUATED].concat()
    }

    fn model(&self) -> Option<&ModelSpec> {
        Some(&self.model)
    }

    fn check(&self) -> Result<(), &'static str> {
        if !QuantizationSpec::WEIGHT_BITS.contains(&self.quantization.weight_bits) {
            return Err("weight_bits must be 8 or 4");
        }
        if self.subject == (Subject::Initial {}) {
            return Err("the net to quantize was not trained by a stage");
        }
        Ok(())
    }
}
