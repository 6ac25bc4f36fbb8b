//! The Pareto front: which points no other point dominates. Knows nothing of cells, metrics or seeds.
//!
//! A point dominates another when it is at least as good in every objective and better in one. Equal points do not dominate
//! each other, so they are on the front together or not at all.

mod many;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use secateur_proto::metrics::Direction;

/// How a point stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No point dominates it.
    OnFront,
    /// The point of this index, which is itself on the front, dominates it.
    DominatedBy(usize),
    /// One of its values is not a number. It takes no part: neither on the front nor dominating.
    NotANumber,
}

/// Finds how each point stands. `values` holds the points one after the other, each with a value for every direction;
/// values left over at the end are no point.
///
/// Up to three objectives take O(n log n) (Kung, Luccio & Preparata 1975). More are divided and conquered, with a search tree over each
/// half's front. `benches/front.rs` measures both.
#[must_use]
pub fn standings(values: &[f64], directions: &[Direction]) -> Vec<Standing> {
    match directions.len() {
        0 => Vec::new(),
        1 => staircase(ranked::<1>(values, directions), |[x]| [x, 0, 0]),
        2 => staircase(ranked::<2>(values, directions), |[x, y]| [x, y, 0]),
        3 => staircase(ranked::<3>(values, directions), |point| point),
        _ => many::standings(values, directions),
    }
}

/// A number whose integer order is the order of goodness, best lowest. Nothing for what is not a number.
fn rank(value: f64, direction: Direction) -> Option<i64> {
    let cost = match direction {
        Direction::Maximize => -value,
        Direction::Minimize => value,
    };
    // Adding zero makes −0 and 0 the same bits; the flip makes the bits of negative numbers ascend.
    let bits = (cost + 0.0).to_bits() as i64;
    (!value.is_nan()).then_some(bits ^ ((bits >> 63) as u64 >> 1) as i64)
}

type Ranked<P> = (Vec<Standing>, Vec<(P, usize)>);

/// The points as ranks with their indices; those with a value that is not a number are already judged and left out.
fn ranked<const N: usize>(values: &[f64], directions: &[Direction]) -> Ranked<[i64; N]> {
    let (points, _) = values.as_chunks::<N>();
    let mut standings = vec![Standing::OnFront; points.len()];
    let mut kept = Vec::with_capacity(points.len());
    for (index, point) in points.iter().enumerate() {
        let mut ranks = [0; N];
        let complete = (ranks.iter_mut().zip(point).zip(directions))
            .all(|((slot, value), direction)| rank(*value, *direction).map(|rank| *slot = rank).is_some());
        if complete {
            kept.push((ranks, index));
        } else {
            standings[index] = Standing::NotANumber;
        }
    }
    (standings, kept)
}

/// Up to three objectives. In lexicographic order only an earlier point can dominate a later one, and it does so when its last
/// two values are both no worse; of those two, the best seen so far form a staircase.
fn staircase<const N: usize>(ranked: Ranked<[i64; N]>, widen: fn([i64; N]) -> [i64; 3]) -> Vec<Standing> {
    let (mut standings, mut points) = ranked;
    points.sort_unstable();
    // From the second value to the third and the point's index: as the one ascends, the other falls.
    let mut steps: BTreeMap<i64, (i64, usize)> = BTreeMap::new();
    for group in points.chunk_by(|a, b| a.0 == b.0) {
        let [_, second, third] = widen(group[0].0);
        let dominator = steps.range(..=second).next_back().filter(|(_, (lowest, _))| *lowest <= third);
        if let Some((_, (_, dominator))) = dominator {
            for (_, index) in group {
                standings[*index] = Standing::DominatedBy(*dominator);
            }
            continue;
        }
        let covered: Vec<i64> =
            steps.range(second..).take_while(|(_, (other, _))| *other >= third).map(|(key, _)| *key).collect();
        for key in covered {
            steps.remove(&key);
        }
        steps.insert(second, (third, group[0].1));
    }
    standings
}

/// Groups equal points: the number of the group of each point, from 0 in the order in which the groups first appear. A point with a value
/// that is not a number is equal to no other.
#[must_use]
pub fn groups(values: &[f64], dimensions: usize) -> Vec<usize> {
    let mut numbers: HashMap<Vec<u64>, usize> = HashMap::new();
    let mut next = 0;
    let points = values.chunks_exact(dimensions.max(1));
    points
        .map(|point| {
            let is_number = point.iter().all(|value| !value.is_nan());
            // Adding zero makes −0 and 0 the same bits.
            let key = is_number.then(|| point.iter().map(|value| (value + 0.0).to_bits()).collect::<Vec<u64>>());
            let known = key.as_ref().and_then(|key| numbers.get(key).copied());
            known.unwrap_or_else(|| {
                let number = next;
                next += 1;
                numbers.extend(key.map(|key| (key, number)));
                number
            })
        })
        .collect()
}
