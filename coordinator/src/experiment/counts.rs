//! From a sparsity to exact numbers of weights.

use secateur_proto::spec::{Along, Layer, LayerKind, Removal};

use super::setting::{Grain, Scope};

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

/// Shares of weights that differ by less are the same.
const EQUAL: f64 = 1e-6;

/// How many of `weights` a layer may lose at most, of which that is the largest share.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "nets have at most 2^31 weights and a share is in [0, 1]"
)]
fn share(most: f64, weights: u64) -> u64 {
    (most * weights as f64 + EQUAL).floor() as u64
}

/// Shares [`total`] among layers of these sizes in proportion to them, by largest remainder (Hamilton's method): every layer gets
/// s · n rounded down, and the layers with the largest remainders one more each, ties by index, until the sum is exact.
#[expect(clippy::cast_precision_loss, reason = "nets have at most 2^31 weights")]
#[must_use]
pub fn per_layer(sparsity: f64, sizes: &[u64]) -> Vec<u64> {
    let quotas: Vec<f64> = sizes.iter().map(|size| sparsity * *size as f64).collect();
    apportion(total(sparsity, sizes.iter().sum()), &quotas, sizes)
}

/// Shares `count` among layers of these sizes in proportion to them, in the same way.
#[expect(clippy::cast_precision_loss, reason = "nets have at most 2^31 weights")]
#[must_use]
pub fn shared_out(count: u64, sizes: &[u64]) -> Vec<u64> {
    let all: u64 = sizes.iter().sum();
    let quotas: Vec<f64> = sizes.iter().map(|size| count as f64 * *size as f64 / all.max(1) as f64).collect();
    apportion(count.min(all), &quotas, sizes)
}

#[expect(clippy::cast_precision_loss, reason = "nets have at most 2^31 weights")]
fn quotas(sparsities: &[f64], sizes: &[u64]) -> Vec<f64> {
    sparsities.iter().zip(sizes).map(|(sparsity, size)| sparsity * *size as f64).collect()
}

/// Rounds `quotas` to whole numbers that sum to `total`: each down, and the largest remainders one more.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "quotas are of at most 2^31 weights")]
fn apportion(total: u64, quotas: &[f64], sizes: &[u64]) -> Vec<u64> {
    let mut counts: Vec<u64> = quotas.iter().map(|quota| quota.floor() as u64).collect();
    // Remainders that are equal are not, once they are computed.
    let remainder = |quota: &f64| ((quota - quota.floor()) / EQUAL).round() * EQUAL;
    let mut order: Vec<(usize, f64)> = quotas.iter().map(remainder).enumerate().collect();
    order.sort_by(|(_, one), (_, two)| two.total_cmp(one));
    let mut missing = i128::from(total) - counts.iter().map(|count| i128::from(*count)).sum::<i128>();
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

/// Shares [`total`] among layers so that their densities are as Erdős–Rényi–Kernel has them: in proportion to the sum of a layer's
/// dimensions over their product, where a layer whose density would exceed 1 stays dense (Evci et al. 2020).
#[expect(clippy::cast_precision_loss, reason = "nets have at most 2^31 weights")]
#[must_use]
pub fn erdos_renyi(sparsity: f64, layers: &[Layer]) -> Vec<f64> {
    let dimensions = |layer: &Layer| match layer.kind {
        LayerKind::Linear { inputs, outputs } => f64::from(inputs) + f64::from(outputs),
        LayerKind::Convolution { inputs, outputs, kernel, .. } => {
            f64::from(inputs) + f64::from(outputs) + 2.0 * f64::from(kernel)
        }
        LayerKind::BatchNorm { features } => f64::from(features),
    };
    let sizes: Vec<f64> = layers.iter().map(|layer| layer.weights() as f64).collect();
    let kept = (1.0 - sparsity) * sizes.iter().sum::<f64>();
    let mut dense = vec![false; layers.len()];
    loop {
        let fixed: f64 = sizes.iter().zip(&dense).filter(|(_, dense)| **dense).map(|(size, _)| size).sum();
        let raw: f64 =
            layers.iter().zip(&dense).filter(|(_, dense)| !**dense).map(|(layer, _)| dimensions(layer)).sum();
        // Of density ε · dimensions / size a layer keeps ε · dimensions.
        let epsilon = if raw > 0.0 { (kept - fixed).max(0.0) / raw } else { 0.0 };
        let density = |place: usize| epsilon * dimensions(&layers[place]) / sizes[place];
        let widest =
            (0..layers.len()).filter(|place| !dense[*place]).max_by(|one, two| density(*one).total_cmp(&density(*two)));
        match widest {
            Some(place) if density(place) > 1.0 => dense[place] = true,
            _ => return (0..layers.len()).map(|place| if dense[place] { 0.0 } else { 1.0 - density(place) }).collect(),
        }
    }
}

/// What to remove from the prunable `layers`.
///
/// # Errors
/// In words, if there is no layer to take from, one would be emptied, a cap leaves too much, or the scope does not go with the grain.
pub fn removal(request: &Request<'_>, layers: &[Layer]) -> Result<Removal, String> {
    let Request { scope, grain, sparsity, most } = *request;
    if layers.is_empty() && sparsity > 0.0 {
        return Err(format!("no layer is left to prune, so a sparsity of {sparsity} cannot be reached"));
    }
    if let Grain::Grouped { keep, group } = grain {
        return grouped(request, keep, group, layers);
    }
    let units = matches!(grain, Grain::Neuron | Grain::Filter);
    let what = if units { "units" } else { "weights" };
    let sizes: Vec<u64> =
        layers.iter().map(|layer| if units { u64::from(layer.outputs()) } else { layer.weights() }).collect();
    let all: u64 = sizes.iter().sum();
    let count = total(sparsity, all);
    // Nothing is nothing whatever the scope, and within a single layer all scopes are one.
    let single = sizes.len() == 1 && !matches!(scope, Scope::Factors(_));
    let counts = match scope {
        _ if count == 0 || single => None,
        Scope::Local => Some(per_layer(sparsity, &sizes)),
        Scope::Erk if units => {
            return Err("erk shares out weights; with units take local, global or sensitivity".to_owned());
        }
        Scope::Erk => Some(apportion(count, &quotas(&erdos_renyi(sparsity, layers), &sizes), &sizes)),
        Scope::Factors(factors) => {
            if let Some(name) = factors.keys().find(|name| layers.iter().all(|layer| layer.name != **name)) {
                let known: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
                return Err(format!("there is no prunable layer {name}; they are {}", known.join(", ")));
            }
            let share = |layer: &Layer| (factors.get(&layer.name).copied().unwrap_or(1.0) * sparsity).min(1.0);
            Some(layers.iter().zip(&sizes).map(|(layer, size)| total(share(layer), *size)).collect())
        }
        Scope::Global | Scope::Lamp | Scope::Sensitivity => None,
    };
    let caps: Option<Vec<u64>> =
        most.map(|most| sizes.iter().map(|size| share(most, *size).min(size.saturating_sub(1))).collect());
    if let Some(counts) = counts {
        let limits = caps.unwrap_or_else(|| sizes.iter().map(|size| size.saturating_sub(1)).collect());
        for ((layer, count), (limit, size)) in layers.iter().zip(&counts).zip(limits.iter().zip(&sizes)) {
            if count == size {
                return Err(format!("sparsity {sparsity} would remove all {size} {what} of {}", layer.name));
            }
            if count > limit {
                let name = &layer.name;
                return Err(format!(
                    "sparsity {sparsity} would remove {count} of {size} {what} of {name}, allowed at most {limit}"
                ));
            }
        }
        return Ok(Removal::PerLayer { counts });
    }
    let least = sizes.len() as u64;
    if count > 0 && count > all.saturating_sub(least) {
        return Err(format!(
            "sparsity {sparsity} would leave {} of {all} {what}, fewer than the {least} prunable layers: at least one would be emptied",
            all - count
        ));
    }
    if let Some(caps) = caps.filter(|_| count > 0) {
        let room: u64 = caps.iter().sum();
        if count > room {
            return Err(format!(
                "sparsity {sparsity} would remove {count} {what}, and the cap of each layer allows {room} in all"
            ));
        }
        return Ok(Removal::Global { count, caps: Some(caps) });
    }
    Ok(match scope {
        Scope::Sensitivity if count > 0 && !single => Removal::Sensitivity { count },
        _ => Removal::global(count),
    })
}

/// What decides how many go.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Which compete.
    pub scope: &'a Scope,
    /// What goes as one.
    pub grain: Grain,
    /// The share that goes.
    pub sparsity: f64,
    /// The largest share that a layer may lose.
    pub most: Option<f64>,
}

/// A pattern decides by itself how many go.
fn grouped(request: &Request<'_>, keep: u32, group: u32, layers: &[Layer]) -> Result<Removal, String> {
    let wanted = 1.0 - f64::from(keep) / f64::from(group);
    if request.sparsity == 0.0 {
        return Ok(Removal::NONE);
    }
    if (request.sparsity - wanted).abs() > 1e-9 {
        return Err(format!("{keep}:{group} removes a share of {wanted}, not {}", request.sparsity));
    }
    if let Some(most) = request.most.filter(|most| wanted > *most) {
        return Err(format!("{keep}:{group} removes a share of {wanted} of each layer, allowed at most {most}"));
    }
    if let Some(layer) = layers.iter().find(|layer| layer.inputs() < group) {
        let inputs = if layer.kernel_area() > 1 { "input channels" } else { "inputs" };
        return Err(format!(
            "{keep}:{group} takes at least {group} {inputs}, and {} has {}: leave it out with pruning.layers",
            layer.name,
            layer.inputs()
        ));
    }
    let has_kernels = layers.iter().any(|layer| layer.kernel_area() > 1);
    Ok(Removal::Grouped { keep, group, along: if has_kernels { Along::Channels } else { Along::Flat } })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layers(sizes: &[u64]) -> Vec<Layer> {
        let layer = |(index, size): (usize, &u64)| Layer {
            name: format!("layers.{index}"),
            kind: LayerKind::Linear { inputs: u32::try_from(*size).expect("small"), outputs: 1 },
            bias: true,
            positions: 1,
        };
        sizes.iter().enumerate().map(layer).collect()
    }

    fn removal(scope: Scope, sparsity: f64, layers: &[Layer]) -> Result<Removal, String> {
        super::removal(&Request { scope: &scope, grain: Grain::Unstructured, sparsity, most: None }, layers)
    }

    /// LeNet-300-100 with its output layer.
    fn lenet() -> Vec<Layer> {
        [(784, 300), (300, 100), (100, 10)]
            .into_iter()
            .enumerate()
            .map(|(index, (inputs, outputs))| Layer {
                name: format!("layers.{index}"),
                kind: LayerKind::Linear { inputs, outputs },
                bias: true,
                positions: 1,
            })
            .collect()
    }

    /// Computed with the algorithm of the authors' code.
    #[test]
    fn erdos_renyi_densities_of_lenet_300_100() {
        for (sparsity, expected) in [
            (0.8, [0.83776, 0.53064, 0.0]),
            (0.9, [0.92043, 0.76981, 0.0]),
            (0.95, [0.96152, 0.88867, 0.08149]),
            (0.98, [0.98461, 0.95547, 0.6326]),
            (0.99, [0.9923, 0.97773, 0.8163]),
        ] {
            for (found, expected) in erdos_renyi(sparsity, &lenet()).iter().zip(expected) {
                assert!((found - expected).abs() < 6e-6, "{sparsity}: {found} instead of {expected}");
            }
            let Ok(Removal::PerLayer { counts }) = removal(Scope::Erk, sparsity, &lenet()) else { panic!("counts") };
            assert_eq!(counts.iter().sum::<u64>(), total(sparsity, 266_200));
        }
    }

    #[test]
    fn a_pattern_of_a_convolution_is_one_of_its_input_channels() {
        let convolution = |inputs| Layer {
            name: "layers.0".to_owned(),
            kind: LayerKind::Convolution { inputs, outputs: 8, kernel: 3, stride: 1, padding: 1 },
            bias: true,
            positions: 1,
        };
        let request = |layer| {
            let grain = Grain::Grouped { keep: 2, group: 4 };
            super::removal(&Request { scope: &Scope::Global, grain, sparsity: 0.5, most: None }, &[layer])
        };
        let removal = request(convolution(6)).expect("a pattern");
        assert_eq!(removal, Removal::Grouped { keep: 2, group: 4, along: Along::Channels });
        // Two of the first four channels, and nothing of the last two.
        assert_eq!(removal.total(&[convolution(6)]), Some(8 * 2 * 9));
        let problem = request(convolution(1)).expect_err("one channel has no four");
        assert!(problem.contains("at least 4 input channels, and layers.0 has 1"), "{problem}");
    }

    #[test]
    fn a_cap_holds_for_every_layer_and_a_pattern_decides_by_itself() {
        let request =
            |scope, grain, sparsity, most| super::removal(&Request { scope, grain, sparsity, most }, &lenet());
        assert_eq!(
            request(&Scope::Global, Grain::Unstructured, 0.9, Some(0.95)),
            Ok(Removal::Global { count: 239_580, caps: Some(vec![223_440, 28_500, 950]) })
        );
        assert!(request(&Scope::Global, Grain::Unstructured, 0.96, Some(0.95)).is_err());
        assert!(request(&Scope::Local, Grain::Unstructured, 0.96, Some(0.95)).is_err());
        let pattern = Grain::Grouped { keep: 2, group: 4 };
        assert_eq!(
            request(&Scope::Global, pattern, 0.5, None),
            Ok(Removal::Grouped { keep: 2, group: 4, along: Along::Flat })
        );
        assert!(request(&Scope::Global, pattern, 0.75, None).expect_err("half").contains("2:4 removes a share of 0.5"));
        assert_eq!(
            request(&Scope::Local, Grain::Neuron, 0.5, None),
            Ok(Removal::PerLayer { counts: vec![150, 50, 5] })
        );
        let factors = Scope::Factors([("layers.2".to_owned(), 0.5)].into());
        assert_eq!(
            request(&factors, Grain::Unstructured, 0.2, None),
            Ok(Removal::PerLayer { counts: vec![47_040, 6000, 100] })
        );
    }

    /// 1854.4 and 486.4 of 2341: both remainders are .4, and the products have .39999999999986 and .39999999999998.
    #[test]
    fn remainders_that_are_equal_are_so_when_they_are_computed() {
        assert_eq!(per_layer(0.95, &[1952, 512]), [1855, 486]);
        assert_eq!(per_layer(0.95, &[512, 1952]), [487, 1854]);
    }

    #[test]
    fn numbers_are_shared_out_in_proportion() {
        assert_eq!(shared_out(6, &[8, 4]), [4, 2]);
        assert_eq!(shared_out(5, &[8, 4]), [3, 2]);
        assert_eq!(shared_out(13, &[8, 4]), [8, 4], "there are no more");
        assert_eq!(shared_out(0, &[]), Vec::<u64>::new());
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
        assert_eq!(removal(Scope::Global, 0.95, &layers(&[1000, 8])), Ok(Removal::global(958)));
    }

    #[test]
    fn one_layer_knows_no_scope_and_nothing_is_nothing() {
        assert_eq!(removal(Scope::Local, 0.5, &layers(&[10])), Ok(Removal::global(5)));
        assert_eq!(removal(Scope::Local, 0.0, &layers(&[10, 10])), Ok(Removal::global(0)));
        assert_eq!(removal(Scope::Global, 0.0, &layers(&[1, 1])), Ok(Removal::global(0)));
        assert_eq!(removal(Scope::Local, 0.0, &[]), Ok(Removal::global(0)));
        for scope in [Scope::Local, Scope::Global, Scope::Erk] {
            assert!(removal(scope, 0.5, &[]).expect_err("there is no layer").contains("no layer is left to prune"));
        }
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
                let removed = removal.total(&layers(&sizes)).expect("known");
                prop_assert_eq!(removed, total(sparsity, weights));
                prop_assert!(weights - removed >= sizes.len() as u64 || removed == 0);
                if let Removal::PerLayer { counts } = removal {
                    prop_assert!(counts.iter().zip(&sizes).all(|(count, size)| count < size));
                }
            }
        }
    }
}
