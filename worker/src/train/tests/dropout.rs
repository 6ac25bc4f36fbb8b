//! Dropout: inverted, decided by seed, phase, step and place, and only in training.

use super::{assert_same, dataset, device, lane, mlp, run, sgd, trained, training};
use crate::train::{
    batches::Batches,
    bundle::{Lane, Phase},
    data::DeviceData,
    forward::Net,
};

const ROWS: usize = 400;

fn lanes(of: &[(u64, Phase, f64)]) -> Vec<Lane> {
    (of.iter())
        .map(|(seed, phase, share)| {
            let mut lane = lane(&mlp(4, &[30, 20]), *seed, training(sgd(0.1), ROWS as u32, 1));
            (lane.phase, lane.training.dropout) = (*phase, *share);
            lane
        })
        .collect()
}

/// The factors of each lane at each dropout step.
fn factors(lanes: &[Lane], step: u64) -> Vec<Vec<Vec<f32>>> {
    let mut batches = Batches::new(lanes, ROWS, &Net::of(&mlp(4, &[30, 20])));
    batches.shuffle(1);
    let factors = batches.batch(0, step).dropout;
    (factors.iter()).map(|all| all.chunks_exact(all.len() / lanes.len()).map(<[f32]>::to_vec).collect()).collect()
}

#[test]
fn what_stays_is_scaled_so_that_the_mean_stays() {
    for share in [0.1, 0.5, 0.9] {
        let factors = factors(&lanes(&[(1, Phase::Dense, share)]), 0);
        assert_eq!(factors.iter().map(|lanes| lanes[0].len()).collect::<Vec<_>>(), [ROWS * 30, ROWS * 20]);
        for factors in factors.concat() {
            let kept = (1.0 / (1.0 - share)) as f32;
            assert!(factors.iter().all(|factor| *factor == 0.0 || *factor == kept));
            let mean = factors.iter().map(|x| f64::from(*x)).sum::<f64>() / factors.len() as f64;
            // Five standard deviations.
            let bound = 5.0 * (share / (1.0 - share) / factors.len() as f64).sqrt();
            assert!((mean - 1.0).abs() < bound, "a mean of {mean} at {share}");
        }
    }
}

#[test]
fn lanes_of_one_seed_phase_and_share_lose_the_same_and_others_do_not() {
    use Phase::{Dense, Retrain};
    let lanes = lanes(&[(1, Dense, 0.5), (2, Dense, 0.5), (1, Dense, 0.5), (1, Retrain, 0.5), (1, Dense, 0.3)]);
    let found = factors(&lanes, 3);
    for place in &found {
        assert_eq!(place[0], place[2]);
        for other in [1, 3] {
            assert_ne!(place[0], place[other]);
        }
        // Nested: what is dropped at a small share is dropped at a larger one.
        assert!(place[0].iter().zip(&place[4]).all(|(half, less)| *less != 0.0 || *half == 0.0));
    }
    assert_ne!(found[0][0][..ROWS * 20], found[1][0][..]);
    assert_ne!(found, factors(&lanes, 4));
    assert_eq!(found, factors(&lanes, 3));
    for (index, lane) in lanes.iter().enumerate() {
        let alone = factors(std::slice::from_ref(lane), 3);
        assert!(alone.iter().zip(&found).all(|(alone, found)| alone[0] == found[index]));
    }
}

#[test]
fn nothing_is_dropped_in_evaluation_and_a_share_of_zero_is_none() {
    let model = mlp(4, &[30, 20]);
    let data = DeviceData::load(dataset(1, 4, 64), &device());
    let with = |share: f64, lr: f64| {
        let mut lane = lane(&model, 1, training(sgd(lr), 16, 2));
        lane.training.dropout = share;
        lane
    };
    // At a rate of zero, dropout only affects train losses.
    let ends = run(&model, &[with(0.0, 0.0), with(0.5, 0.0)], &data);
    let curves: Vec<_> = ends.iter().map(|end| &trained(end).curve).collect();
    for (free, dropped) in curves[0].iter().zip(curves[1]) {
        assert_eq!(free.validation, dropped.validation);
        assert_eq!(free.epoch > 0, free.train_loss != dropped.train_loss);
    }
    // Dropout in other lanes does not affect a lane without dropout.
    assert_same(&run(&model, &[with(0.5, 0.1), with(0.0, 0.1)], &data)[1], &run(&model, &[with(0.0, 0.1)], &data)[0]);
}
