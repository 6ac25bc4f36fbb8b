//! Which settings explain how results differ: a functional analysis of variance of a full or a partial grid.
//!
//! The results are fitted by least squares as a mean and, for each setting, one number for each of its values: the main effects. The share
//! of a setting is how much of the variance of the results the fit explains more with it than without it, on average over the orders in
//! which settings can be added (Lindeman, Merenda & Gold 1980; the Shapley value). On a full grid the order does not matter, and the
//! share is the sum of squares of the classic analysis of variance over the total. Shares are never negative and add up to what all
//! settings explain; interactions and noise are the rest.

use std::collections::HashMap;

/// The rounds after which a fit that has not converged ends. Full grids take two.
const MOST_ROUNDS: usize = 200;

/// Up to so many settings all orders are averaged over. Of more, each is in each place once forwards and once backwards.
const MOST_IN_ALL_ORDERS: usize = 6;

/// How much of the variance of the results is explained by what.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// Of each setting, in the order of the arguments.
    pub settings: Vec<f64>,
    /// What is left for interactions of settings and for noise.
    pub rest: f64,
}

/// How much each setting explains of `results`. `levels` holds for each setting the number of the value that each result has.
///
/// Returns `None` if there are fewer than two results, if one is not finite, if all are equal, if a setting lacks a level, or if there are
/// more than 32 settings.
#[must_use]
pub fn shares(results: &[f64], levels: &[Vec<usize>]) -> Option<Shares> {
    let n = results.len();
    let is_complete = levels.len() <= 32 && levels.iter().all(|levels| levels.len() == n);
    if n < 2 || !is_complete || results.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mean = results.iter().sum::<f64>() / n as f64;
    let centred: Vec<f64> = results.iter().map(|value| value - mean).collect();
    let total: f64 = centred.iter().map(|value| value * value).sum();
    let largest = results.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    // Results that differ by their rounding alone are equal.
    if total <= n as f64 * (largest * 1e-14).powi(2) {
        return None;
    }
    let factors: Vec<Factor<'_>> = levels.iter().map(|levels| Factor::of(levels)).collect();
    let mut known = HashMap::new();
    let settings = average_gains(levels.len(), |chosen| {
        *known.entry(chosen).or_insert_with(|| {
            let chosen = (0..factors.len()).filter(|place| chosen >> place & 1 == 1).map(|place| &factors[place]);
            explained(&centred, &chosen.collect::<Vec<_>>(), total)
        })
    });
    let rest = (1.0 - settings.iter().sum::<f64>()).max(0.0);
    Some(Shares { settings, rest })
}

/// What each of so many adds to `value`, on average over the orders in which they are added. `value` is of those whose bits are set.
fn average_gains(count: usize, mut value: impl FnMut(u64) -> f64) -> Vec<f64> {
    let mut gains = vec![0.0; count];
    if count <= MOST_IN_ALL_ORDERS {
        let factorial = |number: u32| (1..=number).map(f64::from).product::<f64>();
        let all = factorial(count as u32);
        for chosen in 0..1_u64 << count {
            let before = chosen.count_ones();
            for place in (0..count).filter(|place| chosen >> place & 1 == 0) {
                // The share of the orders in which just those chosen come before it.
                let orders = factorial(before) * factorial(count as u32 - before - 1) / all;
                gains[place] += orders * (value(chosen | 1 << place) - value(chosen)).max(0.0);
            }
        }
        return gains;
    }
    let rotated = |start: usize| (0..count).map(move |step| (start + step) % count);
    let forwards = (0..count).map(|start| rotated(start).collect::<Vec<_>>());
    let backwards = (0..count).map(|start| rotated(start).rev().collect::<Vec<_>>());
    for order in forwards.chain(backwards) {
        let mut chosen = 0;
        for place in order {
            gains[place] += (value(chosen | 1 << place) - value(chosen)).max(0.0) / (2 * count) as f64;
            chosen |= 1 << place;
        }
    }
    gains
}

/// A setting: which of its values each result has, and how many results have each value.
struct Factor<'a> {
    levels: &'a [usize],
    counts: Vec<f64>,
}

impl<'a> Factor<'a> {
    fn of(levels: &'a [usize]) -> Self {
        let mut counts = vec![0.0; levels.iter().max().map_or(0, |highest| highest + 1)];
        levels.iter().for_each(|level| counts[*level] += 1.0);
        Self { levels, counts }
    }
}

/// The share of the sum of squares that main effects explain, fitted by least squares: one setting after the other until nothing changes
/// (Gauss–Seidel).
fn explained(centred: &[f64], factors: &[&Factor<'_>], total: f64) -> f64 {
    let mut residuals = centred.to_vec();
    for _ in 0..MOST_ROUNDS {
        let mut moved = 0.0;
        for factor in factors {
            let mut steps = vec![0.0; factor.counts.len()];
            factor.levels.iter().zip(&residuals).for_each(|(level, residual)| steps[*level] += residual);
            for (step, count) in steps.iter_mut().zip(&factor.counts) {
                *step = if *count > 0.0 { *step / count } else { 0.0 };
                moved += count * *step * *step;
            }
            factor.levels.iter().zip(&mut residuals).for_each(|(level, residual)| *residual -= steps[*level]);
        }
        if factors.len() < 2 || moved <= total * 1e-20 {
            break;
        }
    }
    1.0 - residuals.iter().map(|residual| residual * residual).sum::<f64>() / total
}

/// The levels of the values of a setting: equal values have one, numbered in the order in which they first appear.
#[must_use]
pub fn levels_of<T: Eq + std::hash::Hash>(values: impl IntoIterator<Item = T>) -> Vec<usize> {
    let mut numbers: HashMap<T, usize> = HashMap::new();
    let level = |value| {
        let next = numbers.len();
        *numbers.entry(value).or_insert(next)
    };
    values.into_iter().map(level).collect()
}

/// The levels of numbers that hardly repeat, as a search draws them: so many groups of about equal size, in ascending order. Equal numbers
/// have one level.
#[must_use]
pub fn levels_of_numbers(values: &[f64], groups: usize) -> Vec<usize> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let level =
        |value: &f64| sorted.partition_point(|other| other.total_cmp(value).is_lt()) * groups / sorted.len().max(1);
    levels_of(values.iter().map(level))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_grid_of_two_by_three_by_hand() {
        // Rows 1 2 3 and 3 4 8: mean 3.5, total 4·6.25/4 + … = 29.5. Row means 2 and 5 give 6 · 1.5² = 13.5; column means 2, 3, 5.5 give
        // 2 · (2.25 + 0.25 + 4) = 13; 3 are left for the interaction.
        let found = shares(&[1.0, 2.0, 3.0, 3.0, 4.0, 8.0], &[vec![0, 0, 0, 1, 1, 1], vec![0, 1, 2, 0, 1, 2]]);
        let Shares { settings, rest } = found.expect("they differ");
        close(&settings, &[13.5 / 29.5, 13.0 / 29.5], 1e-12);
        close(&[rest], &[3.0 / 29.5], 1e-12);
    }

    #[test]
    fn a_grid_with_holes_is_as_numpy_fits_it() {
        // Three by four by two with five holes. R² of each subset of settings by numpy.linalg.lstsq of indicators, averaged over the six orders.
        let grid = (0..3_usize).flat_map(|a| (0..4_usize).flat_map(move |b| (0..2_usize).map(move |c| (a, b, c))));
        let points: Vec<(usize, usize, usize)> = grid.filter(|(a, b, c)| (a + 2 * b + 3 * c) % 5 != 0).collect();
        assert_eq!(points.len(), 19);
        let result = |(a, b, c): &(usize, usize, usize)| {
            let sign = if *a == 1 { 1.0 } else { -1.0 };
            let (other, a, b, c) = (((7 * a + 5 * b + 3 * c) % 4) as f64, *a as f64, *b as f64, *c as f64);
            0.7 - 0.03 * b * b + 0.01 * a + 0.004 * c * sign + 0.002 * other
        };
        let results: Vec<f64> = points.iter().map(result).collect();
        let levels = [
            points.iter().map(|point| point.0).collect(),
            points.iter().map(|point| point.1).collect(),
            points.iter().map(|point| point.2).collect(),
        ];
        let Shares { settings, rest } = shares(&results, &levels).expect("they differ");
        close(&settings, &[0.040_064_602_118_182_2, 0.958_991_159_820_968, 0.000_311_657_394_108_97], 1e-9);
        close(&[rest], &[1.0 - 0.999_367_419_333_26], 1e-9);
    }

    #[test]
    fn what_does_not_differ_needs_no_explanation() {
        assert_eq!(shares(&[0.7; 4], &[vec![0, 1, 0, 1]]), None);
        assert_eq!(shares(&[0.7], &[vec![0]]), None);
        assert_eq!(shares(&[0.7, f64::NAN], &[vec![0, 1]]), None);
        assert_eq!(shares(&[0.7, 0.8], &[vec![0]]), None);
        // Without settings everything is the rest.
        assert_eq!(shares(&[0.7, 0.8], &[]), Some(Shares { settings: vec![], rest: 1.0 }));
    }

    #[test]
    fn numbers_that_hardly_repeat_are_grouped() {
        assert_eq!(levels_of_numbers(&[0.4, 0.1, 0.2, 0.3], 2), [0, 1, 1, 0]);
        assert_eq!(levels_of_numbers(&[5.0; 7], 4), [0; 7]);
        assert_eq!(levels_of_numbers(&[], 4), Vec::<usize>::new());
        assert_eq!(levels_of(["b", "a", "b"]), [0, 1, 0]);
    }

    #[test]
    fn of_many_settings_fewer_orders_are_averaged() {
        // A full grid of eight settings with two values: every order gives the same.
        let points: Vec<usize> = (0..256).collect();
        let levels: Vec<Vec<usize>> =
            (0..8).map(|place| points.iter().map(|point| point >> place & 1).collect()).collect();
        let results: Vec<f64> = points
            .iter()
            .map(|point| (0..8).map(|place| (point >> place & 1) as f64 * f64::from(place)).sum())
            .collect();
        let Shares { settings, rest } = shares(&results, &levels).expect("they differ");
        let expected: Vec<f64> = (0..8_u32).map(|place| f64::from(place * place) / 140.0).collect();
        close(&settings, &expected, 1e-12);
        close(&[rest], &[0.0], 1e-12);
    }

    proptest! {
        /// Of a full grid the effects of settings are orthogonal: an additive result is explained in full, each setting by its own variance.
        #[test]
        fn an_additive_full_grid_is_explained_in_full(
            first in proptest::collection::vec(-5.0..5.0_f64, 2..5), second in proptest::collection::vec(-5.0..5.0_f64, 2..5),
        ) {
            let points: Vec<(usize, usize)> =
                (0..first.len()).flat_map(|one| (0..second.len()).map(move |two| (one, two))).collect();
            let results: Vec<f64> = points.iter().map(|(one, two)| first[*one] + second[*two]).collect();
            let levels = [points.iter().map(|(one, _)| *one).collect(), points.iter().map(|(_, two)| *two).collect()];
            let variance = |values: &[f64]| {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
            };
            let (one, two) = (variance(&first), variance(&second));
            prop_assume!(one + two > 1e-6);
            let found = shares(&results, &levels).expect("they differ");
            prop_assert!((found.settings[0] - one / (one + two)).abs() < 1e-9);
            prop_assert!((found.settings[1] - two / (one + two)).abs() < 1e-9);
            prop_assert!(found.rest < 1e-9);
        }

        /// Shares add up to one, whatever holes the grid has.
        #[test]
        fn shares_add_up(points in proptest::collection::vec((0..3_usize, 0..4_usize, 0..2_usize, -1.0..1.0_f64), 2..40)) {
            let results: Vec<f64> = points.iter().map(|(.., result)| *result).collect();
            let levels = [
                points.iter().map(|(level, ..)| *level).collect(),
                points.iter().map(|(_, level, ..)| *level).collect(),
                points.iter().map(|(_, _, level, _)| *level).collect(),
            ];
            if let Some(Shares { settings, rest }) = shares(&results, &levels) {
                prop_assert!((settings.iter().sum::<f64>() + rest - 1.0).abs() < 1e-6);
                prop_assert!(settings.iter().all(|share| (0.0..=1.0 + 1e-9).contains(share)));
            }
        }
    }
}
