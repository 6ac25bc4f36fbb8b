//! Weights as whole numbers: symmetric, with one scale for each unit or filter. A weight of 0 stays 0.

/// The weights of a layer in steps of their scales.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedWeights {
    /// In the order of the tensor in files, `[outputs, …]`.
    pub steps: Vec<i8>,
    /// By unit or filter: the size of a step.
    pub scales: Vec<f32>,
}

impl QuantizedWeights {
    /// The weights of so many units or filters, from −`greatest` to `greatest` steps, ties to the even one.
    #[must_use]
    pub fn of(weights: &[f32], units: usize, greatest: i8) -> Self {
        let fan_in = (weights.len() / units.max(1)).max(1);
        let mut quantized = Self { steps: Vec::with_capacity(weights.len()), scales: Vec::with_capacity(units) };
        for unit in weights.chunks(fan_in) {
            let largest = unit.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
            let scale = largest / f32::from(greatest);
            // Of zeros, and of numbers so small that their steps are none.
            let scale = if scale.is_normal() { scale } else { 1.0 };
            let limit = f32::from(greatest);
            #[expect(clippy::cast_possible_truncation, reason = "a whole number within the limit")]
            let step = |weight: &f32| (weight / scale).round_ties_even().clamp(-limit, limit) as i8;
            quantized.steps.extend(unit.iter().map(step));
            quantized.scales.push(scale);
        }
        quantized
    }

    /// The weights that the steps stand for.
    #[must_use]
    pub fn weights(&self) -> Vec<f32> {
        let fan_in = (self.steps.len() / self.scales.len().max(1)).max(1);
        let units = self.steps.chunks(fan_in).zip(&self.scales);
        units.flat_map(|(unit, scale)| unit.iter().map(move |step| f32::from(*step) * scale)).collect()
    }

    /// Weights that are not 0.
    #[must_use]
    pub fn nonzero(&self) -> u64 {
        self.steps.iter().filter(|step| **step != 0).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_weight_moves_by_more_than_half_a_step_and_zeros_stay(
            weights in prop::collection::vec(prop_oneof![3 => -1e3..1e3_f32, 1 => Just(0.0_f32)], 12),
            greatest in prop::sample::select(vec![127_i8, 7]),
        ) {
            let quantized = QuantizedWeights::of(&weights, 3, greatest);
            prop_assert_eq!(quantized.scales.len(), 3);
            for (place, (before, after)) in weights.iter().zip(quantized.weights()).enumerate() {
                let scale = quantized.scales[place / 4];
                prop_assert!((before - after).abs() <= 0.5 * scale * 1.000_01, "{before} became {after}, step {scale}");
                prop_assert!(*before != 0.0 || after == 0.0);
                prop_assert!(quantized.steps[place].abs() <= greatest);
            }
            // The largest weight of each unit has the greatest number of steps.
            for unit in quantized.steps.chunks(4).zip(weights.chunks(4)).filter(|(_, unit)| unit.iter().any(|w| *w != 0.0)) {
                prop_assert_eq!(unit.0.iter().map(|step| step.abs()).max(), Some(greatest));
            }
        }
    }

    #[test]
    fn units_of_zeros_and_of_the_smallest_numbers_are_zeros() {
        let quantized = QuantizedWeights::of(&[0.0, 0.0, 1e-45, -1e-45, 1.0, -0.5], 3, 127);
        assert_eq!(quantized.steps, [0, 0, 0, 0, 127, -64]);
        assert_eq!(quantized.scales, [1.0, 1.0, 1.0 / 127.0]);
        assert_eq!(quantized.nonzero(), 2);
    }
}
