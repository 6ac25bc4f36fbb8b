//! P-values adjusted for how many comparisons were made.

/// Adjusts p-values by Holm's step-down method (Holm 1979), which bounds the chance of any false rejection, whatever the dependence.
/// `comparisons` is how many there were in all: at least as many as p-values, more if only the smallest are given.
///
/// Returns `None` if a p-value is not in 0..=1, or if there are fewer comparisons than p-values.
#[must_use]
pub fn holm(p_values: &[f64], comparisons: usize) -> Option<Vec<f64>> {
    let order = ascending(p_values, comparisons)?;
    let mut adjusted = vec![0.0; p_values.len()];
    let mut highest = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        highest = highest.max((comparisons - rank) as f64 * p_values[index]).min(1.0);
        adjusted[index] = highest;
    }
    Some(adjusted)
}

/// Adjusts p-values by the step-up method of Benjamini & Hochberg 1995, which bounds the expected share of false rejections among all, of
/// comparisons that are independent or positively dependent. Arguments and result are as of [`holm`].
#[must_use]
pub fn benjamini_hochberg(p_values: &[f64], comparisons: usize) -> Option<Vec<f64>> {
    let order = ascending(p_values, comparisons)?;
    let mut adjusted = vec![0.0; p_values.len()];
    let mut lowest = 1.0_f64;
    for (rank, index) in order.into_iter().enumerate().rev() {
        lowest = lowest.min(comparisons as f64 / (rank + 1) as f64 * p_values[index]);
        adjusted[index] = lowest;
    }
    Some(adjusted)
}

/// The places of the p-values, the smallest first.
fn ascending(p_values: &[f64], comparisons: usize) -> Option<Vec<usize>> {
    if comparisons < p_values.len() || p_values.iter().any(|p| !(0.0..=1.0).contains(p)) {
        return None;
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|one, two| p_values[*one].total_cmp(&p_values[*two]));
    Some(order)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The fifteen p-values of Benjamini & Hochberg 1995, section 4, in another order.
    const PUBLISHED: [f64; 15] = [
        0.0459, 0.0001, 0.0004, 0.0019, 0.3240, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.4262, 0.5719, 0.6528, 0.7590,
        1.0,
    ];

    fn close(found: Option<Vec<f64>>, expected: &[f64]) {
        let found = found.expect("they are p-values");
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    #[test]
    fn the_published_example_rejects_four_and_three() {
        // "We reject the four hypotheses having p-values less than or equal to .013"; Bonferroni, and so Holm, rejects three.
        let rejected = |adjusted: Option<Vec<f64>>| adjusted.expect("p-values").iter().filter(|p| **p <= 0.05).count();
        assert_eq!(rejected(benjamini_hochberg(&PUBLISHED, 15)), 4);
        assert_eq!(rejected(holm(&PUBLISHED, 15)), 3);
    }

    #[test]
    fn adjusted_p_values_are_those_of_statsmodels() {
        // multipletests(PUBLISHED, method="holm") and method="fdr_bh" of statsmodels, which agree with R's p.adjust.
        let holm_expected =
            [0.3213, 0.0015, 0.0056, 0.0247, 1.0, 0.114, 0.2211, 0.278, 0.278, 0.278, 1.0, 1.0, 1.0, 1.0, 1.0];
        close(holm(&PUBLISHED, 15), &holm_expected);
        let expected = [
            0.0765,
            0.0015,
            0.003,
            0.0095,
            0.486,
            0.035_625,
            0.0603,
            0.063_857_142_857,
            0.063_857_142_857,
            0.0645,
            0.581_181_818_182,
            0.714_875,
            0.753_230_769_231,
            0.813_214_285_714,
            1.0,
        ];
        close(benjamini_hochberg(&PUBLISHED, 15), &expected);
        // The smallest three of ten comparisons.
        close(holm(&[0.01, 0.02, 0.03], 10), &[0.1, 0.18, 0.24]);
        close(benjamini_hochberg(&[0.01, 0.02, 0.03], 10), &[0.1; 3]);
    }

    #[test]
    fn what_is_no_p_value_is_refused() {
        for wrong in [f64::NAN, -0.1, 1.1] {
            assert_eq!(holm(&[0.5, wrong], 2), None);
            assert_eq!(benjamini_hochberg(&[0.5, wrong], 2), None);
        }
        assert_eq!(holm(&[0.5, 0.5], 1), None);
        assert_eq!(holm(&[], 3), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn adjusting_keeps_the_order_and_never_lowers(
            p_values in proptest::collection::vec(0.0..=1.0_f64, 1..40), more in 0..20_usize,
        ) {
            let comparisons = p_values.len() + more;
            for adjusted in [holm(&p_values, comparisons), benjamini_hochberg(&p_values, comparisons)] {
                let adjusted = adjusted.expect("p-values");
                for (place, (p, own)) in p_values.iter().zip(&adjusted).enumerate() {
                    prop_assert!(p <= own && *own <= 1.0);
                    for (other_p, other) in p_values.iter().zip(&adjusted).skip(place) {
                        prop_assert!((p < other_p && own <= other) || (p > other_p && own >= other) || own == other);
                    }
                }
            }
        }
    }
}
