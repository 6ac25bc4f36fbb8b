//! The curve, and the net of the best epoch.

use std::collections::BTreeMap;

use secateur_proto::{
    metrics::Metric,
    spec::{RegularizationKind, RegularizationSpec, SelectBy},
};

use super::{adam, dataset, device, lane, mlp, reference::Net, run, sgd, trained, training};
use crate::{
    data::Part,
    metrics,
    train::{
        data::DeviceData,
        run::{EpochRecord, Watch, train},
    },
};

/// Metrics of the naive net.
fn validation(net: &Net, part: &Part) -> BTreeMap<Metric, f64> {
    let width = part.inputs.len() / part.targets.len();
    let logits: Vec<f32> = part.inputs.chunks_exact(width).map(|row| net.logit(row) as f32).collect();
    metrics::of_scores(&logits, &part.targets).expect("scores").values()
}

#[test]
fn the_net_of_the_best_epoch_is_kept() {
    let model = mlp(4, &[6]);
    let dataset = dataset(9, 4, 40);
    let part = dataset.validation.clone();
    let data = DeviceData::load(dataset, &device());
    let mut early = 0;
    for (seed, select_by) in (0..6).flat_map(|seed| [(seed, SelectBy::Auc), (seed, SelectBy::LogLoss)]) {
        // A rate at which the metric rises and falls.
        let mut lane = lane(&model, seed, training(adam(0.3), 8, 8));
        lane.training.select_by = select_by;
        let end = run(&model, &[lane], &data).remove(0);
        let trained = trained(&end);
        assert_eq!(trained.curve.iter().map(|record| record.epoch).collect::<Vec<_>>(), (0..=8).collect::<Vec<_>>());
        let quality: Vec<f64> = (trained.curve.iter())
            .map(|record| match select_by {
                SelectBy::Auc => record.validation[&Metric::Auc],
                SelectBy::LogLoss => -record.validation[&Metric::LogLoss],
                SelectBy::Last => f64::from(record.epoch),
                SelectBy::Accuracy => record.validation[&Metric::Accuracy],
            })
            .collect();
        // The net before training is not a candidate, and the earliest of the best epochs wins.
        let best = quality[1..].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let first = quality[1..].iter().position(|value| *value == best).expect("one is the best") + 1;
        assert_eq!(trained.epoch as usize, first);
        early += usize::from(first < 8);
        let found = validation(&Net::of(&trained.parameters), &part);
        let expected = &trained.curve[first].validation;
        for (metric, tolerance) in [(Metric::Auc, 1e-9), (Metric::LogLoss, 1e-5), (Metric::Brier, 1e-5)] {
            assert!((found[&metric] - expected[&metric]).abs() < tolerance, "{metric}");
        }
    }
    assert!(early > 0, "the last epoch was always the best: the test shows nothing");
}

#[test]
fn the_earliest_of_equal_epochs_is_kept_and_never_the_start() {
    let model = mlp(4, &[6]);
    let data = DeviceData::load(dataset(9, 4, 40), &device());
    let end = run(&model, &[lane(&model, 1, training(sgd(0.0), 8, 3))], &data).remove(0);
    assert_eq!(trained(&end).epoch, 1);
}

/// A penalty that ruins the net makes every epoch before it better.
#[test]
fn no_epoch_before_a_penalty_is_kept() {
    let model = mlp(4, &[6]);
    let data = DeviceData::load(dataset(9, 4, 40), &device());
    let with = |warm_up_epochs| {
        let mut lane = lane(&model, 1, training(adam(0.05), 8, 6));
        let (kind, strength, healing_epochs) = (RegularizationKind::L1, 1e4, 0);
        lane.regularization = Some(RegularizationSpec { kind, strength, warm_up_epochs, healing_epochs });
        lane
    };
    let ends = run(&model, &[0, 2, 4].map(with), &data);
    let epochs: Vec<u32> = ends.iter().map(|end| trained(end).epoch).collect();
    assert_eq!(epochs, [1, 3, 5]);
}

#[test]
fn every_epoch_is_reported_once_and_its_loss_is_the_mean_of_its_batches() {
    let model = mlp(4, &[6]);
    let dataset = dataset(9, 4, 40);
    let part = dataset.train.clone();
    let data = DeviceData::load(dataset, &device());
    // At a rate of zero the net does not change, and batches of equal size average to the loss over all rows.
    let lanes = [lane(&model, 1, training(sgd(0.0), 8, 3)), lane(&model, 2, training(sgd(0.0), 8, 3))];
    struct Seen(Vec<(usize, u32)>);
    impl Watch for Seen {
        fn epoch(&mut self, lane: usize, record: &EpochRecord) {
            self.0.push((lane, record.epoch));
        }
    }
    let mut seen = Seen(Vec::new());
    let ends = train(&model, &lanes, &[], &mut [], &data, &device(), &mut seen).expect("no defect");
    let Seen(seen) = seen;
    assert_eq!(seen, (0..=3).flat_map(|epoch| [(0, epoch), (1, epoch)]).collect::<Vec<_>>());
    for (lane, end) in lanes.iter().zip(&ends) {
        let rows: Vec<i32> = (0..40).collect();
        let expected = Net::of(&lane.start).loss(&part, &rows);
        let curve = &trained(end).curve;
        assert_eq!(curve[0].train_loss, None);
        for record in &curve[1..] {
            assert!((record.train_loss.expect("trained") - expected).abs() < 1e-6);
        }
    }
}
