//! The Pareto front: which points no other point dominates. Knows nothing of cells, metrics or seeds.
//!
//! A point dominates another when it is at least as good in every objective and better in one. Equal points do not dominate
//! each other, so they are on the front together or not at all.

use std::collections::BTreeMap;

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
/// Up to three objectives take O(n log n) (Kung, Luccio & Preparata 1975); more take O(n · points on the front).
#[must_use]
pub fn standings(values: &[f64], directions: &[Direction]) -> Vec<Standing> {
    match directions.len() {
        0 => Vec::new(),
        1 => staircase(ranked::<1>(values, directions), |[x]| [x, 0, 0]),
        2 => staircase(ranked::<2>(values, directions), |[x, y]| [x, y, 0]),
        3 => staircase(ranked::<3>(values, directions), |point| point),
        _ => archive(values, directions),
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

/// Any number of objectives: each point against the front so far, in lexicographic order.
fn archive(values: &[f64], directions: &[Direction]) -> Vec<Standing> {
    let points: Vec<Option<Vec<i64>>> = (values.chunks_exact(directions.len()))
        .map(|point| point.iter().zip(directions).map(|(value, direction)| rank(*value, *direction)).collect())
        .collect();
    let mut order: Vec<(&[i64], usize)> =
        points.iter().enumerate().filter_map(|(index, point)| Some((point.as_deref()?, index))).collect();
    order.sort_unstable();
    let mut standings: Vec<Standing> =
        points.iter().map(|point| if point.is_some() { Standing::OnFront } else { Standing::NotANumber }).collect();
    let mut front: Vec<(&[i64], usize)> = Vec::new();
    for (point, index) in order {
        let no_worse = |other: &[i64]| other.iter().zip(point).all(|(theirs, ours)| theirs <= ours);
        match front.iter().find(|(other, _)| *other != point && no_worse(other)) {
            Some((_, dominator)) => standings[index] = Standing::DominatedBy(*dominator),
            None => front.push((point, index)),
        }
    }
    standings
}

#[cfg(test)]
mod tests {
    use Direction::{Maximize, Minimize};
    use proptest::prelude::*;

    use super::*;

    /// The definition, word by word.
    fn dominates(a: &[f64], b: &[f64], directions: &[Direction]) -> bool {
        let no_worse = |(a, b, direction): (&f64, &f64, &Direction)| match direction {
            Maximize => a >= b,
            Minimize => a <= b,
        };
        let triples = || a.iter().zip(b).zip(directions).map(|((a, b), direction)| (a, b, direction));
        triples().all(no_worse) && triples().any(|(a, b, _)| a != b)
    }

    #[test]
    fn two_objectives_by_hand() {
        // Size down, quality up. The third is dominated by the second, the fourth repeats the first.
        let values = [10.0, 0.7, 20.0, 0.8, 30.0, 0.8, 10.0, 0.7, f64::NAN, 0.9, 5.0, f64::NEG_INFINITY];
        use Standing::{DominatedBy, NotANumber, OnFront};
        assert_eq!(
            standings(&values, &[Minimize, Maximize]),
            [OnFront, OnFront, DominatedBy(1), OnFront, NotANumber, OnFront]
        );
    }

    #[test]
    fn zeros_of_both_signs_are_equal() {
        assert_eq!(standings(&[0.0, -0.0], &[Minimize]), [Standing::OnFront; 2]);
        assert_eq!(standings(&[0.0, -0.0], &[Maximize]), [Standing::OnFront; 2]);
    }

    #[test]
    fn nothing_has_an_empty_front() {
        assert!(standings(&[], &[Minimize, Maximize]).is_empty());
        assert!(standings(&[1.0], &[]).is_empty());
    }

    fn value() -> impl Strategy<Value = f64> {
        // Few distinct values, so that ties and duplicates are common.
        prop_oneof![
            8 => (-4..4_i32).prop_map(f64::from),
            1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0)],
            2 => -4.0..4.0_f64,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn agrees_with_the_definition(
            values in proptest::collection::vec(value(), 0..160),
            maximize in proptest::collection::vec(any::<bool>(), 1..=4),
        ) {
            let directions: Vec<Direction> = maximize.iter().map(|up| if *up { Maximize } else { Minimize }).collect();
            let points: Vec<&[f64]> = values.chunks_exact(directions.len()).collect();
            let standings = standings(&values, &directions);
            prop_assert_eq!(standings.len(), points.len());
            for (point, standing) in points.iter().zip(&standings) {
                if point.iter().any(|value| value.is_nan()) {
                    prop_assert_eq!(*standing, Standing::NotANumber);
                    continue;
                }
                let others = points.iter().filter(|other| !other.iter().any(|value| value.is_nan()));
                let dominated = others.into_iter().any(|other| dominates(other, point, &directions));
                match standing {
                    Standing::OnFront => prop_assert!(!dominated),
                    Standing::DominatedBy(witness) => {
                        prop_assert!(dominates(points[*witness], point, &directions));
                        prop_assert_eq!(standings[*witness], Standing::OnFront);
                    }
                    Standing::NotANumber => prop_assert!(false, "a number was taken for none"),
                }
            }
        }
    }

    #[test]
    #[ignore = "a measurement: prints how long a million points of three objectives take"]
    fn a_million_points() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let values: Vec<f64> = (0..3_000_000).map(|_| random()).collect();
        let start = std::time::Instant::now();
        let front = standings(&values, &[Minimize; 3]);
        let front = front.iter().filter(|standing| **standing == Standing::OnFront).count();
        eprintln!("{front} of 1,000,000 points are on the front; found in {:?}", start.elapsed());
        assert!(front > 0);
    }

    #[test]
    fn a_hundred_thousand_points_of_three_objectives_stay_quick() {
        // A plane where every point is on the front: the staircase's worst case. Quadratic work would take minutes here.
        let values: Vec<f64> = (0..100_000_u32)
            .flat_map(|index| {
                let (x, y) = (f64::from(index % 317), f64::from(index / 317));
                [x, y, -(x + y)]
            })
            .collect();
        let standings = standings(&values, &[Minimize; 3]);
        assert!(standings.iter().all(|standing| *standing == Standing::OnFront));
    }
}
