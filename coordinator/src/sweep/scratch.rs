//! Small dense nets to compare pruned ones with (scratch-small of Liu et al. 2019): of as many parameters as are left, or of as many
//! units. It knows forms and counts, not how the net is trained.

use secateur_proto::spec::{Layer, ModelSpec, Removal};

use super::counts;

/// Shares of the widths are tried in steps of one thousandth, since widths are whole numbers.
const STEPS: u32 = 1000;

/// So many steps on either side of the share that is just wide enough: from there the widths round differently.
const AROUND: u32 = 4;

/// What it costs that one layer keeps a share twice as large as another's, in shares of the number of parameters that is to be met.
const PROPORTION: f64 = 0.05;

/// The widths that a form leaves open: of hidden layers, of all blocks, or of each stage; nothing of a form without any.
pub(super) fn widths(model: &ModelSpec) -> Option<Vec<u32>> {
    match model {
        ModelSpec::Mlp { hidden, .. } => Some(hidden.clone()),
        ModelSpec::ResidualMlp { width, .. } => Some(vec![*width]),
        ModelSpec::ResidualCnn { channels, .. } => Some(channels.clone()),
        ModelSpec::Lenet5 { .. } => None,
    }
}

fn with_widths(model: &ModelSpec, widths: &[u32]) -> ModelSpec {
    let mut model = model.clone();
    match &mut model {
        ModelSpec::Mlp { hidden, .. } => *hidden = widths.to_vec(),
        ModelSpec::ResidualMlp { width, .. } => *width = widths[0],
        ModelSpec::ResidualCnn { channels, .. } => *channels = widths.to_vec(),
        ModelSpec::Lenet5 { .. } => {}
    }
    model
}

/// The net of the form of `model` that has about `parameters`: all widths are smaller by about the same factor, and as far from that as
/// it pays in parameters. A net with a layer of a single unit could meet the number and would be nothing to compare with.
///
/// # Errors
/// In words, if the form has no widths, or even its narrowest net has more parameters.
#[expect(clippy::cast_precision_loss, reason = "shares of numbers of parameters")]
pub(super) fn of_parameters(model: &ModelSpec, parameters: u64) -> Result<ModelSpec, String> {
    let full = widths(model).filter(|widths| !widths.is_empty());
    let full = full.ok_or_else(|| "the form of this net has no widths that could be smaller".to_owned())?;
    let scaled = |step: u32| -> Vec<u32> {
        let scale = |width: &u32| (f64::from(*width) * f64::from(step) / f64::from(STEPS)).round().max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a width")]
        full.iter().map(|width| scale(width) as u32).collect()
    };
    let count = |widths: &[u32]| with_widths(model, widths).parameters();
    let narrowest = count(&scaled(0));
    if narrowest > parameters {
        return Err(format!(
            "{parameters} parameters are left, and a net of one unit a layer has {narrowest}: no net of this form is as small"
        ));
    }
    // Wider nets have more parameters, so the share that is just too wide can be searched for.
    let (mut fits, mut exceeds) = (0, STEPS + 1);
    while exceeds - fits > 1 {
        let middle = fits.midpoint(exceeds);
        if count(&scaled(middle)) <= parameters {
            fits = middle;
        } else {
            exceeds = middle;
        }
    }
    let cost = |widths: &[u32]| {
        let off = count(widths).abs_diff(parameters) as f64 / parameters.max(1) as f64;
        off + PROPORTION * disproportion(widths, &full)
    };
    let nets = (fits.saturating_sub(AROUND)..=(fits + AROUND).min(STEPS)).map(|step| {
        let mut widths = scaled(step);
        // A unit more or less in one layer after the other, as long as that is better.
        loop {
            let better = (0..widths.len())
                .flat_map(|place| [(place, widths[place] - 1), (place, widths[place] + 1)])
                .filter(|(place, width)| (1..=full[*place]).contains(width))
                .map(|(place, width)| {
                    let mut other = widths.clone();
                    other[place] = width;
                    (cost(&other), other)
                })
                .min_by(|one, two| one.0.total_cmp(&two.0))
                .filter(|(other, _)| *other < cost(&widths));
            match better {
                Some((_, other)) => widths = other,
                None => return (cost(&widths), widths),
            }
        }
    });
    let (_, widths) = nets.min_by(|one, two| one.0.total_cmp(&two.0)).expect("there is at least the share that fits");
    Ok(with_widths(model, &widths))
}

/// By how much the share of `full` that the widest layer has is larger than that of the narrowest: 0 of equal shares.
fn disproportion(widths: &[u32], full: &[u32]) -> f64 {
    let shares = widths.iter().zip(full).map(|(width, full)| f64::from(*width) / f64::from(*full));
    let (least, most) =
        shares.fold((f64::INFINITY, 0.0_f64), |(least, most), share| (least.min(share), most.max(share)));
    most / least - 1.0
}

/// The perceptron that is left of `model` when units of `layers` go; where it is not said of which layer, of each the same share.
/// Nothing of other forms, whose units stand between layers that keep theirs.
pub(super) fn of_units(model: &ModelSpec, layers: &[u32], removal: &Removal) -> Option<ModelSpec> {
    let ModelSpec::Mlp { hidden, .. } = model else { return None };
    let all = model.layers();
    let chosen: Vec<&Layer> = layers.iter().filter_map(|index| all.get(*index as usize)).collect();
    let sizes: Vec<u64> = chosen.iter().map(|layer| u64::from(layer.outputs())).collect();
    let counts = match removal {
        Removal::PerLayer { counts } => counts.clone(),
        Removal::Global { count, .. } | Removal::Sensitivity { count } => counts::shared_out(*count, &sizes),
        Removal::Grouped { .. } | Removal::Zeros {} => return None,
    };
    // Layers without weights of their own stand between those that the widths are of.
    let weighted = all.iter().enumerate().filter(|(_, layer)| layer.weights() > 0);
    let left = weighted.zip(hidden).map(|((index, _), width)| {
        let removed =
            layers.iter().zip(&counts).find(|(layer, _)| **layer as usize == index).map_or(0, |(_, count)| *count);
        width.saturating_sub(u32::try_from(removed).unwrap_or(u32::MAX)).max(1)
    });
    Some(with_widths(model, &left.collect::<Vec<_>>()))
}

/// How many more than `epochs`, which is what `model` is trained for, the `small` net is trained for as many multiply-accumulates.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a ratio of at most ten, of epochs"
)]
pub(super) fn further_epochs(model: &ModelSpec, small: &ModelSpec, epochs: u32) -> u32 {
    // More than ten times as long teaches no small net anything.
    let ratio = (model.macs() as f64 / small.macs().max(1) as f64).clamp(1.0, 10.0);
    (f64::from(epochs) * (ratio - 1.0)).round() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secateur_proto::spec::Activation;

    use super::*;

    fn perceptron(inputs: u32, hidden: &[u32]) -> ModelSpec {
        ModelSpec::mlp(inputs, hidden.to_vec())
    }

    /// The least cost of all nets of two hidden layers.
    #[test]
    fn no_net_is_nearer_and_as_much_in_proportion() {
        let full = [64, 32];
        let model = perceptron(61, &full);
        for parameters in [200_u64, 500, 627, 922, 1000, 2345, 6000] {
            let cost = |widths: &[u32]| {
                let off = with_widths(&model, widths).parameters().abs_diff(parameters) as f64 / parameters as f64;
                (off + PROPORTION * disproportion(widths, &full), off)
            };
            let found = widths(&of_parameters(&model, parameters).expect("a net")).expect("widths");
            let (found_cost, off) = cost(&found);
            let all = (1..=full[0]).flat_map(|one| (1..=full[1]).map(move |two| [one, two]));
            let (least, best) =
                all.map(|widths| (cost(&widths).0, widths)).min_by(|one, two| one.0.total_cmp(&two.0)).expect("nets");
            assert!(found_cost <= least + 1e-12, "{parameters}: {found:?} costs {found_cost}, {best:?} {least}");
            assert!(off < 0.05, "{parameters}: {found:?}");
        }
        assert_eq!(of_parameters(&model, model.parameters()), Ok(model.clone()));
    }

    #[test]
    fn what_cannot_be_as_small_is_refused_with_the_reason() {
        let model = perceptron(100, &[64, 32]);
        let problem = of_parameters(&model, 104).expect_err("101 + 2 + 2 parameters at least");
        assert!(problem.contains("a net of one unit a layer has 105"), "{problem}");
        assert_eq!(of_parameters(&model, 105), Ok(perceptron(100, &[1, 1])));
        let problem = of_parameters(&ModelSpec::Lenet5 { image: [1, 28, 28], outputs: 10 }, 1000).expect_err("fixed");
        assert!(problem.contains("no widths"), "{problem}");
        assert!(of_parameters(&perceptron(3, &[]), 2).is_err(), "a net without hidden layers");
    }

    #[test]
    fn nets_with_residues_are_narrower_too() {
        let nets = [
            ModelSpec::ResidualCnn { image: [1, 8, 8], channels: vec![8, 16], blocks: 1, outputs: 10 },
            ModelSpec::ResidualMlp { inputs: 20, width: 32, blocks: 2, outputs: 1, activation: Activation::Relu },
        ];
        for model in nets {
            let wanted = model.parameters() / 4;
            let small = of_parameters(&model, wanted).expect("a net");
            assert!(small.check().is_ok() && small.parameters().abs_diff(wanted) * 10 < wanted, "{small:?}");
        }
    }

    #[test]
    fn as_much_compute_is_so_many_epochs_to_the_nearest() {
        // 10·8 + 8·4 + 4 = 116 multiply-accumulates a row, and 10·5 + 5·2 + 2 = 62.
        let (model, small) = (perceptron(10, &[8, 4]), perceptron(10, &[5, 2]));
        assert_eq!(further_epochs(&model, &small, 20), 17, "20 · 116 / 62 = 37.4");
        assert_eq!(further_epochs(&model, &model, 20), 0);
        assert_eq!(further_epochs(&perceptron(100, &[100, 100]), &perceptron(100, &[1, 1]), 20), 180);
    }

    #[test]
    fn units_that_go_leave_the_net_without_them() {
        let model = perceptron(10, &[8, 6, 4]);
        let left = |removal| of_units(&model, &[0, 2], &removal);
        assert_eq!(left(Removal::PerLayer { counts: vec![3, 2] }), Some(perceptron(10, &[5, 6, 2])));
        // Six of twelve: half of each.
        assert_eq!(left(Removal::global(6)), Some(perceptron(10, &[4, 6, 2])));
        let normed = ModelSpec::Mlp {
            inputs: 10,
            hidden: vec![8, 6],
            outputs: 1,
            activation: Activation::Relu,
            batch_norm: true,
        };
        let layers = normed.prunable();
        let small = of_units(&normed, &layers, &Removal::PerLayer { counts: vec![7, 1] }).expect("a net");
        assert_eq!(widths(&small), Some(vec![1, 5]));
    }

    proptest! {
        /// No width grows, and none vanishes.
        #[test]
        fn small_nets_are_small(inputs in 1_u32..50, hidden in prop::collection::vec(1_u32..80, 1..4), share in 0.02..1.0_f64) {
            let model = perceptron(inputs, &hidden);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share")]
            let wanted = (model.parameters() as f64 * share) as u64;
            if let Ok(small) = of_parameters(&model, wanted) {
                let found = widths(&small).expect("widths");
                prop_assert!(found.iter().zip(&hidden).all(|(small, full)| (1..=*full).contains(small)));
            }
        }
    }
}
