//! Simulated sweeps with known true values: nets add their own noise to a signal, and share their rows.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use secateur_proto::metrics::Metric;
use statrs::distribution::{ContinuousCDF as _, Normal};

use super::{
    rows::{RowValues, SplitScores, Total},
    statistics::Summary,
};

/// Rows have a signal, one standard deviation higher in positive rows, and noise. The score of a net is the signal plus its
/// direction times the noise; a net's direction is that of its cell, plus what its seed does to all nets, plus what it does to this one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Population {
    pub(super) positives: usize,
    pub(super) negatives: usize,
    /// Standard deviation of what a seed does to the nets of all cells.
    pub(super) of_seed: f64,
    /// Standard deviation of what a seed does to one net.
    pub(super) of_net: f64,
}

impl Default for Population {
    fn default() -> Self {
        Self { positives: 60, negatives: 140, of_seed: 0.1, of_net: 0.1 }
    }
}

impl Population {
    /// The AUC of a cell over all rows and all seeds: of a net with direction b it is Φ(1 / √(2 (1 + b²))).
    pub(super) fn auc(&self, direction: f64) -> f64 {
        let normal = Normal::standard();
        let sd = self.of_seed.hypot(self.of_net);
        let points = 2_000;
        let at = |index: usize| {
            let b = direction + sd * normal.inverse_cdf((index as f64 + 0.5) / f64::from(points));
            normal.cdf((2.0 * (1.0 + b * b)).sqrt().recip())
        };
        (0..points as usize).map(at).sum::<f64>() / f64::from(points)
    }

    /// The direction above `from` at which the AUC is lower by `loss`.
    pub(super) fn direction_that_loses(&self, from: f64, loss: f64) -> f64 {
        let (mut low, mut high) = (from, from + 3.0);
        for _ in 0..50 {
            let middle = f64::midpoint(low, high);
            if self.auc(from) - self.auc(middle) < loss { low = middle } else { high = middle }
        }
        low
    }
}

/// Draws sweeps.
pub(super) struct Sweeps {
    population: Population,
    left: u32,
    random: ChaCha8Rng,
}

impl Sweeps {
    pub(super) fn new(population: Population, count: u32, seed: u64) -> Self {
        Self { population, left: count, random: ChaCha8Rng::seed_from_u64(seed) }
    }
}

/// The rows of one sweep, and what the seeds do.
pub(super) struct Simulated {
    population: Population,
    rows: Vec<[f64; 2]>,
    targets: Vec<f32>,
    random: std::cell::RefCell<ChaCha8Rng>,
    seeds: Vec<f64>,
}

pub(super) fn normal(random: &mut ChaCha8Rng) -> f64 {
    // Box & Muller 1958.
    let (one, two): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * two).cos()
}

impl Iterator for Sweeps {
    type Item = Simulated;

    fn next(&mut self) -> Option<Simulated> {
        self.left = self.left.checked_sub(1)?;
        let Population { positives, negatives, .. } = self.population;
        let targets: Vec<f32> = [vec![1.0; positives], vec![0.0; negatives]].concat();
        let random = &mut self.random;
        let rows = targets.iter().map(|target| [f64::from(*target) + normal(random), normal(random)]).collect();
        let seeds = (0..20).map(|_| normal(random)).collect();
        let random = std::cell::RefCell::new(ChaCha8Rng::seed_from_u64(random.random()));
        Some(Simulated { population: self.population, rows, targets, random, seeds })
    }
}

impl Simulated {
    /// The values of the rows under the nets of a cell, one for each seed.
    pub(super) fn nets(&self, direction: f64, seeds: u32) -> Vec<RowValues> {
        let net = |seed: &f64| {
            let own = normal(&mut self.random.borrow_mut());
            let b = direction + self.population.of_seed * seed + self.population.of_net * own;
            let logits = self.rows.iter().map(|[signal, noise]| (signal + b * noise) as f32).collect();
            RowValues::of(Metric::Auc, &SplitScores { logits, targets: self.targets.clone() }).expect("both classes")
        };
        self.seeds.iter().take(seeds as usize).map(net).collect()
    }

    /// The AUC over all rows of one further net of a cell, with a seed that `nets` has not had.
    pub(super) fn further_net(&self, direction: f64) -> f64 {
        let own = normal(&mut self.random.borrow_mut());
        let of_seed = normal(&mut self.random.borrow_mut());
        let b = direction + self.population.of_seed * of_seed + self.population.of_net * own;
        Normal::standard().cdf((2.0 * (1.0 + b * b)).sqrt().recip())
    }

    pub(super) fn value(&self, nets: &[RowValues]) -> Total {
        self.value_of_looks(nets, 1)
    }

    pub(super) fn difference(&self, nets: &[RowValues], others: &[RowValues]) -> Total {
        self.difference_of_looks(nets, others, 1)
    }

    pub(super) fn value_of_looks(&self, nets: &[RowValues], looks: u32) -> Total {
        total(nets.iter().map(|net| vec![(1.0, net)]), looks)
    }

    pub(super) fn difference_of_looks(&self, nets: &[RowValues], others: &[RowValues], looks: u32) -> Total {
        total(nets.iter().zip(others).map(|(net, other)| vec![(1.0, net), (-1.0, other)]), looks)
    }
}

fn total<'a>(seeds: impl Iterator<Item = Vec<(f64, &'a RowValues)>>, looks: u32) -> Total {
    let seeds: Vec<Vec<(f64, &RowValues)>> = seeds.collect();
    let means: Vec<f64> =
        seeds.iter().map(|terms| terms.iter().map(|(factor, values)| factor * values.mean()).sum()).collect();
    let mut average = RowValues::none();
    for (factor, values) in seeds.iter().flatten() {
        assert!(average.add(factor / seeds.len() as f64, values), "the rows are shared");
    }
    let summary = Summary::of(&means, [f64::NEG_INFINITY, f64::INFINITY]).expect("finite");
    let rows = average.variance().map(|variance| (variance, average.fewest()));
    Total::of_looks(&summary, rows, [f64::NEG_INFINITY, f64::INFINITY], looks)
}
