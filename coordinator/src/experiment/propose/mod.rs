//! Proposers: they say which points a sweep has. The grid proposes all combinations; samplers draw points from ranges and lists.
//!
//! A proposer is a function of the spec and of what was proposed before, so a sweep that starts again proposes the same points.

mod grid;
mod random;
mod sobol;

pub(crate) use self::sobol::DIMENSIONS;
use secateur_proto::{ids::ContentHash, vocabulary};

use super::{expand::Point, spec::SweepSpec};

/// Says which points a sweep has.
pub trait Proposer {
    /// The points that come after `proposed`; none if there are no more.
    fn propose<'a>(&self, spec: &'a SweepSpec, proposed: &[Point]) -> Points<'a>;
}

/// Points, made as they are asked for.
pub type Points<'a> = Box<dyn Iterator<Item = Point> + 'a>;

vocabulary! {
    /// How a search draws its points.
    pub enum Sampler {
        /// Independently of each other.
        Random = "random",
        /// Spread evenly (Sobol 1967).
        Sobol = "sobol",
    }
}

/// The most cells that a search can draw.
pub(crate) const MAX_SEARCH: u32 = 100_000;

/// What `search` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search {
    /// How points are drawn.
    pub sampler: Sampler,
    /// How many.
    pub trials: u32,
    /// Decides which.
    pub seed: u64,
}

/// The proposer that the file asks for.
#[must_use]
pub fn proposer(spec: &SweepSpec) -> Box<dyn Proposer> {
    match spec.search {
        None => Box::new(grid::Grid),
        Some(search) => Box::new(Samples(search)),
    }
}

/// Draws points until there are as many as the file asks for, or hardly any is not excluded.
struct Samples(Search);

/// Draws for each point that is asked for before a search gives up: `exclude` may take away all there is.
const DRAWS: u64 = 100;

impl Proposer for Samples {
    fn propose<'a>(&self, spec: &'a SweepSpec, proposed: &[Point]) -> Points<'a> {
        let Search { sampler, trials, seed } = self.0;
        let share = move |draw: u64, dimension: usize, path: &str| match sampler {
            Sampler::Random => random::share(seed, draw, path),
            Sampler::Sobol => sobol::share(seed, draw, dimension, path),
        };
        let draws = 0..u64::from(trials) * DRAWS;
        let points = draws.map(move |draw| spec.grid.sample(|dimension, path| share(draw, dimension, path)));
        let points = points.filter(|point| !spec.is_excluded(point)).take(trials as usize);
        Box::new(points.skip(proposed.len()))
    }
}

/// 64 random bits that depend on nothing but these.
fn bits(purpose: &str, seed: u64, draw: u64, path: &str) -> u64 {
    let hash = ContentHash::of(format!("secateur {purpose}\n{seed}\n{draw}\n{path}").as_bytes()).to_string();
    u64::from_str_radix(&hash[..16], 16).expect("a hash is written in hexadecimal digits")
}

/// The number from 0 up to but not including 1 that the upper 53 bits say.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
