//! From values to positions, and the round numbers that an axis shows.

use crate::report::number;

/// What no axis goes beyond, so that the length of each is finite.
const FARTHEST: f64 = 1e300;

/// An axis: values of `domain` onto positions of `range`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    logarithmic: bool,
    domain: [f64; 2],
    range: [f64; 2],
}

impl Scale {
    /// An axis on which all of `values` have a place, with some room around. Logarithmic where `may_be_logarithmic`, all values are
    /// positive and they span more than a decade.
    pub(super) fn of(values: impl Iterator<Item = f64>, may_be_logarithmic: bool, range: [f64; 2]) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite())
            .map(|value| value.clamp(-FARTHEST, FARTHEST))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return Self { logarithmic: false, domain: [0.0, 1.0], range };
        }
        if may_be_logarithmic && low > 0.0 && high / low > 10.0 {
            let room = (high / low).powf(0.04);
            return Self { logarithmic: true, domain: [low / room, high * room], range };
        }
        let span = high - low;
        let room = if span > 0.0 { span * 0.05 } else { (low.abs() * 0.05).max(0.5e-3) };
        Self { logarithmic: false, domain: [low - room, high + room], range }
    }

    /// Where `value` is, never outside of the range.
    pub(super) fn at(&self, value: f64) -> f64 {
        let [low, high] = self.domain;
        let share = if self.logarithmic {
            (value.max(f64::MIN_POSITIVE) / low).ln() / (high / low).ln()
        } else {
            (value - low) / (high - low)
        };
        let share = if share.is_nan() { 0.5 } else { share.clamp(0.0, 1.0) };
        self.range[0] + share * (self.range[1] - self.range[0])
    }

    /// About `count` round values, with their texts.
    pub(super) fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let [low, high] = self.domain;
        if self.logarithmic {
            let steps: &[f64] = if (high / low).log10() < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let values = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
            return values.filter(|value| low <= *value && *value <= high).map(|value| (value, plain(value))).collect();
        }
        let step = nice((high - low) / count.max(1) as f64);
        let first = (low / step).ceil();
        let number = ((high / step).floor() - first + 1.0).clamp(0.0, 50.0);
        if !step.is_normal() || !number.is_finite() {
            return vec![(low, plain(low)), (high, plain(high))];
        }
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        (0..number as u32)
            .map(|index| (first + f64::from(index)) * step)
            .map(|value| (value, number::fixed(value, decimals)))
            .collect()
    }
}

fn plain(value: f64) -> String {
    let decimals = if value == 0.0 { 0.0 } else { (-value.abs().log10().floor()).clamp(0.0, 12.0) };
    number::fixed(value, decimals as usize)
}

/// The smallest of 1, 2, 5 times a power of ten that is no less than `step`.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9)).unwrap_or(10.0);
    factor * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scale: &Scale, count: usize) -> Vec<String> {
        scale.ticks(count).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round() {
        let scale = Scale::of([0.70, 0.76].into_iter(), false, [0.0, 100.0]);
        assert_eq!(texts(&scale, 6), ["0.70", "0.72", "0.74", "0.76"]);
        let scale = Scale::of([120.0, 10_305.0].into_iter(), true, [0.0, 100.0]);
        assert_eq!(texts(&scale, 6), ["200", "500", "1,000", "2,000", "5,000", "10,000"]);
        let scale = Scale::of([0.0, 40_000.0].into_iter(), true, [0.0, 100.0]);
        assert_eq!(texts(&scale, 5), ["0", "10,000", "20,000", "30,000", "40,000"]);
    }

    #[test]
    fn odd_values_still_give_an_axis() {
        for values in [vec![], vec![0.7], vec![0.0], vec![f64::NAN], vec![-f64::MAX, f64::MAX], vec![5e-324, 1e-323]] {
            let scale = Scale::of(values.iter().copied(), true, [10.0, 20.0]);
            assert!(scale.ticks(6).len() <= 60);
            for value in values {
                assert!((10.0..=20.0).contains(&scale.at(value)));
            }
        }
    }
}
