//! The hypervolume of a front: how much of the space before a reference point it dominates (Zitzler & Thiele 1998).

use std::collections::BTreeMap;

use secateur_proto::metrics::Direction;

use super::Summary;

/// The most objectives that a hypervolume is computed for.
pub const MOST_OBJECTIVES: usize = 6;

/// The volume that the points of `values` dominate before `reference`, exactly. `values` holds the points one after the other, each with
/// a value for every direction. A point that is not better than the reference in every objective adds nothing.
///
/// Two and three objectives take O(n log n). More are counted by the algorithm of While, Bradstreet & Barone 2012 (WFG), whose time grows
/// with the number of objectives; a front of a hundred points of six is fast.
///
/// Returns `None` if a value is not finite, or for no objective or more than [`MOST_OBJECTIVES`].
#[must_use]
pub fn hypervolume(values: &[f64], directions: &[Direction], reference: &[f64]) -> Option<f64> {
    let dimensions = directions.len();
    let is_finite = values.iter().chain(reference).all(|value| value.is_finite());
    if !(1..=MOST_OBJECTIVES).contains(&dimensions) || reference.len() != dimensions || !is_finite {
        return None;
    }
    // How much better than the reference: the volume is that between these points and the origin.
    let gain = |((value, reference), direction): ((&f64, &f64), &Direction)| match direction {
        Direction::Maximize => value - reference,
        Direction::Minimize => reference - value,
    };
    let gains = |point: &[f64]| -> Vec<f64> { point.iter().zip(reference).zip(directions).map(gain).collect() };
    let points: Vec<Vec<f64>> = values.chunks_exact(dimensions).map(gains).collect();
    Some(volume(points.into_iter().filter(|point| point.iter().all(|gain| *gain > 0.0)).collect(), dimensions))
}

/// The volume between points of positive coordinates and the origin.
fn volume(mut points: Vec<Vec<f64>>, dimensions: usize) -> f64 {
    points.sort_by(|one, two| two[dimensions - 1].total_cmp(&one[dimensions - 1]));
    match dimensions {
        1 => points.first().map_or(0.0, |point| point[0]),
        2 | 3 => sweep(&points, dimensions),
        _ => {
            let front = without_dominated(points, dimensions);
            let exclusive = |(place, point): (usize, &Vec<f64>)| {
                let own: f64 = point.iter().take(dimensions).product();
                own - volume(limited(&front[place + 1..], point, dimensions), dimensions)
            };
            front.iter().enumerate().map(exclusive).sum()
        }
    }
}

/// Points with no coordinate above that of `limit`.
fn limited(points: &[Vec<f64>], limit: &[f64], dimensions: usize) -> Vec<Vec<f64>> {
    let limit_point =
        |point: &Vec<f64>| point.iter().zip(limit).take(dimensions).map(|(one, two)| one.min(*two)).collect();
    points.iter().map(limit_point).collect()
}

/// Points that no other is at least as good as everywhere; of equal ones one. The order stays.
fn without_dominated(points: Vec<Vec<f64>>, dimensions: usize) -> Vec<Vec<f64>> {
    let mut front: Vec<Vec<f64>> = Vec::with_capacity(points.len());
    let covers = |one: &[f64], two: &[f64]| one.iter().zip(two).take(dimensions).all(|(one, two)| one >= two);
    for point in points {
        if !front.iter().any(|other| covers(other, &point)) {
            front.retain(|other| !covers(&point, other));
            front.push(point);
        }
    }
    front
}

/// Two or three coordinates, the last of which descends: slices of an area that grows.
fn sweep(points: &[Vec<f64>], dimensions: usize) -> f64 {
    // The staircase of the first two coordinates: as the first (of positive numbers the bits ascend as they do) ascends, the second falls.
    let mut steps: BTreeMap<u64, f64> = BTreeMap::new();
    let (mut area, mut sum) = (0.0, 0.0);
    for (place, point) in points.iter().enumerate() {
        let (x, y) = (point[0], if dimensions == 3 { point[1] } else { 1.0 });
        area += growth(&mut steps, x, y);
        let next = points.get(place + 1).map_or(0.0, |next| next[dimensions - 1]);
        sum += area * (point[dimensions - 1] - next);
    }
    sum
}

/// Adds the rectangle from the origin to (x, y) to a staircase and returns by how much its area grows.
fn growth(steps: &mut BTreeMap<u64, f64>, x: f64, y: f64) -> f64 {
    // Right of x the staircase is at this height; left of it, it is higher with every step.
    let mut height = steps.range(x.to_bits()..).next().map_or(0.0, |(_, height)| *height);
    if height >= y {
        return 0.0;
    }
    let (mut right, mut grown) = (x, 0.0);
    let mut covered = Vec::new();
    for (left, above) in steps.range(..x.to_bits()).rev() {
        grown += (right - f64::from_bits(*left)) * (y - height);
        (right, height) = (f64::from_bits(*left), *above);
        if height >= y {
            break;
        }
        covered.push(*left);
    }
    if height < y {
        grown += right * (y - height);
    }
    for left in covered {
        steps.remove(&left);
    }
    steps.insert(x.to_bits(), y);
    grown
}

/// A hypervolume and its 95 % interval over seeds.
///
/// `of_seeds` gives the volume of the means over the seeds of these places. The interval is the volume of all seeds ± t(0.975, n − 1) times
/// the standard error of the jackknife, which leaves out one seed at a time (Efron & Stein 1981). It speaks of the seeds alone; the volume
/// of noisy means is a little too large on average, and the interval does not show that.
///
/// Returns `None` if a volume is missing. The interval of a single seed is missing, as with [`Summary`].
pub fn over_seeds(seeds: usize, of_seeds: impl Fn(&[usize]) -> Option<f64>) -> Option<Summary> {
    let all: Vec<usize> = (0..seeds).collect();
    let value = of_seeds(&all)?;
    if seeds < 2 {
        return Some(Summary { mean: value, sd: None, ci95: None, n: seeds as u64 });
    }
    let without = |left_out: usize| {
        let others: Vec<usize> = all.iter().copied().filter(|seed| *seed != left_out).collect();
        of_seeds(&others)
    };
    let n = seeds as f64;
    // The pseudo-values of the jackknife scatter as single seeds would.
    let pseudo: Vec<f64> =
        (0..seeds).map(|seed| Some(n * value - (n - 1.0) * without(seed)?)).collect::<Option<_>>()?;
    let spread = Summary::of(&pseudo, [f64::NEG_INFINITY, f64::INFINITY])?;
    let [low, high] = spread.ci95?;
    let half = (high - low) / 2.0;
    Some(Summary { mean: value, sd: spread.sd, ci95: Some([(value - half).max(0.0), value + half]), n: seeds as u64 })
}

#[cfg(test)]
mod tests {
    use Direction::{Maximize, Minimize};
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::{super::dominance::Normals, *};

    /// Forty points whose coordinates come from Knuth's linear congruential generator.
    fn forty(dimensions: usize) -> Vec<f64> {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        std::iter::repeat_with(next).take(40 * dimensions).collect()
    }

    #[test]
    fn volumes_are_those_of_moocore() {
        // moocore.hypervolume(points, ref=[1] * d) of the forty points, and of the same points divided by their sums, which are all on
        // the front.
        for (dimensions, random, simplex) in [
            (2, 0.882_059_842_066_632_9, 0.474_371_151_448_842_95),
            (3, 0.739_237_999_421_927_1, 0.708_327_863_634_616_1),
            (4, 0.509_535_134_974_659_9, 0.731_662_567_126_604_9),
            (5, 0.388_442_453_998_560_3, 0.777_794_646_525_521_4),
            (6, 0.241_148_762_713_775_06, 0.795_300_714_951_348_5),
        ] {
            let points = forty(dimensions);
            let divided: Vec<f64> = points
                .chunks_exact(dimensions)
                .flat_map(|point| {
                    let sum: f64 = point.iter().sum();
                    point.iter().map(move |value| value / sum)
                })
                .collect();
            for (points, expected) in [(points, random), (divided, simplex)] {
                let down = hypervolume(&points, &vec![Minimize; dimensions], &vec![1.0; dimensions]);
                assert!((down.expect("finite") - expected).abs() < 1e-12, "{dimensions}: {down:?} is not {expected}");
                let negated: Vec<f64> = points.iter().map(|value| -value).collect();
                let up = hypervolume(&negated, &vec![Maximize; dimensions], &vec![-1.0; dimensions]);
                assert!((up.expect("finite") - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn two_objectives_by_hand() {
        // Quality up from 0, size down from 10: 2 · 5 and 1 · (9 − 5) more; the last is dominated, and one is no better than the reference.
        let values = [0.5, 8.0, 0.9, 9.0, 0.4, 8.5, 0.99, 10.0];
        let found = hypervolume(&values, &[Maximize, Minimize], &[0.0, 10.0]).expect("finite");
        assert!((found - (2.0 * 0.5 + 1.0 * 0.4)).abs() < 1e-12);
        assert_eq!(hypervolume(&[], &[Maximize, Minimize], &[0.0, 10.0]), Some(0.0));
    }

    #[test]
    fn what_cannot_be_measured_has_no_volume() {
        assert_eq!(hypervolume(&[f64::NAN, 1.0], &[Maximize; 2], &[0.0; 2]), None);
        assert_eq!(hypervolume(&[1.0, 1.0], &[Maximize; 2], &[f64::NEG_INFINITY; 2]), None);
        assert_eq!(hypervolume(&[], &[], &[]), None);
        assert_eq!(hypervolume(&[1.0; 7], &[Maximize; 7], &[0.0; 7]), None);
        assert_eq!(hypervolume(&[1.0; 2], &[Maximize; 2], &[0.0; 3]), None);
    }

    #[test]
    fn the_interval_of_one_cell_is_students() {
        // With one objective and one cell the volume is the mean, and the jackknife gives its standard error exactly.
        let values = [0.70, 0.72, 0.77, 0.75];
        let mean = |places: &[usize]| places.iter().map(|place| values[*place]).sum::<f64>() / places.len() as f64;
        let found = over_seeds(4, |places| hypervolume(&[mean(places)], &[Maximize], &[0.0])).expect("finite");
        let expected = Summary::of(&values, [0.0, 1.0]).expect("finite");
        let ([low, high], [expected_low, expected_high]) =
            (found.ci95.expect("four seeds"), expected.ci95.expect("four seeds"));
        assert!((found.mean - expected.mean).abs() < 1e-12);
        assert!((low - expected_low).abs() < 1e-12 && (high - expected_high).abs() < 1e-12);
        assert_eq!(over_seeds(1, |_| Some(0.5)).expect("a volume").ci95, None);
        assert_eq!(over_seeds(3, |places| (places.len() > 2).then_some(0.5)), None);
    }

    /// Sweeps whose true volume is known: eight cells on a curve, noise of the seed in part common to all. The noise is a fifth of what is
    /// between neighbours, so that the front stays what it is.
    #[test]
    fn the_interval_covers_the_true_volume_in_95_of_100_sweeps() {
        let mut random = ChaCha8Rng::from_seed([3; 32]);
        let truth: Vec<[f64; 2]> = (1..=8).map(|cell| [f64::from(cell), f64::from(cell * cell) / 8.0]).collect();
        let directions = [Maximize, Minimize];
        let reference = [0.0, 9.0];
        let expected = hypervolume(&truth.concat(), &directions, &reference).expect("finite");
        for seeds in [3, 5, 10] {
            let mut covered = 0;
            for _ in 0..2_000 {
                let mut normals = Normals { random: &mut random, spare: None };
                let shared: Vec<f64> = (0..seeds).map(|_| 0.15 * normals.next()).collect();
                let values: Vec<Vec<f64>> = (truth.iter())
                    .map(|cell| shared.iter().map(|shared| cell[0] + shared + 0.2 * normals.next()).collect())
                    .collect();
                let volume = |places: &[usize]| {
                    let mean = |values: &Vec<f64>| {
                        places.iter().map(|place| values[*place]).sum::<f64>() / places.len() as f64
                    };
                    let points = values.iter().zip(&truth).flat_map(|(values, cell)| [mean(values), cell[1]]);
                    hypervolume(&points.collect::<Vec<_>>(), &directions, &reference)
                };
                let [low, high] = over_seeds(seeds, volume).and_then(|found| found.ci95).expect("several seeds");
                covered += u32::from(low <= expected && expected <= high);
            }
            assert!((1_860..=1_940).contains(&covered), "{covered} of 2,000 with {seeds} seeds");
        }
    }

    proptest! {
        /// What no algorithm is needed for: a grid of cells, each counted if a point covers it.
        #[test]
        fn agrees_with_counting(
            points in proptest::collection::vec(0..6_u32, 0..60), dimensions in 1..=5_usize,
        ) {
            let values: Vec<f64> = points.iter().copied().map(f64::from).collect();
            let found = hypervolume(&values, &vec![Maximize; dimensions], &vec![0.0; dimensions]).expect("finite");
            let cells = 5_usize.pow(u32::try_from(dimensions).expect("small"));
            let covered = (0..cells).filter(|cell| {
                let corner = |place: usize| (cell / 5_usize.pow(u32::try_from(place).expect("small")) % 5) as f64 + 1.0;
                values.chunks_exact(dimensions).any(|point| (0..dimensions).all(|place| point[place] >= corner(place)))
            });
            prop_assert!((found - covered.count() as f64).abs() < 1e-6);
        }
    }
}
