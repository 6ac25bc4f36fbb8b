//! How a net is quantized.

use serde::{Deserialize, Serialize};

use crate::vocabulary;

vocabulary! {
    /// How the range of a layer's inputs is chosen from those of a sample of train rows.
    pub enum Calibration {
        /// No range: inputs stay floating-point numbers, and only weights are quantized.
        None = "none",
        /// From the least to the greatest.
        MinMax = "minmax",
        /// Without the 0.01 % that are furthest out, half of them at each end.
        Percentile = "percentile",
        /// The range whose rounding and clipping errors have the least sum of squares.
        Mse = "mse",
        /// The range that changes the distribution least, by the Kullback–Leibler divergence (Migacz 2017).
        Entropy = "entropy",
    }
}

/// How a net is quantized after its training: the weights of each unit or filter symmetrically, with a scale of their own; the inputs of
/// each layer asymmetrically, with 8 bits and one scale. Biases stay floating-point numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizationSpec {
    /// Bits of a weight.
    pub weight_bits: u8,
    /// How the ranges of inputs are chosen.
    pub calibration: Calibration,
}

impl QuantizationSpec {
    /// The numbers of bits that a weight can have.
    pub const WEIGHT_BITS: [u8; 2] = [8, 4];

    /// Returns the greatest weight in steps of its scale; the least is its negative.
    #[must_use]
    pub const fn greatest_weight(self) -> i8 {
        // Of 8 bits at most.
        ((1_i16 << (self.weight_bits - 1)) - 1) as i8
    }
}
