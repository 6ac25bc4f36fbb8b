//! From a sparsity to exact numbers of weights.

use secateur_proto::spec::Removal;

use super::axis::Scope;

/// How many of `weights` a `sparsity` removes: s · N rounded to the nearest integer, halves away from zero.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "nets have at most 2^31 weights and a sparsity is in [0, 1)"
)]
#[must_use]
pub fn total(sparsity: f64, weights: u64) -> u64 {
    ((sparsity * weights as f64).round() as u64).min(weights)
}

/// Shares [`total`] among layers of these sizes in proportion to them, by largest remainder (Hamilton's method): every layer gets
/// s · n rounded down, and the layers with the largest remainders one more each, ties by index, until the sum is exact.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "nets have at most 2^31 weights and a sparsity is in [0, 1)"
)]
#[must_use]
pub fn per_layer(sparsity: f64, sizes: &[u64]) -> Vec<u64> {
    let quotas = sizes.iter().map(|size| sparsity * *size as f64);
    let mut counts: Vec<u64> = quotas.clone().map(|quota| quota.floor() as u64).collect();
    let mut order: Vec<(usize, f64)> = quotas.map(|quota| quota - quota.floor()).enumerate().collect();
    order.sort_by(|(_, one), (_, two)| two.total_cmp(one));
    let total = total(sparsity, sizes.iter().sum());
    let mut missing = total as i128 - counts.iter().map(|count| i128::from(*count)).sum::<i128>();
    for (layer, _) in &order {
        if missing > 0 && counts[*layer] < sizes[*layer] {
            counts[*layer] += 1;
            missing -= 1;
        }
    }
    // A quota that rounding lifted onto an integer can make the floors one too many: the smallest remainder gives it back.
    for (layer, _) in order.iter().rev() {
        if missing < 0 && counts[*layer] > 0 {
            counts[*layer] -= 1;
            missing += 1;
        }
    }
    counts
}

/// What to remove from layers of these sizes. Nothing is nothing whatever the scope, and within a single layer both scopes are one.
///
/// # Errors
/// In words, if a layer would be emptied.
pub fn removal(scope: Scope, sparsity: f64, layers: &[(String, u64)]) -> Result<Removal, String> {
    let sizes: Vec<u64> = layers.iter().map(|(_, size)| *size).collect();
    let weights: u64 = sizes.iter().sum();
    let count = total(sparsity, weights);
    if scope == Scope::Local && sizes.len() > 1 && count > 0 {
        let counts = per_layer(sparsity, &sizes);
        if let Some((name, size)) =
            (layers.iter().zip(&counts)).find_map(|(layer, count)| (layer.1 == *count).then_some(layer))
        {
            return Err(format!("sparsity {sparsity} would remove all {size} weights of {name}"));
        }
        return Ok(Removal::PerLayer { counts });
    }
    let least = sizes.len() as u64;
    if count > 0 && count > weights.saturating_sub(least) {
        return Err(format!(
            "sparsity {sparsity} would leave {} of {weights} weights, fewer than the {least} prunable layers: at least one would be emptied",
            weights - count
        ));
    }
    Ok(Removal::Global { count })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layers(sizes: &[u64]) -> Vec<(String, u64)> {
        sizes.iter().enumerate().map(|(index, size)| (format!("layers.{index}"), *size)).collect()
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        assert_eq!(total(0.5, 5), 3);
        assert_eq!(total(0.5, 7), 4);
        assert_eq!(total(0.1, 4), 0);
        assert_eq!(total(0.0, 10), 0);
        assert_eq!(total(0.999_999, 10), 10);
    }

    #[test]
    fn the_largest_remainders_get_one_more() {
        // Quotas 7.5, 3.75, 2.25 of a total of 13.5 → 14: floors 7, 3, 2, then one each for .75 and .5.
        assert_eq!(per_layer(0.75, &[10, 5, 3]), [8, 4, 2]);
        // Three remainders of one half and a total of 1.5 → 2: the first two layers.
        assert_eq!(per_layer(0.5, &[1, 1, 1]), [1, 1, 0]);
        // 1094.4 and 1843.2 of 2937.6 → 2938: the one that is missing goes to the .4.
        assert_eq!(per_layer(0.9, &[1216, 2048]), [1095, 1843]);
    }

    #[test]
    fn a_layer_that_would_be_emptied_is_named() {
        let error = removal(Scope::Local, 0.95, &layers(&[1000, 8])).expect_err("0.95 · 8 = 7.6 → 8");
        assert_eq!(error, "sparsity 0.95 would remove all 8 weights of layers.1");
        let error = removal(Scope::Global, 0.999, &layers(&[1000, 8])).expect_err("one weight for two layers");
        assert!(error.contains("would leave 1 of 1008 weights, fewer than the 2 prunable layers"), "{error}");
        assert_eq!(removal(Scope::Global, 0.95, &layers(&[1000, 8])), Ok(Removal::Global { count: 958 }));
    }

    #[test]
    fn one_layer_knows_no_scope_and_nothing_is_nothing() {
        assert_eq!(removal(Scope::Local, 0.5, &layers(&[10])), Ok(Removal::Global { count: 5 }));
        assert_eq!(removal(Scope::Local, 0.0, &layers(&[10, 10])), Ok(Removal::Global { count: 0 }));
        assert_eq!(removal(Scope::Global, 0.0, &layers(&[1, 1])), Ok(Removal::Global { count: 0 }));
    }

    proptest! {
        #[test]
        fn counts_sum_exactly_and_stay_near_their_quota(
            sparsity in 0.0..1.0_f64,
            sizes in prop::collection::vec(1..3_000_000_u64, 1..12),
        ) {
            let counts = per_layer(sparsity, &sizes);
            prop_assert_eq!(counts.iter().sum::<u64>(), total(sparsity, sizes.iter().sum()));
            for (count, size) in counts.iter().zip(&sizes) {
                prop_assert!(count <= size);
                prop_assert!((*count as f64 - sparsity * *size as f64).abs() <= 1.0);
            }
        }

        #[test]
        fn round_sparsities_sum_exactly_too(hundredth in 0..100_u32, sizes in prop::collection::vec(1..500_u64, 1..12)) {
            let sparsity = f64::from(hundredth) / 100.0;
            prop_assert_eq!(per_layer(sparsity, &sizes).iter().sum::<u64>(), total(sparsity, sizes.iter().sum()));
        }

        #[test]
        fn what_is_not_refused_leaves_every_layer_a_weight_to_have(
            sparsity in 0.0..1.0_f64,
            sizes in prop::collection::vec(1..200_u64, 1..6),
            local in any::<bool>(),
        ) {
            let scope = if local { Scope::Local } else { Scope::Global };
            if let Ok(removal) = removal(scope, sparsity, &layers(&sizes)) {
                let weights: u64 = sizes.iter().sum();
                prop_assert_eq!(removal.total(), total(sparsity, weights));
                prop_assert!(weights - removal.total() >= sizes.len() as u64 || removal.total() == 0);
                if let Removal::PerLayer { counts } = removal {
                    prop_assert!(counts.iter().zip(&sizes).all(|(count, size)| count < size));
                }
            }
        }
    }
}
