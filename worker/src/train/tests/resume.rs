//! A training that resumes from the state at the end of any epoch equals the uninterrupted training.

use secateur_proto::spec::{
    LearningRateSchedule, ModelSpec, OptimizerSpec, RegularizationKind, RegularizationSpec, SelectBy, TrainingSpec,
};

use super::{KINDS, adam, assert_same, dataset, device, lane, mask, masked, mlp, one_is_like_many, sgd, training, zoo};
use crate::train::{
    bundle::Lane,
    data::DeviceData,
    run::{EpochRecord, LaneEnd, Watch, train},
    state::TrainingState,
};

const EPOCHS: u32 = 5;

/// Records every state, and counts the observed epochs.
#[derive(Default)]
struct Taken {
    states: Vec<(usize, TrainingState)>,
    seen: Vec<u32>,
}

impl Watch for Taken {
    fn epoch(&mut self, lane: usize, record: &EpochRecord) {
        if lane == 0 {
            self.seen.push(record.epoch);
        }
    }

    fn wants_states(&mut self) -> bool {
        true
    }

    fn state(&mut self, lane: usize, state: TrainingState) {
        self.states.push((lane, state));
    }
}

impl Taken {
    /// The states of all lanes at the end of an epoch.
    fn at(&self, epoch: u32) -> Vec<TrainingState> {
        self.states.iter().filter(|(_, state)| state.epoch == epoch).map(|(_, state)| state.clone()).collect()
    }
}

fn run(model: &ModelSpec, lanes: &[Lane], begun: &[TrainingState], data: &DeviceData) -> (Vec<LaneEnd>, Taken) {
    let mut taken = Taken::default();
    let ends = train(model, lanes, begun, &mut [], data, &device(), &mut taken).expect("no defect");
    (ends, taken)
}

/// Resumes from every epoch, with all lanes and with each alone.
fn assert_goes_on(model: &ModelSpec, lanes: &[Lane], data: &DeviceData) {
    let (expected, taken) = run(model, lanes, &[], data);
    assert_eq!(taken.seen, (0..=EPOCHS).collect::<Vec<_>>());
    for epoch in 1..EPOCHS {
        let begun = taken.at(epoch);
        assert_eq!(begun.len(), lanes.len(), "some lane has ended");
        let (found, again) = run(model, lanes, &begun, data);
        assert_eq!(again.seen, (epoch + 1..=EPOCHS).collect::<Vec<_>>());
        for (found, expected) in found.iter().zip(&expected) {
            assert_same(found, expected);
            if let (LaneEnd::Trained(found), LaneEnd::Trained(expected)) = (found, expected) {
                assert_eq!(found.mask, expected.mask);
                assert!(!one_is_like_many() || found.frozen == expected.frozen);
            }
        }
        if one_is_like_many() {
            for later in epoch + 1..EPOCHS {
                assert_eq!(again.at(later), taken.at(later), "from epoch {epoch}");
            }
            let (alone, _) = run(model, &lanes[1..2], &begun[1..2], data);
            assert_same(&alone[0], &expected[1]);
        }
    }
}

fn rules() -> [OptimizerSpec; 5] {
    let (lr, betas, eps) = (0.02, [0.9, 0.999], 1e-8);
    [
        adam(lr),
        OptimizerSpec::AdamW { lr, betas, eps, weight_decay: 0.1 },
        sgd(lr),
        OptimizerSpec::Sgd { lr, momentum: 0.9, weight_decay: 0.01, nesterov: false },
        OptimizerSpec::Sgd { lr, momentum: 0.9, weight_decay: 0.0, nesterov: true },
    ]
}

/// Three lanes with different seeds and shares of removed weights.
fn lanes(model: &ModelSpec, training: &TrainingSpec, penalty: Option<&RegularizationSpec>) -> Vec<Lane> {
    (0..3)
        .map(|seed| {
            let mut lane = lane(model, seed, training.clone());
            lane.regularization = penalty.cloned();
            if seed == 2 {
                // In some lanes healing begins earlier.
                lane.regularization.iter_mut().for_each(|penalty| penalty.healing_epochs += 1);
            }
            masked(lane, mask(model, seed, 0.2 * seed as f64))
        })
        .collect()
}

#[test]
fn whatever_the_rule_and_its_rate() {
    let model = mlp(5, &[6, 4]);
    let data = DeviceData::load(dataset(3, 5, 40), &device());
    let schedules = [
        LearningRateSchedule::Constant,
        LearningRateSchedule::Cosine,
        LearningRateSchedule::Step { every: 2, factor: 0.5 },
        LearningRateSchedule::EqualSteps { times: 3, factor: 0.3 },
    ];
    for (nth, rule) in rules().into_iter().enumerate() {
        for (other, select_by) in
            [SelectBy::Auc, SelectBy::LogLoss, SelectBy::Accuracy, SelectBy::Last].into_iter().enumerate()
        {
            let mut training = training(rule.clone(), 16, EPOCHS);
            training.lr_schedule = schedules[(nth + other) % schedules.len()];
            training.clip_gradient_norm = (other == 1).then_some(0.5);
            training.select_by = select_by;
            assert_goes_on(&model, &lanes(&model, &training, None), &data);
        }
    }
}

#[test]
fn whatever_the_penalty_before_and_after_it_heals() {
    let model = zoo().remove(0);
    let data = DeviceData::load(dataset(4, 7, 40), &device());
    for kind in KINDS {
        for (warm_up_epochs, healing_epochs) in [(0, 0), (2, 0), (1, 2)] {
            let penalty = RegularizationSpec { kind, strength: 0.05, warm_up_epochs, healing_epochs };
            for rule in [adam(0.05), sgd(0.2)] {
                let training = training(rule, 16, EPOCHS);
                assert_goes_on(&model, &lanes(&model, &training, Some(&penalty)), &data);
                let dense: Vec<Lane> = lanes(&model, &training, Some(&penalty))
                    .into_iter()
                    .map(|lane| Lane { mask: None, ..lane })
                    .collect();
                assert_goes_on(&model, &dense, &data);
            }
        }
    }
}

/// Batch normalisations, dropout, convolutions and residual blocks.
#[test]
fn whatever_the_net() {
    for model in zoo() {
        let width = usize::try_from(model.inputs()).expect("small");
        let data = DeviceData::load(dataset(5, width, 24), &device());
        let mut training = training(adam(0.01), 8, EPOCHS);
        training.dropout = 0.3;
        let penalty =
            RegularizationSpec { kind: RegularizationKind::L2, strength: 1e-3, warm_up_epochs: 1, healing_epochs: 0 };
        assert_goes_on(&model, &lanes(&model, &training, Some(&penalty)), &data);
    }
}

#[test]
fn from_some_step_on_and_to_another() {
    let model = mlp(5, &[6]);
    let data = DeviceData::load(dataset(6, 5, 40), &device());
    // Five steps in each epoch; the first and last epochs are incomplete.
    let training = training(adam(0.02), 8, EPOCHS);
    let lanes: Vec<Lane> = (lanes(&model, &training, None).into_iter())
        .map(|lane| Lane { skip_steps: 7, stop_after: Some(23), ..lane })
        .collect();
    let (expected, taken) = run(&model, &lanes, &[], &data);
    assert_eq!(taken.seen, [0, 2, 3, 4, 5]);
    for epoch in 2..EPOCHS {
        let (found, again) = run(&model, &lanes, &taken.at(epoch), &data);
        assert_eq!(again.seen, (epoch + 1..=EPOCHS).collect::<Vec<_>>());
        found.iter().zip(&expected).for_each(|(found, expected)| assert_same(found, expected));
    }
}

/// A lane that has ended produces no more states, and the other lanes are unaffected.
#[test]
fn a_lane_that_diverged_is_not_gone_on_with() {
    let model = mlp(5, &[6]);
    let data = DeviceData::load(dataset(7, 5, 40), &device());
    let mut all = lanes(&model, &training(adam(0.02), 8, EPOCHS), None);
    all[0].training.optimizer = adam(1e30);
    let (expected, taken) = run(&model, &all, &[], &data);
    assert!(matches!(expected[0], LaneEnd::Diverged { .. }));
    let lanes: Vec<usize> = taken.states.iter().map(|(lane, _)| *lane).collect();
    assert_eq!(lanes, [1, 2].repeat(EPOCHS as usize - 1));
    let (found, _) = run(&model, &all[1..], &taken.at(2), &data);
    found.iter().zip(&expected[1..]).for_each(|(found, expected)| assert_same(found, expected));
}
