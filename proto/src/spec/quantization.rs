//! How a net is quantized.

use serde::{Deserialize, Serialize};

use crate::vocabulary;

vocabulary! {
    /// How the range of a layer's inputs is chosen from a sample of train rows.
    pub enum Calibration {
        /// No range: inputs remain floating-point numbers, and only weights are quantized.
        None = "none",
        /// From the minimum to the maximum.
        MinMax = "minmax",
        /// Without the most extreme 0.01 %, half of them at each end.
        Percentile = "percentile",
        /// The range with the least sum of squared rounding and clipping errors.
        Mse = "mse",
        /// The range that changes the distribution least, by the Kullback–Leibler divergence (Migacz 2017).
        Entropy = "entropy",
    }
}

/// How a net is quantized after training. Weights are quantized symmetrically, with one scale for each unit or filter.
/// Layer inputs are quantized asymmetrically, with 8 bits and one scale. Biases remain floating-point numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizationSpec {
    /// Bits of a weight.
    pub weight_bits: u8,
    /// How the ranges of inputs are chosen.
    pub calibration: Calibration,
}

impl QuantizationSpec {
    /// The supported bits of a weight.
    pub const WEIGHT_BITS: [u8; 2] = [8, 4];

    /// Returns the greatest weight in steps of its scale; the least is its negative.
    #[must_use]
    pub const fn greatest_weight(self) -> i8 {
        // Of 8 bits at most.
        ((1_i16 << (self.weight_bits - 1)) - 1) as i8
    }
}
