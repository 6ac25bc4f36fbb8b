//! How sure it is that a cell is on the front, and that one cell dominates another, given how results vary from seed to seed.
//!
//! The means of all cells are drawn again and again: mean + Σ w · (value of a seed − mean) over the seeds, with a weight of each seed that
//! all cells and objectives share. This is the multiplier bootstrap (van der Vaart & Wellner 1996, section 2.9) over seeds, paired by seed:
//! what a seed does to all cells cancels. The weights are normal with variance 1 / (n (n − 1)), divided by √(χ²(n − 1) / (n − 1)), so that the
//! drawn means follow Student's t around those observed with n − 1 degrees of freedom. Resampling three seeds with replacement, in place of
//! weights, would make differences look a third surer than they are.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use secateur_proto::metrics::Direction;

/// Values of cells by seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Observations {
    /// Cell by cell, in each objective by objective, in each seed by seed.
    values: Vec<f64>,
    objectives: usize,
    seeds: usize,
}

/// What is known of a cell's place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The probability that no other cell dominates it.
    pub on_front: f64,
    /// The cell that most probably dominates it, and with what probability. `None` if none ever does.
    pub rival: Option<(usize, f64)>,
}

impl Observations {
    /// Values cell by cell, in each objective by objective, in each seed by seed.
    ///
    /// Returns `None` if a value is not finite, if there are fewer than two seeds, or if a cell is not complete.
    #[must_use]
    pub fn new(values: Vec<f64>, objectives: usize, seeds: usize) -> Option<Self> {
        let is_complete = objectives > 0 && seeds > 1 && values.len().is_multiple_of(objectives * seeds);
        (is_complete && values.iter().all(|value| value.is_finite())).then_some(Self { values, objectives, seeds })
    }

    /// How many cells there are.
    #[must_use]
    pub const fn cells(&self) -> usize {
        self.values.len() / (self.objectives * self.seeds)
    }

    /// The values of an objective of a cell, by seed.
    #[must_use]
    pub fn of(&self, cell: usize, objective: usize) -> &[f64] {
        let begin = (cell * self.objectives + objective) * self.seeds;
        &self.values[begin..begin + self.seeds]
    }

    /// The means over the seeds of these places, cell by cell, in each objective by objective.
    #[must_use]
    pub fn means(&self, seeds: &[usize]) -> Vec<f64> {
        let mean = |values: &[f64]| {
            let running =
                |mean: f64, (index, seed): (usize, &usize)| mean + (values[*seed] - mean) / (index + 1) as f64;
            seeds.iter().enumerate().fold(0.0, running)
        };
        self.values.chunks_exact(self.seeds).map(mean).collect()
    }
}

/// How many standard errors of its difference a cell is behind another, in the objective in which it is furthest behind; 0 if it is behind
/// in none, infinity if it is behind without any spread. Both have values objective by objective, in each seed by seed, of two seeds at
/// least.
#[must_use]
pub fn behind(leader: &[f64], follower: &[f64], directions: &[Direction]) -> f64 {
    let seeds = (leader.len() / directions.len().max(1)).max(1);
    let n = seeds as f64;
    let pairs = leader.chunks_exact(seeds).zip(follower.chunks_exact(seeds));
    let of_objective = |((leader, follower), direction): ((&[f64], &[f64]), &Direction)| {
        let lead = leader.iter().zip(follower).map(|(leader, follower)| match direction {
            Direction::Maximize => leader - follower,
            Direction::Minimize => follower - leader,
        });
        let mean = lead.clone().sum::<f64>() / n;
        let squares = lead.map(|lead| (lead - mean).powi(2)).sum::<f64>();
        if mean <= 0.0 { 0.0 } else { mean / (squares / (n - 1.0) / n).sqrt() }
    };
    pairs.zip(directions).map(of_objective).fold(0.0, f64::max)
}

/// The place of each of the cells `asked` among all `observed`, from so many draws. The same arguments give the same result. Takes
/// O(draws · asked · cells · objectives).
#[must_use]
pub fn places(
    observed: &Observations,
    directions: &[Direction],
    asked: &[usize],
    draws: u32,
    random_seed: [u8; 32],
) -> Vec<Place> {
    let (cells, objectives, seeds) = (observed.cells(), observed.objectives, observed.seeds);
    let mut random = ChaCha8Rng::from_seed(random_seed);
    let all: Vec<usize> = (0..seeds).collect();
    // As costs, so that lower is better everywhere.
    let sign = |objective: usize| if directions.get(objective) == Some(&Direction::Maximize) { -1.0 } else { 1.0 };
    let means = observed.means(&all);
    let deviations: Vec<f64> = (observed.values.chunks_exact(seeds).zip(&means).enumerate())
        .flat_map(|(place, (values, mean))| values.iter().map(move |value| sign(place % objectives) * (value - mean)))
        .collect();
    let means: Vec<f64> = means.iter().enumerate().map(|(place, mean)| sign(place % objectives) * mean).collect();
    let mut on_front = vec![0_u32; asked.len()];
    let mut dominated = vec![0_u32; asked.len() * cells];
    let mut drawn = vec![0.0; means.len()];
    for _ in 0..draws {
        let weights = weights(&mut random, seeds);
        for ((drawn, mean), deviations) in drawn.iter_mut().zip(&means).zip(deviations.chunks_exact(seeds)) {
            *drawn = mean + deviations.iter().zip(&weights).map(|(deviation, weight)| deviation * weight).sum::<f64>();
        }
        for (place, cell) in asked.iter().enumerate() {
            let own = &drawn[cell * objectives..(cell + 1) * objectives];
            let counts = &mut dominated[place * cells..(place + 1) * cells];
            let mut is_dominated = false;
            for (other, count) in drawn.chunks_exact(objectives).zip(counts) {
                if dominates(other, own) {
                    *count += 1;
                    is_dominated = true;
                }
            }
            on_front[place] += u32::from(!is_dominated);
        }
    }
    let share = |count: u32| f64::from(count) / f64::from(draws.max(1));
    let place = |(counts, on_front): (&[u32], &u32)| {
        let most = counts.iter().enumerate().rev().max_by_key(|(_, count)| **count);
        let rival = most.filter(|(_, count)| **count > 0).map(|(cell, count)| (cell, share(*count)));
        Place { on_front: share(*on_front), rival }
    };
    dominated.chunks_exact(cells.max(1)).zip(&on_front).map(place).collect()
}

/// Of costs.
fn dominates(one: &[f64], two: &[f64]) -> bool {
    one.iter().zip(two).all(|(one, two)| one <= two) && one != two
}

/// A weight for each of at least two seeds.
fn weights(random: &mut ChaCha8Rng, seeds: usize) -> Vec<f64> {
    let n = seeds as f64;
    let mut normals = Normals { random, spare: None };
    let squares: f64 = (1..seeds).map(|_| normals.next().powi(2)).sum();
    // A sum of squares that is 0 is a matter of rounding.
    let scale = (squares / (n - 1.0)).max(f64::MIN_POSITIVE) * n * (n - 1.0);
    (0..seeds).map(|_| normals.next() / scale.sqrt()).collect()
}

/// Standard normal numbers, by the polar method of Marsaglia & Bray 1964. Their logarithm is one that gives the same bits everywhere.
pub(super) struct Normals<'a> {
    pub(super) random: &'a mut ChaCha8Rng,
    pub(super) spare: Option<f64>,
}

impl Normals<'_> {
    pub(super) fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let [x, y] = [(); 2].map(|()| 2.0 * self.random.random::<f64>() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let factor = (-2.0 * libm::log(square) / square).sqrt();
                self.spare = Some(y * factor);
                return x * factor;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use Direction::{Maximize, Minimize};
    use statrs::distribution::{ContinuousCDF as _, StudentsT};

    use super::*;

    const SEED: [u8; 32] = [7; 32];

    #[test]
    fn of_one_pair_it_is_students_t() {
        // Student's sleep data (Student 1908): t = −4.0621 with 9 degrees of freedom; the first drug is better with probability .0014.
        let first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        // A third cell that is t = −0.5 behind the second.
        let third: Vec<f64> = (second.iter().zip(0..)).map(|(value, place)| value + [0.6, -0.8][place % 2]).collect();
        let values = [&first[..], &second, &third].concat();
        let observed = Observations::new(values, 1, 10).expect("finite");
        let found = places(&observed, &[Maximize], &[0, 1, 2], 200_000, SEED);
        let student = StudentsT::new(0.0, 1.0, 9.0).expect("a distribution");
        assert!((behind(&second, &first, &[Maximize]) - 4.0621).abs() < 5e-5);
        let t = behind(&second, &third, &[Maximize]);
        let (cell, probability) = found[2].rival.expect("it is often dominated");
        assert_eq!(cell, 1);
        assert!((probability - student.cdf(t)).abs() < 0.005, "{probability} is not {}", student.cdf(t));
        let (_, probability) = found[0].rival.expect("it is nearly always dominated");
        assert!((1.0 - probability - student.cdf(-4.0621)).abs() < 0.001, "{probability}");
    }

    #[test]
    fn what_a_seed_does_to_all_cells_cancels() {
        // The seeds differ by far more than the cells, whose difference is the same for all seeds.
        let values = vec![0.5, 0.7, 0.9, 0.501, 0.701, 0.901];
        let observed = Observations::new(values, 1, 3).expect("finite");
        let found = places(&observed, &[Maximize], &[0, 1], 1_000, SEED);
        assert!(found[0].on_front < 0.001, "{found:?}");
        assert_eq!(found[1], Place { on_front: 1.0, rival: None });
        assert_eq!(found, places(&observed, &[Maximize], &[0, 1], 1_000, SEED));
    }

    #[test]
    fn a_cell_that_costs_more_cannot_dominate() {
        // The same quality but for noise; the second is larger without any.
        let values = vec![0.70, 0.72, 0.71, 10.0, 10.0, 10.0, 0.71, 0.70, 0.72, 20.0, 20.0, 20.0];
        let observed = Observations::new(values, 2, 3).expect("finite");
        let found = places(&observed, &[Maximize, Minimize], &[0, 1], 4_000, SEED);
        assert_eq!(found[0], Place { on_front: 1.0, rival: None });
        let (one, two) = ([0.70, 0.72, 0.71, 10.0, 10.0, 10.0], [0.71, 0.70, 0.72, 20.0, 20.0, 20.0]);
        assert_eq!(behind(&one, &two, &[Maximize, Minimize]), f64::INFINITY);
        assert_eq!(behind(&two, &one, &[Maximize, Minimize]), 0.0);
        // Equal means: the larger one is better with probability one half.
        assert!((found[1].on_front - 0.5).abs() < 0.03, "{found:?}");
        // Equal cells do not dominate each other.
        let equal = Observations::new(vec![0.7, 0.8, 0.7, 0.8], 1, 2).expect("finite");
        assert!(places(&equal, &[Maximize], &[0, 1], 100, SEED).iter().all(|place| place.on_front == 1.0));
    }

    #[test]
    fn what_is_incomplete_is_refused() {
        assert_eq!(Observations::new(vec![1.0, f64::NAN], 1, 2), None);
        assert_eq!(Observations::new(vec![1.0], 1, 1), None);
        assert_eq!(Observations::new(vec![1.0; 3], 1, 2), None);
        assert_eq!(Observations::new(vec![1.0; 4], 0, 2), None);
    }

    /// Sweeps whose true means are known: of the cells that are on the true front with probability p, a share of p is. Seeds have a part in
    /// common with all cells.
    #[test]
    fn probabilities_are_calibrated() {
        const CELLS: usize = 6;
        let mut random = ChaCha8Rng::from_seed([1; 32]);
        // By tenths of probability: how many, the sum of the probabilities, how many are on the true front.
        let mut bins = [(0_u32, 0.0, 0_u32); 10];
        for sweep in 0..3_000_u32 {
            let seeds = [3, 5, 10][sweep as usize % 3];
            // Means far apart as measured by their noise: nothing is known of them beforehand.
            let truth: Vec<f64> = (0..CELLS * 2).map(|_| 8.0 * random.random::<f64>()).collect();
            let mut normals = Normals { random: &mut random, spare: None };
            let shared: Vec<f64> = (0..seeds).map(|_| 3.0 * normals.next()).collect();
            let values = truth
                .iter()
                .flat_map(|mean| shared.iter().map(|shared| mean + shared + 1.5 * normals.next()).collect::<Vec<_>>());
            let observed = Observations::new(values.collect(), 2, seeds).expect("finite");
            let asked: Vec<usize> = (0..CELLS).collect();
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&sweep.to_le_bytes());
            for (cell, place) in places(&observed, &[Maximize; 2], &asked, 400, seed).iter().enumerate() {
                let own = [-truth[2 * cell], -truth[2 * cell + 1]];
                let is_on_front = !truth.chunks_exact(2).any(|other| dominates(&[-other[0], -other[1]], &own));
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 10")]
                let bin = &mut bins[((place.on_front * 10.0) as usize).min(9)];
                *bin = (bin.0 + 1, bin.1 + place.on_front, bin.2 + u32::from(is_on_front));
            }
        }
        for (place, (count, sum, on_front)) in bins.into_iter().enumerate() {
            let (said, found) = (sum / f64::from(count), f64::from(on_front) / f64::from(count));
            assert!(
                count > 300 && (said - found).abs() < 0.06,
                "bin {place}: {said:.3} was said, {found:.3} found of {count}"
            );
        }
    }
}
