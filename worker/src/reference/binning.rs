//! Inputs in bins: what splits of trees choose among.

use super::Rows;

/// The bins of all inputs. Inputs with one value have none.
pub(super) struct Binned {
    /// Indices of the inputs that have bins, ascending.
    pub(super) features: Vec<usize>,
    /// By such an input: bin b holds the values above threshold b − 1 and up to threshold b.
    pub(super) thresholds: Vec<Vec<f32>>,
    /// The bin of each row and such an input, row-major.
    pub(super) bins: Vec<u8>,
}

impl Binned {
    /// At most `most` bins of each input, at most 255, by quantiles of its values.
    pub(super) fn of(rows: Rows<'_>, most: usize) -> Self {
        let mut values = Vec::with_capacity(rows.len());
        let (mut features, mut thresholds) = (Vec::new(), Vec::new());
        for feature in 0..rows.width {
            values.clear();
            values.extend(rows.iter().map(|inputs| inputs[feature]));
            values.sort_unstable_by(f32::total_cmp);
            let found = thresholds_of(&values, most);
            if !found.is_empty() {
                features.push(feature);
                thresholds.push(found);
            }
        }
        let mut bins = Vec::with_capacity(rows.len() * features.len());
        for inputs in rows.iter() {
            for (feature, thresholds) in features.iter().zip(&thresholds) {
                let value = inputs[*feature];
                let bin = thresholds.partition_point(|threshold| *threshold < value);
                bins.push(u8::try_from(bin).unwrap_or(u8::MAX));
            }
        }
        Self { features, thresholds, bins }
    }
}

/// Between all distinct values if there are few enough of them, else at quantiles. `values` are sorted.
fn thresholds_of(values: &[f32], most: usize) -> Vec<f32> {
    let mut distinct = values.to_vec();
    distinct.dedup();
    let mut thresholds: Vec<f32> = if distinct.len() <= most {
        distinct.windows(2).map(|pair| between(pair[0], pair[1])).collect()
    } else {
        (1..most).map(|bin| quantile(values, bin, most)).collect()
    };
    thresholds.dedup();
    // A threshold at the largest value would separate nothing.
    thresholds.retain(|threshold| values.last().is_some_and(|largest| threshold < largest));
    thresholds
}

/// The least value that `part` of so many equal parts of the sorted values do not exceed; if exactly that many do not, the midpoint of it
/// and the next one (NumPy's `averaged_inverted_cdf`).
fn quantile(values: &[f32], part: usize, parts: usize) -> f32 {
    let (whole, rest) = (values.len() * part / parts, values.len() * part % parts);
    if rest == 0 && whole > 0 { between(values[whole - 1], values[whole]) } else { values[whole] }
}

/// The midpoint of two values in order; never as large as the upper one.
fn between(low: f32, high: f32) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "between two numbers of 32 bits")]
    let middle = f64::midpoint(low.into(), high.into()) as f32;
    if middle < high { middle } else { low }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_values_have_a_bin_each() {
        let inputs = [3.0, 1.0, 1.0, 2.0, -0.5, 2.0];
        let binned = Binned::of(Rows { inputs: &inputs, width: 1, targets: &[0.0; 6] }, 255);
        assert_eq!(binned.thresholds, [vec![0.25, 1.5, 2.5]]);
        assert_eq!(binned.bins, [3, 1, 1, 2, 0, 2]);
    }

    /// `numpy.percentile([1, 2, 3, 4, 10], [25, 50, 75], method="averaged_inverted_cdf")`, and of one value more.
    #[test]
    fn many_values_are_cut_at_quantiles() {
        assert_eq!(thresholds_of(&[1.0, 2.0, 3.0, 4.0, 10.0], 4), [2.0, 3.0, 4.0]);
        assert_eq!(thresholds_of(&[1.0, 2.0, 3.0, 4.0, 5.0, 10.0], 3), [2.5, 4.5]);
    }

    #[test]
    fn an_input_with_one_value_has_no_bins() {
        let inputs = [7.0, 1.0, 7.0, 2.0];
        let binned = Binned::of(Rows { inputs: &inputs, width: 2, targets: &[0.0; 2] }, 255);
        assert_eq!((binned.features, binned.bins), (vec![1], vec![0, 1]));
    }

    #[test]
    fn neighbouring_numbers_are_separated() {
        let (low, high) = (1.0_f32, 1.0_f32.next_up());
        assert_eq!(thresholds_of(&[low, high], 255), [low]);
    }

    proptest! {
        #[test]
        fn bins_are_in_the_order_of_values(mut values in prop::collection::vec(-50_i16..50, 1..200), most in 2_usize..20) {
            values.sort_unstable();
            let inputs: Vec<f32> = values.iter().map(|value| f32::from(*value) / 4.0).collect();
            let targets = vec![0.0; inputs.len()];
            let binned = Binned::of(Rows { inputs: &inputs, width: 1, targets: &targets }, most);
            prop_assert!(binned.thresholds.iter().all(|thresholds| thresholds.is_sorted_by(|one, two| one < two)));
            prop_assert!(binned.bins.is_sorted());
            let count = binned.bins.last().map_or(0, |last| usize::from(*last) + 1);
            prop_assert!(count <= most);
            if inputs.first() != inputs.last() {
                // No bin at the ends is empty.
                prop_assert_eq!(binned.bins.first(), Some(&0));
                prop_assert_eq!(count, binned.thresholds[0].len() + 1);
            }
        }
    }
}
