//! The range with the least squared error: the whole one, or a part of it.

use super::Range;

/// Parts that are tried.
const PARTS: u32 = 100;

/// Values that are enough to compare ranges by.
const VALUES: usize = 1 << 14;

/// Of values in ascending order.
pub(super) fn range(sorted: &[f32]) -> Range {
    let whole = Range::of(sorted);
    // Evenly spaced, and the last one, which may be far out.
    let step = sorted.len().div_ceil(VALUES).max(1);
    let values: Vec<f32> = sorted.iter().copied().step_by(step).chain(sorted.last().copied()).collect();
    let mut best = (f64::INFINITY, whole);
    for part in (1..=PARTS).rev() {
        let share = f64::from(part) / f64::from(PARTS);
        let range = Range { low: whole.low * share, high: whole.high * share };
        let levels = range.levels();
        let error: f64 = values.iter().map(|value| f64::from(value - levels.round(*value)).powi(2)).sum();
        if error < best.0 {
            best = (error, range);
        }
    }
    best.1
}
