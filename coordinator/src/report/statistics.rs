//! Means over seeds with their uncertainty, and differences paired by seed. Knows nothing of what the numbers measure.
//!
//! The intervals are Student's: mean ± t(0.975, n − 1) · sd / √n. They hold for seeds drawn alike; they say nothing about other data.
//! An interval ends where the range of its quantity does. The mean that it is about lies within the range, so it is in the shorter
//! interval whenever it is in the longer one: this costs no coverage, and intervals within the range stay what they are.

pub mod dominance;
pub mod hypervolume;
pub mod importance;
pub mod multiplicity;

use std::collections::BTreeMap;

use secateur_proto::metrics::Direction;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Values by seed. The order of arrival is lost on purpose: sums are always made in the order of seeds.
pub type Sample = BTreeMap<u64, f64>;

/// A sample in four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The arithmetic mean.
    pub mean: f64,
    /// The sample standard deviation, over n − 1. One value has none.
    pub sd: Option<f64>,
    /// The 95 % interval of the mean, within what the mean can be. One value has none.
    pub ci95: Option<[f64; 2]>,
    /// How many values.
    pub n: u64,
}

/// The differences of two samples, seed by seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Of the differences: first sample minus second.
    #[serde(flatten)]
    pub summary: Summary,
    /// Seeds on which the first sample is strictly better.
    pub n_better: u64,
    /// Seeds on which it is strictly worse.
    pub n_worse: u64,
}

impl Summary {
    /// Summarises `values`, which lie in `range`, in the order given. Nothing of an empty sample or one with a value that is not finite.
    #[must_use]
    pub fn of(values: &[f64], range: [f64; 2]) -> Option<Self> {
        Self::of_looks(values, range, 1)
    }

    /// The same, where the sample grows and is looked at up to `looks` times: the intervals of all looks together hold in 95 % of cases.
    #[must_use]
    pub fn of_looks(values: &[f64], [lowest, highest]: [f64; 2], looks: u32) -> Option<Self> {
        let n = values.len();
        // A running mean: no sum to overflow, and a sample of equal values has exactly that mean.
        let mean =
            (values.iter().enumerate()).fold(0.0, |mean, (index, value)| mean + (value - mean) / (index + 1) as f64);
        if n == 0 || !mean.is_finite() {
            return None;
        }
        if n == 1 {
            return Some(Self { mean, sd: None, ci95: None, n: 1 });
        }
        let degrees = (n - 1) as f64;
        // Chan, Golub & LeVeque 1983, the corrected two-pass algorithm: the second sum takes away the rounding of the mean.
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let rest: f64 = values.iter().map(|value| value - mean).sum();
        let sd = ((squares - rest * rest / n as f64).max(0.0) / degrees).sqrt();
        let half = t_quantile(upper_level(looks), degrees)? * sd / (n as f64).sqrt();
        // A value beyond the range is a defect elsewhere, and no reason for an interval without its mean.
        let ci95 = [(mean - half).max(lowest.min(mean)), (mean + half).min(highest.max(mean))];
        ci95.iter().all(|bound| bound.is_finite()).then_some(Self { mean, sd: Some(sd), ci95: Some(ci95), n: n as u64 })
    }

    /// Summarises a sample of values in `range`, which is looked at up to `looks` times.
    #[must_use]
    pub fn of_sample(sample: &Sample, range: [f64; 2], looks: u32) -> Option<Self> {
        Self::of_looks(&sample.values().copied().collect::<Vec<_>>(), range, looks)
    }
}

impl Paired {
    /// Compares `first` with `second`, both of values in `range`, on the seeds that both have. Nothing if they have none in common.
    #[must_use]
    pub fn of(first: &Sample, second: &Sample, range: [f64; 2], better: Direction) -> Option<Self> {
        Self::of_looks(first, second, range, better, 1)
    }

    /// The same, where both are looked at up to `looks` times, as in [`Summary::of_looks`].
    #[must_use]
    pub fn of_looks(
        first: &Sample,
        second: &Sample,
        [low, high]: [f64; 2],
        better: Direction,
        looks: u32,
    ) -> Option<Self> {
        let differences: Vec<f64> = first.iter().filter_map(|(seed, value)| Some(value - second.get(seed)?)).collect();
        let summary = Summary::of_looks(&differences, [low - high, high - low], looks)?;
        let gains = differences.iter().map(|difference| match better {
            Direction::Maximize => *difference,
            Direction::Minimize => -difference,
        });
        Some(Self {
            summary,
            n_better: gains.clone().filter(|gain| *gain > 0.0).count() as u64,
            n_worse: gains.filter(|gain| *gain < 0.0).count() as u64,
        })
    }
}

/// Where 95 % of further single values of the same kind are expected, within `range`: mean ± t(0.975, n − 1) · sd · √(1 + 1/n), Student's
/// prediction interval. `None` of one value.
pub(super) fn prediction(summary: &Summary, [lowest, highest]: [f64; 2]) -> Option<[f64; 2]> {
    let Summary { mean, sd, n, .. } = *summary;
    let half = t_quantile(0.975, (n - 1) as f64)? * sd? * (1.0 + 1.0 / n as f64).sqrt();
    Some([(mean - half).max(lowest.min(mean)), (mean + half).min(highest.max(mean))])
}

/// The level of the upper end of a 95 % interval, if all of so many are to hold together (Bonferroni).
pub(super) fn upper_level(looks: u32) -> f64 {
    1.0 - 0.025 / f64::from(looks.max(1))
}

/// The quantile of Student's t distribution with that many degrees of freedom. `None` if there is no such distribution.
pub(super) fn t_quantile(probability: f64, degrees: f64) -> Option<f64> {
    // The library's search is inexact with many degrees, and does not end with very many. Cornish & Fisher 1938: the next term is below
    // 1e-7 here.
    if degrees > 1e4 {
        let z = Normal::standard().inverse_cdf(probability);
        return Some(z + (z.powi(3) + z) / (4.0 * degrees));
    }
    StudentsT::new(0.0, 1.0, degrees).ok().map(|distribution| distribution.inverse_cdf(probability))
}

/// The probability that Student's t with that many degrees of freedom is above `value`. `None` if there is no such distribution.
pub(super) fn t_above(value: f64, degrees: f64) -> Option<f64> {
    StudentsT::new(0.0, 1.0, degrees).ok().map(|distribution| distribution.sf(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANY: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
    }

    #[test]
    fn quantiles_are_those_of_the_published_tables() {
        // Two-sided 95 % critical values of Student's t, as in any table.
        for (degrees, expected) in [
            (1.0, 12.706_205),
            (2.0, 4.302_653),
            (4.0, 2.776_445),
            (9.0, 2.262_157),
            (29.0, 2.045_230),
            (1e3, 1.962_339),
            (999_999.0, 1.959_966),
            (1e12, 1.959_964),
        ] {
            close(t_quantile(0.975, degrees).expect("exists"), expected, 1e-6);
        }
    }

    #[test]
    fn an_interval_ends_where_the_range_does() {
        // Five positives: .87 ± .32 of a share that is at most 1, and a mean far from both ends.
        let values = [0.72, 0.94, 0.95];
        let (free, of_shares) = (Summary::of(&values, ANY), Summary::of(&values, [0.0, 1.0]));
        let [low, high] = free.expect("three values").ci95.expect("three values");
        assert!(high > 1.0);
        assert_eq!(of_shares, free.map(|free| Summary { ci95: Some([low, 1.0]), ..free }));
        assert_eq!(Summary::of(&[0.5, 0.51, 0.52], [0.0, 1.0]), Summary::of(&[0.5, 0.51, 0.52], ANY));
        // A difference of shares can be anything from −1 to 1.
        let sample = |values: [f64; 2]| (0..).zip(values).collect::<Sample>();
        let paired = Paired::of(&sample([0.9, 0.1]), &sample([0.0, 0.0]), [0.0, 1.0], Direction::Maximize);
        assert_eq!(paired.expect("two seeds").summary.ci95, Some([-1.0, 1.0]));
    }

    #[test]
    fn paired_differences_of_students_sleep_data() {
        // Student 1908, "The probable error of a mean": extra hours of sleep of ten patients under two drugs.
        // R's t.test(…, paired = TRUE) prints t = -4.0621 and the interval -2.4598858, -0.7001142.
        let first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let sample = |values: [f64; 10]| (0..).zip(values).collect::<Sample>();
        let paired = Paired::of(&sample(first), &sample(second), ANY, Direction::Maximize).expect("has a summary");
        let Paired { summary, n_better, n_worse } = paired;
        close(summary.mean, -1.58, 1e-12);
        let sd = summary.sd.expect("ten values");
        close(summary.mean / (sd / 10_f64.sqrt()), -4.0621, 5e-5);
        let [low, high] = summary.ci95.expect("ten values");
        close(low, -2.459_885_8, 5e-8);
        close(high, -0.700_114_2, 5e-8);
        assert_eq!((summary.n, n_better, n_worse), (10, 0, 9));
    }

    #[test]
    fn three_values_by_hand() {
        // Mean 2, squared deviations 1 + 0 + 1 over 2, standard error 1/√3, t(2) = 4.302653.
        let summary = Summary::of(&[1.0, 2.0, 3.0], ANY).expect("has a summary");
        assert_eq!((summary.mean, summary.sd, summary.n), (2.0, Some(1.0), 3));
        close(summary.ci95.expect("three values")[0], 2.0 - 4.302_653 / 3_f64.sqrt(), 1e-6);
    }

    #[test]
    fn a_single_value_varies_more_than_the_mean() {
        // Student's second drug; SciPy: t(9, mean, sd * sqrt(1.1)).interval(0.95).
        let second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let summary = Summary::of(&second, ANY).expect("ten values");
        let [low, high] = prediction(&summary, ANY).expect("ten values");
        close(low, -2.420_476_2, 1e-6);
        close(high, 7.080_476_2, 1e-6);
        assert_eq!(prediction(&summary, [0.0, 5.0]), Some([0.0, 5.0]));
        assert_eq!(prediction(&Summary { mean: 0.7, sd: None, ci95: None, n: 1 }, ANY), None);
    }

    #[test]
    fn one_value_has_no_spread_and_none_has_no_mean() {
        assert_eq!(Summary::of(&[0.7], ANY), Some(Summary { mean: 0.7, sd: None, ci95: None, n: 1 }));
        assert_eq!(Summary::of(&[], ANY), None);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Summary::of(&[0.7, value], ANY), None);
        }
        assert_eq!(Paired::of(&Sample::from([(1, 0.5)]), &Sample::from([(2, 0.5)]), ANY, Direction::Maximize), None);
    }

    #[test]
    fn equal_values_have_no_spread_at_all() {
        let summary = Summary::of(&[0.1; 7], ANY).expect("has a summary");
        assert_eq!((summary.mean, summary.sd, summary.ci95), (0.1, Some(0.0), Some([0.1, 0.1])));
    }

    #[test]
    fn a_large_offset_costs_no_digits() {
        // The naive formula Σx² − n·mean² gives 0 or less here.
        let summary = Summary::of(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0], ANY).expect("has a summary");
        assert_eq!((summary.mean, summary.sd), (1e9 + 10.0, Some(30_f64.sqrt())));
    }

    #[test]
    fn lower_is_better_when_the_metric_says_so() {
        let (first, second) = (Sample::from([(1, 0.1), (2, 0.3)]), Sample::from([(1, 0.2), (2, 0.3), (3, 9.0)]));
        let paired = Paired::of(&first, &second, ANY, Direction::Minimize).expect("has a summary");
        assert_eq!((paired.n_better, paired.n_worse, paired.summary.n), (1, 0, 2));
    }

    proptest! {
        #[test]
        fn a_shift_moves_the_mean_and_leaves_the_spread(
            values in proptest::collection::vec(-1e3..1e3_f64, 2..30), shift in -1e3..1e3_f64,
        ) {
            let plain = Summary::of(&values, ANY).expect("finite");
            let moved = Summary::of(&values.iter().map(|value| value + shift).collect::<Vec<_>>(), ANY).expect("finite");
            prop_assert!((moved.mean - plain.mean - shift).abs() < 1e-9);
            prop_assert!((moved.sd.expect("many") - plain.sd.expect("many")).abs() < 1e-9);
            let [low, high] = plain.ci95.expect("many");
            prop_assert!(low <= plain.mean && plain.mean <= high);
        }
    }
}
