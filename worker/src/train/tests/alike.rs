//! Lane-by-lane and single-pass computations on the processor equal tensor operations, bit for bit.

use proptest::prelude::*;
use secateur_proto::spec::{Activation, ModelSpec, OptimizerSpec, RegularizationKind};

use super::{KINDS, dataset, device, lane, mask, masked, penalty, training, values};
use crate::{
    device::shares_memory,
    train::{
        bundle::{Bundle, Lane},
        data::DeviceData,
    },
};

#[derive(Debug, Clone)]
struct Case {
    model: ModelSpec,
    optimizer: OptimizerSpec,
    penalty: Option<RegularizationKind>,
    masks: bool,
    clips: bool,
    weighs: bool,
    rows: usize,
    /// The batch, of three, that each lane sees.
    lanes: Vec<usize>,
}

fn optimizers() -> Vec<OptimizerSpec> {
    let (lr, betas, eps) = (0.03, [0.9, 0.999], 1e-8);
    let sgd = |momentum, weight_decay, nesterov| OptimizerSpec::Sgd { lr: 0.1, momentum, weight_decay, nesterov };
    vec![
        OptimizerSpec::Adam { lr, betas, eps, weight_decay: 0.0 },
        OptimizerSpec::Adam { lr, betas, eps, weight_decay: 0.1 },
        OptimizerSpec::AdamW { lr, betas, eps, weight_decay: 0.1 },
        sgd(0.0, 0.0, false),
        sgd(0.9, 0.2, false),
        sgd(0.9, 0.0, true),
    ]
}

fn cases() -> impl Strategy<Value = Case> {
    let shape = (1_u32..40, proptest::collection::vec(1_u32..40, 0..3), 1_u32..5, any::<bool>());
    let optimizer = proptest::sample::select(optimizers());
    let penalty = proptest::option::of(proptest::sample::select(KINDS.as_slice()));
    let lanes = proptest::collection::vec(0_usize..3, 1..5);
    (shape, optimizer, penalty, any::<[bool; 3]>(), 1_usize..70, lanes).prop_map(
        |((inputs, hidden, outputs, batch_norm), optimizer, penalty, [masks, clips, weighs], rows, lanes)| {
            // A logit for each of two classes is no net of ours.
            let outputs = if outputs == 2 { 1 } else { outputs };
            let model = ModelSpec::Mlp { inputs, hidden, outputs, activation: Activation::Relu, batch_norm };
            Case { model, optimizer, penalty, masks, clips, weighs, rows, lanes }
        },
    )
}

impl Case {
    fn lane(&self, number: u64) -> Lane {
        let mut lane = lane(&self.model, number, training(self.optimizer.clone(), 8, 1));
        lane.training.clip_gradient_norm = self.clips.then_some(0.1 + number as f64);
        if self.weighs {
            let classes = self.model.outputs().max(2);
            lane.training.class_weights = (0..classes).map(|class| 0.3 + f64::from(class) + number as f64).collect();
        }
        // Some lanes of the bundle have no penalty.
        lane.regularization = self.penalty.filter(|_| number != 1).and_then(|kind| penalty(kind, 0.02));
        if self.masks { masked(lane, mask(&self.model, number, 0.3 * number as f64)) } else { lane }
    }

    fn check(&self) {
        let data = DeviceData::load(dataset(3, self.model.inputs() as usize, 80), &device());
        let lanes: Vec<Lane> = (0..self.lanes.len() as u64).map(|number| self.lane(number)).collect();
        let mut found = Bundle::new(&self.model, &lanes, &device());
        let mut expected = Bundle::new(&self.model, &lanes, &device());
        expected.operate_on_tensors();
        for step in 0..4_usize {
            if step == 2 {
                found.optimizer().scale_lr(0.3);
                expected.optimizer().scale_lr(0.3);
            }
            let row = |lane: &usize, row: usize| ((row * 7 + lane * 5 + step * 11) % 80) as i32;
            let rows: Vec<i32> = self.lanes.iter().flat_map(|lane| (0..self.rows).map(move |n| row(lane, n))).collect();
            let [found, expected] = [&mut found, &mut expected].map(|bundle| {
                let (guard, gradient) = bundle.step(&data, rows.clone().into());
                let loss: Vec<u32> = values(&guard).iter().map(|guard| guard[0].to_bits()).collect();
                (loss, bits(&values(&gradient)), bits(&values(bundle.parameters())))
            });
            assert_eq!(found.0, expected.0, "losses of step {step}");
            assert_eq!(found.1, expected.1, "gradients of step {step}");
            assert_eq!(found.2, expected.2, "parameters after step {step}");
        }
    }
}

/// The sign of a zero does not matter.
fn bits(rows: &[Vec<f32>]) -> Vec<u32> {
    rows.iter().flatten().map(|value| (value + 0.0).to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_step_lane_by_lane_is_that_of_tensors(case in cases()) {
        if shares_memory(&device()) {
            case.check();
        }
    }
}

/// The shapes of a real sweep.
#[test]
fn a_step_of_a_wide_net_is_that_of_tensors() {
    if !shares_memory(&device()) {
        return;
    }
    for (kind, masks) in [(None, false), (Some(RegularizationKind::L1Subgradient), true)] {
        Case {
            model: super::mlp(56, &[64, 32]),
            optimizer: optimizers().remove(0),
            penalty: kind,
            masks,
            clips: false,
            weighs: masks,
            rows: 256,
            lanes: vec![0, 1, 0],
        }
        .check();
    }
}
