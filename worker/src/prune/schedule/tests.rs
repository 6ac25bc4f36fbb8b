use proptest::prelude::*;
use secateur_proto::spec::{Along, Granularity, Growth, ModelSpec, Ramp};

use super::*;
use crate::{
    prune::{criteria::Scores, plan::tests::spec},
    random,
};

/// Plans by the absolute weight.
pub(crate) fn by_magnitude(spec: &PruneSpec) -> Box<Choose<'_>> {
    Box::new(|net, removed, removal| {
        let spec = PruneSpec { removal: removal.clone(), ..spec.clone() };
        let weights = [0, 2].map(|tensor| net.tensors[tensor].iter().map(|weight| f64::from(weight.abs())).collect());
        Ok(PruningPlan::make(&spec, net, removed, &Scores::Weights(weights.to_vec()))?)
    })
}

/// The plans of a lane, by the absolute weight. Each saved plan is appended to `saved`.
pub(crate) fn plans<'a>(spec: &'a PruneSpec, earlier: Option<&'a Mask>, saved: &'a mut Vec<PruningPlan>) -> Plans<'a> {
    let save = |plan: &[u8]| {
        saved.push(PruningPlan::read(plan).expect("a plan"));
        Ok(plan.to_vec())
    };
    Plans { spec, earlier, choose: by_magnitude(spec), save: Box::new(save) }
}

/// The plan that a lane of that schedule starts with.
pub(crate) fn beginning(spec: &PruneSpec, net: &Parameters, earlier: Option<&Mask>) -> PruningPlan {
    match begins_dense(&spec.schedule) {
        true => PruningPlan::of_gone(spec, net, earlier).expect("a plan"),
        false => by_magnitude(spec)(net, earlier, &spec.removal).expect("a plan"),
    }
}

fn model() -> ModelSpec {
    ModelSpec::mlp(3, vec![4, 2])
}

/// Another net at each step: nothing here trains.
fn net(step: u64) -> Parameters {
    Parameters::initial(&model(), 1000 + step)
}

fn gradient(step: u64) -> Parameters {
    Parameters::initial(&model(), 2000 + step)
}

/// The history of a schedule up to some step.
struct Course {
    /// The mask at the beginning, and each that followed with its step.
    masks: Vec<(u64, Mask)>,
    saved: Vec<PruningPlan>,
    settled: u64,
}

/// The net is masked as it would be in a training.
fn course(spec: &PruneSpec, earlier: Option<&Mask>, until: u64) -> Course {
    let mut saved = Vec::new();
    let begin = beginning(spec, &net(0), earlier);
    let plans = plans(spec, earlier, &mut saved);
    let mut masks = vec![(0, plans.mask(&begin).expect("a mask"))];
    let mut schedule = of(plans, begin).expect("a plan").expect("a schedule");
    for step in 0..=until {
        if schedule.is_due(step) {
            let mut net = net(step);
            masks.last().expect("one").1.apply(&mut net);
            masks.push((step, schedule.update(step, &net, Some(&gradient(step))).expect("a mask")));
        }
    }
    let settled = schedule.settled();
    drop(schedule);
    Course { masks, saved, settled }
}

/// Removed weights of each layer.
fn lost(mask: &Mask) -> [u64; 2] {
    [0, 2].map(|tensor| mask.kept[tensor].iter().flatten().filter(|kept| !**kept).count() as u64)
}

fn gradual(shape: Ramp, begin: u64, every: u64, times: u64) -> Schedule {
    Schedule::Gradual { shape, begin, every, times }
}

fn random_mask(seed: u64, share: f64) -> Mask {
    let mut generator = random::generator("earlier", &[seed]);
    let mut mask = Mask::full(&model(), &[0, 1]);
    for kept in mask.kept.iter_mut().flatten().flatten() {
        *kept = generator.random::<f64>() >= share;
    }
    mask
}

/// The table in the methods' overview, which is also in the golden files.
#[test]
fn the_cubic_ramp_is_that_of_the_paper() {
    let published = [0, 2439, 4392, 5913, 7056, 7875, 8424, 8757, 8928, 8991, 9000];
    let golden = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tables.json"));
    let golden: serde_json::Value = serde_json::from_str(golden).expect("json");
    let rows = golden["agp_cubic"].as_array().expect("a list");
    assert_eq!(rows.len(), published.len());
    for (row, published) in rows.iter().zip(published) {
        let [progress, sparsity] = ["progress", "sparsity"].map(|key| row[key].as_f64().expect("a number"));
        assert_eq!(removed_at(Ramp::Cubic, 0, 9000, 10_000, progress), published);
        assert!((sparsity * 10_000.0 - published as f64).abs() < 1e-6);
    }
}

#[test]
fn ramps_go_through_known_points_and_round_halves_up() {
    // From 0 to 0.9 of 10000: √0.1 is 0.316228, and cos 60° is a half.
    for (ramp, progress, expected) in [
        (Ramp::Linear, 0.25, 2250),
        (Ramp::Exponential, 0.5, 6838),
        (Ramp::Cosine, 1.0 / 3.0, 2250),
        (Ramp::Cosine, 0.5, 4500),
    ] {
        assert_eq!(removed_at(ramp, 0, 9000, 10_000, progress), expected, "{ramp:?}");
        assert_eq!((removed_at(ramp, 0, 9000, 10_000, 0.0), removed_at(ramp, 0, 9000, 10_000, 1.0)), (0, 9000));
    }
    // Half of the density that is left: from 0.5 to 0.125 the middle is 0.25.
    assert_eq!(removed_at(Ramp::Exponential, 50, 88, 100, 0.5), 76);
    assert_eq!(removed_at(Ramp::Linear, 10, 20, 100, 0.5), 15);
    assert_eq!([0.1, 0.3, 0.5].map(|at| removed_at(Ramp::Linear, 0, 5, 9, at)), [1, 2, 3]);
}

#[test]
fn a_gradual_removal_comes_in_the_steps_and_counts_that_are_asked() {
    let mut spec = spec(Removal::global(10));
    spec.schedule = gradual(Ramp::Cubic, 7, 3, 4);
    let found = course(&spec, None, 100);
    // 10 · (1 − (1 − t)³) at t = 1/4, 1/2, 3/4, 1: 5.78, 8.75, 9.84, 10.
    let counts: Vec<(u64, u64)> = found.masks.iter().map(|(step, mask)| (*step, mask.removed())).collect();
    assert_eq!(counts, [(0, 0), (7, 6), (10, 9), (13, 10), (16, 10)]);
    assert_eq!(found.settled, 16);
    // One plan is kept, and it has the step of each removal.
    let [plan] = found.saved.as_slice() else { panic!("one plan") };
    let went: Vec<u64> = plan.removed.iter().map(|entry| entry.step).collect();
    assert_eq!(went, [7, 7, 7, 7, 7, 7, 10, 10, 10, 13]);
    for (step, mask) in &found.masks {
        let mut so_far = plan.clone();
        so_far.removed.retain(|entry| entry.step <= *step);
        assert_eq!(so_far.mask(&model(), &[0, 1]).expect("a mask"), *mask);
    }
}

#[test]
fn units_go_gradually_as_well() {
    let mut spec = spec(Removal::PerLayer { counts: vec![3, 1] });
    spec.granularity = Granularity::Unit;
    spec.schedule = gradual(Ramp::Linear, 0, 2, 3);
    let found = course(&spec, None, 10);
    // 3 · t and t at thirds, halves up.
    let units: Vec<usize> = (found.masks.iter())
        .map(|(_, mask)| {
            [1, 3].map(|bias| mask.kept[bias].iter().flatten().filter(|kept| !**kept).count()).iter().sum()
        })
        .collect();
    assert_eq!(units, [0, 1, 3, 4]);
    assert_eq!(found.saved[0].removed.len(), 4);
}

#[test]
fn groups_thin_out_gradually() {
    let mut spec = spec(Removal::Grouped { keep: 1, group: 3, along: Along::Flat });
    spec.schedule = gradual(Ramp::Linear, 0, 1, 2);
    let found = course(&spec, None, 10);
    // One of each row of three, then two; in rows of four the single one at the end is kept.
    assert_eq!(found.masks.iter().map(|(_, mask)| lost(mask)).collect::<Vec<_>>(), [[0, 0], [4, 2], [8, 4]]);
}

proptest! {
    #[test]
    fn gradual_masks_are_nested_and_end_at_what_is_asked(
        shape in prop_oneof![Just(Ramp::Cubic), Just(Ramp::Linear), Just(Ramp::Exponential), Just(Ramp::Cosine)],
        (begin, every, times) in (0_u64..9, 1_u64..5, 1_u64..9),
        counts in (0_u64..11, 0_u64..7),
        local in any::<bool>(),
        earlier in proptest::option::of(0_u64..100),
    ) {
        let earlier = earlier.map(|seed| random_mask(seed, 0.3));
        let gone = earlier.as_ref().map_or([0, 0], lost);
        let counts = [counts.0.max(gone[0]).min(11), counts.1.max(gone[1]).min(7)];
        prop_assume!(gone[0] < 12 && gone[1] < 8);
        let mut spec = spec(match local {
            true => Removal::PerLayer { counts: counts.to_vec() },
            false => Removal::Global { count: counts.iter().sum(), caps: Some(vec![11, 7]) },
        });
        spec.schedule = gradual(shape, begin, every, times);
        let found = course(&spec, earlier.as_ref(), begin + every * times + 3);
        let steps: Vec<u64> = found.masks[1..].iter().map(|(step, _)| *step).collect();
        prop_assert_eq!(steps, (0..times).map(|nth| begin + nth * every).collect::<Vec<_>>());
        for (nth, (_, mask)) in found.masks.iter().enumerate() {
            let progress = nth as f64 / times as f64;
            let at = |from: u64, to: u64, places: u64| {
                let (from, to, places) = (from as f64 / places as f64, to as f64 / places as f64, places as f64);
                let sparsity = match shape {
                    Ramp::Cubic => to + (from - to) * (1.0 - progress).powi(3),
                    Ramp::Linear => from + (to - from) * progress,
                    Ramp::Exponential => 1.0 - (1.0 - from) * ((1.0 - to) / (1.0 - from)).powf(progress),
                    Ramp::Cosine => to + (from - to) * (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0,
                };
                sparsity * places
            };
            // Away from halves, where rounding depends on the last bit.
            let near = |found: u64, exact: f64| (found as f64 - exact).abs() < 0.5 + 1e-9;
            if local {
                for ((found, (from, to)), places) in lost(mask).into_iter().zip(gone.into_iter().zip(counts)).zip([12, 8]) {
                    prop_assert!(near(found, at(from, to, places)));
                }
            } else {
                prop_assert!(near(mask.removed(), at(gone.iter().sum(), counts.iter().sum(), 20)));
            }
        }
        for pair in found.masks.windows(2) {
            let mut both = pair[1].1.clone();
            both.remove_all(&pair[0].1);
            prop_assert_eq!(&both, &pair[1].1, "what is gone stays gone");
        }
        let last = &found.masks.last().expect("one").1;
        prop_assert_eq!(last.removed(), counts.iter().sum::<u64>());
        prop_assert_eq!(found.saved.len(), 1);
        prop_assert_eq!(&found.saved[0].mask(&model(), &[0, 1]).expect("a mask"), last);
    }

    #[test]
    fn dynamic_masks_replace_as_many_as_they_drop(
        by_gradient in any::<bool>(),
        fraction in 0.0..=1.0_f64,
        (every, end) in (1_u64..5, 0_u64..30),
        counts in (1_u64..11, 1_u64..7),
        earlier in proptest::option::of(0_u64..100),
    ) {
        let earlier = earlier.map(|seed| random_mask(seed, 0.2));
        let gone = earlier.as_ref().map_or([0, 0], lost);
        let counts = vec![counts.0.max(gone[0]).min(11), counts.1.max(gone[1]).min(7)];
        let mut spec = spec(Removal::PerLayer { counts: counts.clone() });
        let growth = if by_gradient { Growth::Gradient } else { Growth::Random };
        spec.schedule = Schedule::Dynamic { growth, fraction, every, end };
        let found = course(&spec, earlier.as_ref(), end + 10);
        let updates: Vec<u64> = found.masks[1..].iter().map(|(step, _)| *step).collect();
        prop_assert_eq!(&updates, &(1..=end / every).map(|nth| nth * every).collect::<Vec<_>>());
        prop_assert_eq!(found.settled, updates.last().copied().unwrap_or(0));
        prop_assert_eq!(found.saved.len(), usize::from(!updates.is_empty()));
        // The last removal of each place.
        let mut went = [vec![0; 12], vec![0; 8]];
        for pair in found.masks.windows(2) {
            let ((_, before), (step, after)) = (&pair[0], &pair[1]);
            prop_assert_eq!(lost(after).to_vec(), counts.clone());
            let mut weights = net(*step);
            before.apply(&mut weights);
            let gradient = gradient(*step);
            for (layer, tensor) in [0, 2].into_iter().enumerate() {
                let size = |place: &usize| weights.tensors[tensor][*place].abs();
                let slope = |place: &usize| gradient.tensors[tensor][*place].abs();
                let all = 0..went[layer].len();
                let free = |place: &usize| earlier.as_ref().is_none_or(|earlier| earlier.keeps(tensor, *place));
                let was = |place: &usize| before.keeps(tensor, *place);
                let is = |place: &usize| after.keeps(tensor, *place);
                let dropped: Vec<usize> = all.clone().filter(|place| was(place) && !is(place)).collect();
                let grown: Vec<usize> = all.clone().filter(|place| !was(place) && is(place)).collect();
                let stay: Vec<usize> = all.clone().filter(|place| was(place) && is(place)).collect();
                let left: Vec<usize> = all.clone().filter(|place| !was(place) && !is(place) && free(place)).collect();
                let share = match growth {
                    Growth::Random => fraction,
                    Growth::Gradient => {
                        fraction / 2.0 * (1.0 + (*step as f64 * std::f64::consts::PI / end as f64).cos())
                    }
                };
                let wanted = share * (dropped.len() + stay.len()) as f64;
                let possible = (grown.len() + left.len()) as f64;
                prop_assert!((dropped.len() as f64 - wanted.min(possible)).abs() < 0.5 + 1e-9);
                prop_assert_eq!(dropped.len(), grown.len());
                prop_assert!(grown.iter().all(free));
                prop_assert!(dropped.iter().all(|gone| stay.iter().all(|kept| size(gone) <= size(kept))));
                if by_gradient {
                    prop_assert!(grown.iter().all(|new| left.iter().all(|old| slope(new) >= slope(old))));
                }
                dropped.iter().for_each(|place| went[layer][*place] = *step);
            }
        }
        if let Some(plan) = found.saved.first() {
            let mask = &found.masks.last().expect("one").1;
            prop_assert_eq!(&plan.mask(&model(), &[0, 1]).expect("a mask"), mask);
            prop_assert!(plan.removed.is_sorted_by_key(|entry| entry.step));
            for entry in &plan.removed {
                prop_assert_eq!(entry.step, went[entry.layer as usize][entry.index as usize]);
            }
        }
    }
}

#[test]
fn random_growth_is_that_of_the_seed() {
    let mut spec = spec(Removal::PerLayer { counts: vec![6, 4] });
    spec.schedule = Schedule::Dynamic { growth: Growth::Random, fraction: 0.5, every: 2, end: 20 };
    let masks = |seed: u64| {
        let spec = PruneSpec { seed, ..spec.clone() };
        course(&spec, None, 20).masks
    };
    assert_eq!(masks(1), masks(1));
    assert_ne!(masks(1), masks(2));
}

#[test]
fn phases_alternate_and_end_sparse() {
    let sparse = |every, end| {
        let mut spec = spec(Removal::global(9));
        spec.schedule = Schedule::Alternating { every, end };
        let found = course(&spec, None, 100);
        assert_eq!(found.saved.len(), 1);
        let last = found.masks.last().expect("one");
        assert_eq!((last.0, last.1.removed()), (found.settled, 9));
        assert_eq!(found.saved[0].mask(&model(), &[0, 1]).expect("a mask"), last.1);
        assert!(found.saved[0].removed.iter().all(|entry| entry.step == found.settled));
        found.masks[1..].iter().map(|(step, mask)| (*step, mask.removed())).collect::<Vec<_>>()
    };
    assert_eq!(sparse(5, 17), [(5, 9), (10, 0), (15, 9)]);
    assert_eq!(sparse(5, 15), [(5, 9), (10, 0), (15, 9)]);
    assert_eq!(sparse(5, 13), [(5, 9), (10, 0), (13, 9)]);
    assert_eq!(sparse(5, 10), [(5, 9)]);
    assert_eq!(sparse(5, 3), [(3, 9)]);
    assert_eq!(sparse(5, 0), [(0, 9)]);
}

#[test]
fn what_cannot_be_compared_ends_the_lane() {
    let mut spec = spec(Removal::PerLayer { counts: vec![6, 4] });
    for growth in [Growth::Random, Growth::Gradient] {
        spec.schedule = Schedule::Dynamic { growth, fraction: 0.5, every: 2, end: 20 };
        let mut saved = Vec::new();
        let begin = beginning(&spec, &net(0), None);
        let mut schedule = of(plans(&spec, None, &mut saved), begin.clone()).expect("a plan").expect("a schedule");
        let mut wild = net(2);
        begin.mask(&model(), &[0, 1]).expect("a mask").apply(&mut wild);
        let kept = wild.tensors[0].iter().position(|weight| *weight != 0.0).expect("one is kept");
        wild.tensors[0][kept] = f32::NAN;
        let found = schedule.update(2, &wild, Some(&gradient(2)));
        assert_eq!(found, Err(NoPlan::Selection(NoSelection::NotFinite)));
        if growth == Growth::Gradient {
            assert!(matches!(schedule.update(2, &net(2), None), Err(NoPlan::Failure(_))));
        }
    }
}

#[test]
fn endless_schedules_settle_after_any_training() {
    assert_eq!(settled(&gradual(Ramp::Cubic, u64::MAX, u64::MAX, u64::MAX)), u64::MAX);
    assert_eq!(settled(&gradual(Ramp::Cubic, 5, 10, 1)), 5);
    assert_eq!(settled(&Schedule::OneShot), 0);
}
