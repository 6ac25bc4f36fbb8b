//! How long the Pareto front of many points takes, by the number of objectives and by how many points are on it.
//!
//! `cargo bench --profile dev -p secateur --bench front`. Random points have a small front. On a plane across all objectives every point
//! is on the front, which is the worst case.
#![expect(clippy::print_stdout, reason = "printing numbers is what it is for")]

use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use secateur::report::front::{Standing, standings};
use secateur_proto::metrics::Direction;

fn main() {
    println!("{:>10} {:>10} {:>8} {:>10} {:>9}", "objectives", "points", "kind", "on front", "seconds");
    for (objectives, points) in [(2, 1_000_000), (3, 1_000_000), (4, 100_000), (5, 100_000), (6, 100_000)] {
        for is_plane in [false, true] {
            measure(objectives, points, is_plane);
        }
    }
}

fn measure(objectives: usize, points: usize, is_plane: bool) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut values = Vec::with_capacity(objectives * points);
    for _ in 0..points {
        let begin = values.len();
        values.extend((0..objectives).map(|_| random.random::<f64>()));
        if is_plane {
            let last = values.len() - 1;
            values[last] = -values[begin..last].iter().sum::<f64>();
        }
    }
    let begun = Instant::now();
    let found = standings(&values, &vec![Direction::Minimize; objectives]);
    let seconds = begun.elapsed().as_secs_f64();
    let front = found.iter().filter(|standing| **standing == Standing::OnFront).count();
    let kind = if is_plane { "plane" } else { "random" };
    println!("{objectives:>10} {points:>10} {kind:>8} {front:>10} {seconds:>9.3}");
}
