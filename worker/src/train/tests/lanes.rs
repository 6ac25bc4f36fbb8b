//! The results of a lane do not depend on other lanes, bit for bit.

use proptest::prelude::*;
use secateur_proto::spec::{Activation, ModelSpec, OptimizerSpec, RegularizationKind, TensorKind, TrainingSpec};

use super::{
    KINDS, alone, assert_same, dataset, device, lane, mask, masked, mlp, one_is_like_many, penalty, run, sgd, training,
    values, zoo,
};
use crate::train::{
    bundle::{Bundle, Lane, Phase},
    data::DeviceData,
};

/// What the lanes of a bundle share.
#[derive(Debug, Clone)]
struct Common {
    model: ModelSpec,
    train_rows: usize,
    batch_size: u32,
    epochs: u32,
    optimizer: usize,
    clips: bool,
    masks: bool,
    penalty: Option<RegularizationKind>,
    dropout: bool,
    weighs: bool,
}

impl Common {
    /// A lane of the class whose own numbers all follow from `number`.
    fn lane(&self, number: u64) -> Lane {
        let lr = [1e-3, 1e-2, 0.1, 3.0, 1e30][number as usize % 5];
        let weight_decay = [0.0, 0.01, 0.3][number as usize % 3];
        // A gradient that is zero except for rounding, such as that of a bias before a batch normalisation, moves the
        // bias by a whole rate if ε is small. On devices other than flex it rounds differently.
        let normalised = self.model.tensors().iter().any(|tensor| tensor.kind == TensorKind::Scale);
        let (betas, eps) = ([0.9, 0.999], if normalised && !one_is_like_many() { 1e-3 } else { 1e-8 });
        let optimizer = match self.optimizer {
            0 => OptimizerSpec::Adam { lr, betas, eps, weight_decay },
            1 => OptimizerSpec::AdamW { lr, betas, eps, weight_decay },
            2 => OptimizerSpec::Sgd { lr, momentum: 0.0, weight_decay, nesterov: false },
            3 => OptimizerSpec::Sgd { lr, momentum: 0.9, weight_decay, nesterov: false },
            _ => OptimizerSpec::Sgd { lr, momentum: 0.9, weight_decay, nesterov: true },
        };
        let training = TrainingSpec {
            clip_gradient_norm: self.clips.then_some(0.05 + number as f64 * 0.2),
            ..training(optimizer, self.batch_size, self.epochs)
        };
        let mut lane = lane(&self.model, number, training);
        if self.dropout {
            lane.training.dropout = [0.0, 0.2, 0.5][number as usize / 2 % 3];
        }
        if self.weighs {
            lane.training.class_weights = vec![0.5 + number as f64 / 40.0, 1.5];
        }
        // Lanes of one class have one kind of penalty, or none.
        if let Some(kind) = self.penalty.filter(|_| number % 4 < 2) {
            let mut spec = penalty(kind, 1e-2 * (number + 1) as f64);
            if let Some(spec) = &mut spec {
                (spec.warm_up_epochs, spec.healing_epochs) = (number as u32 % 2, number as u32 % 3);
            }
            lane.regularization = spec;
        }
        if number % 2 == 1 {
            lane.phase = Phase::Retrain;
        }
        if self.masks { masked(lane, mask(&self.model, number, 0.15 * (number % 6) as f64)) } else { lane }
    }

    /// Trains lane after lane alone, and then all together.
    fn check(&self, numbers: &[u64]) {
        let lanes: Vec<Lane> = numbers.iter().map(|number| self.lane(*number)).collect();
        self.check_prefixes(&lanes, &[lanes.len()]);
    }

    /// Trains each lane alone, and the first `width` of them together, for each of `widths`.
    fn check_prefixes(&self, lanes: &[Lane], widths: &[usize]) {
        let data = DeviceData::load(dataset(3, self.model.inputs() as usize, self.train_rows), &device());
        let alone: Vec<_> = lanes.iter().map(|lane| alone(&self.model, lane, &data)).collect();
        for width in widths {
            for (found, alone) in run(&self.model, &lanes[..*width], &data).iter().zip(&alone) {
                assert_same(found, alone);
            }
        }
    }
}

fn common() -> impl Strategy<Value = Common> {
    let shape = (1_u32..10, proptest::collection::vec(1_u32..9, 0..4));
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let penalty = proptest::option::of(proptest::sample::select(KINDS.as_slice()));
    (shape, 2_usize..70, 1_u32..40, 1_u32..4, 0_usize..5, switches, penalty).prop_map(
        |((inputs, hidden), train_rows, batch_size, epochs, optimizer, switches, penalty)| {
            let (clips, masks, batch_norm, dropout, weighs) = switches;
            let (outputs, activation) = (1, Activation::Relu);
            let model = ModelSpec::Mlp { inputs, hidden, outputs, activation, batch_norm };
            Common { model, train_rows, batch_size, epochs, optimizer, clips, masks, penalty, dropout, weighs }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_lane_in_any_bundle_ends_as_it_does_alone(
        common in common(),
        numbers in proptest::collection::vec(0_u64..60, 2..6),
    ) {
        // Only on flex: where sums round differently, a rate of 3 amplifies that.
        if one_is_like_many() {
            common.check(&numbers);
        }
    }
}

#[test]
fn bundles_of_every_width_agree() {
    let common = Common {
        model: mlp(9, &[8, 5]),
        train_rows: 150,
        batch_size: 32,
        epochs: 2,
        optimizer: 0,
        clips: true,
        masks: true,
        penalty: Some(RegularizationKind::L1),
        dropout: false,
        weighs: false,
    };
    let data = DeviceData::load(dataset(3, 9, common.train_rows), &device());
    let lanes: Vec<Lane> = (0..64).map(|number| common.lane(number)).collect();
    let alone = alone(&common.model, &lanes[0], &data);
    for width in [2, 4, 16, 64] {
        assert_same(&run(&common.model, &lanes[..width], &data)[0], &alone);
    }
}

/// Wide enough for the vector code and the blocks of matrix products, with a last batch of 44 rows.
#[test]
fn bundles_of_a_net_of_real_size_agree() {
    let common = Common {
        model: mlp(68, &[64, 32]),
        train_rows: 300,
        batch_size: 256,
        epochs: 2,
        optimizer: 0,
        clips: false,
        masks: true,
        penalty: Some(RegularizationKind::L1),
        dropout: false,
        weighs: false,
    };
    common.check(&[0, 1, 2, 5, 10, 11]);
}

#[test]
fn penalties_of_every_kind_agree() {
    for kind in KINDS {
        let model = zoo().swap_remove(0);
        let common = Common {
            model,
            train_rows: 21,
            batch_size: 8,
            epochs: 4,
            optimizer: 0,
            clips: true,
            masks: true,
            penalty: Some(kind),
            dropout: false,
            weighs: false,
        };
        // Lanes 2 and 6 have none.
        common.check(&[0, 1, 2, 5, 6]);
    }
}

/// Weights whose squares overflow, in a lane whose penalty is over while its neighbour's still applies.
#[test]
fn a_penalty_that_is_over_changes_nothing_however_large_the_weights_are() {
    for kind in KINDS {
        let common = Common {
            model: mlp(1, &[]),
            train_rows: 16,
            batch_size: 1,
            epochs: 1,
            optimizer: 0,
            clips: false,
            masks: false,
            penalty: Some(kind),
            dropout: false,
            weighs: false,
        };
        common.check(&[49, 12]);
    }
}

/// Every architecture, with a last batch of 5 rows.
#[test]
fn nets_of_every_kind_agree_at_every_width() {
    for (index, model) in zoo().into_iter().enumerate() {
        let common = Common {
            model,
            train_rows: 21,
            batch_size: 8,
            epochs: 2,
            optimizer: index,
            clips: index % 2 == 0,
            masks: index % 2 == 1,
            penalty: Some(RegularizationKind::GroupLasso),
            dropout: true,
            weighs: true,
        };
        // Rates that converge, and one that diverges.
        let lanes: Vec<Lane> = [0, 1, 6, 5, 4].map(|number| common.lane(number)).to_vec();
        common.check_prefixes(&lanes, &[2, 5]);
    }
}

/// Image nets around the number of channels and filters at which flex switches to another algorithm for a single
/// convolution.
#[test]
fn convolutions_of_few_and_many_channels_agree() {
    for (image, channels) in [([4, 5, 5], vec![16, 17]), ([5, 5, 5], vec![2, 16]), ([1, 4, 4], vec![1, 2])] {
        let common = Common {
            model: ModelSpec::ResidualCnn { image, channels, blocks: 1, outputs: 1 },
            train_rows: 12,
            batch_size: 5,
            epochs: 1,
            optimizer: 0,
            clips: false,
            masks: false,
            penalty: None,
            dropout: false,
            weighs: false,
        };
        let lanes: Vec<Lane> = [0, 1, 2].map(|number| common.lane(number)).to_vec();
        common.check_prefixes(&lanes, &[2, 3]);
    }
}

/// The loss of several classes, whose rows are chosen by their targets.
#[test]
fn gradients_of_several_classes_agree() {
    let (inputs, outputs, activation) = (7, 4, Activation::Gelu);
    let model = ModelSpec::Mlp { inputs, hidden: vec![9, 6], outputs, activation, batch_norm: true };
    let mut dataset = dataset(3, inputs as usize, 40);
    dataset.train.targets.iter_mut().enumerate().for_each(|(row, target)| *target = (row * row % 4) as f32);
    let data = DeviceData::load(dataset, &device());
    let lanes: Vec<Lane> = (0..5).map(|seed| lane(&model, seed, training(sgd(0.1), 11, 1))).collect();
    let rows = |lane: i32| (0..11).map(move |row| (row * 3 + lane) % 40);
    let gradient = |lanes: &[Lane], rows: Vec<i32>| {
        let found = Bundle::new(&model, lanes, &device()).gradient(&data, rows.into());
        (values(&found.loss), values(&found.gradient))
    };
    let together = gradient(&lanes, (0..5).flat_map(rows).collect());
    for (index, lane) in (0..).zip(&lanes) {
        let alone = gradient(std::slice::from_ref(lane), rows(index).collect());
        for (found, expected) in
            [(&alone.0[0], &together.0[index as usize]), (&alone.1[0], &together.1[index as usize])]
        {
            assert_same_numbers(found, expected);
        }
    }
}

/// The same bits on flex; elsewhere equal except for rounding.
fn assert_same_numbers(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let close = !one_is_like_many() && (found - expected).abs() < 1e-5 * (1.0 + expected.abs());
        assert!(close || found.to_bits() == expected.to_bits(), "{found} instead of {expected}");
    }
}
