//! What a lane computes does not depend on who its neighbours are, bit for bit.

use proptest::prelude::*;
use secateur_proto::spec::{ModelSpec, OptimizerSpec, RegularizationKind, SelectBy, TrainingSpec};

use super::{alone, assert_same, dataset, device, lane, mask, masked, mlp, penalty, run};
use crate::train::{
    bundle::{Lane, Phase},
    data::DeviceData,
};

/// What the lanes of a bundle have in common.
#[derive(Debug, Clone)]
struct Common {
    model: ModelSpec,
    train_rows: usize,
    batch_size: u32,
    epochs: u32,
    optimizer: usize,
    clips: bool,
    masks: bool,
}

impl Common {
    /// A lane of the class with numbers of its own, all of them from `number`.
    fn lane(&self, number: u64) -> Lane {
        let lr = [1e-3, 1e-2, 0.1, 3.0, 1e30][number as usize % 5];
        let weight_decay = [0.0, 0.01, 0.3][number as usize % 3];
        let (betas, eps) = ([0.9, 0.999], 1e-8);
        let optimizer = match self.optimizer {
            0 => OptimizerSpec::Adam { lr, betas, eps, weight_decay },
            1 => OptimizerSpec::AdamW { lr, betas, eps, weight_decay },
            2 => OptimizerSpec::Sgd { lr, momentum: 0.0, weight_decay, nesterov: false },
            3 => OptimizerSpec::Sgd { lr, momentum: 0.9, weight_decay, nesterov: false },
            _ => OptimizerSpec::Sgd { lr, momentum: 0.9, weight_decay, nesterov: true },
        };
        let training = TrainingSpec {
            optimizer,
            batch_size: self.batch_size,
            epochs: self.epochs,
            clip_gradient_norm: self.clips.then_some(0.05 + number as f64 * 0.2),
            select_by: SelectBy::Auc,
        };
        let mut lane = lane(&self.model, number, training);
        lane.regularization = match number % 4 {
            0 => penalty(RegularizationKind::L1, 1e-3),
            1 => penalty(RegularizationKind::L2, 1e-2),
            _ => None,
        };
        if number % 2 == 1 {
            lane.phase = Phase::Retrain;
        }
        if self.masks { masked(lane, mask(&self.model, number, 0.15 * (number % 6) as f64)) } else { lane }
    }

    /// Trains lane after lane alone, and then all together.
    fn check(&self, numbers: &[u64]) {
        let data = DeviceData::load(dataset(3, self.model.layers()[0].inputs as usize, self.train_rows), &device());
        let lanes: Vec<Lane> = numbers.iter().map(|number| self.lane(*number)).collect();
        let together = run(&self.model, &lanes, &data);
        for (lane, found) in lanes.iter().zip(&together) {
            assert_same(found, &alone(&self.model, lane, &data));
        }
    }
}

fn common() -> impl Strategy<Value = Common> {
    let shape = (1_u32..10, proptest::collection::vec(1_u32..9, 0..4));
    (shape, 2_usize..70, 1_u32..40, 1_u32..4, 0_usize..5, any::<bool>(), any::<bool>()).prop_map(
        |((inputs, hidden), train_rows, batch_size, epochs, optimizer, clips, masks)| Common {
            model: mlp(inputs, &hidden),
            train_rows,
            batch_size,
            epochs,
            optimizer,
            clips,
            masks,
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
        common.check(&numbers);
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
    };
    common.check(&[0, 1, 2, 5, 10, 11]);
}
