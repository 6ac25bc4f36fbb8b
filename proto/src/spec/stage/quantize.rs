//! `quantize`: a net becomes one of few bits, without training.

use serde::{Deserialize, Serialize};

use super::{EVALUATED, Stage};
use crate::{
    ids::StageKey,
    outcome::Role,
    spec::{ModelSpec, QuantizationSpec, Subject},
};

/// Quantizes a net after its training, and evaluates what it has become.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizeSpec {
    /// Where the data come from, for calibration and evaluation.
    pub prepare: StageKey,
    /// The net.
    pub subject: Subject,
    /// Its architecture.
    pub model: ModelSpec,
    /// Indices of the layers whose weights count as prunable.
    pub layers: Vec<u32>,
    /// How.
    pub quantization: QuantizationSpec,
}

impl Stage for QuantizeSpec {
    fn parents(&self) -> Vec<StageKey> {
        [Some(self.prepare), self.subject.stage()].into_iter().flatten().collect()
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
            return Err("weights of a number of bits other than 8 and 4");
        }
        if self.subject == (Subject::Initial {}) {
            return Err("a net to quantize that no stage has trained");
        }
        Ok(())
    }
}
