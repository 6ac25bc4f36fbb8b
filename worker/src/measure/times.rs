//! The times of two things that are done in turns, so that what disturbs one disturbs the other.

use std::time::{Duration, Instant};

use serde::Serialize;

/// How often and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Turns that are not counted.
    pub(super) warm_up: usize,
    /// Turns, however long they take.
    pub(super) fewest: usize,
    /// Turns, however short they are.
    pub(super) most: usize,
    /// How long turns go on after the fewest.
    pub(super) time: Duration,
}

/// The times of both, turn by turn.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) first: Vec<Duration>,
    pub(super) second: Vec<Duration>,
}

/// Does both in turns; which one comes first alternates.
///
/// # Errors
/// The first error of either.
pub(super) fn in_turns<E>(
    limits: Limits,
    first: &mut dyn FnMut() -> Result<(), E>,
    second: &mut dyn FnMut() -> Result<(), E>,
) -> Result<Times, E> {
    let time = |what: &mut dyn FnMut() -> Result<(), E>| {
        let begun = Instant::now();
        what()?;
        Ok(begun.elapsed())
    };
    let turn = |number: usize, first: &mut dyn FnMut() -> Result<(), E>, second: &mut dyn FnMut() -> Result<(), E>| {
        if number.is_multiple_of(2) {
            let one = time(first)?;
            Ok((one, time(second)?))
        } else {
            let two = time(second)?;
            Ok((time(first)?, two))
        }
    };
    let begun = Instant::now();
    for number in 0..limits.warm_up {
        turn(number, first, second)?;
        // A slow net is warm after a few.
        if number >= 2 && begun.elapsed() > limits.time {
            break;
        }
    }
    let mut times = Times::default();
    let begun = Instant::now();
    for number in 0..limits.most {
        if number >= limits.fewest && begun.elapsed() > limits.time {
            break;
        }
        let (one, two) = turn(number, first, second)?;
        times.first.push(one);
        times.second.push(two);
    }
    Ok(times)
}

/// The median and the 99th percentile, in microseconds: of n times in order the ⌈q · n⌉-th.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

impl Quantiles {
    /// Those of `times`; 0 of none.
    pub(super) fn of(times: &[Duration]) -> Self {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let nearest_rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            // A clock can be too coarse for what is short: nothing takes no time.
            sorted.get(rank - 1).map_or(0.0, |time| time.max(&Duration::from_nanos(1)).as_secs_f64() * 1e6)
        };
        Self { p50_us: nearest_rank(50), p99_us: nearest_rank(99) }
    }
}
