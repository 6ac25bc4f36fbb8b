//! Calibration: from a sample of the values that go into a layer to the range that its 256 levels cover.

mod entropy;
mod mse;
mod percentile;

use secateur_proto::spec::Calibration;

/// Levels of a value.
const LEVELS: f64 = 255.0;

/// The values that levels cover. It contains 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// At most 0.
    pub low: f64,
    /// At least 0.
    pub high: f64,
}

/// How values become levels: `level = round(value / scale) + zero_point`, ties to the even one, from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// The distance of two levels.
    pub scale: f32,
    /// The level of 0.
    pub zero_point: u8,
}

impl Range {
    /// Of values in ascending order, all of them; of none the empty one.
    fn of(sorted: &[f32]) -> Self {
        let bound = |value: Option<&f32>| value.map_or(0.0, |value| f64::from(*value));
        Self { low: bound(sorted.first()).min(0.0), high: bound(sorted.last()).max(0.0) }
    }

    /// Returns the levels that cover it.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded and within 0 and 255")]
    pub fn levels(self) -> Levels {
        let scale = ((self.high - self.low) / LEVELS) as f32;
        // Nothing but zeros, or nothing that has a level.
        let scale = if scale.is_normal() { scale } else { 1.0 };
        let zero_point = (-self.low / f64::from(scale)).round_ties_even().clamp(0.0, LEVELS) as u8;
        Levels { scale, zero_point }
    }
}

impl Levels {
    /// Returns what a value is after it became a level.
    #[must_use]
    pub fn round(self, value: f32) -> f32 {
        let zero_point = f32::from(self.zero_point);
        let level = ((value / self.scale).round_ties_even() + zero_point).clamp(0.0, 255.0);
        (level - zero_point) * self.scale
    }
}

/// Returns the levels that a calibration chooses for values like these. Returns `None` where values have none.
#[must_use]
pub fn levels(calibration: Calibration, mut values: Vec<f32>) -> Option<Levels> {
    values.sort_unstable_by(f32::total_cmp);
    let range = match calibration {
        Calibration::None => return None,
        Calibration::MinMax => Range::of(&values),
        Calibration::Percentile => percentile::range(&values),
        Calibration::Mse => mse::range(&values),
        Calibration::Entropy => entropy::range(&values),
    };
    Some(range.levels())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(levels: Levels, values: &[f32]) -> f64 {
        values.iter().map(|value| f64::from(value - levels.round(*value)).powi(2)).sum()
    }

    /// 100,000 values of a bell curve and one that is far out.
    fn bell_with_an_outlier() -> Vec<f32> {
        // The quantiles of a logistic distribution, whose tails are like a bell's here.
        let mut values: Vec<f32> =
            (1..100_000).map(|rank| rank as f32 / 100_000.0).map(|p| (p / (1.0 - p)).ln()).collect();
        values.push(1000.0);
        values
    }

    #[test]
    fn an_outlier_takes_no_levels_but_from_minmax() {
        let values = bell_with_an_outlier();
        let of = |calibration| levels(calibration, values.clone()).expect("levels");
        assert!(of(Calibration::MinMax).scale > 3.9);
        let scale = of(Calibration::Percentile).scale;
        assert!((0.02..0.1).contains(&scale), "{scale}");
        // It keeps at least 128 of 2,048 bins, and the outlier decides how wide these are.
        let scale = of(Calibration::Entropy).scale;
        assert!((0.02..0.4).contains(&scale), "{scale}");
        // One value that is cut off by a thousand costs more than all others gain: its square counts.
        let mse = of(Calibration::Mse);
        assert!(error(mse, &values) <= error(of(Calibration::MinMax), &values));
        assert_eq!(levels(Calibration::None, values), None);
    }

    #[test]
    fn only_zeros_and_no_values_have_levels() {
        for calibration in Calibration::ALL.iter().filter(|calibration| **calibration != Calibration::None) {
            for values in [vec![], vec![0.0; 10], vec![1e-45; 3]] {
                let levels = levels(*calibration, values).expect("levels");
                assert_eq!((levels.zero_point, levels.round(0.0)), (0, 0.0));
            }
        }
    }

    proptest! {
        #[test]
        fn zero_is_a_level_and_what_is_in_range_moves_by_half_a_level_at_most(
            values in prop::collection::vec(-50.0..200.0_f32, 1..400),
        ) {
            for calibration in Calibration::ALL.iter().filter(|calibration| **calibration != Calibration::None) {
                let levels = levels(*calibration, values.clone()).expect("levels");
                prop_assert_eq!(levels.round(0.0), 0.0);
                let zero = f32::from(levels.zero_point);
                let (low, high) = (-zero * levels.scale, (255.0 - zero) * levels.scale);
                for value in values.iter().filter(|value| (low..=high).contains(*value)) {
                    let moved = (value - levels.round(*value)).abs();
                    prop_assert!(moved <= 0.501 * levels.scale, "{calibration}: {value} moved by {moved}, {levels:?}");
                }
            }
            let (all, best) = (levels(Calibration::MinMax, values.clone()), levels(Calibration::Mse, values.clone()));
            let of = |levels: Option<Levels>| error(levels.expect("levels"), &values);
            prop_assert!(of(best) <= of(all) * (1.0 + 1e-6) + 1e-12);
        }
    }
}
