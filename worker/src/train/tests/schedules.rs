//! Masks that change while a net trains: the effect on a lane's weights and moments.

use proptest::prelude::*;
use secateur_proto::{
    metrics::Metric,
    spec::{Growth, ModelSpec, PruneSpec, Ramp, Removal, Schedule, SelectBy, TrainingSpec},
};

use super::{adam, bits, dataset, device, mask, masked, mlp, nets, sgd, trained, training, values};
use crate::{
    net::{Mask, Parameters},
    prune::{
        plan::{PruningPlan, tests::spec},
        schedule::{
            MaskSchedule, NoPlan, of,
            tests::{beginning, plans},
        },
    },
    train::{
        bundle::{Bundle, Lane},
        data::DeviceData,
        run::{LaneEnd, train},
    },
};

const SCHEDULES: [Schedule; 4] = [
    Schedule::Gradual { shape: Ramp::Cubic, begin: 2, every: 3, times: 4 },
    Schedule::Dynamic { growth: Growth::Random, fraction: 0.3, every: 2, end: 9 },
    Schedule::Dynamic { growth: Growth::Gradient, fraction: 0.5, every: 2, end: 9 },
    Schedule::Alternating { every: 3, end: 11 },
];

/// A lane of a net whose units are active for most rows.
fn lane(model: &ModelSpec, seed: u64, training: TrainingSpec) -> Lane {
    let mut lane = super::lane(model, seed, training);
    [1, 3].into_iter().for_each(|bias| lane.start.tensors[bias].fill(1.0));
    lane.start.tensors[2].iter_mut().for_each(|weight| *weight = weight.abs());
    lane
}

/// A pruning of the 3-4-2-1 net.
fn pruning(seed: u64, schedule: Schedule) -> PruneSpec {
    PruneSpec { schedule, seed, ..spec(Removal::PerLayer { counts: vec![4 + seed % 5, 3 + seed % 3] }) }
}

/// Adds the initial mask to a lane. Returns the plan of the mask, too.
fn begun(spec: &PruneSpec, lane: Lane) -> (Lane, PruningPlan) {
    let plan = beginning(spec, &lane.start, None);
    let mask = plan.mask(&spec.model, &spec.layers).expect("a mask");
    (masked(lane, mask), plan)
}

/// Wraps a schedule: is due after every step, and checks that the last mask still holds.
struct Watched<'a> {
    schedule: Box<dyn MaskSchedule + 'a>,
    mask: Mask,
    seen: u64,
}

impl MaskSchedule for Watched<'_> {
    fn is_due(&self, _: u64) -> bool {
        true
    }

    fn update(&mut self, steps: u64, net: &Parameters, gradient: Option<&Parameters>) -> Result<Mask, NoPlan> {
        assert_eq!(self.mask.violations(net), 0, "after step {steps}");
        self.seen += 1;
        if self.schedule.is_due(steps) {
            self.mask = self.schedule.update(steps, net, gradient)?;
        }
        Ok(self.mask.clone())
    }

    fn settled(&self) -> u64 {
        self.schedule.settled()
    }
}

fn run(specs: &[PruneSpec], lanes: &[Lane], data: &DeviceData) -> Vec<LaneEnd> {
    let begun: Vec<(Lane, PruningPlan)> =
        specs.iter().zip(lanes).map(|(spec, lane)| begun(spec, lane.clone())).collect();
    let lanes: Vec<Lane> = begun.iter().map(|(lane, _)| lane.clone()).collect();
    let mut saved = vec![Vec::new(); specs.len()];
    let mut schedules: Vec<Box<dyn MaskSchedule + '_>> = (specs.iter().zip(&begun).zip(&mut saved))
        .map(|((spec, (_, plan)), saved)| {
            of(plans(spec, None, saved), plan.clone()).expect("a plan").expect("a schedule")
        })
        .collect();
    train(&specs[0].model, &lanes, &[], &mut schedules, data, &device(), &mut ()).expect("no defect")
}

fn assert_same(found: &LaneEnd, expected: &LaneEnd) {
    super::assert_same(found, expected);
    if let (LaneEnd::Trained(found), LaneEnd::Trained(expected)) = (found, expected) {
        assert_eq!(found.mask, expected.mask);
    }
}

#[test]
fn removed_weights_are_zero_after_every_step_of_every_schedule() {
    let data = DeviceData::load(dataset(1, 3, 40), &device());
    for schedule in SCHEDULES {
        for rule in [adam(0.05), sgd(0.5)] {
            let spec = pruning(1, schedule);
            let (lane, plan) = begun(&spec, lane(&spec.model, 1, training(rule, 16, 6)));
            let mask = lane.mask.clone().expect("masked");
            let mut saved = Vec::new();
            let schedule = of(plans(&spec, None, &mut saved), plan).expect("a plan").expect("a schedule");
            let mut watched = Watched { schedule, mask, seen: 0 };
            let mut schedules: Vec<Box<dyn MaskSchedule + '_>> = vec![Box::new(&mut watched)];
            let ends = train(&spec.model, &[lane], &[], &mut schedules, &data, &device(), &mut ()).expect("no defect");
            drop(schedules);
            // Before the first step and after each of 6 · 3.
            assert_eq!(watched.seen, 19);
            let found = trained(&ends[0]);
            assert_eq!(found.mask.as_ref(), Some(&watched.mask));
            assert_eq!(watched.mask.removed(), spec.removed().expect("a count"));
            let values = found.parameters.tensors.iter().zip(&watched.mask.kept);
            let gone = values.flat_map(|(values, kept)| values.iter().zip(kept.iter().flatten()));
            assert!(gone.filter(|(_, kept)| !**kept).all(|(weight, _)| weight.to_bits() == 0));
            drop(watched);
            let [plan] = saved.as_slice() else { panic!("one plan") };
            assert_eq!(plan.removed.len() as u64, spec.removed().expect("a count"));
        }
    }
}

impl<T: MaskSchedule + ?Sized> MaskSchedule for &mut T {
    fn is_due(&self, steps: u64) -> bool {
        (**self).is_due(steps)
    }

    fn update(&mut self, steps: u64, net: &Parameters, gradient: Option<&Parameters>) -> Result<Mask, NoPlan> {
        (**self).update(steps, net, gradient)
    }

    fn settled(&self) -> u64 {
        (**self).settled()
    }
}

#[test]
fn what_grows_begins_at_zero_without_moments() {
    let spec = pruning(1, SCHEDULES[2]);
    let data = DeviceData::load(dataset(1, 3, 40), &device());
    let (lane, plan) = begun(&spec, lane(&spec.model, 1, training(adam(0.05), 16, 1)));
    let before = lane.mask.clone().expect("masked");
    let mut saved = Vec::new();
    let mut schedule = of(plans(&spec, None, &mut saved), plan).expect("a plan").expect("a schedule");
    let mut bundle = Bundle::new(&spec.model, &[lane], &device());
    let mut gradient = None;
    for step in 0..2 {
        let rows: Vec<i32> = (step * 16..step * 16 + 16).collect();
        gradient = Some(bundle.step(&data, rows.into()).1);
    }
    let layout = bundle.layout().clone();
    let gradient = gradient.map(|gradient| layout.unflatten(&values(&gradient)[0])).expect("two steps");
    let moments = |bundle: &mut Bundle| {
        let moments = values(bundle.optimizer().second_moment().expect("Adam after a step"));
        layout.unflatten(&moments[0])
    };
    let moved = moments(&mut bundle);
    let after = schedule.update(2, &nets(&bundle)[0], Some(&gradient)).expect("a mask");
    bundle.set_masks(layout.flatten_mask(&after));
    let (net, rest) = (nets(&bundle).remove(0), moments(&mut bundle));
    let (mut grown, mut dropped) = (0, 0);
    for tensor in 0..net.tensors.len() {
        for place in 0..net.tensors[tensor].len() {
            let (moment, weight) = (rest.tensors[tensor][place], net.tensors[tensor][place]);
            match (before.keeps(tensor, place), after.keeps(tensor, place)) {
                (false, true) => {
                    assert_eq!((weight, moment), (0.0, 0.0));
                    // Although the gradient of the whole net is not zero there.
                    assert!(gradient.tensors[tensor][place] != 0.0);
                    grown += 1;
                }
                (true, false) => {
                    assert_eq!((weight, moment), (0.0, 0.0));
                    assert!(moved.tensors[tensor][place] > 0.0);
                    dropped += 1;
                }
                (_, kept) => assert!(kept || moment == 0.0),
            }
            if before.keeps(tensor, place) && after.keeps(tensor, place) {
                assert_eq!(moment, moved.tensors[tensor][place]);
            }
        }
    }
    assert!(grown > 0);
    assert_eq!(grown, dropped);
    // The next step moves grown weights if the batch has a gradient.
    let _ = bundle.step(&data, (0..16).collect::<Vec<_>>().into());
    let next = nets(&bundle).remove(0);
    let grows = |tensor: usize, place: &usize| !before.keeps(tensor, *place) && after.keeps(tensor, *place);
    let moved = [0, 2].map(|tensor| {
        let places = (0..next.tensors[tensor].len()).filter(|place| grows(tensor, place));
        places.filter(|place| next.tensors[tensor][*place] != 0.0).count()
    });
    assert!(moved.iter().sum::<usize>() > 0);
}

#[test]
fn the_best_epoch_is_none_before_the_mask_has_settled() {
    let data = DeviceData::load(dataset(9, 3, 40), &device());
    let mut early = 0;
    for schedule in SCHEDULES {
        for (seed, select_by) in (0..4).flat_map(|seed| [(seed, SelectBy::Auc), (seed, SelectBy::LogLoss)]) {
            let spec = pruning(seed, schedule);
            // A rate at which the metric rises and falls.
            let mut lane = lane(&spec.model, seed, training(adam(0.3), 20, 10));
            lane.training.select_by = select_by;
            let end = run(std::slice::from_ref(&spec), &[lane], &data).remove(0);
            let found = trained(&end);
            // Two steps an epoch; the schedules settle after 11, 8, 8 and 9 steps.
            let first = match schedule {
                Schedule::Gradual { .. } => 6,
                // Grown weights are untrained at the end of the fourth epoch.
                Schedule::Dynamic { .. } | Schedule::Alternating { .. } | Schedule::OneShot => 5,
            };
            let worth = |epoch: usize| match select_by {
                SelectBy::Auc => found.curve[epoch].validation[&Metric::Auc],
                SelectBy::Accuracy => found.curve[epoch].validation[&Metric::Accuracy],
                SelectBy::LogLoss | SelectBy::Last => -found.curve[epoch].validation[&Metric::LogLoss],
            };
            let best = (first..=10).map(worth).fold(f64::NEG_INFINITY, f64::max);
            let expected = (first..=10).find(|epoch| worth(*epoch) == best).expect("one is the best");
            assert_eq!(found.epoch as usize, expected, "{schedule:?}");
            early += usize::from((1..first).any(|epoch| worth(epoch) > best));
        }
    }
    assert!(early > 0, "no epoch before was better: the test shows nothing");
}

#[test]
fn a_training_that_takes_up_later_counts_its_own_steps() {
    let data = DeviceData::load(dataset(1, 3, 40), &device());
    let spec = pruning(1, Schedule::Gradual { shape: Ramp::Linear, begin: 0, every: 2, times: 3 });
    // Three steps in each epoch, the first four skipped.
    let mut later = lane(&spec.model, 1, training(adam(0.01), 16, 4));
    later.skip_steps = 4;
    let end = run(std::slice::from_ref(&spec), &[later], &data).remove(0);
    let found = trained(&end);
    assert_eq!(found.mask.as_ref().map(Mask::removed), spec.removed());
    // Settled after 4 steps: 8 of the whole training, within its third epoch.
    assert!(found.epoch >= 3);
}

/// A change of phase resets Adam, so that the next step is like the first of a new optimiser.
#[test]
fn moments_begin_anew_at_each_phase() {
    let data = DeviceData::load(dataset(1, 3, 40), &device());
    let spec = pruning(1, Schedule::Alternating { every: 2, end: 2 });
    let run_to = |epochs: u32, stop: u64| {
        let mut lane = lane(&spec.model, 1, training(adam(0.05), 16, epochs));
        lane.stop_after = Some(stop);
        trained(&run(std::slice::from_ref(&spec), &[lane], &data).remove(0)).clone()
    };
    let (at, next) = (run_to(1, 2), run_to(1, 3));
    let mask = at.mask.clone().expect("masked");
    let mut moved = 0;
    for (tensor, (before, after)) in at.parameters.tensors.iter().zip(&next.parameters.tensors).enumerate() {
        for (place, (before, after)) in before.iter().zip(after).enumerate() {
            let distance = (after - before).abs();
            if mask.keeps(tensor, place) && distance > 0.0 {
                // The first step of Adam is the rate, whatever the gradient.
                assert!((distance - 0.05).abs() < 1e-3, "{distance}");
                moved += 1;
            }
        }
    }
    assert!(moved > 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_lane_with_a_schedule_ends_in_any_bundle_as_it_does_alone(
        schedule in 0_usize..4,
        seeds in proptest::collection::vec(0_u64..60, 2..5),
        by_adam in any::<bool>(),
        batch_size in 8_u32..20,
    ) {
        let data = DeviceData::load(dataset(3, 3, 40), &device());
        let specs: Vec<PruneSpec> = seeds.iter().map(|seed| pruning(*seed, SCHEDULES[schedule])).collect();
        let lanes: Vec<Lane> = (seeds.iter().zip(&specs))
            .map(|(seed, spec)| {
                let lr = [1e-2, 0.1, 1e30][*seed as usize % 3];
                let rule = if by_adam { adam(lr) } else { sgd(lr) };
                lane(&spec.model, *seed, training(rule, batch_size, 7))
            })
            .collect();
        let together = run(&specs, &lanes, &data);
        for ((spec, lane), found) in specs.iter().zip(&lanes).zip(&together) {
            let alone = run(std::slice::from_ref(spec), std::slice::from_ref(lane), &data);
            assert_same(found, &alone[0]);
        }
    }
}

/// A gradual removal of everything at once before the first step is one-shot pruning.
#[test]
fn one_removal_before_the_first_step_is_one_shot() {
    let data = DeviceData::load(dataset(1, 3, 40), &device());
    let schedule = Schedule::Gradual { shape: Ramp::Cubic, begin: 0, every: 1, times: 1 };
    let spec = pruning(2, schedule);
    let free = lane(&spec.model, 2, training(adam(0.02), 16, 3));
    let gradual = run(std::slice::from_ref(&spec), std::slice::from_ref(&free), &data).remove(0);
    let spec = PruneSpec { schedule: Schedule::OneShot, ..spec };
    let (masked_lane, _) = begun(&spec, free);
    let once = super::run(&spec.model, &[masked_lane], &data).remove(0);
    let (gradual, once) = (trained(&gradual), trained(&once));
    assert_eq!(bits(&gradual.parameters), bits(&once.parameters));
    assert_eq!((gradual.epoch, &gradual.mask), (once.epoch, &once.mask));
    // Another selection gives another result.
    let other = mlp(3, &[4, 2]);
    let other_lane = masked(lane(&other, 2, training(adam(0.02), 16, 3)), mask(&other, 2, 0.4));
    let other = super::run(&other, &[other_lane], &data).remove(0);
    assert_ne!(bits(&trained(&other).parameters), bits(&once.parameters));
}
