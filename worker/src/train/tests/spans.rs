//! A training that stops on the way, and one that continues it.

use secateur_proto::spec::{LearningRateSchedule, ModelSpec, RegularizationKind, SelectBy};

use super::{bits, dataset, device, lane, mlp, penalty, run, sgd, trained, training, zoo};
use crate::train::{bundle::Lane, data::DeviceData, run::LaneEnd};

/// Stops after each of these numbers of steps in turn, and continues from there.
fn in_parts(model: &ModelSpec, lanes: &[Lane], data: &DeviceData, stops: &[u64]) -> Vec<LaneEnd> {
    let mut lanes = lanes.to_vec();
    for stop in stops {
        lanes.iter_mut().for_each(|lane| lane.stop_after = Some(*stop));
        let ends = run(model, &lanes, data);
        for (lane, end) in lanes.iter_mut().zip(&ends) {
            lane.start = trained(end).parameters.clone();
            (lane.skip_steps, lane.stop_after) = (*stop, None);
        }
    }
    run(model, &lanes, data)
}

/// 22 rows in batches of 8: three steps in each epoch.
fn lanes(model: &ModelSpec, epochs: u32) -> Vec<Lane> {
    (1..3)
        .map(|seed| {
            let mut lane = lane(model, seed, training(sgd(0.05), 8, epochs));
            lane.training.select_by = SelectBy::Last;
            lane.training.lr_schedule = LearningRateSchedule::Cosine;
            lane.training.dropout = 0.3;
            lane
        })
        .collect()
}

#[test]
fn a_training_that_is_taken_over_ends_as_if_it_had_not_stopped() {
    for model in zoo() {
        let width = usize::try_from(model.inputs()).expect("a width");
        let data = DeviceData::load(dataset(2, width, 22), &device());
        let lanes = lanes(&model, 3);
        let whole = run(&model, &lanes, &data);
        // Within an epoch, at its end, just before the end of the training, and several times.
        for stops in [&[1][..], &[3], &[4], &[8], &[2, 3, 7]] {
            for (found, expected) in in_parts(&model, &lanes, &data, stops).iter().zip(&whole) {
                let (found, expected) = (trained(found), trained(expected));
                assert_eq!(bits(&found.parameters), bits(&expected.parameters), "{model:?} at {stops:?}");
                assert_eq!(found.epoch, expected.epoch);
                assert_eq!(
                    found.curve.last().map(|record| &record.validation),
                    expected.curve.last().map(|record| &record.validation)
                );
            }
        }
    }
}

/// Warm-up, strength and healing belong to the epochs of the whole training.
#[test]
fn penalties_go_on_where_they_were_from_one_epoch_to_the_next() {
    let model = mlp(5, &[8, 6]);
    let data = DeviceData::load(dataset(2, 5, 22), &device());
    for kind in [RegularizationKind::L1, RegularizationKind::GroupLasso, RegularizationKind::Growing] {
        let mut lanes = lanes(&model, 6);
        for lane in &mut lanes {
            lane.regularization = penalty(kind, 0.1 * lane.seed as f64);
            let penalty = lane.regularization.as_mut().expect("a penalty");
            (penalty.warm_up_epochs, penalty.healing_epochs) = (1, 2);
        }
        let whole = run(&model, &lanes, &data);
        for stop in [3, 6, 12, 15] {
            for (found, expected) in in_parts(&model, &lanes, &data, &[stop]).iter().zip(&whole) {
                assert_eq!(bits(&trained(found).parameters), bits(&trained(expected).parameters), "{kind:?} at {stop}");
                assert_eq!(trained(found).frozen, trained(expected).frozen);
            }
        }
    }
}

#[test]
fn a_training_of_which_nothing_is_left_is_a_failure_and_no_divergence() {
    let model = mlp(4, &[5]);
    let data = DeviceData::load(dataset(2, 4, 22), &device());
    let lanes: Vec<Lane> = lanes(&model, 2).into_iter().map(|lane| Lane { skip_steps: 6, ..lane }).collect();
    for end in run(&model, &lanes, &data) {
        assert!(matches!(end, LaneEnd::Failed(_)), "{end:?}");
    }
}
