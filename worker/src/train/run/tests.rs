use super::*;
use crate::train::tests::{sgd, training};

/// Rates of the epochs, with 5 steps each, at a rate of 0.1.
fn rates(schedule: LearningRateSchedule, epochs: u32, steps: impl Iterator<Item = u64>) -> Vec<f64> {
    let mut training = training(sgd(0.1), 1, epochs);
    training.lr_schedule = schedule;
    steps.map(|step| 0.1 * lr_factor(&training, 5, step)).collect()
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-15, "{found} instead of {expected}");
    }
}

/// `torch.optim.lr_scheduler.StepLR(optimizer, 3, gamma=0.3)`, PyTorch 2.9.0.
#[test]
fn the_rate_falls_in_steps_as_in_pytorch() {
    let expected = [0.1, 0.1, 0.1, 0.03, 0.03, 0.03, 0.009, 0.009, 0.009, 0.0026999999999999997];
    let schedule = LearningRateSchedule::Step { every: 3, factor: 0.3 };
    // The same for the first and the last step of an epoch.
    for place in [0, 4] {
        assert_close(&rates(schedule, 10, (0..10).map(|epoch| epoch * 5 + place)), &expected);
    }
}

/// `torch.optim.lr_scheduler.MultiStepLR(optimizer, [5, 10], gamma=0.1)`, PyTorch 2.9.0, a step each batch of 15.
#[test]
fn the_rate_falls_at_equal_parts_of_the_training() {
    let schedule = LearningRateSchedule::EqualSteps { times: 2, factor: 0.1 };
    let expected = [0.1, 0.010000000000000002, 0.0010000000000000002].map(|rate| [rate; 5]).concat();
    assert_close(&rates(schedule, 3, 0..15), &expected);
}

/// `torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 15)`, PyTorch 2.9.0, a step each batch.
#[test]
fn the_rate_falls_along_a_cosine_as_in_pytorch() {
    let expected = [
        0.1,
        0.09890738003669029,
        0.09567727288213004,
        0.09045084971874738,
        0.08345653031794292,
        0.07500000000000001,
        0.06545084971874739,
        0.05522642316338269,
        0.04477357683661735,
        0.03454915028125265,
        0.02500000000000002,
        0.01654346968205711,
        0.009549150281252635,
        0.004322727117869953,
        0.001092619963309716,
    ];
    assert_close(&rates(LearningRateSchedule::Cosine, 3, 0..15), &expected);
    assert_close(&rates(LearningRateSchedule::Constant, 3, 0..3), &[0.1; 3]);
}
